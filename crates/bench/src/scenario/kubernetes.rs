//! A real Kubernetes cluster with Calico, beside the same cluster with the reference plugins: pods
//! started by kubelet and containerd, the plugin called directly, the agent's memory, how soon
//! changes are in force.

mod network;
mod objects;

use self::network::{Sizes, direct};
use self::objects::{Files, pod};
use super::samples;
use crate::cluster::{Cluster, SHORT};
use crate::figure::{Figure, Target, Unit};
use crate::inside::agent::Memory;
use crate::inside::plugin::{Call, Kind};
use crate::inside::pods::Calls;
use crate::samples::Samples;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// The node that is measured, and its agent.
const NODE: &str = "n1";
const AGENT: &str = "calico-node";
/// How long a Deployment may take.
const ROLLOUT: Duration = Duration::from_secs(300);
/// How long the agent is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);
/// Longer than a sandbox takes.
const SANDBOX: Duration = Duration::from_secs(1);

/// How much of everything.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Plan {
    /// How often the plugin is called directly, each time for a pod of its own
    #[arg(long, default_value_t = Plan::DEFAULT.calls)]
    pub calls: u32,
    /// How many pods are started one at a time
    #[arg(long, default_value_t = Plan::DEFAULT.single)]
    pub single: u32,
    /// How many pods the Deployment has
    #[arg(long, default_value_t = Plan::DEFAULT.deployed)]
    pub deployed: u32,
    /// How many such Deployments there are, one after the other
    #[arg(long, default_value_t = Plan::DEFAULT.deployments)]
    pub deployments: u32,
    /// How many pods more the measured node has
    #[arg(long, default_value_t = Plan::DEFAULT.local)]
    pub local: u32,
    /// How many pods there are of nodes that do not exist
    #[arg(long, default_value_t = Plan::DEFAULT.elsewhere)]
    pub elsewhere: u32,
    /// How many policies that deny, and how many that allow
    #[arg(long, default_value_t = Plan::DEFAULT.policies)]
    pub policies: u32,
    /// How many changes of the pool's mode, and starts of the agent
    #[arg(long, default_value_t = Plan::DEFAULT.changes)]
    pub changes: u32,
}

impl Plan {
    /// As in docs/benchmarks.md.
    pub const DEFAULT: Plan = Plan {
        calls: 40,
        single: 20,
        deployed: 100,
        deployments: 3,
        local: 50,
        elsewhere: 10_000,
        policies: 50,
        changes: 6,
    };
}

/// How soon pods start in one kind of cluster.
struct Starts {
    up: Duration,
    sandbox_ms: f64,
    /// Of each Deployment, in seconds.
    deployed: Samples,
}

/// How soon pods start in both kinds of cluster, one after the other, then all the rest in another one.
///
/// # Errors
/// A cluster doesn't become ready, or a pod doesn't start.
pub(crate) fn measure(lab: &str, plan: Plan) -> Result<Vec<Figure>> {
    let files = Files::new(lab)?;
    let calico = starts(lab, &files, plan, &[])?;
    let bridge = starts(lab, &files, plan, &["--cni", "bridge"])?;

    let (cluster, _) = up(lab, &[])?;
    let idle = resident(&cluster, AGENT)?;
    let controllers = controllers(&cluster)?;
    network::operate(&cluster)?;
    let mut changes = network::mode_changes(&cluster, &files, plan.changes)?;
    changes.extend(network::measure(&cluster, &files, plan, Sizes::ALONE)?);
    let ours = calls(&cluster, &files, Kind::Calico, plan.calls)?;
    let floor = calls(&cluster, &files, Kind::Bridge, plan.calls)?;
    deploy(&cluster, &files, plan.deployed)?;
    start(&cluster, &files, plan.local)?;
    let pods = pods(&cluster)?;
    let loaded = resident(&cluster, AGENT)?;
    objects::fill(&cluster, &files, plan.elsewhere)?;
    let large = resident(&cluster, AGENT)?;
    changes.extend(network::measure(&cluster, &files, plan, Sizes::large(plan.elsewhere))?);
    cluster.down()?;

    let mut figures = of_calls(&ours, &floor)?;
    figures.extend(of_starts(plan, &calico, &bridge));
    figures.extend(of_memory(pods, plan.elsewhere, [idle, loaded, large, controllers]));
    figures.extend(changes);
    Ok(figures)
}

fn up(lab: &str, kind: &[&str]) -> Result<(Cluster, Duration)> {
    Cluster::up(lab, &[&["--kubernetes", "--nodes", "2"], kind].concat())
}

/// A cluster that starts pods one at a time, then many at once, and does nothing else.
fn starts(lab: &str, files: &Files, plan: Plan, kind: &[&str]) -> Result<Starts> {
    let (cluster, up) = up(lab, kind)?;
    let sandbox_ms = sandbox(&cluster, files, plan.single)?;
    let mut deployed = Vec::new();
    for _ in 0..plan.deployments {
        deployed.push(deploy(&cluster, files, plan.deployed)?.as_secs_f64());
        let deletion = ["delete", "deployment/deployed", "--cascade=foreground"];
        cluster.kubectl(&deletion, ROLLOUT)?;
    }
    cluster.down()?;
    Ok(Starts { up, sandbox_ms, deployed: samples(deployed)? })
}

fn of_memory(pods: usize, elsewhere: u32, memories: [Memory; 4]) -> [Figure; 4] {
    let [idle, loaded, large, controllers] = memories;
    let resident = |what: String, memory: Memory, most| {
        let what = format!("Kubernetes, {what}");
        Figure::new(what, memory.resident, Unit::Mebibytes, 1).wanted(Target::AtMost(most))
    };
    let on_node = format!("agent resident, {pods} pods on its node");
    let more = format!("agent resident, the same and {elsewhere} elsewhere");
    [
        resident("agent resident, idle".into(), idle, 25.0)
            .beside_calico("215 MB in two processes"),
        resident(on_node, loaded, 30.0).beside_calico("223 MB in two processes"),
        resident(more, large, 60.0),
        resident("kube-controllers resident, idle".into(), controllers, 25.0)
            .beside_calico("214 MB in two processes"),
    ]
}

fn of_calls(ours: &Calls, floor: &Calls) -> Result<Vec<Figure>> {
    let part = |calls: &[Call], part: fn(&Call) -> f64| samples(calls.iter().map(part));
    let wall = |calls: &[Call]| part(calls, |call| call.wall_ms);
    let cpu = |calls: &[Call]| part(calls, |call| call.cpu_ms);
    let peaks = |calls: &Calls| samples(calls.add_peaks.iter().copied());
    let beside = |what: &str, ours: &Samples, floor: &Samples, unit| {
        Figure::median(what, ours, unit).beside("bridge", floor.median())
    };
    let (adds, floor_adds) = (wall(&ours.adds)?, wall(&floor.adds)?);
    let (deletes, floor_deletes) = (wall(&ours.deletes)?, wall(&floor.deletes)?);
    let milliseconds = Unit::Milliseconds;
    Ok(vec![
        beside("Kubernetes, CNI ADD", &adds, &floor_adds, milliseconds)
            .wanted(Target::AtMost(25.0))
            .beside_calico("171 ms"),
        beside(
            "Kubernetes, CNI ADD, processor time of the plugin",
            &cpu(&ours.adds)?,
            &cpu(&floor.adds)?,
            milliseconds,
        )
        .wanted(Target::AtMost(10.0))
        .beside_calico("132 ms"),
        Figure::new(
            "Kubernetes, CNI, processor time of the agent per ADD and DEL",
            ours.agent_cpu_ms,
            milliseconds,
            ours.adds.len(),
        ),
        Figure::max("Kubernetes, CNI ADD, memory of the plugin", &peaks(ours)?, Unit::Mebibytes)
            .wanted(Target::AtMost(10.0))
            .beside("bridge", peaks(floor)?.max())
            .beside_calico("86 MB"),
        beside("Kubernetes, CNI DEL", &deletes, &floor_deletes, milliseconds)
            .wanted(Target::AtMost(floor_deletes.median() + 10.0))
            .beside_calico("203 ms"),
    ])
}

fn of_starts(plan: Plan, calico: &Starts, bridge: &Starts) -> Vec<Figure> {
    let deployed = format!("Kubernetes, {} pods on two nodes, all ready", plan.deployed);
    let count = plan.single as usize;
    vec![
        Figure::new(
            "Kubernetes, RunPodSandbox, mean",
            calico.sandbox_ms,
            Unit::Milliseconds,
            count,
        )
        .wanted(Target::AtMost(bridge.sandbox_ms + 15.0))
        .beside("bridge", bridge.sandbox_ms)
        .beside_calico("250 ms"),
        Figure::median(&deployed, &calico.deployed, Unit::Seconds)
            .wanted(Target::AtMost(bridge.deployed.median() * 1.05))
            .beside("bridge", bridge.deployed.median())
            .beside_calico("28 s"),
        Figure::new("Kubernetes, lab up, two nodes", calico.up.as_secs_f64(), Unit::Seconds, 1)
            .beside("bridge", bridge.up.as_secs_f64()),
    ]
}

/// The memory of a program on the measured node, left alone for a while.
fn resident(cluster: &Cluster, program: &str) -> Result<Memory> {
    std::thread::sleep(SETTLE);
    cluster.inside(NODE, &["resident", program], SHORT)
}

/// The memory of kube-controllers, wherever it runs.
fn controllers(cluster: &Cluster) -> Result<Memory> {
    let pod = ["get", "pod", "-n", "kube-system", "-l", "k8s-app=calico-kube-controllers"];
    let node = [&pod[..], &["-o", "jsonpath={.items[0].spec.nodeName}"]].concat();
    let ready = ["-n", "kube-system", "deployment/calico-kube-controllers", "--timeout=60s"];
    cluster.kubectl(&[&["rollout", "status"], &ready[..]].concat(), ROLLOUT)?;
    let node = cluster.kubectl(&node, SHORT)?;
    std::thread::sleep(SETTLE);
    cluster.inside(node.trim(), &["resident", "kube-controllers"], SHORT)
}

/// How many pods the measured node has.
fn pods(cluster: &Cluster) -> Result<usize> {
    let of_node = format!("--field-selector=spec.nodeName={NODE}");
    let pods = cluster.kubectl(&["get", "pods", "-A", &of_node, "-o", "name"], SHORT)?;
    Ok(pods.lines().count())
}

/// Calls a plugin directly.
fn calls(cluster: &Cluster, files: &Files, kind: Kind, count: u32) -> Result<Calls> {
    let pods = (1..=count).map(|number| pod(&format!("bench-{}-{number}", kind.as_str()), NODE));
    let words = ["cni", "--plugin", kind.as_str(), "--pods", &count.to_string()];
    let limit = SHORT + Duration::from_secs(2) * count;
    direct(cluster, files, pods.collect(), &words, limit)
}

/// Starts pods on the measured node, all at once.
fn start(cluster: &Cluster, files: &Files, count: u32) -> Result<()> {
    let pods = (0..count).map(|number| {
        let mut pod = pod(&format!("local-{number}"), NODE);
        pod["metadata"]["labels"] = json!({"app": "local"});
        pod
    });
    cluster.kubectl(&["create", "-f", &files.write("local", pods.collect())?], ROLLOUT)?;
    let ready = ["--for=condition=Ready", "pod", "-l", "app=local", "--timeout=300s"];
    cluster.kubectl(&[&["wait"], &ready[..]].concat(), ROLLOUT).map(drop)
}

/// Starts pods one at a time; what kubelet says that RunPodSandbox took, on average.
fn sandbox(cluster: &Cluster, files: &Files, count: u32) -> Result<f64> {
    let before = sandboxes(cluster)?;
    for number in 0..count {
        let name = format!("single-{number}");
        let file = files.write("single", vec![pod(&name, NODE)])?;
        cluster.kubectl(&["create", "-f", &file], SHORT)?;
        // To start kubectl takes as much of a processor as a sandbox.
        std::thread::sleep(SANDBOX);
        let ready = ["wait", "--for=condition=Ready", "pod", &name, "--timeout=30s"];
        cluster.kubectl(&ready, SHORT)?;
    }
    let after = sandboxes(cluster)?;
    cluster.kubectl(&["delete", "pod", "--all", "--now"], ROLLOUT)?;
    let runs = after.1 - before.1;
    if runs < f64::from(count) {
        bail!("kubelet has counted {runs} calls of RunPodSandbox for {count} pods");
    }
    Ok((after.0 - before.0) * 1e3 / runs)
}

/// Seconds and count of RunPodSandbox so far, as kubelet's metrics say.
fn sandboxes(cluster: &Cluster) -> Result<(f64, f64)> {
    let path = format!("/api/v1/nodes/{NODE}/proxy/metrics");
    let text = cluster.kubectl(&["get", "--raw", &path], SHORT)?;
    let metric = |part: &str| {
        let name = format!("kubelet_runtime_operations_duration_seconds_{part}");
        let line = text.lines().find(|line| {
            line.starts_with(&name) && line.contains("operation_type=\"run_podsandbox\"")
        });
        // Before the first, there is none.
        let value = line.and_then(|line| line.rsplit(' ').next()).map_or(Ok(0.0), str::parse);
        value.with_context(|| format!("kubelet's {name} is no number"))
    };
    Ok((metric("sum")?, metric("count")?))
}

/// A Deployment, until all of its pods are ready.
fn deploy(cluster: &Cluster, files: &Files, replicas: u32) -> Result<Duration> {
    let labels = json!({"app": "deployed"});
    let mut spec = pod("deployed", NODE)["spec"].take();
    spec["nodeName"] = Value::Null;
    let template = json!({"metadata": {"labels": labels}, "spec": spec});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "deployed"},
        "spec": {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template},
    });
    let file = files.write("deployment", vec![deployment])?;
    let begun = Instant::now();
    cluster.kubectl(&["create", "-f", &file], SHORT)?;
    cluster.kubectl(&["rollout", "status", "deployment/deployed", "--timeout=300s"], ROLLOUT)?;
    Ok(begun.elapsed())
}

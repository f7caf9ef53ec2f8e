//! A real Kubernetes cluster with Calico, beside the same cluster with the reference plugins: pods
//! started by kubelet and containerd, the plugin called directly, the agent's memory.

use super::samples;
use crate::cluster::{Cluster, SHORT};
use crate::figure::{Figure, Target, Unit};
use crate::inside::agent::Memory;
use crate::inside::plugin::{Call, Kind};
use crate::inside::pods::Calls;
use crate::samples::Samples;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The node that is measured.
const NODE: &str = "n1";
/// The lab's own image.
const IMAGE: &str = "calico.lab/busybox:1";
/// How long a Deployment may take.
const ROLLOUT: Duration = Duration::from_secs(300);
/// kubectls that create the pods of a large cluster at the same time: one is held to 50 a second.
const CREATORS: u32 = 8;
/// Nodes of the large cluster that do not exist.
const ABSENT_NODES: u32 = 100;
/// How long the agent is left alone before its memory is read.
const SETTLE: Duration = Duration::from_secs(3);

/// How much of everything.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Calls of the plugin, each for a pod of its own.
    pub(crate) calls: u32,
    /// Pods started one at a time.
    pub(crate) single: u32,
    /// Pods of the Deployment.
    pub(crate) deployed: u32,
    /// Pods of the cluster, of nodes that do not exist; none if 0.
    pub(crate) elsewhere: u32,
}

/// What one kind of cluster did.
struct Measured {
    up: Duration,
    sandbox_ms: f64,
    deployed: Duration,
}

/// Both kinds of cluster, one after the other.
///
/// # Errors
/// A cluster doesn't become ready, or a pod doesn't start.
pub(crate) fn measure(lab: &str, plan: Plan) -> Result<Vec<Figure>> {
    let (cluster, up) = Cluster::up(lab, &["--kubernetes", "--nodes", "2"])?;
    let files = Files::new(lab)?;
    let idle = memory(&cluster)?;
    let ours = calls(&cluster, &files, Kind::Calico, plan.calls)?;
    let floor = calls(&cluster, &files, Kind::Bridge, plan.calls)?;
    let sandbox_ms = sandbox(&cluster, &files, plan.single)?;
    let deployed = deploy(&cluster, &files, plan.deployed)?;
    let loaded = memory(&cluster)?;
    let large = match plan.elsewhere {
        0 => None,
        pods => {
            fill(&cluster, &files, pods)?;
            Some(memory(&cluster)?)
        }
    };
    cluster.down()?;
    let calico = Measured { up, sandbox_ms, deployed };

    let (cluster, up) = Cluster::up(lab, &["--kubernetes", "--nodes", "2", "--cni", "bridge"])?;
    let sandbox_ms = sandbox(&cluster, &files, plan.single)?;
    let deployed = deploy(&cluster, &files, plan.deployed)?;
    cluster.down()?;
    let bridge = Measured { up, sandbox_ms, deployed };

    let mut figures = of_calls(&ours, &floor)?;
    figures.extend(of_pods(plan, &calico, &bridge));
    let resident = |what: String, memory: &Memory, most| {
        Figure::new(what, memory.resident, Unit::Mebibytes, 1).wanted(Target::AtMost(most))
    };
    let what = |with: &str| format!("Kubernetes, agent resident, {with}");
    figures.push(resident(what("idle"), &idle, 25.0).beside_calico("215 MB in two processes"));
    let with = format!("{} pods on two nodes", plan.deployed);
    figures.push(resident(what(&with), &loaded, 30.0).beside_calico("223 MB in two processes"));
    if let Some(large) = large {
        let with = format!("{} pods elsewhere", plan.elsewhere);
        figures.push(resident(what(&with), &large, 60.0));
    }
    Ok(figures)
}

fn of_calls(ours: &Calls, floor: &Calls) -> Result<Vec<Figure>> {
    let part = |calls: &[Call], part: fn(&Call) -> f64| samples(calls.iter().map(part));
    let wall = |calls: &[Call]| part(calls, |call| call.wall_ms);
    let cpu = |calls: &[Call]| part(calls, |call| call.cpu_ms);
    let peak = |calls: &[Call]| part(calls, |call| call.peak_mebibytes);
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
        Figure::max(
            "Kubernetes, CNI ADD, memory of the plugin",
            &peak(&ours.adds)?,
            Unit::Mebibytes,
        )
        .wanted(Target::AtMost(10.0))
        .beside("bridge", peak(&floor.adds)?.max())
        .beside_calico("86 MB"),
        beside("Kubernetes, CNI DEL", &deletes, &floor_deletes, milliseconds)
            .wanted(Target::AtMost(floor_deletes.median() + 10.0))
            .beside_calico("203 ms"),
    ])
}

fn of_pods(plan: Plan, calico: &Measured, bridge: &Measured) -> Vec<Figure> {
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
        Figure::new(deployed, calico.deployed.as_secs_f64(), Unit::Seconds, 1)
            .wanted(Target::AtMost(bridge.deployed.as_secs_f64() * 1.05))
            .beside("bridge", bridge.deployed.as_secs_f64())
            .beside_calico("28 s"),
        Figure::new("Kubernetes, lab up, two nodes", calico.up.as_secs_f64(), Unit::Seconds, 1)
            .beside("bridge", bridge.up.as_secs_f64()),
    ]
}

fn memory(cluster: &Cluster) -> Result<Memory> {
    std::thread::sleep(SETTLE);
    cluster.inside(NODE, &["agent"], SHORT)
}

/// Calls a plugin directly, for pods of this node that kubelet, stopped, doesn't start itself.
fn calls(cluster: &Cluster, files: &Files, kind: Kind, count: u32) -> Result<Calls> {
    cluster.shell(NODE, "pkill -STOP -x kubelet")?;
    let names = (1..=count).map(|number| format!("bench-{}-{number}", kind.as_str()));
    let pods = names.map(|name| pod(&name, NODE)).collect();
    cluster.kubectl(&["create", "-f", &files.write("calls", pods)?], ROLLOUT)?;
    let words = ["cni", "--plugin", kind.as_str(), "--pods", &count.to_string()];
    let calls = cluster.inside(NODE, &words, SHORT + Duration::from_secs(2) * count)?;
    cluster.kubectl(&["delete", "pod", "--all", "--force", "--grace-period=0"], ROLLOUT)?;
    cluster.shell(NODE, "pkill -CONT -x kubelet")?;
    Ok(calls)
}

/// Starts pods one at a time; what kubelet says that RunPodSandbox took, on average.
fn sandbox(cluster: &Cluster, files: &Files, count: u32) -> Result<f64> {
    let before = sandboxes(cluster)?;
    for number in 0..count {
        let name = format!("single-{number}");
        let file = files.write("single", vec![pod(&name, NODE)])?;
        cluster.kubectl(&["create", "-f", &file], SHORT)?;
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

/// Pods of nodes that do not exist, with addresses, and the Nodes.
fn fill(cluster: &Cluster, files: &Files, pods: u32) -> Result<()> {
    let node = |number: u32| {
        let name = format!("absent-{number}");
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    };
    let nodes = files.write("nodes", (0..ABSENT_NODES).map(node).collect())?;
    cluster.kubectl(&["create", "-f", &nodes], ROLLOUT)?;
    let share = |creator: u32| {
        let numbers = (0..pods).filter(move |number| number % CREATORS == creator);
        numbers.map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            let mut pod =
                pod(&format!("pod-{number}"), &format!("absent-{}", number % ABSENT_NODES));
            pod["metadata"]["labels"] = json!({"app": format!("app-{}", number % 100)});
            pod["metadata"]["annotations"] =
                json!({"cni.projectcalico.org/podIP": format!("192.169.{high}.{low}/32")});
            pod
        })
    };
    std::thread::scope(|scope| {
        let creators: Vec<_> = (0..CREATORS)
            .map(|creator| {
                scope.spawn(move || {
                    let file = files.write(&format!("pods-{creator}"), share(creator).collect())?;
                    cluster.kubectl(&["create", "-f", &file], ROLLOUT).map(drop)
                })
            })
            .collect();
        let joined = creators
            .into_iter()
            .map(|creator| creator.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<Vec<_>>().into_iter().collect()
    })
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "pause", "image": IMAGE, "command": ["sleep", "1000000"]}],
        },
    })
}

/// Files for kubectl, in a directory that is removed at the end.
struct Files(PathBuf);

impl Files {
    fn new(lab: &str) -> Result<Files> {
        let directory = std::env::temp_dir().join(format!("calico-bench-{lab}"));
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        Ok(Files(directory))
    }

    /// Writes a list of objects; the file's path.
    fn write(&self, name: &str, items: Vec<Value>) -> Result<String> {
        let path = self.0.join(name).with_extension("json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        std::fs::write(&path, list.to_string())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Path::to_str(&path).context("a directory for temporary files in UTF-8")?.to_owned())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Of the temporary directory: that it stays is no failure of a measurement.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

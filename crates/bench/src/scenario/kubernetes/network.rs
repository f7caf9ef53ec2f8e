//! How soon the network is as the API server says: a policy, the pool's mode, the agent's start.

use super::objects::{Files, pod};
use super::{NODE, Plan, ROLLOUT};
use crate::cluster::{Cluster, SHORT, within};
use crate::figure::{Figure, Target, Unit};
use crate::inside::enforcement::Latencies;
use crate::inside::plugin::Kind;
use crate::scenario::mode_change::changes;
use crate::scenario::policy_latency::of_kind;
use crate::scenario::{milliseconds, samples};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

/// Policies of the large cluster.
pub(super) const POLICIES: u32 = 1_000;
/// How long a change of a policy may take on average, with what is between them.
const PER_CHANGE: Duration = Duration::from_secs(1);
/// How long others' policies may take to be written.
const WRITING: Duration = Duration::from_secs(90);

/// What else is in the cluster.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    policies: u32,
    name: String,
}

impl Sizes {
    /// Nothing.
    pub(super) const ALONE: Sizes = Sizes { policies: 0, name: String::new() };

    /// So many pods of other nodes, which are there already, and policies.
    pub(super) fn large(pods: u32) -> Sizes {
        Sizes { policies: POLICIES, name: format!(", beside {POLICIES} policies and {pods} pods") }
    }
}

/// Makes the measured node one that an operator works at: with calicoctl, as the cluster's
/// administrator.
pub(super) fn operate(cluster: &Cluster) -> Result<()> {
    let kubeconfig = cluster.kubectl(&["config", "view", "--raw"], SHORT)?;
    let settings = "apiVersion: projectcalico.org/v3\nkind: CalicoAPIConfig\nmetadata: {}\n\
                    spec: {datastoreType: kubernetes, kubeconfig: /etc/calico/admin.conf}\n";
    let write = |text, name| format!("cat >/etc/calico/{name} <<'END'\n{text}\nEND\n");
    let line = write(&*kubeconfig, "admin.conf") + &write(settings, "calicoctl.cfg");
    cluster.shell(NODE, &format!("mkdir -p /etc/calico\n{line}")).map(drop)
}

/// Policies on a pod, then starts of the agent. The policies beside them stay.
///
/// # Errors
/// A policy doesn't come into force, or the agent doesn't start.
pub(super) fn measure(
    cluster: &Cluster,
    files: &Files,
    plan: Plan,
    sizes: Sizes,
) -> Result<Vec<Figure>> {
    let Sizes { policies, name } = sizes;
    let pods = (1..=2).map(|number| {
        let mut pod = pod(&format!("bench-{}-{number}", Kind::Calico.as_str()), NODE);
        pod["metadata"]["labels"] = json!({"role": format!("pod-{number}")});
        pod
    });
    let numbers = [plan.policies, policies].map(|number| number.to_string());
    let words = ["policy-latency", "--changes", &numbers[0], "--policies", &numbers[1]];
    let limit = PER_CHANGE * plan.policies + WRITING;
    let latencies: Latencies = direct(cluster, files, pods.collect(), &words, limit)?;
    let mut figures = Vec::new();
    let kinds =
        [("denies", latencies.deny, 5.0, "9.8 ms"), ("allows", latencies.allow, 8.0, "17.2 ms")];
    for (what, latencies, most, calico) in kinds {
        let [from_request, from_answer] =
            of_kind(&format!("Kubernetes, new policy that {what}{name}"), &latencies)?;
        let [median, p99] = from_answer;
        figures.extend(from_request);
        figures.extend([median.wanted(Target::AtMost(most)).beside_calico(calico), p99]);
    }
    let starts = (0..plan.changes).map(|_| start(cluster)).collect::<Result<Vec<_>>>()?;
    let starts = samples(starts.into_iter().map(milliseconds))?;
    let what = format!("Kubernetes, agent's start until it is in sync{name}");
    let median = Figure::median(&what, &starts, Unit::Milliseconds);
    figures.push(if policies == 0 {
        median.wanted(Target::AtMost(200.0)).beside_calico("260–430 ms")
    } else {
        median
    });
    figures.push(Figure::max(&what, &starts, Unit::Milliseconds));
    Ok(figures)
}

/// Ends the measured node's agent; how long the next one takes from its first line until it is in
/// sync and the kernel has its first plan.
fn start(cluster: &Cluster) -> Result<Duration> {
    let of_node = format!("--field-selector=spec.nodeName={NODE}");
    let of_agent = ["pod", "-n", "kube-system", "-l", "k8s-app=calico-node", &of_node];
    let name = || cluster.kubectl(&[&["get", "-o", "name"], &of_agent[..]].concat(), SHORT);
    let ended = name()?;
    cluster.kubectl(&[&["delete"], &of_agent[..]].concat(), SHORT)?;
    within(SHORT, || {
        let pod = name()?;
        anyhow::ensure!(pod != ended, "{} has not ended", ended.trim());
        let words = ["logs", "-n", "kube-system", pod.trim(), "-c", "calico-node"];
        let log = cluster.kubectl(&words, SHORT)?;
        in_sync(&log).with_context(|| format!("calico-node is not ready: {log}"))
    })
}

/// From the log's line that the agent starts to the one that it is ready.
fn in_sync(log: &str) -> Option<Duration> {
    let at = |is: fn(&str) -> bool| {
        let line = log.lines().find(|line| is(line))?;
        line.split_whitespace().next()?.parse::<Timestamp>().ok()
    };
    let begun = at(|line| line.contains(" starts on node "))?;
    at(|line| line.ends_with(" INFO ready"))?.duration_since(begun).try_into().ok()
}

/// Changes of the pool between VXLAN and Direct, under a ping between pods of two nodes.
///
/// # Errors
/// A pod doesn't start, or a node doesn't follow.
pub(super) fn mode_changes(cluster: &Cluster, files: &Files, runs: u32) -> Result<Vec<Figure>> {
    let names = [NODE, "n2"].map(|node| (node, format!("ping-{node}")));
    let pods = names.iter().map(|(node, name)| pod(name, node)).collect();
    cluster.kubectl(&["create", "-f", &files.write("pings", pods)?], SHORT)?;
    let mut addresses = Vec::new();
    for (_, name) in &names {
        let ready = ["wait", "--for=condition=Ready", "pod", name, "--timeout=30s"];
        cluster.kubectl(&ready, SHORT)?;
        let address = ["get", "pod", name, "-o", "jsonpath={.status.podIP}"];
        let address = cluster.kubectl(&address, SHORT)?;
        addresses.push(address.parse::<IpAddr>().with_context(|| format!("{name}: {address:?}"))?);
    }
    let network = cluster.shell(
        NODE,
        &format!(
            "for it in /var/run/netns/cni-*; do \
             if nsenter --net=$it ip -o address | grep -qF ' {}/'; then echo $it; fi; done",
            addresses[0]
        ),
    )?;
    let enter = format!("--net={}", network.trim());
    let changes = changes(cluster, (NODE, &["nsenter", &enter]), addresses[1], runs)?;
    cluster.kubectl(&["delete", "pod", "--all", "--now"], ROLLOUT)?;
    let what = "Kubernetes, pool's mode change, pings lost × their interval";
    let median = Figure::median(what, &changes.outage, Unit::Milliseconds);
    let max = Figure::max(what, &changes.outage, Unit::Milliseconds);
    Ok(vec![median.beside_calico("2400 ms"), max.wanted(Target::AtMost(100.0))])
}

/// Measures inside the node, with pods of the API's that its kubelet, stopped, doesn't start.
///
/// # Errors
/// The measurement fails.
pub(super) fn direct<T: DeserializeOwned>(
    cluster: &Cluster,
    files: &Files,
    pods: Vec<Value>,
    words: &[&str],
    limit: Duration,
) -> Result<T> {
    let names: Vec<String> =
        pods.iter().filter_map(|pod| Some(pod["metadata"]["name"].as_str()?.to_owned())).collect();
    cluster.shell(NODE, "pkill -STOP -x kubelet")?;
    cluster.kubectl(&["create", "-f", &files.write("direct", pods)?], ROLLOUT)?;
    let measured = cluster.inside(NODE, words, limit)?;
    let names = names.iter().map(String::as_str);
    let delete = ["delete", "pod", "--force", "--grace-period=0"];
    cluster.kubectl(&delete.into_iter().chain(names).collect::<Vec<_>>(), ROLLOUT)?;
    cluster.shell(NODE, "pkill -CONT -x kubelet")?;
    Ok(measured)
}

#[cfg(test)]
mod tests {
    use super::in_sync;
    use std::time::Duration;

    #[test]
    fn a_start_ends_when_the_agent_says_so() {
        let log = "2026-11-28T14:38:52.300Z  INFO calico-node v0.1.0 starts on node n1\n\
                   2026-11-28T14:38:52.350Z  WARN not ready: the datastore has not been read yet\n";
        assert_eq!(in_sync(log), None);
        let log = format!("{log}2026-11-28T14:38:52.431Z  INFO ready\n");
        assert_eq!(in_sync(&log), Some(Duration::from_millis(131)));
    }
}

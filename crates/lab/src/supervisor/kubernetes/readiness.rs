//! Waiting until a cluster works.

use super::super::{Lab, readiness::until};
use super::{files, network, programs};
use crate::protocol::Program;
use crate::topology::{CONTROL_PLANE, Cni, Kubernetes};
use anyhow::{Context, Result, anyhow, bail};
use jiff::Timestamp;
use serde_json::Value;
use std::time::Duration;

/// How long the API server may take to be ready, on a busy machine.
const API_SERVER_WAIT: Duration = Duration::from_secs(60);
/// How long containerd may take until it accepts images.
const RUNTIME_WAIT: Duration = Duration::from_secs(30);
/// How long kubelet may take until its node is ready.
pub(super) const NODE_WAIT: Duration = Duration::from_secs(90);
/// Between one look and the next: each costs a process.
pub(super) const PAUSE: Duration = Duration::from_millis(150);

impl Lab {
    pub(super) fn import_image(&self, node: &str, archive: &str) -> Result<()> {
        let program = programs::import_image(archive);
        let import = || self.machines.run(node, program.clone(), String::new()).map(drop);
        until(RUNTIME_WAIT, PAUSE, import).map_err(|error| {
            let log = self.log_tail(node, programs::CONTAINERD);
            anyhow!("{node}: containerd doesn't take an image: {error:#}{log}")
        })
    }

    /// Waits until the API server says that it is ready: its first roles and namespaces are there.
    pub(super) fn await_api_server(&self) -> Result<()> {
        let url = format!("https://127.0.0.1:{}/readyz", programs::PORT);
        let authority = format!("{}/ca.crt", files::PKI);
        let ask = ["curl", "--silent", "--show-error", "--fail", "--max-time", "5"];
        let program = Program::new(&[&ask[..], &["--cacert", &authority, &url]].concat());
        let ask = || self.machines.run(CONTROL_PLANE, program.clone(), String::new()).map(drop);
        until(API_SERVER_WAIT, PAUSE, ask).map_err(|error| {
            let log = self.log_tail(CONTROL_PLANE, programs::API_SERVER);
            let waited = API_SERVER_WAIT.as_secs();
            anyhow!("the API server isn't ready after {waited} s: {error:#}{log}")
        })
    }

    /// Waits until nodes are ready, or, where nobody connects pods, until their kubelets are there;
    /// by what these have said `since`.
    pub(super) fn await_nodes(
        &self,
        kubernetes: &Kubernetes,
        names: &[&str],
        since: Option<Timestamp>,
    ) -> Result<()> {
        let look = || {
            let list = self.kubectl_json(&["get", "nodes"])?;
            names.iter().try_for_each(|name| check(&list, name, kubernetes.cni, since))
        };
        until(NODE_WAIT, PAUSE, look).map_err(|error| {
            let waited = NODE_WAIT.as_secs();
            let logs = names.iter().map(|name| self.log_tail(name, programs::KUBELET));
            anyhow!("after {waited} s: {error:#}{}", logs.collect::<String>())
        })
    }
}

/// Whether a node of a list is as it should be.
fn check(nodes: &Value, name: &str, cni: Cni, since: Option<Timestamp>) -> Result<()> {
    let items = nodes["items"].as_array().context("kubectl's answer isn't a list")?;
    let node = items.iter().find(|node| node["metadata"]["name"] == name);
    let node = node.with_context(|| format!("there is no Node {name}"))?;
    let ready = condition(node, "Ready")
        .with_context(|| format!("{name}: kubelet hasn't said anything yet"))?;
    let heartbeat: Option<Timestamp> =
        ready["lastHeartbeatTime"].as_str().and_then(|time| time.parse().ok());
    if heartbeat <= since {
        bail!("{name}: kubelet hasn't said anything since the node was switched on");
    }
    if !network::is_as_expected(cni, ready) {
        bail!("{name} is not ready: {}", ready["message"].as_str().unwrap_or("no reason given"));
    }
    Ok(())
}

/// A condition of a node or pod.
pub(super) fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|condition| condition["type"] == kind)
}

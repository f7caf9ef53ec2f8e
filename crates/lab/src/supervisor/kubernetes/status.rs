//! How a cluster is, as its API says.

use super::super::Lab;
use super::readiness::condition;
use crate::protocol::{NodeReport, NodeRequest};
use crate::status::{NodeStatus, PodStatus};
use crate::topology::{Node, Topology};
use anyhow::Result;
use serde_json::Value;
use std::net::IpAddr;

impl Lab {
    /// The nodes and pods.
    pub(in super::super) fn kubernetes_status(
        &self,
        topology: &Topology,
    ) -> (Vec<NodeStatus>, Vec<PodStatus>) {
        let answer = self.kubectl_json(&["get", "nodes,pods", "--all-namespaces"]);
        let of_kind = |kind: &str| {
            let list = answer.as_ref().ok().and_then(|list| list["items"].as_array());
            let items = list.into_iter().flatten().filter(move |item| item["kind"] == kind);
            items.cloned().collect::<Vec<Value>>()
        };
        let objects = of_kind("Node");
        let nodes = topology.nodes.iter().map(|node| {
            let object = objects.iter().find(|object| object["metadata"]["name"] == node.name);
            self.node_of_kubernetes(node, object, answer.as_ref().err())
        });
        (nodes.collect(), of_kind("Pod").iter().map(pod).collect())
    }

    fn node_of_kubernetes(
        &self,
        node: &Node,
        object: Option<&Value>,
        failure: Option<&anyhow::Error>,
    ) -> NodeStatus {
        let name = &node.name;
        let running = self.machines.is_running(name);
        let report: Result<NodeReport> = self.machines.ask(name, &NodeRequest::Report);
        let programs = report.map(|report| report.programs).unwrap_or_default();
        let ready = object.and_then(|object| condition(object, "Ready"));
        let is_ready = running && ready.is_some_and(|ready| ready["status"] == "True");
        let reason = match (running, failure, ready) {
            _ if is_ready => None,
            (false, _, _) => Some(format!("switched off; `calico lab node reboot {name}`")),
            (_, Some(error), _) => Some(format!("{error:#}")),
            (_, _, Some(ready)) => ready["message"].as_str().map(str::to_owned),
            (_, _, None) => Some("there is no such Node, or its kubelet has said nothing".into()),
        };
        NodeStatus {
            name: name.clone(),
            addresses: node.addresses().collect(),
            running,
            ready: is_ready,
            reason,
            restarts: programs.iter().map(|program| program.restarts).sum(),
        }
    }
}

fn pod(object: &Value) -> PodStatus {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let addresses = object["status"]["podIPs"].as_array().into_iter().flatten();
    let addresses: Vec<IpAddr> =
        addresses.filter_map(|address| address["ip"].as_str()?.parse().ok()).collect();
    let labels = object["metadata"]["labels"].as_object().into_iter().flatten();
    PodStatus {
        name: text(&object["metadata"]["name"]),
        namespace: text(&object["metadata"]["namespace"]),
        labels: labels.map(|(key, value)| (key.clone(), text(value))).collect(),
        node: text(&object["spec"]["nodeName"]),
        addresses,
        running: object["status"]["phase"] == "Running",
    }
}

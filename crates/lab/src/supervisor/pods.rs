//! Pods, as far as the lab knows them: which there should be, and on which node.

use super::{Lab, for_all};
use crate::protocol::{NodeReport, NodeRequest, PodStatus};
use crate::status;
use crate::topology::{Pod, Topology};
use anyhow::{Context, Result};

impl Lab {
    pub(super) fn pod_add(&self, pod: Pod) -> Result<PodStatus> {
        let _changing = self.start_change();
        let mut topology = self.topology().clone();
        self.find_node(&topology, &pod.node)?;
        topology.pods.push(pod.clone());
        topology.check()?;
        self.declare_namespaces(&mut topology)?;
        let (node, request) = (pod.node.clone(), NodeRequest::PodAdd { pod });
        let status: PodStatus = self.machines.ask(&node, &request)?;
        *self.topology() = topology;
        self.write_hosts()?;
        Ok(status)
    }

    pub(super) fn pod_remove(&self, name: &str) -> Result<()> {
        let _changing = self.start_change();
        let mut topology = self.topology().clone();
        let found = topology.pods.iter().position(|pod| pod.name == name);
        let index = found.with_context(|| {
            let names: Vec<&str> = topology.pods.iter().map(|pod| pod.name.as_str()).collect();
            format!("no pod {name:?} in lab {}; there are {}", self.name, names.join(", "))
        })?;
        let pod = topology.pods.remove(index);
        let request = NodeRequest::PodRemove { name: name.to_owned() };
        let () = self.machines.ask(&pod.node, &request)?;
        *self.topology() = topology;
        self.write_hosts()
    }

    /// Makes pods, those of different nodes at the same time.
    pub(super) fn add_pods(&self, pods: &[Pod]) -> Result<()> {
        for_all(pods, |pod| self.start_pod(pod))
    }

    fn start_pod(&self, pod: &Pod) -> Result<()> {
        let request = NodeRequest::PodAdd { pod: pod.clone() };
        let _: PodStatus = self.machines.ask(&pod.node, &request)?;
        Ok(())
    }

    /// What a pod's node says about it.
    pub(super) fn find_pod(&self, pod: &Pod) -> Result<Option<PodStatus>> {
        let report: NodeReport = self.machines.ask(&pod.node, &NodeRequest::Report)?;
        Ok(report.pods.into_iter().find(|found| found.name == pod.name))
    }

    pub(super) fn pod_statuses(&self, topology: &Topology) -> Vec<status::PodStatus> {
        let mut statuses = Vec::new();
        for node in &topology.nodes {
            let report: Result<NodeReport> = self.machines.ask(&node.name, &NodeRequest::Report);
            let known = report.map(|report| report.pods).unwrap_or_default();
            for pod in topology.pods.iter().filter(|pod| pod.node == node.name) {
                let found = known.iter().find(|found| found.name == pod.name);
                statuses.push(status::PodStatus {
                    name: pod.name.clone(),
                    namespace: pod.namespace.clone(),
                    labels: pod.labels.clone(),
                    node: node.name.clone(),
                    addresses: found.map(|found| found.addresses.clone()).unwrap_or_default(),
                    running: found.is_some_and(|found| found.running),
                });
            }
        }
        statuses
    }
}

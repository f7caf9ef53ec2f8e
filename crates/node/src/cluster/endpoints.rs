//! This node's endpoints: the datastore's, and those that CNI ADD and DEL have told first.

use super::Cluster;
use crate::api::{KUBERNETES, WorkloadId};
use crate::endpoint_status::{self, EndpointStatus, EndpointStatuses};
use ipnet::IpNet;
use model::{Key, Value, WorkloadEndpoint};
use plan::Workload;
use std::collections::{BTreeMap, BTreeSet};

/// A local endpoint: the datastore's, or one being added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) container_id: String,
    pub(crate) interface: String,
    pub(crate) addresses: BTreeSet<IpNet>,
    /// What other programs of the node read of it, and under which name.
    status: (String, EndpointStatus),
}

impl Endpoint {
    pub(crate) fn of(endpoint: &WorkloadEndpoint) -> Endpoint {
        let spec = &endpoint.spec;
        Endpoint {
            container_id: spec.container_id.clone(),
            interface: spec.interface_name.clone(),
            addresses: spec.ip_networks.iter().filter_map(|text| text.parse().ok()).collect(),
            status: (endpoint_status::file_name(endpoint), EndpointStatus::of(spec)),
        }
    }
}

impl Cluster {
    pub(super) fn endpoint_changed(&mut self, key: Key, mut endpoint: Box<WorkloadEndpoint>) {
        if endpoint.spec.node != self.topology.node {
            self.policy.take(&key, Some(&Value::WorkloadEndpoint(endpoint)));
            return;
        }
        if self.kubernetes && endpoint.spec.orchestrator == KUBERNETES {
            self.pods.insert(key.clone(), endpoint.clone());
        }
        let own = self.endpoints.get(&key);
        let own = own.filter(|own| own.container_id == endpoint.spec.container_id);
        if self.untold.contains(&key) && own.is_none() {
            return;
        }
        // Kubelet's word of a pod's addresses may still be that of its earlier container.
        let told = !endpoint.spec.ip_networks.is_empty();
        if let Some(own) = own.filter(|own| self.kubernetes && told && !own.addresses.is_empty()) {
            endpoint.spec.ip_networks = own.addresses.iter().map(ToString::to_string).collect();
        }
        self.untold.remove(&key);
        self.keep_endpoint(key, endpoint);
    }

    /// A local endpoint is to be routed, before the datastore has told of it. Until it does, what it
    /// tells under the same key is of the pod's earlier container.
    pub(crate) fn set_endpoint(&mut self, endpoint: Box<WorkloadEndpoint>) {
        let key = endpoint.key();
        self.untold.insert(key.clone());
        self.keep_endpoint(key, endpoint);
    }

    fn keep_endpoint(&mut self, key: Key, endpoint: Box<WorkloadEndpoint>) {
        let kept = Endpoint::of(&endpoint);
        self.policy.take(&key, Some(&Value::WorkloadEndpoint(endpoint)));
        self.endpoints.insert(key, kept);
        self.replan_workloads();
    }

    /// Every local endpoint whose interface is there.
    pub(crate) fn endpoint_statuses(&self) -> EndpointStatuses {
        let links = &self.topology.facts.workload_links;
        let there = self.endpoints.values().filter(|e| links.contains(&e.interface));
        there.map(|endpoint| endpoint.status.clone()).collect()
    }

    /// The interface exists: the plugin has said so, whether or not the facts have come yet.
    pub(crate) fn interface_exists(&mut self, interface: &str) {
        if !self.topology.facts.workload_links.contains(interface) {
            self.topology.change().facts.workload_links.insert(interface.to_owned());
            self.announced.insert(interface.to_owned());
        }
    }

    /// The interface is going: the plugin has said so.
    pub(crate) fn interface_gone(&mut self, interface: &str) {
        self.announced.remove(interface);
    }

    /// Whether a device is a workload's that isn't there any more, so that the next plan will be
    /// without it.
    pub(crate) fn is_gone(&self, device: &str) -> bool {
        let prefixes = &self.topology.settings.interface_prefixes;
        let is_workload = prefixes.iter().any(|prefix| device.starts_with(prefix.as_str()));
        is_workload && !self.topology.facts.workload_links.contains(device)
    }

    /// A container's endpoint is gone, whatever the datastore still says.
    pub(crate) fn remove_endpoint(&mut self, id: &WorkloadId) {
        let key = id.endpoint_key(&self.topology.node);
        if self.endpoints.get(&key).is_some_and(|e| e.container_id == id.container_id) {
            self.untold.remove(&key);
            self.endpoints.remove(&key);
            self.policy.take(&key, None);
            self.replan_workloads();
        }
    }

    /// The local endpoint of a container, if it is known.
    pub(crate) fn endpoint(&self, id: &WorkloadId) -> Option<&Endpoint> {
        let key = id.endpoint_key(&self.topology.node);
        self.endpoints.get(&key).filter(|e| e.container_id == id.container_id)
    }

    pub(super) fn replan_workloads(&mut self) {
        let mut workloads: BTreeMap<String, Workload> = BTreeMap::new();
        for endpoint in self.endpoints.values() {
            let workload = workloads.entry(endpoint.interface.clone()).or_default();
            workload.addresses.extend(endpoint.addresses.iter().copied());
        }
        self.topology.change().workloads = workloads;
        self.speaker_concerned = true;
    }
}

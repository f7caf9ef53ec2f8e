//! What the Kubernetes API, where it is the datastore, has told of pods before their CNI ADD.

use super::Cluster;
use crate::api::{KUBERNETES, WorkloadId};
use ipnet::IpNet;
use model::kubernetes::cni::{Annotations, Wishes, WrongAnnotation};
use model::{Key, Kind, Profile, WorkloadEndpoint, names};
use std::collections::BTreeMap;

/// What CNI ADD has to know of a namespace.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    labels: BTreeMap<String, String>,
    annotations: Annotations,
}

impl Namespace {
    /// The namespace whose profile this is, with its name; `None`: it is no namespace's.
    pub(super) fn of(profile: &Profile) -> Option<(&str, Namespace)> {
        let name = names::namespace_of_profile(&profile.metadata.name)?;
        let labels = profile.spec.namespace_labels();
        Some((name, Namespace { labels, annotations: profile.metadata.annotations.clone() }))
    }
}

impl Cluster {
    /// What CNI ADD has to wait for until Kubernetes has told of it: the pod, or its namespace.
    pub(crate) fn awaited(&self, id: &WorkloadId) -> Option<Key> {
        if !self.kubernetes || id.orchestrator != KUBERNETES {
            return None;
        }
        let pod = id.endpoint_key(&self.topology.node);
        let namespace = Key::cluster(Kind::Profile, names::namespace_profile(&id.namespace));
        if !self.pods.contains_key(&pod) {
            Some(pod)
        } else {
            (!self.namespaces.contains_key(&id.namespace)).then_some(namespace)
        }
    }

    /// What annotations ask of a pod's CNI ADD.
    ///
    /// # Errors
    /// One of them cannot be read.
    pub(crate) fn wishes(&self, id: &WorkloadId) -> Result<Wishes, WrongAnnotation> {
        let Some(pod) = self.pod(id) else { return Ok(Wishes::default()) };
        let none = Annotations::new();
        let namespace = self.namespaces.get(&id.namespace).map(|one| &one.annotations);
        Wishes::read(&id.namespace, &id.pod, &pod.metadata.annotations, namespace.unwrap_or(&none))
    }

    /// The labels of a namespace, as far as they are known.
    pub(crate) fn namespace_labels(&self, namespace: &str) -> Option<&BTreeMap<String, String>> {
        self.namespaces.get(namespace).map(|namespace| &namespace.labels)
    }

    /// The ranges that Kubernetes has given this node's pods.
    pub(crate) fn pod_ranges(&self) -> &[IpNet] {
        &self.pod_ranges
    }

    /// The pod as Kubernetes tells it, where that is the datastore.
    pub(crate) fn pod(&self, id: &WorkloadId) -> Option<&WorkloadEndpoint> {
        self.pods.get(&id.endpoint_key(&self.topology.node)).map(|pod| &**pod)
    }
}

/// The ranges of a node's pods; what cannot be read is none.
pub(super) fn pod_ranges(node: &model::Node) -> Vec<IpNet> {
    let ranges = node.status.as_ref().and_then(|status| status["podCIDRs"].as_array());
    let texts = ranges.into_iter().flatten().filter_map(|range| range.as_str());
    texts.filter_map(|text| text.parse().ok()).collect()
}

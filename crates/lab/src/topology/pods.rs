//! Pods, and the namespaces that they are in.

use super::Topology;
use super::defaults::{default_name, default_protocol};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The namespace and the service account of pods that name none.
pub const DEFAULT: &str = "default";

/// A pod: namespaces on a node, connected by the node's CNI configuration. Policy selects it by
/// labels, namespace and service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pod {
    /// Its name, which no other pod has, in whatever namespace.
    pub name: String,
    /// Its namespace.
    #[serde(default = "default_name")]
    pub namespace: String,
    /// The node it runs on.
    pub node: String,
    /// Its labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its service account.
    #[serde(default = "default_name")]
    pub service_account: String,
    /// Ports that it listens on, besides TCP port 80.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ContainerPort>,
}

/// A port that a pod listens on; fields as in a Kubernetes container's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ContainerPort {
    /// What policies may call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Port in the pod.
    pub container_port: u16,
    /// Port of the node that is passed to it (by the portmap plugin).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_port: Option<u16>,
    /// `tcp` or `udp`.
    #[serde(default = "default_protocol")]
    pub protocol: String,
}

/// A namespace of pods. Kubernetes would say it to Calico; here the lab does, by Profiles.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Namespace {
    /// Its name.
    pub name: String,
    /// Its labels, which `namespaceSelector` selects by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Its service accounts, by name, and the labels of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub service_accounts: BTreeMap<String, BTreeMap<String, String>>,
}

impl Namespace {
    /// A namespace of which nothing is said.
    pub fn new(name: &str) -> Namespace {
        let accounts = BTreeMap::from([(default_name(), BTreeMap::new())]);
        Namespace { name: name.to_owned(), labels: BTreeMap::new(), service_accounts: accounts }
    }
}

impl Topology {
    /// The namespace with a name.
    pub fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.name == name)
    }

    /// Writes down namespaces and service accounts that are only named by pods, and those that are
    /// always there. Kubernetes has its own.
    pub(crate) fn complete_namespaces(&mut self) {
        if self.kubernetes.is_some() {
            return;
        }
        for namespace in &mut self.namespaces {
            namespace.service_accounts.entry(default_name()).or_default();
        }
        let named = self.pods.iter().map(|pod| (&*pod.namespace, &*pod.service_account));
        for (name, account) in named.chain([(DEFAULT, DEFAULT)]) {
            let known = self.namespaces.iter().position(|namespace| namespace.name == name);
            let index = known.unwrap_or_else(|| {
                self.namespaces.push(Namespace::new(name));
                self.namespaces.len() - 1
            });
            let accounts = &mut self.namespaces[index].service_accounts;
            accounts.entry(account.to_owned()).or_default();
        }
    }
}

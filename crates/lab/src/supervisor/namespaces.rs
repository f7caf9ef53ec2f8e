//! Namespaces and service accounts: what the lab tells Calico of them, in place of Kubernetes.

use super::{Lab, calico};
use crate::protocol::Program;
use crate::topology::{DEFAULT, Namespace, Topology, duplicate};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::collections::BTreeMap;

impl Lab {
    pub(super) fn namespace_add(&self, namespace: Namespace) -> Result<()> {
        let _changing = self.start_change();
        let mut topology = self.topology().clone();
        if topology.namespace(&namespace.name).is_some() {
            return Err(duplicate("namespace", &namespace.name).into());
        }
        topology.namespaces.push(namespace);
        topology.check()?;
        self.declare_namespaces(&mut topology)?;
        *self.topology() = topology;
        Ok(())
    }

    pub(super) fn namespace_label(
        &self,
        name: &str,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<()> {
        let _changing = self.start_change();
        let mut topology = self.topology().clone();
        let namespace = find(&mut topology, name)?;
        for (key, value) in changes {
            match value {
                Some(value) => namespace.labels.insert(key, value),
                None => namespace.labels.remove(&key),
            };
        }
        self.declare_namespaces(&mut topology)?;
        *self.topology() = topology;
        Ok(())
    }

    pub(super) fn namespace_remove(&self, name: &str) -> Result<()> {
        let _changing = self.start_change();
        let mut topology = self.topology().clone();
        let namespace = find(&mut topology, name)?.clone();
        if name == DEFAULT {
            bail!("namespace {DEFAULT} is that of pods which name none; it stays");
        }
        if let Some(pod) = topology.pods.iter().find(|pod| pod.namespace == name) {
            bail!("pod {0} is in namespace {name}; first `calico lab pod rm {0}`", pod.name);
        }
        let accounts = namespace.service_accounts.keys();
        let accounts = accounts.map(|account| calico::service_account_profile(name, account));
        let profiles: Vec<String> = accounts.chain([calico::namespace_profile(name)]).collect();
        let mut command = vec!["calicoctl", "delete", "profile", "--skip-not-exists"];
        command.extend(profiles.iter().map(String::as_str));
        self.run_on_datastore_node(&topology, &command, String::new())?;
        topology.namespaces.retain(|other| other.name != name);
        *self.topology() = topology;
        Ok(())
    }

    /// Completes the namespaces, and tells Calico of those that are not as they were.
    pub(super) fn declare_namespaces(&self, topology: &mut Topology) -> Result<()> {
        topology.complete_namespaces();
        let before = self.topology().namespaces.clone();
        let changed = topology.namespaces.iter().filter(|namespace| !before.contains(namespace));
        let profiles: Vec<Value> = changed.flat_map(calico::profiles).collect();
        self.apply(topology, &profiles).context("telling Calico of the namespaces")
    }

    /// Applies resources with calicoctl, where there are any.
    pub(super) fn apply(&self, topology: &Topology, resources: &[Value]) -> Result<()> {
        if resources.is_empty() {
            return Ok(());
        }
        let documents: Vec<String> = resources.iter().map(Value::to_string).collect();
        let command = ["calicoctl", "apply", "-f", "-"];
        self.run_on_datastore_node(topology, &command, documents.join("\n---\n"))
    }

    fn run_on_datastore_node(
        &self,
        topology: &Topology,
        command: &[&str],
        input: String,
    ) -> Result<()> {
        let node = topology.datastore_node().context("no node for the datastore")?;
        self.machines.run(&node.name, Program::new(command), input).map(drop)
    }
}

fn find<'a>(topology: &'a mut Topology, name: &str) -> Result<&'a mut Namespace> {
    let names: Vec<String> =
        topology.namespaces.iter().map(|namespace| namespace.name.clone()).collect();
    let mut all = topology.namespaces.iter_mut();
    all.find(|namespace| namespace.name == name).with_context(|| {
        format!("no namespace {name:?} in this lab; there are {}", names.join(", "))
    })
}

//! A cluster's policies and endpoints as a whole, as they are or as a file would make them.

use crate::Error;
use crate::documents::Document;
use crate::resources;
use model::{Entry, Key, Kind, Query, Value, WorkloadEndpoint};
use policy::{Graph, Told, convert};
use std::collections::BTreeMap;
use std::net::IpAddr;
use store::Datastore;

/// Everything of a cluster that policy is made of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cluster {
    objects: BTreeMap<Key, Value>,
    /// Objects that cannot be read, and why.
    unreadable: BTreeMap<Key, String>,
}

impl Cluster {
    /// Reads all of it.
    pub(crate) async fn read(datastore: &dyn Datastore) -> Result<Cluster, Error> {
        let mut cluster = Cluster::default();
        // Nodes are known by name to those who ask for a packet's way.
        for kind in convert::KINDS.into_iter().chain([Kind::Node]) {
            for entry in datastore.list(&Query::kind(kind)).await?.entries {
                cluster.take(entry);
            }
        }
        Ok(cluster)
    }

    fn take(&mut self, entry: Entry) {
        match Value::decode(&entry) {
            Ok(value) => {
                self.unreadable.remove(&entry.key);
                self.objects.insert(entry.key, value);
            }
            Err(why) => {
                self.objects.remove(&entry.key);
                self.unreadable.insert(entry.key, why.to_string());
            }
        }
    }

    /// The same after `calicoctl apply` of these documents.
    pub(crate) async fn with(&self, documents: &[Document]) -> Result<Cluster, Error> {
        let mut cluster = self.clone();
        for document in documents {
            resources::check(document).await?;
            if !convert::KINDS.contains(&document.kind) {
                return Err(Error::Invalid(format!(
                    "{} says nothing of policy; give policies, tiers, profiles, network sets or \
                     endpoints",
                    document.key()
                )));
            }
            cluster.take(resources::as_stored(document).await?);
        }
        Ok(cluster)
    }

    /// What a graph tells of all endpoints.
    pub(crate) fn told(&self) -> Result<Told, Error> {
        let mut graph = Graph::of_all_nodes();
        for (key, value) in &self.objects {
            convert::update(key, Some(value)).into_iter().for_each(|update| graph.on(update));
        }
        for (key, why) in &self.unreadable {
            convert::unreadable(key, why).into_iter().for_each(|update| graph.on(update));
        }
        let (mut told, mut failed) = (Told::default(), None);
        graph.flush(&mut |output| failed = failed.take().or(told.apply(output).err()));
        match failed {
            Some(why) => Err(Error::Other(why.to_string())),
            None => Ok(told),
        }
    }

    /// All workload endpoints.
    pub(crate) fn workloads(&self) -> impl Iterator<Item = &WorkloadEndpoint> {
        self.objects.values().filter_map(|value| match value {
            Value::WorkloadEndpoint(endpoint) => Some(&**endpoint),
            _ => None,
        })
    }

    /// The node that has an address as its own.
    pub(crate) fn node_with(&self, address: IpAddr) -> Option<String> {
        let nodes = self.objects.values().filter_map(|value| match value {
            Value::Node(node) => Some(&node.metadata.name),
            _ => None,
        });
        nodes.into_iter().find(|name| self.node_address(name) == Some(address)).cloned()
    }

    /// The address of a node.
    pub(crate) fn node_address(&self, name: &str) -> Option<IpAddr> {
        match self.objects.get(&Key::cluster(Kind::Node, name))? {
            Value::Node(node) => node.spec.ipv4().map(|net| net.addr().into()),
            _ => None,
        }
    }
}

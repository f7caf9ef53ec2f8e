//! What metrics and CalicoNodeStatus show of the core.

use crate::Node;
use ipnet::IpNet;
use kernel::{Route, RouteKey};
use std::net::IpAddr;

/// Numbers of the core.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// `host:port` to serve metrics on; `None`: nowhere (`prometheusMetricsEnabled`).
    pub metrics_address: Option<String>,
    /// Nodes of the cluster, this one included.
    pub hosts: usize,
    /// Interfaces of workloads on this node.
    pub local_endpoints: usize,
    /// How far the datastore is read.
    pub reading: Reading,
}

/// How far the datastore is read; the numbers are Felix's (`felix_resync_state`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reading {
    /// The datastore doesn't answer.
    #[default]
    Waiting = 0,
    /// Not all is read yet.
    Reading = 1,
    /// All is read, and changes follow.
    InSync = 2,
}

impl Node {
    /// The core's numbers now.
    pub fn figures(&self) -> Figures {
        let topology = self.cluster.topology();
        Figures {
            metrics_address: self.cluster.metrics_address().map(str::to_owned),
            hosts: topology.nodes.len() + 1,
            local_endpoints: topology.workloads.len(),
            reading: match (&self.unreachable, self.in_sync) {
                (Some(_), _) => Reading::Waiting,
                (None, false) => Reading::Reading,
                (None, true) => Reading::InSync,
            },
        }
    }

    /// The routes of the newest plan, in order.
    pub fn planned_routes(&self) -> impl Iterator<Item = (&RouteKey, &Route)> {
        self.last_plan.iter().flat_map(|plan| &plan.state.routes)
    }

    /// What BGP has learned, in order: destination and next hops.
    pub fn learned_routes(&self) -> impl Iterator<Item = (&IpNet, &Vec<IpAddr>)> {
        self.cluster.topology().learned.routes.iter()
    }
}

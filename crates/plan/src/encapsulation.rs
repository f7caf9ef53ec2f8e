//! How a pool's packets travel between nodes, or why they can't.

use crate::topology::{Pool, Topology};
use model::EncapsulationMode;
use model::config::{NetworkingBackend, ProgramClusterRoutes as Program};
use serde::{Deserialize, Serialize};

/// How packets to another node's block travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encapsulation {
    /// As they are, by the node's own routes.
    Direct,
    /// In VXLAN to every node.
    Vxlan,
    /// In VXLAN to nodes of other subnets, as they are to those of the own.
    VxlanCrossSubnet,
}

/// Why a pool's packets cannot travel between nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unroutable {
    /// The pool's name.
    pub pool: String,
    /// The cause and the next step.
    pub reason: String,
}

impl std::fmt::Display for Unroutable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "IPPool({}) is not routed: {}", self.pool, self.reason)
    }
}

/// The pool's way, decided by its modes, the backend and `programClusterRoutes`.
pub(crate) fn of(pool: &Pool, topology: &Topology) -> Result<Encapsulation, Unroutable> {
    let settings = &topology.settings;
    let unroutable =
        |reason: &str| Err(Unroutable { pool: pool.name.clone(), reason: reason.to_owned() });
    if settings.backend == NetworkingBackend::None {
        return unroutable(
            "CALICO_NETWORKING_BACKEND is none, so this node routes to no other node; \
             set it to vxlan, or leave the routes to whoever made that choice",
        );
    }
    if settings.vxlan_enabled == Some(false) && pool.vxlan != EncapsulationMode::Never {
        return unroutable(
            "its vxlanMode needs vxlan.calico, which vxlanEnabled: false of FelixConfiguration or \
             FELIX_VXLANENABLED forbids; remove that setting, or set vxlanMode: Never",
        );
    }
    match (pool.ipip, pool.vxlan, settings.program_cluster_routes) {
        (EncapsulationMode::Never, EncapsulationMode::Always, _) => Ok(Encapsulation::Vxlan),
        (EncapsulationMode::Never, EncapsulationMode::CrossSubnet, _) => {
            Ok(Encapsulation::VxlanCrossSubnet)
        }
        (
            EncapsulationMode::Never,
            EncapsulationMode::Never,
            Program::Enabled | Program::EnabledNoEncapOnly,
        ) => Ok(Encapsulation::Direct),
        (EncapsulationMode::Never, EncapsulationMode::Never, _) => unroutable(
            "a pool without encapsulation needs BGP, which this node does not run, or \
             FelixConfiguration programClusterRoutes: Enabled",
        ),
        (EncapsulationMode::Always | EncapsulationMode::CrossSubnet, _, _) => unroutable(
            "IP-in-IP needs BGP, which this node does not run; \
             set ipipMode: Never and vxlanMode: Always",
        ),
    }
}

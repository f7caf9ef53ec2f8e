//! How a pool's packets travel between nodes and who says where to, or why they can't.

use crate::topology::{Pool, Settings, Topology};
use model::EncapsulationMode as Mode;
use model::config::{NetworkingBackend as Backend, ProgramClusterRoutes as Program};
use serde::{Deserialize, Serialize};

/// How packets to another node's block travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Encapsulation {
    /// As they are, by the node's own routes.
    Direct,
    /// In IP-in-IP to every node.
    Ipip,
    /// In IP-in-IP to nodes of other subnets, as they are to those of the own.
    IpipCrossSubnet,
    /// In VXLAN to every node.
    Vxlan,
    /// In VXLAN to nodes of other subnets, as they are to those of the own.
    VxlanCrossSubnet,
}

/// Who says which node has a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The datastore: Felix's part of Calico.
    Datastore,
    /// The peers: BIRD's part of Calico.
    Bgp,
}

/// A pool's way to other nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Way {
    pub(crate) encapsulation: Encapsulation,
    pub(crate) source: Source,
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

/// The pool's way, decided by its modes, the backend and both `programClusterRoutes`
/// (`calico-features.md` §6.1). Where Felix and BGP both are to program it, Felix does.
pub(crate) fn of(pool: &Pool, topology: &Topology) -> Result<Way, Unroutable> {
    let settings = &topology.settings;
    let unroutable = |reason: String| Err(Unroutable { pool: pool.name.clone(), reason });
    if let Some(reason) = forbidden(pool, settings) {
        return unroutable(reason.to_owned());
    }
    let encapsulation = match (pool.ipip, pool.vxlan) {
        (Mode::Always, _) => Encapsulation::Ipip,
        (Mode::CrossSubnet, _) => Encapsulation::IpipCrossSubnet,
        (Mode::Never, Mode::Always) => Encapsulation::Vxlan,
        (Mode::Never, Mode::CrossSubnet) => Encapsulation::VxlanCrossSubnet,
        (Mode::Never, Mode::Never) => Encapsulation::Direct,
    };
    if is_programmed(encapsulation, settings.program_cluster_routes, true) {
        Ok(Way { encapsulation, source: Source::Datastore })
    } else if settings.backend != Backend::Bird {
        unroutable(format!(
            "{} needs BGP, which this node does not run (CALICO_NETWORKING_BACKEND={}); set \
             CALICO_NETWORKING_BACKEND=bird, or FelixConfiguration programClusterRoutes: Enabled, \
             or the pool's ipipMode: Never and vxlanMode: Always",
            what(encapsulation),
            settings.backend.as_str()
        ))
    } else if is_programmed(encapsulation, settings.bgp_program_cluster_routes, false) {
        Ok(Way { encapsulation, source: Source::Bgp })
    } else {
        unroutable(format!(
            "{} is routed neither by programClusterRoutes: {} of FelixConfiguration nor by \
             programClusterRoutes: {} of BGPConfiguration; set one of them to Enabled",
            what(encapsulation),
            settings.program_cluster_routes.as_str(),
            settings.bgp_program_cluster_routes.as_str()
        ))
    }
}

/// What no `programClusterRoutes` can make good.
fn forbidden(pool: &Pool, settings: &Settings) -> Option<&'static str> {
    if settings.backend == Backend::None {
        return Some(
            "CALICO_NETWORKING_BACKEND is none, so this node routes to no other node; \
             set it to bird or vxlan, or leave the routes to whoever made that choice",
        );
    }
    if pool.cidr.addr().is_ipv6() && pool.vxlan != Mode::Never {
        return Some(
            "its vxlanMode needs vxlan-v6.calico, which does not exist yet; set vxlanMode: Never: \
             BGP routes IPv6 between the nodes",
        );
    }
    if settings.ipip_enabled == Some(false) && pool.ipip != Mode::Never {
        return Some(
            "its ipipMode needs tunl0, which ipipEnabled: false of FelixConfiguration or \
             FELIX_IPINIPENABLED forbids; remove that setting, or set ipipMode: Never",
        );
    }
    if settings.vxlan_enabled == Some(false) && pool.vxlan != Mode::Never {
        return Some(
            "its vxlanMode needs vxlan.calico, which vxlanEnabled: false of FelixConfiguration or \
             FELIX_VXLANENABLED forbids; remove that setting, or set vxlanMode: Never",
        );
    }
    None
}

/// Whether a `programClusterRoutes` covers such pools. VXLAN is Felix's, whatever it says.
fn is_programmed(encapsulation: Encapsulation, program: Program, by_felix: bool) -> bool {
    match encapsulation {
        Encapsulation::Vxlan | Encapsulation::VxlanCrossSubnet => by_felix,
        Encapsulation::Ipip | Encapsulation::IpipCrossSubnet => {
            matches!(program, Program::Enabled | Program::EnabledIpipOnly)
        }
        Encapsulation::Direct => matches!(program, Program::Enabled | Program::EnabledNoEncapOnly),
    }
}

fn what(encapsulation: Encapsulation) -> &'static str {
    match encapsulation {
        Encapsulation::Direct => "a pool without encapsulation",
        Encapsulation::Ipip | Encapsulation::IpipCrossSubnet => "IP-in-IP",
        Encapsulation::Vxlan | Encapsulation::VxlanCrossSubnet => "VXLAN",
    }
}

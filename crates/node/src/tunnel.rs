//! Whether this node needs an address on `vxlan.calico`.

use crate::cluster::Cluster;
use crate::event::Effect;
use ipam::Pool;
use model::{AllowedUse, EncapsulationMode, IpPool};
use std::net::IpAddr;

/// The tunnel address's course: at most one datastore operation under way.
#[derive(Debug, Default)]
pub(crate) struct Tunnel {
    under_way: bool,
    done_for: Option<Vec<Pool>>,
    problem: Option<String>,
}

impl Tunnel {
    /// Asks for an address when VXLAN pools select this node, and for its release when none does and
    /// none's packets travel by it.
    pub(crate) fn settle(&mut self, cluster: &Cluster) -> Vec<Effect> {
        if self.under_way {
            return vec![];
        }
        let pools = pools(cluster);
        let wanted = !pools.is_empty();
        if wanted == cluster.has_tunnel_address() && self.done_for.as_ref() == Some(&pools) {
            return vec![];
        }
        if !wanted && (!cluster.has_tunnel_address() || in_use(cluster)) {
            self.done_for = Some(pools);
            return vec![];
        }
        self.under_way = true;
        self.done_for = Some(pools.clone());
        vec![Effect::TunnelAddress { pools: wanted.then_some(pools) }]
    }

    /// The operation is over. A failure is tried again with the next plan after the agent's pause.
    pub(crate) fn on_result(&mut self, wanted: bool, result: Result<(), String>) {
        self.under_way = false;
        self.problem = result.err().map(|why| {
            self.done_for = None;
            let verb = if wanted { "got" } else { "released" };
            format!("the address of vxlan.calico could not be {verb}: {why}")
        });
    }

    /// What went wrong last.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }
}

/// Whether a pool that gives no addresses any more (disabled, or of other nodes now) still sends the
/// packets of its pods over VXLAN: they keep their addresses, and this node the one they travel by.
fn in_use(cluster: &Cluster) -> bool {
    let sends = |pool: &&IpPool| pool.spec.vxlan_mode != EncapsulationMode::Never;
    let mut pools = cluster.pools().values().filter(sends).filter_map(Pool::of);
    let held = cluster.topology().vxlan_address.map(IpAddr::from);
    held.is_some_and(|address| pools.any(|pool| pool.cidr.contains(&address)))
}

/// The pools the address may come from: those with VXLAN that select this node.
fn pools(cluster: &Cluster) -> Vec<Pool> {
    let usable = cluster.pools().values().filter(|pool| {
        !pool.spec.disabled
            && pool.spec.vxlan_mode != EncapsulationMode::Never
            && pool.spec.allows(AllowedUse::Tunnel)
            && pool.spec.selects_node(cluster.labels())
    });
    usable.filter_map(Pool::of).filter(|pool| pool.cidr.addr().is_ipv4()).collect()
}

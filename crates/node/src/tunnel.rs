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

    /// Why this node does not reach the pods of VXLAN pools on other nodes, where no such pool gives
    /// it an address to send from.
    pub(crate) fn missing(&self, cluster: &Cluster) -> Option<String> {
        let nobody_gives = self.done_for.as_ref().is_some_and(Vec::is_empty);
        if self.under_way || !nobody_gives || cluster.has_tunnel_address() {
            return None;
        }
        let pool = cluster.pools().values().find(sends_by_vxlan)?;
        Some(format!(
            "this node has no address on vxlan.calico, as no enabled VXLAN pool selects it: it does not \
             reach the pods of IPPool({}) on other nodes; make the pool's nodeSelector match this node",
            pool.metadata.name
        ))
    }

    /// What went wrong last.
    pub(crate) fn problem(&self) -> Option<String> {
        self.problem.clone()
    }
}

/// Whether a pool that gives no addresses any more (disabled, or of other nodes now) still sends the
/// packets of its pods over VXLAN: they keep their addresses, and this node the one they travel by.
fn in_use(cluster: &Cluster) -> bool {
    let mut pools = cluster.pools().values().filter(sends_by_vxlan).filter_map(Pool::of);
    let held = cluster.topology().vxlan_address.map(IpAddr::from);
    held.is_some_and(|address| pools.any(|pool| pool.cidr.contains(&address)))
}

fn sends_by_vxlan(pool: &&IpPool) -> bool {
    pool.spec.vxlan_mode != EncapsulationMode::Never
}

/// The pools the address may come from: those with VXLAN that select this node.
fn pools(cluster: &Cluster) -> Vec<Pool> {
    let usable = cluster.pools().values().filter(|pool| {
        !pool.spec.disabled
            && sends_by_vxlan(pool)
            && pool.spec.allows(AllowedUse::Tunnel)
            && pool.spec.selects_node(cluster.labels())
    });
    usable.filter_map(Pool::of).filter(|pool| pool.cidr.addr().is_ipv4()).collect()
}

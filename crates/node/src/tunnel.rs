//! Whether this node needs an address on `tunl0`, and one on `vxlan.calico`.

use crate::cluster::Cluster;
use crate::event::Effect;
use ipam::Pool;
use model::names::Tunnel as Kind;
use model::{AllowedUse, EncapsulationMode, IpPool};
use std::net::IpAddr;

/// The courses of both tunnels' addresses.
#[derive(Debug)]
pub(crate) struct Tunnels([Tunnel; 2]);

impl Default for Tunnels {
    fn default() -> Tunnels {
        Tunnels([Kind::Ipip, Kind::Vxlan].map(Tunnel::new))
    }
}

impl Tunnels {
    /// Asks for an address when a tunnel's pools select this node, and for its release when none
    /// does and none's packets travel by it.
    pub(crate) fn settle(&mut self, cluster: &Cluster) -> Vec<Effect> {
        self.0.iter_mut().filter_map(|tunnel| tunnel.settle(cluster)).collect()
    }

    /// An operation is over. A failure is tried again with the next plan after the agent's pause.
    pub(crate) fn on_result(&mut self, kind: Kind, wanted: bool, result: Result<(), String>) {
        for tunnel in self.0.iter_mut().filter(|tunnel| tunnel.kind == kind) {
            tunnel.on_result(wanted, &result);
        }
    }

    /// Why this node does not reach the pods of tunnels' pools on other nodes, where no such pool
    /// gives it an address to send from.
    pub(crate) fn missing(&self, cluster: &Cluster) -> Vec<String> {
        self.0.iter().filter_map(|tunnel| tunnel.missing(cluster)).collect()
    }

    /// What went wrong last.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.0.iter().filter_map(|tunnel| tunnel.problem.clone()).collect()
    }
}

/// One tunnel address's course: at most one datastore operation under way.
#[derive(Debug)]
struct Tunnel {
    kind: Kind,
    under_way: bool,
    done_for: Option<Vec<Pool>>,
    problem: Option<String>,
}

impl Tunnel {
    fn new(kind: Kind) -> Tunnel {
        Tunnel { kind, under_way: false, done_for: None, problem: None }
    }

    fn settle(&mut self, cluster: &Cluster) -> Option<Effect> {
        if self.under_way {
            return None;
        }
        let pools = self.pools(cluster);
        let (wanted, held) = (!pools.is_empty(), cluster.tunnel_address(self.kind).is_some());
        if wanted == held && self.done_for.as_ref() == Some(&pools) {
            return None;
        }
        if !wanted && (!held || self.in_use(cluster)) {
            self.done_for = Some(pools);
            return None;
        }
        self.under_way = true;
        self.done_for = Some(pools.clone());
        Some(Effect::TunnelAddress { tunnel: self.kind, pools: wanted.then_some(pools) })
    }

    fn on_result(&mut self, wanted: bool, result: &Result<(), String>) {
        self.under_way = false;
        self.problem = result.as_ref().err().map(|why| {
            self.done_for = None;
            let verb = if wanted { "got" } else { "released" };
            format!("the address of {} could not be {verb}: {why}", self.device())
        });
    }

    /// Packets of pods go through `tunl0` without an address of its own; the node's own need one.
    fn missing(&self, cluster: &Cluster) -> Option<String> {
        let nobody_gives = self.done_for.as_ref().is_some_and(Vec::is_empty);
        let held = cluster.tunnel_address(self.kind).is_some();
        if self.kind != Kind::Vxlan || self.under_way || !nobody_gives || held {
            return None;
        }
        let pool = cluster.pools().values().find(|pool| self.carries(pool))?;
        Some(format!(
            "this node has no address on vxlan.calico, as no enabled VXLAN pool selects it: it does not \
             reach the pods of IPPool({}) on other nodes; make the pool's nodeSelector match this node",
            pool.metadata.name
        ))
    }

    fn device(&self) -> &'static str {
        match self.kind {
            Kind::Ipip => plan::IPIP_DEVICE,
            _ => plan::VXLAN_DEVICE,
        }
    }

    /// Whether the pool's packets travel through this tunnel.
    fn carries(&self, pool: &IpPool) -> bool {
        let mode = match self.kind {
            Kind::Ipip => pool.spec.ipip_mode,
            _ => pool.spec.vxlan_mode,
        };
        mode != EncapsulationMode::Never
    }

    /// Whether a pool that gives no addresses any more (disabled, or of other nodes now) still sends
    /// the packets of its pods through the tunnel: they keep their addresses, and this node the one
    /// they travel by.
    fn in_use(&self, cluster: &Cluster) -> bool {
        let carried = cluster.pools().values().filter(|pool| self.carries(pool));
        let mut pools = carried.filter_map(Pool::of);
        let held = cluster.tunnel_address(self.kind).map(IpAddr::from);
        held.is_some_and(|address| pools.any(|pool| pool.cidr.contains(&address)))
    }

    /// The pools the address may come from: those of this tunnel that select this node.
    fn pools(&self, cluster: &Cluster) -> Vec<Pool> {
        let usable = cluster.pools().values().filter(|pool| {
            !pool.spec.disabled
                && self.carries(pool)
                && pool.spec.allows(AllowedUse::Tunnel)
                && pool.spec.selects_node(cluster.labels())
        });
        usable.filter_map(Pool::of).filter(|pool| pool.cidr.addr().is_ipv4()).collect()
    }
}

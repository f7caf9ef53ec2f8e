//! What a node wants in its kernel: addresses, blocks and pools in, kernel values out.
//!
//! ```text
//!  Topology (who has which block, which pool says what, what the kernel already routes)
//!      │
//!      ├─ encapsulation: pool ──▶ how its packets travel, or why they can't
//!      ├─ vxlan, ipip:   vxlan.calico, its FDB and neighbours; tunl0 and whose packets it takes
//!      ├─ routes:        blocks, borrowed addresses, learned routes ──▶ routes, blackholes
//!      ├─ workload:      routes and sysctls of local interfaces
//!      └─ masquerade:    tables calico (masquerade, tunnel protection)
//!      ▼
//!  Plan { state, owned, tables, pod_mtu, refresh_interval, unroutable, unreachable }
//! ```
//!
//! Owns: the table of routing modes, and every decision about what is programmed. A plan is a
//! value: computed afresh from the whole topology, so that it cannot depend on the order of events.
//!
//! Must not know: syscalls, the datastore, time.

mod encapsulation;
mod ipip;
mod masquerade;
mod mtu;
mod next_hop;
pub mod policy;
mod routes;
mod topology;
mod vxlan;
mod workload;

pub use encapsulation::{Encapsulation, Unroutable};
pub use ipip::DEVICE as IPIP_DEVICE;
pub use topology::{Facts, Learned, Pool, RemoteNode, Settings, Topology, Workload};
pub use vxlan::{DEVICE as VXLAN_DEVICE, device_mac as vxlan_mac};

use encapsulation::{Source, Way};
use kernel::{Ownership, State, nft};
use model::config::NetworkingBackend;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Everything a node wants in its kernel.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Links, addresses, routes, neighbours, FDB entries, sysctls.
    pub state: State,
    /// What of the kernel's state may be removed because it isn't in `state`.
    pub owned: Ownership,
    /// nf_tables tables that are wholly ours.
    pub tables: Vec<nft::Table>,
    /// Bytes a pod's interface may send in one packet, as `/var/lib/calico/mtu` says.
    pub pod_mtu: u32,
    /// How often the kernel is to be read again although nobody told of a change; `None`: never.
    pub refresh_interval: Option<Duration>,
    /// Pools whose packets cannot travel, each with the reason and the next step.
    pub unroutable: Vec<Unroutable>,
    /// Learned routes that are left out, as this node has no way to their next hops.
    pub unreachable: usize,
}

/// Computes the plan of the topology's own node.
pub fn plan(topology: &Topology) -> Plan {
    let mut state = State::default();
    let mut unroutable = Vec::new();
    workload::add(topology, &mut state);
    vxlan::add(topology, &mut state);
    ipip::add(topology, &mut state);
    let ways = topology.pools.iter().map(|pool| {
        let way = encapsulation::of(pool, topology).map_err(|why| unroutable.push(why)).ok();
        routes::add_blackholes(topology, pool, way, &mut state);
        if let Some(Way { encapsulation, source: Source::Datastore }) = way {
            routes::add(topology, pool, encapsulation, &mut state);
        }
        way
    });
    let ways: Vec<_> = ways.collect();
    let unreachable = routes::add_learned(topology, &ways, &mut state);
    Plan {
        owned: owned(topology),
        tables: masquerade::tables(topology),
        pod_mtu: mtu::pod(topology),
        refresh_interval: topology.settings.refresh_interval,
        state,
        unroutable,
        unreachable,
    }
}

/// With backend `bird`, routes of its protocol are ours. What a former process left of them goes only
/// once all peers have said what they know (RFC 4724, 4.1); others' are never facts to stand on.
fn owned(topology: &Topology) -> Ownership {
    let settings = &topology.settings;
    let bird = (settings.backend == NetworkingBackend::Bird).then_some(kernel::PROTOCOL_BIRD);
    Ownership {
        route_protocols: bird.into_iter().chain([settings.cluster_route_protocol]).collect(),
        kept_protocols: bird.into_iter().filter(|_| !topology.learned.in_sync).collect(),
        workload_prefixes: topology.settings.interface_prefixes.clone(),
        external_workload_routes: topology.settings.remove_external_routes,
        devices: [vxlan::DEVICE, ipip::DEVICE].map(str::to_owned).into(),
    }
}

#[cfg(test)]
mod tests;

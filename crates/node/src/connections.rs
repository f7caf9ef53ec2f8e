//! Connections that were allowed once and that policy forbids now, or whose workload has gone: they must
//! end.
//!
//! ```text
//!  policy changed ──▶ Applied ──▶ Effect::ListConnections ──▶ conntrack
//!  Effect::EndConnections ◀── those that policy denies ◀── Event::Connections
//! ```
//!
//! Packets of a connection are accepted before any policy is asked, so it is the kernel's memory of
//! it that has to go.

use crate::cluster::Cluster;
use crate::event::Effect;
use policy::evaluate::{self, Direction, Packet, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::IpAddr;

/// A connection that the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Names it in its list.
    pub number: usize,
    /// Its first packet as policies of workloads saw it: before the source was translated, after the
    /// destination was.
    pub packet: Packet,
}

/// When connections are looked at.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    /// The generation from which on the kernel has what they are judged by; `None`: nothing to do.
    due: Option<u64>,
    /// A list was asked for and has not come.
    asked: bool,
    /// Workloads that went while no agent ran have been looked for.
    looked_back: bool,
    /// Addresses that were workloads' when the list was asked for, and are no more.
    gone: HashSet<IpAddr>,
}

impl Connections {
    /// Policy has changed with this generation.
    pub(crate) fn changed(&mut self, generation: u64) {
        self.due = Some(generation);
    }

    /// The kernel has taken this generation, or a list has come.
    pub(crate) fn settle(&mut self, applied: u64, cluster: &mut Cluster) -> Option<Effect> {
        if self.asked || self.due.is_none_or(|due| due > applied) {
            return None;
        }
        self.due = None;
        self.gone = cluster.policy_mut().take_gone();
        if !std::mem::replace(&mut self.looked_back, true) {
            self.gone.extend(cluster.addresses_of_nobody());
        }
        let workloads = cluster.policy().workloads();
        let held = workloads.flat_map(|(_, workload)| workload.addresses.iter().copied());
        let addresses: HashSet<IpAddr> = held.chain(self.gone.iter().copied()).collect();
        self.asked = !addresses.is_empty();
        self.asked.then_some(Effect::ListConnections(addresses))
    }

    /// A list has come: those that policy denies are to end.
    pub(crate) fn judge(&mut self, cluster: &Cluster, list: &[Connection]) -> Option<Effect> {
        self.asked = false;
        let denied: Vec<usize> = list
            .iter()
            .filter(|Connection { packet, .. }| {
                let gone = |address| self.gone.contains(address);
                gone(&packet.source) || gone(&packet.destination) || is_denied(cluster, packet)
            })
            .map(|connection| connection.number)
            .collect();
        (!denied.is_empty()).then_some(Effect::EndConnections(denied))
    }
}

/// Whether the policies of a workload of this node deny the packet. What the node itself sends to its
/// workloads is never denied.
fn is_denied(cluster: &Cluster, packet: &Packet) -> bool {
    let policy = cluster.policy();
    let denies = |address, direction| {
        let workload = policy.workload_at(address);
        workload.is_some_and(|(_, workload)| {
            evaluate::workload(policy, workload, direction, packet).verdict == Verdict::Deny
        })
    };
    denies(packet.source, Direction::Egress)
        || !cluster.is_own_address(packet.source) && denies(packet.destination, Direction::Ingress)
}

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
use crate::way::Ways;
use policy::evaluate::{At, Packet, Traffic, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::HashSet;
use std::net::IpAddr;

/// A connection that the kernel tracks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// Names it in its list.
    pub number: usize,
    /// Its first packet as most policies saw it: before the source was translated, after the
    /// destination was.
    pub packet: Packet,
    /// The destination was translated: what came in was another packet.
    pub is_dnat: bool,
}

/// Which of the kernel's connections are listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Listed {
    /// Those that one of these addresses began or answers.
    Of(HashSet<IpAddr>),
    /// Every one: host endpoints judge what the node forwards, whoever's it is.
    All,
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
        let host_endpoints = cluster.policy().host_endpoints();
        let mut assigned = host_endpoints.named.values().chain(&host_endpoints.others);
        if assigned.any(|one| !(one.forward.is_empty() && one.pre_dnat.is_empty())) {
            self.asked = true;
            return Some(Effect::ListConnections(Listed::All));
        }
        let workloads = cluster.policy().workloads();
        let held = workloads.flat_map(|(_, workload)| workload.addresses.iter().copied());
        let mut addresses: HashSet<IpAddr> = held.chain(self.gone.iter().copied()).collect();
        if host_endpoints != <_>::default() {
            let own = cluster.topology().facts.addresses.iter().map(|(_, net)| net.addr());
            addresses.extend(own.filter(|address| !address.is_loopback()));
        }
        self.asked = !addresses.is_empty();
        self.asked.then_some(Effect::ListConnections(Listed::Of(addresses)))
    }

    /// A list has come: those that policy denies are to end.
    pub(crate) fn judge(
        &mut self,
        cluster: &Cluster,
        plan: Option<&plan::Plan>,
        list: &[Connection],
    ) -> Option<Effect> {
        self.asked = false;
        let ways = Ways::new(cluster, plan);
        let denied: Vec<usize> = list
            .iter()
            .filter(|connection| {
                let packet = &connection.packet;
                let gone = |address| self.gone.contains(address);
                gone(&packet.source) || gone(&packet.destination) || is_denied(&ways, connection)
            })
            .map(|connection| connection.number)
            .collect();
        (!denied.is_empty()).then_some(Effect::EndConnections(denied))
    }
}

/// Whether policies on the way deny the connection. What the node itself sends to its workloads is
/// never denied, nor what is of failsafe ports, whoever began it: of a connection older than
/// connection tracking, that is not known for sure.
fn is_denied(ways: &Ways<'_>, connection: &Connection) -> bool {
    let packet = &connection.packet;
    let (from, to) = (ways.end(packet.source), ways.end(packet.destination));
    let decisions = ways.decisions(&from, &to, packet);
    match decisions.last() {
        Some((at, decision)) if decision.verdict == Verdict::Deny => match at {
            At::HostEndpoint(Traffic::PreDnat | Traffic::Untracked, _) if connection.is_dnat => {
                false
            }
            At::HostEndpoint(Traffic::Forwarded, _) | At::Workload(_) | At::Node => true,
            At::HostEndpoint(_, direction) => !ways.failsafe().concerns(*direction, packet),
        },
        _ => false,
    }
}

//! What this node does with a packet, and why: policy, NAT, route, encapsulation, and what its kernel
//! holds of them.
//!
//! ```text
//!  Request::Explain(packet) ──▶ Explanation (policy and plan) ──Effect::ReadKernel──▶ kernel
//!                                    Reply::Explained ◀── with Event::KernelRead ◀──────┘
//! ```
//!
//! The verdict is that of [`policy::evaluate`] on the rules in force, which the kernel's tables are
//! made of and compared with here: what is printed cannot drift from what is enforced.

use crate::api::Reply;
use crate::cluster::Cluster;
use crate::event::{Effect, RequestId};
use crate::way::{self, End, Ways};
use kernel::nft::Family;
use plan::policy::chain_name;
use policy::evaluate::{At, Decision, Owner, Packet, Reason};
use policy::input::WorkloadId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Explanations that wait for the kernel at the same time, at most.
const EXPLANATIONS_MAX: usize = 64;

/// What one node does with a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The node's name.
    pub node: String,
    /// The packet.
    pub packet: Packet,
    /// What is said of it, in the order the packet meets them: by policies of workloads and of host
    /// endpoints, and by the node. If one denies it, that is the last.
    pub legs: Vec<Leg>,
    /// Address translation by this node's own rules.
    pub nat: Nat,
    /// What the kernel holds.
    pub kernel: KernelHolds,
}

/// What the policies of one endpoint say, or the node itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leg {
    /// Where on the packet's way.
    pub at: At,
    /// The endpoint, if it is a workload.
    pub workload: Option<WorkloadId>,
    /// The host's end of a workload's veth pair, or the interface of a host endpoint.
    pub interface: Box<str>,
    /// What they say, and why.
    pub decision: Decision,
}

/// Address translation by a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Nat {
    /// None.
    #[default]
    None,
    /// `natOutgoing`: the source becomes the node's address, as the destination is in no pool.
    Masquerade,
}

/// What is asked of the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelQuestion {
    /// Chains of the tables `calico`.
    pub chains: Vec<(Family, String)>,
    /// Where packets to this address go.
    pub destination: IpAddr,
}

/// What the kernel holds of what was asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelHolds {
    /// The chains that packets of this kind come through.
    pub chains: Vec<HeldChain>,
    /// Where packets to the destination go; `None`: nowhere.
    pub route: Option<HeldRoute>,
    /// What could not be read, and why.
    pub problems: Vec<String>,
}

/// The way to an address, by the kernel's own choice (`ip route get`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRoute {
    /// The device that packets leave by.
    pub device: String,
    /// The next hop; `None` where the address is on the device's own link. On a tunnel's device, the
    /// other end or its tunnel address.
    pub gateway: Option<IpAddr>,
    /// The address is one of the node's own.
    pub local: bool,
}

/// A chain as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldChain {
    /// Its name.
    pub name: String,
    /// It is what this node wants.
    pub as_wanted: bool,
    /// Its rules in order.
    pub rules: Vec<HeldRule>,
}

/// A rule as the kernel holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldRule {
    /// As `nft` prints it, without comment and counter.
    pub text: String,
    /// Its comment, which names the policy's rule.
    pub comment: String,
    /// Packets that it has matched since its chain was written.
    pub packets: u64,
}

/// Explanations that wait for the kernel's part.
#[derive(Debug, Default)]
pub(crate) struct Explanations(BTreeMap<RequestId, Explanation>);

impl Explanations {
    /// Starts one; or answers at once, that it cannot be.
    pub(crate) fn start(
        &mut self,
        id: RequestId,
        packet: Packet,
        cluster: &Cluster,
        plan: Option<&plan::Plan>,
        in_sync: bool,
    ) -> Effect {
        let failed =
            |message: String| Effect::Reply { id, reply: Reply::Failed { retry: true, message } };
        if !in_sync {
            let node = cluster.node();
            return failed(format!("{node} has not read the datastore yet; try again"));
        }
        if self.0.len() >= EXPLANATIONS_MAX {
            return failed(format!("{EXPLANATIONS_MAX} explanations are under way; try again"));
        }
        let (explanation, question) = explain(cluster, plan, packet);
        self.0.insert(id, explanation);
        Effect::ReadKernel { id, question }
    }

    /// The kernel's part has come.
    pub(crate) fn finish(&mut self, id: RequestId, holds: KernelHolds) -> Vec<Effect> {
        let explained = self.0.remove(&id).map(|explanation| {
            let explanation = Box::new(Explanation { kernel: holds, ..explanation });
            Effect::Reply { id, reply: Reply::Explained(explanation) }
        });
        explained.into_iter().collect()
    }
}

/// What policy and plan say; the kernel has still to be asked.
fn explain(
    cluster: &Cluster,
    plan: Option<&plan::Plan>,
    packet: Packet,
) -> (Explanation, KernelQuestion) {
    let ways = Ways::new(cluster, plan);
    let (from, to) = (ways.end(packet.source), ways.end(packet.destination));
    let mut legs: Vec<Leg> = Vec::new();
    let mut chains: Vec<String> = Vec::new();
    for (at, decision) in ways.decisions(&from, &to, &packet) {
        let end = if way::is_at_source(at) { &from } else { &to };
        if !ways.has_policies(at, end) {
            continue;
        }
        let (interface, own) = ways.interface_of(end);
        for chain in chains_of(at, interface, own, &decision) {
            if !chains.contains(&chain) {
                chains.push(chain);
            }
        }
        let workload = match (at, end) {
            (At::Workload(_) | At::Node, End::Workload(id, _)) => Some((*id).clone()),
            _ => None,
        };
        legs.push(Leg { at, workload, interface: interface.into(), decision });
    }
    let family = if packet.source.is_ipv4() { Family::Ip } else { Family::Ip6 };
    let chains = chains.into_iter().map(|name| (family, name)).collect();
    let explanation = Explanation {
        node: cluster.node().to_owned(),
        packet,
        legs,
        nat: nat(cluster.topology(), packet),
        kernel: KernelHolds::default(),
    };
    (explanation, KernelQuestion { chains, destination: packet.destination })
}

/// The endpoint's chain, and that of the policy or profile that decided.
fn chains_of(at: At, interface: &str, own: Option<&str>, decision: &Decision) -> Vec<String> {
    let endpoint = match at {
        At::Workload(direction) => Some(chain_name::workload(interface, direction)),
        At::HostEndpoint(traffic, direction) => chain_name::host(traffic, direction, own),
        At::Node => None,
    };
    let decided = match &decision.by {
        Reason::Rule(rule) => Some(match &rule.owner {
            Owner::Policy { id, .. } => chain_name::policy(id, rule.direction),
            Owner::Profile(name) => chain_name::profile(name, rule.direction),
        }),
        _ => None,
    };
    endpoint.into_iter().chain(decided).collect()
}

fn nat(topology: &plan::Topology, packet: Packet) -> Nat {
    let pool_of = |address: IpAddr| topology.pools.iter().find(|pool| pool.cidr.contains(&address));
    let source = pool_of(packet.source).is_some_and(|pool| pool.nat_outgoing);
    let leaves = pool_of(packet.destination).is_none();
    // The node's own address is no way out.
    let local = topology.facts.has_address(packet.destination);
    if source && leaves && packet.source.is_ipv4() && !local { Nat::Masquerade } else { Nat::None }
}

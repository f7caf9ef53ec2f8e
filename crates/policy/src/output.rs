//! What the graph tells: all that a dataplane of this node needs, and nothing else.

use crate::input::{Action, Icmp, PolicyId, WorkloadId};
use ipnet::IpNet;
use model::DefaultAction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

/// One thing that a dataplane must know. A flush tells them in this order: sets come and change;
/// policies and profiles; endpoints; endpoints go; policies and profiles go; sets go. So nothing that
/// is told refers to anything that isn't there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Output {
    /// A set comes into being, or is told anew, with all its members.
    Set {
        /// Which.
        id: SetId,
        /// What its members are.
        kind: SetKind,
        /// All of them.
        members: BTreeSet<Member>,
    },
    /// A set's members change.
    Members {
        /// Which set.
        id: SetId,
        /// New ones.
        added: Vec<Member>,
        /// Those that are gone.
        removed: Vec<Member>,
    },
    /// No rule refers to the set any more.
    SetGone(SetId),
    /// A policy that an endpoint of this node has, as it is now.
    Policy(PolicyId, Arc<Policy>),
    /// No endpoint of this node has it any more.
    PolicyGone(PolicyId),
    /// A profile that an endpoint of this node has, as it is now.
    Profile(Box<str>, Arc<Profile>),
    /// No endpoint of this node has it any more, or it doesn't exist.
    ProfileGone(Box<str>),
    /// A workload endpoint of this node, as it is now.
    Workload(WorkloadId, Arc<Workload>),
    /// It is gone.
    WorkloadGone(WorkloadId),
    /// A host endpoint of this node, as it is now.
    HostEndpoint(String, Arc<HostEndpoint>),
    /// It is gone.
    HostEndpointGone(String),
}

/// Names a set by what it holds: `s:` and a hash for a selector, `n:` for a named port, `svc:` and
/// `svcnoport:` for a service (Calico's `MakeUniqueID`, `calico-features.md` §2 and §6.3).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SetId(pub Arc<str>);

/// What a set's members are. A set holds both families.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SetKind {
    /// [`Member::Net`].
    Nets,
    /// [`Member::Port`].
    Ports,
}

/// A member of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Member {
    /// An address (`/32`, `/128`) or a prefix, without host bits.
    Net(IpNet),
    /// A port of an address.
    Port {
        /// Whose.
        address: IpAddr,
        /// IP protocol number.
        protocol: u8,
        /// Which.
        port: u16,
    },
}

/// A policy in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Its tier.
    pub tier: Box<str>,
    /// Only evaluated, never enforced.
    pub staged: bool,
    /// Rules for what comes in.
    pub ingress: Vec<Rule>,
    /// Rules for what goes out.
    pub egress: Vec<Rule>,
    /// As [`crate::input::Policy::broken`]; then it has one rule in each direction that it applies
    /// to, which denies everything.
    pub broken: Option<Box<str>>,
}

/// A profile in force.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Rules for what comes in.
    pub ingress: Vec<Rule>,
    /// Rules for what goes out.
    pub egress: Vec<Rule>,
}

/// A rule with its selectors replaced by sets; all that it says must hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// What happens then.
    pub action: Action,
    /// 4 or 6.
    pub ip_version: Option<u8>,
    /// IP protocol number.
    pub protocol: Option<u8>,
    /// Any other protocol than this one.
    pub not_protocol: Option<u8>,
    /// Type and perhaps code of ICMP or ICMPv6.
    pub icmp: Option<Icmp>,
    /// Anything else than this type (and code).
    pub not_icmp: Option<Icmp>,
    /// Where packets come from.
    pub source: Entity,
    /// Where they go.
    pub destination: Entity,
    /// The rule's name; empty without.
    pub name: Box<str>,
}

/// One end of a packet; all that it says must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entity {
    /// In one of these, if there are any.
    pub nets: Vec<IpNet>,
    /// In none of these.
    pub not_nets: Vec<IpNet>,
    /// In each of these sets of [`SetKind::Nets`].
    pub sets: Vec<SetId>,
    /// In none of these sets of [`SetKind::Nets`].
    pub not_sets: Vec<SetId>,
    /// In one of these ranges or one of `port_sets`, if there are any of either.
    pub ports: Vec<(u16, u16)>,
    /// Address, protocol and port in one of these sets of [`SetKind::Ports`]: see `ports`.
    pub port_sets: Vec<SetId>,
    /// In none of these ranges.
    pub not_ports: Vec<(u16, u16)>,
    /// Address, protocol and port in none of these sets of [`SetKind::Ports`].
    pub not_port_sets: Vec<SetId>,
    /// Address, protocol and port in this set of [`SetKind::Ports`]: the backends of a service.
    pub service: Option<SetId>,
}

/// The policies of one tier that apply to an endpoint in some direction; at least one.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tier {
    /// Its name.
    pub name: Box<str>,
    /// What happens to packets that no rule decides; it counts in a direction only if a policy that
    /// is not staged applies in that direction.
    pub default_action: DefaultAction,
    /// Policies that apply to what comes in, in order, staged ones too. Endpoints with the same policies
    /// share the list, which may be long.
    pub ingress: Arc<[PolicyId]>,
    /// Policies that apply to what goes out, in order, staged ones too.
    pub egress: Arc<[PolicyId]>,
}

/// A workload endpoint of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Workload {
    /// The host's end of the veth pair.
    pub interface: Box<str>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Sources other than its own addresses that it may send from.
    pub allowed_sources: Vec<IpNet>,
    /// Tiers in order.
    pub tiers: Vec<Tier>,
    /// Names of its profiles in order; those that don't exist have no rules.
    pub profiles: Vec<Box<str>>,
}

/// A host endpoint of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostEndpoint {
    /// Its name, `*` for all; empty where the addresses say which.
    pub interface: Box<str>,
    /// `expectedIPs`.
    pub addresses: Vec<IpAddr>,
    /// Tiers of normal policies, for the host's own traffic.
    pub tiers: Vec<Tier>,
    /// Tiers of `applyOnForward` policies, for what is forwarded.
    pub forward: Vec<Tier>,
    /// Tiers of `doNotTrack` policies.
    pub untracked: Vec<Tier>,
    /// Tiers of `preDNAT` policies (ingress only).
    pub pre_dnat: Vec<Tier>,
    /// Names of its profiles in order; those that don't exist have no rules.
    pub profiles: Vec<Box<str>>,
}

impl Rule {
    /// The sets it refers to, with the kind each must be of.
    pub fn sets(&self) -> impl Iterator<Item = (&SetId, SetKind)> {
        [&self.source, &self.destination].into_iter().flat_map(Entity::all_sets)
    }
}

impl Entity {
    fn all_sets(&self) -> impl Iterator<Item = (&SetId, SetKind)> {
        let nets = self.sets.iter().chain(&self.not_sets);
        let ports = self.port_sets.iter().chain(&self.not_port_sets).chain(&self.service);
        nets.map(|id| (id, SetKind::Nets)).chain(ports.map(|id| (id, SetKind::Ports)))
    }
}

impl Tier {
    /// Its policies, of both directions.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyId> {
        self.ingress.iter().chain(&*self.egress)
    }
}

impl HostEndpoint {
    /// Tiers of all its kinds of policies.
    pub fn all_tiers(&self) -> impl Iterator<Item = &Tier> {
        [&self.tiers, &self.forward, &self.untracked, &self.pre_dnat].into_iter().flatten()
    }
}

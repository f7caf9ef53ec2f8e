//! What the graph is computed from: Calico's resources, flattened as Calico's syncer does.
//!
//! Namespaces and service accounts have become parts of selectors here, so that nothing behind needs
//! to know of them (`calico-features.md` §3.4). Selectors are texts: most are of policies that no
//! endpoint of this node has, and need not be read.

use ipnet::IpNet;
use model::DefaultAction;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// An object as it is now; `None`: it is gone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "each variant is the id and the type it holds")]
pub enum Update {
    Workload(WorkloadId, Option<Box<Workload>>),
    HostEndpoint(String, Option<Box<HostEndpoint>>),
    Policy(PolicyId, Option<Box<Policy>>),
    Tier(String, Option<Tier>),
    Profile(String, Option<Box<Profile>>),
    NetworkSet(NetworkSetId, Option<Box<NetworkSet>>),
    EndpointSlice(EndpointSliceId, Option<Box<EndpointSlice>>),
}

/// Names a workload endpoint: namespace and name of the resource.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkloadId {
    /// `metadata.namespace`.
    pub namespace: Box<str>,
    /// `metadata.name`, e.g. `worker--1-k8s-pod--1-eth0`.
    pub name: Box<str>,
}

/// An interface of a pod, on whatever node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Workload {
    /// The node it runs on.
    pub node: Box<str>,
    /// The host's end of the veth pair.
    pub interface: Box<str>,
    /// Its own addresses.
    pub addresses: Vec<IpAddr>,
    /// Its own labels; profiles add theirs.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Names of its profiles, in order.
    pub profiles: Vec<Box<str>>,
    /// Named ports.
    pub ports: Vec<NamedPort>,
    /// Sources other than its own addresses that it may send from.
    pub allowed_sources: Vec<IpNet>,
}

/// A port with a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamedPort {
    /// What rules call it.
    pub name: Box<str>,
    /// IP protocol number.
    pub protocol: u8,
    /// The port.
    pub port: u16,
}

/// An interface of a node, or (`*`) all of them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct HostEndpoint {
    /// The node.
    pub node: Box<str>,
    /// Its name, `*` for all; empty where the addresses say which.
    pub interface: Box<str>,
    /// `expectedIPs`.
    pub addresses: Vec<IpAddr>,
    /// Its own labels; profiles add theirs.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// Names of its profiles, in order.
    pub profiles: Vec<Box<str>>,
    /// Named ports.
    pub ports: Vec<NamedPort>,
}

/// What kind of resource a policy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the kinds' own names")]
pub enum PolicyKind {
    GlobalNetworkPolicy,
    NetworkPolicy,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    StagedKubernetesNetworkPolicy,
    KubernetesNetworkPolicy,
    KubernetesClusterNetworkPolicy,
}

/// Names a policy.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PolicyId {
    /// Its kind.
    pub kind: PolicyKind,
    /// Its namespace; empty for kinds of the whole cluster.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// A policy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// Its tier's name.
    pub tier: Box<str>,
    /// Lower comes first; `None` last.
    pub order: Option<f64>,
    /// The endpoints it applies to, with namespace and service accounts as parts of it.
    pub selector: Box<str>,
    /// It says something about what comes to the endpoint.
    pub applies_to_ingress: bool,
    /// It says something about what the endpoint sends.
    pub applies_to_egress: bool,
    /// Rules for what comes in, in order.
    pub ingress: Vec<Rule>,
    /// Rules for what goes out, in order.
    pub egress: Vec<Rule>,
    /// Only evaluated, never enforced.
    pub staged: bool,
    /// Of host endpoints: before connection tracking.
    pub do_not_track: bool,
    /// Of host endpoints: before DNAT.
    pub pre_dnat: bool,
    /// Of host endpoints: also for what is forwarded.
    pub apply_on_forward: bool,
    /// It cannot be enforced as it is written, and why: its endpoints deny all it is about.
    pub broken: Option<Box<str>>,
}

/// A tier.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tier {
    /// Lower comes first; `None` last.
    pub order: Option<f64>,
    /// What happens to packets that policies of it apply to and no rule decides.
    pub default_action: DefaultAction,
}

/// Rules and labels that endpoints take over by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Profile {
    /// Rules for what comes in, in order.
    pub ingress: Vec<Rule>,
    /// Rules for what goes out, in order.
    pub egress: Vec<Rule>,
    /// Labels its endpoints have where they have no own one of that name.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// As [`Policy::broken`].
    pub broken: Option<Box<str>>,
}

/// Names a network set; an empty namespace means a GlobalNetworkSet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NetworkSetId {
    /// Its namespace; empty for a GlobalNetworkSet.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// Prefixes with labels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NetworkSet {
    /// The prefixes.
    pub nets: Vec<IpNet>,
    /// Its own labels.
    pub labels: BTreeMap<Box<str>, Box<str>>,
    /// A namespaced set takes over its namespace's labels from `kns.NAMESPACE`.
    pub profiles: Vec<Box<str>>,
}

/// Names a Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ServiceId {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// Names an EndpointSlice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EndpointSliceId {
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
}

/// Addresses and ports behind a Service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EndpointSlice {
    /// Whose.
    pub service: ServiceId,
    /// Addresses, ready or not, as Calico takes them.
    pub addresses: Vec<IpAddr>,
    /// Protocol number and port.
    pub ports: Vec<(u8, u16)>,
}

/// What a rule does with packets that match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Action {
    /// It may pass, as far as this direction goes.
    Allow,
    /// It is dropped.
    Deny,
    /// It is reported, and the next rule looked at.
    Log,
    /// The next tier decides; after the last one, the profiles.
    Pass,
}

/// One rule; all that it says must hold.
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
    /// Where packets come from; `None`: anywhere.
    pub source: Option<Box<Entity>>,
    /// Where they go; `None`: anywhere.
    pub destination: Option<Box<Entity>>,
    /// The rule's name, from `metadata.annotations`; empty without.
    pub name: Box<str>,
}

/// An ICMP message's kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Icmp {
    /// The type.
    pub kind: u8,
    /// The code; `None`: any.
    pub code: Option<u8>,
}

/// One end of a packet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Entity {
    /// One of these; empty: any.
    pub nets: Box<[IpNet]>,
    /// None of these.
    pub not_nets: Box<[IpNet]>,
    /// An endpoint or network set that is selected; empty: any address.
    pub selector: Box<str>,
    /// No endpoint or network set that is selected; empty: any address.
    pub not_selector: Box<str>,
    /// One of these; empty: any.
    pub ports: Box<[Port]>,
    /// None of these.
    pub not_ports: Box<[Port]>,
    /// A backend of this Service: as destination with one of its ports, as source with any.
    pub service: Option<ServiceId>,
}

/// A port as rules name it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Port {
    /// From first to last.
    Range(u16, u16),
    /// The port that the endpoint calls so.
    Named(Box<str>),
}

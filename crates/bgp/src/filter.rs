//! BGPFilter's rules, compiled: which routes pass, and what is done to them (calico-features §1.4).

use crate::wire::Attributes;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// One BGPFilter, one direction, both families.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filter {
    /// The resource's name.
    pub name: String,
    /// The first that matches decides.
    pub rules: Vec<Rule>,
}

/// One rule; empty conditions match all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {}

/// What a filter looks at.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// The route's destination.
    pub prefix: IpNet,
    /// Its attributes.
    pub attributes: &'a Attributes,
    /// Learned from a peer (`source: RemotePeers`).
    pub from_peer: bool,
    /// The peer at hand is of another AS.
    pub external: bool,
}

/// What the filters said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Passes, with these attributes instead of its own if any rule changed them.
    Accept(Option<Attributes>),
    /// Stops.
    Reject,
    /// No rule matched: the peer's default decides.
    Unmatched,
}

/// Runs filters in order.
pub fn decide(_filters: &[Filter], _candidate: Candidate<'_>) -> Verdict {
    Verdict::Unmatched
}

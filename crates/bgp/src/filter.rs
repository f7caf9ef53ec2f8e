//! BGPFilter's rules, compiled: which routes pass, and what is done to them (calico-features §1.4).
//!
//! Each rule means what the line of BIRD's configuration that Calico makes of it means.

mod compile;
#[cfg(test)]
mod tests;

pub use compile::{export_rules, import_rules};

use crate::wire::{AsSegment, Attributes, Family};
use ipnet::IpNet;
use model::CommunityValue;
use serde::{Deserialize, Serialize};

/// LOCAL_PREF of a route is this less its priority, so that a smaller priority is the better one.
pub const LOCAL_PREF_OF_PRIORITY_0: u32 = i32::MAX.cast_unsigned();
/// Priority of a node's own routes, where nobody has set another.
const OWN_PRIORITY: u32 = 1024;
/// LOCAL_PREF that BIRD takes a learned route without one to have.
const LOCAL_PREF_UNSAID: u32 = 100;
/// AS numbers in one segment of AS_PATH (RFC 4271, 4.3: its length is an octet).
const SEGMENT_MAX: usize = 255;

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
pub struct Rule {
    /// Routes of this family.
    pub family: Option<Family>,
    /// `cidr`, `matchOperator`, `prefixLength`.
    pub destination: Option<Destination>,
    /// `source: RemotePeers`: learned from a peer.
    pub from_peer: bool,
    /// `peerType`: true for eBGP, false for iBGP.
    pub external: Option<bool>,
    /// The route carries this one.
    pub community: Option<CommunityValue>,
    /// What the AS path begins with.
    pub as_path_prefix: Vec<u32>,
    /// The route's priority.
    pub priority: Option<u32>,
    /// The route stops; otherwise it passes.
    pub reject: bool,
    /// What is done to a route that passes, in order.
    pub operations: Vec<Operation>,
}

/// A comparison of a route's destination with a range.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// The range.
    pub range: IpNet,
    /// How they are compared.
    pub operator: Operator,
    /// Least and greatest prefix length of a destination that is equal or in.
    pub lengths: (u8, u8),
}

/// How a destination is compared with a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Operator {
    Equal,
    NotEqual,
    In,
    NotIn,
}

/// A change of a route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Operation {
    /// Adds a community that isn't there yet.
    AddCommunity(CommunityValue),
    /// Puts AS numbers before the path; the first comes to stand first.
    PrependAsPath(Vec<u32>),
    /// Sets the priority.
    SetPriority(u32),
}

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

/// Runs filters in order: the first rule that matches decides.
pub fn decide(filters: &[Filter], candidate: Candidate<'_>) -> Verdict {
    let mut rules = filters.iter().flat_map(|filter| &filter.rules);
    match rules.find(|rule| rule.matches(candidate)) {
        None => Verdict::Unmatched,
        Some(rule) if rule.reject => Verdict::Reject,
        Some(rule) if rule.operations.is_empty() => Verdict::Accept(None),
        Some(rule) => {
            let mut changed = candidate.attributes.clone();
            for operation in &rule.operations {
                operation.apply(&mut changed);
            }
            Verdict::Accept(Some(changed))
        }
    }
}

impl Rule {
    fn matches(&self, candidate: Candidate<'_>) -> bool {
        self.family.is_none_or(|family| family == family_of(candidate.prefix))
            && self.destination.as_ref().is_none_or(|d| d.matches(candidate.prefix))
            && (candidate.from_peer || !self.from_peer)
            && self.external.is_none_or(|external| external == candidate.external)
            && self.community.is_none_or(|community| carries(candidate.attributes, community))
            && begins_with(&candidate.attributes.as_path, &self.as_path_prefix)
            && self.priority.is_none_or(|priority| priority_of(candidate) == priority)
    }
}

impl Destination {
    fn matches(&self, prefix: IpNet) -> bool {
        let (least, greatest) = self.lengths;
        let fits = (least..=greatest).contains(&prefix.prefix_len());
        match self.operator {
            Operator::Equal => prefix == self.range && fits,
            Operator::NotEqual => prefix != self.range || !fits,
            Operator::In => self.range.contains(&prefix) && fits,
            Operator::NotIn => !self.range.contains(&prefix) || !fits,
        }
    }
}

impl Operation {
    fn apply(&self, attributes: &mut Attributes) {
        match self {
            Operation::AddCommunity(CommunityValue::Standard(value)) => {
                insert(&mut attributes.communities, *value);
            }
            Operation::AddCommunity(CommunityValue::Large(value)) => {
                insert(&mut attributes.large_communities, *value);
            }
            Operation::PrependAsPath(numbers) => prepend(&mut attributes.as_path, numbers),
            Operation::SetPriority(priority) => {
                attributes.local_pref = Some(LOCAL_PREF_OF_PRIORITY_0.saturating_sub(*priority));
            }
        }
    }
}

fn family_of(prefix: IpNet) -> Family {
    match prefix {
        IpNet::V4(_) => Family::Ipv4,
        IpNet::V6(_) => Family::Ipv6,
    }
}

fn carries(attributes: &Attributes, community: CommunityValue) -> bool {
    match community {
        CommunityValue::Standard(value) => attributes.communities.contains(&value),
        CommunityValue::Large(value) => attributes.large_communities.contains(&value),
    }
}

/// A set in the path, which has no order, ends what is compared.
fn begins_with(path: &[AsSegment], prefix: &[u32]) -> bool {
    let sequences = path.iter().map_while(|segment| match segment {
        AsSegment::Sequence(numbers) => Some(numbers),
        AsSegment::Set(_) => None,
    });
    sequences.flatten().take(prefix.len()).eq(prefix)
}

fn priority_of(candidate: Candidate<'_>) -> u32 {
    let unsaid = if candidate.from_peer {
        LOCAL_PREF_UNSAID
    } else {
        LOCAL_PREF_OF_PRIORITY_0 - OWN_PRIORITY
    };
    let local_pref = candidate.attributes.local_pref.unwrap_or(unsaid);
    LOCAL_PREF_OF_PRIORITY_0.saturating_sub(local_pref)
}

fn insert<T: Ord>(sorted: &mut Vec<T>, value: T) {
    if let Err(place) = sorted.binary_search(&value) {
        sorted.insert(place, value);
    }
}

fn prepend(path: &mut Vec<AsSegment>, numbers: &[u32]) {
    match path.first_mut() {
        Some(AsSegment::Sequence(first)) if first.len() + numbers.len() <= SEGMENT_MAX => {
            first.splice(0..0, numbers.iter().copied());
        }
        _ => path.insert(0, AsSegment::Sequence(numbers.to_vec())),
    }
}

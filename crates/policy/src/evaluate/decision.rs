//! What was decided about a packet, by what, and after what.

use super::Direction;
use crate::input::{Action, PolicyId};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What happens to a packet and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// What happens.
    pub verdict: Verdict,
    /// What decided it.
    pub by: Reason,
    /// What was looked at before, in order.
    pub looked_at: Vec<Step>,
}

/// Whether a packet may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words themselves")]
pub enum Verdict {
    Allow,
    Deny,
}

/// What decided about a packet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reason {
    /// A rule that allows or denies.
    Rule(RuleId),
    /// The default action of this tier: no rule of its policies matched. Denies.
    EndOfTier(Box<str>),
    /// Tiers have passed it on, and no rule of a profile matched. Denies.
    NoProfile,
    /// The port of a host stays open whatever policies say. Allows.
    Failsafe,
    /// Policies that need not decide did not: those of forwarded traffic, `doNotTrack` and
    /// `preDNAT`. Allows, as far as they go.
    Undecided,
    /// A workload may not open tunnels of its own, past its policies. Denies.
    Encapsulated,
    /// ICMPv6 that a node needs of its neighbours. Allows.
    NeighbourDiscovery,
    /// `defaultEndpointToHostAction`, for what a workload's policies let pass to its node; `true`
    /// allows.
    EndpointToHost(bool),
}

/// Something that was looked at and didn't decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Step {
    /// A rule that did not match, or matched and only logs or passes on.
    Rule {
        /// Which.
        rule: RuleId,
        /// It matched.
        matched: bool,
    },
    /// A staged policy, and its rule that would have decided.
    Staged {
        /// Which.
        policy: PolicyId,
        /// `None`: no rule of it matches.
        would: Option<RuleId>,
    },
    /// No rule of this tier matched, and its default action is Pass.
    EndOfTier(Box<str>),
}

/// Names a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RuleId {
    /// Whose it is.
    pub owner: Owner,
    /// Among its rules for which direction.
    pub direction: Direction,
    /// Its place there; the first is 0.
    pub index: usize,
    /// What it does.
    pub action: Action,
    /// Its name; empty without.
    pub name: Box<str>,
}

/// What a rule is part of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Owner {
    /// A policy.
    Policy {
        /// Its tier.
        tier: Box<str>,
        /// Its id.
        id: PolicyId,
    },
    /// A profile, by name.
    Profile(Box<str>),
}

impl Reason {
    /// What it leads to.
    pub fn verdict(&self) -> Verdict {
        match self {
            Reason::Rule(RuleId { action: Action::Allow, .. })
            | Reason::Failsafe
            | Reason::Undecided
            | Reason::NeighbourDiscovery
            | Reason::EndpointToHost(true) => Verdict::Allow,
            Reason::Rule(_)
            | Reason::EndOfTier(_)
            | Reason::NoProfile
            | Reason::Encapsulated
            | Reason::EndpointToHost(false) => Verdict::Deny,
        }
    }
}

/// `allow: ingress rule 1 'web' of NetworkPolicy(shop/web), tier default`; the first rule is 0, as
/// in Calico's logs.
impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = match self.verdict {
            Verdict::Allow => "allow",
            Verdict::Deny => "deny",
        };
        write!(f, "{verdict}: {}", self.by)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rule(rule) => write!(f, "{rule}"),
            Reason::EndOfTier(tier) => write!(f, "no rule of tier {tier} matches"),
            Reason::NoProfile => write!(f, "no rule of a profile matches"),
            Reason::Failsafe => write!(f, "failsafe port"),
            Reason::Undecided => write!(f, "no policy decides"),
            Reason::Encapsulated => write!(f, "a tunnel of a workload"),
            Reason::NeighbourDiscovery => write!(f, "neighbour discovery"),
            Reason::EndpointToHost(_) => write!(f, "defaultEndpointToHostAction"),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::Rule { rule, matched: true } if rule.action == Action::Pass => {
                write!(f, "passed on by {rule}")
            }
            Step::Rule { rule, matched: true } => write!(f, "logged by {rule}"),
            Step::Rule { rule, matched: false } => write!(f, "no match: {rule}"),
            Step::Staged { policy, would: None } => {
                write!(f, "no match: staged {}", policy.resource())
            }
            Step::Staged { would: Some(rule), .. } => {
                write!(f, "would {}: {rule}", action(rule.action))
            }
            Step::EndOfTier(tier) => {
                write!(f, "no rule of tier {tier} matches, which passes it on")
            }
        }
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = match self.direction {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        };
        write!(f, "{direction} rule {}", self.index)?;
        if !self.name.is_empty() {
            write!(f, " '{}'", self.name)?;
        }
        match &self.owner {
            Owner::Policy { tier, id } => write!(f, " of {}, tier {tier}", id.resource()),
            Owner::Profile(name) => write!(f, " of Profile({name})"),
        }
    }
}

fn action(action: Action) -> &'static str {
    match action {
        Action::Allow => "allow",
        Action::Deny => "deny",
        Action::Log => "log",
        Action::Pass => "pass",
    }
}

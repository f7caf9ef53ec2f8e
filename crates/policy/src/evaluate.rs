//! What policy says about a packet, and why: the meaning that every dataplane must have.
//!
//! ```text
//!  per direction:   tiers in order ─▶ policies in order ─▶ rules in order: the first that matches
//!                     Allow, Deny  decides
//!                     Pass         the next tier, after the last one the profiles
//!                     Log          the next rule
//!                   no rule:       the tier's default action, if a policy not staged applies
//!                   profiles in order, rules in order; then Deny
//! ```
//!
//! Source of the behaviour: `calico-features.md` §6.3, "Evaluation per direction" and "Endpoint
//! chain order". Connections that were allowed are no matter here: this is about their first
//! packet.

mod decision;
mod node;
mod packet;

pub use decision::{Decision, Owner, Reason, RuleId, Step, Verdict};
pub use model::config::FailsafePort;
pub use node::{At, Node, Place, through_node};
pub use packet::Packet;

use crate::input::{Action, PolicyId};
use crate::output::{HostEndpoint, Policy, Profile, Rule, SetId, Tier, Workload};
use model::DefaultAction;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// What must be known of policies, profiles and sets to decide about a packet.
pub trait Rules {
    /// A policy in force.
    fn policy(&self, id: &PolicyId) -> Option<&Policy>;
    /// A profile in force; one that doesn't exist has no rules.
    fn profile(&self, name: &str) -> Option<&Profile>;
    /// Whether a member of the set, of [`crate::output::SetKind::Nets`], is or covers the address.
    fn contains(&self, set: &SetId, address: IpAddr) -> bool;
    /// Whether the set, of [`crate::output::SetKind::Ports`], has that member.
    fn contains_port(&self, set: &SetId, address: IpAddr, protocol: u8, port: u16) -> bool;
}

/// Which way packets go, seen from the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// To it; for a host endpoint: into the host through it.
    Ingress,
    /// From it; for a host endpoint: out of the host through it.
    Egress,
}

/// Which of a host endpoint's policies are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Traffic {
    /// Normal policies: the host's own traffic.
    Local,
    /// `applyOnForward` policies: what the host forwards.
    Forwarded,
    /// `doNotTrack` policies, before connection tracking.
    Untracked,
    /// `preDNAT` policies, before a destination is changed.
    PreDnat,
}

/// Ports of the host that its own policies cannot close (`FailsafeInboundHostPorts`,
/// `FailsafeOutboundHostPorts`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failsafe {
    /// Of this host.
    pub inbound: Vec<FailsafePort>,
    /// Of others.
    pub outbound: Vec<FailsafePort>,
}

/// What a workload endpoint's policies and profiles say.
pub fn workload(
    rules: &impl Rules,
    endpoint: &Workload,
    direction: Direction,
    packet: &Packet,
) -> Decision {
    let mut evaluation = Evaluation { rules, direction, packet, looked_at: Vec::new() };
    let by = evaluation
        .tiers(&endpoint.tiers, true)
        .or_else(|| evaluation.profiles(&endpoint.profiles))
        .unwrap_or(Reason::NoProfile);
    evaluation.decide(by)
}

/// What one kind of a host endpoint's policies says. [`Reason::Undecided`] allows the packet, as
/// far as these policies go.
pub fn host_endpoint(
    rules: &impl Rules,
    endpoint: &HostEndpoint,
    failsafe: &Failsafe,
    traffic: Traffic,
    direction: Direction,
    packet: &Packet,
) -> Decision {
    let mut evaluation = Evaluation { rules, direction, packet, looked_at: Vec::new() };
    let safe = traffic != Traffic::Forwarded && failsafe.covers(traffic, direction, packet);
    let by = match traffic {
        _ if safe => Reason::Failsafe,
        Traffic::Local => evaluation
            .tiers(&endpoint.tiers, true)
            .or_else(|| evaluation.profiles(&endpoint.profiles))
            .unwrap_or(Reason::NoProfile),
        Traffic::Forwarded => {
            evaluation.tiers(&endpoint.forward, true).unwrap_or(Reason::Undecided)
        }
        Traffic::Untracked => {
            evaluation.tiers(&endpoint.untracked, false).unwrap_or(Reason::Undecided)
        }
        Traffic::PreDnat => {
            evaluation.tiers(&endpoint.pre_dnat, false).unwrap_or(Reason::Undecided)
        }
    };
    evaluation.decide(by)
}

impl Failsafe {
    /// Whether a packet, or what it answers, is of a port that stays open.
    pub fn concerns(&self, direction: Direction, packet: &Packet) -> bool {
        self.covers(Traffic::Untracked, direction, packet)
    }

    /// Whether the packet goes to a port that stays open. Before connection tracking, answers are
    /// not known as such, and covered too.
    fn covers(&self, traffic: Traffic, direction: Direction, packet: &Packet) -> bool {
        let Some((source, destination)) = packet.ports else { return false };
        let (requests, answers, peer) = match direction {
            Direction::Ingress => (&self.inbound, &self.outbound, packet.source),
            Direction::Egress => (&self.outbound, &self.inbound, packet.destination),
        };
        let covers = |ports: &[FailsafePort], port: u16| {
            ports.iter().any(|open| {
                (open.protocol, open.port) == (packet.protocol, port)
                    && open.net.is_none_or(|net| net.contains(&peer))
            })
        };
        covers(requests, destination) || traffic == Traffic::Untracked && covers(answers, source)
    }
}

/// One direction's policies on one packet.
struct Evaluation<'a, R> {
    rules: &'a R,
    direction: Direction,
    packet: &'a Packet,
    looked_at: Vec<Step>,
}

impl<R: Rules> Evaluation<'_, R> {
    fn decide(self, by: Reason) -> Decision {
        Decision { verdict: by.verdict(), by, looked_at: self.looked_at }
    }

    /// What the tiers decide; `None` when all were passed. `enforce_end`: tiers have a default
    /// action.
    fn tiers(&mut self, tiers: &[Tier], enforce_end: bool) -> Option<Reason> {
        tiers.iter().find_map(|tier| self.tier(tier, enforce_end))
    }

    fn tier(&mut self, tier: &Tier, enforce_end: bool) -> Option<Reason> {
        let mut enforced = false;
        for id in tier.policies_of(self.direction) {
            let Some(policy) = self.rules.policy(id) else {
                enforced = true;
                continue;
            };
            let owner = Owner::Policy { tier: tier.name.clone(), id: id.clone() };
            let rules = policy.rules(self.direction);
            if policy.staged {
                let would = self.first(rules, &owner, false);
                self.looked_at.push(Step::Staged { policy: id.clone(), would });
                continue;
            }
            enforced = true;
            match self.first(rules, &owner, true) {
                Some(rule) if rule.action == Action::Pass => {
                    self.looked_at.push(Step::Rule { rule, matched: true });
                    return None;
                }
                Some(rule) => return Some(Reason::Rule(rule)),
                None => {}
            }
        }
        if !(enforced && enforce_end) {
            return None;
        }
        match tier.default_action {
            DefaultAction::Deny => Some(Reason::EndOfTier(tier.name.clone())),
            DefaultAction::Pass => {
                self.looked_at.push(Step::EndOfTier(tier.name.clone()));
                None
            }
        }
    }

    fn profiles(&mut self, profiles: &[Box<str>]) -> Option<Reason> {
        profiles.iter().find_map(|name| {
            let rules = self.rules.profile(name)?.rules(self.direction);
            let rule = self.first(rules, &Owner::Profile(name.clone()), true)?;
            if rule.action == Action::Pass {
                self.looked_at.push(Step::Rule { rule, matched: true });
                return None;
            }
            Some(Reason::Rule(rule))
        })
    }

    /// The first rule that matches and doesn't only log; with `tell`, those before it become steps.
    fn first(&mut self, rules: &[Rule], owner: &Owner, tell: bool) -> Option<RuleId> {
        for (index, rule) in rules.iter().enumerate() {
            let id = || RuleId {
                owner: owner.clone(),
                direction: self.direction,
                index,
                action: rule.action,
                name: rule.name.clone(),
            };
            let matched = self.packet.matches(rule, self.rules);
            if matched && rule.action != Action::Log {
                return Some(id());
            }
            if tell {
                let step = Step::Rule { rule: id(), matched };
                self.looked_at.push(step);
            }
        }
        None
    }
}

impl Policy {
    /// Its rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Profile {
    /// Its rules of a direction.
    pub fn rules(&self, direction: Direction) -> &[Rule] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

impl Tier {
    /// Its policies of a direction, in order.
    pub fn policies_of(&self, direction: Direction) -> &[PolicyId] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

//! The chain of an endpoint in one direction: connections, tiers, profiles, the end.

use super::settings::{Marks, Settings};
use super::{chain_name, comment, log, names};
use kernel::nft::{Chain, ConnectionState, Match, Rejection, Rule, Statement, Verdict};
use model::DefaultAction;
use model::config::DenyAction;
use policy::evaluate::{Direction, Traffic};
use policy::output::Tier;

const UDP: u8 = 17;
const IP_IN_IP: u8 = 4;

/// Whose chain it is, and for which of its packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Workload,
    Host(Traffic),
}

/// What a chain is rendered from.
pub(super) struct Endpoint<'a> {
    pub(super) settings: &'a Settings,
    pub(super) kind: Kind,
    pub(super) direction: Direction,
    /// Whether the kernel can reject packets at all hooks that lead to the chain.
    pub(super) may_reject: bool,
    pub(super) tiers: &'a [Tier],
    pub(super) profiles: &'a [Box<str>],
    /// Whether a policy is staged; `None`: there is no such policy.
    pub(super) staged: &'a dyn Fn(&policy::input::PolicyId) -> Option<bool>,
    /// Whether a profile exists.
    pub(super) exists: &'a dyn Fn(&str) -> bool,
}

impl Endpoint<'_> {
    /// The chain. Packets that it lets pass return, those that policy allows with the mark accept.
    pub(super) fn chain(&self) -> Chain {
        let marks = self.settings.marks;
        let mut rules = Vec::new();
        if self.kind != Kind::Host(Traffic::Untracked) {
            rules.extend(self.connections());
        }
        if let Some(failsafe) = self.failsafe() {
            rules.push(Rule::new(vec![], Verdict::Jump(failsafe.to_owned())));
        }
        rules.push(clear(marks.verdicts()));
        if (self.kind, self.direction) == (Kind::Workload, Direction::Egress) {
            rules.extend(self.encapsulated());
        }
        let mut may_be_passed = false;
        for tier in self.tiers {
            self.add_tier(tier, &mut may_be_passed, &mut rules);
        }
        if matches!(self.kind, Kind::Workload | Kind::Host(Traffic::Local)) {
            self.add_profiles(&mut rules);
        }
        Chain { base: None, rules }
    }

    /// Connections that were allowed go on, what belongs to none is refused.
    fn connections(&self) -> Vec<Rule> {
        let mut rules = vec![established()];
        if self.settings.drop_invalid {
            let invalid = Match::ConnectionState([ConnectionState::Invalid].into());
            let comment = "of no connection".to_owned();
            rules.push(Rule { comment, ..Rule::new(vec![invalid], self.refusal()) });
        }
        rules
    }

    /// The chain that accepts packets of ports that policies cannot close.
    fn failsafe(&self) -> Option<&'static str> {
        let Kind::Host(traffic) = self.kind else { return None };
        match (traffic, self.direction) {
            (Traffic::Forwarded, _) => None,
            (Traffic::Untracked, Direction::Ingress) => Some(names::RAW_FAILSAFE_IN),
            (Traffic::Untracked, Direction::Egress) => Some(names::RAW_FAILSAFE_OUT),
            (_, Direction::Ingress) => Some(names::FAILSAFE_IN),
            (_, Direction::Egress) => Some(names::FAILSAFE_OUT),
        }
    }

    /// Tunnels that a workload opens itself would carry packets past its policies.
    fn encapsulated(&self) -> Vec<Rule> {
        let refuse = |matches, what: &str| {
            let comment = format!("{what} packets of workloads");
            Rule { comment, ..Rule::new(matches, self.refusal()) }
        };
        let mut rules = Vec::new();
        if !self.settings.vxlan_from_workloads {
            let port = Match::destination_port(self.settings.vxlan_port);
            rules.push(refuse(vec![Match::Protocol(UDP), port], "VXLAN"));
        }
        if !self.settings.ipip_from_workloads {
            rules.push(refuse(vec![Match::Protocol(IP_IN_IP)], "IP-in-IP"));
        }
        rules
    }

    fn add_tier(&self, tier: &Tier, may_be_passed: &mut bool, rules: &mut Vec<Rule>) {
        let marks = self.settings.marks;
        let enforced: Vec<_> = tier
            .policies_of(self.direction)
            .iter()
            .filter(|id| (self.staged)(id) != Some(true))
            .collect();
        if enforced.is_empty() {
            return;
        }
        // The mark is clear already where the first tier begins.
        if std::mem::replace(may_be_passed, true) {
            let start = comment(&format!("start of tier {}", tier.name));
            rules.push(Rule { comment: start, ..clear(marks.pass) });
        }
        let mut undecided = vec![];
        for id in enforced {
            // One that is not there has no rules; the end of the tier counts all the same.
            if (self.staged)(id).is_some() {
                let chain = chain_name::policy(id, self.direction);
                rules.push(Rule::new(undecided.clone(), Verdict::Jump(chain)));
                undecided = vec![Match::Mark { mask: marks.verdicts(), value: 0, not: false }];
            }
        }
        self.add_accepted(&format!("accepted in tier {}", tier.name), rules);
        self.add_denied(&format!("denied in tier {}", tier.name), rules);
        let ends = !matches!(self.kind, Kind::Host(Traffic::Untracked | Traffic::PreDnat));
        if ends && tier.default_action == DefaultAction::Deny {
            let matches = vec![Match::Mark { mask: marks.pass, value: 0, not: false }];
            rules.push(Rule {
                matches,
                statements: vec![log::of_tier(self.direction, &tier.name)],
                verdict: self.refusal(),
                comment: comment(&format!("no rule of tier {} matches", tier.name)),
            });
        }
    }

    fn add_profiles(&self, rules: &mut Vec<Rule>) {
        for name in self.profiles.iter().filter(|name| (self.exists)(name)) {
            let chain = chain_name::profile(name, self.direction);
            rules.push(Rule::new(vec![], Verdict::Jump(chain)));
            self.add_accepted(&format!("accepted by profile {name}"), rules);
            self.add_denied(&format!("denied by profile {name}"), rules);
        }
        rules.push(Rule {
            matches: vec![],
            statements: vec![log::of_profiles(self.direction)],
            verdict: self.refusal(),
            comment: "no rule of a profile matches".to_owned(),
        });
    }

    /// What happens to packets that policy denies, and to those that no policy is asked about.
    fn refusal(&self) -> Verdict {
        match self.settings.deny {
            DenyAction::Reject if self.may_reject => refuse(DenyAction::Reject),
            _ => Verdict::Drop,
        }
    }

    /// Rules that deny only say so where packets are rejected.
    fn add_denied(&self, why: &str, rules: &mut Vec<Rule>) {
        if self.settings.deny == DenyAction::Reject {
            let drop = self.settings.marks.drop;
            let denied = Match::Mark { mask: drop, value: drop, not: false };
            let rule = Rule::new(vec![denied], self.refusal());
            rules.push(Rule { comment: comment(why), ..rule });
        }
    }

    /// What is accepted goes on to the chains of other endpoints.
    fn add_accepted(&self, why: &str, rules: &mut Vec<Rule>) {
        let mut rule = Rule::new(vec![accepted(self.settings.marks)], Verdict::Return);
        if self.kind == Kind::Host(Traffic::Untracked) {
            rule.statements.push(Statement::NoTrack);
        }
        rule.comment = comment(why);
        rules.push(rule);
    }
}

/// The verdict for it: without a word, or with ICMP's port unreachable, whatever the protocol.
pub(super) fn refuse(action: DenyAction) -> Verdict {
    match action {
        DenyAction::Drop => Verdict::Drop,
        DenyAction::Reject => Verdict::Reject(Rejection::PortUnreachable),
    }
}

/// Packets of connections that were allowed.
pub(super) fn established() -> Rule {
    use ConnectionState::{Established, Related};
    let states = Match::ConnectionState([Established, Related].into());
    Rule::new(vec![states], Verdict::Accept)
}

/// Packets that policy has accepted.
pub(super) fn accepted(marks: Marks) -> Match {
    Match::Mark { mask: marks.accept, value: marks.accept, not: false }
}

/// Clears bits of the mark.
pub(super) fn clear(mask: u32) -> Rule {
    let statements = vec![Statement::Mark { mask, value: 0 }];
    Rule { statements, ..Rule::new(vec![], Verdict::Continue) }
}

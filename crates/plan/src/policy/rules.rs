//! Rules of policies and profiles as chains.

use super::conditions::{Conditions, Variant};
use super::contents::Contents;
use super::sets::Shapes;
use super::settings::{Marks, Settings};
use super::{chain_name, comment, log};
use kernel::nft::{Chain, Family, Match, Rule, Statement, Verdict};
use model::config::DenyAction;
use policy::evaluate::{Direction, Owner, RuleId};
use policy::input::Action;

/// So many rules in place of one have all alternatives of all its groups combined; more are told
/// apart by marks, so that the number of rules is the sum of alternatives and not their product.
const COMBINATIONS_MAX: usize = 8;

/// Renders one family's chains of policies and profiles.
pub(super) struct Rendering<'a> {
    pub(super) family: Family,
    pub(super) settings: &'a Settings,
    pub(super) shapes: &'a Shapes,
    pub(super) contents: &'a mut Contents,
}

impl Rendering<'_> {
    /// An owner's chain for a direction: a rule that decides returns, with the mark that says how; but
    /// one that denies without a word drops at once.
    pub(super) fn chain(
        &mut self,
        owner: &Owner,
        direction: Direction,
        rules: &[policy::output::Rule],
    ) -> (String, Chain) {
        let name = match owner {
            Owner::Policy { id, .. } => chain_name::policy(id, direction),
            Owner::Profile(name) => chain_name::profile(name, direction),
        };
        let mut chain = Chain::default();
        for (index, rule) in rules.iter().enumerate() {
            let id = RuleId {
                owner: owner.clone(),
                direction,
                index,
                action: rule.action,
                name: rule.name.clone(),
            };
            self.add(&id, rule, &mut chain.rules);
        }
        (name, chain)
    }

    fn add(&mut self, id: &RuleId, rule: &policy::output::Rule, rules: &mut Vec<Rule>) {
        let Rendering { family, shapes, contents, settings } = self;
        let marks = settings.marks;
        let mut conditions = Conditions { family: *family, shapes, contents };
        let variants = conditions.of(rule);
        let action = Rendered::of(id, settings);
        for variant in variants {
            let groups = variant.groups.iter();
            let combinations = groups.fold(1, |all: usize, group| all.saturating_mul(group.len()));
            // A packet goes on from a rule that logs, and would be logged by each that matches.
            let apart = id.action == Action::Log && combinations > 1;
            if combinations <= COMBINATIONS_MAX && !apart {
                action.add_combined(&variant, rules);
            } else {
                action.add_marked(&variant, marks, rules);
            }
        }
    }
}

/// What a rule does, and its comment.
struct Rendered {
    statements: Vec<Statement>,
    verdict: Verdict,
    comment: String,
}

impl Rendered {
    fn of(id: &RuleId, settings: &Settings) -> Rendered {
        let marks = settings.marks;
        let mark = |bit| Statement::Mark { mask: bit, value: bit };
        let (statements, verdict) = match id.action {
            Action::Allow => (vec![mark(marks.accept)], Verdict::Return),
            Action::Pass => (vec![mark(marks.pass)], Verdict::Return),
            Action::Log => (vec![log::of_rule(id)], Verdict::Continue),
            Action::Deny => match settings.deny {
                DenyAction::Drop => (vec![log::of_rule(id)], Verdict::Drop),
                // Policies' chains are reached from hooks too where the kernel cannot reject.
                DenyAction::Reject => (vec![log::of_rule(id), mark(marks.drop)], Verdict::Return),
            },
        };
        Rendered { statements, verdict, comment: comment(&id.to_string()) }
    }

    fn rule(&self, matches: Vec<Match>) -> Rule {
        let (statements, verdict) = (self.statements.clone(), self.verdict.clone());
        Rule { matches, statements, verdict, comment: self.comment.clone() }
    }

    /// A rule for each combination of alternatives.
    fn add_combined(&self, variant: &Variant, rules: &mut Vec<Rule>) {
        let before = || variant.protocol.iter().chain(&variant.all).cloned().collect();
        let mut combinations: Vec<Vec<Match>> = vec![before()];
        for group in &variant.groups {
            let with = |combination: &Vec<Match>| {
                let combination = combination.clone();
                group
                    .iter()
                    .map(move |one| {
                        combination.iter().chain([one]).cloned().collect::<Vec<Match>>()
                    })
                    .collect::<Vec<_>>()
            };
            combinations = combinations.iter().flat_map(with).collect();
        }
        rules.extend(combinations.into_iter().map(|matches| self.rule(matches)));
    }

    /// Group after group, a mark says whether all so far have an alternative that matches.
    fn add_marked(&self, variant: &Variant, marks: Marks, rules: &mut Vec<Rule>) {
        let both = marks.scratch | marks.alternative;
        let mut set = |matches: Vec<Match>, mask, value| {
            let mut rule = Rule::new(matches, Verdict::Continue);
            rule.statements.push(Statement::Mark { mask, value });
            rule.comment.clone_from(&self.comment);
            rules.push(rule);
        };
        let marked = |mask, value| Match::Mark { mask, value, not: false };
        set(Vec::new(), both, 0);
        let whole = variant.protocol.iter().chain(&variant.all).cloned().collect();
        set(whole, both, marks.scratch);
        for group in &variant.groups {
            for alternative in group {
                let so_far = marked(marks.scratch, marks.scratch);
                let matches = variant.protocol.iter().cloned().chain([so_far, alternative.clone()]);
                set(matches.collect(), marks.alternative, marks.alternative);
            }
            // None of the group has matched: nothing has. Then the next group begins.
            set(vec![marked(marks.alternative, 0)], both, 0);
            set(Vec::new(), marks.alternative, 0);
        }
        rules.push(self.rule(vec![marked(marks.scratch, marks.scratch)]));
    }
}

//! What NFLOG's listeners are told with a packet: see [`policy::nflog_prefix`].

use kernel::nft::Statement;
use policy::evaluate::{Direction, Owner, RuleId};
use policy::input::Action;
use policy::nflog_prefix::{Origin, Prefix};

/// A packet that a rule denies or logs.
pub(super) fn of_rule(rule: &RuleId) -> Statement {
    let index = u32::try_from(rule.index).unwrap_or(u32::MAX);
    let origin = match &rule.owner {
        Owner::Policy { id, .. } => Origin::PolicyRule { policy: id.clone(), index },
        Owner::Profile(name) => Origin::ProfileRule { profile: name.clone(), index },
    };
    statement(rule.action, rule.direction, origin)
}

/// A packet that no rule of a tier matched, denied by its default action.
pub(super) fn of_tier(direction: Direction, tier: &str) -> Statement {
    statement(Action::Deny, direction, Origin::EndOfTier(tier.into()))
}

/// A packet that no profile allows.
pub(super) fn of_profiles(direction: Direction) -> Statement {
    statement(Action::Deny, direction, Origin::NoProfile)
}

fn statement(action: Action, direction: Direction, origin: Origin) -> Statement {
    let group = match direction {
        Direction::Ingress => 1,
        Direction::Egress => 2,
    };
    let text = Prefix { action, direction, origin }.text();
    // What nft cannot print is left out.
    let prefix = text.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect();
    Statement::Log { group, prefix }
}

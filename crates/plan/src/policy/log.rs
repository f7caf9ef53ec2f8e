//! What NFLOG's listeners are told with a packet (Felix's `nflogprefix.go`).

use super::names;
use kernel::nft::Statement;
use model::names::length_limited_id;
use policy::evaluate::{Direction, Owner, RuleId};
use policy::input::Action;

/// Longest prefix in bytes, as Felix counts.
const PREFIX_BYTES_MAX: usize = 63;
/// Bytes kept at either end of one that is too long.
const KEPT_BYTES: usize = 10;

/// A packet that a rule denies (`DPI0|np/shop/web`) or logs (`LPI0|…`).
pub(super) fn of_rule(rule: &RuleId) -> Statement {
    let action = match rule.action {
        Action::Allow => 'A',
        Action::Deny => 'D',
        Action::Log => 'L',
        Action::Pass => 'P',
    };
    let (owner, name) = match &rule.owner {
        Owner::Policy { id, .. } => ('P', names::short(id)),
        Owner::Profile(name) => ('R', name.to_string()),
    };
    let direction = rule.direction;
    statement(direction, format!("{action}{owner}{}{}|{name}", letter(direction), rule.index))
}

/// A packet that no rule of a tier matched, denied by its default action.
pub(super) fn of_tier(direction: Direction, tier: &str) -> Statement {
    statement(direction, format!("DP{}|{tier}", letter(direction)))
}

/// A packet that no profile allows.
pub(super) fn of_profiles(direction: Direction) -> Statement {
    statement(direction, format!("DR{}", letter(direction)))
}

fn statement(direction: Direction, prefix: String) -> Statement {
    let group = match direction {
        Direction::Ingress => 1,
        Direction::Egress => 2,
    };
    Statement::Log { group, prefix: limited(prefix) }
}

fn letter(direction: Direction) -> char {
    match direction {
        Direction::Ingress => 'I',
        Direction::Egress => 'E',
    }
}

/// A prefix that fits; one that just fits is hashed too, so that none looks like a hashed one. What
/// nft cannot print is left out.
fn limited(prefix: String) -> String {
    let prefix: String = prefix.chars().filter(|c| c.is_ascii_graphic() && *c != '"').collect();
    if prefix.len() < PREFIX_BYTES_MAX {
        return prefix;
    }
    let hash = length_limited_id("", &prefix, PREFIX_BYTES_MAX - 2 * KEPT_BYTES - 1);
    let end = prefix.len() - KEPT_BYTES;
    format!("{}{hash}_{}", &prefix[..KEPT_BYTES], &prefix[end..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_fit_and_stay_apart() {
        let name = |length: usize| format!("DPI0|np/shop/{}", "x".repeat(length - 13));
        assert_eq!(limited(name(62)), name(62), "it fits");
        let (just, long) = (limited(name(63)), limited(name(300)));
        for hashed in [&just, &long] {
            assert_eq!(hashed.len(), PREFIX_BYTES_MAX, "{hashed}");
            assert!(
                hashed.starts_with("DPI0|np/sh") && hashed.ends_with("_xxxxxxxxxx"),
                "{hashed}"
            );
        }
        assert_ne!(just, long);
        assert_eq!(limited("DPI|\"später\"\n".to_owned()), "DPI|spter");
    }
}

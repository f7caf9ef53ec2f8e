//! The order of policies, and which of an endpoint's tiers each goes to.

use super::objects::Key;
use super::policies::{Flags, Policies, Policy, kind};
use crate::output::Tier;
use model::DefaultAction;
use std::cmp::Ordering;

/// All tiers of an endpoint.
#[derive(Clone, Debug, Default)]
pub(super) struct Tiers {
    pub(super) normal: Vec<Tier>,
    pub(super) forward: Vec<Tier>,
    pub(super) untracked: Vec<Tier>,
    pub(super) pre_dnat: Vec<Tier>,
}

/// Whether a policy has a place in the tiers of a workload, and of a host endpoint.
pub(super) fn places(flags: Flags) -> [bool; 2] {
    let (ingress, egress) = (flags.has(Flags::INGRESS), flags.has(Flags::EGRESS));
    if flags.has(Flags::DO_NOT_TRACK) {
        [false, ingress || egress]
    } else if flags.has(Flags::PRE_DNAT) {
        [false, ingress]
    } else {
        [ingress || egress; 2]
    }
}

/// The tiers of an endpoint that these selectors select.
pub(super) fn tiers(policies: &Policies, selectors: &[u32]) -> Tiers {
    let numbers = selectors.iter().flat_map(|number| policies.selector(*number).policies.iter());
    let mut sorted: Vec<(u32, &Policy)> =
        numbers.filter_map(|number| Some((number, policies.objects.get(number)?))).collect();
    sorted.sort_unstable_by(|one, other| compare(policies, *one, *other));
    let mut tiers = Tiers::default();
    for (number, policy) in sorted {
        let name = policies.tiers.name(policy.tier).key().name;
        // A tier that is missing denies what its policies apply to, as in Calico.
        let action = policies.tiers.get(policy.tier).map(|tier| tier.default_action);
        let action = action.unwrap_or(DefaultAction::Deny);
        let add = |tiers: &mut Vec<Tier>, action, directions: u8| {
            let flags = [Flags::INGRESS, Flags::EGRESS];
            let [ingress, egress] =
                flags.map(|flag| policy.flags.has(flag) && directions & flag != 0);
            if !ingress && !egress {
                return;
            }
            if tiers.last().is_none_or(|tier| &*tier.name != name) {
                let (ingress, egress) = (vec![], vec![]);
                tiers.push(Tier { name: name.into(), default_action: action, ingress, egress });
            }
            let tier = tiers.last_mut().expect("there is one now");
            if ingress {
                tier.ingress.push(policies.id(number));
            }
            if egress {
                tier.egress.push(policies.id(number));
            }
        };
        const BOTH: u8 = Flags::INGRESS | Flags::EGRESS;
        if policy.flags.has(Flags::DO_NOT_TRACK) {
            // What these don't decide is for the normal tiers, whatever the tier says.
            add(&mut tiers.untracked, DefaultAction::Pass, BOTH);
        } else if policy.flags.has(Flags::PRE_DNAT) {
            add(&mut tiers.pre_dnat, DefaultAction::Pass, Flags::INGRESS);
        } else {
            if policy.flags.has(Flags::APPLY_ON_FORWARD) {
                add(&mut tiers.forward, action, BOTH);
            }
            add(&mut tiers.normal, action, BOTH);
        }
    }
    tiers
}

/// Tiers by (existing, order, name), policies of one by (order, name, namespace, kind)
/// (`calico-features.md` §6.3).
fn compare(policies: &Policies, one: (u32, &Policy), other: (u32, &Policy)) -> Ordering {
    let tiers = || {
        let [(missing, order, name), than] = [one.1.tier, other.1.tier].map(|number| {
            let tier = policies.tiers.get(number);
            let order = tier.map_or(f64::INFINITY, |tier| tier.order);
            (tier.is_none(), order, policies.tiers.name(number).key().name)
        });
        missing.cmp(&than.0).then_with(|| order.total_cmp(&than.1)).then_with(|| name.cmp(than.2))
    };
    let by_tier = if one.1.tier == other.1.tier { Ordering::Equal } else { tiers() };
    by_tier.then_with(|| one.1.order.total_cmp(&other.1.order)).then_with(|| {
        let [one, other] = [one.0, other.0].map(|number| policies.objects.name(number).key());
        compare_names(one, other)
    })
}

/// As the texts `name/namespace/kind`.
fn compare_names(one: Key, other: Key) -> Ordering {
    if !one.name.starts_with(other.name) && !other.name.starts_with(one.name) {
        return one.name.cmp(other.name);
    }
    let text = |key: Key| format!("{}/{}/{:?}", key.name, key.namespace, kind(key));
    text(one).cmp(&text(other))
}

//! The order of policies, and which of an endpoint's tiers each goes to.

use super::objects::Key;
use super::policies::{Flags, Policies, Policy, kind};
use crate::input::PolicyId;
use crate::output::Tier;
use model::DefaultAction;
use std::cmp::Ordering;
use std::sync::Arc;

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
    for of_tier in sorted.chunk_by(|(_, one), (_, other)| one.tier == other.tier) {
        add_tier(policies, of_tier, &mut tiers);
    }
    tiers
}

/// Adds a tier, whose policies these are, to those kinds of tiers where it has policies.
fn add_tier(policies: &Policies, of_tier: &[(u32, &Policy)], tiers: &mut Tiers) {
    let Some((_, first)) = of_tier.first() else { return };
    // A tier that is missing denies what its policies apply to, as in Calico.
    let action = policies.tiers.get(first.tier).map(|tier| tier.default_action);
    let action = action.unwrap_or(DefaultAction::Deny);
    let add = |tiers: &mut Vec<Tier>, default_action, has_place: &dyn Fn(Flags, u8) -> bool| {
        let [ingress, egress] = [Flags::INGRESS, Flags::EGRESS].map(|direction| {
            let placed = of_tier.iter().filter(|(_, policy)| {
                policy.flags.has(direction) && has_place(policy.flags, direction)
            });
            let ids: Vec<PolicyId> = placed.map(|(number, _)| policies.id(*number)).collect();
            // Most are empty, and these are all one.
            if ids.is_empty() { Arc::default() } else { Arc::<[PolicyId]>::from(ids) }
        });
        if !ingress.is_empty() || !egress.is_empty() {
            let name = policies.tiers.name(first.tier).key().name.into();
            tiers.push(Tier { name, default_action, ingress, egress });
        }
    };
    add(&mut tiers.normal, action, &|flags, _| is_normal(flags));
    add(&mut tiers.forward, action, &|flags, _| {
        is_normal(flags) && flags.has(Flags::APPLY_ON_FORWARD)
    });
    // What these don't decide is for the normal tiers, whatever the tier says.
    add(&mut tiers.untracked, DefaultAction::Pass, &|flags, _| flags.has(Flags::DO_NOT_TRACK));
    add(&mut tiers.pre_dnat, DefaultAction::Pass, &|flags, direction| {
        direction == Flags::INGRESS && flags.has(Flags::PRE_DNAT) && !flags.has(Flags::DO_NOT_TRACK)
    });
}

fn is_normal(flags: Flags) -> bool {
    !flags.has(Flags::DO_NOT_TRACK) && !flags.has(Flags::PRE_DNAT)
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

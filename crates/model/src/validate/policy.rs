//! What the kinds of policy have in common: selectors, directions, hints, and their rules.

use super::{fields, rule};
use crate::resources::policy::PolicyParts;
use crate::resources::rule::Rule;
use crate::{PolicyType, Problems, Selector};

/// The most rules of one direction.
const RULES_MAX: usize = 1024;
/// The longest selector of a policy or rule, in characters.
pub(crate) const SELECTOR_MAX: usize = 1024;
const HINTS: [&str; 1] = ["AssumeNeededOnEveryNode"];

/// Checks what all kinds say. `global`: it stands in no namespace, so services need one.
pub(crate) fn check(parts: &PolicyParts<'_>, global: bool, problems: &mut Problems) {
    if !fields::is_dns_label(parts.tier) {
        problems.add("spec.tier", parts.tier, TIER_NAME_RULE);
    }
    selector("spec.selector", parts.selector, problems);
    selector("spec.serviceAccountSelector", parts.service_account_selector, problems);
    for (i, one) in parts.stated_types.iter().enumerate() {
        if parts.stated_types[..i].contains(one) {
            problems.add("spec.types", format!("{one:?}"), "it is given twice; leave one out");
        }
    }
    for (i, hint) in parts.performance_hints.iter().enumerate() {
        let field = format!("spec.performanceHints[{i}]");
        fields::choice(&field, Some(hint), &HINTS, problems);
        if parts.performance_hints[..i].contains(hint) {
            problems.add(field, hint, "it is given twice; leave one out");
        }
    }
    rules("spec.ingress", parts.ingress, PolicyType::Ingress, global, problems);
    rules("spec.egress", parts.egress, PolicyType::Egress, global, problems);
}

pub(crate) const NAME_RULE: &str = "a policy's name is a name of at most 63 lower-case letters, \
    digits and `-`, perhaps after another such name and a dot: that of its tier";

/// Whether a policy may be called so: `NAME`, or `TIER.NAME` as before Calico 3.32.
pub(crate) fn is_name(text: &str) -> bool {
    match text.split_once('.') {
        Some((tier, name)) => fields::is_dns_label(tier) && fields::is_dns_label(name),
        None => fields::is_dns_label(text),
    }
}

pub(crate) const TIER_NAME_RULE: &str = "a tier's name takes lower-case letters, digits and `-`, \
    begins and ends with a letter or digit, and has at most 63 characters";

/// Checks the rules of one direction, of a policy or profile.
pub(crate) fn rules(
    field: &str,
    rules: &[Rule],
    direction: PolicyType,
    global: bool,
    problems: &mut Problems,
) {
    if rules.len() > RULES_MAX {
        let reason = format!("there may be {RULES_MAX} at most; make a second policy");
        problems.add(field, format!("{} rules", rules.len()), reason);
    }
    for (i, one) in rules.iter().enumerate() {
        rule::check(&format!("{field}[{i}]"), one, direction, global, problems);
    }
}

/// Checks a selector of a policy; `global()` means nothing to it.
pub(crate) fn selector(field: &str, text: &str, problems: &mut Problems) {
    if bounded_selector(field, text, problems).is_some_and(|selector| selector.uses_global()) {
        let reason = "global() may stand in the namespaceSelector of a rule only";
        problems.add(field, text, reason);
    }
}

/// Reads a selector that is not too long.
pub(crate) fn bounded_selector(
    field: &str,
    text: &str,
    problems: &mut Problems,
) -> Option<Selector> {
    if text.chars().count() > SELECTOR_MAX {
        let shown: String = text.chars().take(40).collect();
        let reason = format!("a selector has at most {SELECTOR_MAX} characters");
        problems.add(field, format!("{shown}…"), reason);
        return None;
    }
    fields::selector(field, text, problems)
}

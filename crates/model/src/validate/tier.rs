//! Tier: its name, and what stays as it is in the built-in ones.

use super::{fields, policy};
use crate::resources::tier::{TierSpec, built_in_tier};
use crate::{Metadata, Problems};

pub(crate) fn check(spec: &TierSpec, metadata: &Metadata, problems: &mut Problems) {
    let name = &metadata.name;
    // Names of other things have a tier's name as a part between dots.
    if super::is_name(name) && !fields::is_dns_label(name) {
        problems.add("metadata.name", name, policy::TIER_NAME_RULE);
    }
    let Some(fixed) = built_in_tier(name) else { return };
    let reason = |value: &dyn std::fmt::Display| {
        format!(
            "the built-in tier {name} keeps {value}; leave the field out, or create another tier"
        )
    };
    if let (Some(order), Some(fixed)) = (spec.order, fixed.spec.order)
        && order != fixed
    {
        problems.add("spec.order", order, reason(&fixed));
    }
    if let (Some(action), Some(fixed)) = (spec.default_action, fixed.spec.default_action)
        && action != fixed
    {
        let (action, fixed) = (format!("{action:?}"), format!("{fixed:?}"));
        problems.add("spec.defaultAction", action, reason(&fixed));
    }
}

//! BGPFilter: conditions that can be met, and operations on routes that pass.

use super::bgp_configuration::{COMMUNITY_RULE, MAX_PRIORITY};
use super::fields;
use crate::Problems;
use crate::resources::bgp_configuration::CommunityValue;
use crate::resources::bgp_filter::{
    BgpFilterSpec, FilterOperation, FilterRule, PrefixLength, PrependAsPath, SetPriority,
};
use ipnet::IpNet;
use std::fmt::Display;

const OPERATIONS_MAX: usize = 10;
const PREPENDED_MAX: usize = 10;

pub(crate) fn check(spec: &BgpFilterSpec, problems: &mut Problems) {
    for (list, rules, v6) in [
        ("exportV4", &spec.export_v4, false),
        ("importV4", &spec.import_v4, false),
        ("exportV6", &spec.export_v6, true),
        ("importV6", &spec.import_v6, true),
    ] {
        for (i, rule) in rules.iter().enumerate() {
            check_rule(&format!("spec.{list}[{i}]"), rule, v6, problems);
        }
    }
}

fn check_rule(at: &str, rule: &FilterRule, v6: bool, problems: &mut Problems) {
    destination(at, rule, v6, problems);
    for (field, value, words) in [
        ("source", &rule.source, &["RemotePeers"][..]),
        ("peerType", &rule.peer_type, &["eBGP", "iBGP"]),
        ("action", &Some(rule.action.clone()), &["Accept", "Reject"]),
    ] {
        fields::choice(&format!("{at}.{field}"), value.as_ref(), words, problems);
    }
    let interface = &rule.interface;
    if !interface.is_empty() && !fields::is_interface(&interface.replace('*', "x")) {
        let reason = format!("{}, and `*`", fields::INTERFACE_RULE);
        problems.add(format!("{at}.interface"), interface, reason);
    }
    if let Some(communities) = &rule.communities {
        let field = format!("{at}.communities.values");
        match communities.values.as_slice() {
            [value] => community(&field, value, problems),
            values => problems.add(field, values.len(), "give exactly one community"),
        }
    }
    if let Some(value) = rule.priority {
        priority(&format!("{at}.priority"), value, value, problems);
    }
    operations(at, rule, problems);
}

fn destination(at: &str, rule: &FilterRule, v6: bool, problems: &mut Problems) {
    let (cidr, operator) = (&rule.cidr, rule.match_operator.as_ref());
    let operator = operator.filter(|operator| !operator.is_empty());
    let field = format!("{at}.matchOperator");
    fields::choice(&field, operator, &["Equal", "NotEqual", "In", "NotIn"], problems);
    match (cidr.is_empty(), operator) {
        (true, Some(operator)) => {
            problems.add(field, operator, "there is no cidr to compare with; give both or neither");
        }
        (false, None) => problems.add(field, "", "a cidr needs one: Equal, NotEqual, In or NotIn"),
        _ => {}
    }
    let fits = cidr.parse::<IpNet>().is_ok_and(|net| matches!(net, IpNet::V6(_)) == v6);
    if !cidr.is_empty() && !fits {
        let example = if v6 { "fd00:10::/48" } else { "10.0.0.0/8" };
        problems.add(format!("{at}.cidr"), cidr, format!("write a range such as {example}"));
    }
    let Some(PrefixLength { min, max }) = &rule.prefix_length else { return };
    if cidr.is_empty() {
        let reason = "there is no cidr whose prefixes it could bound; give one";
        problems.add(format!("{at}.prefixLength"), "set", reason);
    }
    let longest = if v6 { 128 } else { 32 };
    for (bound, value) in [("min", min), ("max", max)] {
        if let Some(value) = value.filter(|value| *value > longest) {
            let field = format!("{at}.prefixLength.{bound}");
            problems.add(field, value, format!("a prefix length is from 0 to {longest}"));
        }
    }
}

fn operations(at: &str, rule: &FilterRule, problems: &mut Problems) {
    let field = format!("{at}.operations");
    let count = rule.operations.len();
    if count > 0 && rule.action != "Accept" {
        problems.add(&field, count, "a rejected route cannot be changed; accept it");
    }
    if count > OPERATIONS_MAX {
        problems.add(&field, count, format!("there may be {OPERATIONS_MAX} at most"));
    }
    for (i, operation) in rule.operations.iter().enumerate() {
        let field = format!("{field}[{i}]");
        match operation {
            FilterOperation {
                add_community: Some(added),
                prepend_as_path: None,
                set_priority: None,
            } => community(&format!("{field}.addCommunity.value"), &added.value, problems),
            FilterOperation {
                add_community: None,
                prepend_as_path: Some(PrependAsPath { prefix }),
                set_priority: None,
            } => {
                if !(1..=PREPENDED_MAX).contains(&prefix.len()) {
                    let reason = format!("give from 1 to {PREPENDED_MAX} AS numbers");
                    problems.add(format!("{field}.prependASPath.prefix"), prefix.len(), reason);
                }
            }
            FilterOperation {
                add_community: None,
                prepend_as_path: None,
                set_priority: Some(SetPriority { value }),
            } => {
                let shown = value.map(|value| value.to_string()).unwrap_or_default();
                let field = format!("{field}.setPriority.value");
                priority(&field, value.unwrap_or_default(), shown, problems);
            }
            _ => problems.add(
                field,
                "",
                "an operation is exactly one of addCommunity, prependASPath and setPriority",
            ),
        }
    }
}

fn community(field: &str, text: &str, problems: &mut Problems) {
    if CommunityValue::parse(text).is_none() {
        problems.add(field, text, COMMUNITY_RULE);
    }
}

fn priority(field: &str, value: u32, shown: impl Display, problems: &mut Problems) {
    if !(1..=MAX_PRIORITY).contains(&value) {
        problems.add(field, shown, format!("a priority is from 1 to {MAX_PRIORITY}"));
    }
}

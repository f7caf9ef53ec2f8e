//! From a BGPFilter resource to rules.

use super::{Destination, Operation, Operator, Rule};
use crate::wire::Family;
use ipnet::IpNet;
use model::resources::bgp_filter::{BgpFilterSpec, FilterOperation, FilterRule};
use model::{BgpFilter, CommunityValue};

/// The rules for routes learned from a peer, both families', and what is wrong with the resource.
pub fn import_rules(filter: &BgpFilter) -> (Vec<Rule>, Vec<String>) {
    let BgpFilterSpec { import_v4, import_v6, .. } = &filter.spec;
    rules(filter, [("importV4", import_v4), ("importV6", import_v6)])
}

/// The rules for routes told to a peer, both families', and what is wrong with the resource.
pub fn export_rules(filter: &BgpFilter) -> (Vec<Rule>, Vec<String>) {
    let BgpFilterSpec { export_v4, export_v6, .. } = &filter.spec;
    rules(filter, [("exportV4", export_v4), ("exportV6", export_v6)])
}

/// A rule that cannot be read is left out, as nobody can say what it would match.
fn rules(filter: &BgpFilter, lists: [(&str, &Vec<FilterRule>); 2]) -> (Vec<Rule>, Vec<String>) {
    let (mut rules, mut problems) = (Vec::new(), Vec::new());
    for ((list, given), family) in lists.into_iter().zip([Family::Ipv4, Family::Ipv6]) {
        for (i, rule) in given.iter().enumerate() {
            match compile(rule, family) {
                Ok(rule) => rules.push(rule),
                Err(why) => {
                    let name = &filter.metadata.name;
                    problems
                        .push(format!("BGPFilter({name}): rule {list}[{i}] is left out: {why}"));
                }
            }
        }
    }
    (rules, problems)
}

fn compile(rule: &FilterRule, family: Family) -> Result<Rule, String> {
    // BIRD knows the interface of a route; here a route is known by its next hop only.
    if !rule.interface.is_empty() {
        return Err("this BGP speaker does not know the interface of a route; \
                    name the routes by cidr or source instead"
            .to_owned());
    }
    let community = rule.communities.as_ref().map(|wanted| match wanted.values.as_slice() {
        [value] => community(value),
        values => Err(format!("communities has {} values; give exactly one", values.len())),
    });
    Ok(Rule {
        family: Some(family),
        destination: destination(rule, family)?,
        from_peer: word("source", rule.source.as_deref(), &[("RemotePeers", true)])?
            .unwrap_or_default(),
        external: word("peerType", rule.peer_type.as_deref(), &[("eBGP", true), ("iBGP", false)])?,
        community: community.transpose()?,
        as_path_prefix: rule.as_path_prefix.iter().map(|number| number.0).collect(),
        priority: rule.priority,
        reject: word("action", Some(&rule.action), &[("Accept", false), ("Reject", true)])?
            .unwrap_or_default(),
        operations: rule.operations.iter().map(operation).collect::<Result<_, _>>()?,
    })
}

fn destination(rule: &FilterRule, family: Family) -> Result<Option<Destination>, String> {
    if rule.cidr.is_empty() {
        return Ok(None);
    }
    let range: Option<IpNet> = rule.cidr.parse().ok();
    let range = range.filter(|net| super::family_of(*net) == family);
    let range = range.ok_or_else(|| {
        format!("cidr is '{}', which is no range of the list's family; correct it", rule.cidr)
    })?;
    let operators = [
        ("Equal", Operator::Equal),
        ("NotEqual", Operator::NotEqual),
        ("In", Operator::In),
        ("NotIn", Operator::NotIn),
    ];
    let operator = word("matchOperator", rule.match_operator.as_deref(), &operators)?
        .ok_or("cidr has no matchOperator; give one")?;
    let longest = range.max_prefix_len();
    let bounds = rule.prefix_length.clone().unwrap_or_default();
    let least = bounds.min.unwrap_or_default().max(range.prefix_len());
    let greatest = bounds.max.unwrap_or(longest).min(longest);
    Ok(Some(Destination { range: range.trunc(), operator, lengths: (least, greatest) }))
}

/// What a word stands for; nothing where none is given.
fn word<T: Copy>(
    field: &str,
    given: Option<&str>,
    words: &[(&str, T)],
) -> Result<Option<T>, String> {
    let Some(given) = given else { return Ok(None) };
    let found = words.iter().find(|(word, _)| *word == given);
    let known = || words.iter().map(|(word, _)| *word).collect::<Vec<_>>().join(", ");
    match found {
        Some((_, meaning)) => Ok(Some(*meaning)),
        None => Err(format!("{field} is '{given}'; write one of {}", known())),
    }
}

fn community(text: &str) -> Result<CommunityValue, String> {
    let read = CommunityValue::parse(text);
    read.ok_or_else(|| format!("'{text}' is no community; write aa:nn or aa:nn:mm"))
}

fn operation(operation: &FilterOperation) -> Result<Operation, String> {
    match operation {
        FilterOperation { add_community: Some(added), .. } => {
            community(&added.value).map(Operation::AddCommunity)
        }
        FilterOperation { prepend_as_path: Some(prepended), .. } => {
            let numbers = prepended.prefix.iter().map(|number| number.0).collect();
            Ok(Operation::PrependAsPath(numbers))
        }
        FilterOperation { set_priority: Some(set), .. } => {
            let value = set.value.ok_or("setPriority has no value; give one")?;
            Ok(Operation::SetPriority(value))
        }
        _ => Err("an operation is empty; give addCommunity, prependASPath or setPriority".into()),
    }
}

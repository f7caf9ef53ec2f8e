//! Kubernetes' objects to Calico's: rules of protocols × peers, ports merged into ranges.
//!
//! What cannot be read fails closed: a rule that would allow something is left out, one that would
//! deny or pass denies everything. The API servers admit no such rules, unless they are of a newer
//! API than this.

mod cluster_network_policy;
mod network_policy;
mod node;
mod pod;
mod profile;

use super::LabelSelector;
use crate::{EntityRule, IpProtocol, PolicyType, Port, Problem, Resource, Rule, Spec};
use ipnet::IpNet;
use std::collections::BTreeMap;

/// What an object became, and which parts of it could not be read.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted<S: Spec> {
    /// The resource, without the parts that could not be read.
    pub resource: Resource<S>,
    /// A problem for each of these parts, by the field of the Kubernetes object.
    pub problems: Vec<Problem>,
}

/// The annotations of these names.
fn chosen(all: &BTreeMap<String, String>, names: &[&str]) -> BTreeMap<String, String> {
    let given = names.iter().filter_map(|name| all.get_key_value(*name));
    given.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Why a rule cannot be converted: what is wrong in it, and why.
struct Unreadable {
    value: String,
    reason: &'static str,
}

impl Unreadable {
    fn new(value: impl ToString, reason: &'static str) -> Unreadable {
        Unreadable { value: value.to_string(), reason }
    }

    fn at(self, field: String) -> Problem {
        Problem { field, value: self.value, reason: self.reason.to_owned() }
    }
}

/// Ports by protocol; no protocol means any, no list of ports means all.
#[derive(Default)]
struct Ports(BTreeMap<String, Option<Vec<Port>>>);

impl Ports {
    /// Any protocol, all ports.
    fn any() -> Ports {
        Ports(BTreeMap::from([(String::new(), None)]))
    }

    /// A port of a protocol, or all of its ports, beside those that are there.
    fn add(&mut self, protocol: &IpProtocol, port: Option<Port>) {
        let known = self.0.entry(protocol.to_string()).or_insert_with(|| Some(Vec::new()));
        match (known.as_mut(), port) {
            (Some(ports), Some(port)) => ports.push(port),
            _ => *known = None,
        }
    }

    /// The protocols in order of their names, each with its ports.
    fn merged(self) -> impl Iterator<Item = (Option<IpProtocol>, Vec<Port>)> {
        self.0.into_iter().map(|(protocol, ports)| {
            let protocol = (!protocol.is_empty()).then(|| IpProtocol::parse(&protocol));
            (protocol, ports.map(merge_ports).unwrap_or_default())
        })
    }
}

/// Names first, then the fewest ranges that have the same ports. A list with one number at most
/// stays as it is.
fn merge_ports(ports: Vec<Port>) -> Vec<Port> {
    let (mut merged, mut ranges) = (Vec::new(), Vec::new());
    for port in &ports {
        match port {
            Port::Named(_) => merged.push(port.clone()),
            Port::Range(first, last) => ranges.push((*first, *last)),
        }
    }
    ranges.sort_unstable();
    match ranges.as_slice() {
        [] => return ports,
        [(first, last)] if first == last => return ports,
        _ => {}
    }
    let mut joined: Vec<(u16, u16)> = Vec::new();
    for (first, last) in ranges {
        match joined.last_mut() {
            Some((_, end)) if u32::from(first) <= u32::from(*end) + 1 => *end = (*end).max(last),
            _ => joined.push((first, last)),
        }
    }
    merged.extend(joined.into_iter().map(|(first, last)| Port::Range(first, last)));
    merged
}

/// A range as Calico writes it: without host bits.
fn net(text: &str) -> Result<String, Unreadable> {
    let net = text.parse::<IpNet>().map(|net| net.trunc().to_string());
    net.map_err(|_| Unreadable::new(text, "write a range such as 10.0.0.0/8"))
}

/// Pods with such labels in namespaces with such labels.
fn pods(pods: &LabelSelector, namespaces: &LabelSelector) -> EntityRule {
    EntityRule {
        selector: pods.to_pod_selector(),
        namespace_selector: namespaces.to_selector(),
        ..EntityRule::default()
    }
}

/// The rules that a rule of Kubernetes' becomes: one for each protocol and peer. `like` has what
/// they share.
fn rules(like: &Rule, direction: PolicyType, ports: Ports, peers: &[EntityRule]) -> Vec<Rule> {
    let mut rules = Vec::new();
    for (protocol, ports) in ports.merged() {
        for peer in peers {
            let mut rule = Rule { protocol: protocol.clone(), ..like.clone() };
            match direction {
                PolicyType::Ingress => rule.source = peer.clone(),
                PolicyType::Egress => rule.destination = peer.clone(),
            }
            rule.destination.ports.clone_from(&ports);
            rules.push(rule);
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_merged_as_calico_does() {
        for (given, merged) in [
            ("", ""),
            ("80", "80"),
            ("80,http", "80,http"),
            ("80,http,81", "http,80:81"),
            ("82,80,81", "80:82"),
            ("80,80", "80"),
            ("80,82", "80,82"),
            ("http,1:10,5:20,22", "http,1:20,22"),
            ("1:10,3:4,12", "1:10,12"),
            ("65535,0:65534", "0:65535"),
            ("http,dns", "http,dns"),
            ("8000:8080", "8000:8080"),
        ] {
            let ports = given.split(',').filter_map(Port::parse).collect();
            let found: Vec<_> = merge_ports(ports).iter().map(Port::to_string).collect();
            assert_eq!(found.join(","), merged, "{given}");
        }
    }

    proptest::proptest! {
        // Merging neither adds nor loses a port, and leaves no two ranges that touch.
        #[test]
        fn merged_ports_are_the_same_ports(
            ranges in proptest::collection::vec((0u16..40, 0u16..6), 0..8)
        ) {
            let given: Vec<Port> =
                ranges.iter().map(|(first, more)| Port::Range(*first, first + more)).collect();
            let numbers = |port: &Port| match port {
                Port::Range(first, last) => (*first..=*last).collect(),
                Port::Named(_) => Vec::new(),
            };
            let set = |ports: &[Port]| -> std::collections::BTreeSet<u16> {
                ports.iter().flat_map(numbers).collect()
            };
            let merged = merge_ports(given.clone());
            proptest::prop_assert_eq!(set(&merged), set(&given));
            for pair in merged.windows(2) {
                let [Port::Range(_, last), Port::Range(first, _)] = pair else { continue };
                proptest::prop_assert!(u32::from(*first) > u32::from(*last) + 1);
            }
        }
    }
}

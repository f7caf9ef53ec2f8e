//! One rule of a policy or profile: conditions that can be met, together and in its direction.

use super::{fields, policy};
use crate::resources::rule::{EntityRule, HttpMatch, IcmpFields, IpProtocol, Port, Rule};
use crate::{Action, PolicyType, Problems};
use ipnet::IpNet;

/// The most ranges in one list.
const NETS_MAX: usize = 256;
/// The most ports in one list.
const PORTS_MAX: usize = 50;
/// The most methods, and the most paths, of an HTTP match.
const HTTP_MAX: usize = 20;

/// Checks a rule. `global`: it stands in no namespace, so services need one.
pub(crate) fn check(
    at: &str,
    rule: &Rule,
    direction: PolicyType,
    global: bool,
    problems: &mut Problems,
) {
    protocol(at, rule, problems);
    for (end, entity) in [("source", &rule.source), ("destination", &rule.destination)] {
        entity_rule(&format!("{at}.{end}"), entity, global, problems);
    }
    ports_of_protocol(at, rule, problems);
    families(at, rule, problems);
    services(at, rule, direction, problems);
    http(at, rule, direction, problems);
    for key in rule.metadata.iter().flat_map(|metadata| metadata.annotations.keys()) {
        fields::label_key(&format!("{at}.metadata.annotations"), key, problems);
    }
}

fn protocol(at: &str, rule: &Rule, problems: &mut Problems) {
    if let Some(version) = rule.ip_version.filter(|version| ![4, 6].contains(version)) {
        problems.add(format!("{at}.ipVersion"), version, "it is 4 or 6");
    }
    for (field, given) in [("protocol", &rule.protocol), ("notProtocol", &rule.not_protocol)] {
        let Some(given) = given else { continue };
        let field = format!("{at}.{field}");
        if !matches!(given.number(), Some(1..)) {
            let reason = "it takes TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255";
            problems.add(&field, given, reason);
        }
        let needed = match given {
            IpProtocol::Icmp => 4,
            IpProtocol::Icmpv6 => 6,
            _ => continue,
        };
        if let Some(version) = rule.ip_version.filter(|version| *version != needed) {
            let reason = format!("{given} is of IP version {needed}, and ipVersion is {version}");
            problems.add(&field, given, reason);
        }
    }
    let carries = matches!(rule.protocol, Some(IpProtocol::Icmp | IpProtocol::Icmpv6));
    if rule.icmp.is_some() && !carries {
        problems.add(format!("{at}.icmp"), "set", "it needs protocol ICMP or ICMPv6");
    }
    for (field, given) in [("icmp", rule.icmp), ("notICMP", rule.not_icmp)] {
        if let Some(given) = given {
            icmp(&format!("{at}.{field}"), given, problems);
        }
    }
}

fn icmp(field: &str, given: IcmpFields, problems: &mut Problems) {
    if given.kind == Some(u8::MAX) {
        problems.add(format!("{field}.type"), u8::MAX, "a type is from 0 to 254");
    }
    if let (None, Some(code)) = (given.kind, given.code) {
        problems.add(format!("{field}.code"), code, "a code needs a type; give one");
    }
}

fn entity_rule(at: &str, entity: &EntityRule, global: bool, problems: &mut Problems) {
    for (field, text) in [("selector", &entity.selector), ("notSelector", &entity.not_selector)] {
        policy::selector(&format!("{at}.{field}"), text, problems);
    }
    namespace_selector(&format!("{at}.namespaceSelector"), &entity.namespace_selector, problems);
    nets(&format!("{at}.nets"), &entity.nets, problems);
    nets(&format!("{at}.notNets"), &entity.not_nets, problems);
    for (i, text) in entity.not_nets.iter().enumerate() {
        if text.parse::<IpNet>().is_ok_and(|net| net.prefix_len() == 0) {
            let reason = "without all addresses nothing is left; name smaller ranges";
            problems.add(format!("{at}.notNets[{i}]"), text, reason);
        }
    }
    for (field, ports) in [("ports", &entity.ports), ("notPorts", &entity.not_ports)] {
        if ports.len() > PORTS_MAX {
            let reason = format!("there may be {PORTS_MAX} at most; write ranges such as 1:1024");
            problems.add(format!("{at}.{field}"), format!("{} ports", ports.len()), reason);
        }
    }
    if let Some(accounts) = &entity.service_accounts {
        let field = format!("{at}.serviceAccounts");
        policy::selector(&format!("{field}.selector"), &accounts.selector, problems);
        for (i, name) in accounts.names.iter().enumerate() {
            if !super::is_name(name) {
                problems.add(format!("{field}.names[{i}]"), name, fields::NAME_RULE);
            }
        }
    }
    service(&format!("{at}.services"), entity, global, problems);
}

// `global()` is the whole selector or no part of it.
fn namespace_selector(field: &str, text: &str, problems: &mut Problems) {
    let Some(selector) = policy::bounded_selector(field, text, problems) else { return };
    if selector.uses_global() && selector != crate::Selector::GLOBAL {
        problems.add(field, text, "global() goes with no other condition; make a rule of its own");
    }
}

fn nets(field: &str, nets: &[String], problems: &mut Problems) {
    if nets.len() > NETS_MAX {
        let reason = format!("there may be {NETS_MAX} at most; make a GlobalNetworkSet of them");
        problems.add(field, format!("{} ranges", nets.len()), reason);
        return;
    }
    for (i, text) in nets.iter().enumerate() {
        let field = format!("{field}[{i}]");
        match text.parse::<IpNet>() {
            Err(_) => {
                problems.add(&field, text, "write a range such as 10.0.0.0/8 or 10.0.0.1/32");
            }
            Ok(net) if net != net.trunc() => {
                let reason = format!("it has host bits set; the range is {}", net.trunc());
                problems.add(&field, text, reason);
            }
            Ok(_) if nets[..i].contains(text) => {
                problems.add(&field, text, "it is given twice; leave one out");
            }
            Ok(_) => {}
        }
    }
}

fn service(field: &str, entity: &EntityRule, global: bool, problems: &mut Problems) {
    let Some(service) = &entity.services else { return };
    if service.name.is_empty() {
        problems.add(format!("{field}.name"), "", "give the service's name");
    }
    if global && service.namespace.is_empty() {
        let reason = "a policy of no namespace must say the service's; give it";
        problems.add(format!("{field}.namespace"), "", reason);
    }
    for (other, given) in [
        ("selector", !entity.selector.is_empty()),
        ("notSelector", !entity.not_selector.is_empty()),
        ("namespaceSelector", !entity.namespace_selector.is_empty()),
        ("nets", !entity.nets.is_empty()),
        ("notNets", !entity.not_nets.is_empty()),
        ("serviceAccounts", entity.service_accounts.is_some()),
    ] {
        if given {
            let reason = format!("{other} is given too, and a service says all; keep one of them");
            problems.add(field, &service.name, reason);
        }
    }
}

// Numbers mean nothing without a protocol that has ports; a port's name says its protocol too.
fn ports_of_protocol(at: &str, rule: &Rule, problems: &mut Problems) {
    for (field, ports) in [
        ("source.ports", &rule.source.ports),
        ("source.notPorts", &rule.source.not_ports),
        ("destination.ports", &rule.destination.ports),
        ("destination.notPorts", &rule.destination.not_ports),
    ] {
        let wrong = match &rule.protocol {
            Some(protocol) if protocol.has_ports() => None,
            Some(_) => ports.first(),
            None => ports.iter().find(|port| matches!(port, Port::Range(..))),
        };
        if let Some(port) = wrong {
            problems.add(format!("{at}.{field}"), port, "ports need protocol TCP, UDP or SCTP");
        }
    }
}

// All ranges of a rule are of one family: the one that ipVersion says, or else that of the first.
fn families(at: &str, rule: &Rule, problems: &mut Problems) {
    let mut version = rule.ip_version;
    for (field, nets) in [
        ("source.nets", &rule.source.nets),
        ("source.notNets", &rule.source.not_nets),
        ("destination.nets", &rule.destination.nets),
        ("destination.notNets", &rule.destination.not_nets),
    ] {
        for text in nets {
            let Ok(net) = text.parse::<IpNet>() else { continue };
            let own = if matches!(net, IpNet::V4(_)) { 4 } else { 6 };
            if *version.get_or_insert(own) != own {
                let reason = "a rule's ranges are all of one family, that of ipVersion if it is \
                              given; make a second rule";
                problems.add(format!("{at}.{field}"), text, reason);
                break;
            }
        }
    }
}

fn services(at: &str, rule: &Rule, direction: PolicyType, problems: &mut Problems) {
    let (field, misplaced) = match direction {
        PolicyType::Ingress => ("destination.services", &rule.destination.services),
        PolicyType::Egress => ("source.services", &rule.source.services),
    };
    if let Some(service) = misplaced {
        let reason = "a service may be the source of an ingress rule, or the destination of an \
                      egress rule";
        problems.add(format!("{at}.{field}"), &service.name, reason);
    }
    let destination = &rule.destination;
    if destination.services.is_none() {
        return;
    }
    for (field, ports) in [
        ("destination.ports", &destination.ports),
        ("destination.notPorts", &destination.not_ports),
    ] {
        if let Some(port) = ports.first() {
            let reason = "a service has ports of its own; leave these out";
            problems.add(format!("{at}.{field}"), port, reason);
        }
    }
}

fn http(at: &str, rule: &Rule, direction: PolicyType, problems: &mut Problems) {
    let Some(HttpMatch { methods, paths }) = &rule.http else { return };
    let field = format!("{at}.http");
    if rule.action != Action::Allow {
        problems.add(&field, format!("{:?}", rule.action), "it goes with action Allow only");
    }
    if direction == PolicyType::Egress {
        problems.add(&field, "set", "it goes with ingress rules only");
    }
    if let Some(protocol) = rule.protocol.as_ref().filter(|given| **given != IpProtocol::Tcp) {
        problems.add(&field, protocol, "HTTP needs protocol TCP, or none");
    }
    for (list, length) in [("methods", methods.len()), ("paths", paths.len())] {
        if length > HTTP_MAX {
            problems.add(format!("{field}.{list}"), length, format!("at most {HTTP_MAX}"));
        }
    }
    for (i, path) in paths.iter().enumerate() {
        let field = format!("{field}.paths[{i}]");
        let given = if path.exact.is_empty() { &path.prefix } else { &path.exact };
        if path.exact.is_empty() == path.prefix.is_empty() {
            problems.add(&field, given, "give exactly one of exact and prefix");
        } else if given.contains(['?', '#']) {
            problems.add(&field, given, "a path has no `?` or `#`; leave out what follows them");
        }
    }
}

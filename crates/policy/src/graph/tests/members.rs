//! The members of sets, against a plain evaluation of their selectors.

use super::fresh;
use crate::Update;
use crate::input::{self, NamedPort, Policy, PolicyId, PolicyKind, Rule};
use crate::output::{Member, SetId};
use crate::strategy::update;
use ipnet::IpNet;
use model::Selector;
use model::names::unique_id;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, HashMap};

type Labels = BTreeMap<Box<str>, Box<str>>;

/// An endpoint or network set.
struct Object {
    labels: Labels,
    profiles: Vec<Box<str>>,
    nets: Vec<IpNet>,
    ports: Vec<NamedPort>,
}

/// Selectors whose sets are looked at, each as the source of a rule of one policy.
const SELECTORS: [&str; 12] = [
    "all()",
    "a == 'x'",
    "a != 'x'",
    "has(b)",
    "!has(a)",
    "a in {'x', 'y'}",
    "a not in {'x', 'y'}",
    "ns == 'x' && a == 'y'",
    "a == 'x' || a == 'y'",
    "a == 'x' || !(b != 'y')",
    "!(!(a == 'x') || b == 'y')",
    "a contains 'y' && (has(ns) || b ends with 'y')",
];

fn policy() -> Update {
    let rule = |selector: &str, port: Option<&str>| Rule {
        action: input::Action::Allow,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Some(Box::new(input::Entity {
            selector: selector.into(),
            ports: port.map(|name| input::Port::Named(name.into())).into_iter().collect(),
            ..input::Entity::default()
        })),
        destination: None,
        name: "".into(),
    };
    let plain = SELECTORS.iter().map(|selector| rule(selector, None));
    let named = SELECTORS.iter().map(|selector| rule(selector, Some("http")));
    let policy = Policy {
        applies_to_ingress: true,
        selector: "all()".into(),
        ingress: plain.chain(named).collect(),
        ..Policy::default()
    };
    let (kind, namespace) = (PolicyKind::GlobalNetworkPolicy, "".into());
    Update::Policy(PolicyId { kind, namespace, name: "asks".into() }, Some(Box::new(policy)))
}

fn local_endpoint() -> Update {
    let endpoint = input::HostEndpoint { node: "here".into(), ..input::HostEndpoint::default() };
    Update::HostEndpoint("local".into(), Some(Box::new(endpoint)))
}

fn object(update: &Update) -> Option<(String, Option<Object>)> {
    let addresses = |addresses: &[std::net::IpAddr]| {
        addresses.iter().map(|address| IpNet::from(*address)).collect()
    };
    Some(match update {
        Update::Workload(id, it) => {
            let object = it.as_ref().map(|it| Object {
                labels: it.labels.clone(),
                profiles: it.profiles.clone(),
                nets: addresses(&it.addresses),
                ports: it.ports.clone(),
            });
            (format!("{id:?}"), object)
        }
        Update::HostEndpoint(name, it) => {
            let object = it.as_ref().map(|it| Object {
                labels: it.labels.clone(),
                profiles: it.profiles.clone(),
                nets: addresses(&it.addresses),
                ports: it.ports.clone(),
            });
            (format!("host {name}"), object)
        }
        Update::NetworkSet(id, it) => {
            let object = it.as_ref().map(|it| Object {
                labels: it.labels.clone(),
                profiles: it.profiles.clone(),
                nets: it.nets.iter().map(|net| net.trunc()).collect(),
                ports: vec![],
            });
            (format!("{id:?}"), object)
        }
        _ => return None,
    })
}

/// An object's labels, with those that its profiles give.
fn labels(object: &Object, profiles: &HashMap<String, Labels>) -> HashMap<String, String> {
    let given = object.profiles.iter().rev().filter_map(|name| profiles.get(&**name));
    let all = given.chain([&object.labels]).flatten();
    all.map(|(name, value)| (name.to_string(), value.to_string())).collect()
}

proptest! {
    #[test]
    fn sets_hold_what_their_selectors_select(updates in prop::collection::vec(update(), 1..30)) {
        let (mut objects, mut profiles) = (BTreeMap::new(), HashMap::new());
        for update in &updates {
            if let Some((name, object)) = object(update) {
                objects.insert(name, object);
            }
            if let Update::Profile(name, profile) = update {
                profiles.insert(name.clone(), profile.clone().unwrap_or_default().labels);
            }
        }
        let (_, told) = fresh(updates.into_iter().chain([policy(), local_endpoint()]));
        for text in SELECTORS {
            let selector = Selector::parse(text).unwrap();
            let selected: Vec<&Object> = objects
                .values()
                .flatten()
                .filter(|object| selector.matches(&labels(object, &profiles)))
                .collect();
            let nets: BTreeSet<Member> = selected
                .iter()
                .flat_map(|object| &object.nets)
                .map(|net| Member::Net(*net))
                .collect();
            let id = SetId(selector.unique_id().into());
            prop_assert_eq!(&told.sets[&id].members, &nets, "{}", text);
            let ports: BTreeSet<Member> = selected.into_iter().flat_map(http).collect();
            let content = format!("{},tcp,http", selector.unique_id());
            let id = SetId(unique_id("n", &content).into());
            prop_assert_eq!(&told.sets[&id].members, &ports, "http of {}", text);
        }
    }
}

fn http(object: &Object) -> Vec<Member> {
    let ports = object.ports.iter().filter(|port| &*port.name == "http" && port.protocol == 6);
    ports
        .flat_map(|NamedPort { protocol, port, .. }| {
            object.nets.iter().map(|net| {
                let (address, protocol, port) = (net.addr(), *protocol, *port);
                Member::Port { address, protocol, port }
            })
        })
        .collect()
}

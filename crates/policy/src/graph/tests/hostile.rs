//! Input that is large on purpose: what it costs is bounded by its size.

use super::{flush, fresh};
use crate::input::*;
use crate::{Told, Update};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr};

fn policy(change: impl FnOnce(&mut Policy)) -> Update {
    let mut policy =
        Policy { selector: "all()".into(), applies_to_ingress: true, ..Policy::default() };
    change(&mut policy);
    let (kind, namespace) = (PolicyKind::GlobalNetworkPolicy, "".into());
    Update::Policy(PolicyId { kind, namespace, name: "p".into() }, Some(Box::new(policy)))
}

fn from(selector: impl Into<Box<str>>) -> Rule {
    Rule {
        action: Action::Allow,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Some(Box::new(Entity { selector: selector.into(), ..Entity::default() })),
        destination: None,
        name: "".into(),
    }
}

fn pod(labels: &[(&str, &str)]) -> Update {
    let workload = Workload {
        node: "here".into(),
        addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        labels: labels.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
        ..Workload::default()
    };
    let id = WorkloadId { namespace: "shop".into(), name: "pod".into() };
    Update::Workload(id, Some(Box::new(workload)))
}

#[test]
fn ten_thousand_rules_of_one_policy() {
    let rules = |n: usize| (0..n).map(|n| from(format!("app == 'app-{n}'"))).collect();
    let update = policy(|policy| policy.ingress = rules(10_000));
    let (mut graph, mut told) = fresh([update, pod(&[("app", "app-7")])]);
    assert_eq!((told.policies.len(), told.sets.len()), (1, 10_000));
    assert_eq!(told.sets.values().filter(|set| !set.members.is_empty()).count(), 1);
    graph.on(policy(|policy| policy.ingress = rules(1)));
    flush(&mut graph, &mut told);
    assert_eq!(told.sets.len(), 1);
}

#[test]
fn selectors_that_are_long_wide_or_deep() {
    let deep = format!("{}has(a){}", "(".repeat(100), ")".repeat(100));
    let too_deep = format!("{}has(a){}", "(".repeat(1000), ")".repeat(1000));
    let wide =
        |with: &str| (0..15_000).map(|n| format!("a == '{n}'")).collect::<Vec<_>>().join(with);
    let nots = format!("{}has(a)", "!".repeat(1000));
    for (selector, members, is_broken) in [
        (deep, 1, false),
        (too_deep, 0, true),
        (wide(" || "), 1, false),
        (wide(" && "), 0, false),
        (nots, 1, false),
        (format!("a == '{}'", "x".repeat(1000)), 0, false),
    ] {
        let shown = selector[..20].to_owned();
        let update = policy(|policy| policy.ingress = vec![from(selector)]);
        let (_, told) = fresh([update, pod(&[("a", "17")])]);
        let count: usize = told.sets.values().map(|set| set.members.len()).sum();
        let broken = told.policies.values().any(|policy| policy.broken.is_some());
        assert_eq!((count, broken), (members, is_broken), "{shown}");
    }
}

#[test]
fn a_set_of_a_hundred_thousand_prefixes_changes_by_one() {
    let set = |count: u32| {
        let net = |n: u32| IpNet::new(Ipv4Addr::from_bits(n << 10).into(), 22).unwrap();
        let set = NetworkSet { nets: (0..count).map(net).collect(), ..NetworkSet::default() };
        let id = NetworkSetId { namespace: "".into(), name: "many".into() };
        Update::NetworkSet(id, Some(Box::new(set)))
    };
    let update = policy(|policy| policy.ingress = vec![from("all()")]);
    let (mut graph, mut told) = fresh([update, pod(&[]), set(100_000)]);
    let mut outputs = 0;
    graph.on(set(100_001));
    graph.flush(&mut |output| {
        outputs += 1;
        told.apply(output).unwrap();
    });
    let set = told.sets.values().next().unwrap();
    assert_eq!((outputs, set.members.len()), (1, 100_002));
}

#[test]
fn names_of_labels_do_not_pile_up() {
    let (mut graph, mut told) = fresh([policy(|policy| policy.ingress = vec![from("has(keep)")])]);
    for round in 0..20_000 {
        let name = format!("label-{round}");
        graph.on(pod(&[("keep", ""), (&name, "x")]));
        if round % 10 == 0 {
            flush(&mut graph, &mut told);
        }
    }
    flush(&mut graph, &mut told);
    assert!(graph.names.end() < 4096, "{} names are kept", graph.names.end());
    assert_eq!(told.sets.values().next().unwrap().members.len(), 1);
    let (_, expected): (_, Told) = fresh([
        policy(|policy| policy.ingress = vec![from("has(keep)")]),
        pod(&[("keep", ""), ("label-19999", "x")]),
    ]);
    assert_eq!(told, expected);
}

//! Changes of connectivity between endpoints of hand-made sides.

use super::*;
use crate::input::{Action, PolicyId, PolicyKind};
use crate::output::{Entity, Output, Policy, Profile, Tier};
use expect_test::expect;
use model::DefaultAction;

fn rule(action: Action) -> Rule {
    Rule {
        action,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Entity::default(),
        destination: Entity::default(),
        name: "".into(),
    }
}

fn tcp(first: u16, last: u16) -> Rule {
    let destination = Entity { ports: vec![(first, last)], ..Entity::default() };
    Rule { protocol: Some(6), destination, ..rule(Action::Allow) }
}

/// Pods 10.0.0.1 … with all of `policies` on what comes in, and a profile that allows.
fn told(pods: u8, policies: &[(&str, Vec<Rule>)]) -> Told {
    let id = |name: &str| PolicyId {
        kind: PolicyKind::NetworkPolicy,
        namespace: "shop".into(),
        name: name.into(),
    };
    let mut told = Told::default();
    let mut apply = |output| told.apply(output).unwrap();
    let allow = || vec![rule(Action::Allow)];
    let profile = Profile { ingress: allow(), egress: allow() };
    apply(Output::Profile("kns.shop".into(), Arc::new(profile)));
    for (name, ingress) in policies {
        let policy = Policy { tier: "default".into(), ingress: ingress.clone(), ..<_>::default() };
        apply(Output::Policy(id(name), Arc::new(policy)));
    }
    let tier = Tier {
        name: "default".into(),
        default_action: DefaultAction::Deny,
        ingress: policies.iter().map(|(name, _)| id(name)).collect(),
        egress: [].into(),
    };
    for pod in 1..=pods {
        let workload = Workload {
            interface: format!("cali{pod}").into(),
            addresses: vec![IpAddr::from([10, 0, 0, pod])],
            tiers: if policies.is_empty() { vec![] } else { vec![tier.clone()] },
            profiles: vec!["kns.shop".into()],
            ..Workload::default()
        };
        let id = WorkloadId { namespace: "shop".into(), name: format!("pod-{pod}").into() };
        apply(Output::Workload(id, Arc::new(workload)));
    }
    told
}

fn shown(before: &Told, after: &Told) -> String {
    let (changes, more) = difference(before, after, 1000);
    assert!(!more);
    let line = |change: &Change| {
        let (from, to, packets) = (&change.from.name, &change.to.name, &change.packets);
        let [was, is] = [&change.before, &change.after].map(|side| side.decided_by().unwrap());
        format!("{from} > {to} {packets}: {was} -> {is}\n")
    };
    changes.iter().map(line).collect()
}

#[test]
fn nothing_changes_between_equal_sides() {
    let side = told(3, &[("web", vec![tcp(80, 80)])]);
    assert_eq!(difference(&side, &side, 10), (vec![], false));
}

#[test]
fn ports_that_change_alike_are_one_range() {
    let (before, after) = (told(2, &[]), told(2, &[("web", vec![tcp(80, 80), tcp(443, 443)])]));
    expect![[r#"
        pod-1 > pod-2 tcp 0-79: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-1 > pod-2 tcp 81-442: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-1 > pod-2 tcp 444-65535: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-1 > pod-2 udp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-1 > pod-2 sctp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-1 > pod-2 icmp type 8 code 0: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-2 > pod-1 tcp 0-79: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-2 > pod-1 tcp 81-442: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-2 > pod-1 tcp 444-65535: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-2 > pod-1 udp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-2 > pod-1 sctp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        pod-2 > pod-1 icmp type 8 code 0: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
    "#]]
    .assert_eq(&shown(&before, &after));
}

#[test]
fn a_rule_about_one_prefix_changes_nothing_for_the_others() {
    let mut only = tcp(80, 80);
    only.source.nets = vec!["10.0.0.1/32".parse().unwrap()];
    let before = told(3, &[("web", vec![tcp(80, 80)])]);
    let after = told(3, &[("web", vec![only])]);
    expect![[r#"
        pod-2 > pod-1 tcp 80: allow: ingress rule 0 of NetworkPolicy(shop/web), tier default -> deny: no rule of tier default matches
        pod-2 > pod-3 tcp 80: allow: ingress rule 0 of NetworkPolicy(shop/web), tier default -> deny: no rule of tier default matches
        pod-3 > pod-1 tcp 80: allow: ingress rule 0 of NetworkPolicy(shop/web), tier default -> deny: no rule of tier default matches
        pod-3 > pod-2 tcp 80: allow: ingress rule 0 of NetworkPolicy(shop/web), tier default -> deny: no rule of tier default matches
    "#]]
    .assert_eq(&shown(&before, &after));
}

#[test]
fn the_limit_is_told() {
    let (before, after) = (told(40, &[]), told(40, &[("none", vec![])]));
    let (changes, more) = difference(&before, &after, 100);
    assert_eq!((changes.len(), more), (100, true));
}

//! Changes of connectivity between endpoints of hand-made sides.

use super::*;
use crate::input::{Action, PolicyId, PolicyKind};
use crate::output::{Entity, Output, Policy, Profile, Tier};
use expect_test::expect;
use model::DefaultAction;
use std::sync::Arc;

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
    shown_of(before, after, &Places::default())
}

fn shown_of(before: &Told, after: &Told, places: &Places) -> String {
    let (changes, more) = difference(before, after, places, 1000);
    assert!(!more);
    let name = |end: &End| match end {
        End::Workload(id) => id.name.to_string(),
        End::Host(name) => name.clone(),
        End::Net(net) => net.to_string(),
        End::Elsewhere { ipv4 } => format!("elsewhere {}", if *ipv4 { 4 } else { 6 }),
    };
    let line = |change: &Change| {
        let (from, to, packets) = (name(&change.from), name(&change.to), &change.packets);
        let by = |side: &Passage| side.decided_by().map(ToString::to_string);
        let [was, is] = [&change.before, &change.after]
            .map(|side| by(side).unwrap_or_else(|| "no policy".to_owned()));
        format!("{from} > {to} {packets}: {was} -> {is}\n")
    };
    changes.iter().map(line).collect()
}

#[test]
fn nothing_changes_between_equal_sides() {
    let side = told(3, &[("web", vec![tcp(80, 80)])]);
    assert_eq!(difference(&side, &side, &Places::default(), 10), (vec![], false));
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
        elsewhere 4 > pod-1 tcp 0-79: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-1 tcp 81-442: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-1 tcp 444-65535: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-1 udp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-1 sctp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-1 icmp type 8 code 0: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-2 tcp 0-79: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-2 tcp 81-442: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-2 tcp 444-65535: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-2 udp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-2 sctp: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
        elsewhere 4 > pod-2 icmp type 8 code 0: allow: ingress rule 0 of Profile(kns.shop) -> deny: no rule of tier default matches
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
        elsewhere 4 > pod-1 tcp 80: allow: ingress rule 0 of NetworkPolicy(shop/web), tier default -> deny: no rule of tier default matches
        elsewhere 4 > pod-2 tcp 80: allow: ingress rule 0 of NetworkPolicy(shop/web), tier default -> deny: no rule of tier default matches
        elsewhere 4 > pod-3 tcp 80: allow: ingress rule 0 of NetworkPolicy(shop/web), tier default -> deny: no rule of tier default matches
    "#]]
    .assert_eq(&shown(&before, &after));
}

#[test]
fn the_limit_is_told() {
    let (before, after) = (told(40, &[]), told(40, &[("none", vec![])]));
    let (changes, more) = difference(&before, &after, &Places::default(), 100);
    assert_eq!((changes.len(), more), (100, true));
}

/// Two nodes with a host endpoint each, which `policy` closes but for TCP from a prefix to port 22.
fn with_hosts(closed: bool) -> (Told, Places) {
    let mut told = told(2, &[]);
    let mut places = Places::default();
    for (number, node) in [(1, "node-1"), (2, "node-2")] {
        let address = IpAddr::from([10, 1, 0, number]);
        let open = crate::evaluate::FailsafePort { protocol: 6, port: 179, net: None };
        let failsafe = Failsafe { inbound: vec![open], outbound: vec![open] };
        places.nodes.insert(node.into(), Node { addresses: vec![address], failsafe });
        let pod = format!("pod-{number}");
        let id = WorkloadId { namespace: "shop".into(), name: pod.as_str().into() };
        places.masqueraded.insert(id.clone());
        places.workloads.insert(id, node.into());
        places.hosts.insert(format!("host-{number}"), (node.into(), vec![address]));
    }
    if !closed {
        return (told, places);
    }
    let id = PolicyId {
        kind: PolicyKind::GlobalNetworkPolicy,
        namespace: "".into(),
        name: "hosts".into(),
    };
    let mut ssh = tcp(22, 22);
    ssh.source.nets = vec!["203.0.113.0/24".parse().unwrap()];
    let mut other_node = rule(Action::Allow);
    other_node.source.nets = vec!["10.1.0.2/32".parse().unwrap()];
    let policy =
        Policy { tier: "default".into(), ingress: vec![ssh, other_node], ..Policy::default() };
    told.apply(Output::Policy(id.clone(), Arc::new(policy))).unwrap();
    let tier = Tier {
        name: "default".into(),
        default_action: DefaultAction::Deny,
        ingress: [id].into(),
        egress: [].into(),
    };
    for number in [1, 2] {
        let endpoint = HostEndpoint {
            interface: "*".into(),
            tiers: vec![tier.clone()],
            profiles: vec!["kns.shop".into()],
            ..HostEndpoint::default()
        };
        let name = format!("host-{number}");
        told.apply(Output::HostEndpoint(name, Arc::new(endpoint))).unwrap();
    }
    (told, places)
}

#[test]
fn host_endpoints_and_addresses_of_the_change_are_ends_too() {
    let ((before, _), (after, places)) = (with_hosts(false), with_hosts(true));
    let lines = shown_of(&before, &after, &places);
    // Each line once for TCP with its ports, UDP, SCTP and ICMP; TCP shows all.
    let tcp = lines.lines().filter(|line| line.contains(" tcp"));
    let tcp: Vec<&str> = tcp.map(|line| line.split(": ").next().unwrap()).collect();
    expect![[r#"
        pod-1 > host-2 tcp 0-178
        pod-1 > host-2 tcp 180-65535
        host-1 > host-2 tcp 0-178
        host-1 > host-2 tcp 180-65535
        203.0.113.0/24 > host-1 tcp 0-21
        203.0.113.0/24 > host-1 tcp 23-178
        203.0.113.0/24 > host-1 tcp 180-65535
        203.0.113.0/24 > host-2 tcp 0-21
        203.0.113.0/24 > host-2 tcp 23-178
        203.0.113.0/24 > host-2 tcp 180-65535
        elsewhere 4 > host-1 tcp 0-178
        elsewhere 4 > host-1 tcp 180-65535
        elsewhere 4 > host-2 tcp 0-178
        elsewhere 4 > host-2 tcp 180-65535"#]]
    .assert_eq(&tcp.join("\n"));
    for line in [
        "pod-1 > host-2 udp: allow: egress rule 0 of Profile(kns.shop) -> deny: no rule of tier",
        "elsewhere 4 > host-1 udp: no policy -> deny: no rule of tier default matches",
    ] {
        assert!(lines.contains(line), "{line}\n{lines}");
    }
    assert_eq!(difference(&after, &after, &places, 10), (vec![], false));
}

//! Tables of cases: order, host endpoints, services, what is broken, what is of no use here.

use super::{flush, fresh};
use crate::input::*;
use crate::output::{Member, SetId, Tier as ToldTier};
use crate::{Problem, Told, Update};
use expect_test::expect;
use model::DefaultAction::{self, Deny, Pass};
use std::fmt::Write;
use std::net::IpAddr;

fn tier(name: &str, order: Option<f64>, default_action: DefaultAction) -> Update {
    Update::Tier(name.into(), Some(Tier { order, default_action }))
}

fn id(name: &str) -> PolicyId {
    let (kind, namespace) = (PolicyKind::GlobalNetworkPolicy, "".into());
    PolicyId { kind, namespace, name: name.into() }
}

fn policy(name: &str, change: impl FnOnce(&mut Policy)) -> Update {
    let mut policy = Policy {
        tier: "default".into(),
        selector: "all()".into(),
        applies_to_ingress: true,
        ..Policy::default()
    };
    change(&mut policy);
    Update::Policy(id(name), Some(Box::new(policy)))
}

fn rule(source: Entity) -> Rule {
    Rule {
        action: Action::Allow,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Some(Box::new(source)),
        destination: None,
        name: "".into(),
    }
}

fn workload(name: &str, change: impl FnOnce(&mut Workload)) -> Update {
    let mut workload = Workload { node: "here".into(), ..Workload::default() };
    change(&mut workload);
    let id = WorkloadId { namespace: "shop".into(), name: name.into() };
    Update::Workload(id, Some(Box::new(workload)))
}

fn host_endpoint(name: &str) -> Update {
    let endpoint =
        HostEndpoint { node: "here".into(), interface: "*".into(), ..HostEndpoint::default() };
    Update::HostEndpoint(name.into(), Some(Box::new(endpoint)))
}

/// Tiers as `name(default action) ingress | egress`.
fn show(tiers: &[ToldTier]) -> String {
    let mut text = String::new();
    for tier in tiers {
        let names = |policies: &[PolicyId]| {
            let names = policies.iter().map(|id| match &*id.namespace {
                "" => id.name.to_string(),
                namespace => format!("{namespace}/{}", id.name),
            });
            names.collect::<Vec<_>>().join(" ")
        };
        let (ingress, egress) = (names(&tier.ingress), names(&tier.egress));
        writeln!(text, "{}({:?}): {ingress} | {egress}", tier.name, tier.default_action).unwrap();
    }
    text
}

fn tiers_of_workload(told: &Told) -> String {
    show(&told.workloads.values().next().unwrap().tiers)
}

#[test]
fn tiers_and_policies_are_told_in_order() {
    let named = |namespace: &str, name: &str, kind| {
        let id = PolicyId { kind, namespace: namespace.into(), name: name.into() };
        let policy = policy("", |_| {});
        let Update::Policy(_, policy) = policy else { panic!("a policy is one") };
        Update::Policy(id, policy)
    };
    let in_tier = |name: &str, tier: &str| policy(name, |policy| policy.tier = tier.into());
    let (_, told) = fresh([
        tier("default", Some(1e6), Deny),
        tier("late", None, Deny),
        tier("early", Some(-1.0), Pass),
        tier("b-early", Some(-1.0), Pass),
        tier("empty", Some(0.0), Deny),
        in_tier("l", "late"),
        in_tier("m2", "missing2"),
        in_tier("m1", "missing1"),
        in_tier("e", "early"),
        in_tier("b", "b-early"),
        policy("second", |policy| policy.order = Some(2.0)),
        policy("first", |policy| policy.order = Some(1.0)),
        policy("zero", |policy| policy.order = Some(0.0)),
        policy("minus-zero", |policy| policy.order = Some(-0.0)),
        // The same name: by namespace, then by kind. `a-b` comes before `a/…`, as Calico compares
        // texts.
        named("x", "a", PolicyKind::NetworkPolicy),
        named("x", "a", PolicyKind::StagedNetworkPolicy),
        named("w", "a", PolicyKind::NetworkPolicy),
        named("", "a-b", PolicyKind::GlobalNetworkPolicy),
        policy("both", |policy| policy.applies_to_egress = true),
        policy("out", |policy| {
            (policy.applies_to_ingress, policy.applies_to_egress) = (false, true);
        }),
        policy("nothing", |policy| policy.applies_to_ingress = false),
        workload("pod", |_| {}),
    ]);
    expect![[r#"
        b-early(Pass): b | 
        early(Pass): e | 
        default(Deny): minus-zero zero first second a-b w/a x/a x/a both | both out
        late(Deny): l | 
        missing1(Deny): m1 | 
        missing2(Deny): m2 | 
    "#]]
    .assert_eq(&tiers_of_workload(&told));
    let kinds = told.workloads.values().next().unwrap().tiers[2].ingress[6..8].iter();
    let kinds: Vec<PolicyKind> = kinds.map(|id| id.kind).collect();
    assert_eq!(kinds, [PolicyKind::NetworkPolicy, PolicyKind::StagedNetworkPolicy]);
    assert!(!told.policies.contains_key(&id("nothing")), "it is of no use");
}

#[test]
fn host_endpoints_have_four_kinds_of_tiers() {
    let both = |policy: &mut Policy| policy.applies_to_egress = true;
    let updates = [
        tier("default", Some(1e6), Deny),
        policy("normal", both),
        policy("forward", |policy| {
            both(policy);
            policy.apply_on_forward = true;
        }),
        policy("untracked", |policy| {
            both(policy);
            (policy.apply_on_forward, policy.do_not_track) = (true, true);
        }),
        policy("pre-dnat", |policy| {
            both(policy);
            (policy.apply_on_forward, policy.pre_dnat) = (true, true);
        }),
        policy("pre-dnat-out", |policy| {
            (policy.applies_to_ingress, policy.applies_to_egress) = (false, true);
            policy.pre_dnat = true;
        }),
        host_endpoint("all"),
    ];
    let (mut graph, mut told) = fresh(updates);
    let endpoint = &told.host_endpoints["all"];
    let text = [&endpoint.tiers, &endpoint.forward, &endpoint.untracked, &endpoint.pre_dnat]
        .map(|tiers| show(tiers))
        .concat();
    expect![[r#"
        default(Deny): forward normal | forward normal
        default(Deny): forward | forward
        default(Pass): untracked | untracked
        default(Pass): pre-dnat | 
    "#]]
    .assert_eq(&text);
    assert_eq!(told.policies.len(), 4, "pre-dnat-out is of no use");

    // A workload has the normal ones only.
    graph.on(workload("pod", |_| {}));
    graph.on(Update::HostEndpoint("all".into(), None));
    flush(&mut graph, &mut told);
    expect![[r#"
        default(Deny): forward normal | forward normal
    "#]]
    .assert_eq(&tiers_of_workload(&told));
    assert_eq!(told.policies.len(), 2);
}

#[test]
fn what_only_others_need_is_not_told() {
    let (mut graph, told) = fresh([
        policy("theirs", |policy| {
            policy.selector = "app == 'theirs'".into();
            policy.ingress = vec![rule(Entity { selector: "has(x)".into(), ..Entity::default() })];
        }),
        Update::Profile("kns.shop".into(), Some(Box::default())),
        workload("remote", |pod| {
            pod.node = "there".into();
            pod.labels.insert("app".into(), "theirs".into());
            pod.profiles = vec!["kns.shop".into()];
        }),
    ]);
    assert_eq!(told, Told::default());
    assert_eq!((graph.policy_count(), graph.set_count()), (0, 0));
    // The same endpoint moves here.
    graph.on(workload("remote", |pod| {
        pod.labels.insert("app".into(), "theirs".into());
        pod.profiles = vec!["kns.shop".into()];
    }));
    let mut kinds = vec![];
    graph.flush(&mut |output| {
        kinds.push(format!("{output:?}").split(' ').next().unwrap().to_owned())
    });
    let kinds: Vec<&str> = kinds.iter().map(|kind| kind.split('(').next().unwrap()).collect();
    assert_eq!(kinds, ["Set", "Policy", "Profile", "Workload"]);
}

#[test]
fn services_are_sets_of_backends_with_ports_as_destination_and_without_as_source() {
    let service = ServiceId { namespace: "shop".into(), name: "db".into() };
    let of_service = || Entity { service: Some(service.clone()), ..Entity::default() };
    let slice = |name: &str, service: &ServiceId, addresses: &[&str], ports: &[(u8, u16)]| {
        let slice = EndpointSlice {
            service: service.clone(),
            addresses: addresses.iter().map(|text| text.parse().unwrap()).collect(),
            ports: ports.into(),
        };
        let id = EndpointSliceId { namespace: "shop".into(), name: name.into() };
        Update::EndpointSlice(id, Some(Box::new(slice)))
    };
    let other = ServiceId { namespace: "shop".into(), name: "web".into() };
    let (mut graph, mut told) = fresh([
        policy("p", |policy| {
            policy.applies_to_egress = true;
            policy.ingress = vec![rule(of_service())];
            let destination = Some(Box::new(of_service()));
            policy.egress = vec![Rule { source: None, destination, ..rule(Entity::default()) }];
        }),
        workload("pod", |_| {}),
        slice("one", &service, &["10.0.0.1", "10.0.0.2"], &[(6, 5432), (17, 53)]),
        slice("two", &service, &["10.0.0.2", "fd00::2"], &[(6, 5432)]),
        slice("other", &other, &["10.0.0.9"], &[(6, 80)]),
    ]);
    let policy = told.policies[&id("p")].clone();
    let destination = policy.egress[0].destination.service.clone().unwrap();
    let [source] = policy.ingress[0].source.sets.as_slice() else { panic!("one set") };
    assert!(destination.0.starts_with("svc:") && source.0.starts_with("svcnoport:"));
    let show = |told: &Told, set: &SetId| {
        let members = told.sets[set].members.iter().map(|member| match member {
            Member::Net(net) => net.to_string(),
            Member::Port { address, protocol, port } => format!("{address},{protocol}:{port}"),
        });
        members.collect::<Vec<_>>().join(" ")
    };
    expect![[r#"
        10.0.0.1/32 10.0.0.2/32 fd00::2/128
        10.0.0.1,6:5432 10.0.0.1,17:53 10.0.0.2,6:5432 10.0.0.2,17:53 fd00::2,6:5432"#]]
    .assert_eq(&format!("{}\n{}", show(&told, source), show(&told, &destination)));

    // A slice may come to another service.
    graph.on(slice("one", &other, &["10.0.0.1", "10.0.0.2"], &[(6, 5432)]));
    flush(&mut graph, &mut told);
    expect!["10.0.0.2/32 fd00::2/128\n10.0.0.2,6:5432 fd00::2,6:5432"].assert_eq(&format!(
        "{}\n{}",
        show(&told, source),
        show(&told, &destination)
    ));
    let address = |text: &str| text.parse::<IpAddr>().unwrap();
    assert!(graph.contains(source, address("fd00::2")));
    assert!(!graph.contains(source, address("10.0.0.1")));
    assert!(graph.contains_port(&destination, address("10.0.0.2"), 6, 5432));
    assert!(!graph.contains_port(&destination, address("10.0.0.2"), 17, 53));
}

#[test]
fn a_member_that_several_objects_give_stays_until_the_last_is_gone() {
    let set = |name: &str, nets: &[&str]| {
        let nets = nets.iter().map(|text| text.parse().unwrap()).collect();
        let set = NetworkSet { nets, ..NetworkSet::default() };
        let id = NetworkSetId { namespace: "".into(), name: name.into() };
        Update::NetworkSet(id, Some(Box::new(set)))
    };
    let gone = |name: &str| {
        let id = NetworkSetId { namespace: "".into(), name: name.into() };
        Update::NetworkSet(id, None)
    };
    let (mut graph, mut told) = fresh([
        policy("p", |policy| {
            policy.ingress = vec![rule(Entity { selector: "all()".into(), ..Entity::default() })];
        }),
        workload("pod", |pod| pod.addresses = vec!["10.0.0.1".parse().unwrap()]),
        set("one", &["10.0.0.0/24", "10.0.0.1/32", "10.0.0.1/32"]),
        set("two", &["10.0.0.7/24"]),
    ]);
    let id = told.sets.keys().next().unwrap().clone();
    let mut members = |told: &mut Told, update: Update| {
        graph.on(update);
        flush(&mut graph, told);
        let nets = told.sets[&id].members.iter().map(|member| match member {
            Member::Net(net) => net.to_string(),
            Member::Port { .. } => panic!("the set is one of addresses"),
        });
        let inside = |text: &str| graph.contains(&id, text.parse().unwrap());
        let inside = [inside("10.0.0.1"), inside("10.0.0.200"), inside("10.0.1.0")];
        (nets.collect::<Vec<_>>().join(" "), inside)
    };
    let told = &mut told;
    let both = "10.0.0.0/24 10.0.0.1/32".to_owned();
    assert_eq!(members(told, gone("one")), (both.clone(), [true, true, false]));
    assert_eq!(members(told, set("two", &[])), ("10.0.0.1/32".into(), [true, false, false]));
    assert_eq!(members(told, set("two", &["10.0.0.0/24"])), (both, [true, true, false]));
}

#[test]
fn what_cannot_be_enforced_denies_and_says_why() {
    let (graph, told) = fresh([
        tier("default", Some(1e6), Deny),
        policy("no-selector", |policy| {
            policy.applies_to_egress = true;
            let selector = "has(".into();
            policy.ingress = vec![rule(Entity { selector, ..Entity::default() })];
        }),
        policy("smuggled", |policy| {
            let (selector, not_selector) = ("has(a)) || (all()".into(), "has(b)".into());
            policy.ingress = vec![rule(Entity { selector, not_selector, ..Entity::default() })];
        }),
        policy("unread", |policy| policy.broken = Some("an action is missing".into())),
        policy("whom", |policy| policy.selector = "app =".into()),
        policy("missing-tier", |policy| policy.tier = "gone".into()),
        workload("pod", |pod| pod.profiles = vec!["none".into()]),
    ]);
    let mut text = String::new();
    for (id, policy) in &told.policies {
        let rules = [&policy.ingress, &policy.egress];
        let denies = rules.map(|rules| rules.iter().filter(|r| r.action == Action::Deny).count());
        writeln!(text, "{}: {denies:?} {:?}", id.name, policy.broken.as_deref()).unwrap();
    }
    expect![[r#"
        missing-tier: [0, 0] None
        no-selector: [1, 1] Some("selector is wrong at byte 4: expected the name of a label, found the end")
        smuggled: [1, 0] Some("selector is wrong at byte 6: expected `&&`, `||` or the end, found `) || (all()`")
        unread: [1, 0] Some("an action is missing")
        whom: [1, 0] Some("selector is wrong at byte 4: expected `==`, found `=`; taken for all()")
    "#]]
    .assert_eq(&text);
    assert_eq!(told.sets.len(), 0);
    let problems: Vec<String> = graph.problems().iter().map(Problem::to_string).collect();
    expect![[r#"
        GlobalNetworkPolicy(no-selector) cannot be enforced, so its endpoints deny all it is about: selector is wrong at byte 4: expected the name of a label, found the end; correct it
        GlobalNetworkPolicy(smuggled) cannot be enforced, so its endpoints deny all it is about: selector is wrong at byte 6: expected `&&`, `||` or the end, found `) || (all()`; correct it
        GlobalNetworkPolicy(unread) cannot be enforced, so its endpoints deny all it is about: an action is missing; correct it
        GlobalNetworkPolicy(whom) cannot be enforced, so its endpoints deny all it is about: selector is wrong at byte 4: expected `==`, found `=`; taken for all(); correct it
        Profile(none), which WorkloadEndpoint(shop/pod) names, does not exist: it allows nothing and gives no labels; create it, or wait for the namespace or service account to be seen
        Tier(gone), which policies name (1 in all), does not exist: they come after other tiers, and what they don't decide is denied; create it"#]]
    .assert_eq(&problems.join("\n"));
}

#[test]
fn a_selector_that_cannot_be_read_stays_in_its_namespace() {
    let id =
        PolicyId { kind: PolicyKind::NetworkPolicy, namespace: "shop".into(), name: "p".into() };
    let policy = Policy { selector: "app =".into(), applies_to_ingress: true, ..Policy::default() };
    let in_namespace = |namespace: &'static str| {
        workload(namespace, |pod| {
            pod.labels.insert("projectcalico.org/namespace".into(), namespace.into());
        })
    };
    let update = Update::Policy(id, Some(Box::new(policy)));
    let (_, told) = fresh([update, in_namespace("shop"), in_namespace("other")]);
    let counts: Vec<(&str, usize)> =
        told.workloads.iter().map(|(id, pod)| (&*id.name, pod.tiers.len())).collect();
    assert_eq!(counts, [("other", 0), ("shop", 1)]);
}

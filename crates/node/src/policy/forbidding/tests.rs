use super::*;
use policy::input::{PolicyId, PolicyKind, WorkloadId};
use policy::output::{Entity, Member, Policy, SetKind, Workload};
use std::sync::Arc;

fn workload(name: &str) -> WorkloadId {
    WorkloadId { namespace: "shop".into(), name: name.into() }
}

fn set(name: &str) -> SetId {
    SetId(name.into())
}

fn rule(action: Action, source: Entity) -> Rule {
    Rule {
        action,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source,
        destination: Entity::default(),
        name: "".into(),
    }
}

/// A renderer with two workloads, one without an address yet, and one policy with this rule about the
/// set `s:one`.
fn renderer(ingress: Rule) -> Renderer {
    let mut renderer = Renderer::default();
    let kind = PolicyKind::GlobalNetworkPolicy;
    let id = PolicyId { kind, namespace: "".into(), name: "one".into() };
    let policy = Policy { ingress: vec![ingress], ..Policy::default() };
    let members = std::collections::BTreeSet::new();
    renderer.apply([
        Output::Set { id: set("s:one"), kind: SetKind::Nets, members },
        Output::Policy(id, Arc::new(policy)),
        told("web", "10.0.0.1"),
        Output::Workload(workload("starting"), Arc::default()),
    ]);
    renderer
}

fn told(name: &str, address: &str) -> Output {
    let addresses = vec![address.parse().expect("an address")];
    Output::Workload(workload(name), Arc::new(Workload { addresses, ..Workload::default() }))
}

fn members(added: &[&str], removed: &[&str]) -> Output {
    let members = |list: &[&str]| -> Vec<Member> {
        list.iter().map(|text| Member::Net(text.parse().expect("a prefix"))).collect()
    };
    Output::Members { id: set("s:one"), added: members(added), removed: members(removed) }
}

#[test]
fn a_new_workload_forbids_nothing_and_a_changed_one_may() {
    let renderer = renderer(rule(Action::Allow, Entity::default()));
    let own: IpAddr = "10.0.0.1".parse().expect("an address");
    let may_forbid = |output: &Output| may_forbid(&renderer, output, |address| *address == own);
    assert!(!may_forbid(&told("db", "10.0.0.1")));
    assert!(!may_forbid(&told("starting", "10.0.0.1")), "it had no address");
    assert!(may_forbid(&told("db", "10.0.0.2")), "another node's pod may have had it");
    assert!(may_forbid(&told("web", "10.0.0.1")));
    assert!(may_forbid(&Output::WorkloadGone(workload("web"))));
}

#[test]
fn a_new_member_forbids_nothing_where_rules_only_allow_it() {
    let from = |sets: &[SetId], not_sets: &[SetId]| Entity {
        sets: sets.to_vec(),
        not_sets: not_sets.to_vec(),
        ..Entity::default()
    };
    let one = [set("s:one")];
    let come = members(&["10.0.0.1/32"], &[]);
    let go = members(&[], &["10.0.0.1/32"]);
    for (action, source, expected) in [
        (Action::Allow, from(&one, &[]), false),
        (Action::Deny, from(&one, &[]), true),
        (Action::Pass, from(&one, &[]), true),
        (Action::Allow, from(&[], &one), true),
    ] {
        let renderer = renderer(rule(action, source));
        assert_eq!(may_forbid(&renderer, &come, |_| true), expected, "{action:?}");
        assert!(may_forbid(&renderer, &go, |_| true), "{action:?}");
    }
}

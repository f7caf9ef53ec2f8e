//! What nobody in their right mind writes: the tables stay such that the kernel takes them, and
//! small.

use crate::inputs::{apply, check, layout, outputs};
use crate::table::parse;
use kernel::nft::{Family, Tables};
use plan::policy::{Renderer, Settings};
use policy::Output;
use policy::input::{Action, PolicyId, PolicyKind, WorkloadId};
use policy::output::{Entity, Policy, Profile, Rule, Tier, Workload};
use std::fmt::Write;

fn rendered(outputs: Vec<Output>) -> Tables {
    let settings = Settings::default();
    let mut renderer = Renderer::new(settings.clone());
    let mut tables = Tables::new();
    tables.set_static(&layout(&settings));
    apply(&mut tables, renderer.start());
    apply(&mut tables, renderer.apply(outputs));
    check(&tables);
    tables
}

/// Rules in all chains of a family.
fn count(tables: &Tables, family: Family) -> usize {
    let table = tables.desired().find(|table| table.family == family).expect("a table");
    table.chains.values().map(|chain| chain.rules.len()).sum()
}

#[test]
fn alternatives_add_up_and_do_not_multiply() {
    let mut case = "case many\n".to_owned();
    let mut rule = "  allow".to_owned();
    for (end, kind) in [("source", "a"), ("destination", "b")] {
        let (mut sets, mut ports) = (Vec::new(), Vec::new());
        for number in 0..50 {
            writeln!(case, "set s:{kind}{number}: 10.1.0.1 10.2.0.0/16").expect("a String");
            writeln!(case, "ports n:{kind}{number}: 10.1.0.1,tcp,80").expect("a String");
            sets.push(format!("s:{kind}{number}"));
            ports.push(format!("n:{kind}{number}"));
        }
        write!(rule, " {end}.sets={} {end}.port_sets={}", sets.join(","), ports.join(","))
            .expect("a String");
    }
    write!(case, "policy many\n{rule}\ntier default deny: many\n").expect("a String");
    let empty = rendered(vec![]);
    let tables = rendered(outputs(&parse(&case)[0], "cali1", "*"));
    let rules = count(&tables, Family::Ip) - count(&empty, Family::Ip);
    // 50 sets of two alternatives and 50 ports at both ends, in both directions.
    assert!(rules < 2 * (2 * (50 * 4 + 52)) + 50, "{rules} rules");
}

#[test]
fn names_may_have_any_character_and_length() {
    let long = "x".repeat(400);
    let names = ["a\"b", "später", "x y", "a:b", "${x}", "a\nb", "*", "-", "/", "", &long];
    let mut outputs = Vec::new();
    for (index, name) in names.iter().enumerate() {
        let rule = Rule {
            action: [Action::Deny, Action::Log, Action::Allow, Action::Pass][index % 4],
            ip_version: None,
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Entity::default(),
            destination: Entity::default(),
            name: (*name).into(),
        };
        let (ingress, egress) = (vec![rule.clone()], vec![rule]);
        let (kind, namespace) = (PolicyKind::NetworkPolicy, (*name).into());
        let id = PolicyId { kind, namespace, name: (*name).into() };
        let policy = Policy {
            tier: (*name).into(),
            ingress: ingress.clone(),
            egress: egress.clone(),
            ..Policy::default()
        };
        outputs.push(Output::Policy(id.clone(), policy.into()));
        outputs.push(Output::Profile((*name).into(), Profile { ingress, egress }.into()));
        let policies: std::sync::Arc<[PolicyId]> = [id].into();
        let tier = Tier {
            name: (*name).into(),
            ingress: policies.clone(),
            egress: policies,
            ..Tier::default()
        };
        let endpoint = Workload {
            interface: (*name).into(),
            tiers: vec![tier],
            profiles: vec![(*name).into()],
            ..Workload::default()
        };
        let id = WorkloadId { namespace: "shop".into(), name: (*name).into() };
        outputs.push(Output::Workload(id, endpoint.into()));
    }
    let tables = rendered(outputs);
    let table = tables.desired().next().expect("a table");
    let policies = table.chains.keys().filter(|name| name.starts_with("filter-cali-pi-")).count();
    assert_eq!(policies, names.len(), "no two names have become one");
}

#[test]
fn of_two_workloads_with_one_interface_the_first_is_believed() {
    let endpoint = |profile: &str| Workload {
        interface: "cali1".into(),
        profiles: vec![profile.into()],
        ..Workload::default()
    };
    let id = |name: &str| WorkloadId { namespace: "shop".into(), name: name.into() };
    let profiles =
        ["one", "two"].map(|name| Output::Profile(name.into(), Profile::default().into()));
    let one = Output::Workload(id("1"), endpoint("one").into());
    let two = Output::Workload(id("2"), endpoint("two").into());
    let expected = rendered([profiles.to_vec(), vec![one.clone()]].concat());
    let same = |tables: &Tables| tables.desired().eq(expected.desired());
    assert!(same(&rendered([profiles.to_vec(), vec![two.clone(), one.clone()]].concat())));
    assert!(same(&rendered([profiles.to_vec(), vec![one.clone(), two.clone()]].concat())));
    let gone = Output::WorkloadGone(id("2"));
    assert!(same(&rendered([profiles.to_vec(), vec![two, one, gone]].concat())));
}

use super::diff;
use crate::nft::{
    BaseChain, Chain, ChainKind, Change, Edit, Family, Hook, Match, Rule, Set, SetKey, Table,
    Verdict, apply,
};
use ipnet::IpNet;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SETS: [&str; 3] = ["red", "green", "blue"];
const CHAINS: [&str; 4] = ["a", "b", "c", "d"];

fn nets() -> impl Strategy<Value = (bool, BTreeSet<IpNet>)> {
    let element = (0u32..4, 8u8..=32).prop_map(|(byte, length)| {
        let net = ipnet::Ipv4Net::new((byte << 24 | 0x0101).into(), length).expect("≤ 32");
        IpNet::V4(net.trunc())
    });
    (any::<bool>(), prop::collection::btree_set(element, 0..6)).prop_map(|(interval, nets)| {
        let nets = nets.into_iter();
        (interval, if interval { nets.collect() } else { nets.map(|n| n.addr().into()).collect() })
    })
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (0..SETS.len(), any::<bool>(), 0..CHAINS.len(), 0u8..4);
    let rule = rule.prop_map(|(set, not, chain, verdict)| Rule {
        matches: vec![Match::SourceInSet { set: SETS[set].to_owned(), not }],
        verdict: match verdict {
            0 => Verdict::Accept,
            1 => Verdict::Drop,
            2 => Verdict::Jump(CHAINS[chain].to_owned()),
            _ => Verdict::Goto(CHAINS[chain].to_owned()),
        },
        comment: String::new(),
    });
    prop::collection::vec(rule, 0..4)
}

/// Tables whose rules name only what is there.
fn table() -> impl Strategy<Value = Table> {
    let base = prop::option::of((-1i32..2).prop_map(|priority| BaseChain {
        kind: ChainKind::Filter,
        hook: Hook::Input,
        priority,
    }));
    let sets = prop::collection::btree_map(prop::sample::select(SETS.to_vec()), nets(), 0..4);
    let chain = (base, rules());
    let chains = prop::collection::btree_map(prop::sample::select(CHAINS.to_vec()), chain, 0..5);
    (sets, chains).prop_map(|(sets, chains)| {
        let mut table = Table::new(Family::Ip, "calico");
        for (name, (interval, elements)) in sets {
            table.sets.insert(name.to_owned(), Set { key: SetKey::Address, elements, interval });
        }
        for (name, (base, rules)) in &chains {
            let known = |rule: &&Rule| {
                rule.sets().all(|set| table.sets.contains_key(set))
                    && rule.target().is_none_or(|chain| chains.contains_key(chain))
            };
            let rules = rules.iter().filter(known).cloned().collect();
            table.chains.insert((*name).to_owned(), Chain { base: *base, rules });
        }
        table
    })
}

/// As the kernel holds it: sets without covered members.
fn held(tables: &[Table]) -> Vec<Table> {
    let mut tables = tables.to_vec();
    for set in tables.iter_mut().flat_map(|table| table.sets.values_mut()) {
        set.elements = set.members();
    }
    tables
}

proptest! {
    #[test]
    fn reaches_what_is_desired(
        desired in prop::collection::vec(table(), 0..2),
        actual in prop::collection::vec(table(), 0..2),
    ) {
        let mut tables = held(&actual);
        let changes = diff(&desired, &tables);
        apply(&mut tables, &changes).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
        prop_assert_eq!(&tables, &held(&desired));
        prop_assert_eq!(diff(&desired, &tables), vec![]);
        prop_assert_eq!(diff(&desired, &desired), vec![]);
    }

    #[test]
    fn leaves_equal_chains_alone(desired in table(), actual in table()) {
        let refers_to_new = |rule: &Rule| {
            let set = |name: &str| {
                let interval = |table: &Table| table.sets.get(name).map(|set| set.interval);
                interval(&actual) != interval(&desired)
            };
            let chain = |name: &str| {
                actual.chains.get(name).map(|c| c.base) != desired.chains.get(name).map(|c| c.base)
            };
            rule.sets().any(set) || rule.target().is_some_and(chain)
        };
        for change in diff(std::slice::from_ref(&desired), std::slice::from_ref(&actual)) {
            if let Edit::FlushChain(name) | Edit::AddRules { chain: name, .. } = &change.edit {
                let same = desired.chains.get(name) == actual.chains.get(name);
                let found = actual.chains.get(name);
                let forced = found.is_some_and(|chain| chain.rules.iter().any(refers_to_new));
                prop_assert!(!same || forced, "{} touched for nothing", name);
            }
        }
    }
}

fn calico(elements: &[&str]) -> Table {
    let mut table = Table::new(Family::Ip, "calico");
    let elements = elements.iter().map(|net| net.parse().expect("prefix")).collect();
    table.sets.insert("red".into(), Set { key: SetKey::Address, elements, interval: true });
    let matches = vec![Match::SourceInSet { set: "red".into(), not: false }];
    let rules = vec![Rule { matches, verdict: Verdict::Drop, comment: String::new() }];
    table.chains.insert("a".into(), Chain { base: None, rules });
    table
}

fn texts(changes: &[Change]) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

#[test]
fn one_member_is_one_change() {
    let changes = diff(&[calico(&["10.0.0.0/8", "11.0.0.0/8"])], &[calico(&["10.0.0.0/8"])]);
    assert_eq!(texts(&changes), ["add element ip calico red { 11.0.0.0/8 }"]);
}

#[test]
fn covered_member_is_no_change() {
    assert_eq!(diff(&[calico(&["10.0.0.0/8", "10.1.0.0/16"])], &[calico(&["10.0.0.0/8"])]), []);
}

#[test]
fn everything_foreign_is_replaced() {
    let desired = calico(&["10.0.0.0/8"]);
    let mut actual = desired.clone();
    actual.sets.get_mut("red").expect("set").key = SetKey::Foreign;
    let foreign = BaseChain { kind: ChainKind::Foreign, hook: Hook::Input, priority: 0 };
    let chain = Chain { base: Some(foreign), rules: vec![] };
    actual.chains.insert("theirs".into(), chain);
    assert_eq!(
        texts(&diff(&[desired], &[actual])),
        [
            "flush chain ip calico a",
            "delete set ip calico red",
            "delete chain ip calico theirs",
            "add set ip calico red",
            "add element ip calico red { 10.0.0.0/8 }",
            "add rule ip calico a ip saddr @red counter drop",
        ]
    );
}

#[test]
fn foreign_rule_is_replaced_even_by_an_equal_one() {
    let mut table = calico(&[]);
    let rule = &mut table.chains.get_mut("a").expect("chain").rules[0];
    rule.matches.push(Match::Foreign("limit".into()));
    let changes = texts(&diff(&[calico(&[])], &[table]));
    let rewritten = ["flush chain ip calico a", "add rule ip calico a ip saddr @red counter drop"];
    assert_eq!(changes, rewritten);
}

#[test]
fn refused_step_changes_nothing() {
    let mut tables = vec![calico(&["10.0.0.0/8"])];
    let before = tables.clone();
    let mut changes = diff(&[calico(&["11.0.0.0/8"])], &tables);
    let edit = Edit::DeleteSet("red".into());
    changes.push(Change { family: Family::Ip, table: "calico".into(), edit });
    let refusal = apply(&mut tables, &changes).expect_err("a rule looks into the set");
    assert_eq!(refusal.problem, "a rule looks into the set");
    assert_eq!(tables, before);
}

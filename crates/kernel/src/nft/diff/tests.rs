use super::diff;
use crate::nft::sample::{held, table};
use crate::nft::{
    BaseChain, Chain, ChainKind, Change, Device, Edit, Element, Family, Hook, MapField, Match,
    Rule, Set, SetKey, Table, Verdict, VerdictMap, apply,
};
use proptest::prelude::*;

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
                let like = |found: &Set| desired.sets.get(name).is_some_and(|set| set.is_like(found));
                !actual.sets.get(name).is_some_and(like)
            };
            rule.sets().any(set)
        };
        for change in diff(std::slice::from_ref(&desired), std::slice::from_ref(&actual)) {
            if let Edit::FlushChain(name)
            | Edit::AddRules { chain: name, .. }
            | Edit::DeleteRules { chain: name, .. }
            | Edit::InsertRules { chain: name, .. } = &change.edit
            {
                let same = desired.chains.get(name) == actual.chains.get(name);
                let found = actual.chains.get(name);
                let forced = found.is_some_and(|chain| chain.rules.iter().any(refers_to_new));
                prop_assert!(!same || forced, "{} touched for nothing", name);
            }
        }
    }
}

/// A chain of one rule for each letter.
fn lettered(letters: &str) -> Table {
    let mut table = Table::new(Family::Ip, "calico");
    let rule = |letter| Rule::new(vec![Match::Protocol(letter)], Verdict::Accept);
    let rules = letters.bytes().map(rule).collect();
    table.chains.insert("a".into(), Chain { base: None, rules });
    table
}

proptest! {
    #[test]
    fn any_rules_become_any_others(found in "[abc]{0,6}", wanted in "[abc]{0,6}") {
        let mut tables = vec![lettered(&found)];
        let changes = diff(&[lettered(&wanted)], &tables);
        apply(&mut tables, &changes).map_err(|refusal| TestCaseError::fail(refusal.to_string()))?;
        prop_assert_eq!(tables, vec![lettered(&wanted)]);
    }
}

#[test]
fn rules_at_both_ends_stay() {
    for (found, wanted, steps) in [
        ("abcd", "abcx", "-3+1 at 3: x"),
        ("abcd", "xbcd", "-0+1 at 0: x"),
        ("abcd", "axyd", "-1+2 at 1: xy"),
        ("abcd", "ad", "-1+2"),
        ("ad", "abcd", "at 1: bc"),
        ("abcd", "abcdef", "at 4: ef"),
        ("cd", "abcd", "at 0: ab"),
        ("aaa", "aa", "-2+1"),
        ("abcd", "", "flush"),
        ("", "ab", "add ab"),
        ("ab", "cd", "flush add cd"),
    ] {
        let letters = |rules: &[Rule]| {
            let letter = |rule: &Rule| match rule.matches[0] {
                Match::Protocol(letter) => char::from(letter),
                _ => '?',
            };
            rules.iter().map(letter).collect::<String>()
        };
        let step = |change: &Change| match &change.edit {
            Edit::DeleteRules { of, first, count, .. } if letters(of) == found => {
                format!("-{first}+{count}")
            }
            Edit::InsertRules { of, after, rules, .. } if letters(of) == found => {
                format!("at {after}: {}", letters(rules))
            }
            Edit::FlushChain(_) => "flush".to_owned(),
            Edit::AddRules { rules, .. } => format!("add {}", letters(rules)),
            _ => change.to_string(),
        };
        let changes = diff(&[lettered(wanted)], &[lettered(found)]);
        let done: Vec<String> = changes.iter().map(step).collect();
        assert_eq!(done.join(" "), steps, "{found} to {wanted}");
    }
}

#[test]
fn rule_that_stays_lets_go_of_a_set_made_anew() {
    let actual = calico(&[]);
    let mut desired = calico(&[]);
    desired.sets.insert("red".into(), Set::new(SetKey::Address, false));
    let more = Rule::new(vec![], Verdict::Accept);
    desired.chains.get_mut("a").expect("chain").rules.push(more);
    let changes = diff(std::slice::from_ref(&desired), std::slice::from_ref(&actual));
    assert_eq!(
        texts(&changes),
        [
            "flush chain ip calico a",
            "delete set ip calico red",
            "add set ip calico red",
            "add 2 rules ip calico a",
        ]
    );
    let mut tables = vec![actual];
    apply(&mut tables, &changes).expect("accepted");
    assert_eq!(tables, [desired]);
}

fn calico(elements: &[&str]) -> Table {
    let mut table = Table::new(Family::Ip, "calico");
    let elements = elements.iter().map(|net| Element::Net(net.parse().expect("prefix"))).collect();
    table.sets.insert("red".into(), Set { key: SetKey::Address, elements, interval: true });
    let matches = vec![Match::SourceInSet { set: "red".into(), not: false }];
    let rules = vec![Rule::new(matches, Verdict::Drop)];
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
    actual.maps.insert("services".into(), VerdictMap::new(SetKey::Foreign));
    assert_eq!(
        texts(&diff(&[desired], &[actual])),
        [
            "flush chain ip calico a",
            "delete map ip calico services",
            "delete set ip calico red",
            "delete chain ip calico theirs",
            "add set ip calico red",
            "add element ip calico red { 10.0.0.0/8 }",
            "add rule ip calico a ip saddr @red counter drop",
        ]
    );
}

#[test]
fn what_is_of_no_kind_of_ours_goes_with_its_table() {
    let desired = calico(&[]);
    let mut actual = desired.clone();
    actual.foreign.insert("flowtable f".into());
    assert_eq!(
        texts(&diff(&[desired], &[actual])),
        [
            "delete table ip calico",
            "add table ip calico",
            "add set ip calico red",
            "add chain ip calico a",
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
fn element_of_a_map_changes_and_goes_with_its_chain() {
    let dispatch = |to: &[(&str, &str)]| {
        let mut table = calico(&[]);
        let mut map = VerdictMap::new(SetKey::Interface);
        for (device, chain) in to {
            let device = Element::Interface(Device::new(device).expect("a name"));
            map.elements.insert(device, Verdict::Goto((*chain).to_owned()));
            table.chains.insert((*chain).to_owned(), Chain::default());
        }
        table.maps.insert("to".into(), map);
        let look = Verdict::Map { field: MapField::OutputInterface, map: "to".into() };
        let rules = vec![Rule::new(vec![], look)];
        table.chains.insert("dispatch".into(), Chain { base: None, rules });
        table
    };
    let actual = dispatch(&[("cali1", "one"), ("cali2", "two"), ("cali3", "three")]);
    let desired = dispatch(&[("cali1", "one"), ("cali2", "three")]);
    let changes = diff(std::slice::from_ref(&desired), std::slice::from_ref(&actual));
    assert_eq!(
        texts(&changes),
        [
            "delete element ip calico to { \"cali2\" … \"cali3\": 2 in all }",
            "delete chain ip calico two",
            "add element ip calico to { \"cali2\" : goto three }",
        ]
    );
    let mut tables = vec![actual];
    apply(&mut tables, &changes).expect("accepted");
    assert_eq!(tables, [desired]);
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

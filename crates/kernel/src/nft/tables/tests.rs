use super::{Absent, Tables};
use crate::nft::sample::{held, table};
use crate::nft::{
    Chain, Device, Edit, Element, Family, Match, Part, Rule, Set, SetKey, Table, Update, Verdict,
    VerdictMap, apply, diff,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// How one step of a history gets from one table to the next.
#[derive(Clone, Copy, Debug)]
struct Step {
    /// By members and elements where possible, not whole sets and maps.
    finely: bool,
    /// The kernel is told then.
    tell: bool,
    /// Somebody changes the kernel's tables, and they are read again.
    disturb: bool,
}

fn step() -> impl Strategy<Value = Step> {
    (any::<bool>(), prop::bool::weighted(0.6), prop::bool::weighted(0.2))
        .prop_map(|(finely, tell, disturb)| Step { finely, tell, disturb })
}

/// The updates that lead from one table to another.
fn updates(from: &Table, to: &Table, finely: bool) -> Vec<Update> {
    let mut parts: Vec<Part> = super::gone(from, to).collect();
    for part in super::changed(to, Some(from)) {
        parts.push(match part {
            Part::Set(name, Some(set)) => match from.sets.get(&name) {
                Some(before) if finely && before.is_like(&set) => Part::Members {
                    added: set.elements.difference(&before.elements).copied().collect(),
                    removed: before.elements.difference(&set.elements).copied().collect(),
                    set: name,
                },
                _ => Part::Set(name, Some(set)),
            },
            Part::Map(name, Some(map)) => match from.maps.get(&name) {
                Some(before) if finely => {
                    let removed =
                        before.elements.keys().filter(|key| !map.elements.contains_key(key));
                    let removed = removed.copied().collect();
                    Part::MapElements {
                        map: name,
                        elements: map.elements.into_iter().collect(),
                        removed,
                    }
                }
                _ => Part::Map(name, Some(map)),
            },
            part => part,
        });
    }
    let (family, table) = (to.family, &to.name);
    parts.into_iter().map(|part| Update { family, table: table.clone(), part }).collect()
}

fn fail(error: impl std::fmt::Display) -> TestCaseError {
    TestCaseError::fail(error.to_string())
}

/// Names of what a change touches.
fn touched(edit: &Edit) -> Option<&str> {
    match edit {
        Edit::CreateTable | Edit::DeleteTable => None,
        Edit::FlushChain(name)
        | Edit::DeleteSet(name)
        | Edit::DeleteMap(name)
        | Edit::DeleteChain(name)
        | Edit::CreateSet { set: name, .. }
        | Edit::DeleteElements { set: name, .. }
        | Edit::AddElements { set: name, .. }
        | Edit::CreateMap { map: name, .. }
        | Edit::DeleteMapElements { map: name, .. }
        | Edit::AddMapElements { map: name, .. }
        | Edit::CreateChain { chain: name, .. }
        | Edit::AddRules { chain: name, .. }
        | Edit::DeleteRules { chain: name, .. }
        | Edit::InsertRules { chain: name, .. } => Some(name),
    }
}

proptest! {
    /// Whatever comes in whatever pieces, the kernel ends up with what is desired, by changes of
    /// what differs only.
    #[test]
    fn any_history_is_as_from_scratch(
        history in prop::collection::vec((table(), step(), table()), 1..8),
    ) {
        let mut tables = Tables::new();
        let mut kernel: Vec<Table> = vec![];
        let mut now = Table::new(Family::Ip, "calico");
        for (next, step, strange) in history {
            for update in updates(&now, &next, step.finely) {
                tables.update(update).map_err(fail)?;
            }
            now = next;
            if step.disturb {
                kernel = held(&[strange]);
                tables.resync(kernel.clone());
            }
            if !step.tell {
                continue;
            }
            let wanted: Vec<Table> = tables.desired().cloned().collect();
            let changes = tables.changes();
            prop_assert_eq!(changes.is_empty(), diff(&wanted, &kernel).is_empty());
            let scratch = diff(&wanted, &kernel);
            for change in &changes {
                let as_scratch = scratch.iter().any(|other| {
                    touched(&other.edit) == touched(&change.edit)
                });
                prop_assert!(as_scratch, "{} touched for nothing", change);
            }
            apply(&mut kernel, &changes).map_err(fail)?;
            tables.commit();
            prop_assert_eq!(&kernel, &held(&wanted));
            prop_assert_eq!(tables.changes(), vec![]);
        }
    }

    /// Static and other parts come and go on their own.
    #[test]
    fn static_part_leaves_the_rest_alone(
        history in prop::collection::vec((table(), any::<bool>(), any::<bool>()), 1..6),
    ) {
        let mut tables = Tables::new();
        let mut kernel: Vec<Table> = vec![];
        let own = Part::Set("own".into(), Some(Set::new(SetKey::Port, true)));
        let mut expected_own = false;
        for (next, with_static, toggle_own) in history {
            let fixed = if with_static { vec![next] } else { vec![] };
            tables.set_static(&fixed);
            if toggle_own {
                expected_own = !expected_own;
                let part = if expected_own { own.clone() } else { Part::Set("own".into(), None) };
                tables.update(Update { family: Family::Ip, table: "calico".into(), part })
                    .map_err(fail)?;
            }
            apply(&mut kernel, &tables.changes()).map_err(fail)?;
            tables.commit();
            let mut expected = fixed;
            if expected_own {
                if expected.is_empty() {
                    expected.push(Table::new(Family::Ip, "calico"));
                }
                expected[0].sets.insert("own".into(), Set::new(SetKey::Port, true));
            }
            prop_assert_eq!(&kernel, &held(&expected));
        }
    }
}

fn calico() -> Table {
    let mut table = Table::new(Family::Ip, "calico");
    table.sets.insert("red".into(), Set::new(SetKey::Address, true));
    table.maps.insert("to".into(), VerdictMap::new(SetKey::Interface));
    let matches = vec![Match::SourceInSet { set: "red".into(), not: false }];
    let rules = vec![Rule::new(matches, Verdict::Drop)];
    table.chains.insert("a".into(), Chain { base: None, rules });
    table
}

/// Tables that the kernel has been told.
fn told(table: Table) -> Tables {
    let mut tables = Tables::new();
    tables.set_static(&[table]);
    tables.commit();
    tables
}

fn update(part: Part) -> Update {
    Update { family: Family::Ip, table: "calico".into(), part }
}

fn members(added: &[&str], removed: &[&str]) -> Update {
    let nets = |nets: &[&str]| -> Vec<Element> {
        nets.iter().map(|net| Element::Net(net.parse().expect("a prefix"))).collect()
    };
    update(Part::Members { set: "red".into(), added: nets(added), removed: nets(removed) })
}

fn texts(tables: &Tables) -> Vec<String> {
    tables.changes().iter().map(ToString::to_string).collect()
}

#[test]
fn members_that_cover_others() {
    let mut tables = told(calico());
    let mut step = |update: Update| {
        tables.update(update).expect("the set is there");
        let texts = texts(&tables);
        tables.commit();
        texts.iter().map(|text| text.replace("element ip calico red ", "")).collect::<Vec<_>>()
    };
    assert_eq!(step(members(&["10.0.0.0/8"], &[])), ["add { 10.0.0.0/8 }"]);
    assert_eq!(
        step(members(&["10.1.0.0/16", "10.2.0.0/16", "11.0.0.0/8"], &[])),
        ["add { 11.0.0.0/8 }"]
    );
    assert_eq!(
        step(members(&[], &["10.0.0.0/8"])),
        ["delete { 10.0.0.0/8 }", "add { 10.1.0.0/16 … 10.2.0.0/16: 2 in all }"]
    );
    assert_eq!(
        step(members(&["0.0.0.0/0"], &["10.1.0.0/16"])),
        ["delete { 10.1.0.0/16 … 11.0.0.0/8: 3 in all }", "add { 0.0.0.0/0 }"]
    );
    assert_eq!(step(members(&["10.3.0.0/16"], &["10.2.0.0/16"])), [""; 0]);
    assert_eq!(step(members(&["1.0.0.0/8"], &["1.0.0.0/8"])), [""; 0], "removed, then added");
}

#[test]
fn there_and_back_is_no_change() {
    let mut tables = told(calico());
    let device = Element::Interface(Device::new("cali1").expect("a name"));
    let go = |verdict| Part::MapElements {
        map: "to".into(),
        elements: vec![(device, verdict)],
        removed: vec![],
    };
    let leave = Part::MapElements { map: "to".into(), elements: vec![], removed: vec![device] };
    let chain = calico().chains.remove("a");
    for part in [
        go(Verdict::Drop),
        go(Verdict::Accept),
        leave,
        Part::Chain("a".into(), None),
        Part::Chain("a".into(), chain),
        Part::Set("red".into(), None),
        Part::Set("red".into(), Some(Set::new(SetKey::Address, true))),
    ] {
        tables.update(update(part)).expect("there");
    }
    assert_eq!(texts(&tables), [""; 0]);
}

#[test]
fn set_of_another_type_makes_its_rules_let_go() {
    let mut tables = told(calico());
    let part = Part::Set("red".into(), Some(Set::new(SetKey::Address, false)));
    tables.update(update(part)).expect("whole");
    assert_eq!(
        texts(&tables),
        [
            "flush chain ip calico a",
            "delete set ip calico red",
            "add set ip calico red",
            "add rule ip calico a ip saddr @red counter drop",
        ]
    );
}

#[test]
fn table_goes_with_the_last_of_it() {
    let mut tables = told(calico());
    tables.set_static(&[]);
    assert_eq!(texts(&tables), ["delete table ip calico"]);
    tables.commit();
    assert_eq!(texts(&tables), [""; 0]);
    assert_eq!(tables.desired().count(), 0);
}

#[test]
fn strange_tables_are_deleted_and_those_of_strange_kinds_made_anew() {
    let mut tables = told(calico());
    let mut flow = calico();
    flow.foreign.insert("flowtable f".into());
    tables.resync(vec![flow, Table::new(Family::Ip6, "calico")]);
    assert_eq!(
        texts(&tables)[..2],
        ["delete table ip calico".to_owned(), "add table ip calico".to_owned()]
    );
    assert_eq!(texts(&tables).last().map(String::as_str), Some("delete table ip6 calico"));
}

#[test]
fn parts_of_what_is_not_there() {
    let mut tables = Tables::new();
    let error = tables.update(members(&["10.0.0.0/8"], &[])).expect_err("no set");
    let object = "set red".to_owned();
    assert_eq!(error, Absent { family: Family::Ip, table: "calico".into(), object });
    let elements: BTreeMap<Element, Verdict> = BTreeMap::new();
    let elements = elements.into_iter().collect();
    let part = Part::MapElements { map: "to".into(), elements, removed: vec![] };
    assert!(tables.update(update(part)).is_err());
    assert_eq!(texts(&tables), [""; 0]);
}

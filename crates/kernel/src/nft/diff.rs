//! The steps from what is there to what shall be.

use super::{BaseChain, ChainKind};
use super::{Chain, Change, Edit, Rule, Set, SetKey, Table};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// The changes that turn `actual` into `desired`, in an order that holds within one transaction.
///
/// `actual` holds own tables only: one that is not desired is deleted. What is equal is not
/// touched, so its counters survive; a chain whose rules differ is emptied and filled again.
///
/// Within a table: chains that change are emptied, so that nothing refers to what goes; sets and
/// chains go; sets and their elements come; chains come; rules come.
pub fn diff(desired: &[Table], actual: &[Table]) -> Vec<Change> {
    let mut changes = Vec::new();
    let same = |a: &Table, b: &Table| a.family == b.family && a.name == b.name;
    for table in actual {
        if !desired.iter().any(|wanted| same(wanted, table)) {
            changes.push(change(table, Edit::DeleteTable));
        }
    }
    for table in desired {
        match actual.iter().find(|found| same(found, table)) {
            Some(found) => diff_table(table, found, &mut changes),
            None => {
                changes.push(change(table, Edit::CreateTable));
                let empty = Table::new(table.family, &*table.name);
                diff_table(table, &empty, &mut changes);
            }
        }
    }
    changes
}

fn change(table: &Table, edit: Edit) -> Change {
    Change { family: table.family, table: table.name.clone(), edit }
}

fn diff_table(desired: &Table, actual: &Table, changes: &mut Vec<Change>) {
    let mut push = |edit| changes.push(change(desired, edit));
    let dead_sets = absent_or_else(&actual.sets, &desired.sets, same_set);
    let dead_chains = absent_or_else(&actual.chains, &desired.chains, same_base);
    let stale = |name: &str, chain: &Chain| {
        dead_chains.contains(name)
            || desired.chains.get(name).is_none_or(|wanted| wanted.rules != chain.rules)
            || chain.rules.iter().any(|rule| refers(rule, &dead_sets, &dead_chains))
    };
    let stale: BTreeSet<&str> = actual
        .chains
        .iter()
        .filter(|(name, chain)| stale(name, chain))
        .map(|(name, _)| &**name)
        .collect();

    for name in stale.iter().filter(|name| !actual.chains[**name].rules.is_empty()) {
        push(Edit::FlushChain((*name).to_owned()));
    }
    for name in &dead_sets {
        push(Edit::DeleteSet((*name).to_owned()));
    }
    for name in &dead_chains {
        push(Edit::DeleteChain((*name).to_owned()));
    }
    for (name, set) in &desired.sets {
        let kept = actual.sets.get(name).filter(|_| !dead_sets.contains(&**name));
        if kept.is_none() {
            push(Edit::CreateSet { set: name.clone(), key: set.key, interval: set.interval });
        }
        diff_elements(name, set, kept, &mut push);
    }
    let absent = |name: &str| !actual.chains.contains_key(name) || dead_chains.contains(name);
    for (name, chain) in desired.chains.iter().filter(|(name, _)| absent(name)) {
        push(Edit::CreateChain { chain: name.clone(), base: chain.base });
    }
    for (name, chain) in &desired.chains {
        if (absent(name) || stale.contains(&**name)) && !chain.rules.is_empty() {
            push(Edit::AddRules { chain: name.clone(), rules: chain.rules.clone() });
        }
    }
}

fn diff_elements(name: &str, desired: &Set, actual: Option<&Set>, push: &mut impl FnMut(Edit)) {
    if actual.is_some_and(|set| set.elements == desired.elements) {
        return;
    }
    let wanted = desired.members();
    let found = actual.map(Set::members).unwrap_or_default();
    let (set, interval) = (name.to_owned(), desired.interval);
    let gone: Vec<IpNet> = found.difference(&wanted).copied().collect();
    let new: Vec<IpNet> = wanted.difference(&found).copied().collect();
    if !gone.is_empty() {
        push(Edit::DeleteElements { set: set.clone(), interval, elements: gone });
    }
    if !new.is_empty() {
        push(Edit::AddElements { set, interval, elements: new });
    }
}

/// Names in `actual` that are not desired, or desired as something that only a new object can be.
fn absent_or_else<'a, T>(
    actual: &'a BTreeMap<String, T>,
    desired: &BTreeMap<String, T>,
    same: impl Fn(&T, &T) -> bool,
) -> BTreeSet<&'a str> {
    actual
        .iter()
        .filter(|(name, found)| desired.get(*name).is_none_or(|wanted| !same(wanted, found)))
        .map(|(name, _)| &**name)
        .collect()
}

fn same_set(desired: &Set, actual: &Set) -> bool {
    actual.key != SetKey::Foreign
        && desired.key == actual.key
        && desired.interval == actual.interval
}

fn same_base(desired: &Chain, actual: &Chain) -> bool {
    let foreign = |base: BaseChain| base.kind == ChainKind::Foreign;
    desired.base == actual.base && !actual.base.is_some_and(foreign)
}

/// Whether a rule must go because it is foreign or refers to something that goes.
fn refers(rule: &Rule, dead_sets: &BTreeSet<&str>, dead_chains: &BTreeSet<&str>) -> bool {
    rule.is_foreign()
        || rule.sets().any(|set| dead_sets.contains(set))
        || rule.target().is_some_and(|chain| dead_chains.contains(chain))
}

#[cfg(test)]
mod tests;

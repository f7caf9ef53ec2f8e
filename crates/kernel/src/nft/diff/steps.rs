//! Edits of one table, gathered object by object and brought into an order that holds.

use crate::nft::{Chain, ChainKind, Edit, Element, Rule, Set, Table, Verdict, VerdictMap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What is to be done to a table. Within one transaction the order of [`Steps::in_order`] holds.
#[derive(Default)]
pub(in crate::nft) struct Steps {
    rules_gone: Vec<Edit>,
    elements_gone: Vec<Edit>,
    maps_gone: Vec<Edit>,
    sets_gone: Vec<Edit>,
    chains_gone: Vec<Edit>,
    sets: Vec<Edit>,
    chains: Vec<Edit>,
    maps: Vec<Edit>,
    rules: Vec<Edit>,
    /// As [`Steps::dead`].
    dead: BTreeSet<String>,
}

impl Steps {
    /// All that turns one table into another.
    pub(in crate::nft) fn between(desired: &Table, actual: &Table) -> Steps {
        let mut steps = Steps::default();
        for (name, wanted, found) in both(&desired.sets, &actual.sets) {
            steps.set(name, wanted, found);
        }
        for (name, wanted, found) in both(&desired.maps, &actual.maps) {
            steps.map(name, wanted, found);
        }
        for (name, wanted, found) in both(&desired.chains, &actual.chains) {
            let refers = found.is_some_and(|chain| steps.is_referred_to_by(&chain.rules));
            steps.chain(name, wanted, found, refers);
        }
        steps
    }

    /// Turns the set that was found into the one that is wanted.
    pub(in crate::nft) fn set(&mut self, name: &str, wanted: Option<&Set>, found: Option<&Set>) {
        let kept = found.filter(|found| wanted.is_some_and(|wanted| wanted.is_like(found)));
        if found.is_some() && kept.is_none() {
            self.sets_gone.push(Edit::DeleteSet(name.to_owned()));
            self.dead.insert(name.to_owned());
        }
        let Some(wanted) = wanted else { return };
        let members = wanted.members();
        let Some(kept) = kept else {
            let (key, interval) = (wanted.key, wanted.interval);
            self.sets.push(Edit::CreateSet { set: name.to_owned(), key, interval });
            return self.members(name, interval, vec![], members.iter().copied().collect());
        };
        if kept.elements == wanted.elements {
            return;
        }
        let found = kept.members();
        let gone = found.difference(&members).copied().collect();
        let new = members.difference(&found).copied().collect();
        self.members(name, wanted.interval, gone, new);
    }

    /// Takes members out of a set and puts others in.
    pub(in crate::nft) fn members(
        &mut self,
        name: &str,
        interval: bool,
        gone: Vec<Element>,
        new: Vec<Element>,
    ) {
        let set = name.to_owned();
        if !gone.is_empty() {
            self.sets.push(Edit::DeleteElements { set: set.clone(), interval, elements: gone });
        }
        if !new.is_empty() {
            self.sets.push(Edit::AddElements { set, interval, elements: new });
        }
    }

    /// Turns the map that was found into the one that is wanted.
    pub(in crate::nft) fn map(
        &mut self,
        name: &str,
        wanted: Option<&VerdictMap>,
        found: Option<&VerdictMap>,
    ) {
        let kept = found.filter(|found| wanted.is_some_and(|wanted| wanted.is_like(found)));
        if found.is_some() && kept.is_none() {
            self.maps_gone.push(Edit::DeleteMap(name.to_owned()));
            self.dead.insert(name.to_owned());
        }
        let Some(wanted) = wanted else { return };
        if kept.is_none() {
            self.maps.push(Edit::CreateMap { map: name.to_owned(), key: wanted.key });
        }
        let empty = VerdictMap::new(wanted.key);
        let found = kept.unwrap_or(&empty);
        let differs = |a: &VerdictMap, key: &Element, verdict: &Verdict| {
            a.elements.get(key).is_none_or(|other| other != verdict)
        };
        let gone = found.elements.iter().filter(|(key, verdict)| differs(wanted, key, verdict));
        let new = wanted.elements.iter().filter(|(key, verdict)| differs(found, key, verdict));
        let gone = gone.map(|(key, _)| *key).collect();
        self.map_elements(name, gone, new.map(|(key, verdict)| (*key, verdict.clone())).collect());
    }

    /// Takes elements out of a map and puts others in; one that changes does both.
    pub(in crate::nft) fn map_elements(
        &mut self,
        name: &str,
        gone: Vec<Element>,
        new: Vec<(Element, Verdict)>,
    ) {
        let map = name.to_owned();
        if !gone.is_empty() {
            self.elements_gone.push(Edit::DeleteMapElements { map: map.clone(), elements: gone });
        }
        if !new.is_empty() {
            self.maps.push(Edit::AddMapElements { map, elements: new });
        }
    }

    /// Turns the chain that was found into the one that is wanted; `anew`: writes its rules again
    /// even if they are the same. Rules at its start and end that are the same stay.
    pub(in crate::nft) fn chain(
        &mut self,
        name: &str,
        wanted: Option<&Chain>,
        found: Option<&Chain>,
        anew: bool,
    ) {
        let kept = found.filter(|found| wanted.is_some_and(|wanted| same_base(wanted, found)));
        let chain = name.to_owned();
        if let (Some(wanted), Some(kept), false) = (wanted, kept, anew)
            && !kept.rules.iter().any(Rule::is_foreign)
        {
            if wanted.rules == kept.rules {
                return;
            }
            if !self.is_referred_to_by(&kept.rules)
                && self.some_rules(name, &wanted.rules, &kept.rules)
            {
                return;
            }
        }
        if found.is_some_and(|found| !found.rules.is_empty()) {
            self.rules_gone.push(Edit::FlushChain(chain.clone()));
        }
        if found.is_some() && kept.is_none() {
            self.chains_gone.push(Edit::DeleteChain(chain.clone()));
        }
        let Some(wanted) = wanted else { return };
        if kept.is_none() {
            self.chains.push(Edit::CreateChain { chain: chain.clone(), base: wanted.base });
        }
        if !wanted.rules.is_empty() {
            self.rules.push(Edit::AddRules { chain, rules: wanted.rules.clone() });
        }
    }

    /// Changes only the rules between those that are the same at the start and at the end; false if
    /// none are.
    fn some_rules(&mut self, chain: &str, wanted: &[Rule], found: &[Rule]) -> bool {
        let same = |(a, b): &(&Rule, &Rule)| a == b;
        let after = wanted.iter().zip(found).take_while(same).count();
        let (new, gone) = (&wanted[after..], &found[after..]);
        let end = new.iter().rev().zip(gone.iter().rev()).take_while(same).count();
        let (new, count) = (&new[..new.len() - end], gone.len() - end);
        if after + end == 0 {
            return false;
        }
        let (chain, of) = (chain.to_owned(), Arc::<[Rule]>::from(found));
        if count > 0 {
            let (chain, of) = (chain.clone(), of.clone());
            self.rules_gone.push(Edit::DeleteRules { chain, of, first: after, count });
        }
        if !new.is_empty() {
            self.rules.push(Edit::InsertRules { chain, of, after, rules: new.to_vec() });
        }
        true
    }

    /// Whether a set or map goes that one of the rules looks into.
    pub(in crate::nft) fn is_referred_to_by(&self, rules: &[Rule]) -> bool {
        let dead = |name: &str| self.dead.contains(name);
        !self.dead.is_empty() && rules.iter().any(|rule| rule.sets().chain(rule.map()).any(dead))
    }

    /// Sets and maps that go, perhaps for another one of the same name.
    pub(in crate::nft) fn dead(&self) -> impl Iterator<Item = &str> {
        self.dead.iter().map(|name| &**name)
    }

    /// All edits, each after those that it needs.
    pub(in crate::nft) fn in_order(self) -> impl Iterator<Item = Edit> {
        [
            self.rules_gone,
            self.elements_gone,
            self.maps_gone,
            self.sets_gone,
            self.chains_gone,
            self.sets,
            self.chains,
            self.maps,
            self.rules,
        ]
        .into_iter()
        .flatten()
    }
}

/// All names, in order, with what is wanted and what was found.
fn both<'a, T>(
    desired: &'a BTreeMap<String, T>,
    actual: &'a BTreeMap<String, T>,
) -> impl Iterator<Item = (&'a str, Option<&'a T>, Option<&'a T>)> {
    let gone = actual.iter().filter(|(name, _)| !desired.contains_key(*name));
    let wanted = desired.iter().map(|(name, wanted)| (&**name, Some(wanted), actual.get(name)));
    wanted.chain(gone.map(|(name, found)| (&**name, None, Some(found))))
}

fn same_base(wanted: &Chain, found: &Chain) -> bool {
    let foreign = found.base.is_some_and(|base| base.kind == ChainKind::Foreign);
    wanted.base == found.base && !foreign
}

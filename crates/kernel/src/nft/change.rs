//! One step of a transaction, and the same steps carried out on values.

use super::text::MapElement;
use super::{BaseChain, Chain, Element, Family, Rule, Set, SetKey, Table, Verdict, VerdictMap};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use thiserror::Error;

/// One step of a transaction on one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// What happens to it.
    pub edit: Edit,
}

/// What a step does; names are of objects in the step's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Edit {
    /// The table comes into being, empty.
    CreateTable,
    /// The table goes with all that is in it.
    DeleteTable,
    /// All rules of a chain go.
    FlushChain(String),
    /// Some rules of a chain go; the others stay, with their counters.
    DeleteRules {
        /// The chain's name.
        chain: String,
        /// The rules that the chain has before the transaction.
        of: Arc<[Rule]>,
        /// The first of those that go, from 0.
        first: usize,
        /// How many go.
        count: usize,
    },
    /// A set that no rule looks into goes.
    DeleteSet(String),
    /// A verdict map that no rule looks into goes, with its elements.
    DeleteMap(String),
    /// A chain that nothing jumps to goes.
    DeleteChain(String),
    /// A set comes into being, empty.
    CreateSet {
        /// Its name.
        set: String,
        /// What its elements are.
        key: SetKey,
        /// As in [`Set::interval`].
        interval: bool,
    },
    /// Members leave a set.
    DeleteElements {
        /// The set's name.
        set: String,
        /// As in [`Set::interval`].
        interval: bool,
        /// Members it has, none covering another.
        elements: Vec<Element>,
    },
    /// Members join a set.
    AddElements {
        /// The set's name.
        set: String,
        /// As in [`Set::interval`].
        interval: bool,
        /// New members, none covering another.
        elements: Vec<Element>,
    },
    /// A verdict map comes into being, empty.
    CreateMap {
        /// Its name.
        map: String,
        /// What is looked up in it.
        key: SetKey,
    },
    /// Elements leave a verdict map.
    DeleteMapElements {
        /// The map's name.
        map: String,
        /// Keys it has.
        elements: Vec<Element>,
    },
    /// Elements join a verdict map.
    AddMapElements {
        /// The map's name.
        map: String,
        /// Keys it doesn't have, and what happens to their packets.
        elements: Vec<(Element, Verdict)>,
    },
    /// A chain comes into being, without rules.
    CreateChain {
        /// Its name.
        chain: String,
        /// Where the kernel calls it.
        base: Option<BaseChain>,
    },
    /// Rules are appended to a chain.
    AddRules {
        /// The chain's name.
        chain: String,
        /// The rules in order.
        rules: Vec<Rule>,
    },
    /// Rules come between those of a chain that stay.
    InsertRules {
        /// The chain's name.
        chain: String,
        /// The rules that the chain has before the transaction.
        of: Arc<[Rule]>,
        /// How many of them are before these; the transaction leaves those as they are.
        after: usize,
        /// The rules in order.
        rules: Vec<Rule>,
    },
}

/// Why [`apply`] refused a step, as the kernel would have.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{change} refused: {problem}; read the table again and take a new difference")]
pub struct Refusal {
    /// The step as text.
    pub change: String,
    /// What stands against it.
    pub problem: &'static str,
}

/// Carries `changes` out on `tables` by the kernel's rules: all of them or none.
///
/// # Errors
/// A step names something absent, or deletes a set or chain still referred to; `tables` is
/// unchanged.
pub fn apply(tables: &mut Vec<Table>, changes: &[Change]) -> Result<(), Refusal> {
    let key = |table: &Table| (table.family, table.name.clone());
    let mut next: BTreeMap<_, _> = tables.iter().map(|table| (key(table), table.clone())).collect();
    for change in changes {
        let table_key = (change.family, change.table.clone());
        let outcome = match &change.edit {
            Edit::CreateTable => {
                let empty = || Table::new(change.family, &*change.table);
                next.entry(table_key).or_insert_with(empty);
                Ok(())
            }
            Edit::DeleteTable => next.remove(&table_key).map(|_| ()).ok_or("no such table"),
            edit => match next.get_mut(&table_key) {
                Some(table) => table.edit(edit),
                None => Err("no such table"),
            },
        };
        outcome.map_err(|problem| Refusal { change: change.to_string(), problem })?;
    }
    *tables = next.into_values().collect();
    Ok(())
}

impl Table {
    fn edit(&mut self, edit: &Edit) -> Result<(), &'static str> {
        match edit {
            Edit::CreateTable | Edit::DeleteTable => {}
            Edit::FlushChain(chain) => self.chain(chain)?.rules.clear(),
            Edit::DeleteRules { chain, of, first, count } => {
                let rules = &mut self.chain(chain)?.rules;
                if **rules != **of || first + count > of.len() {
                    return Err("the chain has other rules");
                }
                rules.drain(*first..first + count);
            }
            Edit::DeleteSet(set) => {
                if self.rules().any(|rule| rule.sets().any(|used| used == set)) {
                    return Err("a rule looks into the set");
                }
                self.sets.remove(set).ok_or("no such set")?;
            }
            Edit::DeleteMap(map) => {
                if self.rules().any(|rule| rule.map() == Some(map)) {
                    return Err("a rule looks into the map");
                }
                self.maps.remove(map).ok_or("no such map")?;
            }
            Edit::DeleteChain(chain) => {
                if self.rules().any(|rule| rule.target() == Some(chain)) {
                    return Err("a rule jumps to the chain");
                }
                if self.maps.values().any(|map| map.targets().any(|target| target == chain)) {
                    return Err("a map's element jumps to the chain");
                }
                self.chains.remove(chain).ok_or("no such chain")?;
            }
            Edit::CreateSet { set, .. } | Edit::CreateMap { map: set, .. }
                if self.sets.contains_key(set) || self.maps.contains_key(set) =>
            {
                return Err("the set exists");
            }
            Edit::CreateSet { set, key, interval } => {
                self.sets.insert(set.clone(), Set::new(*key, *interval));
            }
            Edit::CreateMap { map, key } => {
                self.maps.insert(map.clone(), VerdictMap::new(*key));
            }
            Edit::DeleteElements { .. }
            | Edit::AddElements { .. }
            | Edit::DeleteMapElements { .. }
            | Edit::AddMapElements { .. } => self.edit_elements(edit)?,
            Edit::CreateChain { chain, base } => {
                let empty = Chain { base: *base, rules: vec![] };
                if self.chains.insert(chain.clone(), empty).is_some() {
                    return Err("the chain exists");
                }
            }
            Edit::AddRules { chain, rules } => {
                self.know_what_they_name(rules)?;
                self.chain(chain)?.rules.extend_from_slice(rules);
            }
            Edit::InsertRules { chain, after, rules, .. } => {
                self.know_what_they_name(rules)?;
                let all = &mut self.chain(chain)?.rules;
                if *after > all.len() {
                    return Err("the chain has other rules");
                }
                all.splice(after..after, rules.iter().cloned());
            }
        }
        Ok(())
    }

    fn edit_elements(&mut self, edit: &Edit) -> Result<(), &'static str> {
        match edit {
            Edit::DeleteElements { set, elements, .. } => {
                let set = self.sets.get_mut(set).ok_or("no such set")?;
                if !elements.iter().all(|element| set.elements.remove(element)) {
                    return Err("no such element");
                }
            }
            Edit::AddElements { set, elements, .. } => {
                let set = self.sets.get_mut(set).ok_or("no such set")?;
                set.elements.extend(elements);
                if *set.members() != set.elements {
                    return Err("elements overlap");
                }
            }
            Edit::DeleteMapElements { map, elements } => {
                let map = self.maps.get_mut(map).ok_or("no such map")?;
                if !elements.iter().all(|element| map.elements.remove(element).is_some()) {
                    return Err("no such element");
                }
            }
            Edit::AddMapElements { map, elements } => {
                let map = self.maps.get_mut(map).ok_or("no such map")?;
                for (element, verdict) in elements {
                    if verdict.target().is_some_and(|chain| !self.chains.contains_key(chain)) {
                        return Err("an element names a chain that is not there");
                    }
                    if map.elements.insert(*element, verdict.clone()).is_some() {
                        return Err("the element exists");
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn know_what_they_name(&self, rules: &[Rule]) -> Result<(), &'static str> {
        let known = |rule: &Rule| {
            rule.sets().all(|set| self.sets.contains_key(set))
                && rule.map().is_none_or(|map| self.maps.contains_key(map))
                && rule.target().is_none_or(|target| self.chains.contains_key(target))
        };
        let all = rules.iter().all(known);
        all.then_some(()).ok_or("a rule names a set, map or chain that is not there")
    }

    fn chain(&mut self, name: &str) -> Result<&mut Chain, &'static str> {
        self.chains.get_mut(name).ok_or("no such chain")
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.chains.values().flat_map(|chain| &chain.rules)
    }
}

/// As a command of `nft` would name it; long lists are shortened to their length.
impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let table = format!("{} {}", self.family, self.table);
        match &self.edit {
            Edit::CreateTable => write!(f, "add table {table}"),
            Edit::DeleteTable => write!(f, "delete table {table}"),
            Edit::FlushChain(chain) => write!(f, "flush chain {table} {chain}"),
            Edit::DeleteRules { chain, first, count, .. } => {
                write!(f, "delete {count} rules {table} {chain} index {first}")
            }
            Edit::DeleteSet(set) => write!(f, "delete set {table} {set}"),
            Edit::DeleteMap(map) => write!(f, "delete map {table} {map}"),
            Edit::DeleteChain(chain) => write!(f, "delete chain {table} {chain}"),
            Edit::CreateSet { set, .. } => write!(f, "add set {table} {set}"),
            Edit::DeleteElements { set, elements, .. } => {
                write!(f, "delete element {table} {set} {}", List(elements))
            }
            Edit::AddElements { set, elements, .. } => {
                write!(f, "add element {table} {set} {}", List(elements))
            }
            Edit::CreateMap { map, .. } => write!(f, "add map {table} {map}"),
            Edit::DeleteMapElements { map, elements } => {
                write!(f, "delete element {table} {map} {}", List(elements))
            }
            Edit::AddMapElements { map, elements } => {
                let elements: Vec<_> = elements.iter().map(MapElement).collect();
                write!(f, "add element {table} {map} {}", List(&elements))
            }
            Edit::CreateChain { chain, .. } => write!(f, "add chain {table} {chain}"),
            Edit::AddRules { chain, rules } => match &rules[..] {
                [rule] => write!(f, "add rule {table} {chain} {}", rule.text(self.family)),
                _ => write!(f, "add {} rules {table} {chain}", rules.len()),
            },
            Edit::InsertRules { chain, after, rules, .. } => match &rules[..] {
                [rule] => {
                    let rule = rule.text(self.family);
                    write!(f, "insert rule {table} {chain} index {after} {rule}")
                }
                _ => write!(f, "insert {} rules {table} {chain} index {after}", rules.len()),
            },
        }
    }
}

struct List<'a, T>(&'a [T]);

impl<T: fmt::Display> fmt::Display for List<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [only] => write!(f, "{{ {only} }}"),
            [first, .., last] => write!(f, "{{ {first} … {last}: {} in all }}", self.0.len()),
            [] => write!(f, "{{ }}"),
        }
    }
}

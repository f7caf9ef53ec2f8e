//! The desired tables, kept as one copy, and what of them the kernel has not been told yet.
//!
//! ```text
//!  set_static(plan's tables) ─┐                    ┌─ changes() ──▶ one transaction ──▶ kernel
//!  update(one object's delta) ┴▶ desired ∪ pending ┤                                      │
//!                                    ▲             └─ commit() ◀── taken ─────────────────┤
//!                                    └─ resync(dump) ◀── refused, or others were at it ───┘
//! ```
//!
//! What a transaction holds is proportional to what has changed, not to the tables. Nothing but the
//! objects that differ is remembered of what the kernel holds.

mod interval;
mod tracked;

use super::{Change, Family, Part, Table, Update};
use std::collections::BTreeMap;
use thiserror::Error;
use tracked::Tracked;

/// A table by family and name.
type Id = (Family, String);

/// Desired tables, and what the kernel holds in place of what it has not been told yet.
#[derive(Clone, Debug, Default)]
pub struct Tables {
    tables: BTreeMap<Id, Tracked>,
    /// What [`Tables::set_static`] was given last.
    fixed: Vec<Table>,
}

/// An update of a part of something that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "{object} of table {family} {table} is to change, but is not there; tell it as a whole first"
)]
pub struct Absent {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// `set x`.
    pub object: String,
}

impl Tables {
    /// No tables, nor any in the kernel.
    pub fn new() -> Tables {
        Tables::default()
    }

    /// Makes the objects of these tables desired as they are, in place of those of the last call.
    /// Objects of other names, which came by [`Tables::update`], stay.
    pub fn set_static(&mut self, tables: &[Table]) {
        if self.fixed == tables {
            return;
        }
        let former = std::mem::replace(&mut self.fixed, tables.to_vec());
        for table in &former {
            let now = tables.iter().find(|now| id(now) == id(table));
            let empty = Table::new(table.family, &*table.name);
            let parts = gone(table, now.unwrap_or(&empty));
            let tracked = self.tracked(id(table));
            tracked.fixed = now.is_some();
            parts.for_each(|part| tracked.replace(part));
        }
        for table in tables {
            let before = former.iter().find(|before| id(before) == id(table));
            let tracked = self.tracked(id(table));
            tracked.fixed = true;
            changed(table, before).for_each(|part| tracked.replace(part));
        }
    }

    /// Changes one object of the desired tables.
    ///
    /// # Errors
    /// Members or elements of something that is not there.
    pub fn update(&mut self, update: Update) -> Result<(), Absent> {
        let Update { family, table, part } = update;
        let tracked = self.tracked((family, table));
        let (there, object) = match part {
            Part::Members { set, added, removed } => {
                (tracked.members(&set, &added, &removed), format!("set {set}"))
            }
            Part::MapElements { map, elements, removed } => {
                let done = tracked.map_elements(&map, elements, &removed);
                (done, format!("map {map}"))
            }
            whole => {
                tracked.replace(whole);
                return Ok(());
            }
        };
        let table = tracked.desired.name.clone();
        if there { Ok(()) } else { Err(Absent { family, table, object }) }
    }

    /// What the kernel has not been told yet, in an order that holds within one transaction.
    pub fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for ((family, name), tracked) in &self.tables {
            let change = |edit| Change { family: *family, table: name.clone(), edit };
            changes.extend(tracked.edits().into_iter().map(change));
        }
        changes
    }

    /// The kernel has taken all of [`Tables::changes`].
    pub fn commit(&mut self) {
        self.tables.retain(|_, tracked| tracked.commit());
    }

    /// The kernel holds these own tables, whatever it was told: the next changes are the full
    /// difference. What is in force stays so until they are.
    pub fn resync(&mut self, actual: Vec<Table>) {
        let mut actual: BTreeMap<Id, Table> =
            actual.into_iter().map(|table| (id(&table), table)).collect();
        for (id, tracked) in &mut self.tables {
            tracked.resync(actual.remove(id));
        }
        for (id, table) in actual {
            self.tracked(id).resync(Some(table));
        }
    }

    /// The tables that are desired.
    pub fn desired(&self) -> impl Iterator<Item = &Table> {
        self.tables.values().filter(|tracked| tracked.is_wanted()).map(|tracked| &tracked.desired)
    }

    fn tracked(&mut self, id: Id) -> &mut Tracked {
        let new = || Tracked::new(Table::new(id.0, &*id.1));
        self.tables.entry(id.clone()).or_insert_with(new)
    }
}

fn id(table: &Table) -> Id {
    (table.family, table.name.clone())
}

/// Objects that `now` lacks, as parts that take them away.
fn gone<'a>(before: &'a Table, now: &'a Table) -> impl Iterator<Item = Part> + 'a {
    let sets = before.sets.keys().filter(|name| !now.sets.contains_key(*name));
    let maps = before.maps.keys().filter(|name| !now.maps.contains_key(*name));
    let chains = before.chains.keys().filter(|name| !now.chains.contains_key(*name));
    let sets = sets.map(|name| Part::Set(name.clone(), None));
    let maps = maps.map(|name| Part::Map(name.clone(), None));
    sets.chain(maps).chain(chains.map(|name| Part::Chain(name.clone(), None)))
}

/// Objects of `now` that were others `before`, or none.
fn changed<'a>(now: &'a Table, before: Option<&'a Table>) -> impl Iterator<Item = Part> + 'a {
    let sets = now.sets.iter();
    let sets = sets.filter(move |(name, set)| before.and_then(|b| b.sets.get(*name)) != Some(set));
    let maps = now.maps.iter();
    let maps = maps.filter(move |(name, map)| before.and_then(|b| b.maps.get(*name)) != Some(map));
    let chains = now.chains.iter();
    let chains =
        chains.filter(move |(name, chain)| before.and_then(|b| b.chains.get(*name)) != Some(chain));
    let sets = sets.map(|(name, set)| Part::Set(name.clone(), Some(set.clone())));
    let maps = maps.map(|(name, map)| Part::Map(name.clone(), Some(map.clone())));
    let chains = chains.map(|(name, chain)| Part::Chain(name.clone(), Some(chain.clone())));
    sets.chain(maps).chain(chains)
}

#[cfg(test)]
mod tests;

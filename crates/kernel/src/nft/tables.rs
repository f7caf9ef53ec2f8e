//! The desired tables, kept as one copy, and what of them the kernel has not been told yet.
//!
//! ```text
//!  update(one object's delta) ──▶ desired, pending ┬─ changes() ──▶ one transaction ──▶ kernel
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

#[cfg(test)]
mod tests;

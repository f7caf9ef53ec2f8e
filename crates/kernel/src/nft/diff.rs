//! What turns the tables that are into the tables that are wanted.

mod steps;

use super::{Change, Edit, Table};
pub(super) use steps::Steps;

/// The changes that turn `actual` into `desired`, in an order that holds within one transaction.
///
/// `actual` holds own tables only: one that is not desired is deleted. What is equal is not
/// touched, so its counters survive; of a chain whose rules differ, those at the start and at the
/// end that don't differ stay. A table with something in it of no kind of ours is made anew.
///
/// Within a table: rules go, so that nothing refers to what goes; elements of maps, maps, sets and
/// chains go; sets and their elements come; chains come; maps and their elements come; rules come.
pub fn diff(desired: &[Table], actual: &[Table]) -> Vec<Change> {
    let mut changes = Vec::new();
    let same = |a: &Table, b: &Table| a.family == b.family && a.name == b.name;
    for table in actual {
        if !table.foreign.is_empty() || !desired.iter().any(|wanted| same(wanted, table)) {
            changes.push(change(table, Edit::DeleteTable));
        }
    }
    for table in desired {
        let found = actual.iter().find(|found| same(found, table) && found.foreign.is_empty());
        let empty = Table::new(table.family, &*table.name);
        if found.is_none() {
            changes.push(change(table, Edit::CreateTable));
        }
        let edits = Steps::between(table, found.unwrap_or(&empty)).in_order();
        changes.extend(edits.map(|edit| change(table, edit)));
    }
    changes
}

fn change(table: &Table, edit: Edit) -> Change {
    Change { family: table.family, table: table.name.clone(), edit }
}

#[cfg(test)]
mod tests;

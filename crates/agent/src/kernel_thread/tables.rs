//! The tables `ip calico` and `ip6 calico`: kept as they shall be, repaired when others change them.

use kernel::nft::{Change, Family, Rule, Table, Tables, Update};
use linux::nft::{Counter, Error, Heard, Nft, NftMonitor};
use node::event::ApplyFailure;
use node::explain::{HeldChain, HeldRule};
use std::os::fd::{AsFd, BorrowedFd};

/// The name of both tables, as Felix has it.
pub(crate) const TABLE: &str = "calico";
/// Attempts at a transaction that others' changes spoil.
const CONFLICTS_MAX: u32 = 3;

/// This node's tables and the sockets they are programmed and watched by.
pub(super) struct OwnTables {
    nft: Nft,
    monitor: NftMonitor,
    tables: Tables,
    families: Vec<Family>,
    /// Others' chains that drop what no rule of theirs accepts, when the tables were read last.
    dropping: Vec<String>,
    /// Updates that could not be carried out since the last [`OwnTables::apply`].
    failures: Vec<ApplyFailure>,
}

impl OwnTables {
    /// Opens the sockets; [`OwnTables::read`] must come before the first [`OwnTables::apply`].
    pub(super) fn open(ipv6: bool) -> Result<OwnTables, Error> {
        let nft = Nft::open()?;
        let monitor = NftMonitor::open(&nft)?;
        let families = if ipv6 { vec![Family::Ip, Family::Ip6] } else { vec![Family::Ip] };
        Ok(OwnTables {
            nft,
            monitor,
            tables: Tables::new(),
            families,
            dropping: vec![],
            failures: vec![],
        })
    }

    /// Reads the tables: what differs from what is desired is put right by the next
    /// [`OwnTables::apply`], and is in force until then.
    pub(super) fn read(&mut self) -> Result<(), Error> {
        let mut actual = Vec::new();
        for family in &self.families {
            actual.extend(self.nft.read(*family, TABLE)?);
        }
        self.tables.resync(actual);
        self.dropping = self.nft.interfering(TABLE)?.iter().map(ToString::to_string).collect();
        Ok(())
    }

    /// Others' chains that drop what no rule of theirs accepts.
    pub(super) fn dropping(&self) -> &[String] {
        &self.dropping
    }

    /// Takes what has changed; nothing of an IP version that the kernel doesn't have.
    pub(super) fn update(&mut self, updates: Vec<Update>) {
        for update in updates.into_iter().filter(|update| self.families.contains(&update.family)) {
            let object = format!("table {} {}", update.family, update.table);
            if let Err(error) = self.tables.update(update) {
                self.failures.push(failure(object, &error));
            }
        }
    }

    /// Brings the kernel to what is desired, in one transaction. After a failure the tables must be
    /// read again.
    pub(super) fn apply(&mut self, fixed: &[Table]) -> Vec<ApplyFailure> {
        let of_kernel = |table: &&Table| self.families.contains(&table.family);
        if fixed.iter().all(|table| of_kernel(&table)) {
            self.tables.set_static(fixed);
        } else {
            let fixed: Vec<Table> = fixed.iter().filter(of_kernel).cloned().collect();
            self.tables.set_static(&fixed);
        }
        let mut failures = std::mem::take(&mut self.failures);
        failures.extend(self.transact().err());
        failures
    }

    fn transact(&mut self) -> Result<(), ApplyFailure> {
        let mut attempt = 1;
        loop {
            let changes = self.tables.changes();
            let error = match self.nft.apply(&changes) {
                Ok(()) => {
                    self.tables.commit();
                    return Ok(());
                }
                Err(error) => error,
            };
            if !error.is_conflict() || attempt == CONFLICTS_MAX {
                return Err(failure(named(&changes), &error));
            }
            attempt += 1;
            self.read().map_err(|error| failure(named(&changes), &error))?;
        }
    }

    /// A chain as the kernel holds it, and whether that is what is desired.
    pub(super) fn chain(&mut self, family: Family, name: &str) -> Result<HeldChain, Error> {
        let held = self.nft.chain_counters(family, TABLE, name)?;
        let mut tables = self.tables.desired().filter(|table| table.family == family);
        let desired = tables.find_map(|table| table.chains.get(name));
        let as_wanted = desired.is_some_and(|chain| {
            chain.rules.len() == held.len()
                && chain.rules.iter().zip(&held).all(|(wanted, held)| *wanted == held.rule)
        });
        let rule = |counter: Counter| {
            let comment = counter.rule.comment.clone();
            let plain = Rule { comment: String::new(), ..counter.rule };
            HeldRule { text: plain.text(family), comment, packets: counter.packets }
        };
        let rules = held.into_iter().map(rule).collect();
        Ok(HeldChain { name: name.to_owned(), as_wanted, rules })
    }

    /// Whether others have changed the tables since the last call.
    pub(super) fn have_others_changed(&mut self) -> bool {
        let Ok(heard) = self.monitor.read() else { return true };
        let families = &self.families;
        let ours = |heard: &Heard| match heard {
            Heard::Overrun => true,
            Heard::Changed { family, table, by } => {
                let ours = families.contains(family) && table == TABLE;
                if ours {
                    tracing::warn!(
                        "{by} changed table {family} {table}, which is calico-node's: repairing"
                    );
                }
                ours
            }
        };
        // All are looked at, as each is worth a warning.
        heard.iter().filter(|heard| ours(heard)).count() > 0
    }
}

impl AsFd for OwnTables {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.monitor.as_fd()
    }
}

fn failure(object: String, error: &dyn std::error::Error) -> ApplyFailure {
    ApplyFailure { object, interface: None, message: error.to_string() }
}

/// The first table of a transaction.
fn named(changes: &[Change]) -> String {
    let first = changes.first();
    first.map_or_else(String::new, |change| format!("table {} {}", change.family, change.table))
}

#[cfg(test)]
mod tests;

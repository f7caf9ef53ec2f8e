//! By what the kernel knows a rule: needed where some rules of a chain change and others stay.

use super::numbers::{attribute as a, message};
use super::socket::NetlinkSocket;
use super::{Error, decode};
use kernel::nft::{Change, Edit, Family, Rule};
use nix::errno::Errno;
use std::collections::BTreeMap;

/// A chain by its table's family, table and name.
type Id<'a> = (Family, &'a str, &'a str);

/// The handles of rules, in order, of chains that change in part.
#[derive(Default)]
pub(super) struct Handles<'a>(BTreeMap<Id<'a>, Vec<u64>>);

/// A chain that changes in part, and the rules it has before.
fn part(change: &Change) -> Option<(Id<'_>, &[Rule])> {
    let (Edit::DeleteRules { chain, of, .. } | Edit::InsertRules { chain, of, .. }) = &change.edit
    else {
        return None;
    };
    Some(((change.family, &*change.table, &**chain), of))
}

impl<'a> Handles<'a> {
    /// Whether changes need any.
    pub(super) fn are_needed(changes: &[Change]) -> bool {
        changes.iter().any(|change| part(change).is_some())
    }

    /// Reads those that the changes need.
    ///
    /// # Errors
    /// [`Error::OtherRules`] if a chain has not the rules that the changes were made for.
    pub(super) fn read(
        socket: &mut NetlinkSocket,
        changes: &'a [Change],
    ) -> Result<Handles<'a>, Error> {
        let mut chains = BTreeMap::new();
        for ((family, table, chain), of) in changes.iter().filter_map(part) {
            if chains.contains_key(&(family, table, chain)) {
                continue;
            }
            let rules = socket.dump(message::GETRULE, Some(family), |writer| {
                writer.text(a::TABLE, table);
                writer.text(a::RULE_CHAIN, chain);
            });
            let held: Vec<(u64, Rule)> = match rules {
                Err(Error::Read { errno: Errno::ENOENT, .. }) => vec![],
                rules => {
                    let rules = rules?;
                    let with_handle = rules.of_table(table).filter_map(|rule| {
                        let handle = rule.get(a::RULE_HANDLE)?.try_into().ok()?;
                        Some((u64::from_be_bytes(handle), decode::rule::rule(rule, family)))
                    });
                    with_handle.collect()
                }
            };
            if !held.iter().map(|(_, rule)| rule).eq(of) {
                return Err(Error::OtherRules { chain: format!("{family} {table} {chain}") });
            }
            let handles = held.into_iter().map(|(handle, _)| handle).collect();
            chains.insert((family, table, chain), handles);
        }
        Ok(Handles(chains))
    }

    /// Those of the chain that a change is about; none if it doesn't need them.
    pub(super) fn of<'s>(&'s self, change: &'s Change) -> &'s [u64] {
        part(change).and_then(|(id, _)| self.0.get(&id)).map_or(&[], Vec::as_slice)
    }
}

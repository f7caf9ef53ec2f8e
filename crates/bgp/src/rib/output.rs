//! One peer's output, made when it can be sent.

use super::table::{Prefix, Table};
use super::{Shared, export};
use crate::wire::{self, Attributes};
use ipnet::IpNet;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// Prefixes looked at together: those of equal attributes share messages.
const BATCH_PREFIXES: usize = 1024;

/// What decides how a destination is told: the id of its attributes, its source, and what filters
/// have made of the attributes.
type Key = (u32, u16, Option<Attributes>);

/// What is to be said of a batch.
#[derive(Default)]
struct Batch {
    announced: Vec<(Key, Vec<u32>)>,
    withdrawn: Vec<u32>,
    /// What there was no room for.
    left: Vec<u32>,
}

impl<P: Prefix> Table<P> {
    /// Appends messages to a peer until about `bytes_max` bytes stand there.
    pub(super) fn write(
        &mut self,
        shared: &mut Shared,
        slot: u16,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) {
        let family = P::FAMILY as usize;
        while out.len() < bytes_max {
            let audience = &mut shared.peers.get_mut(slot).audience[family];
            let caught_up = audience.caught_up;
            let due = audience.take(BATCH_PREFIXES);
            if due.is_empty() {
                break;
            }
            let mut batch = self.sort_out(shared, slot, &due);
            self.announce(shared, slot, &mut batch, out, bytes_max);
            self.withdraw(shared, slot, &mut batch, out, bytes_max);
            let audience = &mut shared.peers.get_mut(slot).audience[family];
            audience.untake(&batch.left, caught_up);
        }
        let neighbor = shared.peers.get_mut(slot);
        if neighbor.end_of_rib_due[family] && neighbor.audience[family].caught_up {
            neighbor.end_of_rib_due[family] = false;
            wire::encode_end_of_rib(P::FAMILY, out);
        }
    }

    fn sort_out(&self, shared: &Shared, slot: u16, due: &[u32]) -> Batch {
        let mut batch = Batch::default();
        let mut groups: HashMap<Key, usize> = HashMap::new();
        for index in due {
            let verdict = self.best(*index).and_then(|best| {
                let changed = self.verdict(shared, slot, *index, best)?;
                Some((best.attributes, best.slot, changed))
            });
            let Some(key) = verdict else {
                batch.withdrawn.push(*index);
                continue;
            };
            match groups.entry(key) {
                Entry::Occupied(group) => batch.announced[*group.get()].1.push(*index),
                Entry::Vacant(group) => {
                    batch.announced.push((group.key().clone(), vec![*index]));
                    group.insert(batch.announced.len() - 1);
                }
            }
        }
        batch
    }

    fn announce(
        &mut self,
        shared: &mut Shared,
        slot: u16,
        batch: &mut Batch,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) {
        for ((id, source, changed), indices) in batch.announced.drain(..) {
            if out.len() >= bytes_max {
                batch.left.extend(indices);
                continue;
            }
            let Some((attributes, next_hop, agreed)) =
                export::told(shared, slot, P::FAMILY, source, id, changed)
            else {
                batch.withdrawn.extend(indices);
                continue;
            };
            let prefixes: Vec<IpNet> = indices.iter().map(|index| self.prefix(*index)).collect();
            let mut done = 0;
            while done < indices.len() && out.len() < bytes_max {
                let rest = &prefixes[done..];
                let count = wire::encode_announcement(&attributes, next_hop, rest, agreed, out);
                if count == 0 {
                    // The attributes fill a message: nobody can be told of such routes.
                    batch.withdrawn.extend(&indices[done..]);
                    done = indices.len();
                }
                for index in indices.iter().skip(done).take(count) {
                    let audience = &mut shared.peers.get_mut(slot).audience[P::FAMILY as usize];
                    self.note_told(audience, *index, true);
                }
                done += count;
            }
            batch.left.extend(&indices[done..]);
        }
    }

    fn withdraw(
        &mut self,
        shared: &mut Shared,
        slot: u16,
        batch: &mut Batch,
        out: &mut Vec<u8>,
        bytes_max: usize,
    ) {
        let audience = &mut shared.peers.get_mut(slot).audience[P::FAMILY as usize];
        batch.withdrawn.retain(|index| audience.told.contains(*index));
        let prefixes: Vec<IpNet> =
            batch.withdrawn.iter().map(|index| self.prefix(*index)).collect();
        let mut done = 0;
        while done < prefixes.len() && out.len() < bytes_max {
            let count = wire::encode_withdrawal(&prefixes[done..], out);
            if count == 0 {
                break;
            }
            for index in &batch.withdrawn[done..done + count] {
                self.note_told(audience, *index, false);
            }
            done += count;
        }
        batch.left.extend(&batch.withdrawn[done..]);
    }
}

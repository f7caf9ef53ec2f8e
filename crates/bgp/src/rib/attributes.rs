//! Attributes of paths, each combination held once however many paths have it.

use crate::wire::{AsSegment, Attributes};
use hashbrown::HashTable;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

/// LOCAL_PREF of a route that came without; BIRD's default.
pub(super) const LOCAL_PREF_DEFAULT: u32 = 100;

/// Names a combination in an [`Attributes`](Interner) store.
pub(super) type AttributesId = u32;

/// A combination of attributes, next hop included.
#[derive(Debug)]
pub(super) struct Held {
    /// `None`: the node's own address.
    pub(super) next_hop: Option<IpAddr>,
    /// The others.
    pub(super) attributes: Attributes,
    /// Greater is better (RFC 4271, 9.1.2.2 a and b, after LOCAL_PREF).
    pub(super) rank: u64,
    /// The AS that told it, whose MEDs can be compared with each other (9.1.2.2 c); 0 for the own.
    pub(super) neighbor_as: u32,
    references: u32,
}

impl Held {
    fn is(&self, next_hop: Option<IpAddr>, attributes: &Attributes) -> bool {
        self.next_hop == next_hop && self.attributes == *attributes
    }
}

/// The store, with counted references.
#[derive(Debug, Default)]
pub(super) struct Interner {
    held: Vec<Option<Held>>,
    free: Vec<AttributesId>,
    index: HashTable<AttributesId>,
    // Peers choose what is hashed: with a secret.
    hasher: RandomState,
}

impl Interner {
    /// The id of a combination, with a reference that the caller owns.
    pub(super) fn intern(
        &mut self,
        next_hop: Option<IpAddr>,
        attributes: &Attributes,
    ) -> AttributesId {
        let hash = hash(&self.hasher, next_hop, attributes);
        let found = self.index.find(hash, |id| {
            self.held[*id as usize].as_ref().is_some_and(|held| held.is(next_hop, attributes))
        });
        if let Some(id) = found.copied() {
            self.keep(id);
            return id;
        }
        let new = Held {
            next_hop,
            rank: rank(attributes),
            neighbor_as: neighbor_as(attributes),
            attributes: attributes.clone(),
            references: 1,
        };
        let id = if let Some(id) = self.free.pop() {
            self.held[id as usize] = Some(new);
            id
        } else {
            self.held.push(Some(new));
            (self.held.len() - 1) as AttributesId
        };
        let (held, hasher) = (&self.held, &self.hasher);
        self.index.insert_unique(hash, id, |id| {
            held[*id as usize].as_ref().map_or(0, |h| self::hash(hasher, h.next_hop, &h.attributes))
        });
        id
    }

    /// One more reference.
    pub(super) fn keep(&mut self, id: AttributesId) {
        if let Some(held) = &mut self.held[id as usize] {
            held.references += 1;
        }
    }

    /// One reference less; the last one frees the id.
    pub(super) fn release(&mut self, id: AttributesId) {
        let Some(held) = &mut self.held[id as usize] else { return };
        held.references -= 1;
        if held.references > 0 {
            return;
        }
        let hash = hash(&self.hasher, held.next_hop, &held.attributes);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == id) {
            entry.remove();
        }
        self.held[id as usize] = None;
        self.free.push(id);
    }

    /// What an id that somebody references stands for.
    pub(super) fn get(&self, id: AttributesId) -> &Held {
        self.held[id as usize].as_ref().expect("a referenced id is held")
    }

    /// How many are held, and their references.
    #[cfg(test)]
    pub(super) fn count(&self) -> (usize, usize) {
        let references = self.held.iter().flatten().map(|held| held.references as usize).sum();
        (self.held.iter().flatten().count(), references)
    }
}

fn hash(hasher: &RandomState, next_hop: Option<IpAddr>, attributes: &Attributes) -> u64 {
    hasher.hash_one((next_hop, attributes))
}

/// LOCAL_PREF, then the shorter AS_PATH (a set counts as one AS), then the lower ORIGIN.
fn rank(attributes: &Attributes) -> u64 {
    let length: usize = attributes
        .as_path
        .iter()
        .map(|segment| match segment {
            AsSegment::Sequence(list) => list.len(),
            AsSegment::Set(_) => 1,
        })
        .sum();
    let shortness = u16::MAX - u16::try_from(length).unwrap_or(u16::MAX);
    let local_pref = attributes.local_pref.unwrap_or(LOCAL_PREF_DEFAULT);
    let origin = u8::MAX - attributes.origin as u8;
    (u64::from(local_pref) << 32) | (u64::from(shortness) << 8) | u64::from(origin)
}

fn neighbor_as(attributes: &Attributes) -> u32 {
    match attributes.as_path.first() {
        Some(AsSegment::Sequence(list)) => list.first().copied().unwrap_or(0),
        _ => 0,
    }
}

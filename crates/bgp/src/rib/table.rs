//! One family's destinations, and the paths to each.

use super::audience::Audience;
use super::decision::{self, NEXT_HOPS_MAX};
use super::{Shared, attributes::AttributesId, export};
use crate::configuration::ExportRanges;
use crate::filter::Filter;
use crate::speaker::{LearnedRoute, RouteChange};
use crate::wire::{Attributes, Family};
use hashbrown::HashTable;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::hash::{BuildHasher, Hash, RandomState};
use std::net::IpAddr;
use std::ops::Range;

/// The slot of the node's own paths.
pub(super) const OWN: u16 = u16::MAX;

/// One peer's path to a destination.
#[derive(Clone, Copy, Debug)]
pub(super) struct Path {
    pub(super) attributes: AttributesId,
    /// Of the peer, or [`OWN`].
    pub(super) slot: u16,
    /// Of a former session (RFC 4724, 4.2); as good as others until swept.
    pub(super) stale: bool,
}

impl PartialEq for Path {
    fn eq(&self, other: &Path) -> bool {
        (self.attributes, self.slot) == (other.attributes, other.slot)
    }
}

/// The first is the best. Most destinations have one path only: it needs no memory of its own.
#[derive(Debug)]
enum Paths {
    None,
    One(Path),
    Many(Vec<Path>),
}

#[derive(Debug)]
struct Entry<P> {
    prefix: P,
    /// How many of the paths, from the first on, are as good as the best.
    equal: u8,
    /// How many listeners know a route to it: until all have been told otherwise, it stays.
    listeners: u16,
    paths: Paths,
}

impl<P> Entry<P> {
    fn paths(&self) -> &[Path] {
        match &self.paths {
            Paths::None => &[],
            Paths::One(path) => std::slice::from_ref(path),
            Paths::Many(paths) => paths,
        }
    }

    fn paths_mut(&mut self) -> &mut [Path] {
        match &mut self.paths {
            Paths::None => &mut [],
            Paths::One(path) => std::slice::from_mut(path),
            Paths::Many(paths) => paths,
        }
    }

    fn front(&self) -> &[Path] {
        &self.paths()[..usize::from(self.equal)]
    }

    fn add(&mut self, path: Path) {
        match &mut self.paths {
            Paths::None => self.paths = Paths::One(path),
            Paths::One(first) => self.paths = Paths::Many(vec![*first, path]),
            Paths::Many(paths) => {
                paths.reserve_exact(1);
                paths.push(path);
            }
        }
    }

    fn remove(&mut self, at: usize) {
        match &mut self.paths {
            Paths::None => {}
            Paths::One(_) => self.paths = Paths::None,
            Paths::Many(paths) => {
                paths.swap_remove(at);
                match paths.as_slice() {
                    [last] => self.paths = Paths::One(*last),
                    _ => paths.shrink_to_fit(),
                }
            }
        }
    }
}

/// A family's prefixes.
pub(super) trait Prefix: Copy + Eq + Hash + Into<IpNet> {
    const FAMILY: Family;
}

impl Prefix for Ipv4Net {
    const FAMILY: Family = Family::Ipv4;
}

impl Prefix for Ipv6Net {
    const FAMILY: Family = Family::Ipv6;
}

/// The table. Entries keep their index as long as anybody knows of them.
#[derive(Debug)]
pub(super) struct Table<P> {
    entries: Vec<Option<Entry<P>>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    // Peers choose what is hashed: with a secret.
    hasher: RandomState,
    /// The kernel hears of the best learned routes.
    pub(super) kernel: Audience,
}

impl<P> Default for Table<P> {
    fn default() -> Table<P> {
        Table {
            entries: vec![],
            free: vec![],
            index: HashTable::new(),
            hasher: RandomState::new(),
            kernel: Audience::default(),
        }
    }
}

/// The best paths of an entry before a change.
struct Before {
    paths: [Path; NEXT_HOPS_MAX],
    count: usize,
}

impl<P: Prefix> Table<P> {
    fn find(&self, prefix: P) -> Option<u32> {
        let same = |index: &u32| {
            self.entries[*index as usize].as_ref().is_some_and(|entry| entry.prefix == prefix)
        };
        self.index.find(self.hasher.hash_one(prefix), same).copied()
    }

    fn find_or_add(&mut self, prefix: P) -> u32 {
        if let Some(index) = self.find(prefix) {
            return index;
        }
        let entry = Some(Entry { prefix, equal: 0, listeners: 0, paths: Paths::None });
        let index = if let Some(index) = self.free.pop() {
            self.entries[index as usize] = entry;
            index
        } else {
            self.entries.push(entry);
            (self.entries.len() - 1) as u32
        };
        let Table { entries, hasher, .. } = self;
        self.index.insert_unique(hasher.hash_one(prefix), index, |other| {
            entries[*other as usize].as_ref().map_or(0, |entry| hasher.hash_one(entry.prefix))
        });
        index
    }

    /// Frees an entry that is of no use to anybody.
    fn free_unused(&mut self, index: u32) {
        let at = index as usize;
        let Some(entry) = &self.entries[at] else { return };
        if entry.listeners > 0 || !entry.paths().is_empty() {
            return;
        }
        let hash = self.hasher.hash_one(entry.prefix);
        if let Ok(found) = self.index.find_entry(hash, |other| *other == index) {
            found.remove();
        }
        self.entries[at] = None;
        self.free.push(index);
    }

    fn entry(&self, index: u32) -> &Entry<P> {
        self.entries[index as usize].as_ref().expect("an index in use has its entry")
    }

    fn entry_mut(&mut self, index: u32) -> &mut Entry<P> {
        self.entries[index as usize].as_mut().expect("an index in use has its entry")
    }

    pub(super) fn prefix(&self, index: u32) -> IpNet {
        self.entry(index).prefix.into()
    }

    /// `None`, too, of an unused index.
    pub(super) fn best(&self, index: u32) -> Option<Path> {
        self.paths(index).first().copied()
    }

    /// All indices there can be; some of them unused.
    pub(super) fn indices(&self) -> Range<u32> {
        0..self.entries.len() as u32
    }

    /// The paths to a destination; none of an unused index.
    fn paths(&self, index: u32) -> &[Path] {
        self.entries[index as usize].as_ref().map_or(&[], Entry::paths)
    }

    /// Puts a path in place of what its peer told before. Takes over the caller's reference to
    /// the attributes.
    pub(super) fn put(&mut self, shared: &mut Shared, prefix: P, path: Path) {
        let index = self.find_or_add(prefix);
        let before = self.before(index);
        let entry = self.entry_mut(index);
        let former = entry.paths_mut().iter_mut().find(|former| former.slot == path.slot);
        let Some(former) = former else {
            entry.add(path);
            shared.count(path.slot, P::FAMILY, 1);
            return self.settle(shared, index, &before);
        };
        let former = std::mem::replace(former, path);
        if former != path {
            self.settle(shared, index, &before);
        }
        shared.attributes.release(former.attributes);
    }

    /// Removes a peer's path, if there is one.
    pub(super) fn remove(&mut self, shared: &mut Shared, prefix: P, slot: u16) {
        if let Some(index) = self.find(prefix) {
            self.remove_at(shared, index, slot);
        }
    }

    fn remove_at(&mut self, shared: &mut Shared, index: u32, slot: u16) {
        let Some(at) = self.paths(index).iter().position(|path| path.slot == slot) else { return };
        let before = self.before(index);
        let entry = self.entry_mut(index);
        let attributes = entry.paths()[at].attributes;
        entry.remove(at);
        shared.count(slot, P::FAMILY, -1);
        self.settle(shared, index, &before);
        shared.attributes.release(attributes);
    }

    /// Ends a session's claim to its paths: they become stale if `kept`, and those stale already
    /// go, as all do otherwise.
    pub(super) fn abandon(&mut self, shared: &mut Shared, slot: u16, kept: bool) {
        for index in self.indices() {
            let paths = self.entries[index as usize].as_mut().map_or(&mut [][..], Entry::paths_mut);
            match paths.iter_mut().find(|path| path.slot == slot) {
                Some(path) if kept && !path.stale => path.stale = true,
                Some(_) => self.remove_at(shared, index, slot),
                None => {}
            }
        }
    }

    /// Removes a peer's stale paths.
    pub(super) fn sweep(&mut self, shared: &mut Shared, slot: u16) {
        for index in self.indices() {
            if self.paths(index).iter().any(|path| path.slot == slot && path.stale) {
                self.remove_at(shared, index, slot);
            }
        }
    }

    /// Decides anew where a peer's path has a rival: what is known of the peer has changed.
    pub(super) fn decide_again(&mut self, shared: &mut Shared, slot: u16) {
        for index in self.indices() {
            let paths = self.paths(index);
            if paths.len() > 1 && paths.iter().any(|path| path.slot == slot) {
                let before = self.before(index);
                self.settle(shared, index, &before);
            }
        }
    }

    fn before(&self, index: u32) -> Before {
        let front = self.entry(index).front();
        let mut paths = [Path { attributes: 0, slot: OWN, stale: false }; NEXT_HOPS_MAX];
        paths[..front.len()].copy_from_slice(front);
        Before { paths, count: front.len() }
    }

    /// Decides, and makes what has changed due to whom it concerns. What the former paths
    /// reference is still there.
    fn settle(&mut self, shared: &mut Shared, index: u32, before: &Before) {
        let before = &before.paths[..before.count];
        let entry = self.entry_mut(index);
        entry.equal = decision::order(entry.paths_mut(), &shared.peers, &shared.attributes);
        let front = entry.front();
        let best = front.first().copied();
        let next_hop = |path: &Path| (path.slot, shared.attributes.get(path.attributes).next_hop);
        if !front.iter().map(next_hop).eq(before.iter().map(next_hop)) {
            self.kernel.changed(index, best.is_some_and(|path| path.slot != OWN));
        }
        if before.first() != best.as_ref() {
            for slot in shared.peers.slots() {
                self.make_due(shared, index, best, slot);
            }
        }
        self.free_unused(index);
    }

    /// What there is to say to a peer of a destination may have changed.
    pub(super) fn make_due(&self, shared: &mut Shared, index: u32, best: Option<Path>, slot: u16) {
        if shared.peers.carries(slot, P::FAMILY) {
            let may = best.is_some_and(|path| shared.peers.may_pass(path.slot, slot));
            let audience = &mut shared.peers.get_mut(slot).audience[P::FAMILY as usize];
            audience.changed(index, may);
        }
    }

    /// Notes that a listener knows a route to a destination, or doesn't any more. Whether that is
    /// new.
    pub(super) fn note_told(&mut self, audience: &mut Audience, index: u32, knows: bool) -> bool {
        if knows {
            let new = audience.told.insert(index);
            self.entry_mut(index).listeners += u16::from(new);
            return new;
        }
        let was = audience.told.remove(index);
        self.entry_mut(index).listeners -= u16::from(was);
        self.free_unused(index);
        was
    }

    /// A listener has gone.
    pub(super) fn forget(&mut self, audience: &mut Audience) {
        let told: Vec<u32> = audience.told.iter().collect();
        for index in told {
            self.note_told(audience, index, false);
        }
        *audience = Audience::default();
    }

    /// A peer is due to be told all again.
    pub(super) fn refresh(&mut self, shared: &mut Shared, slot: u16) {
        for index in self.indices() {
            self.make_due(shared, index, self.best(index), slot);
        }
    }

    /// What a peer would now be told.
    pub(super) fn verdict(
        &self,
        shared: &Shared,
        slot: u16,
        index: u32,
        best: Path,
    ) -> Option<Option<Attributes>> {
        let filters = &shared.peers.get(slot).peer.export;
        export::verdict(shared, &shared.export, filters, slot, self.prefix(index), best)
    }

    /// A peer's export policy was this: what comes of it differently now is due.
    pub(super) fn export_changed(
        &mut self,
        shared: &mut Shared,
        slot: u16,
        ranges: &ExportRanges,
        filters: &[Filter],
    ) {
        if !shared.peers.carries(slot, P::FAMILY) {
            return;
        }
        for index in self.indices() {
            let due = shared.peers.get(slot).audience[P::FAMILY as usize].is_due_of(index);
            let Some(best) = self.best(index).filter(|_| !due) else { continue };
            let prefix = self.prefix(index);
            let was = export::verdict(shared, ranges, filters, slot, prefix, best);
            if was != self.verdict(shared, slot, index, best) {
                self.make_due(shared, index, Some(best), slot);
            }
        }
    }

    /// The best learned route to a destination.
    pub(super) fn learned(&self, shared: &Shared, index: u32) -> Option<LearnedRoute> {
        let front = self.entries[index as usize].as_ref()?.front();
        let best = front.first().filter(|path| path.slot != OWN)?;
        let next_hop = |path: &Path| shared.attributes.get(path.attributes).next_hop;
        let mut next_hops: Vec<IpAddr> = front.iter().filter_map(next_hop).collect();
        next_hops.sort_unstable();
        next_hops.dedup();
        Some(LearnedRoute { next_hops, peer: shared.peers.facts(best.slot).address })
    }

    pub(super) fn routes(&self, shared: &Shared) -> impl Iterator<Item = (IpNet, LearnedRoute)> {
        self.indices()
            .filter_map(move |index| Some((index, self.learned(shared, index)?)))
            .map(|(index, route)| (self.prefix(index), route))
    }

    /// Takes changes for the kernel.
    pub(super) fn take_routes(&mut self, shared: &Shared, changes_max: usize) -> Vec<RouteChange> {
        let mut kernel = std::mem::take(&mut self.kernel);
        let mut changes = vec![];
        for index in kernel.take(changes_max) {
            let prefix = self.prefix(index);
            let best = self.learned(shared, index);
            self.note_told(&mut kernel, index, best.is_some());
            changes.push(RouteChange { prefix, best });
        }
        self.kernel = kernel;
        changes
    }

    #[cfg(test)]
    pub(super) fn counts(&self) -> (usize, usize) {
        (self.entries.iter().flatten().count(), self.index.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_an_entry() {
        assert_eq!(size_of::<Path>(), 8);
        assert_eq!(size_of::<Option<Entry<Ipv4Net>>>(), 32);
        assert_eq!(size_of::<Option<Entry<Ipv6Net>>>(), 48);
    }
}

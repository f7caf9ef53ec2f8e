//! One desired table, and how what the kernel holds differs from it.

use super::interval;
use crate::nft::diff::Steps;
use crate::nft::{Chain, Edit, Element, Part, Rule, Set, Table, Verdict, VerdictMap};
use std::collections::{BTreeMap, BTreeSet};

/// A table with what the kernel has not been told of it.
#[derive(Clone, Debug)]
pub(super) struct Tracked {
    /// What is desired.
    pub(super) desired: Table,
    /// The table is desired even with nothing in it.
    pub(super) fixed: bool,
    held: Held,
    sets: BTreeMap<String, Pending<Set, Toggled>>,
    maps: BTreeMap<String, Pending<VerdictMap, Former>>,
    /// What the kernel holds under the names of chains that differ.
    chains: BTreeMap<String, Option<Chain>>,
}

/// What the kernel holds under the table's name.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Held {
    /// Nothing; then no differences are kept.
    Nothing,
    /// The table.
    Table,
    /// A table with something in it of no kind of ours; then no differences are kept.
    Foreign,
}

/// How a set or map in the kernel differs from the desired one.
#[derive(Clone, Debug)]
enum Pending<T, M> {
    /// It is this, or is not there.
    Whole(Option<T>),
    /// It differs in these members.
    Members(M),
}

/// Members that are in the kernel's set and not in the desired one, or the other way round.
pub(super) type Toggled = BTreeSet<Element>;
/// What the kernel has for keys, in place of what is desired for them.
type Former = BTreeMap<Element, Option<Verdict>>;

impl Tracked {
    /// An empty table that the kernel doesn't hold.
    pub(super) fn new(desired: Table) -> Tracked {
        Tracked {
            desired,
            fixed: false,
            held: Held::Nothing,
            sets: BTreeMap::new(),
            maps: BTreeMap::new(),
            chains: BTreeMap::new(),
        }
    }

    /// Whether there shall be such a table.
    pub(super) fn is_wanted(&self) -> bool {
        let Table { sets, maps, chains, .. } = &self.desired;
        self.fixed || !(sets.is_empty() && maps.is_empty() && chains.is_empty())
    }

    /// Puts an object in place of the one of its name, or takes that away. Parts of objects are
    /// left to [`Tracked::members`] and [`Tracked::map_elements`].
    pub(super) fn replace(&mut self, part: Part) {
        match part {
            Part::Set(name, set) => {
                let former = exchange(&mut self.desired.sets, &name, set);
                let held = match self.sets.remove(&name) {
                    None => former,
                    Some(Pending::Whole(held)) => held,
                    Some(Pending::Members(toggled)) => former.map(|set| toggle(set, toggled)),
                };
                if self.held == Held::Table && held.as_ref() != self.desired.sets.get(&name) {
                    self.sets.insert(name, Pending::Whole(held));
                }
            }
            Part::Map(name, map) => {
                let former = exchange(&mut self.desired.maps, &name, map);
                let held = match self.maps.remove(&name) {
                    None => former,
                    Some(Pending::Whole(held)) => held,
                    Some(Pending::Members(values)) => former.map(|map| restore(map, values)),
                };
                if self.held == Held::Table && held.as_ref() != self.desired.maps.get(&name) {
                    self.maps.insert(name, Pending::Whole(held));
                }
            }
            Part::Chain(name, chain) => {
                let former = exchange(&mut self.desired.chains, &name, chain);
                let held = self.chains.remove(&name).unwrap_or(former);
                if self.held == Held::Table && held.as_ref() != self.desired.chains.get(&name) {
                    self.chains.insert(name, held);
                }
            }
            Part::Members { .. } | Part::MapElements { .. } => {}
        }
    }

    /// Takes members out of a set, then puts others in; false if there is no such set.
    pub(super) fn members(&mut self, name: &str, added: &[Element], removed: &[Element]) -> bool {
        let Some(set) = self.desired.sets.get_mut(name) else { return false };
        let mut changed: Toggled = Toggled::new();
        let mut flip = |element: &Element| {
            if !changed.remove(element) {
                changed.insert(*element);
            }
        };
        removed.iter().filter(|element| set.elements.remove(element)).for_each(&mut flip);
        added.iter().filter(|element| set.elements.insert(**element)).for_each(&mut flip);
        if self.held != Held::Table || changed.is_empty() {
            return true;
        }
        let pending = self.sets.entry(name.to_owned());
        let pending = pending.or_insert_with(|| Pending::Members(Toggled::new()));
        if let Pending::Members(toggled) = pending {
            for element in changed {
                if !toggled.remove(&element) {
                    toggled.insert(element);
                }
            }
            if toggled.is_empty() {
                self.sets.remove(name);
            }
        }
        true
    }

    /// Takes elements out of a map, then puts others in; false if there is no such map.
    pub(super) fn map_elements(
        &mut self,
        name: &str,
        elements: Vec<(Element, Verdict)>,
        removed: &[Element],
    ) -> bool {
        let Some(map) = self.desired.maps.get_mut(name) else { return false };
        let mut former = Former::new();
        for key in removed {
            let before = map.elements.remove(key);
            former.entry(*key).or_insert(before);
        }
        for (key, verdict) in elements {
            let before = map.elements.insert(key, verdict);
            former.entry(key).or_insert(before);
        }
        if self.held != Held::Table {
            return true;
        }
        let pending = self.maps.entry(name.to_owned());
        let pending = pending.or_insert_with(|| Pending::Members(Former::new()));
        if let Pending::Members(held) = pending {
            for (key, before) in former {
                let before = held.remove(&key).unwrap_or(before);
                if before.as_ref() != map.elements.get(&key) {
                    held.insert(key, before);
                }
            }
            if held.is_empty() {
                self.maps.remove(name);
            }
        }
        true
    }

    /// What brings the kernel from what it holds to what is desired.
    pub(super) fn edits(&self) -> Vec<Edit> {
        let mut edits = match (self.held, self.is_wanted()) {
            (Held::Nothing, false) => return vec![],
            (Held::Table | Held::Foreign, false) => return vec![Edit::DeleteTable],
            (Held::Nothing, true) => vec![Edit::CreateTable],
            (Held::Foreign, true) => vec![Edit::DeleteTable, Edit::CreateTable],
            (Held::Table, true) => return self.steps().in_order().collect(),
        };
        let empty = Table::new(self.desired.family, &*self.desired.name);
        edits.extend(Steps::between(&self.desired, &empty).in_order());
        edits
    }

    fn steps(&self) -> Steps {
        let mut steps = Steps::default();
        for (name, pending) in &self.sets {
            match (pending, self.desired.sets.get(name)) {
                (Pending::Whole(held), wanted) => steps.set(name, wanted, held.as_ref()),
                (Pending::Members(toggled), Some(set)) => {
                    let (gone, new) = interval::difference(set, toggled);
                    steps.members(name, set.interval, gone, new);
                }
                (Pending::Members(_), None) => {}
            }
        }
        for (name, pending) in &self.maps {
            match (pending, self.desired.maps.get(name)) {
                (Pending::Whole(held), wanted) => steps.map(name, wanted, held.as_ref()),
                (Pending::Members(held), Some(map)) => {
                    let gone = held.iter().filter(|(_, before)| before.is_some());
                    let new = held.keys().filter_map(|key| map.elements.get_key_value(key));
                    let new = new.map(|(key, verdict)| (*key, verdict.clone())).collect();
                    steps.map_elements(name, gone.map(|(key, _)| *key).collect(), new);
                }
                (Pending::Members(_), None) => {}
            }
        }
        for (name, held) in &self.chains {
            steps.chain(name, self.desired.chains.get(name), held.as_ref(), false);
        }
        // A set or map that becomes one of another type is made anew: whoever looks into it must
        // let go of it meanwhile.
        let Table { sets, maps, chains, .. } = &self.desired;
        if steps.dead().any(|name| sets.contains_key(name) || maps.contains_key(name)) {
            let others = chains.iter().filter(|(name, _)| !self.chains.contains_key(*name));
            for (name, chain) in others {
                if steps.is_referred_to_by(&chain.rules) {
                    steps.chain(name, Some(chain), Some(chain), true);
                }
            }
        }
        steps
    }

    /// The kernel has taken all edits; false if there is nothing left to keep track of.
    pub(super) fn commit(&mut self) -> bool {
        self.forget();
        self.held = Held::Table;
        self.is_wanted()
    }

    /// The kernel holds this.
    pub(super) fn resync(&mut self, actual: Option<Table>) {
        self.forget();
        self.held = match &actual {
            None => Held::Nothing,
            Some(table) if table.foreign.is_empty() => Held::Table,
            Some(_) => Held::Foreign,
        };
        let Some(actual) = actual.filter(|_| self.held == Held::Table) else { return };
        let same_set = |wanted: &Set, found: &Set| {
            wanted.is_like(found) && *wanted.members() == found.elements
        };
        let sets = differing(&self.desired.sets, actual.sets, same_set);
        self.sets = sets.map(|(name, found)| (name, Pending::Whole(found))).collect();
        let maps = differing(&self.desired.maps, actual.maps, PartialEq::eq);
        self.maps = maps.map(|(name, found)| (name, Pending::Whole(found))).collect();
        let same_chain = |wanted: &Chain, found: &Chain| {
            wanted == found && !found.rules.iter().any(Rule::is_foreign)
        };
        self.chains = differing(&self.desired.chains, actual.chains, same_chain).collect();
    }

    fn forget(&mut self) {
        self.sets.clear();
        self.maps.clear();
        self.chains.clear();
    }
}

fn exchange<T>(all: &mut BTreeMap<String, T>, name: &str, new: Option<T>) -> Option<T> {
    match new {
        Some(new) => all.insert(name.to_owned(), new),
        None => all.remove(name),
    }
}

fn toggle(mut set: Set, toggled: Toggled) -> Set {
    for element in toggled {
        if !set.elements.remove(&element) {
            set.elements.insert(element);
        }
    }
    set
}

fn restore(mut map: VerdictMap, held: Former) -> VerdictMap {
    for (key, verdict) in held {
        match verdict {
            Some(verdict) => map.elements.insert(key, verdict),
            None => map.elements.remove(&key),
        };
    }
    map
}

/// What was found under each name whose object differs; `None`: nothing.
fn differing<T>(
    wanted: &BTreeMap<String, T>,
    mut found: BTreeMap<String, T>,
    same: impl Fn(&T, &T) -> bool,
) -> impl Iterator<Item = (String, Option<T>)> {
    let mut all = Vec::new();
    for (name, object) in wanted {
        match found.remove(name) {
            Some(held) if same(object, &held) => {}
            held => all.push((name.clone(), held)),
        }
    }
    all.extend(found.into_iter().map(|(name, held)| (name, Some(held))));
    all.into_iter()
}

//! Sets of what rules list: several prefixes, several ranges of ports. Equal lists are one set.

use super::names;
use kernel::nft::{Element, Family, Part, Set, SetKey, Update};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// The sets that the rules of a chain's owner need, by family and name.
#[derive(Clone, Debug, Default)]
pub(super) struct Contents(BTreeMap<(Family, String), Set>);

/// How many owners need each set.
#[derive(Clone, Debug, Default)]
pub(super) struct ContentUsers {
    users: BTreeMap<(Family, String), usize>,
    /// Sets by owner.
    of_owners: BTreeMap<super::sets::User, BTreeSet<(Family, String)>>,
}

impl Contents {
    /// A set of elements; its name.
    pub(super) fn add(
        &mut self,
        family: Family,
        key: SetKey,
        elements: BTreeSet<Element>,
    ) -> String {
        let mut text = String::new();
        for element in &elements {
            // A String takes all that is written.
            let _ = write!(text, "{element},");
        }
        let name = names::content_set(family, &text);
        let interval = !elements.iter().all(Element::is_single);
        let set = Set { key, interval, elements };
        self.0.insert((family, name.clone()), set);
        name
    }
}

impl ContentUsers {
    /// An owner's rules need these sets now, and no others.
    pub(super) fn uses(
        &mut self,
        owner: &super::sets::User,
        contents: Contents,
        updates: &mut Vec<Update>,
    ) {
        let new: BTreeSet<_> = contents.0.keys().cloned().collect();
        let old = self.of_owners.remove(owner).unwrap_or_default();
        for (key, set) in contents.0 {
            if !old.contains(&key) {
                let users = self.users.entry(key.clone()).or_default();
                *users += 1;
                if *users == 1 {
                    updates.push(names::update(key.0, Part::Set(key.1, Some(set))));
                }
            }
        }
        for key in old.difference(&new) {
            if let Some(users) = self.users.get_mut(key) {
                *users -= 1;
                if *users == 0 {
                    self.users.remove(key);
                    updates.push(names::update(key.0, Part::Set(key.1.clone(), None)));
                }
            }
        }
        if !new.is_empty() {
            self.of_owners.insert(owner.clone(), new);
        }
    }
}

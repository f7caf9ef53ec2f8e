//! All that has labels: endpoints and network sets of the whole cluster, and their profiles.

use super::index::ObjectIndex;
use super::labels::{self, Labels, View};
use super::names::Names;
use super::nets::Nets;
use super::numbers::{Numbers, Ordered};
use super::objects::{self, Key, Objects};
use super::test::{Condition, Test};
use hashbrown::{HashMap, HashSet};
use ipnet::IpNet;
use std::net::IpAddr;

/// Kinds of [`Labelled`] objects.
pub(super) const WORKLOAD: u8 = 0;
pub(super) const HOST_ENDPOINT: u8 = 1;
pub(super) const NETWORK_SET: u8 = 2;

/// An endpoint or network set, as selectors and sets need it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Labelled {
    pub(super) labels: Labels,
    /// Numbers of its profiles, in order, each once.
    pub(super) profiles: Ordered,
    pub(super) nets: Nets,
    pub(super) ports: Box<[Port]>,
    /// What else is told of it, if it is of this node.
    pub(super) local: Option<Box<Local>>,
}

/// A named port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: u32,
    pub(super) port: u16,
    pub(super) protocol: u8,
}

/// An endpoint of this node.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Local {
    pub(super) interface: Box<str>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) allowed_sources: Vec<IpNet>,
    pub(super) profiles: Vec<Box<str>>,
}

/// A profile as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Profile {
    pub(super) labels: Labels,
    /// Its rules, encoded.
    pub(super) body: Box<[u8]>,
}

/// What a flush finds changed.
#[derive(Debug)]
pub(super) struct Changes {
    pub(super) objects: objects::Changes<Labelled>,
    pub(super) profiles: objects::Changes<Profile>,
    /// Objects that are as they were, but for the labels that their profiles give them.
    pub(super) inheritors: Vec<u32>,
    /// Labels that profiles of known objects gave before, where they give others now.
    labels: HashMap<u32, Labels>,
}

/// The objects.
#[derive(Clone, Debug, Default)]
pub(super) struct Cluster {
    pub(super) objects: Objects<Labelled>,
    pub(super) profiles: Objects<Profile>,
    /// By the profile's number: the objects that have it.
    having: Vec<Numbers>,
    /// Objects by their own labels.
    own: ObjectIndex,
    /// Profiles by the labels they give.
    given: ObjectIndex,
}

impl Changes {
    /// The objects that [`Changes::each`] gives.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.objects.numbers.iter().chain(&self.inheritors).copied()
    }

    /// Each object that may have other labels, nets or ports now, and what it was before.
    pub(super) fn each<'a>(
        &'a self,
        cluster: &'a Cluster,
    ) -> impl Iterator<Item = (u32, Option<&'a Labelled>, Option<&'a Labelled>)> {
        let changed =
            self.objects.numbers.iter().map(|number| {
                (*number, self.objects.before.get(number), cluster.objects.get(*number))
            });
        let inheritors = self.inheritors.iter().map(|number| {
            let object = cluster.objects.get(*number);
            (*number, object, object)
        });
        changed.chain(inheritors)
    }
}

impl Cluster {
    /// An object as it is now.
    pub(super) fn set(&mut self, key: Key, value: Option<Labelled>) {
        if let Some(old) = self.objects.set(key, value) {
            self.release_profiles(&old);
        }
    }

    /// The numbers of profiles, referred to from now on.
    pub(super) fn refer_profiles(&mut self, names: &[Box<str>]) -> Ordered {
        let mut numbers = Vec::with_capacity(names.len());
        for name in names {
            let number = self.profiles.refer(profile_key(name));
            if numbers.contains(&number) {
                self.profiles.release(number);
            } else {
                numbers.push(number);
            }
        }
        numbers.into()
    }

    fn release_profiles(&mut self, object: &Labelled) {
        for profile in object.profiles.iter() {
            self.profiles.release(*profile);
        }
    }

    /// What has changed since this was last called; the indices are as the objects are now.
    pub(super) fn take_changes(&mut self, names: &Names) -> Changes {
        let profiles = self.profiles.take_changes();
        let mut labels = HashMap::new();
        let empty = Labels::default();
        for number in &profiles.numbers {
            let old = profiles.before.get(number).map_or(&empty, |profile| &profile.labels);
            let new = self.profiles.get(*number).map_or(&empty, |profile| &profile.labels);
            if new != old {
                self.given.replace(names, *number, old, new);
                // Who has it only since now has changed, and is looked at anyway.
                if self.having(*number).next().is_some() {
                    labels.insert(*number, old.clone());
                }
            }
        }
        let objects = self.objects.take_changes();
        for number in &objects.numbers {
            self.move_object(names, *number, objects.before.get(number));
        }
        let inheritors = self.inheritors(&objects.numbers, &labels);
        Changes { objects, profiles, inheritors, labels }
    }

    fn move_object(&mut self, names: &Names, number: u32, before: Option<&Labelled>) {
        let Cluster { objects, having, own, .. } = self;
        let now = objects.get(number);
        for profile in before.into_iter().flat_map(|object| &*object.profiles) {
            having[*profile as usize].remove(number);
        }
        for profile in now.into_iter().flat_map(|object| &*object.profiles) {
            let profile = *profile as usize;
            if having.len() <= profile {
                having.resize_with(profile + 1, Numbers::default);
            }
            having[profile].insert(number);
        }
        let empty = Labels::default();
        let [old, new] = [before, now].map(|object| object.map_or(&empty, |object| &object.labels));
        if old != new {
            own.replace(names, number, old, new);
        }
    }

    /// Those whose profiles give other labels than before, but for those that changed themselves.
    fn inheritors(&self, changed: &[u32], labels: &HashMap<u32, Labels>) -> Vec<u32> {
        let mut inheritors: Vec<u32> =
            labels.keys().flat_map(|profile| self.having(*profile)).collect();
        if inheritors.is_empty() {
            return inheritors;
        }
        let mut seen = vec![false; self.objects.end()];
        for number in changed {
            seen[*number as usize] = true;
        }
        inheritors.retain(|number| !std::mem::replace(&mut seen[*number as usize], true));
        inheritors
    }

    /// Objects that have a profile.
    pub(super) fn having(&self, profile: u32) -> impl Iterator<Item = u32> {
        self.having.get(profile as usize).into_iter().flat_map(Numbers::iter)
    }

    /// Lets go of what only the state before needed.
    pub(super) fn finish(&mut self, changes: Changes) {
        for before in changes.objects.before.values() {
            self.release_profiles(before);
        }
        for number in changes.objects.numbers {
            self.objects.forget_unused(number);
        }
        for number in changes.profiles.numbers {
            self.profiles.forget_unused(number);
        }
    }

    /// All labels of an object.
    pub(super) fn view<'a>(&'a self, object: &'a Labelled) -> View<'a> {
        let given = object.profiles.iter().filter_map(|number| self.profiles.get(*number));
        View::new(&object.labels, given.map(|profile| &profile.labels))
    }

    /// All labels that an object had before the changes.
    pub(super) fn former_view<'a>(
        &'a self,
        object: &'a Labelled,
        changes: &'a Changes,
    ) -> View<'a> {
        let given = object.profiles.iter().filter_map(|number| {
            let now = || self.profiles.get(*number).map(|profile| &profile.labels);
            changes.labels.get(number).or_else(now)
        });
        View::new(&object.labels, given)
    }

    /// From now on, objects are found by labels of these names.
    pub(super) fn track(&mut self, names: &Names, wanted: &HashSet<u32>) {
        let new: HashSet<u32> =
            wanted.iter().copied().filter(|name| !self.own.tracks(*name)).collect();
        if new.is_empty() {
            return;
        }
        for name in &new {
            self.own.track(*name);
            self.given.track(*name);
        }
        for (number, object) in self.objects.iter() {
            self.own.insert(names, number, &object.labels, |name| new.contains(&name));
        }
        for (number, profile) in self.profiles.iter() {
            self.given.insert(names, number, &profile.labels, |name| new.contains(&name));
        }
    }

    /// Of conditions, the one that is tracked and that fewest objects meet.
    pub(super) fn rarest<'a>(&self, conditions: &'a [Condition]) -> Option<&'a Condition> {
        let tracked = conditions.iter().filter(|condition| self.own.tracks(condition.name));
        tracked.min_by_key(|condition| {
            // A profile counts as some objects.
            self.own.count(condition) + 4 * self.given.count(condition)
        })
    }

    /// Each object that may meet a condition on a tracked name, once; without a condition all.
    pub(super) fn each(&self, condition: Option<&Condition>, mut each: impl FnMut(u32, &Labelled)) {
        let Some(condition) = condition else {
            return self.objects.iter().for_each(|(number, object)| each(number, object));
        };
        let mut visit = |number| {
            if let Some(object) = self.objects.get(number) {
                each(number, object);
            }
        };
        self.own.each(condition, &mut visit);
        self.given.each(condition, |profile| {
            for number in self.having(profile) {
                if self.giver(number, condition.name) == Some(profile) {
                    visit(number);
                }
            }
        });
    }

    /// The profile that an object's label is from; `None`: it is its own, or it has none.
    fn giver(&self, number: u32, name: u32) -> Option<u32> {
        let object = self.objects.get(number)?;
        if object.labels.get(name).is_some() {
            return None;
        }
        let gives = |number: &u32| {
            self.profiles.get(*number).is_some_and(|profile| profile.labels.get(name).is_some())
        };
        object.profiles.iter().copied().find(gives)
    }

    /// Whether an object's labels pass a test.
    pub(super) fn passes(&self, object: &Labelled, test: &Test) -> bool {
        /// Up to how many labels are rather looked for one by one.
        const FEW: usize = 4;
        if test.labels() > FEW {
            return test.matches(&self.view(object));
        }
        test.matches(&Unsorted { object, cluster: self })
    }
}

/// The labels of an object where they are.
struct Unsorted<'a> {
    object: &'a Labelled,
    cluster: &'a Cluster,
}

impl labels::Values for Unsorted<'_> {
    fn value(&self, name: u32) -> Option<&[u8]> {
        self.object.labels.get(name).or_else(|| {
            let mut given = self.object.profiles.iter();
            given.find_map(|profile| self.cluster.profiles.get(*profile)?.labels.get(name))
        })
    }
}

/// How a profile is named among objects.
pub(super) fn profile_key(name: &str) -> Key<'_> {
    Key { kind: 0, namespace: "", name }
}

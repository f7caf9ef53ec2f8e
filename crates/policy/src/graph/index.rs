//! Which selectors an object may satisfy, and which objects a selector may select, by one label.

use super::labels::{Labels, View};
use super::names::Names;
use super::numbers::Numbers;
use super::test::{Condition, Values};
use hashbrown::HashMap;

/// Selectors by a condition of each.
#[derive(Clone, Debug, Default)]
pub(super) struct SelectorIndex {
    /// By the name's number.
    names: Vec<Option<Box<Selectors>>>,
    /// Those of which nothing simple can be said.
    any: Numbers,
}

#[derive(Clone, Debug, Default)]
struct Selectors {
    any: Numbers,
    values: HashMap<u64, Numbers>,
}

impl SelectorIndex {
    /// Puts first of a selector's conditions the one that fewest other selectors have too.
    pub(super) fn rarest_first(&self, conditions: &mut [Condition]) {
        let crowds = conditions.iter().map(|condition| self.crowd(condition)).enumerate();
        if let Some((rarest, _)) = crowds.min_by_key(|(_, crowd)| *crowd) {
            conditions.swap(0, rarest);
        }
    }

    fn crowd(&self, condition: &Condition) -> (usize, bool) {
        let is_any = condition.values == Values::Any;
        let Some(selectors) = self.of_name(condition.name) else { return (0, is_any) };
        let lengths = condition
            .values
            .iter()
            .filter_map(|value| selectors.values.get(value))
            .map(Numbers::len);
        let crowd = if is_any { selectors.any.len() } else { lengths.max().unwrap_or(0) };
        (crowd, is_any)
    }

    fn of_name(&self, name: u32) -> Option<&Selectors> {
        self.names.get(name as usize)?.as_deref()
    }

    pub(super) fn insert(&mut self, selector: u32, condition: Option<&Condition>) {
        let Some(condition) = condition else {
            self.any.insert(selector);
            return;
        };
        let name = condition.name as usize;
        if self.names.len() <= name {
            self.names.resize_with(name + 1, || None);
        }
        let selectors = self.names[name].get_or_insert_default();
        if condition.values == Values::Any {
            selectors.any.insert(selector);
        }
        for value in condition.values.iter() {
            selectors.values.entry(*value).or_default().insert(selector);
        }
    }

    /// Removes a selector from where it was inserted.
    pub(super) fn remove(&mut self, selector: u32, condition: Option<&Condition>) {
        let Some(condition) = condition else {
            self.any.remove(selector);
            return;
        };
        let Some(slot) = self.names.get_mut(condition.name as usize) else { return };
        let Some(selectors) = slot else { return };
        if condition.values == Values::Any {
            selectors.any.remove(selector);
        }
        for value in condition.values.iter() {
            let Some(numbers) = selectors.values.get_mut(value) else { continue };
            numbers.remove(selector);
            if numbers.is_empty() {
                selectors.values.remove(value);
            }
        }
        if selectors.any.is_empty() && selectors.values.is_empty() {
            *slot = None;
        }
    }

    /// Each selector that may select an object with these labels, once.
    pub(super) fn candidates(&self, names: &Names, labels: &View, mut each: impl FnMut(u32)) {
        self.any.iter().for_each(&mut each);
        for (name, value) in labels.iter() {
            let Some(selectors) = self.of_name(name) else { continue };
            selectors.any.iter().for_each(&mut each);
            if !selectors.values.is_empty()
                && let Some(numbers) = selectors.values.get(&names.digest(value))
            {
                numbers.iter().for_each(&mut each);
            }
        }
    }
}

/// Objects by the labels they have, for those names that selectors were looked up by.
#[derive(Clone, Debug, Default)]
pub(super) struct ObjectIndex {
    /// By the name's number.
    names: Vec<Option<Box<Objects>>>,
}

#[derive(Clone, Debug, Default)]
struct Objects {
    count: usize,
    values: HashMap<u64, Numbers>,
}

impl ObjectIndex {
    pub(super) fn tracks(&self, name: u32) -> bool {
        self.names.get(name as usize).is_some_and(Option::is_some)
    }

    /// From now on, objects with a label of this name are indexed; the caller inserts those there
    /// are.
    pub(super) fn track(&mut self, name: u32) {
        let name = name as usize;
        if self.names.len() <= name {
            self.names.resize_with(name + 1, || None);
        }
        self.names[name].get_or_insert_default();
    }

    pub(super) fn insert(
        &mut self,
        names: &Names,
        object: u32,
        labels: &Labels,
        wanted: impl Fn(u32) -> bool,
    ) {
        for (name, value) in labels.iter().filter(|(name, _)| wanted(*name)) {
            let Some(Some(objects)) = self.names.get_mut(name as usize) else { continue };
            let numbers = objects.values.entry(names.digest(value)).or_default();
            objects.count += usize::from(numbers.insert(object));
        }
    }

    fn remove(&mut self, names: &Names, object: u32, labels: &Labels) {
        for (name, value) in labels.iter() {
            let Some(Some(objects)) = self.names.get_mut(name as usize) else { continue };
            let digest = names.digest(value);
            let Some(numbers) = objects.values.get_mut(&digest) else { continue };
            objects.count -= usize::from(numbers.remove(object));
            if numbers.is_empty() {
                objects.values.remove(&digest);
            }
        }
    }

    /// An object has other labels than before.
    pub(super) fn replace(&mut self, names: &Names, object: u32, old: &Labels, new: &Labels) {
        if !self.names.is_empty() {
            self.remove(names, object, old);
            self.insert(names, object, new, |_| true);
        }
    }

    /// How many objects meet a condition on a name that is tracked.
    pub(super) fn count(&self, condition: &Condition) -> usize {
        let Some(Some(objects)) = self.names.get(condition.name as usize) else { return 0 };
        if condition.values == Values::Any {
            return objects.count;
        }
        let numbers = condition.values.iter().filter_map(|value| objects.values.get(value));
        numbers.map(Numbers::len).sum()
    }

    /// Each object that meets a condition on a name that is tracked, once; few others.
    pub(super) fn each(&self, condition: &Condition, mut each: impl FnMut(u32)) {
        let Some(Some(objects)) = self.names.get(condition.name as usize) else { return };
        if condition.values == Values::Any {
            objects.values.values().flat_map(Numbers::iter).for_each(&mut each);
        }
        for numbers in condition.values.iter().filter_map(|value| objects.values.get(value)) {
            numbers.iter().for_each(&mut each);
        }
    }
}

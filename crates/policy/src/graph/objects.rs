//! Named objects as they are now, with what has changed since the last flush.

use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;

/// The name of an object: its kind, namespace and name, in one allocation.
#[derive(Clone, Debug)]
pub(super) struct Name {
    text: Box<str>,
    /// Where the name begins.
    namespace: u32,
    kind: u8,
}

/// A name to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key<'a> {
    pub(super) kind: u8,
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

impl Name {
    fn new(key: Key) -> Name {
        let text = [key.namespace, key.name].concat().into_boxed_str();
        Name { text, namespace: key.namespace.len() as u32, kind: key.kind }
    }

    pub(super) fn kind(&self) -> u8 {
        self.kind
    }

    pub(super) fn key(&self) -> Key<'_> {
        let (namespace, name) = self.text.split_at(self.namespace as usize);
        Key { kind: self.kind, namespace, name }
    }
}

#[derive(Clone, Debug)]
struct Slot<T> {
    name: Name,
    value: Option<T>,
    /// Who refers to it by its number.
    users: u32,
    changed: bool,
}

/// Where an object is found by its name; with the name's hash, so that the table grows and most
/// others are passed over without reading names.
#[derive(Clone, Copy, Debug)]
struct Place {
    number: u32,
    hash: u32,
}

/// Objects of one sort. An object keeps its number until it is neither there nor referred to.
#[derive(Clone, Debug)]
pub(super) struct Objects<T> {
    slots: Vec<Option<Slot<T>>>,
    free: Vec<u32>,
    table: HashTable<Place>,
    /// With a secret, as users choose names.
    hasher: DefaultHashBuilder,
    changed: Vec<u32>,
    before: HashMap<u32, T>,
}

/// What has changed between two flushes.
#[derive(Debug)]
pub(super) struct Changes<T> {
    /// Each changed object, once.
    pub(super) numbers: Vec<u32>,
    /// Those of them that were there, as they were.
    pub(super) before: HashMap<u32, T>,
}

impl<T> Default for Objects<T> {
    fn default() -> Objects<T> {
        Objects {
            slots: vec![],
            free: vec![],
            table: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            changed: vec![],
            before: HashMap::new(),
        }
    }
}

/// Half of a hash, made whole: the table uses the lowest bits and the highest.
fn widen(hash: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(hash)
}

impl<T> Objects<T> {
    fn hash(&self, key: Key) -> u32 {
        self.hasher.hash_one(key) as u32
    }

    pub(super) fn find(&self, key: Key) -> Option<u32> {
        self.find_hashed(key, self.hash(key))
    }

    fn find_hashed(&self, key: Key, hash: u32) -> Option<u32> {
        let same = |place: &Place| place.hash == hash && self.slot(place.number).name.key() == key;
        self.table.find(widen(hash), same).map(|place| place.number)
    }

    /// The number of an object, whether it is there or not.
    fn number(&mut self, key: Key) -> u32 {
        let hash = self.hash(key);
        if let Some(number) = self.find_hashed(key, hash) {
            return number;
        }
        let name = Name::new(key);
        let slot = Some(Slot { name, value: None, users: 0, changed: false });
        let number = if let Some(number) = self.free.pop() {
            self.slots[number as usize] = slot;
            number
        } else {
            self.slots.push(slot);
            (self.slots.len() - 1) as u32
        };
        let place = Place { number, hash };
        self.table.insert_unique(widen(hash), place, |other| widen(other.hash));
        number
    }

    fn slot(&self, number: u32) -> &Slot<T> {
        self.slots[number as usize].as_ref().expect("a number in use has its slot")
    }

    fn slot_mut(&mut self, number: u32) -> &mut Slot<T> {
        self.slots[number as usize].as_mut().expect("a number in use has its slot")
    }

    pub(super) fn name(&self, number: u32) -> &Name {
        &self.slot(number).name
    }

    pub(super) fn get(&self, number: u32) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref()?.value.as_ref()
    }

    pub(super) fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.slots.get_mut(number as usize)?.as_mut()?.value.as_mut()
    }

    /// The objects that are there.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let values = self.slots.iter().map(|slot| slot.as_ref()?.value.as_ref());
        (0..).zip(values).filter_map(|(number, value)| Some((number, value?)))
    }

    /// One more than the largest number given so far.
    pub(super) fn end(&self) -> usize {
        self.slots.len()
    }

    /// Whether it is referred to.
    pub(super) fn is_used(&self, number: u32) -> bool {
        self.slots[number as usize].as_ref().is_some_and(|slot| slot.users > 0)
    }

    /// Sets what is no change of the input's.
    pub(super) fn put(&mut self, number: u32, value: Option<T>) -> Option<T> {
        std::mem::replace(&mut self.slot_mut(number).value, value)
    }

    /// An object as it is now. What comes back was never seen by a flush, or is the same as before.
    pub(super) fn set(&mut self, key: Key, value: Option<T>) -> Option<T>
    where
        T: PartialEq,
    {
        let number = match value {
            Some(_) => self.number(key),
            None => self.find(key)?,
        };
        let slot = self.slot_mut(number);
        if slot.value == value {
            return value;
        }
        let old = std::mem::replace(&mut slot.value, value);
        if std::mem::replace(&mut slot.changed, true) {
            return old;
        }
        self.changed.push(number);
        if let Some(old) = old {
            self.before.insert(number, old);
        }
        None
    }

    /// What has changed since this was last called.
    pub(super) fn take_changes(&mut self) -> Changes<T> {
        let numbers = std::mem::take(&mut self.changed);
        for number in &numbers {
            self.slot_mut(*number).changed = false;
        }
        Changes { numbers, before: std::mem::take(&mut self.before) }
    }

    /// Its number, which stays its as long as it is referred to.
    pub(super) fn refer(&mut self, key: Key) -> u32 {
        let number = self.number(key);
        self.slot_mut(number).users += 1;
        number
    }

    /// Undoes one [`Objects::refer`].
    pub(super) fn release(&mut self, number: u32) {
        self.slot_mut(number).users -= 1;
        self.forget_unused(number);
    }

    /// Frees the number of an object that is gone.
    pub(super) fn forget_unused(&mut self, number: u32) {
        let Some(slot) = &self.slots[number as usize] else { return };
        if slot.value.is_some() || slot.users > 0 || slot.changed {
            return;
        }
        let hash = widen(self.hash(slot.name.key()));
        if let Ok(found) = self.table.find_entry(hash, |place| place.number == number) {
            found.remove();
        }
        self.slots[number as usize] = None;
        self.free.push(number);
    }
}

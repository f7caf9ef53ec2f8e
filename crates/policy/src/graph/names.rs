//! Names of labels and ports as numbers, so that selectors compare numbers.

use hashbrown::{DefaultHashBuilder, HashTable};
use std::hash::BuildHasher;

/// Under how many names nothing is ever swept.
const SWEPT_MIN: usize = 1024;

/// The names in use. A number is a name's until the name is swept.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    texts: Vec<Option<Box<str>>>,
    free: Vec<u32>,
    table: HashTable<u32>,
    /// With a secret, as users choose labels.
    hasher: DefaultHashBuilder,
    /// How many were left by the last sweep.
    swept: usize,
}

impl Names {
    /// The number of a name, a new one if need be.
    pub(super) fn number(&mut self, text: &str) -> u32 {
        if let Some(number) = self.find(text) {
            return number;
        }
        let number = self.free.pop().unwrap_or_else(|| {
            self.texts.push(None);
            (self.texts.len() - 1) as u32
        });
        self.texts[number as usize] = Some(text.into());
        let Names { texts, table, hasher, .. } = self;
        table.insert_unique(hasher.hash_one(text), number, |other| {
            texts[*other as usize].as_deref().map_or(0, |text| hasher.hash_one(text))
        });
        number
    }

    /// The number of a name that something has.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        let same = |number: &u32| self.texts[*number as usize].as_deref() == Some(text);
        self.table.find(self.hasher.hash_one(text), same).copied()
    }

    /// What an index keeps instead of a label's value: equal for equal values, and for others only
    /// by an accident that makes it look at more than it must.
    pub(super) fn digest(&self, value: &[u8]) -> u64 {
        self.hasher.hash_one(value)
    }

    /// Whether so many names have come since the last sweep that one pays.
    pub(super) fn wants_sweep(&self) -> bool {
        self.table.len() > SWEPT_MIN + 2 * self.swept
    }

    /// Forgets all names but those in use.
    pub(super) fn sweep(&mut self, used: &[bool]) {
        for (number, text) in self.texts.iter_mut().enumerate() {
            if used.get(number) == Some(&true) {
                continue;
            }
            let Some(text) = text.take() else { continue };
            let hash = self.hasher.hash_one(&*text);
            if let Ok(found) = self.table.find_entry(hash, |other| *other as usize == number) {
                found.remove();
            }
            self.free.push(number as u32);
        }
        self.swept = self.table.len();
    }

    /// One more than the largest number given so far.
    pub(super) fn end(&self) -> usize {
        self.texts.len()
    }
}

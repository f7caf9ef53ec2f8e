//! Labels as they are kept, and as selectors see them.

use super::bytes::{Reader, Writer};
use super::names::Names;
use std::collections::BTreeMap;

/// An object's own labels: each a name's number and the value, in order of the numbers, in bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Labels(Box<[u8]>);

impl Labels {
    pub(super) fn new(names: &mut Names, labels: &BTreeMap<Box<str>, Box<str>>) -> Labels {
        let mut numbered: Vec<(u32, &str)> =
            labels.iter().map(|(name, value)| (names.number(name), &**value)).collect();
        numbered.sort_unstable_by_key(|(name, _)| *name);
        let mut writer = Writer::with_capacity(512);
        for (name, value) in numbered {
            writer.number(u64::from(name));
            writer.bytes(value.as_bytes());
        }
        Labels(writer.finish())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &[u8])> {
        let mut reader = Reader::new(&self.0);
        std::iter::from_fn(move || {
            (!reader.is_at_end()).then(|| (reader.number() as u32, reader.bytes()))
        })
    }

    /// The value of a label, if there is one.
    pub(super) fn get(&self, name: u32) -> Option<&[u8]> {
        self.iter().find(|(other, _)| *other == name).map(|(_, value)| value)
    }
}

/// What a selector is evaluated on.
pub(super) trait Values {
    /// The value of a label, if there is one.
    fn value(&self, name: u32) -> Option<&[u8]>;
}

/// All labels of an object, in order of the names' numbers.
#[derive(Debug)]
pub(super) struct View<'a>(Vec<(u32, &'a [u8])>);

impl<'a> View<'a> {
    /// An object's own labels win, then those of earlier profiles.
    pub(super) fn new(own: &'a Labels, inherited: impl Iterator<Item = &'a Labels>) -> View<'a> {
        let mut labels = Vec::with_capacity(16);
        labels.extend(own.iter());
        let count = labels.len();
        for profile in inherited {
            labels.extend(profile.iter());
        }
        if labels.len() > count {
            // Stable: of several with one name the first stays.
            labels.sort_by_key(|(name, _)| *name);
            labels.dedup_by_key(|(name, _)| *name);
        }
        View(labels)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &'a [u8])> {
        self.0.iter().copied()
    }
}

impl Values for View<'_> {
    fn value(&self, name: u32) -> Option<&[u8]> {
        let at = self.0.binary_search_by_key(&name, |(name, _)| *name).ok()?;
        Some(self.0[at].1)
    }
}

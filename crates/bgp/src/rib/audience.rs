//! What somebody, a peer or the kernel, has been told of a table, and is due to be told.
//!
//! Two bits per prefix. Nothing is queued but which prefixes are due: what is said of them is made
//! when it can be sent, so that a reader that never reads costs no more than these bits.

/// A set of small numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Bits(Vec<u64>);

impl Bits {
    pub(super) fn contains(&self, index: u32) -> bool {
        self.0.get(index as usize / 64).is_some_and(|word| word & bit(index) != 0)
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, index: u32) -> bool {
        let at = index as usize / 64;
        if at >= self.0.len() {
            self.0.resize(at + 1, 0);
        }
        let new = self.0[at] & bit(index) == 0;
        self.0[at] |= bit(index);
        new
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, index: u32) -> bool {
        let Some(word) = self.0.get_mut(index as usize / 64) else { return false };
        let was = *word & bit(index) != 0;
        *word &= !bit(index);
        was
    }

    /// In ascending order, from one on.
    fn iter_from(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let word = first as usize / 64;
        self.0.iter().enumerate().skip(word).flat_map(move |(at, bits)| {
            let below = if at == word { bit(first) - 1 } else { 0 };
            let mut rest = *bits & !below;
            std::iter::from_fn(move || {
                let low = rest.trailing_zeros();
                rest &= rest.wrapping_sub(1);
                (low < 64).then_some(at as u32 * 64 + low)
            })
        })
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.iter_from(0)
    }
}

fn bit(index: u32) -> u64 {
    1 << (index % 64)
}

/// One listener of one table.
#[derive(Clone, Debug, Default)]
pub(super) struct Audience {
    /// It knows a route to these.
    pub(super) told: Bits,
    due: Bits,
    due_count: u32,
    /// Where the search for due ones goes on: round and round, so that prefixes that change all
    /// the time don't keep others waiting.
    cursor: u32,
    /// All that was due when it began to listen has been told.
    pub(super) caught_up: bool,
}

impl Audience {
    pub(super) fn is_due(&self) -> bool {
        self.due_count > 0
    }

    pub(super) fn is_due_of(&self, index: u32) -> bool {
        self.due.contains(index)
    }

    /// A route has changed: it is due if there is one for this listener, or was.
    pub(super) fn changed(&mut self, index: u32, has_one: bool) {
        if has_one || self.told.contains(index) {
            self.due_count += u32::from(self.due.insert(index));
        } else {
            self.due_count -= u32::from(self.due.remove(index));
        }
    }

    /// Takes those that are due, at most `count`.
    pub(super) fn take(&mut self, count: usize) -> Vec<u32> {
        let mut taken: Vec<u32> = vec![];
        while taken.len() < count && self.due_count > 0 {
            let room = count - taken.len();
            let found: Vec<u32> = self.due.iter_from(self.cursor).take(room).collect();
            for index in &found {
                self.due.remove(*index);
            }
            self.due_count -= found.len() as u32;
            match found.last() {
                Some(last) if found.len() == room => self.cursor = *last + 1,
                _ => {
                    self.cursor = 0;
                    self.caught_up = true;
                }
            }
            taken.extend(found);
        }
        self.caught_up |= self.due_count == 0;
        taken
    }

    /// Gives some back that there was no room for; `caught_up` is what it was before.
    pub(super) fn untake(&mut self, indices: &[u32], caught_up: bool) {
        for index in indices {
            self.due_count += u32::from(self.due.insert(*index));
        }
        if let Some(first) = indices.iter().min() {
            self.cursor = *first;
            self.caught_up = caught_up;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn takes_each_once_and_catches_up_after_one_round() {
        let mut audience = Audience::default();
        let all: Vec<u32> = (0..1000).step_by(7).collect();
        for index in &all {
            audience.changed(*index, true);
        }
        let mut seen = BTreeSet::new();
        while audience.is_due() {
            assert!(!audience.caught_up);
            let before = audience.caught_up;
            let taken = audience.take(10);
            assert!((1..=10).contains(&taken.len()));
            let (kept, back) = taken.split_at(taken.len().div_ceil(2));
            audience.untake(back, before);
            for index in kept {
                assert!(seen.insert(*index), "{index} twice");
            }
        }
        assert!(audience.caught_up);
        assert_eq!(seen.into_iter().collect::<Vec<_>>(), all);
    }

    #[test]
    fn one_that_changes_all_the_time_keeps_none_waiting() {
        let mut audience = Audience::default();
        for index in [0, 100, 200, 300] {
            audience.changed(index, true);
        }
        let mut seen = BTreeSet::new();
        for _ in 0..8 {
            seen.extend(audience.take(1));
            audience.changed(0, true);
        }
        assert_eq!(seen, BTreeSet::from([0, 100, 200, 300]));
        assert!(audience.caught_up);
    }
}

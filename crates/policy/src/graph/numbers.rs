//! Small sets of numbers: most hold none or one.

use hashbrown::HashSet;

/// A set of numbers of objects.
#[derive(Clone, Debug, Default)]
pub(super) enum Numbers {
    #[default]
    None,
    One(u32),
    Many(Box<HashSet<u32>>),
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        match self {
            Numbers::None => 0,
            Numbers::One(_) => 1,
            Numbers::Many(numbers) => numbers.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        match self {
            Numbers::None => {
                *self = Numbers::One(number);
                true
            }
            Numbers::One(only) if *only == number => false,
            Numbers::One(only) => {
                *self = Numbers::Many(Box::new([*only, number].into_iter().collect()));
                true
            }
            Numbers::Many(numbers) => numbers.insert(number),
        }
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        match self {
            Numbers::One(only) if *only == number => {
                *self = Numbers::None;
                true
            }
            Numbers::None | Numbers::One(_) => false,
            Numbers::Many(numbers) => {
                let removed = numbers.remove(&number);
                match numbers.len() {
                    0 => *self = Numbers::None,
                    // Room for a set that was once large is given back.
                    length if length * 8 < numbers.capacity() => numbers.shrink_to(length * 2),
                    _ => {}
                }
                removed
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let (one, many) = match self {
            Numbers::None => (None, None),
            Numbers::One(only) => (Some(*only), None),
            Numbers::Many(numbers) => (None, Some(numbers.iter().copied())),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }
}

//! Small sets of numbers: most hold none or one.

use hashbrown::HashSet;
use std::ops::Deref;

/// Up to how many are looked through one by one.
const FEW_MAX: usize = 8;

/// A set of numbers of objects.
#[derive(Clone, Debug, Default)]
pub(super) enum Numbers {
    #[default]
    None,
    One(u32),
    Few(Vec<u32>),
    Many(Box<HashSet<u32>>),
}

impl Numbers {
    pub(super) fn len(&self) -> usize {
        match self {
            Numbers::None => 0,
            Numbers::One(_) => 1,
            Numbers::Few(numbers) => numbers.len(),
            Numbers::Many(numbers) => numbers.len(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is new.
    pub(super) fn insert(&mut self, number: u32) -> bool {
        match self {
            Numbers::None => *self = Numbers::One(number),
            Numbers::One(only) if *only == number => return false,
            Numbers::One(only) => {
                let mut few = Vec::with_capacity(4);
                few.extend([*only, number]);
                *self = Numbers::Few(few);
            }
            Numbers::Few(numbers) if numbers.contains(&number) => return false,
            Numbers::Few(numbers) if numbers.len() < FEW_MAX => numbers.push(number),
            Numbers::Few(numbers) => {
                let many = numbers.iter().copied().chain([number]).collect();
                *self = Numbers::Many(Box::new(many));
            }
            Numbers::Many(numbers) => return numbers.insert(number),
        }
        true
    }

    /// Whether it was there.
    pub(super) fn remove(&mut self, number: u32) -> bool {
        match self {
            Numbers::One(only) if *only == number => *self = Numbers::None,
            Numbers::None | Numbers::One(_) => return false,
            Numbers::Few(numbers) => {
                let Some(at) = numbers.iter().position(|other| *other == number) else {
                    return false;
                };
                numbers.swap_remove(at);
                if let [only] = numbers[..] {
                    *self = Numbers::One(only);
                }
            }
            Numbers::Many(numbers) => {
                if !numbers.remove(&number) {
                    return false;
                }
                // Half of what would make it many again, so that it doesn't change its form each
                // time.
                if numbers.len() <= FEW_MAX / 2 {
                    *self = Numbers::Few(numbers.iter().copied().collect());
                } else if numbers.len() * 8 < numbers.capacity() {
                    // Room for a set that was once large is given back.
                    numbers.shrink_to(numbers.len() * 2);
                }
            }
        }
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = u32> {
        let (few, many): (&[u32], _) = match self {
            Numbers::None => (&[], None),
            Numbers::One(only) => (std::slice::from_ref(only), None),
            Numbers::Few(numbers) => (numbers, None),
            Numbers::Many(numbers) => (&[], Some(numbers.iter().copied())),
        };
        few.iter().copied().chain(many.into_iter().flatten())
    }
}

/// Numbers of objects in an order: mostly one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ordered {
    One(u32),
    Some(Box<[u32]>),
}

impl From<Vec<u32>> for Ordered {
    fn from(numbers: Vec<u32>) -> Ordered {
        match numbers[..] {
            [only] => Ordered::One(only),
            _ => Ordered::Some(numbers.into()),
        }
    }
}

impl Deref for Ordered {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        match self {
            Ordered::One(only) => std::slice::from_ref(only),
            Ordered::Some(numbers) => numbers,
        }
    }
}

//! How long to wait before trying again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Pauses that double from `min` to `max`, each shortened by up to a half at random so that the
/// nodes of a cluster don't come back all at once.
pub(super) struct Backoff {
    min: Duration,
    max: Duration,
    next: Duration,
    random: RandomState,
    pauses: u64,
}

impl Backoff {
    pub(super) fn new(min: Duration, max: Duration) -> Backoff {
        Backoff { min, max, next: min, random: RandomState::new(), pauses: 0 }
    }

    /// The pause to make now; the next one is longer.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        self.pauses += 1;
        let share = (self.random.hash_one(self.pauses) % 1024) as f64 / 1024.0;
        pause.mul_f64(1.0 - share / 2.0)
    }

    /// Begins with the shortest pause again.
    pub(super) fn reset(&mut self) {
        self.next = self.min;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_within_their_bounds_and_begin_anew() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(5));
        let mut backoff = Backoff::new(min, max);
        let mut whole = min;
        for _ in 0..12 {
            let pause = backoff.pause();
            assert!(pause > whole / 2 - Duration::from_nanos(1) && pause <= whole, "{pause:?}");
            whole = (whole * 2).min(max);
        }
        assert_eq!(whole, max);
        backoff.reset();
        assert!(backoff.pause() <= min);
    }
}

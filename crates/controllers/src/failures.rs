//! What keeps failing: told once and then seldom, and tried ever less often.

use std::collections::BTreeSet;
use std::time::Duration;

/// What has been told is told again in the round of this number, counted from the last time.
const TOLD_AGAIN: u32 = 20;

/// Failures of work that is done in rounds.
pub(crate) struct Failures {
    min: Duration,
    max: Duration,
    next: Duration,
    /// Rounds with a failure since everything was last told.
    rounds: u32,
    told: BTreeSet<String>,
    now: BTreeSet<String>,
}

impl Failures {
    /// None yet; pauses double from `min` to `max`.
    pub(crate) fn new(min: Duration, max: Duration) -> Failures {
        let (told, now) = (BTreeSet::new(), BTreeSet::new());
        Failures { min, max, next: min, rounds: 0, told, now }
    }

    /// Takes a failure of this round; whether it is to be told.
    pub(crate) fn is_news(&mut self, why: &str) -> bool {
        self.now.insert(why.to_owned()) && !self.told.contains(why)
    }

    /// Ends a round. How long until the next attempt; `None`: nothing has failed.
    pub(crate) fn pause(&mut self) -> Option<Duration> {
        self.told = std::mem::take(&mut self.now);
        if self.told.is_empty() {
            (self.next, self.rounds) = (self.min, 0);
            return None;
        }
        self.rounds += 1;
        if self.rounds == TOLD_AGAIN {
            self.rounds = 0;
            self.told.clear();
        }
        let pause = self.next;
        self.next = (pause * 2).min(self.max);
        Some(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_again_is_told_seldom_and_tried_less_often() {
        let second = Duration::from_secs(1);
        let mut failures = Failures::new(second, second * 5);
        let mut round = |whats: &[&str]| {
            let news: Vec<bool> = whats.iter().map(|why| failures.is_news(why)).collect();
            (news, failures.pause().map(|pause| pause.as_secs()))
        };
        assert_eq!(round(&["a", "b", "a"]), (vec![true, true, false], Some(1)));
        assert_eq!(round(&["b", "c"]), (vec![false, true], Some(2)));
        assert_eq!(round(&["a", "b"]), (vec![true, false], Some(4)));
        assert_eq!(round(&["a"]), (vec![false], Some(5)));
        assert_eq!(round(&[]), (vec![], None));
        assert_eq!(round(&["a"]), (vec![true], Some(1)));
        let told = (0..3 * TOLD_AGAIN).filter(|_| round(&["a"]).0 == [true]).count();
        assert_eq!(told, 3);
    }
}

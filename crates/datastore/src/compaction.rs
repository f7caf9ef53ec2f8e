//! Forgetting history by itself, as far as the user's retention allows.

use crate::options::Retention;
use crate::refused::Refused;
use crate::store::Store;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How often a retention by revisions is looked at.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many moments of a retention by time are remembered: how finely it is kept.
const MOMENTS: u32 = 10;

/// Compacts now and then, until dropped.
pub(crate) async fn run(store: Arc<Store>, retention: Retention) {
    let period = match retention {
        Retention::Everything => return,
        Retention::Revisions(_) => INTERVAL,
        Retention::Time(time) => (time / MOMENTS).max(Duration::from_millis(100)),
    };
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut moments = VecDeque::new();
    let mut done = 0;
    loop {
        ticks.tick().await;
        let target = target(retention, store.revision(), Instant::now(), &mut moments);
        if target <= done {
            continue;
        }
        let revision = crate::mvcc::signed(target);
        match store.submit(move |changes| changes.compact(revision)).await {
            Ok(()) | Err(Refused::Compacted) => done = target,
            // The next tick tries again; the failed write itself has been logged.
            Err(_) => {}
        }
    }
}

/// The revision before which history may go; 0 is none. `moments` remembers (when, revision).
fn target(
    retention: Retention,
    revision: u64,
    now: Instant,
    moments: &mut VecDeque<(Instant, u64)>,
) -> u64 {
    match retention {
        Retention::Everything => 0,
        Retention::Revisions(kept) => revision.saturating_sub(kept),
        Retention::Time(time) => {
            moments.push_back((now, revision));
            let mut target = 0;
            while let Some(&(then, revision)) = moments.front() {
                if now.duration_since(then) < time {
                    break;
                }
                target = revision;
                moments.pop_front();
            }
            target
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Retention, target};
    use std::collections::VecDeque;
    use std::time::Duration;
    use tokio::time::Instant;

    #[test]
    fn what_is_kept_is_what_was_asked_for() {
        let now = Instant::now();
        let mut moments = VecDeque::new();
        assert_eq!(target(Retention::Everything, 99, now, &mut moments), 0);
        assert_eq!(target(Retention::Revisions(100), 99, now, &mut moments), 0);
        assert_eq!(target(Retention::Revisions(100), 250, now, &mut moments), 150);
        let minute = Retention::Time(Duration::from_secs(60));
        let after = |seconds| now + Duration::from_secs(seconds);
        for (seconds, revision, expected) in
            [(0, 5, 0), (30, 8, 0), (59, 9, 0), (61, 20, 5), (90, 21, 8), (300, 22, 21)]
        {
            assert_eq!(target(minute, revision, after(seconds), &mut moments), expected);
        }
    }
}

//! When to connect again: soon after a failure, later after an error that a message told of.

use crate::session::limits::{ERROR_WAIT_MAX, ERROR_WAIT_MIN, RETRY_MAX, RETRY_MIN};
use std::time::Duration;

/// The waits, each doubling up to its longest.
#[derive(Debug)]
pub(crate) struct Backoff {
    retry: Duration,
    error: Duration,
    /// State of the jitter's generator: the peers of a node shall not all try at once.
    seed: u64,
}

impl Backoff {
    /// Of the peer of that name: the same name waits the same, so that a run can be repeated.
    pub(crate) fn new(name: &str, router_id: u32) -> Backoff {
        let mut seed = 0xcbf2_9ce4_8422_2325 ^ u64::from(router_id);
        for byte in name.bytes() {
            seed = (seed ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Backoff { retry: RETRY_MIN, error: ERROR_WAIT_MIN, seed }
    }

    /// The wait after a connection that failed or broke.
    pub(crate) fn after_failure(&mut self) -> Duration {
        let wait = self.retry;
        self.retry = (wait * 2).min(RETRY_MAX);
        self.jittered(wait)
    }

    /// The wait after an error.
    pub(crate) fn after_error(&mut self) -> Duration {
        let wait = self.error;
        self.error = (wait * 2).min(ERROR_WAIT_MAX);
        self.jittered(wait)
    }

    /// A session came up.
    pub(crate) fn established(&mut self) {
        self.retry = RETRY_MIN;
    }

    /// A session was up for that long.
    pub(crate) fn lasted(&mut self, time: Duration) {
        if time >= ERROR_WAIT_MAX {
            self.error = ERROR_WAIT_MIN;
        }
    }

    /// Three quarters to all of it (RFC 4271, 10), by xorshift.
    fn jittered(&mut self, wait: Duration) -> Duration {
        self.seed |= 1;
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        let fraction = (self.seed >> 32) as u32 % 256;
        wait * (768 + fraction) / 1024
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_their_longest_and_start_over() {
        let mut backoff = Backoff::new("Mesh_10_0_0_1", 7);
        let waits: Vec<_> = (0..8).map(|_| backoff.after_failure()).collect();
        assert!(waits[0] >= RETRY_MIN * 3 / 4 && waits[0] <= RETRY_MIN);
        assert!(waits[7] >= RETRY_MAX * 3 / 4 && waits[7] <= RETRY_MAX);
        let errors: Vec<_> = (0..8).map(|_| backoff.after_error()).collect();
        assert!(errors[0] <= ERROR_WAIT_MIN && errors[7] >= ERROR_WAIT_MAX * 3 / 4);
        backoff.established();
        assert!(backoff.after_failure() <= RETRY_MIN);
        backoff.lasted(ERROR_WAIT_MAX / 2);
        assert!(backoff.after_error() > ERROR_WAIT_MIN);
        backoff.lasted(ERROR_WAIT_MAX);
        assert!(backoff.after_error() <= ERROR_WAIT_MIN);
    }

    #[test]
    fn peers_of_a_node_wait_differently() {
        let first = |name: &str| Backoff::new(name, 7).after_failure();
        assert_ne!(first("Mesh_10_0_0_1"), first("Mesh_10_0_0_2"));
        assert_eq!(first("Mesh_10_0_0_1"), first("Mesh_10_0_0_1"));
    }
}

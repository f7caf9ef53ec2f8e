//! What the lab has done so far, for those who wait for it.

use crate::protocol::Reporter;
use anyhow::{Result, anyhow};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Steps done, and the outcome once there is one.
pub(super) struct Progress {
    started: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<String>,
    outcome: Option<Result<(), String>>,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress { started: Instant::now(), state: Mutex::default(), changed: Condvar::new() }
    }

    /// Records a step as done now.
    pub(super) fn step(&self, text: &str) {
        let line = format!("{:6.2} s  {text}", self.started.elapsed().as_secs_f64());
        self.lock().lines.push(line);
        self.changed.notify_all();
    }

    /// Records that all is done, or why not.
    pub(super) fn finish(&self, outcome: &Result<()>) {
        let outcome = outcome.as_ref().map_err(|error| format!("{error:#}"));
        self.lock().outcome = Some(outcome.copied());
        self.changed.notify_all();
    }

    /// The outcome, if there is one yet.
    pub(super) fn outcome(&self) -> Option<Result<(), String>> {
        self.lock().outcome.clone()
    }

    /// Passes all steps on, past and to come, until the outcome.
    ///
    /// # Errors
    /// The outcome's, or that nobody listens any more.
    pub(super) fn follow(&self, reporter: &Reporter<'_>) -> Result<()> {
        let mut told = 0;
        loop {
            let mut state = self.lock();
            while told == state.lines.len() && state.outcome.is_none() {
                state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
            let (news, outcome) = (state.lines[told..].to_vec(), state.outcome.clone());
            drop(state);
            told += news.len();
            if !news.iter().all(|line| reporter.progress(line)) {
                return Err(anyhow!("nobody is waiting for the lab any more"));
            }
            if let Some(outcome) = outcome {
                return outcome.map_err(|reason| anyhow!(reason));
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

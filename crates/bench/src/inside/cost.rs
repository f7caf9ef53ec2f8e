//! What work costs the process that does it.

use anyhow::{Context, Result};
use linux::{allocation, own_process};
use serde::{Deserialize, Serialize};

/// What a scenario cost, as `calico bench nft` prints it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Cost {
    /// Which scenario.
    pub(crate) scenario: String,
    /// Of the work, or of one of its steps where it is repeated: the median.
    pub(crate) seconds: f64,
    /// Processor time of the same, in user and kernel mode: the mean.
    pub(crate) cpu_seconds: f64,
    /// Bytes allocated after the work, without the generated input.
    pub(crate) live_bytes: u64,
    /// The most bytes allocated during the work.
    pub(crate) peak_bytes: u64,
    /// How many sets there are.
    pub(crate) sets: usize,
    /// How many chains of policies there are.
    pub(crate) policies: usize,
}

/// Processor seconds of this process until now.
pub(crate) fn cpu_seconds() -> Result<f64> {
    Ok(own_process::read().context("reading what this process has used")?.cpu_seconds)
}

/// Bytes allocated now, and at most since [`allocation::forget_peak`].
pub(crate) fn allocated() -> (u64, u64) {
    let bytes = |count| u64::try_from(count).unwrap_or(u64::MAX);
    (bytes(allocation::live_bytes()), bytes(allocation::peak_bytes()))
}

//! What is measured: each scenario builds what it needs, measures, takes it down.

pub(crate) mod bgp_feed;
pub(crate) mod bgp_mesh;
pub(crate) mod binary;
pub(crate) mod cni;
pub(crate) mod kubernetes;
pub(crate) mod lab_up;
pub(crate) mod memory;
pub(crate) mod mode_change;
pub(crate) mod nft;
pub(crate) mod policy;
pub(crate) mod policy_cost;
pub(crate) mod policy_latency;
pub(crate) mod throughput;

use crate::inside::cost::Cost;
use crate::program;
use crate::samples::Samples;
use anyhow::{Context, Result};
use std::process::Command;
use std::time::Duration;

/// How long generating the input of a scenario without a lab and measuring may take.
const LIMIT: Duration = Duration::from_secs(300);

/// What a scenario costs a process of its own: `calico bench inside KIND SCENARIO`.
///
/// # Errors
/// It fails, or takes too long.
pub(crate) fn cost(kind: &str, scenario: &str) -> Result<Cost> {
    let program = std::env::current_exe().context("finding this program")?;
    let mut command = Command::new(program);
    command.args(["bench", "inside", kind, scenario]);
    let finished = program::run(command, LIMIT)?;
    serde_json::from_str(&finished.output).context("reading what the scenario measured")
}

/// Measurements, of which there must be one.
fn samples(values: impl IntoIterator<Item = f64>) -> Result<Samples> {
    Samples::new(values).context("nothing to measure: the number of runs or pods is 0")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

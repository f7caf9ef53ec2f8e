//! What is measured: each scenario builds what it needs, measures, takes it down.

pub(crate) mod bgp_feed;
pub(crate) mod bgp_mesh;
pub(crate) mod binary;
pub(crate) mod cni;
pub(crate) mod lab_up;
pub(crate) mod memory;
pub(crate) mod mode_change;
pub(crate) mod policy;
pub(crate) mod throughput;

use crate::samples::Samples;
use anyhow::{Context, Result};
use std::time::Duration;

/// Measurements, of which there must be one.
fn samples(values: impl IntoIterator<Item = f64>) -> Result<Samples> {
    Samples::new(values).context("nothing to measure: the number of runs or pods is 0")
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

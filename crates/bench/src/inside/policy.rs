//! The policy graph: its time, and what it allocates, for clusters of others' benchmarks.

mod input;

use anyhow::Result;
use clap::ValueEnum;
use linux::allocation;
use linux::own_process;
use policy::{Graph, Update};
use serde::{Deserialize, Serialize};
use std::time::Instant;

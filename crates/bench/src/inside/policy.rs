//! The policy graph: its time, and what it allocates, for the clusters of others' benchmarks.

mod input;

use super::cost::{self, Cost};
use crate::samples::Samples;
use anyhow::{Context, Result};
use clap::ValueEnum;
use linux::allocation;
use policy::{Graph, Output, Update};
use std::time::Instant;

/// How often a change of one object is measured.
const CHANGES: usize = 10_000;

/// A cluster, and what happens in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// 250,000 remote and 200 local endpoints, 10,000 policies on 29 marker labels
    #[value(name = "snapshot-250k")]
    Snapshot,
    /// 100,000 namespaces of one pod and one policy, 100 of the pods local
    #[value(name = "isolated-100k")]
    Isolated,
    /// 10,000 network sets of 1.1 million addresses in all, a policy for each on every endpoint
    #[value(name = "netset-10k")]
    NetworkSets,
    /// snapshot-250k, then all local endpoints go
    #[value(name = "snapshot-250k-delete")]
    SnapshotThenDelete,
    /// 25,000 namespaces, 75,000 policies and 100,000 pods, all of them local
    #[value(name = "namespaces-25k")]
    Namespaces,
    /// One pod's labels change, with 10,000 selectors of which one selects it
    #[value(name = "label-change-10k")]
    LabelChange,
}

impl Scenario {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn updates(self) -> Vec<Update> {
        match self {
            Scenario::Snapshot | Scenario::SnapshotThenDelete => {
                input::snapshot(250_000, 200, 10_000)
            }
            Scenario::Isolated => input::isolated(100_000, 100),
            Scenario::NetworkSets => input::network_sets(10_000, 200, 10_000),
            Scenario::Namespaces => input::small_namespaces(25_000),
            Scenario::LabelChange => input::selectors(10_000),
        }
    }
}

/// What comes out, counted and dropped.
#[derive(Default)]
struct Told {
    sets: usize,
    policies: usize,
}

impl Told {
    fn on(&mut self, output: &Output) {
        match output {
            Output::Set { .. } => self.sets += 1,
            Output::Policy(..) => self.policies += 1,
            _ => {}
        }
    }
}

/// Makes the input, then measures; nothing of it is left when memory is measured.
///
/// # Errors
/// This process can't read what it has used.
pub(crate) fn measure(scenario: Scenario) -> Result<Cost> {
    // Before anything that may be freed while it counts.
    allocation::start_counting();
    let updates = scenario.updates();
    if scenario == Scenario::LabelChange {
        return measure_changes(scenario, updates);
    }
    let later = match scenario {
        Scenario::SnapshotThenDelete => input::local_gone(&updates),
        _ => vec![],
    };
    let mut told = Told::default();
    allocation::forget_peak();
    let before = cost::cpu_seconds()?;
    let started = Instant::now();
    let mut graph = Graph::new(input::NODE);
    for updates in [updates, later] {
        updates.into_iter().for_each(|update| graph.on(update));
        graph.flush(&mut |output| told.on(&output));
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu_seconds = cost::cpu_seconds()? - before;
    let (live_bytes, peak_bytes) = cost::allocated();
    let Told { sets, policies } = told;
    let scenario = scenario.name();
    Ok(Cost { scenario, seconds, cpu_seconds, live_bytes, peak_bytes, sets, policies })
}

/// One endpoint's labels change again and again; what one change costs.
fn measure_changes(scenario: Scenario, updates: Vec<Update>) -> Result<Cost> {
    let mut told = Told::default();
    let mut graph = Graph::new(input::NODE);
    updates.into_iter().for_each(|update| graph.on(update));
    graph.flush(&mut |output| told.on(&output));
    let changes: Vec<Update> = (2..CHANGES + 2).map(input::one_pod).collect();
    let mut steps = Vec::with_capacity(CHANGES);
    allocation::forget_peak();
    let before = cost::cpu_seconds()?;
    for change in changes {
        let started = Instant::now();
        graph.on(change);
        graph.flush(&mut |output| told.on(&output));
        steps.push(started.elapsed().as_secs_f64());
    }
    #[expect(clippy::cast_precision_loss, reason = "some thousand changes")]
    let cpu_seconds = (cost::cpu_seconds()? - before) / CHANGES as f64;
    let seconds = Samples::new(steps).context("no change")?.median();
    let (live_bytes, peak_bytes) = cost::allocated();
    let Told { sets, policies } = told;
    let scenario = scenario.name();
    Ok(Cost { scenario, seconds, cpu_seconds, live_bytes, peak_bytes, sets, policies })
}

//! What a renderer is given, and the tables that its updates make.

use crate::table::{Case, Through};
use kernel::nft::{Table, Tables, Update};
use plan::policy::Settings;
use plan::{Topology, plan};
use policy::Output;
use policy::input::WorkloadId;

/// The plan's tables with policy, before anything is told.
pub(crate) fn layout(settings: &Settings) -> Vec<Table> {
    let mut topology = Topology::default();
    topology.settings.policy = Some(settings.clone());
    plan(&topology).tables
}

/// All that a case tells, with its endpoint at this interface.
pub(crate) fn outputs(case: &Case, workload: &str, host: &str) -> Vec<Output> {
    let mut outputs = case.outputs.clone();
    if case.through == Through::Workload {
        let mut endpoint = case.workload.clone();
        endpoint.interface = workload.into();
        let id = WorkloadId { namespace: "shop".into(), name: "web-1".into() };
        outputs.push(Output::Workload(id, endpoint.into()));
    } else {
        let mut endpoint = case.host.clone();
        endpoint.interface = host.into();
        outputs.push(Output::HostEndpoint("node".to_owned(), endpoint.into()));
    }
    outputs
}

pub(crate) fn apply(tables: &mut Tables, updates: Vec<Update>) {
    updates
        .into_iter()
        .for_each(|update| tables.update(update).expect("of something that is there"));
}

/// Panics where the kernel would refuse a table.
pub(crate) fn check(tables: &Tables) {
    for table in tables.desired() {
        table.check().unwrap_or_else(|wrong| panic!("{wrong}\n{table}"));
    }
}

pub(crate) fn text(tables: &Tables) -> String {
    tables.desired().map(|table| format!("{table}\n")).collect()
}

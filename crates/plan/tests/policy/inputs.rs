//! What a renderer is given.

use crate::table::{Case, Through};
use kernel::nft::Table;
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

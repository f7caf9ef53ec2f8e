//! Resident memory of a node's agent.

use crate::cluster::Cluster;
use crate::figure::{Figure, Target, Unit};
use crate::inside::agent::Memories;
use anyhow::Result;
use std::time::Duration;

/// The node that is measured.
const NODE: &str = "worker-1";
/// How long connecting and disconnecting a pod may take.
const PER_POD: Duration = Duration::from_secs(3);

/// calico-node's memory with one pod of the lab's, and with `pods` more.
///
/// # Errors
/// The lab doesn't become ready, or a pod cannot be connected.
pub(crate) fn measure(lab: &str, pods: u32) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::vxlan(lab, &[])?;
    let limit = PER_POD * pods + Duration::from_secs(30);
    let words = ["memory", "--pods", &pods.to_string()];
    let memories: Memories = cluster.inside(NODE, &words, limit)?;
    cluster.down()?;
    let figure = |what: &str, value| Figure::new(what, value, Unit::Mebibytes, 1);
    let with = |part: &str| format!("agent with {pods} pods, {part}");
    Ok(vec![
        figure("agent idle, resident", memories.idle.resident)
            .beside_calico("213–219 MB (two processes)"),
        figure("agent idle, anonymous", memories.idle.anonymous)
            .beside_calico("37–40 MB (two processes)"),
        figure(&with("resident"), memories.loaded.resident)
            .wanted(Target::AtMost(25.0))
            .beside_calico("119 MB (Felix alone)"),
        figure(&with("anonymous"), memories.loaded.anonymous),
        figure(&with("peak of resident"), memories.loaded.peak),
        figure("agent after their end, resident", memories.after.resident),
    ])
}

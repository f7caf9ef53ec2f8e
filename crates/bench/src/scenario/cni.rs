//! CNI ADD and DEL, called directly as containerd calls a plugin, one pod at a time on one node.
//!
//! End to end: the plugin's process, the agent, the address in the datastore, the veth, the routes.
//! The reference plugin `bridge` on the same node shows what any plugin that is a process costs.

use super::samples;
use crate::cluster::Cluster;
use crate::figure::{Figure, Target, Unit};
use crate::inside::plugin::{Call, Kind};
use crate::inside::pods::Calls;
use anyhow::Result;
use std::time::Duration;

/// The node that is measured; the datastore is on another.
const NODE: &str = "worker-1";
/// How long the calls may take: more than a pod needs when something is wrong.
const PER_POD: Duration = Duration::from_millis(1500);

/// Which server keeps the addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Datastore {
    /// `calico datastore`.
    Embedded,
    /// Debian's etcd.
    Etcd,
}

impl Datastore {
    fn as_str(self) -> &'static str {
        match self {
            Datastore::Embedded => "embedded",
            Datastore::Etcd => "etcd",
        }
    }
}

/// What of a call, for a figure.
type Part = fn(&Call) -> f64;

/// Connects and disconnects `pods` pods by our plugin and by the reference.
///
/// # Errors
/// The lab doesn't become ready, or a plugin fails.
pub(crate) fn measure(lab: &str, datastore: Datastore, pods: u32) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::vxlan(lab, &["--datastore", datastore.as_str()])?;
    let ours = calls(&cluster, Kind::Calico, pods)?;
    let floor = calls(&cluster, Kind::Bridge, pods)?;
    let figures = figures(datastore, &ours, &floor);
    cluster.down()?;
    figures
}

fn calls(cluster: &Cluster, kind: Kind, pods: u32) -> Result<Calls> {
    let limit = PER_POD * pods + Duration::from_secs(30);
    let pods = pods.to_string();
    cluster.inside(NODE, &["cni", "--plugin", kind.as_str(), "--pods", &pods], limit)
}

fn figures(datastore: Datastore, ours: &Calls, floor: &Calls) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let calico = match datastore {
        Datastore::Embedded => [None, None],
        Datastore::Etcd => [Some("87 ms"), Some("75 ms")],
    };
    let verbs = [("ADD", &ours.adds, &floor.adds), ("DEL", &ours.deletes, &floor.deletes)];
    for ((verb, ours, floor), calico) in verbs.into_iter().zip(calico) {
        let what = format!("CNI {verb}, {}", datastore.as_str());
        let wall: Part = |call| call.wall_ms;
        let (walls, floors) = (part(ours, wall)?, part(floor, wall)?);
        let mut median =
            Figure::median(&what, &walls, Unit::Milliseconds).beside("bridge", floors.median());
        let mut p99 =
            Figure::p99(&what, &walls, Unit::Milliseconds).beside("bridge", floors.percentile(99));
        if verb == "ADD" {
            median = median.wanted(Target::AtMost(20.0));
            p99 = p99.wanted(Target::AtMost(50.0));
        }
        if let Some(calico) = calico {
            median = median.beside_calico(calico);
        }
        figures.extend([median, p99]);
        let cpu: Part = |call| call.cpu_ms;
        let what = format!("{what}, processor time of the plugin");
        let floor_cpu = part(floor, cpu)?.median();
        figures.push(
            Figure::median(&what, &part(ours, cpu)?, Unit::Milliseconds)
                .beside("bridge", floor_cpu),
        );
    }
    let what = format!("CNI, {}, processor time of the agent per ADD and DEL", datastore.as_str());
    figures.push(Figure::new(what, ours.agent_cpu_ms, Unit::Milliseconds, ours.adds.len()));
    let what = format!("CNI ADD, {}, memory of the plugin", datastore.as_str());
    let peaks = |calls: &Calls| samples(calls.add_peaks.iter().copied());
    let floor_peak = peaks(floor)?.max();
    figures.push(
        Figure::max(&what, &peaks(ours)?, Unit::Mebibytes)
            .beside("bridge", floor_peak)
            .beside_calico("86 MB, Kubernetes datastore"),
    );
    Ok(figures)
}

fn part(calls: &[Call], part: Part) -> Result<crate::samples::Samples> {
    samples(calls.iter().map(part))
}

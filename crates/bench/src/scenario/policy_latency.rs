//! A new policy: from the datastore's answer until it is in force on a pod, as packets see it.

use super::samples;
use crate::cluster::Cluster;
use crate::figure::{Figure, Target, Unit};
use crate::inside::enforcement::{Latencies, Latency, Others};
use anyhow::Result;
use std::time::Duration;

/// The node that is measured; the datastore is on another.
const NODE: &str = "worker-1";
/// How long a change may take on average, with what is between them.
const PER_CHANGE: Duration = Duration::from_secs(1);
/// How long others' resources may take to be written.
const WRITING: Duration = Duration::from_secs(60);

/// What else is in the datastore.
const CLUSTERS: [(&str, Others); 2] = [
    ("alone", Others { policies: 0, endpoints: 0 }),
    ("beside 1,000 policies and 2,000 endpoints", Others { policies: 1_000, endpoints: 2_000 }),
];

/// Creates `changes` policies that deny, and as many that allow, alone and beside many others.
///
/// # Errors
/// The lab doesn't become ready, or a policy doesn't come into force.
pub(crate) fn measure(lab: &str, changes: u32) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::vxlan(lab, &[])?;
    let mut figures = Vec::new();
    for (beside, others) in CLUSTERS {
        let numbers = [changes, others.policies, others.endpoints].map(|n| n.to_string());
        let words = ["policy-latency", "--changes", &numbers[0]];
        let words = [&words[..], &["--policies", &numbers[1], "--endpoints", &numbers[2]]].concat();
        let latencies: Latencies = cluster.inside(NODE, &words, PER_CHANGE * changes + WRITING)?;
        for (what, latencies) in [("denies", latencies.deny), ("allows", latencies.allow)] {
            figures.extend(of_kind(&format!("new policy that {what}, {beside}"), &latencies)?);
        }
    }
    cluster.down()?;
    Ok(figures)
}

/// The answer may reach the writer later than the news reaches the agent, so the time from the
/// request is told, too: it holds the datastore's own.
fn of_kind(what: &str, latencies: &[Latency]) -> Result<[Figure; 4]> {
    let request = samples(latencies.iter().map(|latency| latency.from_request))?;
    let answer = samples(latencies.iter().map(|latency| latency.from_answer))?;
    let unit = Unit::Milliseconds;
    let (from_request, from_answer) =
        (format!("{what}, from the request"), format!("{what}, from the datastore's answer"));
    Ok([
        Figure::median(&from_request, &request, unit),
        Figure::p99(&from_request, &request, unit),
        Figure::median(&from_answer, &answer, unit)
            .wanted(Target::AtMost(8.0))
            .beside_calico("10–17 ms"),
        Figure::p99(&from_answer, &answer, unit).wanted(Target::AtMost(25.0)),
    ])
}

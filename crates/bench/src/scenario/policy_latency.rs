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
            let [from_request, from_answer] =
                of_kind(&format!("new policy that {what}, {beside}"), &latencies)?;
            let [median, p99] = from_answer;
            let median = median.wanted(Target::AtMost(8.0)).beside_calico("10–17 ms");
            figures.extend(from_request);
            figures.extend([median, p99.wanted(Target::AtMost(25.0))]);
        }
    }
    cluster.down()?;
    Ok(figures)
}

/// Median and 99th percentile from the request, and from the answer. That may reach the writer later
/// than the news reaches the agent; the time from the request holds the datastore's own.
pub(super) fn of_kind(what: &str, latencies: &[Latency]) -> Result<[[Figure; 2]; 2]> {
    let request = samples(latencies.iter().map(|latency| latency.from_request))?;
    let answer = samples(latencies.iter().map(|latency| latency.from_answer))?;
    let times = [("request", request), ("datastore's answer", answer)];
    Ok(times.map(|(from, samples)| {
        let what = format!("{what}, from the {from}");
        let unit = Unit::Milliseconds;
        [Figure::median(&what, &samples, unit), Figure::p99(&what, &samples, unit)]
    }))
}

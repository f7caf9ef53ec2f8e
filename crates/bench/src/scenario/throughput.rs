//! TCP between pods of two nodes, ours beside the same made by hand, in one lab, alternating.
//!
//! ```text
//! worker-1                                    worker-2
//!  pod-1 ─cali…─┐                        ┌─cali…─ pod-2    ours: vxlan.calico, tunl0, or Direct
//!  hand  ─hand0─┴── ens5 ── bridge ── ens5 ──┴─hand0─ hand    by hand: its own VXLAN, or routes
//! ```
//!
//! Both pass the same nodes with the same MTU (beside IP-in-IP, the VXLAN's is what fits: 30 bytes
//! less), so whatever the node itself costs (connection tracking for natOutgoing, for one) is in
//! both.

mod handmade;

use super::samples;
use crate::cluster::{Background, Cluster, SHORT, address_of, within};
use crate::figure::{Figure, Target, Unit};
use crate::iperf3;
use crate::pool::{Mode, RouteWatch};
use anyhow::Result;
use handmade::{Handmade, Way};
use std::net::IpAddr;
use std::time::Duration;

/// Two nodes of one subnet, with a pod each.
const NODES: [&str; 2] = ["worker-1", "worker-2"];
const PODS: [&str; 2] = ["pod-1", "pod-2"];
/// How long a server may take to listen.
const SERVER_START: Duration = Duration::from_secs(10);

/// How to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) runs: u32,
    pub(crate) seconds: u32,
}

/// Measures VXLAN, then Direct, in a lab without BGP; then IP-in-IP in one with it.
///
/// # Errors
/// A lab doesn't become ready, or iperf3 fails.
pub(crate) fn measure(lab: &str, plan: Plan) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::vxlan(lab, &[])?;
    let modes = [(Mode::Vxlan, Way::Vxlan), (Mode::Direct, Way::Routes)];
    let mut figures = measure_in(cluster, &modes, plan)?;
    let (cluster, _) = Cluster::up(lab, &[])?;
    figures.extend(measure_in(cluster, &[(Mode::Ipip, Way::Vxlan)], plan)?);
    Ok(figures)
}

/// Measures in one lab, whose pool has the first mode already.
fn measure_in(cluster: Cluster, modes: &[(Mode, Way)], plan: Plan) -> Result<Vec<Figure>> {
    let mut watch = RouteWatch::start(&cluster)?;
    let status = cluster.status()?;
    let server = address_of(&status, PODS[1])?;
    let _server = cluster.background(PODS[1], &iperf3::SERVER)?;
    let ours = Path { cluster: &cluster, prefix: vec![], from: PODS[0], to: server };
    let mut figures = Vec::new();
    for (number, (mode, way)) in modes.iter().copied().enumerate() {
        if number > 0 {
            watch.change(&cluster, mode)?;
        }
        watch.await_mode(mode)?;
        let hand = Handmade::build(&cluster, &status, way)?;
        let by_hand = Path {
            cluster: &cluster,
            prefix: handmade::enter(way),
            from: NODES[0],
            to: hand.server,
        };
        figures.extend(compare(mode, &ours, &by_hand, plan)?);
    }
    drop(watch);
    cluster.down()?;
    Ok(figures)
}

/// Where a client runs and what it connects to.
struct Path<'a> {
    cluster: &'a Cluster,
    /// Words before the client's, to enter a namespace of the node.
    prefix: Vec<&'static str>,
    from: &'a str,
    to: IpAddr,
}

impl Path<'_> {
    /// One run; what the receiver got, in Gbit/s.
    fn run(&self, seconds: u32) -> Result<f64> {
        let (to, time) = (self.to.to_string(), seconds.to_string());
        let client = ["iperf3", "-J", "-c", &to, "-t", &time];
        let words = [&self.prefix[..], &client].concat();
        let limit = Duration::from_secs(seconds.into()) + SHORT;
        iperf3::gigabits(&self.cluster.run(self.from, &words, limit)?.output)
    }
}

fn compare(mode: Mode, ours: &Path<'_>, hand: &Path<'_>, plan: Plan) -> Result<[Figure; 2]> {
    // Both warmed up, and their servers listening.
    within(SERVER_START, || ours.run(1))?;
    within(SERVER_START, || hand.run(1))?;
    let mut pairs = Vec::new();
    for round in 0..plan.runs {
        // Whoever comes second in one round comes first in the next.
        let pair = if round % 2 == 0 {
            let first = ours.run(plan.seconds)?;
            (first, hand.run(plan.seconds)?)
        } else {
            let first = hand.run(plan.seconds)?;
            (ours.run(plan.seconds)?, first)
        };
        pairs.push(pair);
    }
    figures(mode, &pairs)
}

/// Rates of neighbouring runs, ours first. Their ratio counts, as the machine's speed drifts.
fn figures(mode: Mode, pairs: &[(f64, f64)]) -> Result<[Figure; 2]> {
    let (what, peer, least) = match mode {
        Mode::Vxlan => ("pod-to-pod TCP, VXLAN", "VXLAN by hand", 0.95),
        Mode::Direct => ("pod-to-pod TCP, Direct", "plain routes", 0.95),
        Mode::Ipip => ("pod-to-pod TCP, IP-in-IP", "VXLAN by hand", 1.0),
    };
    let ours = samples(pairs.iter().map(|(ours, _)| *ours))?;
    let hand = samples(pairs.iter().map(|(_, hand)| *hand))?;
    let ratios = samples(pairs.iter().map(|(ours, hand)| ours / hand))?;
    Ok([
        Figure::median(what, &ours, Unit::GigabitsPerSecond).beside(peer, hand.median()),
        Figure::median(&format!("{what}, ratio to {peer}"), &ratios, Unit::Ratio)
            .wanted(Target::AtLeast(least)),
    ])
}

/// Keeps a server in a node's namespace running.
fn serve(cluster: &Cluster, node: &str, prefix: &[&str]) -> Result<Background> {
    cluster.background(node, &[prefix, &iperf3::SERVER].concat())
}

#[cfg(test)]
mod tests {
    use super::figures;
    use crate::pool::Mode;

    #[test]
    fn the_ratio_is_that_of_neighbouring_runs() {
        let pairs = [(9.0, 10.0), (1.0, 2.0), (8.0, 10.0)];
        let [rate, ratio] = figures(Mode::Vxlan, &pairs).unwrap();
        assert_eq!((rate.value, ratio.value, ratio.met), (8.0, 0.8, Some(false)));
        assert_eq!(rate.peers[0].value, "10.00 Gbit/s");
    }
}

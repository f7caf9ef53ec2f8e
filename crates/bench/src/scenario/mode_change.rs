//! A pool's change between VXLAN and Direct: until every node's routes have changed, and what a
//! ping between two nodes loses meanwhile.

use super::{milliseconds, samples};
use crate::cluster::{Background, Cluster, SHORT, address_of};
use crate::figure::{Figure, Target, Unit};
use crate::pool::{Mode, RouteWatch};
use crate::samples::Samples;
use anyhow::{Context, Result};
use std::io::Read;
use std::net::IpAddr;

/// A ping every 5 ms for 1.5 s: longer than a change may take by far.
const PINGS: u32 = 300;
const PING_INTERVAL_MS: u32 = 5;

/// How long changes took, in milliseconds.
pub(super) struct Changes {
    /// From calicoctl's start to all nodes' routes.
    from_start: Samples,
    /// From calicoctl's return.
    from_return: Samples,
    /// Pings lost × their interval.
    pub(super) outage: Samples,
}

/// Changes the pool `runs` times, there and back in turn.
///
/// # Errors
/// The lab doesn't become ready, or a node doesn't follow a change.
pub(crate) fn measure(lab: &str, runs: u32) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::vxlan(lab, &[])?;
    let target = address_of(&cluster.status()?, "pod-2")?;
    let changes = changes(&cluster, ("pod-1", &[]), target, runs)?;
    cluster.down()?;
    Ok(changes.figures("pool's mode change").into())
}

/// Changes the pool `runs` times, from VXLAN, while `target` is pinged: in a node or pod of the lab,
/// by words that a command there begins with.
///
/// # Errors
/// A node doesn't follow a change.
pub(super) fn changes(
    cluster: &Cluster,
    from: (&str, &[&str]),
    target: IpAddr,
    runs: u32,
) -> Result<Changes> {
    let mut watch = RouteWatch::start(cluster)?;
    watch.change(cluster, Mode::Vxlan)?;
    let (mut from_start, mut from_return, mut outage) = (Vec::new(), Vec::new(), Vec::new());
    let modes = [Mode::Direct, Mode::Vxlan].into_iter().cycle();
    for (mode, _) in modes.zip(0..runs) {
        let mut ping = Ping::start(cluster, from, target)?;
        let change = watch.change(cluster, mode)?;
        from_start.push(milliseconds(change.from_start));
        from_return.push(milliseconds(change.from_return));
        outage.push(f64::from(ping.lost()? * PING_INTERVAL_MS));
    }
    let (from_start, from_return) = (samples(from_start)?, samples(from_return)?);
    Ok(Changes { from_start, from_return, outage: samples(outage)? })
}

impl Changes {
    /// What is told of them, each beginning with `what`.
    fn figures(&self, what: &str) -> [Figure; 6] {
        let start = &format!("{what}, from calicoctl's start to all nodes' routes");
        let back = &format!("{what}, from calicoctl's return to all nodes' routes");
        let lost = &format!("{what}, pings lost × their interval");
        let most = Target::AtMost(500.0);
        [
            Figure::median(start, &self.from_start, Unit::Milliseconds),
            Figure::max(start, &self.from_start, Unit::Milliseconds),
            Figure::median(back, &self.from_return, Unit::Milliseconds),
            Figure::max(back, &self.from_return, Unit::Milliseconds).wanted(most),
            Figure::median(lost, &self.outage, Unit::Milliseconds).beside_calico("2400 ms"),
            Figure::max(lost, &self.outage, Unit::Milliseconds),
        ]
    }
}

/// A running ping.
struct Ping(Background);

impl Ping {
    /// Starts it and waits for the first answer.
    fn start(cluster: &Cluster, from: (&str, &[&str]), target: IpAddr) -> Result<Ping> {
        let (place, prefix) = from;
        let target = target.to_string();
        cluster.run(place, &[prefix, &["ping", "-c1", "-W5", &target]].concat(), SHORT)?;
        let (count, interval) = (PINGS.to_string(), f64::from(PING_INTERVAL_MS) / 1e3);
        let interval = interval.to_string();
        let words = ["ping", "-q", "-c", &count, "-i", &interval, "-W1", &target];
        let mut ping = cluster.background(place, &[prefix, &words].concat())?;
        let stdout = ping.0.stdout.as_mut().context("no pipe from ping")?;
        // Its first line says that it is about to send.
        let mut byte = [0];
        while byte != *b"\n" {
            stdout.read_exact(&mut byte).context("ping ended at its start")?;
        }
        Ok(Ping(ping))
    }

    /// Waits for its end; how many were not answered.
    fn lost(&mut self) -> Result<u32> {
        let mut text = String::new();
        let stdout = self.0.0.stdout.as_mut().context("no pipe from ping")?;
        stdout.read_to_string(&mut text).context("reading from ping")?;
        lost(&text).with_context(|| format!("ping's summary isn't understood: {text}"))
    }
}

/// From `300 packets transmitted, 298 received, 0.7% packet loss, time 1495ms`.
fn lost(summary: &str) -> Option<u32> {
    let line = summary.lines().find(|line| line.contains("packets transmitted"))?;
    let mut numbers = line.split(", ").map(|part| part.split(' ').next()?.parse::<u32>().ok());
    let (sent, received) = (numbers.next()??, numbers.next()??);
    Some(sent.saturating_sub(received))
}

#[cfg(test)]
mod tests {
    use super::lost;

    #[test]
    fn a_summary_says_what_was_lost() {
        let text = "\n--- 10.0.0.1 ping statistics ---\n\
                    300 packets transmitted, 298 received, 0.666667% packet loss, time 1532ms\n";
        assert_eq!(lost(text), Some(2));
        let text = "5 packets transmitted, 0 received, +5 errors, 100% packet loss, time 4ms";
        assert_eq!(lost(text), Some(5));
        assert_eq!(lost("ping: sendmsg: Network is unreachable"), None);
    }
}

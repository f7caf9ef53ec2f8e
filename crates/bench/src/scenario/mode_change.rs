//! A pool's change between VXLAN and Direct: until every node's routes have changed, and what a
//! ping between two nodes loses meanwhile.

use super::{milliseconds, samples};
use crate::cluster::{Background, Cluster, SHORT, address_of};
use crate::figure::{Figure, Target, Unit};
use crate::pool::{Mode, RouteWatch};
use anyhow::{Context, Result};
use std::io::Read;
use std::net::IpAddr;

/// A ping every 5 ms for 1.5 s: longer than a change may take by far.
const PINGS: u32 = 300;
const PING_INTERVAL_MS: u32 = 5;

/// Changes the pool `runs` times, there and back in turn.
///
/// # Errors
/// The lab doesn't become ready, or a node doesn't follow a change.
pub(crate) fn measure(lab: &str, runs: u32) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::vxlan(lab, &[])?;
    let target = address_of(&cluster.status()?, "pod-2")?;
    let mut watch = RouteWatch::start(&cluster)?;
    watch.await_mode(Mode::Vxlan)?;
    let (mut from_start, mut from_return, mut outage) = (Vec::new(), Vec::new(), Vec::new());
    let modes = [Mode::Direct, Mode::Vxlan].into_iter().cycle();
    for (mode, _) in modes.zip(0..runs) {
        let mut ping = Ping::start(&cluster, target)?;
        let change = watch.change(&cluster, mode)?;
        from_start.push(milliseconds(change.from_start));
        from_return.push(milliseconds(change.from_return));
        outage.push(f64::from(ping.lost()? * PING_INTERVAL_MS));
    }
    drop(watch);
    cluster.down()?;
    let (from_start, from_return) = (samples(from_start)?, samples(from_return)?);
    let outage = samples(outage)?;
    let start = "pool's mode change, from calicoctl's start to all nodes' routes";
    let back = "pool's mode change, from calicoctl's return to all nodes' routes";
    let lost = "pool's mode change, pings lost × their interval";
    Ok(vec![
        Figure::median(start, &from_start, Unit::Milliseconds),
        Figure::max(start, &from_start, Unit::Milliseconds),
        Figure::median(back, &from_return, Unit::Milliseconds),
        Figure::max(back, &from_return, Unit::Milliseconds).wanted(Target::AtMost(500.0)),
        Figure::median(lost, &outage, Unit::Milliseconds).beside_calico("2400 ms"),
        Figure::max(lost, &outage, Unit::Milliseconds),
    ])
}

/// A running ping from pod-1, which is on the first worker.
struct Ping(Background);

impl Ping {
    /// Starts it and waits for the first answer.
    fn start(cluster: &Cluster, target: IpAddr) -> Result<Ping> {
        let target = target.to_string();
        cluster.run("pod-1", &["ping", "-c1", "-W5", &target], SHORT)?;
        let (count, interval) = (PINGS.to_string(), f64::from(PING_INTERVAL_MS) / 1e3);
        let interval = interval.to_string();
        let words = ["ping", "-q", "-c", &count, "-i", &interval, "-W1", &target];
        let mut ping = cluster.background("pod-1", &words)?;
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

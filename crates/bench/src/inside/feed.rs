//! Feeds a BGP speaker from many peers and times when another peer has been told all of it.
//!
//! ```text
//!  10.98.0.1 ─┐ iBGP: prefixes            eBGP: everything
//!  10.98.0.2 ─┼────────────▶ speaker ───────────────────▶ collector 10.97.0.1
//!  …         ─┘              10.99.0.1
//! ```
//! The shape of a mesh whose node tells a router what it has learned. All addresses are on `lo` of
//! the namespace this runs in; the speaker is ours or BIRD, with the same peers.

mod peer;
mod speaker;

pub(crate) use speaker::{Speaker, run_ours};

use anyhow::{Context, Result};
use ipnet::{IpNet, Ipv4Net};
use linux::rtnetlink::Rtnetlink;
use peer::{Collector, Feeder};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The speaker's AS, and its iBGP peers'.
pub(super) const SPEAKER_AS: u32 = 64512;
/// The collector's AS.
pub(super) const COLLECTOR_AS: u32 = 65000;
/// The speaker's address.
pub(super) const SPEAKER: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// The collector's address.
pub(super) const COLLECTOR: Ipv4Addr = Ipv4Addr::new(10, 97, 0, 1);
/// Where feeders' addresses begin.
const FEEDERS: Ipv4Addr = Ipv4Addr::new(10, 98, 0, 1);
/// Where prefixes begin, and their length.
const PREFIXES: Ipv4Addr = Ipv4Addr::new(20, 0, 0, 0);
const PREFIX_LENGTH: u8 = 30;
/// Prefixes that share one set of attributes.
pub(super) const SAME_ATTRIBUTES: usize = 100;
/// How long it may take in all.
pub(super) const LIMIT: Duration = Duration::from_secs(120);

/// What it came to.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Fed {
    /// From the first UPDATE sent until the collector has every prefix.
    pub(crate) seconds: f64,
    /// The speaker's resident memory then, in MiB.
    pub(crate) resident: f64,
    /// The most it ever had.
    pub(crate) peak: f64,
}

/// Feeds `speaker` from `peers` peers with `prefixes` prefixes each.
///
/// # Errors
/// The speaker doesn't start, ends a session, or hasn't told everything in time.
pub(crate) fn measure(speaker: Speaker, peers: u32, prefixes: u32) -> Result<Fed> {
    let mut netlink = Rtnetlink::open()?;
    let feeders: Vec<Ipv4Addr> = (0..peers).map(feeder_address).collect();
    for address in feeders.iter().chain([&SPEAKER, &COLLECTOR]) {
        match netlink.add_address("lo", IpNet::from(std::net::IpAddr::from(*address))) {
            Err(error) if !error.is_present() => return Err(error.into()),
            _ => {}
        }
    }
    let running = speaker::start(speaker, &feeders)?;
    let total = (peers * prefixes) as usize;
    let collector = Collector::connect(COLLECTOR, total)?;
    let start = Barrier::new(feeders.len() + 1);
    let (begun, ended) = std::thread::scope(|scope| -> Result<(Instant, Instant)> {
        let mut threads = Vec::new();
        for (number, address) in feeders.iter().enumerate() {
            let own = own_prefixes(number, prefixes as usize);
            let start = &start;
            threads.push(scope.spawn(move || {
                // Everybody waits for everybody, also for one that has failed.
                let feeder = Feeder::connect(*address, &own);
                start.wait();
                feeder?.feed()
            }));
        }
        start.wait();
        let begun = Instant::now();
        let ended = collector.collect()?;
        for thread in threads {
            let outcome = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // Its sockets stay open until here, or its routes would go.
            drop(outcome?);
        }
        Ok((begun, ended))
    })?;
    let memory = running.memory();
    let (resident, peak) = memory.context("the speaker's memory")?;
    Ok(Fed { seconds: (ended - begun).as_secs_f64(), resident, peak })
}

fn feeder_address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FEEDERS.to_bits() + number)
}

/// A feeder's prefixes: nobody else's.
fn own_prefixes(feeder: usize, count: usize) -> Vec<IpNet> {
    let size = 1 << (32 - PREFIX_LENGTH);
    let prefix = |index: usize| {
        let base = PREFIXES.to_bits() + index as u32 * size;
        IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::from_bits(base), PREFIX_LENGTH))
    };
    (feeder * count..(feeder + 1) * count).map(prefix).collect()
}

/// Which of all prefixes this is.
pub(super) fn index(prefix: IpNet) -> Option<usize> {
    let IpNet::V4(net) = prefix else { return None };
    let offset = net.addr().to_bits().checked_sub(PREFIXES.to_bits())?;
    (net.prefix_len() == PREFIX_LENGTH).then_some(offset as usize >> (32 - PREFIX_LENGTH))
}

#[cfg(test)]
mod tests {
    use super::{index, own_prefixes};

    #[test]
    fn every_prefix_has_its_number() {
        let all: Vec<_> = (0..3).flat_map(|feeder| own_prefixes(feeder, 5)).collect();
        let numbers: Vec<_> = all.iter().map(|prefix| index(*prefix)).collect();
        assert_eq!(numbers, (0..15).map(Some).collect::<Vec<_>>());
        assert_eq!(index("10.0.0.0/30".parse().unwrap()), None);
    }
}

//! A BGP speaker fed by many peers, ours beside BIRD, alternating.

use super::samples;
use crate::cluster::Cluster;
use crate::figure::{Figure, Unit};
use crate::inside::feed::Fed;
use anyhow::{Context, Result};
use std::time::Duration;

/// Where it is measured: a machine of the lab on which no agent runs.
const PLACE: &str = "outside";
/// How long one feed may take.
const LIMIT: Duration = Duration::from_secs(150);

/// What is fed, and how often each speaker is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Feed {
    pub(crate) peers: u32,
    pub(crate) prefixes: u32,
    pub(crate) runs: u32,
}

/// A mesh as large as Calico recommends, and as many routes as the Internet has.
pub(crate) const FEEDS: [Feed; 2] =
    [Feed { peers: 250, prefixes: 20, runs: 7 }, Feed { peers: 10, prefixes: 100_000, runs: 3 }];

/// Feeds both speakers, in turn.
///
/// # Errors
/// The lab doesn't become ready, or a speaker doesn't tell everything in time.
pub(crate) fn measure(lab: &str, feeds: &[Feed]) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::vxlan(lab, &[])?;
    let mut figures = Vec::new();
    for feed in feeds {
        let (mut ours, mut bird) = (Vec::new(), Vec::new());
        for _ in 0..feed.runs {
            ours.push(fed(&cluster, "calico", *feed)?);
            bird.push(fed(&cluster, "bird", *feed)?);
        }
        figures.extend(compare(*feed, &ours, &bird)?);
    }
    cluster.down()?;
    Ok(figures)
}

fn fed(cluster: &Cluster, speaker: &str, feed: Feed) -> Result<Fed> {
    let (peers, prefixes) = (feed.peers.to_string(), feed.prefixes.to_string());
    let words = ["feed", "--speaker", speaker, "--peers", &peers, "--prefixes", &prefixes];
    cluster.inside(PLACE, &words, LIMIT).with_context(|| format!("feeding {speaker}"))
}

fn compare(feed: Feed, ours: &[Fed], bird: &[Fed]) -> Result<[Figure; 2]> {
    let what = format!("BGP, {} peers × {} prefixes", feed.peers, feed.prefixes);
    let median = |fed: &[Fed], value: fn(&Fed) -> f64| samples(fed.iter().map(value));
    let seconds = |fed: &[Fed]| median(fed, |fed| fed.seconds * 1e3);
    let peak = |fed: &[Fed]| median(fed, |fed| fed.peak);
    Ok([
        Figure::median(&format!("{what}, all told"), &seconds(ours)?, Unit::Milliseconds)
            .beside("BIRD 2", seconds(bird)?.median()),
        Figure::median(&format!("{what}, peak memory"), &peak(ours)?, Unit::Mebibytes)
            .beside("BIRD 2", peak(bird)?.median()),
    ])
}

#[cfg(test)]
mod tests {
    use super::{Feed, compare};
    use crate::inside::feed::Fed;

    #[test]
    fn ours_stands_beside_bird() {
        let feed = Feed { peers: 2, prefixes: 3, runs: 1 };
        let fed = |seconds, peak| Fed { seconds, resident: 1.0, peak };
        let [time, memory] = compare(feed, &[fed(0.5, 8.0)], &[fed(0.7, 9.0)]).unwrap();
        assert_eq!((time.value, memory.value), (500.0, 8.0));
        assert_eq!(time.peers[0].value, "700 ms");
        assert_eq!(memory.peers[0].value, "9.0 MiB");
    }
}

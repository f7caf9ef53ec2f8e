//! What policies cost packets: three clusters that differ in nothing but how many policies there
//! are, measured in turn.
//!
//! Each is a lab of one node with 32 pods, and 1,000 endpoints of other nodes in the datastore. With
//! 10 policies all endpoints are in one group; with 10,000 they are in 1,000 groups. Each endpoint
//! has ten policies in both, of 47 rules; packets between two pods of a group are allowed by the
//! last rule of the last one. Without policies the pods' profile allows them.

use super::samples;
use crate::cluster::{Background, Cluster};
use crate::figure::{Figure, Target, Unit};
use crate::inside::packets::{Packets, READY};
use crate::program;
use crate::samples::Samples;
use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout};
use std::thread::JoinHandle;

const NODE: &str = "node-1";
/// Nothing but the node.
const TOPOLOGY: &str = "
backend: vxlan
pods: []
subnets: [{name: blue, cidrs: [10.1.0.0/24]}]
nodes: [{name: node-1, uplinks: [{subnet: blue, addresses: [10.1.0.5]}]}]
";
/// Policies of each cluster.
const POLICIES: [u32; 3] = [0, 10, 10_000];

/// What one round found: without policies, with few, with many.
type Round = [Packets; 3];

/// Measures `runs` times in each cluster.
///
/// # Errors
/// A lab doesn't become ready, policies don't come into force, or packets are lost.
pub(crate) fn measure(lab: &str, runs: u32) -> Result<Vec<Figure>> {
    let mut sites = Vec::new();
    for policies in POLICIES {
        sites.push(Site::up(&format!("{lab}-{policies}"), policies)?);
    }
    let mut rounds = Vec::new();
    for round in 0..runs {
        let mut packets = [None; 3];
        // Each comes first, second and last as often as the others.
        for turn in 0..POLICIES.len() {
            let site = (turn + usize::try_from(round)?) % POLICIES.len();
            packets[site] = Some(sites[site].measure()?);
        }
        let [Some(none), Some(few), Some(many)] = packets else { continue };
        rounds.push([none, few, many]);
    }
    for site in sites {
        site.down()?;
    }
    figures(&rounds)
}

/// A cluster with a program in its node that measures when told to.
struct Site {
    cluster: Cluster,
    program: Background,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What it says beside; of interest where it fails.
    errors: Option<JoinHandle<Vec<u8>>>,
}

impl Site {
    fn up(name: &str, policies: u32) -> Result<Site> {
        let (cluster, _) = Cluster::of_topology(name, TOPOLOGY, &[])?;
        let policies = policies.to_string();
        let words = ["calico", "bench", "inside", "policy-cost", "--policies", &policies];
        let mut program = cluster.conversation(NODE, &words)?;
        let input = program.0.stdin.take().context("no pipe to the program that measures")?;
        let output = program.0.stdout.take().context("no pipe from the program that measures")?;
        let errors = Some(program::read(program.0.stderr.take()));
        let output = BufReader::new(output);
        let mut site = Site { cluster, program, input, output, errors };
        let said = site.line()?;
        ensure!(said == READY, "not understood: {said}");
        Ok(site)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let count = self.output.read_line(&mut line).context("reading what was measured")?;
        if count == 0 {
            let errors = self.errors.take().map(program::finish).unwrap_or_default();
            bail!("the program that measures has ended: {}", errors.trim_end());
        }
        Ok(line.trim_end().to_owned())
    }

    fn measure(&mut self) -> Result<Packets> {
        writeln!(self.input).context("asking for another measurement")?;
        let line = self.line()?;
        serde_json::from_str(&line).with_context(|| format!("not understood: {line}"))
    }

    fn down(self) -> Result<()> {
        // First the program, which has the pods.
        let Site { cluster, program, .. } = self;
        drop(program);
        cluster.down().map(drop)
    }
}

/// One figure of a measurement.
type Part = fn(&Packets) -> f64;

/// Ratios are those of one round, as the machine's speed drifts.
fn figures(rounds: &[Round]) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    let costs: [(&str, Part, f64); 2] = [
        ("UDP round trip, established", |packets| packets.round_trip, 1.05),
        ("new TCP connection", |packets| packets.connection, 1.15),
    ];
    for (what, part, most) in costs {
        let [none, few, many] = parts(rounds, part)?;
        for (policies, with) in [("10 policies", few), ("10,000 policies", many)] {
            figures.push(
                Figure::median(&format!("{what}, {policies}"), &with, Unit::Microseconds)
                    .beside("no policies", none.median()),
            );
        }
        let what = format!("{what}, 10,000 policies to 10");
        let ratios = samples(rounds.iter().map(|[_, few, many]| part(many) / part(few)))?;
        figures.push(Figure::median(&what, &ratios, Unit::Ratio).wanted(Target::AtMost(most)));
    }
    let what = "TCP stream in a node, 10,000 policies";
    let [none, few, many] = parts(rounds, |packets| packets.stream)?;
    figures.push(
        Figure::median(what, &many, Unit::GigabitsPerSecond)
            .beside("no policies", none.median())
            .beside("10 policies", few.median()),
    );
    let to_few = rounds.iter().map(|[_, few, many]| many.stream / few.stream);
    let to_none = rounds.iter().map(|[none, _, many]| many.stream / none.stream);
    for (peer, ratios) in [("10", samples(to_few)?), ("no policies", samples(to_none)?)] {
        figures.push(
            Figure::median(&format!("{what} to {peer}"), &ratios, Unit::Ratio)
                .wanted(Target::AtLeast(0.95)),
        );
    }
    Ok(figures)
}

fn parts(rounds: &[Round], part: impl Fn(&Packets) -> f64) -> Result<[Samples; 3]> {
    let of = |site: usize| samples(rounds.iter().map(|round| part(&round[site])));
    Ok([of(0)?, of(1)?, of(2)?])
}

#[cfg(test)]
mod tests {
    use super::figures;
    use crate::inside::packets::Packets;

    #[test]
    fn ratios_are_of_the_same_round() {
        let packets = |speed: f64| Packets {
            round_trip: 10.0 / speed,
            connection: 50.0 / speed,
            stream: 20.0 * speed,
        };
        // The machine is three times as slow in the second round.
        let round = |speed: f64| [packets(speed), packets(speed / 1.01), packets(speed / 1.1)];
        let figures = figures(&[round(1.0), round(1.0 / 3.0), round(1.0)]).unwrap();
        let judged = figures.iter().filter_map(|figure| Some((&*figure.what, figure.met?)));
        let expected = [
            ("UDP round trip, established, 10,000 policies to 10, median", false),
            ("new TCP connection, 10,000 policies to 10, median", true),
            ("TCP stream in a node, 10,000 policies to 10, median", false),
            ("TCP stream in a node, 10,000 policies to no policies, median", false),
        ];
        assert_eq!(judged.collect::<Vec<_>>(), expected);
    }
}

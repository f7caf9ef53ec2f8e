//! A mesh of many nodes whose agents start at once: until all sessions are Established and every
//! kernel has all routes.

use super::samples;
use crate::cluster::{Background, Cluster, SHORT};
use crate::figure::{Figure, Target, Unit};
use crate::inside::mesh::{Member, WATCHING};
use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use std::fmt::Write;
use std::io::{BufRead, BufReader};
use std::process::ChildStdout;

/// Nodes of one subnet. All namespaces of a machine share one limit of neighbors (`gc_thresh3`,
/// 1,024; beyond `gc_thresh2`, 512, they are collected): 50 nodes of one subnet would need 2,500,
/// and ARP would fail for half a minute.
const SUBNET_NODES: usize = 5;

/// How large a mesh, and how often it is started.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mesh {
    pub(crate) nodes: usize,
    pub(crate) runs: u32,
}

/// What one start came to.
#[derive(Clone, Debug)]
struct Start {
    /// From when the last agent listened until the last route was in its kernel.
    seconds: f64,
    /// Each agent's resident memory, in MiB.
    resident: Vec<f64>,
}

/// Starts the mesh's agents several times.
///
/// # Errors
/// The lab doesn't become ready, or a session or route doesn't come.
pub(crate) fn measure(lab: &str, mesh: Mesh) -> Result<Vec<Figure>> {
    let (cluster, _) = Cluster::of_topology(lab, &topology(mesh.nodes), &[])?;
    let names: Vec<String> = (0..mesh.nodes).map(name).collect();
    let starts: Vec<Start> =
        (0..mesh.runs).map(|_| start(&cluster, &names)).collect::<Result<_>>()?;
    cluster.down()?;
    figures(mesh.nodes, &starts)
}

fn name(number: usize) -> String {
    format!("node-{}", number + 1)
}

/// Nodes in small subnets, without pods: IP-in-IP gives each one a block, for its tunnel's address.
fn topology(nodes: usize) -> String {
    let mut text =
        "backend: bird\nencapsulation: {ipipMode: Always}\npods: []\nsubnets:\n".to_owned();
    for subnet in 0..nodes.div_ceil(SUBNET_NODES) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "- {{name: s{subnet}, cidrs: [10.{}.0.0/24]}}", 30 + subnet);
    }
    text += "nodes:\n";
    for number in 0..nodes {
        let subnet = number / SUBNET_NODES;
        // Nor can this.
        let _ = writeln!(
            text,
            "- {{name: {}, uplinks: [{{subnet: s{subnet}, addresses: [10.{}.0.{}]}}]}}",
            name(number),
            30 + subnet,
            number + 10
        );
    }
    text
}

/// Stops all agents, removes what they have learned, and starts them at once.
fn start(cluster: &Cluster, names: &[String]) -> Result<Start> {
    cluster.agents("stop", names)?;
    let others = names.len() - 1;
    everywhere(names, |name| cluster.shell(name, "ip route flush proto bird"))?;
    let watches = everywhere(names, |name| Watch::start(cluster, name, others))?;
    let started = Timestamp::now();
    cluster.agents("start", names)?;
    let routed = watches.into_iter().map(Watch::end).collect::<Result<Vec<Timestamp>>>()?;
    let members: Vec<Member> =
        everywhere(names, |name| cluster.inside(name, &["mesh-member"], SHORT))?;
    for (name, member) in names.iter().zip(&members) {
        ensure!(member.listening >= started, "{name}: its log doesn't say when it listened");
        let established = member.established;
        ensure!(established == others, "{name}: {established} of {others} sessions Established");
    }
    summary(&routed, &members)
}

fn summary(routed: &[Timestamp], members: &[Member]) -> Result<Start> {
    let listening = members.iter().map(|member| member.listening).max();
    let (Some(routed), Some(listening)) = (routed.iter().max(), listening) else {
        bail!("a mesh without nodes");
    };
    let seconds = routed.duration_since(listening).as_secs_f64();
    Ok(Start { seconds, resident: members.iter().map(|member| member.resident).collect() })
}

/// Does something for all nodes at the same time.
fn everywhere<T: Send>(names: &[String], act: impl Fn(&str) -> Result<T> + Sync) -> Result<Vec<T>> {
    std::thread::scope(|scope| {
        let act = &act;
        let threads: Vec<_> =
            names.iter().map(|name| (name, scope.spawn(move || act(name)))).collect();
        let ended = threads.into_iter().map(|(name, thread)| {
            let result = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            result.with_context(|| name.clone())
        });
        ended.collect()
    })
}

/// A program in a node that hears of its routes.
struct Watch {
    node: String,
    output: BufReader<ChildStdout>,
    _program: Background,
}

impl Watch {
    /// Nothing can escape it once this returns.
    fn start(cluster: &Cluster, node: &str, count: usize) -> Result<Watch> {
        let count = count.to_string();
        let words = ["calico", "bench", "inside", "mesh-routes", &count];
        let mut program = cluster.background(node, &words)?;
        let output = program.0.stdout.take().context("no pipe from the route watch")?;
        let mut watch =
            Watch { node: node.into(), output: BufReader::new(output), _program: program };
        let line = watch.line()?;
        ensure!(line == WATCHING, "the route watch says {line:?}");
        Ok(watch)
    }

    /// When the node had all routes. The program ends by itself where they don't come.
    fn end(mut self) -> Result<Timestamp> {
        let line = self.line()?;
        line.parse().with_context(|| {
            format!("{}: not all routes came; see `calicoctl node status` there", self.node)
        })
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output.read_line(&mut line).context("reading from the route watch")?;
        Ok(line.trim_end().to_owned())
    }
}

fn figures(nodes: usize, starts: &[Start]) -> Result<Vec<Figure>> {
    let what = format!("BGP mesh of {nodes} nodes");
    let seconds = samples(starts.iter().map(|start| start.seconds))?;
    let resident = samples(starts.iter().flat_map(|start| start.resident.clone()))?;
    let (time, memory) = (format!("{what}, all sessions and routes"), format!("{what}, agent"));
    let (seconds_max, resident_max) = (Target::AtMost(2.0), Target::AtMost(25.0));
    Ok(vec![
        Figure::median(&time, &seconds, Unit::Seconds).wanted(seconds_max),
        Figure::max(&time, &seconds, Unit::Seconds),
        Figure::median(&memory, &resident, Unit::Mebibytes),
        Figure::max(&memory, &resident, Unit::Mebibytes).wanted(resident_max),
    ])
}

#[cfg(test)]
mod tests {
    use super::{Start, figures, summary, topology};
    use crate::inside::mesh::Member;
    use jiff::Timestamp;

    fn at(text: &str) -> Timestamp {
        format!("2026-11-24T00:00:{text}Z").parse().unwrap()
    }

    #[test]
    fn time_runs_from_the_last_listener_to_the_last_route() {
        let member = |text| Member { listening: at(text), established: 1, resident: 9.0 };
        let start = summary(&[at("02.5"), at("03")], &[member("01"), member("01.5")]).unwrap();
        assert_eq!((start.seconds, start.resident), (1.5, vec![9.0, 9.0]));
    }

    #[test]
    fn memory_is_that_of_all_agents() {
        let start = |seconds, resident: &[f64]| Start { seconds, resident: resident.into() };
        let figures = figures(2, &[start(1.0, &[8.0, 9.0]), start(3.0, &[10.0, 26.0])]).unwrap();
        let values: Vec<_> = figures.iter().map(|figure| (figure.value, figure.met)).collect();
        let expected = [(2.0, Some(true)), (3.0, None), (9.5, None), (26.0, Some(false))];
        assert_eq!(values, expected);
    }

    #[test]
    fn a_topology_has_all_nodes_in_small_subnets() {
        let text = topology(12);
        let nodes: Vec<_> = text.lines().filter(|line| line.starts_with("- {name: node")).collect();
        assert_eq!(nodes.len(), 12);
        assert_eq!(nodes[0], "- {name: node-1, uplinks: [{subnet: s0, addresses: [10.30.0.10]}]}");
        assert_eq!(
            nodes[11],
            "- {name: node-12, uplinks: [{subnet: s2, addresses: [10.32.0.21]}]}"
        );
    }
}

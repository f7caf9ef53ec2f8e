//! The default pool's mode: changed by an operator, and in force when every node's routes follow.

use crate::cluster::{Background, Cluster, SHORT, address_of};
use anyhow::{Context, Result, anyhow};
use std::io::{BufRead, BufReader};
use std::net::IpAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How long a change may take before something is wrong.
const LIMIT: Duration = Duration::from_secs(30);

/// A pool's mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// vxlanMode Always.
    Vxlan,
    /// Both modes Never.
    Direct,
    /// ipipMode Always.
    Ipip,
}

/// How long a change took.
pub(crate) struct Change {
    /// From the start of calicoctl until every node's routes had changed.
    pub(crate) from_start: Duration,
    /// From calicoctl's return; zero where the nodes were faster than that.
    pub(crate) from_return: Duration,
}

/// A program per node that says by which device other nodes' pods are routed.
pub(crate) struct RouteWatch {
    nodes: Vec<Node>,
    lines: Receiver<Line>,
    _programs: Vec<Background>,
}

struct Node {
    name: String,
    device: Option<(String, Instant)>,
}

struct Line {
    node: usize,
    device: String,
    arrived: Instant,
}

impl Mode {
    /// Of the pool's routes that go by this device.
    fn of_device(device: &str) -> Mode {
        match device {
            "vxlan.calico" => Mode::Vxlan,
            "tunl0" => Mode::Ipip,
            _ => Mode::Direct,
        }
    }

    fn patch(self) -> &'static str {
        match self {
            Mode::Vxlan => r#"{"spec":{"ipipMode":"Never","vxlanMode":"Always"}}"#,
            Mode::Direct => r#"{"spec":{"ipipMode":"Never","vxlanMode":"Never"}}"#,
            Mode::Ipip => r#"{"spec":{"ipipMode":"Always","vxlanMode":"Never"}}"#,
        }
    }
}

impl RouteWatch {
    /// Watches every node's routes to the pods of the others.
    pub(crate) fn start(cluster: &Cluster) -> Result<RouteWatch> {
        let status = cluster.status()?;
        let (sender, lines) = channel();
        let mut watch = RouteWatch { nodes: Vec::new(), lines, _programs: Vec::new() };
        // A pod on its node's own network is routed as the node is.
        let of_node = |address| status.nodes.iter().any(|node| node.addresses.contains(address));
        let pods = status.pods.iter().filter(|pod| !pod.addresses.iter().any(of_node));
        for node in &status.nodes {
            let elsewhere = pods.clone().filter(|pod| pod.node != node.name);
            let addresses = elsewhere.map(|pod| address_of(&status, &pod.name));
            let addresses: Vec<IpAddr> = addresses.collect::<Result<_>>()?;
            let addresses: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
            let mut words = vec!["calico", "bench", "inside", "routes"];
            words.extend(addresses.iter().map(String::as_str));
            let program = cluster.background(&node.name, &words)?;
            watch.add(&node.name, program, sender.clone())?;
        }
        Ok(watch)
    }

    fn add(&mut self, name: &str, mut program: Background, sender: Sender<Line>) -> Result<()> {
        let node = self.nodes.len();
        let stdout = program.0.stdout.take().context("no pipe from the route watch")?;
        std::thread::spawn(move || {
            for device in BufReader::new(stdout).lines().map_while(Result::ok) {
                let line = Line { node, device, arrived: Instant::now() };
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        self.nodes.push(Node { name: name.into(), device: None });
        self._programs.push(program);
        Ok(())
    }

    /// Waits until every node routes by the mode's device; when the last one did so.
    ///
    /// # Errors
    /// A node doesn't: which.
    pub(crate) fn await_mode(&mut self, mode: Mode) -> Result<Instant> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let there = |node: &&Node| {
                node.device.as_ref().is_some_and(|(device, _)| Mode::of_device(device) == mode)
            };
            let missing: Vec<&str> =
                self.nodes.iter().filter(|node| !there(node)).map(|node| &*node.name).collect();
            let last = self.nodes.iter().filter_map(|node| Some(node.device.as_ref()?.1)).max();
            if let (true, Some(last)) = (missing.is_empty(), last) {
                return Ok(last);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(Line { node, device, arrived }) => {
                    self.nodes[node].device = Some((device, arrived));
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    let nodes = missing.join(", ");
                    return Err(anyhow!(
                        "not within {LIMIT:?}: {nodes} route other nodes' pods as {mode:?}; \
                         see `calicoctl node status` there"
                    ));
                }
            }
        }
    }

    /// Changes the default pool with calicoctl on the first node, and waits until it is in force.
    ///
    /// # Errors
    /// calicoctl fails, or a node doesn't follow.
    pub(crate) fn change(&mut self, cluster: &Cluster, mode: Mode) -> Result<Change> {
        let first = self.nodes.first().context("a lab without nodes")?.name.clone();
        let words = ["calicoctl", "patch", "ippool", "default-ipv4-ippool", "-p", mode.patch()];
        let finished = cluster.run(&first, &words, SHORT)?;
        let last = self.await_mode(mode)?;
        let from_start = last.saturating_duration_since(finished.started);
        Ok(Change { from_start, from_return: from_start.saturating_sub(finished.took) })
    }
}

//! Waiting until the lab works: datastore, agents, routes. Every wait has an end, and an error that
//! names which node lacks what.

use super::{Lab, calico};
use crate::fabric::unicast_destinations;
use crate::protocol::{NodeRequest, Program};
use crate::topology::{Backend, Node, Topology};
use anyhow::{Context, Result, anyhow, bail};
use ipnet::IpNet;
use serde_json::Value;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// How long the datastore may take to listen.
const DATASTORE_WAIT: Duration = Duration::from_secs(20);
/// How long an agent may take to be ready.
const AGENT_WAIT: Duration = Duration::from_secs(40);
/// How long routes may take once every agent is ready.
const ROUTES_WAIT: Duration = Duration::from_secs(30);
/// Between one look and the next.
const PAUSE: Duration = Duration::from_millis(50);

/// A block of addresses and the node that has it.
struct Block {
    cidr: IpNet,
    node: String,
}

impl Lab {
    pub(super) fn await_datastore(&self, topology: &Topology, node: &str) -> Result<()> {
        let address = calico::datastore_address(topology).context("no datastore address")?;
        let network = self.machines.network(node)?;
        let connect = || Ok(network.run(|| TcpStream::connect(address).map(drop))??);
        until(DATASTORE_WAIT, PAUSE, connect).map_err(|error| {
            let log = self.log_tail(node, calico::DATASTORE);
            anyhow!("{node}: the datastore doesn't answer on {address}: {error:#}{log}")
        })
    }

    pub(super) fn await_agent(&self, node: &Node) -> Result<()> {
        if self.stopped_agents().contains(&node.name) {
            return Ok(());
        }
        // Not -bird-ready: a peer may be off, or not started yet.
        self.await_probe(node, &calico::felix_probe(&self.topology(), node))
    }

    /// Waits until all that a node's readiness is made of holds, its BGP sessions too.
    pub(super) fn await_ready(&self, node: &Node) -> Result<()> {
        self.await_probe(node, &calico::readiness_probe(&self.topology(), node))
    }

    fn await_probe(&self, node: &Node, probe: &Program) -> Result<()> {
        let ask = || self.machines.run(&node.name, probe.clone(), String::new()).map(drop);
        until(AGENT_WAIT, PAUSE, ask).map_err(|error| {
            let log = self.log_tail(&node.name, calico::AGENT);
            let waited = AGENT_WAIT.as_secs();
            anyhow!("{}: calico-node isn't ready after {waited} s: {error:#}{log}", node.name)
        })
    }

    /// Waits until every node has a route to every other node's blocks, unless nobody makes them
    /// or faults keep them away.
    pub(super) fn await_routes(&self) -> Result<()> {
        if self.topology().backend == Backend::None || !self.faults().is_empty() {
            return Ok(());
        }
        until(ROUTES_WAIT, PAUSE, || self.check_routes()).map_err(|error| {
            let waited = ROUTES_WAIT.as_secs();
            anyhow!("after {waited} s: {error:#}")
        })
    }

    fn check_routes(&self) -> Result<()> {
        let topology = self.topology().clone();
        let blocks = self.blocks(&topology)?;
        for node in &topology.nodes {
            if !self.machines.is_running(&node.name) || self.stopped_agents().contains(&node.name) {
                continue;
            }
            let network = self.machines.network(&node.name)?;
            let routes = network.run(unicast_destinations)??;
            let others = blocks.iter().filter(|block| block.node != node.name);
            let missing: Vec<String> = others
                .filter(|block| !routes.contains(&block.cidr))
                .map(|block| format!("{} ({})", block.cidr, block.node))
                .collect();
            if !missing.is_empty() {
                let log = self.log_tail(&node.name, calico::AGENT);
                bail!("{}: no route to {}{log}", node.name, missing.join(", "));
            }
        }
        Ok(())
    }

    /// The blocks that running nodes have, as calicoctl tells.
    fn blocks(&self, topology: &Topology) -> Result<Vec<Block>> {
        let node = topology.datastore_node().context("no node for the datastore")?;
        let program = Program::new(&["calicoctl", "get", "blockaffinities", "-o", "json"]);
        let text = self.machines.run(&node.name, program, String::new())?;
        let list: Value = serde_json::from_str(&text).context("calicoctl's answer isn't JSON")?;
        let items = list["items"].as_array().context("calicoctl's answer isn't a list")?;
        let blocks = items.iter().filter_map(|item| {
            let spec = &item["spec"];
            let cidr = spec["cidr"].as_str()?.parse().ok()?;
            Some(Block { cidr, node: spec["node"].as_str()?.to_owned() })
        });
        let running = |block: &Block| self.machines.is_running(&block.node);
        Ok(blocks.filter(running).collect())
    }

    /// The end of a supervised program's log, ready to be added to a message.
    pub(super) fn log_tail(&self, node: &str, name: &str) -> String {
        let request = NodeRequest::LogTail { name: name.to_owned() };
        match self.machines.ask::<String>(node, &request) {
            Ok(tail) => {
                let lines: String = tail.lines().map(|line| format!("\n  {line}")).collect();
                format!("\nlast lines of {node}:/var/log/calico/{name}.log:{lines}")
            }
            Err(error) => format!("\nits log could not be read: {error:#}"),
        }
    }
}

/// Tries until it works.
///
/// # Errors
/// The last attempt's, once `limit` has passed.
pub(super) fn until(
    limit: Duration,
    pause: Duration,
    mut attempt: impl FnMut() -> Result<()>,
) -> Result<()> {
    let deadline = Instant::now() + limit;
    loop {
        match attempt() {
            Err(_) if Instant::now() < deadline => std::thread::sleep(pause),
            outcome => return outcome,
        }
    }
}

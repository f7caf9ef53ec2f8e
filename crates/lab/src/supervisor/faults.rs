//! Faults of the cloud, brought about and ended; agents stopped and started.

use super::{Lab, calico};
use crate::faults::{self, BGP_PORT, Fault, Port, Setting, TABLE, Traffic};
use crate::protocol::{FaultStatus, NodeRequest};
use crate::topology::Topology;
use anyhow::{Context, Result, bail};
use kernel::nft::{Family, Verdict, diff};
use linux::connections::end_connections;
use linux::nft::Nft;
use linux::rtnetlink::{Rtnetlink, SEGMENTS_MAX};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{MutexGuard, PoisonError};

/// VXLAN's port, unless the topology configures another.
const VXLAN_PORT: u16 = 4789;
/// Attempts at a transaction that a node's end came in between of.
const ATTEMPTS_MAX: usize = 5;

impl Lab {
    pub(super) fn faults(&self) -> MutexGuard<'_, BTreeSet<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn fault_set(&self, settings: Vec<Setting>) -> Result<()> {
        let _changing = self.start_change();
        let topology = self.topology().clone();
        for setting in &settings {
            if let Setting::On(Fault::Partition(node)) = setting {
                self.find_machine(&topology, node)?;
            }
        }
        let before = self.faults().clone();
        self.change_faults(faults::with(&before, settings))?;
        let bgp = Fault::Block(Traffic::Bgp);
        if self.faults().contains(&bgp) && !before.contains(&bgp) {
            self.end_bgp_sessions()?;
        }
        Ok(())
    }

    pub(super) fn fault_clear(&self, names: &[String]) -> Result<()> {
        let _changing = self.start_change();
        let before = self.faults().clone();
        let left = faults::without(&before, names).map_err(|name| {
            let there: Vec<String> = before.iter().map(Fault::to_string).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            anyhow::anyhow!("no fault {name:?} is set in lab {}; there is {there}", self.name)
        })?;
        self.change_faults(left)
    }

    /// Each fault, with how many frames it has dropped since it was set.
    pub(super) fn fault_statuses(&self) -> Result<Vec<FaultStatus>> {
        let mut dropped = BTreeMap::new();
        for counter in Nft::open()?.counters(Family::Netdev, TABLE)? {
            if counter.rule.verdict == Verdict::Drop {
                *dropped.entry(counter.rule.comment).or_insert(0) += counter.packets;
            }
        }
        let status = |fault: &Fault| FaultStatus {
            name: fault.name().into(),
            value: fault.value(),
            dropped: dropped.get(&fault.to_string()).copied().unwrap_or(0),
        };
        Ok(self.faults().iter().map(status).collect())
    }

    fn change_faults(&self, wanted: BTreeSet<Fault>) -> Result<()> {
        let before = std::mem::replace(&mut *self.faults(), wanted);
        let outcome = self.apply_faults();
        if outcome.is_err() {
            *self.faults() = before;
        }
        outcome
    }

    /// Makes the ports of all nodes that are on behave as the faults say.
    pub(super) fn apply_faults(&self) -> Result<()> {
        let topology = self.topology().clone();
        let faults = self.faults().clone();
        let ports = self.fabric.ports();
        self.cut_packets(&ports, faults.iter().any(|fault| matches!(fault, Fault::Mtu(_))))?;
        let machines = topology.machines();
        let of_node = |port: &Port| machines.iter().any(|machine| machine.name == port.machine);
        let ports: Vec<Port> = ports.into_iter().filter(of_node).collect();
        let desired = faults::tables(&faults, &ports, &vxlan_ports(&topology));
        let mut nft = Nft::open()?;
        for _ in 1..ATTEMPTS_MAX {
            match bring_about(&mut nft, &desired) {
                // A device went, and its chain with it.
                Err(error) if error.is_conflict() => {}
                outcome => return outcome.context("the faults' rules"),
            }
        }
        bring_about(&mut nft, &desired).context("the faults' rules")
    }

    /// A path's MTU is about packets as they are on a wire. Here a packet may be 64 KiB on its way,
    /// to be cut at its end: with this on, every machine cuts it before it leaves.
    fn cut_packets(&self, ports: &[Port], cut: bool) -> Result<()> {
        let segments = if cut { 1 } else { SEGMENTS_MAX };
        for port in ports.iter().filter(|port| self.machines.is_running(&port.machine)) {
            let network = self.machines.network(&port.machine)?;
            Rtnetlink::open_in(&network)?.set_segments_max(&port.interface, segments)?;
        }
        Ok(())
    }

    /// Resets what a blocked port would leave hanging, at both ends.
    fn end_bgp_sessions(&self) -> Result<()> {
        let machines: BTreeSet<String> =
            self.fabric.ports().into_iter().map(|port| port.machine).collect();
        for machine in machines.iter().filter(|machine| self.machines.is_running(machine)) {
            self.machines.network(machine)?.run(|| end_connections(BGP_PORT))??;
        }
        Ok(())
    }

    pub(super) fn agents_stop(&self, names: &[String]) -> Result<()> {
        let _changing = self.start_change();
        let topology = self.topology().clone();
        for name in names {
            self.find_node(&topology, name)?;
            if !self.stopped_agents().insert(name.to_owned()) {
                bail!("calico-node on {name} is stopped already");
            }
            let request = NodeRequest::Stop { name: calico::AGENT.to_owned() };
            let () = self.machines.ask(name, &request)?;
        }
        Ok(())
    }

    pub(super) fn agents_start(&self, names: &[String]) -> Result<()> {
        let _changing = self.start_change();
        let topology = self.topology().clone();
        let mut started = Vec::new();
        for name in names {
            let node = self.find_node(&topology, name)?;
            if !self.stopped_agents().remove(name) {
                bail!("calico-node on {name} was not stopped; `calico lab status` shows how it is");
            }
            self.start_agent(node)?;
            started.push(node);
        }
        started.into_iter().try_for_each(|node| self.await_agent(node))
    }

    /// Nodes whose calico-node the user has stopped.
    pub(super) fn stopped_agents(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.stopped_agents.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn bring_about(nft: &mut Nft, desired: &[kernel::nft::Table]) -> Result<(), linux::nft::Error> {
    let actual = nft.read(Family::Netdev, TABLE)?;
    nft.apply(&diff(desired, actual.as_slice()))
}

/// The usual port, and those that the topology configures.
fn vxlan_ports(topology: &Topology) -> BTreeSet<u16> {
    let resources = topology.resources.iter();
    let configured = resources.filter_map(|resource| resource["spec"]["vxlanPort"].as_u64());
    let environments = topology.nodes.iter().map(|node| &node.env).chain([&topology.env]);
    let given = environments.filter_map(|env| env.get("FELIX_VXLANPORT")?.parse().ok());
    let configured = configured.filter_map(|port| u16::try_from(port).ok());
    configured.chain(given).chain([VXLAN_PORT]).collect()
}

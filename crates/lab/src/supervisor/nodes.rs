//! Nodes, the router and the outside host: booted, joined to the fabric, restarted, removed.

use super::machines::Equipment;
use super::{Lab, calico};
use crate::fabric::Plug;
use crate::faults::Fault;
use crate::protocol::{NewNode, NodeReport, NodeRequest, Program};
use crate::status::NodeStatus;
use crate::topology::{Node, Topology, Uplink, check_name, duplicate, gateway};
use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// The router's name; it has the first address of every subnet.
pub(super) const ROUTER: &str = "router";
/// The outside host's name, and that of the network it is in.
const OUTSIDE: &str = "outside";

impl Lab {
    pub(super) fn boot_router(&self) -> Result<()> {
        let topology = self.topology().clone();
        self.machines.boot(ROUTER, Equipment::default())?;
        let network = self.machines.network(ROUTER)?;
        let gateways = |cidrs: &[IpNet]| {
            let own = cidrs.iter().map(|cidr| IpNet::new(gateway(cidr), cidr.prefix_len()));
            own.collect::<Result<Vec<IpNet>, _>>()
        };
        for subnet in &topology.subnets {
            let addresses = gateways(&subnet.cidrs).context("the router's addresses")?;
            self.fabric.plug(
                &network,
                &Plug {
                    machine: ROUTER,
                    interface: &subnet.name,
                    network: &subnet.name,
                    addresses,
                    gateways: Vec::new(),
                },
            )?;
        }
        let addresses = gateways(&[topology.outside.address.trunc()]);
        self.fabric.plug(
            &network,
            &Plug {
                machine: ROUTER,
                interface: OUTSIDE,
                network: OUTSIDE,
                addresses: addresses.context("the router's addresses")?,
                gateways: Vec::new(),
            },
        )?;
        crate::fabric::set_forwarding(&network, true)
    }

    pub(super) fn boot_outside(&self) -> Result<()> {
        let address = self.topology().outside.address;
        self.machines.boot(OUTSIDE, Equipment { web: true, ..Equipment::default() })?;
        self.fabric.plug(
            &self.machines.network(OUTSIDE)?,
            &Plug {
                machine: OUTSIDE,
                interface: "eth0",
                network: OUTSIDE,
                addresses: vec![address],
                gateways: vec![gateway(&address.trunc())],
            },
        )
    }

    /// Switches a node on and plugs it in.
    pub(super) fn boot_node(&self, node: &Node) -> Result<()> {
        let topology = self.topology().clone();
        let equipment = match &topology.kubernetes {
            Some(kubernetes) => self.kubernetes_equipment(&topology, kubernetes, node)?,
            None => {
                let mut files = calico::files(&topology, node);
                let addresses: Vec<IpAddr> = node.addresses().collect();
                files.extend(self.authority.files(&node.name, &addresses)?);
                Equipment { files, ..Equipment::default() }
            }
        };
        self.machines.boot(&node.name, equipment)?;
        let network = self.machines.network(&node.name)?;
        for (index, uplink) in node.uplinks.iter().enumerate() {
            let subnet = topology.subnet(&uplink.subnet).context("an unknown subnet")?;
            let mut plug = Plug {
                machine: &node.name,
                interface: &uplink.interface,
                network: &subnet.name,
                addresses: Vec::new(),
                gateways: Vec::new(),
            };
            for address in &uplink.addresses {
                let cidr = subnet.cidrs.iter().find(|cidr| cidr.contains(address));
                let cidr = cidr.context("an address outside of its subnet")?;
                plug.addresses.push(IpNet::new(*address, cidr.prefix_len())?);
                if index == 0 && !plug.gateways.contains(&gateway(cidr)) {
                    plug.gateways.push(gateway(cidr));
                }
            }
            self.fabric.plug(&network, &plug)?;
        }
        self.apply_faults()?;
        // New namespaces may inherit the machine's setting; on a node it is calico-node's task, and
        // where Kubernetes is installed, already done.
        crate::fabric::set_forwarding(&network, topology.kubernetes.is_some())?;
        // Waits for the machine to be able to answer.
        let _: NodeReport = self.machines.ask(&node.name, &NodeRequest::Report)?;
        Ok(())
    }

    /// Starts the datastore on its node and applies the topology's resources.
    pub(super) fn start_datastore(&self) -> Result<()> {
        let topology = self.topology().clone();
        let node = topology.datastore_node().context("no node for the datastore")?;
        let program = calico::datastore_program(&topology);
        self.supervise(&node.name, calico::DATASTORE, program)?;
        self.await_datastore(&topology, &node.name)?;
        self.apply(&topology, &calico::resources(&topology)).context("applying the resources")
    }

    /// Starts calico-node on a node, to be kept running, unless the user has stopped it there.
    pub(super) fn start_agent(&self, node: &Node) -> Result<()> {
        if self.stopped_agents().contains(&node.name) {
            return Ok(());
        }
        let program = calico::agent_program(&self.topology(), node);
        self.supervise(&node.name, calico::AGENT, program)
    }

    pub(super) fn supervise(&self, node: &str, name: &str, program: Program) -> Result<()> {
        let name = name.to_owned();
        self.machines.ask(node, &NodeRequest::Supervise { name, program })
    }

    /// Tells every machine that is on all names.
    pub(super) fn write_hosts(&self) -> Result<()> {
        let topology = self.topology().clone();
        let pods = self.pod_statuses(&topology);
        let pods: Vec<_> = pods.into_iter().map(|pod| (pod.name, pod.addresses)).collect();
        let text = calico::hosts(&topology, &pods);
        let machines = topology.machines();
        let machines = machines.iter().map(|machine| machine.name.as_str());
        for machine in machines.chain([ROUTER, OUTSIDE]) {
            if self.machines.is_running(machine) {
                let request = NodeRequest::Hosts { text: text.clone() };
                let () = self.machines.ask(machine, &request)?;
            }
        }
        Ok(())
    }

    pub(super) fn node_status(&self, topology: &Topology, node: &Node) -> NodeStatus {
        let running = self.machines.is_running(&node.name);
        let report: Result<NodeReport> = self.machines.ask(&node.name, &NodeRequest::Report);
        let programs = report.map(|report| report.programs).unwrap_or_default();
        let probe = calico::readiness_probe(topology, node);
        let stopped = self.stopped_agents().contains(&node.name);
        let ready = if running && stopped {
            let name = &node.name;
            Err(anyhow::anyhow!("calico-node is stopped; `calico lab agent start {name}`"))
        } else if running {
            self.machines.run(&node.name, probe, String::new()).map(drop)
        } else {
            Err(anyhow::anyhow!("switched off; `calico lab node restart {}`", node.name))
        };
        NodeStatus {
            name: node.name.clone(),
            addresses: node.addresses().collect(),
            running,
            ready: ready.is_ok(),
            reason: ready.err().map(|error| format!("{error:#}")),
            restarts: programs.iter().map(|program| program.restarts).sum(),
        }
    }

    pub(super) fn node_add(&self, new: NewNode) -> Result<()> {
        let _changing = self.start_change();
        let mut topology = self.topology().clone();
        let mut node = choose_addresses(&topology, new)?;
        topology.nodes.push(node.clone());
        topology.complete_kubernetes()?;
        topology.check()?;
        node = self.find_node(&topology, &node.name)?.clone();
        *self.topology() = topology.clone();
        self.boot_node(&node)?;
        self.write_hosts()?;
        if topology.kubernetes.is_some() {
            return self.join_kubernetes(&topology, &node);
        }
        self.start_agent(&node)?;
        self.await_agent(&node)?;
        self.await_routes()
    }

    pub(super) fn node_remove(&self, name: &str, keep_resource: bool) -> Result<()> {
        let _changing = self.start_change();
        let mut topology = self.topology().clone();
        self.find_node(&topology, name)?;
        let datastore = topology.datastore_node().map(|node| node.name.clone());
        let of_kubernetes = topology.kubernetes.is_some();
        if datastore.as_deref() == Some(name) && !of_kubernetes {
            bail!("{name} runs the datastore; without it the lab is of no use: `calico lab down`");
        }
        self.power_off(name)?;
        self.machines.forget(name)?;
        topology.nodes.retain(|node| node.name != name);
        topology.pods.retain(|pod| pod.node != name);
        *self.topology() = topology;
        self.stopped_agents().remove(name);
        self.faults().remove(&Fault::Partition(name.to_owned()));
        self.apply_faults()?;
        self.write_hosts()?;
        if of_kubernetes {
            return self.leave_kubernetes(name, keep_resource);
        }
        if let (false, Some(datastore)) = (keep_resource, datastore) {
            let program = Program::new(&["calicoctl", "delete", "node", name]);
            self.machines.run(&datastore, program, String::new())?;
        }
        Ok(())
    }

    /// Like a reset button: power off and on, then what kubelet would do.
    pub(super) fn node_restart(&self, name: &str) -> Result<()> {
        let _changing = self.start_change();
        let topology = self.topology().clone();
        if topology.kubernetes.is_some() {
            return self.restart_of_kubernetes(&topology, name);
        }
        let node = self.find_node(&topology, name)?;
        self.power_off(name)?;
        self.boot_node(node)?;
        self.write_hosts()?;
        if topology.datastore_node().is_some_and(|holder| holder.name == name) {
            let program = calico::datastore_program(&topology);
            self.supervise(name, calico::DATASTORE, program)?;
            self.await_datastore(&topology, name)?;
        }
        self.start_agent(node)?;
        self.await_agent(node)?;
        let pods: Vec<_> = topology.pods.iter().filter(|pod| pod.node == name).cloned().collect();
        self.add_pods(&pods)?;
        self.write_hosts()?;
        self.await_routes()
    }

    /// Switches a node off, if it is on, and takes it off the network.
    pub(super) fn power_off(&self, name: &str) -> Result<()> {
        if self.machines.is_running(name) {
            self.machines.power_off(name)?;
        }
        self.fabric.unplug(name)
    }

    /// A node or the control plane.
    pub(super) fn find_machine(&self, topology: &Topology, name: &str) -> Result<Node> {
        match topology.control_plane().filter(|machine| machine.name == name) {
            Some(machine) => Ok(machine),
            None => self.find_node(topology, name).cloned(),
        }
    }

    pub(super) fn find_node<'a>(&self, topology: &'a Topology, name: &str) -> Result<&'a Node> {
        topology.node(name).with_context(|| {
            let names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
            format!("no node {name:?} in lab {}; there are {}", self.name, names.join(", "))
        })
    }
}

/// Completes a new node: the first subnet, and its first free address from the tenth on.
fn choose_addresses(topology: &Topology, new: NewNode) -> Result<Node> {
    check_name("node", &new.name)?;
    if topology.node(&new.name).is_some() {
        return Err(duplicate("node", &new.name).into());
    }
    let subnet = match (&new.subnet, new.address) {
        (Some(name), _) => topology.subnet(name),
        (None, Some(address)) => topology
            .subnets
            .iter()
            .find(|subnet| subnet.cidrs.iter().any(|cidr| cidr.contains(&address))),
        (None, None) => topology.subnets.first(),
    };
    let subnet = subnet.with_context(|| {
        let names: Vec<&str> = topology.subnets.iter().map(|subnet| &*subnet.name).collect();
        format!("node {}: no such subnet; there are {}", new.name, names.join(", "))
    })?;
    let machines = topology.machines();
    let taken: BTreeSet<IpAddr> = machines.iter().flat_map(Node::addresses).collect();
    let free = |cidr: &IpNet| cidr.hosts().skip(9).find(|address| !taken.contains(address));
    let addresses: Vec<IpAddr> = match new.address {
        Some(address) => vec![address],
        None => subnet.cidrs.iter().filter_map(free).collect(),
    };
    let uplink = Uplink { interface: new.interface, subnet: subnet.name.clone(), addresses };
    let (env, pod_cidrs) = (BTreeMap::new(), Vec::new());
    Ok(Node { name: new.name, uplinks: vec![uplink], env, pod_cidrs })
}

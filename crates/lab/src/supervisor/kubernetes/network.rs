//! Who connects the pods: all that differs between one [`Cni`] and another, except for what of it
//! `preflight` looks for.

use super::super::{Lab, nodes::ROUTER, readiness::until};
use super::readiness::{NODE_WAIT, PAUSE};
use crate::topology::{Cni, Kubernetes, Node, Topology};
use anyhow::{Context, Result, bail};
use ipnet::IpNet;
use kernel::{Route, RouteKey, RouteTarget, SCOPE_UNIVERSE, TABLE_MAIN};
use linux::rtnetlink::Rtnetlink;
use serde_json::{Value, json};
use std::fs;
use std::net::IpAddr;

/// `proto static` (/etc/iproute2/rt_protos).
const PROTOCOL_STATIC: u8 = 4;

/// The CNI configuration that a node starts with, and the file's name.
pub(super) fn configuration(cni: Cni, node: &Node) -> Option<(&'static str, Value)> {
    match cni {
        Cni::Bridge => Some(("10-bridge.conflist", bridge(node))),
        Cni::Calico | Cni::None => None,
    }
}

/// Whether a node's condition `Ready` is what `lab up` waits for.
pub(super) fn is_as_expected(cni: Cni, ready: &Value) -> bool {
    match cni {
        Cni::Bridge | Cni::Calico => ready["status"] == "True",
        // Said by kubelet, at least, and not by the controller that misses it.
        Cni::None => ready["reason"] != "NodeStatusNeverUpdated",
    }
}

/// The last step of `lab up`, in words.
pub(super) fn last_step(cni: Cni) -> &'static str {
    match cni {
        Cni::Bridge => "every node is Ready",
        Cni::Calico => "every node is Ready, with calico-node",
        Cni::None => "every node is registered; none is Ready before a CNI plugin is installed",
    }
}

impl Lab {
    /// Does, once the API server knows the nodes, what connects the pods of different nodes. To be
    /// repeated when a machine is booted again.
    pub(super) fn connect_nodes(&self, topology: &Topology, cni: Cni) -> Result<()> {
        match cni {
            Cni::Bridge => self.route_pods(topology),
            Cni::Calico | Cni::None => Ok(()),
        }
    }

    /// Applies what connects the pods, where that is Kubernetes' own to run.
    pub(super) fn install(&self, topology: &Topology, kubernetes: &Kubernetes) -> Result<()> {
        if kubernetes.cni == Cni::Calico {
            let file = kubernetes.manifest.display();
            let text = fs::read_to_string(&kubernetes.manifest);
            let mut text = text.with_context(|| format!("reading {file}"))?;
            if kubernetes.dual_stack {
                text = with_ipv6(&text, topology).with_context(|| format!("changing {file}"))?;
            }
            self.kubectl(&["apply", "-f", "-"], text)
                .with_context(|| format!("applying {file}"))?;
        }
        Ok(())
    }

    /// Waits until that is ready on all nodes.
    pub(super) fn await_daemons(&self, cni: Cni, nodes: usize) -> Result<()> {
        if cni != Cni::Calico {
            return Ok(());
        }
        let look = || {
            let get = ["get", "daemonset", "calico-node", "-n", "kube-system"];
            let ready = self.kubectl_json(&get)?["status"]["numberReady"].as_u64().unwrap_or(0);
            match ready >= nodes as u64 {
                true => Ok(()),
                false => bail!("calico-node is ready on {ready} of {nodes} nodes"),
            }
        };
        until(NODE_WAIT, PAUSE, look)
    }

    /// Routes each node's pods to it: on the router, and on the machines that are in a subnet with
    /// it. All others send by the router.
    fn route_pods(&self, topology: &Topology) -> Result<()> {
        let subnets = topology.subnets.iter();
        let links: Vec<Link<'_>> =
            subnets.map(|subnet| Link { device: &subnet.name, subnet: &subnet.name }).collect();
        self.route_pods_on(ROUTER, &links, &topology.nodes)?;
        let machines = topology.machines();
        for machine in machines.iter().filter(|machine| self.machines.is_running(&machine.name)) {
            let uplinks = machine.uplinks.iter();
            let links: Vec<Link<'_>> = uplinks
                .map(|uplink| Link { device: &uplink.interface, subnet: &uplink.subnet })
                .collect();
            let others = topology.nodes.iter().filter(|node| node.name != machine.name);
            self.route_pods_on(&machine.name, &links, others)?;
        }
        Ok(())
    }

    fn route_pods_on<'a>(
        &self,
        machine: &str,
        links: &[Link<'_>],
        nodes: impl IntoIterator<Item = &'a Node>,
    ) -> Result<()> {
        let mut netlink = Rtnetlink::open_in(&self.machines.network(machine)?)?;
        let pods = nodes.into_iter();
        let pods = pods.flat_map(|node| node.pod_cidrs.iter().map(move |cidr| (*cidr, node)));
        for (destination, node) in pods {
            let Some((device, gateway)) = next_hop(links, node, &destination) else { continue };
            let key = RouteKey { table: TABLE_MAIN, destination, metric: 0 };
            let device = device.to_owned();
            let target = RouteTarget::Via { device, gateway: Some(gateway), onlink: false };
            let (protocol, scope, source) = (PROTOCOL_STATIC, SCOPE_UNIVERSE, None);
            netlink.replace_route(&key, &Route { target, protocol, scope, source })?;
        }
        Ok(())
    }
}

/// An interface of a machine, and the subnet that it is in.
struct Link<'a> {
    device: &'a str,
    subnet: &'a str,
}

/// By which of its interfaces and at which address a machine reaches a node directly.
fn next_hop<'a>(links: &[Link<'a>], node: &Node, destination: &IpNet) -> Option<(&'a str, IpAddr)> {
    let is_ipv4 = destination.addr().is_ipv4();
    node.uplinks.iter().find_map(|uplink| {
        let link = links.iter().find(|link| link.subnet == uplink.subnet)?;
        let address = uplink.addresses.iter().find(|address| address.is_ipv4() == is_ipv4)?;
        Some((link.device, *address))
    })
}

/// Calico's manifest with IPv6, as its comments tell a user to change it.
fn with_ipv6(manifest: &str, topology: &Topology) -> Result<String> {
    let cidr = topology.cluster_cidrs().into_iter().find(|cidr| cidr.addr().is_ipv6());
    let cidr = cidr.context("the cluster has no IPv6 range")?;
    let variable =
        |name: &str, value: &str| format!("- name: {name}\n              value: \"{value}\"");
    let mut text = manifest.to_owned();
    for (from, to) in [
        (r#""assign_ipv6": "false""#.to_owned(), r#""assign_ipv6": "true""#.to_owned()),
        (variable("IP6", "none"), variable("IP6", "autodetect")),
        (
            variable("FELIX_IPV6SUPPORT", "false"),
            [
                variable("FELIX_IPV6SUPPORT", "true"),
                variable("CALICO_IPV6POOL_CIDR", &cidr.to_string()),
            ]
            .join("\n            "),
        ),
    ] {
        if !text.contains(&from) && !text.contains(&to) {
            bail!(
                "it has no `{from}`, which dualStack is to change: change it yourself, with cni none"
            );
        }
        text = text.replace(&from, &to);
    }
    Ok(text)
}

/// The reference plugins', with the addresses that the node has for its pods.
fn bridge(node: &Node) -> Value {
    let ranges: Vec<Value> = node.pod_cidrs.iter().map(|cidr| json!([{"subnet": cidr}])).collect();
    json!({
        "cniVersion": "0.4.0",
        "name": "lab",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": true,
                "hairpinMode": true,
                "ipam": {"type": "host-local", "ranges": ranges},
            },
            {"type": "portmap", "capabilities": {"portMappings": true}},
        ],
    })
}

//! What makes a topology impossible, said before anything is built.

use super::{CONTROL_PLANE, Node, Pod, RESERVED_NAMES, Subnet, Topology, gateway};
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Why a topology cannot be built.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TopologyError {
    /// The text isn't a topology.
    #[error("{path}: {reason}; see `calico lab up --help` for the fields")]
    Syntax {
        /// The file.
        path: String,
        /// The parser's message, with line and column.
        reason: String,
    },
    /// A name that cannot be a host's, or is taken.
    #[error("topology: {what} {name:?}: {reason}")]
    Name {
        /// What is named: node, pod, subnet.
        what: &'static str,
        /// The name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// An object that doesn't fit the others.
    #[error("topology: {0}")]
    Inconsistent(String),
}

impl Topology {
    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// [`TopologyError`] for the first part that doesn't.
    pub fn check(&self) -> Result<(), TopologyError> {
        let mut names = BTreeSet::from(RESERVED_NAMES.map(String::from));
        let mut taken = BTreeSet::from([self.outside.address.addr()]);
        if self.nodes.is_empty() {
            return Err(TopologyError::Inconsistent("no node; give at least one".into()));
        }
        names.extend(self.kubernetes.as_ref().map(|_| CONTROL_PLANE.to_owned()));
        let mut subnets = BTreeSet::new();
        for subnet in &self.subnets {
            check_name("subnet", &subnet.name)?;
            if !subnets.insert(&subnet.name) {
                return Err(duplicate("subnet", &subnet.name));
            }
            self.check_subnet(subnet)?;
        }
        for node in &self.nodes {
            check_name("node", &node.name)?;
            if !names.insert(node.name.clone()) {
                return Err(duplicate("node", &node.name));
            }
            self.check_uplinks(node, &mut taken)?;
        }
        self.check_kubernetes(&mut taken)?;
        for pod in &self.pods {
            check_name("pod", &pod.name)?;
            if !names.insert(pod.name.clone()) {
                return Err(duplicate("pod", &pod.name));
            }
            self.check_pod(pod)?;
        }
        self.check_namespaces()?;
        self.check_pools()?;
        if self.datastore_node().is_none() {
            let name = self.datastore.node.as_deref().unwrap_or_default();
            let text = format!("datastore: no node {name:?} in this topology");
            return Err(TopologyError::Inconsistent(text));
        }
        Ok(())
    }

    fn check_pod(&self, pod: &Pod) -> Result<(), TopologyError> {
        check_name("namespace", &pod.namespace)?;
        check_name("service account", &pod.service_account)?;
        let wrong =
            |text: &str| Err(TopologyError::Inconsistent(format!("pod {}: {text}", pod.name)));
        if self.node(&pod.node).is_none() {
            return wrong(&format!("no node {:?} in this topology", pod.node));
        }
        let mut numbers = BTreeSet::new();
        let mut names = BTreeSet::new();
        for port in &pod.ports {
            let number = format!("{}/{}", port.container_port, port.protocol);
            if !["tcp", "udp"].contains(&port.protocol.as_str()) || port.container_port == 0 {
                return wrong(&format!("port {number} is not 1–65535 of tcp or udp"));
            }
            if !numbers.insert(number.clone()) {
                return wrong(&format!("port {number} twice"));
            }
            if let Some(name) = port.name.as_ref().filter(|name| !names.insert(*name)) {
                return wrong(&format!("two ports called {name:?}"));
            }
        }
        Ok(())
    }

    fn check_namespaces(&self) -> Result<(), TopologyError> {
        let mut names = BTreeSet::new();
        for namespace in &self.namespaces {
            check_name("namespace", &namespace.name)?;
            if !names.insert(&namespace.name) {
                return Err(duplicate("namespace", &namespace.name));
            }
            for account in namespace.service_accounts.keys() {
                check_name("service account", account)?;
            }
        }
        Ok(())
    }

    /// What the nodes would refuse one by one, and only after a while.
    fn check_pools(&self) -> Result<(), TopologyError> {
        let default = self.default_pool_modes();
        let mut pools: Vec<_> = self
            .pools
            .iter()
            .map(|pool| {
                let what = format!("pool {}", pool.name);
                (what, pool.cidr, pool.block_size, [&pool.ipip_mode, &pool.vxlan_mode])
            })
            .collect();
        if pools.is_empty() {
            let modes = [&default.ipip_mode, &default.vxlan_mode];
            pools.push(("podCidr".to_owned(), self.pod_cidr, self.block_size, modes));
        }
        for (what, cidr, block_size, modes) in pools {
            let wrong =
                |reason: &str| Err(TopologyError::Inconsistent(format!("{what}: {reason}")));
            if cidr != cidr.trunc() {
                return wrong(&format!("{cidr} has host bits set; write {}", cidr.trunc()));
            }
            let (sizes, usual) = match cidr {
                IpNet::V4(_) => (20..=32, 26),
                IpNet::V6(_) => (116..=128, 122),
            };
            let size = block_size.unwrap_or(usual);
            if !sizes.contains(&size) || size < cidr.prefix_len() {
                return wrong(&format!(
                    "blockSize {size} is not in {}–{}, as {cidr} wants it",
                    cidr.prefix_len().max(*sizes.start()),
                    sizes.end()
                ));
            }
            if modes.iter().any(|mode| !["Always", "CrossSubnet", "Never"].contains(&mode.as_str()))
            {
                return wrong("ipipMode and vxlanMode are each Always, CrossSubnet or Never");
            }
            if modes.iter().all(|mode| *mode != "Never") {
                return wrong("ipipMode or vxlanMode must be Never: a pool has one encapsulation");
            }
        }
        Ok(())
    }

    fn check_subnet(&self, subnet: &Subnet) -> Result<(), TopologyError> {
        if !(576..=65535).contains(&subnet.mtu) {
            let text = format!("subnet {}: mtu {} is not in 576–65535", subnet.name, subnet.mtu);
            return Err(TopologyError::Inconsistent(text));
        }
        let outside = [self.outside.address];
        let others = self.subnets.iter().filter(|other| other.name != subnet.name);
        let others = others.flat_map(|other| &other.cidrs).chain(&outside);
        for other in others {
            let clash = |cidr: &&IpNet| cidr.contains(other) || other.contains(*cidr);
            if let Some(cidr) = subnet.cidrs.iter().find(clash) {
                let text = format!("subnet {}: {cidr} overlaps {other}", subnet.name);
                return Err(TopologyError::Inconsistent(text));
            }
        }
        Ok(())
    }

    /// Checks one node's uplinks against the subnets and the addresses taken so far.
    pub(crate) fn check_uplinks(
        &self,
        node: &Node,
        taken: &mut BTreeSet<IpAddr>,
    ) -> Result<(), TopologyError> {
        let inconsistent =
            |text: String| Err(TopologyError::Inconsistent(format!("node {}: {text}", node.name)));
        if node.uplinks.iter().all(|uplink| uplink.addresses.is_empty()) {
            return inconsistent("no uplink with an address; give at least one".into());
        }
        let mut interfaces = BTreeSet::from(["lo"]);
        for uplink in &node.uplinks {
            let name = uplink.interface.as_str();
            if name.is_empty() || name.len() > 15 || name.contains(['/', ' ']) {
                return inconsistent(format!("{name:?} cannot be an interface's name"));
            }
            if !interfaces.insert(name) {
                return inconsistent(format!("two interfaces called {name:?}"));
            }
            let Some(subnet) = self.subnet(&uplink.subnet) else {
                return inconsistent(format!("no subnet {:?} in this topology", uplink.subnet));
            };
            for address in &uplink.addresses {
                let Some(cidr) = subnet.cidrs.iter().find(|cidr| cidr.contains(address)) else {
                    return inconsistent(format!("{address} is not in subnet {}", subnet.name));
                };
                if gateway(cidr) == *address {
                    return inconsistent(format!("{address} is the router's address"));
                }
                if !taken.insert(*address) {
                    return inconsistent(format!("{address} is already another's address"));
                }
            }
        }
        Ok(())
    }
}

/// Checks a name for use as a host name (RFC 1123 label).
pub(crate) fn check_name(what: &'static str, name: &str) -> Result<(), TopologyError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let fits = (1..=63).contains(&name.len()) && name.chars().all(allowed);
    if fits && !name.starts_with('-') && !name.ends_with('-') {
        return Ok(());
    }
    let reason = "a name is 1–63 of a–z, 0–9 and -, with a letter or digit at both ends".into();
    Err(TopologyError::Name { what, name: name.into(), reason })
}

pub(crate) fn duplicate(what: &'static str, name: &str) -> TopologyError {
    let reason = format!("is already in use; every {what} needs a name of its own");
    TopologyError::Name { what, name: name.into(), reason }
}

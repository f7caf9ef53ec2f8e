//! A topology whose nodes are those of a Kubernetes cluster.

use super::{Node, Subnet, Topology, TopologyError, Uplink, default_mtu, prefix};
use ipnet::{IpNet, Ipv6Net};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

/// The machine of etcd, API server, controller manager and scheduler. It is no node.
pub const CONTROL_PLANE: &str = "control-plane";
/// Prefix lengths of the part of the cluster's addresses that a node has, kube-controller-manager's
/// defaults.
const NODE_PREFIX_V4: u8 = 24;
const NODE_PREFIX_V6: u8 = 64;

/// Kubernetes on a lab's nodes: real kubelets with containerd, and a control plane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Kubernetes {
    /// Who connects the pods.
    pub cni: Cni,
    /// How each node sends what is for a service's address to a pod.
    pub kube_proxy: KubeProxy,
    /// Whether nodes, pods and services have IPv6 addresses, too.
    pub dual_stack: bool,
    /// Whether the API server logs who asks it for what, in `/var/log/calico/audit.log` of the
    /// control plane.
    pub audit: bool,
    /// Archives of images (`docker save`) that every node has, besides the lab's own.
    pub images: Vec<PathBuf>,
    /// The directory of Kubernetes' programs, as `scripts/kubernetes` builds them.
    pub programs: PathBuf,
    /// The directory of the reference CNI plugins that Calico's images have beside it, as
    /// `scripts/plugins` builds them.
    pub plugins: PathBuf,
    /// What is applied where Calico connects the pods; what it says of IPv6 is changed with
    /// [`Self::dual_stack`].
    pub manifest: PathBuf,
    /// The control plane's addresses, in the first subnet; the first free ones from the tenth on if
    /// none are given.
    pub control_plane: Vec<IpAddr>,
}

/// Who connects the pods of a Kubernetes lab.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Cni {
    /// Calico, by its manifest, with images of this very program.
    #[default]
    Calico,
    /// The reference plugins `bridge` and `host-local`; the lab routes between the nodes.
    Bridge,
    /// Nobody: the nodes are not ready until somebody installs a CNI plugin.
    None,
}

/// `mode` of kube-proxy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum KubeProxy {
    /// iptables.
    #[default]
    Iptables,
    /// nftables.
    Nftables,
    /// It does not run: services have no addresses that work.
    None,
}

impl KubeProxy {
    /// Kubernetes' word for it; `None` where it does not run.
    pub(crate) fn mode(self) -> Option<&'static str> {
        match self {
            KubeProxy::Iptables => Some("iptables"),
            KubeProxy::Nftables => Some("nftables"),
            KubeProxy::None => None,
        }
    }
}

impl Cni {
    /// What pods' addresses are from: Calico's default pool, or the range of the reference plugins'
    /// documentation.
    fn pod_cidr(self) -> IpNet {
        match self {
            Cni::Calico | Cni::None => prefix([192, 168, 0, 0], 16),
            Cni::Bridge => prefix([10, 244, 0, 0], 16),
        }
    }
}

impl Default for Kubernetes {
    fn default() -> Kubernetes {
        Kubernetes {
            cni: Cni::default(),
            kube_proxy: KubeProxy::default(),
            dual_stack: false,
            audit: false,
            images: Vec::new(),
            programs: "target/kubernetes".into(),
            plugins: "target/plugins".into(),
            manifest: "manifests/calico.yaml".into(),
            control_plane: Vec::new(),
        }
    }
}

impl Kubernetes {
    /// The range of services' addresses, of each family.
    pub(crate) fn service_cidrs(&self) -> Vec<IpNet> {
        self.families(prefix([10, 96, 0, 0], 16), prefix_v6(0x96, 112))
    }

    fn families(&self, v4: IpNet, v6: IpNet) -> Vec<IpNet> {
        if self.dual_stack { vec![v4, v6] } else { vec![v4] }
    }
}

/// `fd00:SECOND::/length`, known to be valid when this was written.
fn prefix_v6(second: u16, length: u8) -> IpNet {
    let address = Ipv6Addr::new(0xfd00, second, 0, 0, 0, 0, 0, 0);
    Ipv6Net::new(address, length).expect("a constant length of at most 128").into()
}

impl Topology {
    /// Nodes `n1`, `n2` … in one subnet.
    pub fn of_kubernetes(nodes: u8, kubernetes: Kubernetes) -> Topology {
        let subnet = Subnet {
            name: "nodes".into(),
            cidrs: kubernetes.families(prefix([172, 31, 0, 0], 24), prefix_v6(0x31, 64)),
            mtu: default_mtu(),
        };
        let node = |number: u8| {
            // Written alike in both families: 172.31.0.11 and fd00:31::11.
            let last = 10 + u16::from(number);
            let digits = last / 100 * 256 + last / 10 % 10 * 16 + last % 10;
            let v4 = IpAddr::from([172, 31, 0, 10 + number]);
            let v6 = IpAddr::from([0xfd00, 0x31, 0, 0, 0, 0, 0, digits]);
            let addresses = if kubernetes.dual_stack { vec![v4, v6] } else { vec![v4] };
            Node {
                name: format!("n{number}"),
                uplinks: vec![uplink(&subnet, addresses)],
                env: BTreeMap::new(),
                pod_cidrs: Vec::new(),
            }
        };
        Topology {
            nodes: (1..=nodes).map(node).collect(),
            subnets: vec![subnet],
            pods: Vec::new(),
            pod_cidr: kubernetes.cni.pod_cidr(),
            kubernetes: Some(kubernetes),
            ..Topology::default()
        }
    }

    /// Gives a topology with Kubernetes its own defaults in place of the walkthrough's, where the
    /// text that it was read from (`given`) says nothing.
    pub(super) fn with_kubernetes_defaults(self, given: &serde_json::Value) -> Topology {
        let Some(kubernetes) = self.kubernetes.clone() else { return self };
        let usual = Topology::of_kubernetes(3, kubernetes);
        let says = |field: &str| given.get(field).is_some();
        Topology {
            subnets: if says("subnets") { self.subnets } else { usual.subnets },
            nodes: if says("nodes") { self.nodes } else { usual.nodes },
            pods: if says("pods") { self.pods } else { usual.pods },
            pod_cidr: if says("podCidr") { self.pod_cidr } else { usual.pod_cidr },
            ..self
        }
    }

    /// Decides what a topology with Kubernetes leaves open: the control plane's addresses, and each
    /// node's part of the pods' addresses.
    ///
    /// # Errors
    /// There are too few addresses.
    pub(crate) fn complete_kubernetes(&mut self) -> Result<(), TopologyError> {
        let inconsistent = |text: String| Err(TopologyError::Inconsistent(text));
        let cluster = self.cluster_cidrs();
        let taken = self.nodes.iter().flat_map(|node| &node.uplinks);
        let taken: BTreeSet<IpAddr> = taken.flat_map(|uplink| uplink.addresses.clone()).collect();
        let Some(kubernetes) = &mut self.kubernetes else { return Ok(()) };
        let others = [&mut kubernetes.programs, &mut kubernetes.plugins, &mut kubernetes.manifest];
        for path in kubernetes.images.iter_mut().chain(others) {
            // The lab isn't where its user is. What has no absolute path will not be found, either.
            *path = std::path::absolute(&*path).unwrap_or_default();
        }
        if kubernetes.control_plane.is_empty() {
            let cidrs = self.subnets.first().map(|subnet| subnet.cidrs.as_slice());
            let free = |cidr: &IpNet| cidr.hosts().skip(9).find(|host| !taken.contains(host));
            kubernetes.control_plane = cidrs.unwrap_or_default().iter().filter_map(free).collect();
        }
        let mut used: BTreeSet<IpNet> =
            self.nodes.iter().flat_map(|node| node.pod_cidrs.clone()).collect();
        for node in self.nodes.iter_mut().filter(|node| node.pod_cidrs.is_empty()) {
            for cidr in &cluster {
                let length = if cidr.addr().is_ipv4() { NODE_PREFIX_V4 } else { NODE_PREFIX_V6 };
                // The first is left out, for the node's number to be that of its addresses.
                let parts = cidr.subnets(length).into_iter().flatten().skip(1);
                let Some(part) = parts.into_iter().find(|part| !used.contains(part)) else {
                    return inconsistent(format!(
                        "podCidr: {cidr} has no /{length} left for node {}",
                        node.name
                    ));
                };
                used.insert(part);
                node.pod_cidrs.push(part);
            }
        }
        Ok(())
    }

    /// The ranges that Kubernetes gives nodes their pods' addresses from.
    pub(crate) fn cluster_cidrs(&self) -> Vec<IpNet> {
        let kubernetes = self.kubernetes.as_ref();
        kubernetes.map(|it| it.families(self.pod_cidr, prefix_v6(0x244, 56))).unwrap_or_default()
    }

    /// The control plane as a machine, in a topology with Kubernetes.
    pub(crate) fn control_plane(&self) -> Option<Node> {
        let addresses = self.kubernetes.as_ref()?.control_plane.clone();
        Some(Node {
            name: CONTROL_PLANE.into(),
            uplinks: vec![uplink(self.subnets.first()?, addresses)],
            env: BTreeMap::new(),
            pod_cidrs: Vec::new(),
        })
    }

    /// All machines that take part in the cluster: the nodes, and the control plane if there is one.
    pub(crate) fn machines(&self) -> Vec<Node> {
        self.nodes.iter().cloned().chain(self.control_plane()).collect()
    }

    pub(super) fn check_kubernetes(
        &self,
        taken: &mut BTreeSet<IpAddr>,
    ) -> Result<(), TopologyError> {
        let Some(kubernetes) = &self.kubernetes else { return Ok(()) };
        let wrong = |text: String| Err(TopologyError::Inconsistent(format!("kubernetes: {text}")));
        let applied = [
            ("pods", self.pods.is_empty()),
            ("namespaces", self.namespaces.is_empty()),
            ("pools", self.pools.is_empty()),
            ("resources", self.resources.is_empty()),
        ];
        for (field, is_empty) in applied {
            if !is_empty {
                return wrong(format!(
                    "{field} are made with `calico lab kubectl`, not by the topology"
                ));
            }
        }
        if self.cni_config.is_some() || !self.env.is_empty() {
            return wrong("cniConfig and env are what a manifest says, not the topology".into());
        }
        if let Some(control_plane) = self.control_plane() {
            self.check_uplinks(&control_plane, taken)?;
        }
        for node in self.machines() {
            let addresses = || node.uplinks.first().into_iter().flat_map(|link| &link.addresses);
            if !addresses().any(IpAddr::is_ipv4) {
                return wrong(format!("{} has no IPv4 address", node.name));
            }
            if kubernetes.dual_stack && !addresses().any(IpAddr::is_ipv6) {
                return wrong(format!("dualStack, but {} has no IPv6 address", node.name));
            }
        }
        Ok(())
    }
}

fn uplink(subnet: &Subnet, addresses: Vec<IpAddr>) -> Uplink {
    Uplink { interface: "eth0".into(), subnet: subnet.name.clone(), addresses }
}

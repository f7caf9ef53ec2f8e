//! The programs of a cluster and their arguments.

use super::{PROGRAMS, files};
use crate::protocol::Program;
use crate::topology::{Node, Topology};
use anyhow::{Context, Result};
use std::net::{IpAddr, SocketAddr};

pub(super) const ETCD: &str = "etcd";
pub(super) const API_SERVER: &str = "kube-apiserver";
pub(super) const CONTROLLER_MANAGER: &str = "kube-controller-manager";
pub(super) const SCHEDULER: &str = "kube-scheduler";
pub(super) const CONTAINERD: &str = "containerd";
pub(super) const KUBELET: &str = "kubelet";
pub(super) const KUBE_PROXY: &str = "kube-proxy";

/// The API server's port.
pub(super) const PORT: u16 = 6443;
const ETCD_CLIENTS: &str = "http://127.0.0.1:2379";
const ETCD_PEERS: &str = "http://127.0.0.1:2380";
/// Requests a second that a controller may make: a whole cluster is made anew at each `lab up`.
const REQUESTS: [&str; 2] = ["--kube-api-qps=500", "--kube-api-burst=1000"];

/// The control plane's IPv4 address.
///
/// # Errors
/// It has none.
pub(super) fn api_address(topology: &Topology) -> Result<IpAddr> {
    let machine = topology.control_plane().context("no control plane")?;
    machine.addresses().find(IpAddr::is_ipv4).context("the control plane has no IPv4 address")
}

/// Where clients find the API server.
pub(super) fn api_url(topology: &Topology) -> Result<String> {
    Ok(format!("https://{}", SocketAddr::new(api_address(topology)?, PORT)))
}

/// Addresses or prefixes, separated by commas.
pub(super) fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> String {
    values.into_iter().map(|value| value.to_string()).collect::<Vec<_>>().join(",")
}

fn of_kubernetes(name: &str, arguments: Vec<String>) -> Program {
    let mut program = Program::new(&[&format!("{PROGRAMS}/{name}")]);
    program.command.extend(arguments);
    program
}

pub(super) fn etcd() -> Program {
    Program::new(&[
        ETCD,
        "--data-dir=/var/lib/etcd",
        &format!("--listen-client-urls={ETCD_CLIENTS}"),
        &format!("--advertise-client-urls={ETCD_CLIENTS}"),
        &format!("--listen-peer-urls={ETCD_PEERS}"),
        &format!("--initial-advertise-peer-urls={ETCD_PEERS}"),
        &format!("--initial-cluster=default={ETCD_PEERS}"),
    ])
}

pub(super) fn api_server(topology: &Topology) -> Result<Program> {
    let pki = files::PKI;
    let kubernetes = topology.kubernetes.as_ref().context("no Kubernetes")?;
    let audit = [
        format!("--audit-policy-file={}", files::AUDIT_POLICY),
        format!("--audit-log-path={}", files::AUDIT_LOG),
    ];
    let audit = audit.into_iter().filter(|_| kubernetes.audit);
    let services = list(kubernetes.service_cidrs());
    Ok(of_kubernetes(
        API_SERVER,
        [
            format!("--etcd-servers={ETCD_CLIENTS}"),
            format!("--advertise-address={}", api_address(topology)?),
            format!("--secure-port={PORT}"),
            format!("--service-cluster-ip-range={services}"),
            format!("--client-ca-file={pki}/ca.crt"),
            format!("--tls-cert-file={pki}/apiserver.crt"),
            format!("--tls-private-key-file={pki}/apiserver.key"),
            format!("--kubelet-certificate-authority={pki}/ca.crt"),
            format!("--kubelet-client-certificate={pki}/apiserver-kubelet-client.crt"),
            format!("--kubelet-client-key={pki}/apiserver-kubelet-client.key"),
            // Nobody resolves nodes' names.
            "--kubelet-preferred-address-types=InternalIP".into(),
            "--service-account-issuer=https://kubernetes.default.svc".into(),
            format!("--service-account-key-file={pki}/sa.pub"),
            format!("--service-account-signing-key-file={pki}/sa.key"),
            "--authorization-mode=Node,RBAC".into(),
            "--enable-admission-plugins=NodeRestriction".into(),
            "--allow-privileged=true".into(),
            "--profiling=false".into(),
        ]
        .into_iter()
        .chain(audit)
        .collect(),
    ))
}

pub(super) fn controller_manager(topology: &Topology) -> Program {
    let pki = files::PKI;
    let services = topology.kubernetes.iter().flat_map(|kubernetes| kubernetes.service_cidrs());
    let own = [
        format!("--kubeconfig={}", files::CONTROLLER_MANAGER),
        "--use-service-account-credentials=true".into(),
        format!("--root-ca-file={pki}/ca.crt"),
        format!("--service-account-private-key-file={pki}/sa.key"),
        "--allocate-node-cidrs=true".into(),
        format!("--cluster-cidr={}", list(topology.cluster_cidrs())),
        format!("--service-cluster-ip-range={}", list(services)),
    ];
    of_kubernetes(CONTROLLER_MANAGER, own.into_iter().chain(of_controllers()).collect())
}

pub(super) fn scheduler() -> Program {
    let own = [format!("--kubeconfig={}", files::SCHEDULER)];
    of_kubernetes(SCHEDULER, own.into_iter().chain(of_controllers()).collect())
}

/// There is one of each, and nobody asks it anything.
fn of_controllers() -> impl Iterator<Item = String> {
    ["--leader-elect=false", "--secure-port=0"].into_iter().chain(REQUESTS).map(str::to_owned)
}

pub(super) fn containerd() -> Program {
    Program::new(&[CONTAINERD, "--config", files::CONTAINERD])
}

/// Loads an archive into the images that kubelet sees.
pub(super) fn import_image(archive: &str) -> Program {
    Program::new(&["ctr", "--namespace", "k8s.io", "images", "import", archive])
}

pub(super) fn kubelet(topology: &Topology, node: &Node) -> Program {
    let dual_stack = topology.kubernetes.as_ref().is_some_and(|kubernetes| kubernetes.dual_stack);
    let first = node.uplinks.iter().take(1).flat_map(|uplink| uplink.addresses.clone());
    let mut addresses: Vec<IpAddr> =
        first.filter(|address| dual_stack || address.is_ipv4()).collect();
    // One of each family, IPv4 first.
    addresses.sort_by_key(IpAddr::is_ipv6);
    addresses.dedup_by_key(|address| address.is_ipv4());
    of_kubernetes(
        KUBELET,
        vec![
            format!("--config={}", files::KUBELET),
            format!("--kubeconfig={}", files::KUBELET_KUBECONFIG),
            format!("--hostname-override={}", node.name),
            format!("--node-ip={}", list(addresses)),
        ],
    )
}

pub(super) fn kube_proxy() -> Program {
    of_kubernetes(KUBE_PROXY, vec![format!("--config={}", files::KUBE_PROXY)])
}

//! Configuration files, kubeconfigs and certificates of a cluster's machines.

use super::images::PAUSE;
use super::{network, programs};
use crate::certificates::{Authority, Identity};
use crate::cgroups;
use crate::topology::{Kubernetes, Node, Topology};
use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

pub(super) const PKI: &str = "/etc/kubernetes/pki";
pub(super) const ADMIN: &str = "/etc/kubernetes/admin.conf";
pub(super) const CONTROLLER_MANAGER: &str = "/etc/kubernetes/controller-manager.conf";
pub(super) const SCHEDULER: &str = "/etc/kubernetes/scheduler.conf";
pub(super) const KUBELET_KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
pub(super) const KUBELET: &str = "/etc/kubernetes/kubelet.yaml";
pub(super) const KUBE_PROXY: &str = "/etc/kubernetes/kube-proxy.yaml";
const KUBE_PROXY_KUBECONFIG: &str = "/etc/kubernetes/kube-proxy.conf";
pub(super) const CONTAINERD: &str = "/etc/containerd/config.toml";
const CONTAINERD_SOCKET: &str = "/run/containerd/containerd.sock";

/// What of each request the API server logs, and where, if it does.
pub(super) const AUDIT_POLICY: &str = "/etc/kubernetes/audit-policy.yaml";
pub(super) const AUDIT_LOG: &str = "/var/log/calico/audit.log";

/// Pods that a node may have: what a /24 has addresses for.
const PODS_MAX: u32 = 250;
/// The address that pods' resolv.conf names. Nobody has it before a name server is installed.
const CLUSTER_DNS: &str = "10.96.0.10";

type Files = BTreeMap<PathBuf, String>;

/// etcd, API server, controller manager and scheduler.
pub(super) fn of_control_plane(authority: &Authority, topology: &Topology) -> Result<Files> {
    let machine = topology.control_plane().context("no control plane")?;
    let services = topology.kubernetes.iter().flat_map(|kubernetes| kubernetes.service_cidrs());
    // The first address of a range is that of the service `kubernetes`.
    let services = services.filter_map(|cidr| {
        cidr.hosts().find(|host| *host != cidr.network()).map(|host| host.to_string())
    });
    let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "127.0.0.1"];
    let hosts = machine.addresses().map(|address| address.to_string()).chain(services);
    let hosts = hosts.chain(names.map(str::to_owned)).collect();
    let mut files = Files::new();
    pki(&mut files, "apiserver", authority.identity("kube-apiserver", None, hosts)?);
    let client = authority.identity("kube-apiserver", Some("system:masters"), Vec::new())?;
    pki(&mut files, "apiserver-kubelet-client", client);
    let [private, public] = authority.token_keys();
    files.insert(format!("{PKI}/ca.crt").into(), authority.certificate());
    files.insert(format!("{PKI}/sa.key").into(), private);
    files.insert(format!("{PKI}/sa.pub").into(), public);
    files.insert(ADMIN.into(), admin_kubeconfig(authority, topology)?);
    files.insert(AUDIT_POLICY.into(), audit_policy().to_string());
    for (path, user) in [
        (CONTROLLER_MANAGER, "system:kube-controller-manager"),
        (SCHEDULER, "system:kube-scheduler"),
    ] {
        files.insert(path.into(), kubeconfig(authority, topology, user, None)?);
    }
    Ok(files)
}

/// containerd, kubelet, kube-proxy, and the CNI configuration where the lab has one to give.
pub(super) fn of_node(
    authority: &Authority,
    lab: &str,
    topology: &Topology,
    kubernetes: &Kubernetes,
    node: &Node,
) -> Result<Files> {
    let name = &node.name;
    let hosts = node.addresses().map(|address| address.to_string()).chain([name.clone()]);
    let mut files = Files::new();
    pki(&mut files, "kubelet", authority.identity(name, None, hosts.collect())?);
    files.insert(format!("{PKI}/ca.crt").into(), authority.certificate());
    files.insert(CONTAINERD.into(), containerd());
    files.insert(KUBELET.into(), kubelet(&cgroups::path_of(lab, name)).to_string());
    let (user, group) = (format!("system:node:{name}"), Some("system:nodes"));
    files.insert(KUBELET_KUBECONFIG.into(), kubeconfig(authority, topology, &user, group)?);
    if let Some(mode) = kubernetes.kube_proxy.mode() {
        files.insert(KUBE_PROXY.into(), kube_proxy(topology, node, mode).to_string());
        let user = kubeconfig(authority, topology, "system:kube-proxy", None)?;
        files.insert(KUBE_PROXY_KUBECONFIG.into(), user);
    }
    if let Some((name, text)) = network::configuration(kubernetes.cni, node) {
        files.insert(format!("/etc/cni/net.d/{name}").into(), format!("{text:#}\n"));
    }
    Ok(files)
}

fn pki(files: &mut Files, name: &str, identity: Identity) {
    files.insert(format!("{PKI}/{name}.crt").into(), identity.certificate);
    files.insert(format!("{PKI}/{name}.key").into(), identity.key);
}

/// The cluster administrator's.
pub(super) fn admin_kubeconfig(authority: &Authority, topology: &Topology) -> Result<String> {
    kubeconfig(authority, topology, "admin", Some("system:masters"))
}

fn kubeconfig(
    authority: &Authority,
    topology: &Topology,
    user: &str,
    group: Option<&str>,
) -> Result<String> {
    let Identity { certificate, key } = authority.identity(user, group, Vec::new())?;
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {
            "server": programs::api_url(topology)?,
            "certificate-authority-data": STANDARD.encode(authority.certificate()),
        }}],
        "users": [{"name": user, "user": {
            "client-certificate-data": STANDARD.encode(certificate),
            "client-key-data": STANDARD.encode(key),
        }}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": user}}],
        "current-context": "lab",
    });
    Ok(format!("{kubeconfig:#}\n"))
}

/// Who asked for what and how it went, once it is answered.
fn audit_policy() -> Value {
    json!({
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata"}],
    })
}

fn kubelet(cgroup: &str) -> Value {
    json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{CONTAINERD_SOCKET}"),
        "authentication": {
            "anonymous": {"enabled": false},
            "webhook": {"enabled": true},
            "x509": {"clientCAFile": format!("{PKI}/ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": format!("{PKI}/kubelet.crt"),
        "tlsPrivateKeyFile": format!("{PKI}/kubelet.key"),
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": cgroup,
        // It ends otherwise where the machine has version 1.
        "failCgroupV1": false,
        "failSwapOn": false,
        // Less than 0 is not for everybody to give.
        "oomScoreAdj": 0,
        "maxPods": PODS_MAX,
        "clusterDNS": [CLUSTER_DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": "/etc/resolv.conf",
        // The machine's memory and disk are not the node's own: it must not act on them.
        "evictionHard": {
            "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
    })
}

fn kube_proxy(topology: &Topology, node: &Node, mode: &str) -> Value {
    json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": mode,
        "clientConnection": {"kubeconfig": KUBE_PROXY_KUBECONFIG},
        "hostnameOverride": node.name,
        "clusterCIDR": programs::list(topology.cluster_cidrs()),
        // These are the whole machine's: it may not set them, and ends if it cannot.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "oomScoreAdj": 0,
    })
}

/// Read by containerd 1 and 2.
fn containerd() -> String {
    // Snapshotters that need what the machine may not have are not even tried.
    let snapshotters = ["aufs", "btrfs", "devmapper", "zfs"];
    let disabled = snapshotters.map(|name| format!("\"io.containerd.snapshotter.v1.{name}\""));
    format!(
        r#"version = 2
disabled_plugins = [{disabled}]

[grpc]
address = "{CONTAINERD_SOCKET}"

[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{PAUSE}"
# Scores below the lab's own are refused, and containers with them.
restrict_oom_score_adj = true
disable_apparmor = true

[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "overlayfs"
default_runtime_name = "runc"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
SystemdCgroup = false

[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "/opt/cni/bin"
conf_dir = "/etc/cni/net.d"
"#,
        disabled = disabled.join(", ")
    )
}

/// Writes a file that only root may read.
pub(super) fn write_private(path: &Path, text: &str) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let written = options.open(path).and_then(|mut file| file.write_all(text.as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}

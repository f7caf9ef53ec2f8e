//! How Calico is set up on a lab's nodes: programs, their environment, configuration files.

use crate::certificates;
use crate::protocol::Program;
use crate::topology::{DatastoreKind, Namespace, Node, Pool, Topology};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The supervised programs' names; their logs are `/var/log/calico/NAME.log`.
pub(super) const AGENT: &str = "calico-node";
pub(super) const DATASTORE: &str = "datastore";

/// etcd's client port.
const DATASTORE_PORT: u16 = 2379;

/// Where the datastore listens, besides its node's 127.0.0.1.
pub(super) fn datastore_address(topology: &Topology) -> Option<SocketAddr> {
    let uplinks = &topology.datastore_node()?.uplinks;
    let address = uplinks.iter().flat_map(|uplink| &uplink.addresses).next()?;
    Some(SocketAddr::new(*address, DATASTORE_PORT))
}

fn datastore_url(topology: &Topology) -> String {
    datastore_address(topology).map(|address| format!("http://{address}")).unwrap_or_default()
}

/// The datastore's server.
pub(super) fn datastore_program(topology: &Topology) -> Program {
    let local = format!("http://127.0.0.1:{DATASTORE_PORT}");
    let listen = format!("{},{local}", datastore_url(topology));
    let directory = "/var/lib/calico-datastore";
    match topology.datastore.kind {
        DatastoreKind::Embedded => {
            Program::new(&["calico", "datastore", "--listen", &listen, "--data-dir", directory])
        }
        DatastoreKind::Etcd => Program::new(&[
            "etcd",
            "--data-dir",
            directory,
            "--listen-client-urls",
            &listen,
            "--advertise-client-urls",
            &datastore_url(topology),
            "--listen-peer-urls",
            "http://127.0.0.1:2380",
            "--initial-advertise-peer-urls",
            "http://127.0.0.1:2380",
            "--initial-cluster",
            "default=http://127.0.0.1:2380",
        ]),
    }
}

/// calico-node, with the environment a manifest would give it.
pub(super) fn agent_program(topology: &Topology, node: &Node) -> Program {
    let modes = topology.default_pool_modes();
    let mut environment = BTreeMap::new();
    let mut set = |name: &str, value: &str| environment.insert(name.to_owned(), value.to_owned());
    set("NODENAME", &node.name);
    set("DATASTORE_TYPE", "etcdv3");
    // A busy machine starts an agent before its datastore answers.
    set("WAIT_FOR_DATASTORE", "true");
    set("ETCD_ENDPOINTS", &datastore_url(topology));
    set("IP", "autodetect");
    set("IP_AUTODETECTION_METHOD", "first-found");
    set("CLUSTER_TYPE", "lab");
    set("CALICO_NETWORKING_BACKEND", topology.backend.as_str());
    set("CALICO_MANAGE_CNI", "false");
    set("CALICO_DISABLE_FILE_LOGGING", "true");
    set("FELIX_HEALTHENABLED", "true");
    set("CALICO_API_ADDRESS", "0.0.0.0");
    for (name, file) in [("CERT", "node.crt"), ("KEY", "node.key"), ("CA", "ca.crt")] {
        set(&format!("CALICO_API_{name}_FILE"), &format!("{}/{file}", certificates::DIRECTORY));
    }
    if topology.pools.is_empty() {
        set("CALICO_IPV4POOL_CIDR", &topology.pod_cidr.to_string());
        set("CALICO_IPV4POOL_IPIP", &modes.ipip_mode);
        set("CALICO_IPV4POOL_VXLAN", &modes.vxlan_mode);
        if let Some(size) = topology.block_size {
            set("CALICO_IPV4POOL_BLOCK_SIZE", &size.to_string());
        }
    } else {
        set("NO_DEFAULT_POOLS", "true");
    }
    environment.extend(topology.env.clone());
    environment.extend(node.env.clone());
    Program { command: vec![AGENT.into()], environment }
}

/// `calico-node -felix-ready`.
pub(super) fn felix_probe(topology: &Topology, node: &Node) -> Program {
    let mut program = agent_program(topology, node);
    program.command.push("-felix-ready".into());
    program
}

/// The same with `-bird-ready` where there is BGP, as a manifest's probe has it.
pub(super) fn readiness_probe(topology: &Topology, node: &Node) -> Program {
    let mut program = felix_probe(topology, node);
    if topology.backend == crate::topology::Backend::Bird {
        program.command.push("-bird-ready".into());
    }
    program
}

/// Environment of commands that a user runs on a node.
pub(super) fn user_environment(topology: &Topology, node: &str) -> BTreeMap<String, String> {
    let local = format!("127.0.0.1:{DATASTORE_PORT}");
    let here = topology.datastore_node().is_some_and(|holder| holder.name == node);
    let url = if here { local } else { datastore_url(topology) };
    // etcdctl 3.4's `endpoint` sends what it finds here as `:authority`, which no scheme may be in.
    let endpoint = url.trim_start_matches("http://").to_owned();
    BTreeMap::from(
        [
            ("ETCDCTL_API", "3"),
            ("ETCDCTL_ENDPOINTS", &endpoint),
            ("NODENAME", node),
            ("FELIX_HEALTHENABLED", "true"),
            ("CALICO_NETWORKING_BACKEND", topology.backend.as_str()),
        ]
        .map(|(name, value)| (name.into(), value.into())),
    )
}

/// A node's configuration files.
pub(super) fn files(topology: &Topology, node: &Node) -> BTreeMap<PathBuf, String> {
    let conflist = topology.cni_config.clone();
    let conflist = conflist.unwrap_or_else(|| format!("{:#}\n", cni_configuration(topology, node)));
    let calicoctl = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "CalicoAPIConfig",
        "metadata": {},
        "spec": {"datastoreType": "etcdv3", "etcdEndpoints": datastore_url(topology)},
    });
    BTreeMap::from([
        ("/etc/cni/net.d/10-calico.conflist".into(), conflist),
        ("/etc/calico/calicoctl.cfg".into(), format!("{calicoctl:#}\n")),
    ])
}

/// The walkthrough's configuration.
fn cni_configuration(topology: &Topology, node: &Node) -> Value {
    json!({
        "name": "k8s-pod-network",
        "cniVersion": "0.3.1",
        "plugins": [
            {
                "type": "calico",
                "log_level": "info",
                "log_file_path": "/var/log/calico/cni/cni.log",
                "datastore_type": "etcdv3",
                "etcd_endpoints": datastore_url(topology),
                "nodename": node.name,
                "ipam": {"type": "calico-ipam", "assign_ipv4": "true"},
                "policy": {"type": "none"},
            },
            {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}},
            {"type": "bandwidth", "capabilities": {"bandwidth": true}},
        ],
    })
}

/// All resources to apply before the first node starts: the user's own over the lab's.
pub(super) fn resources(topology: &Topology) -> Vec<Value> {
    let profiles = topology.namespaces.iter().flat_map(profiles);
    let pools = topology.pools.iter().map(pool_resource);
    profiles.chain(topology.resources.iter().cloned()).chain(pools).collect()
}

/// The Profiles that say a namespace and its service accounts to Calico, as kube-controllers write
/// them to etcd (`calico-features.md` §3.3).
pub(super) fn profiles(namespace: &Namespace) -> Vec<Value> {
    let profile = |name: String, spec: Value| {
        json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "Profile",
            "metadata": {"name": name},
            "spec": spec,
        })
    };
    let allow = json!([{"action": "Allow"}]);
    let labels = prefixed("pcns.", &namespace.name, &namespace.labels);
    let spec = json!({"ingress": allow, "egress": allow, "labelsToApply": labels});
    let mut all = vec![profile(namespace_profile(&namespace.name), spec)];
    for (account, labels) in &namespace.service_accounts {
        let spec = json!({"labelsToApply": prefixed("pcsa.", account, labels)});
        all.push(profile(service_account_profile(&namespace.name, account), spec));
    }
    all
}

/// The profile of a namespace.
pub(super) fn namespace_profile(namespace: &str) -> String {
    format!("kns.{namespace}")
}

/// The profile of a service account.
pub(super) fn service_account_profile(namespace: &str, account: &str) -> String {
    format!("ksa.{namespace}.{account}")
}

fn prefixed(
    prefix: &str,
    name: &str,
    labels: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let labels = labels.iter().map(|(key, value)| (format!("{prefix}{key}"), value.clone()));
    labels.chain([(format!("{prefix}projectcalico.org/name"), name.to_owned())]).collect()
}

fn pool_resource(pool: &Pool) -> Value {
    let mut spec = json!({
        "cidr": pool.cidr,
        "ipipMode": pool.ipip_mode,
        "vxlanMode": pool.vxlan_mode,
        "natOutgoing": pool.nat_outgoing,
        "nodeSelector": pool.node_selector,
    });
    if let Some(size) = pool.block_size {
        spec["blockSize"] = size.into();
    }
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "IPPool",
        "metadata": {"name": pool.name},
        "spec": spec,
    })
}

/// `/etc/hosts` of every machine and pod.
pub(super) fn hosts(topology: &Topology, pods: &[(String, Vec<IpAddr>)]) -> String {
    let mut text = String::from("127.0.0.1 localhost\n::1 localhost ip6-localhost\n");
    let machines = topology.machines().into_iter();
    let machines = machines.map(|machine| (machine.name.clone(), machine.addresses().collect()));
    let outside = ("outside".to_owned(), vec![topology.outside.address.addr()]);
    for (name, addresses) in machines.chain([outside]).chain(pods.iter().cloned()) {
        for address in addresses {
            text += &format!("{address} {name}\n");
        }
    }
    text
}

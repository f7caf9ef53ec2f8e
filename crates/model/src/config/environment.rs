//! Variables of calico-node, its clients and its companions that are known but not acted on.
//!
//! Source: `calico-features.md` §3.1, §5, §7, §8, §10.

use super::definition::Definition;
use super::setting::ValueType::{self, Bool, Text};

const CLIENT: &str = "The connection to the datastore.";
const KUBERNETES: &str = "The Kubernetes datastore.";
const NODE: &str = "calico-node.";
const BGP: &str = "BGP.";
const EBPF: &str = "The eBPF dataplane.";
const CONTROLLERS: &str = "kube-controllers.";

const fn row(
    belongs_to: &'static str,
    name: &'static str,
    value_type: ValueType,
    default: &'static str,
) -> Definition {
    Definition::variable_named(name, value_type, default).about(belongs_to)
}

pub(super) static RECOGNISED: &[Definition] = &[
    row(CLIENT, "ETCD_DISCOVERY_SRV", Text, ""),
    row(KUBERNETES, "K8S_DISABLE_NODE_POLL", Bool, "false"),
    row(KUBERNETES, "K8S_CLIENT_QPS", Text, ""),
    row(KUBERNETES, "K8S_CLIENT_BURST", Text, ""),
    row(NODE, "CALICO_SHUTDOWN_TIMESTAMP_FILE", Text, "/var/lib/calico/shutdownTS"),
    row(NODE, "CALICO_DISABLE_FELIX", Bool, "false"),
    row(NODE, "CALICO_NETWORKING", Bool, ""),
    row(BGP, "CALICO_ADVERTISE_CLUSTER_IPS", Text, ""),
    row(BGP, "BGP_LOGSEVERITYSCREEN", Text, ""),
    row(EBPF, "CALICO_CGROUP_PATH", Text, ""),
    row(EBPF, "KUBERNETES_SERVICE_IPS_PORTS", Text, ""),
    row(EBPF, "KUBERNETES_APISERVER_ENDPOINTS", Text, ""),
    row(CONTROLLERS, "CALICO_KUBE_CONTROLLERS_INNER", Text, ""),
];

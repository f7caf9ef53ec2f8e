//! What `get` shows of each kind, column by column.

use model::Kind;
use model::kubernetes::LabelSelector;
use model::resources::tier::DEFAULT_TIER;
use serde_json::Value;

/// A column: its heading, and the cell of a resource.
pub(crate) struct Column {
    pub(crate) heading: &'static str,
    pub(crate) cell: fn(&Value) -> String,
}

macro_rules! columns {
    ($($heading:literal => $cell:expr),* $(,)?) => {
        vec![$(Column { heading: $heading, cell: $cell }),*]
    };
}

/// The columns of a kind for `ps`, or for `wide`. `rows` decides whether a newer column says
/// something.
pub(crate) fn columns(kind: Kind, wide: bool, rows: &[Value]) -> Vec<Column> {
    match (kind, wide) {
        (Kind::BgpConfiguration, _) => columns! {
            "NAME" => name,
            "LOGSEVERITY" => |v| text(&v["spec"]["logSeverityScreen"]),
            "MESHENABLED" => |v| text(&v["spec"]["nodeToNodeMeshEnabled"]),
            "ASNUMBER" => |v| text(&v["spec"]["asNumber"]),
        },
        (Kind::BgpFilter, _) => columns! {
            "NAME" => name,
            "NUMEXPORTV4" => |v| count(&v["spec"]["exportV4"]),
            "NUMIMPORTV4" => |v| count(&v["spec"]["importV4"]),
            "NUMEXPORTV6" => |v| count(&v["spec"]["exportV6"]),
            "NUMIMPORTV6" => |v| count(&v["spec"]["importV6"]),
        },
        (Kind::BgpPeer, _) => columns! {
            "NAME" => name,
            "PEERIP" => |v| text(&v["spec"]["peerIP"]),
            "NODE" => peer_node,
            "ASN" => |v| text(&v["spec"]["asNumber"]),
        },
        (Kind::BlockAffinity, _) => columns! {
            "NAME" => name,
            "CIDR" => |v| text(&v["spec"]["cidr"]),
            "NODE" => |v| text(&v["spec"]["node"]),
            "STATE" => |v| text(&v["spec"]["state"]),
        },
        (Kind::CalicoNodeStatus, false) => columns! {
            "NAME" => name,
            "NODE" => |v| text(&v["spec"]["node"]),
        },
        (Kind::CalicoNodeStatus, true) => columns! {
            "NAME" => name,
            "NODE" => |v| text(&v["spec"]["node"]),
            "CLASSES" => |v| list(&v["spec"]["classes"]),
        },
        (Kind::ClusterInformation, _) => columns! {
            "NAME" => name,
            "CLUSTERGUID" => |v| text(&v["spec"]["clusterGUID"]),
            "CLUSTERTYPE" => |v| text(&v["spec"]["clusterType"]),
            "CALICOVERSION" => |v| text(&v["spec"]["calicoVersion"]),
            "DATASTOREREADY" => |v| text(&v["spec"]["datastoreReady"]),
        },
        (
            Kind::GlobalNetworkPolicy
            | Kind::NetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
            | Kind::StagedNetworkPolicy,
            wide,
        ) => policy(wide),
        (Kind::GlobalNetworkSet | Kind::NetworkSet, true) => columns! {
            "NAME" => name,
            "NETS" => nets,
        },
        (Kind::HostEndpoint, false) => columns! {
            "NAME" => name,
            "NODE" => |v| text(&v["spec"]["node"]),
        },
        (Kind::HostEndpoint, true) => columns! {
            "NAME" => name,
            "NODE" => |v| text(&v["spec"]["node"]),
            "INTERFACE" => |v| text(&v["spec"]["interfaceName"]),
            "IPS" => |v| list(&v["spec"]["expectedIPs"]),
            "PROFILES" => |v| list(&v["spec"]["profiles"]),
        },
        (Kind::IpamBlock, _) => columns! {
            "NAME" => name,
            "CIDR" => |v| text(&v["spec"]["cidr"]),
            "AFFINITY" => |v| text(&v["spec"]["affinity"]),
        },
        (Kind::IpamConfig, false) => columns! {
            "NAME" => name,
            "STRICTAFFINITY" => |v| text(&v["spec"]["strictAffinity"]),
            "AUTOALLOCATEBLOCKS" => |v| text(&v["spec"]["autoAllocateBlocks"]),
        },
        (Kind::IpamConfig, true) => columns! {
            "NAME" => name,
            "STRICTAFFINITY" => |v| text(&v["spec"]["strictAffinity"]),
            "AUTOALLOCATEBLOCKS" => |v| text(&v["spec"]["autoAllocateBlocks"]),
            "MAXBLOCKSPERHOST" => |v| text(&v["spec"]["maxBlocksPerHost"]),
        },
        (Kind::IpPool, false) => columns! {
            "NAME" => name,
            "CIDR" => |v| text(&v["spec"]["cidr"]),
            "SELECTOR" => |v| text(&v["spec"]["nodeSelector"]),
        },
        (Kind::IpPool, true) => pool_wide(rows),
        (Kind::IpReservation, true) => columns! {
            "NAME" => name,
            "CIDRS" => |v| list(&v["spec"]["reservedCIDRs"]),
        },
        (Kind::Node, true) => columns! {
            "NAME" => name,
            "ASN" => node_as,
            "IPV4" => |v| text(&v["spec"]["bgp"]["ipv4Address"]),
            "IPV6" => |v| text(&v["spec"]["bgp"]["ipv6Address"]),
        },
        (Kind::Profile, true) => columns! {
            "NAME" => name,
            "LABELS" => |v| pairs(&v["spec"]["labelsToApply"]),
        },
        (Kind::StagedKubernetesNetworkPolicy, true) => columns! {
            "NAME" => name,
            "PODSELECTOR" => pod_selector,
        },
        (Kind::Tier, _) => columns! {
            "NAME" => name,
            "ORDER" => order,
        },
        (Kind::WorkloadEndpoint, false) => columns! {
            "WORKLOAD" => workload,
            "NODE" => |v| text(&v["spec"]["node"]),
            "NETWORKS" => |v| list(&v["spec"]["ipNetworks"]),
            "INTERFACE" => |v| text(&v["spec"]["interfaceName"]),
        },
        (Kind::WorkloadEndpoint, true) => columns! {
            "NAME" => name,
            "WORKLOAD" => workload,
            "NODE" => |v| text(&v["spec"]["node"]),
            "NETWORKS" => |v| list(&v["spec"]["ipNetworks"]),
            "INTERFACE" => |v| text(&v["spec"]["interfaceName"]),
            "PROFILES" => |v| list(&v["spec"]["profiles"]),
            "NATS" => nats,
        },
        (
            Kind::FelixConfiguration
            | Kind::GlobalNetworkSet
            | Kind::IpReservation
            | Kind::IpamHandle
            | Kind::KubeControllersConfiguration
            | Kind::NetworkSet
            | Kind::Node
            | Kind::Profile
            | Kind::StagedKubernetesNetworkPolicy,
            _,
        ) => columns! { "NAME" => name },
    }
}

/// The walkthroughs' columns; ASSIGNMENTMODE only where a pool has another than the default.
fn pool_wide(rows: &[Value]) -> Vec<Column> {
    let mut columns = columns! {
        "NAME" => name,
        "CIDR" => |v| text(&v["spec"]["cidr"]),
        "NAT" => |v| flag(&v["spec"]["natOutgoing"]),
        "IPIPMODE" => |v| text(&v["spec"]["ipipMode"]),
        "VXLANMODE" => |v| text(&v["spec"]["vxlanMode"]),
        "DISABLED" => |v| flag(&v["spec"]["disabled"]),
        "DISABLEBGPEXPORT" => |v| flag(&v["spec"]["disableBGPExport"]),
        "SELECTOR" => |v| text(&v["spec"]["nodeSelector"]),
    };
    if rows.iter().any(|row| row["spec"]["assignmentMode"] == "Manual") {
        columns.push(Column { heading: "ASSIGNMENTMODE", cell: assignment_mode });
    }
    columns
}

fn policy(wide: bool) -> Vec<Column> {
    let mut columns = columns! {
        "NAME" => name,
        "TIER" => tier,
    };
    if wide {
        columns.extend(columns! {
            "ORDER" => order,
            "SELECTOR" => |v| text(&v["spec"]["selector"]),
        });
    }
    columns
}

/// `metadata.name`.
pub(crate) fn name(value: &Value) -> String {
    text(&value["metadata"]["name"])
}

/// A text as it is, other values as JSON, nothing as nothing.
pub(crate) fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn flag(value: &Value) -> String {
    (*value == Value::Bool(true)).to_string()
}

fn list(value: &Value) -> String {
    let elements = value.as_array().map(Vec::as_slice).unwrap_or_default();
    elements.iter().map(text).collect::<Vec<_>>().join(",")
}

/// How many elements a list has; one left out has none.
fn count(value: &Value) -> String {
    value.as_array().map_or(0, Vec::len).to_string()
}

fn pairs(value: &Value) -> String {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(",")
}

fn assignment_mode(value: &Value) -> String {
    match value["spec"]["assignmentMode"].as_str() {
        Some(mode) => mode.to_owned(),
        None => "Automatic".to_owned(),
    }
}

/// A peer of all nodes is `(global)`.
fn peer_node(value: &Value) -> String {
    let spec = &value["spec"];
    match (spec["node"].as_str(), spec["nodeSelector"].as_str()) {
        (Some(node), _) => node.to_owned(),
        (None, Some(selector)) => selector.to_owned(),
        (None, None) => "(global)".to_owned(),
    }
}

/// The cluster's AS stands in brackets.
fn node_as(value: &Value) -> String {
    match &value["spec"]["bgp"]["asNumber"] {
        Value::Null => "(64512)".to_owned(),
        own => text(own),
    }
}

/// A policy that names no tier is of the default one.
fn tier(value: &Value) -> String {
    match value["spec"]["tier"].as_str() {
        None | Some("") => DEFAULT_TIER.to_owned(),
        Some(tier) => tier.to_owned(),
    }
}

/// An order as Go writes a number: from 1000000 on with an exponent; `<nil>` for none.
fn order(value: &Value) -> String {
    const EXPONENT_FROM: f64 = 1e6;
    let Some(order) = value["spec"]["order"].as_f64() else { return "<nil>".to_owned() };
    if order.abs() < EXPONENT_FROM {
        return order.to_string();
    }
    let text = format!("{order:e}");
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    format!("{digits}e+{exponent:0>2}")
}

/// Ranges, cut where they would fill the terminal.
fn nets(value: &Value) -> String {
    const SHOWN_MAX: usize = 80;
    const CUT: &str = "...";
    let all = list(&value["spec"]["nets"]);
    match all.char_indices().nth(SHOWN_MAX) {
        None => all,
        Some(_) => all.chars().take(SHOWN_MAX - CUT.len()).chain(CUT.chars()).collect(),
    }
}

/// The selector as one of Calico's.
fn pod_selector(value: &Value) -> String {
    let selector = serde_json::from_value(value["spec"]["podSelector"].clone());
    selector.map(|selector: LabelSelector| selector.to_selector()).unwrap_or_default()
}

fn workload(value: &Value) -> String {
    let pod = text(&value["spec"]["pod"]);
    if pod.is_empty() { text(&value["spec"]["workload"]) } else { pod }
}

fn nats(value: &Value) -> String {
    let nats = value["spec"]["ipNATs"].as_array().map(Vec::as_slice).unwrap_or_default();
    let pair = |nat: &Value| format!("{}->{}", text(&nat["internalIP"]), text(&nat["externalIP"]));
    nats.iter().map(pair).collect::<Vec<_>>().join(",")
}

//! What nodes and IPAM hold for pods, held against the pods that there are.

use crate::cluster::{Cluster, LIMIT};
use crate::workloads::calicoctl;
use serde_json::Value;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Instant;

const NODES: [&str; 2] = ["n1", "n2"];
/// The pool's network and the addresses that it could have.
const POOL: &str = "192.168.0.0";

fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(text: &str) -> Vec<Value> {
    let list: Value = serde_json::from_str(text).expect("JSON");
    list["items"].as_array().expect("a list").clone()
}

/// Waits until everything that is held is some pod's, and every pod has all of it: an interface, a
/// route, rules, a network namespace; an address in a block, and its handle. No set of Calico's has
/// an address that is nobody's.
pub(crate) fn await_balance(cluster: &Cluster) {
    let begin = Instant::now();
    loop {
        let (held, accounted) = (held(cluster), accounted(cluster));
        if held == accounted {
            return println!("{} things are held, all by pods", held.len());
        }
        if begin.elapsed() > LIMIT * 2 {
            let beyond: Vec<_> = held.difference(&accounted).collect();
            let missing: Vec<_> = accounted.difference(&held).collect();
            panic!("held by nobody: {beyond:#?}; missing: {missing:#?}");
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
}

fn held(cluster: &Cluster) -> BTreeSet<String> {
    let mut held = BTreeSet::new();
    let mut addresses = BTreeSet::from([POOL.to_owned()]);
    for block in items(&cluster.kubectl("get ipamblocks.crd.projectcalico.org -o json")) {
        let spec = &block["spec"];
        let (network, _) = word(&spec["cidr"]).split_once('/').expect("a prefix");
        let network = u32::from(network.parse::<Ipv4Addr>().expect("an IPv4 address"));
        for (ordinal, index) in (0..).zip(spec["allocations"].as_array().expect("a list")) {
            let Some(index) = index.as_u64() else { continue };
            let holder = &spec["attributes"][index as usize];
            let address = Ipv4Addr::from(network + ordinal).to_string();
            let pod = &holder["secondary"];
            let handle = word(&holder["handle_id"]);
            held.insert(match word(&pod["type"]) {
                "" => format!(
                    "address {address}: {}/{} on {}, {handle}",
                    word(&pod["namespace"]),
                    word(&pod["pod"]),
                    word(&pod["node"])
                ),
                kind => format!("address: {kind} on {}, {handle}", word(&pod["node"])),
            });
            addresses.insert(address);
        }
    }
    for handle in items(&cluster.kubectl("get ipamhandles.crd.projectcalico.org -o json")) {
        held.insert(format!("handle {}", word(&handle["spec"]["handleID"])));
    }
    for node in NODES {
        let lines = r#"ip -o link | grep -Eo 'cali[0-9a-f]{11}' | sed 's/^/interface /'
            ip route | awk '$2 == "dev" && $3 ~ /^cali/ {print "route", $1, $3}'
            nft list table ip calico | grep -Eo 'cali[0-9a-f]{11}' | sed 's/^/rules /'
            nft list table ip calico | grep -Eo '192\.168(\.[0-9]+){2}' | sed 's/^/element /'
            echo namespaces $(ls /run/netns | wc -l)"#;
        for line in cluster.run(node, lines).lines() {
            let of_pods = line.strip_prefix("element ").is_some_and(|one| addresses.contains(one));
            if !of_pods {
                held.insert(format!("{node} {line}"));
            }
        }
    }
    held
}

fn accounted(cluster: &Cluster) -> BTreeSet<String> {
    let mut accounted = BTreeSet::new();
    for node in NODES {
        let handle = format!("ipip-tunnel-addr-{node}");
        accounted.insert(format!("address: ipipTunnelAddress on {node}, {handle}"));
        accounted.insert(format!("handle {handle}"));
    }
    let endpoints = items(&calicoctl(cluster, "get wep -A -o json"));
    for endpoint in &endpoints {
        let spec = &endpoint["spec"];
        let (node, interface) = (word(&spec["node"]), word(&spec["interfaceName"]));
        let address = word(&spec["ipNetworks"][0]).trim_end_matches("/32");
        let pod = format!("{}/{}", word(&endpoint["metadata"]["namespace"]), word(&spec["pod"]));
        let handle = format!("k8s-pod-network.{}", word(&spec["containerID"]));
        accounted.insert(format!("address {address}: {pod} on {node}, {handle}"));
        accounted.insert(format!("handle {handle}"));
        accounted.insert(format!("{node} interface {interface}"));
        accounted.insert(format!("{node} rules {interface}"));
        accounted.insert(format!("{node} route {address} {interface}"));
    }
    for node in NODES {
        let count = endpoints.iter().filter(|endpoint| endpoint["spec"]["node"] == node).count();
        accounted.insert(format!("{node} namespaces {count}"));
    }
    accounted
}

//! Pods that do nothing but have a network, calicoctl, and what is left of all that.

use crate::cluster::Cluster;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// Pods on both nodes in two namespaces, a service and accounts.
pub(crate) const SHOP: &str = include_str!("manifests/shop.yaml");

/// What calicoctl prints.
pub(crate) fn calicoctl(cluster: &Cluster, line: &str) -> String {
    cluster.run("control-plane", &format!("calicoctl {line}"))
}

/// `calicoctl apply` or `delete` of a resource.
pub(crate) fn resources(cluster: &Cluster, verb: &str, resource: &Value) {
    calicoctl(cluster, &format!("{verb} -f - <<'END'\n{resource}\nEND"));
}

/// Applies a NetworkPolicy of an app's name: `from` alone may ask its pods, at one port.
pub(crate) fn guard(cluster: &Cluster, namespace: &str, app: &str, from: &Value, port: &Value) {
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": app, "namespace": namespace},
        "spec": {
            "podSelector": {"matchLabels": {"app": app}}, "policyTypes": ["Ingress"],
            "ingress": [{"from": [from], "ports": [{"port": port}]}],
        },
    });
    cluster.apply(&policy.to_string());
}

/// A pod that does nothing, with these annotations.
pub(crate) fn idle(name: &str, namespace: &str, node: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations: Value =
        annotations.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": namespace, "labels": {"app": "web"},
            "annotations": annotations,
        },
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "containers": [{
                "name": "idle", "image": "calico.lab/busybox:1", "command": ["sleep", "1000000"],
            }],
        },
    })
}

/// Starts a pod; returns when it is ready.
pub(crate) fn start(cluster: &Cluster, name: &str, namespace: &str, node: &str) {
    cluster.apply(&idle(name, namespace, node, &[]).to_string());
    await_ready(cluster, name, namespace);
}

pub(crate) fn await_ready(cluster: &Cluster, name: &str, namespace: &str) {
    let wait = format!("wait -n {namespace} --for=condition=Ready pod/{name} --timeout=90s");
    cluster.kubectl(&wait);
}

/// What nodes and the datastore hold of pods: interfaces, routes, rules, sets, removals that wait,
/// host-local's files; handles, and addresses in blocks.
pub(crate) fn remains(cluster: &Cluster) -> String {
    let of_node = |node: &str| {
        let lines = "exec 2>/dev/null; \
                     ip -o link | grep -Eo '(cali[0-9a-f]{11}|bwp[0-9a-z]+|ifb[0-9a-z]+)' | sort -u; \
                     ip route | grep cali; ip -6 route | grep cali; \
                     nft list ruleset | grep -o 'cali[0-9a-f]\\{11\\}' | sort -u; \
                     nft list table ip calico | grep -Eo '192\\.168(\\.[0-9]+){2}' | sort -u; \
                     find /var/lib/calico/cni-spool -name '*.json'; \
                     find /var/lib/cni/networks -name '[0-9]*'; \
                     ls /run/netns; true";
        format!("{node}:\n{}", cluster.run(node, lines))
    };
    let list = |resource: &str| {
        let text = cluster.kubectl(&format!("get {resource}.crd.projectcalico.org -o json"));
        let list: Value = serde_json::from_str(&text).expect("JSON");
        list["items"].as_array().expect("a list").clone()
    };
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut held = BTreeSet::new();
    for handle in list("ipamhandles") {
        held.insert(format!("handle {}", word(&handle["spec"]["handleID"])));
    }
    for block in list("ipamblocks") {
        let (spec, cidr) = (&block["spec"], word(&block["spec"]["cidr"]));
        for allocation in spec["allocations"].as_array().into_iter().flatten() {
            if let Some(index) = allocation.as_u64().and_then(|index| usize::try_from(index).ok()) {
                let handle = word(&spec["attributes"][index]["handle_id"]);
                held.insert(format!("block {cidr}: an address of {handle}"));
            }
        }
    }
    let held: String = held.into_iter().map(|line| line + "\n").collect();
    ["n1", "n2"].map(of_node).concat() + &held
}

/// Waits until nothing is left but what there was, and says what is where it is more.
pub(crate) fn await_nothing_but(cluster: &Cluster, before: &str) {
    let mut now = String::new();
    let begin = std::time::Instant::now();
    while begin.elapsed() < crate::cluster::LIMIT * 2 {
        now = remains(cluster);
        if now == before {
            return;
        }
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    panic!("left behind, before:\n{before}\nand now:\n{now}");
}

//! An IPAM block whose lists contradict each other or are none, as a backup's or another program's may.

use super::{delete_pod, is_released, status_says, status_says_no_more};
use crate::cluster::Cluster;
use crate::connections::Pods;
use crate::workloads::{calicoctl, start};
use serde_json::{Value, json};

pub(super) fn is_told_and_left_alone(cluster: &Cluster) {
    start(cluster, "held", "bank", "n1");
    let address = Pods::of(cluster).address("held").to_owned();
    let (name, spec) = block_of(cluster, &address);
    let change = |attributes: &Value| {
        let patch = json!({"spec": {"attributes": attributes}});
        let block = format!("ipamblocks.crd.projectcalico.org/{name}");
        cluster.lab(&["kubectl", "patch", &block, "--type=merge", "-p", &patch.to_string()]);
    };
    change(&json!([]));
    let cidr = spec["cidr"].as_str().expect("a range");
    status_says(cluster, "n1", &[&format!("block {cidr}"), "names attribute", "correct it"]);
    // Pods have addresses of other blocks.
    for node in ["n1", "n2"] {
        start(cluster, &format!("on-{node}"), "bank", node);
    }
    let pods = Pods::of(cluster);
    pods.come_out(cluster, "on-n1 web tcp/80 allowed\non-n2 held ping allowed");
    assert_ne!(block_of(cluster, pods.address("on-n1")).0, name);
    // Of another form altogether it is left alone too, and its pods stay where they are.
    change(&json!("many"));
    status_says(cluster, "n1", &[&format!("block {cidr}"), "cannot be read", "from a backup"]);
    pods.come_out(cluster, "on-n2 held ping allowed");
    change(&spec["attributes"]);
    status_says_no_more(cluster, "n1", &format!("block {cidr}"));
    for pod in ["held", "on-n1", "on-n2"] {
        delete_pod(cluster, pod, "bank");
        is_released(cluster, pods.address(pod));
    }
    let shown = calicoctl(cluster, "ipam show");
    assert!(shown.contains("192.168.0.0/16"), "{shown}");
}

/// The name and spec of the block that an address is of.
fn block_of(cluster: &Cluster, address: &str) -> (String, Value) {
    let list = cluster.kubectl("get ipamblocks.crd.projectcalico.org -o json");
    let mut list: Value = serde_json::from_str(&list).expect("JSON");
    let last = |text: &str| text.parse::<std::net::Ipv4Addr>().map(u32::from).ok();
    let blocks = list["items"].as_array_mut().expect("a list").iter_mut();
    let mut found = blocks.filter(|block| {
        let begin = block["spec"]["cidr"].as_str().and_then(|cidr| cidr.strip_suffix("/26"));
        begin.and_then(last).zip(last(address)).is_some_and(|(begin, own)| own & !63 == begin)
    });
    let block = found.next().unwrap_or_else(|| panic!("no block has {address}"));
    let name = block["metadata"]["name"].as_str().expect("a name").to_owned();
    (name, block["spec"].take())
}

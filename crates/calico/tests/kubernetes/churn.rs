//! Hundreds of pods come and go with their namespaces, a node reboots: nothing of them is left. It
//! keeps the machine busy while another cluster waits to be connected again.

use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{MANIFEST, await_controllers, installed};
use crate::ledger::await_balance;
use crate::outage::pods_outlive_outages;
use crate::workloads::{await_nothing_but, await_ready, idle, remains, resources};
use serde_json::{Value, json};
use std::time::Instant;

/// Pods in all: so many namespaces, one after the other, of so many pods. CALICO_CHURN_NAMESPACES is
/// another number of them.
const NAMESPACES: usize = 4;
const PODS_EACH: usize = 50;

#[test]
fn nothing_is_left_of_hundreds_of_pods_and_outages_are_outlived() {
    std::thread::scope(|scope| {
        let outages = scope.spawn(pods_outlive_outages);
        nothing_is_left_of_hundreds_of_pods();
        outages.join().expect("outages are outlived");
    });
}

fn nothing_is_left_of_hundreds_of_pods() {
    let cluster = installed("churn", MANIFEST);
    await_controllers(&cluster);
    // The image is there, and each node has its block.
    for node in ["n1", "n2"] {
        cluster.apply(&idle(&format!("stays-{node}"), "default", node, &[]).to_string());
    }
    for node in ["n1", "n2"] {
        await_ready(&cluster, &format!("stays-{node}"), "default");
    }
    await_balance(&cluster);
    let before = remains(&cluster);
    let namespaces = std::env::var("CALICO_CHURN_NAMESPACES").ok();
    let namespaces = namespaces.map_or(NAMESPACES, |text| text.parse().expect("a number"));
    let begin = Instant::now();
    for number in 0..namespaces {
        let name = format!("crowd-{number}");
        make_crowd(&cluster, &name);
        is_guarded(&cluster, &name);
        // It goes while the next one comes.
        cluster.kubectl(&format!("delete namespace --wait=false {name}"));
    }
    cluster.within(LIMIT * 3, "the namespaces are gone", |cluster| {
        !cluster.kubectl("get namespaces -o name").contains("crowd-")
    });
    println!("{} pods came and went in {:.1?}", namespaces * PODS_EACH, begin.elapsed());
    await_nothing_but(&cluster, &before);
    await_balance(&cluster);
    a_reboot_leaves_nothing(&cluster);
}

/// A namespace of pods on both nodes, which only pods of it may ask: in Kubernetes' and in Calico's
/// words.
fn make_crowd(cluster: &Cluster, name: &str) {
    let mut pod = idle(name, name, "", &[]);
    let spec = pod["spec"].as_object_mut().expect("an object");
    spec.remove("nodeName");
    let labels = json!({"app": "web"});
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "crowd", "namespace": name},
        "spec": {
            "replicas": PODS_EACH, "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": Value::from(spec.clone())},
        },
    });
    let policy = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "own", "namespace": name},
        "spec": {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}]}]},
    });
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    for object in [namespace, policy, deployment] {
        cluster.apply(&object.to_string());
    }
    let of_calico = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": {"name": "own", "namespace": name},
        "spec": {
            "selector": "app == 'web'", "types": ["Egress"],
            "egress": [{"action": "Allow", "destination": {"selector": "app == 'web'"}}],
        },
    });
    resources(cluster, "apply", &of_calico);
    cluster.kubectl(&format!("rollout status deployment/crowd -n {name} --timeout=180s"));
}

/// Pods of the namespace reach each other from node to node, and others don't reach them.
fn is_guarded(cluster: &Cluster, namespace: &str) {
    let named = cluster.kubectl(&format!("get pods -n {namespace} -o name"));
    let pods = Pods::of(cluster);
    let on = |node: &str| {
        let names = named.lines().filter_map(|line| line.strip_prefix("pod/"));
        let mut there = names.filter(|name| pods.place(name).node == node);
        there.next().unwrap_or_else(|| panic!("no pod of {namespace} on {node}: {named}"))
    };
    let (one, other) = (on("n1"), on("n2"));
    pods.come_out(cluster, &format!("{one} {other} ping allowed\nstays-n1 {other} ping denied"));
}

/// Some pods of a node are deleted before it reboots, some while it does; some come back.
fn a_reboot_leaves_nothing(cluster: &Cluster) {
    let names: Vec<String> = (0..6).map(|number| format!("boots-{number}")).collect();
    for name in &names {
        cluster.apply(&idle(name, "default", "n2", &[]).to_string());
    }
    for name in &names {
        await_ready(cluster, name, "default");
    }
    let delete = |names: &[String]| {
        cluster.kubectl(&format!("delete pod --wait=false {}", names.join(" ")));
    };
    delete(&names[..2]);
    std::thread::scope(|scope| {
        let reboot = scope.spawn(|| cluster.lab(&["node", "reboot", "n2"]));
        delete(&names[2..4]);
        reboot.join().expect("it reboots");
    });
    cluster.within(LIMIT * 2, "the pods that were deleted are gone", |cluster| {
        let there = cluster.kubectl("get pods -o name");
        !names[..4].iter().any(|name| there.contains(name.as_str()))
    });
    for name in names[4..].iter().map(String::as_str).chain(["stays-n2"]) {
        let restarts = "jsonpath={.status.containerStatuses[0].restartCount}";
        cluster.within(LIMIT, &format!("{name} runs again"), |cluster| {
            cluster.kubectl(&format!("get pod {name} -o {restarts}")) == "1"
        });
        await_ready(cluster, name, "default");
    }
    Pods::of(cluster).come_out(cluster, "stays-n1 boots-5 ping allowed");
    await_balance(cluster);
    delete(&names[4..]);
    cluster.within(LIMIT, "they are gone", |cluster| {
        !cluster.kubectl("get pods -o name").contains("pod/boots-")
    });
    await_balance(cluster);
}

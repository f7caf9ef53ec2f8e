//! Permissions that are taken from Calico's accounts at run time, and given back.

use super::{
    GUARDED, delete_pod, events_say, has, is_released, log_of, status_says, status_says_no_more,
};
use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{await_calico, await_controllers};
use crate::workloads::{await_ready, idle, start};

const BINDINGS: &str = "clusterrolebinding calico-node calico-cni-plugin calico-kube-controllers";
const CONTROLLERS: &str = "-n kube-system deployment/calico-kube-controllers";
/// What names the cause and the next step.
const DENIED: [&str; 2] =
    ["is forbidden: User", "the account needs a role for it, as in manifests/"];

pub(super) fn go_and_come_back(cluster: &Cluster, pods: &Pods) {
    start(cluster, "goes", "bank", "n1");
    let address = Pods::of(cluster).address("goes").to_owned();
    let before = restarts(cluster);
    let bindings = cluster.kubectl(&format!("get {BINDINGS} -o json"));
    cluster.kubectl(&format!("delete {BINDINGS}"));
    // Watches go on as long as they last: the API server ends them with itself.
    cluster.run("control-plane", "pkill -KILL -x kube-apiserver");
    cluster.within(LIMIT, "the API server is back", |cluster| {
        cluster.try_kubectl("get --raw /readyz").0
    });
    let account = |name: &str| format!("system:serviceaccount:kube-system:{name}");
    for node in ["n1", "n2"] {
        let agent = account("calico-node");
        status_says(cluster, node, &[&DENIED[..], &[&agent, "what was known stays"]].concat());
    }
    pods.come_out(cluster, GUARDED);
    cluster.apply(&idle("comes", "bank", "n2", &[]).to_string());
    events_say(cluster, "comes", "bank", &DENIED);
    delete_pod(cluster, "goes", "bank");
    pods.come_out(cluster, GUARDED);
    let said = |flag: &str| {
        cluster.try_kubectl(&format!("exec {CONTROLLERS} -- /usr/bin/check-status {flag}"))
    };
    cluster.within(LIMIT, "kube-controllers is not ready", |_| {
        let (ready, why) = said("-r");
        !ready && has(&why, &DENIED)
    });
    assert!(said("-l").0, "kubelet need not start it anew");
    let log = cluster.kubectl(&format!("logs {CONTROLLERS}"));
    assert!(log.lines().any(|line| has(line, &DENIED)), "{log}");
    assert!(log_of(cluster, "n1").lines().any(|line| has(line, &DENIED)));
    let denials = |log: &str| log.lines().filter(|line| has(line, &DENIED)).count();
    println!("kube-controllers told of {} denials", denials(&log));
    assert!(denials(&log) < 20, "{log}");

    cluster.with_input(&["kubectl", "apply", "-f", "-"], &bindings);
    await_ready(cluster, "comes", "bank");
    Pods::of(cluster).come_out(cluster, "comes web tcp/80 allowed\ncomes api tcp/8080 denied");
    for node in ["n1", "n2"] {
        status_says_no_more(cluster, node, DENIED[0]);
    }
    is_released(cluster, &address);
    await_calico(cluster);
    await_controllers(cluster);
    assert_eq!(restarts(cluster), before);
    pods.come_out(cluster, GUARDED);
}

/// How often each container of Calico's has been started anew.
fn restarts(cluster: &Cluster) -> String {
    let field =
        "{range .items[*]}{.metadata.name} {.status.containerStatuses[*].restartCount}\n{end}";
    let words = ["kubectl", "get", "pods", "-n", "kube-system", "-o"];
    let path = format!("jsonpath={field}");
    cluster.lab(&[&words[..], &[path.as_str()]].concat())
}

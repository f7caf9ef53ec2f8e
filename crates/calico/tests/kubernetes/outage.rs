//! An API server that is slow, then cut off from the nodes for minutes: pods keep their connectivity
//! and policy, and nothing is read anew that is known.

use crate::audit::Requests;
use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{MANIFEST, await_controllers, installed};
use crate::ledger::await_balance;
use crate::workloads::{self, SHOP, await_ready, idle, start};
use serde_json::json;
use std::time::{Duration, Instant};

/// How long the control plane is cut off.
const CUT: Duration = Duration::from_secs(120);
/// Who may ask api, and who may not.
const GUARDED: &str = "
    web     api  tcp/8080  allowed
    web     api  ping      denied
    teller  api  tcp/8080  denied
    teller  web  tcp/80    allowed
";
/// The other way round.
const TURNED: &str = "
    web     api  tcp/8080  denied
    teller  api  tcp/8080  allowed
    teller  web  tcp/80    allowed
";

/// Says from which team's namespaces alone api may be asked.
fn guard(cluster: &Cluster, team: &str) {
    let from = json!({"namespaceSelector": {"matchLabels": {"team": team}}});
    workloads::guard(cluster, "shop", "api", &from, &json!(8080));
}

/// Of a cluster of its own, beside which another may be busy.
pub(crate) fn pods_outlive_outages() {
    let cluster = installed("outage", MANIFEST);
    await_controllers(&cluster);
    cluster.apply(SHOP);
    cluster.kubectl("wait -n shop --for=condition=Ready pod/web pod/api --timeout=60s");
    cluster.kubectl("wait -n bank --for=condition=Ready pod/teller --timeout=60s");
    start(&cluster, "goes", "bank", "n1");
    let pods = Pods::of(&cluster);
    guard(&cluster, "shop");
    pods.come_out(&cluster, GUARDED);
    Requests::assert_no_relist(&cluster, |cluster| slow(cluster, &pods));
    Requests::assert_no_relist(&cluster, |cluster| cut_off(cluster, &pods));
    await_balance(&cluster);
}

/// The API server stands still for 4/5 of the time.
fn slow(cluster: &Cluster, pods: &Pods) {
    let line = "touch /tmp/slow; \
                setsid sh -c 'for _ in $(seq 120); do \
                    test -e /tmp/slow || exit 0; \
                    pkill -STOP -x kube-apiserver; sleep 0.8; \
                    pkill -CONT -x kube-apiserver; sleep 0.2; \
                done' >/dev/null 2>&1 </dev/null &";
    cluster.run("control-plane", line);
    let begin = Instant::now();
    start(cluster, "slow", "bank", "n1");
    guard(cluster, "bank");
    let now = Pods::of(cluster);
    now.come_out(cluster, TURNED);
    now.come_out(cluster, "slow api tcp/8080 allowed");
    guard(cluster, "shop");
    pods.come_out(cluster, GUARDED);
    cluster.kubectl("delete pod -n bank slow");
    println!("a pod and two policies of a slow API server: {:.1?}", begin.elapsed());
    cluster.run("control-plane", "rm /tmp/slow");
}

fn cut_off(cluster: &Cluster, pods: &Pods) {
    let begin = Instant::now();
    cluster.lab(&["node", "cut", "control-plane"]);
    // What is to be done once it is back.
    guard(cluster, "bank");
    cluster.apply(&idle("comes", "bank", "n2", &[]).to_string());
    cluster.kubectl("delete pod -n bank --wait=false goes");
    while begin.elapsed() < CUT {
        assert!(!pods.reaches(cluster, "teller", "api", "tcp/8080"), "{:?}", begin.elapsed());
        assert!(!pods.reaches(cluster, "web", "api", "ping"), "{:?}", begin.elapsed());
        pods.come_out(cluster, "web api tcp/8080 allowed\nteller web tcp/80 allowed");
        std::thread::sleep(Duration::from_secs(1));
    }
    cluster.lab(&["node", "mend", "control-plane"]);
    let back = Instant::now();
    cluster.within(LIMIT, "policy is followed again", |cluster| {
        pods.reaches(cluster, "teller", "api", "tcp/8080")
    });
    pods.come_out(cluster, TURNED);
    println!("after the cut, policy is followed within {:.1?}", back.elapsed());
    await_ready(cluster, "comes", "bank");
    println!("and a pod starts within {:.1?}", back.elapsed());
    Pods::of(cluster).come_out(cluster, "comes api tcp/8080 allowed");
    cluster.within(LIMIT, "the deleted pod is gone", |cluster| {
        !cluster.kubectl("get pods -n bank -o name").contains("pod/goes")
    });
    // kube-controllers acts again, and its readings are among those that are counted.
    await_controllers(cluster);
}

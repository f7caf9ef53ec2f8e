//! `manifests/calico-v3.yaml`: Calico's resources are the API server's own, `projectcalico.org/v3`, so
//! that kubectl is enough for them.

use crate::audit::Requests;
use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{await_controllers, installed};
use crate::workloads::{SHOP, calicoctl, start};
use serde_json::{Value, json};

const NATIVE: &str = include_str!("../../../../manifests/calico-v3.yaml");

const OPEN: &str = "
    web     api  tcp/8080  allowed
    teller  api  tcp/8080  allowed
    teller  web  tcp/80    allowed
";

#[test]
fn calicos_resources_are_kubectls() {
    let cluster = installed("native", NATIVE);
    await_controllers(&cluster);
    cluster.apply(SHOP);
    cluster.kubectl("wait -n shop --for=condition=Ready pod/web pod/api --timeout=60s");
    cluster.kubectl("wait -n bank --for=condition=Ready pod/teller --timeout=60s");
    kubectl_shows_them(&cluster);
    a_policy_is_in_force(&cluster, &Pods::of(&cluster));
    what_is_wrong_is_refused(&cluster);
    addresses_are_released(&cluster);
    a_node_answers_questions(&cluster);
    Requests::of(&cluster).assert_none_denied();
}

fn kubectl_shows_them(cluster: &Cluster) {
    let table = cluster.kubectl("get ippools");
    let rows: Vec<Vec<&str>> =
        table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0][..5], ["NAME", "CIDR", "NAT", "IPIPMODE", "VXLANMODE"], "{table}");
    let pool = ["default-ipv4-ippool", "192.168.0.0/16", "true", "Always", "Never"];
    assert_eq!(rows[1][..5], pool, "{table}");
    // calicoctl sees the same objects, whoever made them.
    let theirs: Value = serde_json::from_str(
        &cluster.kubectl("get ippools.projectcalico.org default-ipv4-ippool -o json"),
    )
    .expect("JSON");
    let ours: Value =
        serde_json::from_str(&calicoctl(cluster, "get ippool default-ipv4-ippool -o json"))
            .expect("JSON");
    assert_eq!(ours["metadata"]["uid"], theirs["metadata"]["uid"]);
    assert_eq!(ours["spec"], theirs["spec"]);
    assert_eq!(theirs["apiVersion"], "projectcalico.org/v3");
    let configuration = cluster.kubectl("get kubecontrollersconfigurations default -o yaml");
    assert!(configuration.contains("runningConfig"), "{configuration}");
}

fn a_policy_is_in_force(cluster: &Cluster, pods: &Pods) {
    pods.come_out(cluster, OPEN);
    let mut policy = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": {"name": "api", "namespace": "shop"},
        "spec": {
            "selector": "app == 'api'",
            "ingress": [{
                "action": "Allow", "protocol": "TCP",
                "source": {"selector": "app == 'web'"}, "destination": {"ports": [8080]},
            }],
        },
    });
    cluster.apply(&policy.to_string());
    pods.come_out(
        cluster,
        "web api tcp/8080 allowed\nweb api ping denied\nteller api tcp/8080 denied",
    );
    policy["spec"]["ingress"][0]["source"] = json!({"namespaceSelector": "team == 'bank'"});
    cluster.apply(&policy.to_string());
    pods.come_out(cluster, "web api tcp/8080 denied\nteller api tcp/8080 allowed");
    let shown = cluster.kubectl("get networkpolicies.projectcalico.org -n shop api -o yaml");
    assert!(shown.contains("team == 'bank'"), "{shown}");
    let ours = calicoctl(cluster, "get networkpolicy -n shop");
    assert!(ours.lines().any(|line| line.split_whitespace().any(|word| word == "api")), "{ours}");
    // What passes the schema and cannot be enforced denies, and is told by every node.
    policy["spec"]["selector"] = json!("app = 'api'");
    cluster.apply(&policy.to_string());
    cluster.within(LIMIT, "the policy's error is told", |cluster| {
        let status = cluster.run("n1", "calicoctl node status");
        status.contains("NetworkPolicy(shop/api) cannot be enforced")
    });
    cluster.kubectl("delete networkpolicies.projectcalico.org -n shop api");
    pods.come_out(cluster, OPEN);
}

/// A resource's kind, name and spec, and what kubectl says of it.
const WRONG: [(&str, &str, &str, &[&str]); 5] = [
    (
        "IPPool",
        "odd",
        r#"{"cidr": "10.9.0.0/24", "ipipMode": "Sometimes"}"#,
        &["spec.ipipMode", "Sometimes", "CrossSubnet"],
    ),
    (
        "IPPool",
        "both",
        r#"{"cidr": "10.9.0.0/24", "ipipMode": "Always", "vxlanMode": "Always"}"#,
        &["ipipMode and vxlanMode exclude each other"],
    ),
    (
        "IPPool",
        "default-ipv4-ippool",
        r#"{"cidr": "192.168.0.0/17", "blockSize": 26}"#,
        &["spec.cidr", "cidr cannot be changed"],
    ),
    ("IPPool", "typo", r#"{"cidr": "10.9.0.0/24", "vxlanmode": "Always"}"#, &["spec.vxlanmode"]),
    (
        "GlobalNetworkPolicy",
        "all",
        r#"{"ingress": [{"action": "Permit"}]}"#,
        &["spec.ingress[0].action", "Permit"],
    ),
];

fn what_is_wrong_is_refused(cluster: &Cluster) {
    for (kind, name, spec, said) in WRONG {
        let spec: Value = serde_json::from_str(spec).expect("JSON");
        let resource = json!({
            "apiVersion": "projectcalico.org/v3", "kind": kind,
            "metadata": {"name": name}, "spec": spec,
        });
        let apply = ["kubectl", "apply", "-f", "-"];
        let (done, answer) = cluster.try_with_input(&apply, &resource.to_string());
        assert!(!done && said.iter().all(|part| answer.contains(part)), "{spec}: {answer}");
    }
}

fn addresses_are_released(cluster: &Cluster) {
    let held = |cluster: &Cluster| cluster.kubectl("get ipamhandles -o name").lines().count();
    let before = held(cluster);
    start(cluster, "late", "bank", "n1");
    assert_eq!(held(cluster), before + 1);
    Pods::of(cluster).come_out(cluster, "late api tcp/8080 allowed");
    cluster.kubectl("delete pod -n bank late");
    cluster.within(LIMIT, "its address is released", |cluster| held(cluster) == before);
}

/// Its answer is the status, which is a resource of its own.
fn a_node_answers_questions(cluster: &Cluster) {
    let question = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "CalicoNodeStatus",
        "metadata": {"name": "n1"},
        "spec": {"node": "n1", "classes": ["BGP"], "updatePeriodSeconds": 10},
    });
    cluster.apply(&question.to_string());
    cluster.within(LIMIT, "n1 tells its sessions", |cluster| {
        let field = "{.status.bgp.peersV4[0].state}";
        cluster.kubectl(&format!("get caliconodestatus n1 -o jsonpath={field}")) == "Established"
    });
}

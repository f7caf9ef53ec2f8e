//! What Calico is told of a pod: labels, namespace, service account, named ports, by the plugin and
//! by profiles.

use crate::connections::SHOP;
use crate::support::{Lab, VXLAN};
use serde_json::{Value, json};

/// A resource, or a list of them, as calicoctl prints it.
fn get(lab: &Lab, what: &str) -> Value {
    let text = lab.run("master", &format!("calicoctl get {what} -o json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
}

#[test]
fn endpoints_have_what_is_said_of_their_pods() {
    let lab = Lab::of("labels", SHOP, &[]);
    let api = get(&lab, "wep -n shop worker--2-k8s-api-eth0");
    assert_eq!(
        api["metadata"]["labels"],
        json!({
            "app": "api",
            "projectcalico.org/namespace": "shop",
            "projectcalico.org/orchestrator": "k8s",
            "projectcalico.org/serviceaccount": "api",
        })
    );
    assert_eq!(api["spec"]["profiles"], json!(["kns.shop", "ksa.shop.api"]));
    assert_eq!(api["spec"]["serviceAccountName"], "api");
    let ports = api["spec"]["ports"].as_array().expect("ports");
    assert_eq!(ports.len(), 1, "only named ones: {ports:?}");
    assert_eq!((&ports[0]["name"], &ports[0]["port"]), (&json!("http"), &json!(8080)));
    assert_eq!(ports[0]["protocol"], "TCP");

    let shop = get(&lab, "profile kns.shop");
    let labels = json!({"pcns.projectcalico.org/name": "shop", "pcns.team": "shop"});
    assert_eq!(shop["spec"]["labelsToApply"], labels);
    assert_eq!(shop["spec"]["ingress"][0]["action"], "Allow");
    assert_eq!(shop["spec"]["egress"][0]["action"], "Allow");
    let cart = get(&lab, "profile ksa.shop.cart");
    let labels = json!({"pcsa.projectcalico.org/name": "cart", "pcsa.role": "clerk"});
    assert_eq!(cart["spec"], json!({ "labelsToApply": labels }));

    // Namespaces and accounts that come with a pod, and labels that change later.
    let add = ["pod", "add", "late", "--namespace", "mill", "--service-account", "miller"];
    lab.succeeds(&[&add[..], &["--label", "app=mill", "--node", "worker-2"]].concat());
    lab.succeeds(&["namespace", "label", "mill", "team=mill"]);
    let late = get(&lab, "wep -n mill worker--2-k8s-late-eth0");
    assert_eq!(late["metadata"]["labels"]["app"], "mill");
    assert_eq!(late["spec"]["profiles"], json!(["kns.mill", "ksa.mill.miller"]));
    let mill = get(&lab, "profile kns.mill");
    assert_eq!(mill["spec"]["labelsToApply"]["pcns.team"], "mill");
    get(&lab, "profile ksa.mill.miller");
    lab.succeeds(&["pod", "rm", "late"]);
    lab.succeeds(&["namespace", "rm", "mill"]);
    let left = lab.run("master", "calicoctl get profiles | grep mill || true");
    assert_eq!(left, "");
    // A node that restarts says the same of its pods.
    lab.succeeds(&["node", "restart", "worker-2"]);
    let again = get(&lab, "wep -n shop worker--2-k8s-api-eth0");
    assert_eq!(again["metadata"]["labels"], api["metadata"]["labels"]);

    let label = ["pod", "add", "bad", "--label", "app=not fit", "--node", "worker-1"];
    let refused = lab.command(&label).output().expect("calico lab starts");
    let message = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && message.contains("metadata.labels.app"), "{message}");
}

#[test]
fn outside_of_kubernetes_the_network_has_a_profile() {
    let lab = Lab::of("network", VXLAN, &[]);
    lab.run("worker-1", "ip netns add container");
    let configuration = json!({
        "cniVersion": "1.0.0", "name": "mesh", "type": "calico", "nodename": "worker-1",
        "ipam": {"type": "calico-ipam"},
        "args": {"cni": {"labels": [{"key": "app", "value": "task"}]}},
    });
    let plugin = |command: &str| {
        let variables = format!(
            "CNI_COMMAND={command} CNI_CONTAINERID=c0ffee CNI_NETNS=/run/netns/container \
             CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin"
        );
        lab.run("worker-1", &format!("echo '{configuration}' | {variables} /opt/cni/bin/calico"))
    };
    plugin("ADD");
    let endpoint = get(&lab, "wep worker--1-cni-c0ffee-eth0");
    assert_eq!(endpoint["metadata"]["labels"]["app"], "task");
    assert_eq!(endpoint["spec"]["profiles"], json!(["mesh"]));
    let profile = get(&lab, "profile mesh");
    assert_eq!(profile["spec"]["ingress"][0]["source"]["selector"], "has(mesh)");
    assert_eq!(profile["spec"]["labelsToApply"], json!({"mesh": ""}));
    // An operator's change of it stays.
    let patch = r#"{"spec":{"labelsToApply":{"mesh":"ours"}}}"#;
    lab.run("master", &format!("calicoctl patch profile mesh -p '{patch}'"));
    plugin("DEL");
    plugin("ADD");
    assert_eq!(get(&lab, "profile mesh")["spec"]["labelsToApply"], json!({"mesh": "ours"}));
}

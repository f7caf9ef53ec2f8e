//! `manifests/calico.yaml` as a user applies it, on clusters that have no network yet.

use crate::audit::Requests;
use crate::cluster::Cluster;
use crate::installation::{MANIFEST, installed};
use crate::removal::{another_takes_over, nothing_is_left};

const VXLAN: &str = include_str!("../../../../manifests/calico-vxlan.yaml");

/// Pods of both nodes reach each other.
fn pods_reach_each_other(cluster: &Cluster) {
    cluster.serve_web();
    let pod = cluster.web("n1", "metadata.name");
    let other = cluster.web("n2", "status.podIP");
    let said = cluster.kubectl(&format!("exec {pod} -- wget -qO- http://{other}:8080/"));
    assert_eq!(said.trim(), format!("n2 {other}"));
}

/// calico-ipam as another plugin than `calico` starts it, for a container and with `CNI_ARGS`: it asks
/// the API server itself.
pub(crate) fn calico_ipam(command: &str, container: &str, arguments: &str) -> String {
    let configuration = r#"{"cniVersion": "1.0.0", "name": "other", "type": "macvlan",
        "datastore_type": "kubernetes", "ipam": {"type": "calico-ipam"},
        "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"}}"#;
    format!(
        "CNI_COMMAND={command} CNI_CONTAINERID={container} CNI_ARGS='{arguments}' \
         CNI_NETNS=/proc/1/ns/net CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
         /opt/cni/bin/calico-ipam 2>/dev/null <<'END'\n{configuration}\nEND\n"
    )
}

#[test]
fn one_manifest_makes_the_cluster_work() {
    let cluster = installed("manifest", MANIFEST);
    pods_reach_each_other(&cluster);
    let curl = |url: &str| cluster.run("outside", &format!("curl -sS -m5 {url}"));
    assert!(curl("http://172.31.0.11:31080/").starts_with("n1 "), "the host port");

    // What the init containers have left.
    let plugins = cluster.run("n1", "ls /opt/cni/bin");
    for plugin in ["bandwidth", "calico", "calico-ipam", "host-local", "loopback", "portmap"] {
        assert!(plugins.lines().any(|line| line == plugin), "{plugin}: {plugins}");
    }
    assert!(!plugins.lines().any(|line| line == "install"), "{plugins}");
    let listed = "stat -c '%a %n' /etc/cni/net.d/*";
    assert_eq!(
        cluster.run("n1", listed),
        "644 /etc/cni/net.d/10-calico.conflist\n600 /etc/cni/net.d/calico-kubeconfig\n"
    );
    let driver = "/usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds/uds init";
    assert!(cluster.run("n1", driver).contains(r#""status":"Success""#));

    // The plugin's credentials are its own account's, and enough for calico-ipam.
    let claims = "sed -n 's/^ *token: //p' /etc/cni/net.d/calico-kubeconfig | cut -d. -f2 | \
                  tr _- /+ | base64 -d 2>/dev/null || true";
    let claims = cluster.run("n1", claims);
    assert!(claims.contains("system:serviceaccount:kube-system:calico-cni-plugin"), "{claims}");
    for (command, said) in [("ADD", r#""address":"192.168."#), ("DEL", "")] {
        let answer = cluster.run("n1", &calico_ipam(command, "c0ffee", ""));
        assert!(answer.contains(said), "{command}: {answer}");
    }
    Requests::of(&cluster).assert_none_denied();

    // Applied again, it is the same; with other plugins, they are replaced while pods run.
    cluster.apply(MANIFEST);
    let before = cluster.web("n2", "status.podIP");
    cluster.kubectl("rollout restart -n kube-system daemonset/calico-node");
    cluster.kubectl("rollout status -n kube-system daemonset/calico-node --timeout=120s");
    assert_eq!(cluster.web("n2", "status.podIP"), before);
    pods_reach_each_other(&cluster);
    Requests::of(&cluster).assert_none_denied();
    nothing_is_left(&cluster, MANIFEST);
    another_takes_over(&cluster);
}

#[test]
fn the_other_manifest_needs_no_bgp() {
    let cluster = installed("vxlan", VXLAN);
    pods_reach_each_other(&cluster);
    let listening = cluster.run("n1", "ss -Hltn 'sport = :179'");
    assert_eq!(listening, "");
    let mode = cluster.kubectl("get ippools.crd.projectcalico.org -o jsonpath={.items[0].spec}");
    assert!(mode.contains(r#""vxlanMode":"CrossSubnet""#), "{mode}");
    Requests::of(&cluster).assert_none_denied();
    nothing_is_left(&cluster, VXLAN);
}

//! `manifests/calico.yaml` as a user applies it, on clusters that have no network yet.

use crate::cluster::{Cluster, LIMIT, calico};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const MANIFEST: &str = include_str!("../../../../manifests/calico.yaml");
const VXLAN: &str = include_str!("../../../../manifests/calico-vxlan.yaml");

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The archive of the images of the binary under test.
struct Images(PathBuf);

impl Images {
    fn new(test: &str) -> Images {
        let archive = format!("calico-images-{test}-{}.tar", std::process::id());
        let archive = std::env::temp_dir().join(archive);
        let mut write = calico();
        write.args(["lab", "image"]).arg(&archive);
        write.arg("--plugins").arg(repository().join("target/plugins"));
        let output = write.output().expect("calico lab image starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        Images(archive)
    }

    fn path(&self) -> &str {
        self.0.to_str().expect("a path of letters")
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Two nodes with the manifest; returns when they are ready.
fn installed(test: &str, manifest: &str) -> Cluster {
    let images = Images::new(test);
    let arguments = ["--nodes", "2", "--no-cni", "--audit", "--image", images.path()];
    let cluster = Cluster::up(test, &arguments);
    cluster.apply(manifest);
    cluster.within(LIMIT * 2, "calico-node is ready on both nodes", |cluster| {
        let ready = "get daemonset -n kube-system calico-node -o jsonpath={.status.numberReady}";
        cluster.kubectl(ready) == "2"
    });
    cluster.kubectl("wait --for=condition=Ready node --all --timeout=60s");
    cluster
}

/// Pods of both nodes reach each other.
fn pods_reach_each_other(cluster: &Cluster) {
    cluster.serve_web();
    let pod = cluster.web("n1", "metadata.name");
    let other = cluster.web("n2", "status.podIP");
    let said = cluster.kubectl(&format!("exec {pod} -- wget -qO- http://{other}:8080/"));
    assert_eq!(said.trim(), format!("n2 {other}"));
}

/// What Calico's accounts were denied, as `account: verb resource`.
pub(crate) fn denied(cluster: &Cluster) -> BTreeSet<String> {
    let log = cluster.run("control-plane", "cat /var/log/calico/audit.log");
    let events = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (mut requests, mut denied) = (0, BTreeSet::new());
    for event in events {
        let user = text(&event["user"]["username"]);
        let Some(account) = user.strip_prefix("system:serviceaccount:kube-system:calico-") else {
            continue;
        };
        requests += 1;
        if event["responseStatus"]["code"] == 403 {
            let (verb, uri) = (text(&event["verb"]), text(&event["requestURI"]));
            denied.insert(format!("{account}: {verb} {uri}"));
        }
    }
    assert!(requests > 20, "the audit log has no requests of Calico's: {requests}");
    denied
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
    assert_eq!(denied(&cluster), BTreeSet::new());

    // Applied again, it is the same; with other plugins, they are replaced while pods run.
    cluster.apply(MANIFEST);
    let before = cluster.web("n2", "status.podIP");
    cluster.kubectl("rollout restart -n kube-system daemonset/calico-node");
    cluster.kubectl("rollout status -n kube-system daemonset/calico-node --timeout=120s");
    assert_eq!(cluster.web("n2", "status.podIP"), before);
    pods_reach_each_other(&cluster);
    assert_eq!(denied(&cluster), BTreeSet::new());
}

#[test]
fn the_other_manifest_needs_no_bgp() {
    let cluster = installed("vxlan", VXLAN);
    pods_reach_each_other(&cluster);
    let listening = cluster.run("n1", "ss -Hltn 'sport = :179'");
    assert_eq!(listening, "");
    let mode = cluster.kubectl("get ippools.crd.projectcalico.org -o jsonpath={.items[0].spec}");
    assert!(mode.contains(r#""vxlanMode":"CrossSubnet""#), "{mode}");
    assert_eq!(denied(&cluster), BTreeSet::new());
}

//! calico-kube-controllers on a real cluster, with the account and role of our manifest.

use crate::audit::{OF_CONTROLLERS, Requests, Unused};
use crate::cluster::{Cluster, LIMIT};
use crate::manifest::calico_ipam;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

const NAMESPACED: &str = "-n kube-system";
const SELECTED: &str = "-n kube-system -l k8s-app=calico-kube-controllers";
/// kube-controller-manager, in two steps, deletes pods of a node that is gone: after 40 s at least.
const PODS_GONE: Duration = Duration::from_secs(180);

/// What the roles allow and this cluster has no use for.
const UNUSED: &[Unused] = &[Unused {
    account: "calico-kube-controllers",
    verbs: &["update"],
    resources: &["ipamhandles.crd.projectcalico.org"],
    reason: "A handle stays, with fewer addresses, where it has some in another block too.",
}];

fn json(cluster: &Cluster, what: &str) -> Value {
    let text = cluster.kubectl(&format!("get {what} -o json"));
    serde_json::from_str(&text).unwrap_or_else(|why| panic!("{what}: {why}: {text}"))
}

/// Every address that is held: address in its block, handle and pod, or whatever is said of it.
fn held(cluster: &Cluster) -> BTreeSet<String> {
    let blocks = json(cluster, "ipamblocks.crd.projectcalico.org");
    let mut held = BTreeSet::new();
    for block in blocks["items"].as_array().expect("a list") {
        let spec = &block["spec"];
        for (ordinal, index) in spec["allocations"].as_array().expect("a list").iter().enumerate() {
            if let Some(index) = index.as_u64() {
                let holder = &spec["attributes"][index as usize];
                held.insert(format!("{} {ordinal} {holder}", spec["cidr"]));
            }
        }
    }
    held
}

fn is_ready(cluster: &Cluster) {
    cluster.kubectl(&format!(
        "rollout status {NAMESPACED} deployment/calico-kube-controllers --timeout=90s"
    ));
}

fn controllers_pod(cluster: &Cluster, field: &str) -> String {
    cluster.kubectl(&format!("get pod {SELECTED} -o jsonpath={{.items[0].{field}}}"))
}

/// An address of a pod that does not exist, as a node that lost its way leaves it.
fn leak(cluster: &Cluster, node: &str, pod: &str) -> String {
    let arguments = format!("IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={pod}");
    let said = cluster.run(node, &calico_ipam("ADD", &format!("dead{pod}"), &arguments));
    assert!(said.contains(r#""address":"192.168."#), "{said}");
    assert!(held(cluster).iter().any(|one| one.contains(pod)), "{said}");
    pod.to_owned()
}

fn is_freed(cluster: &Cluster, pod: &str) {
    let freed = |cluster: &Cluster| !held(cluster).iter().any(|one| one.contains(pod));
    cluster.within(LIMIT, &format!("{pod}'s address is freed"), freed);
    let handle = format!("get ipamhandles.crd.projectcalico.org other.dead{pod}");
    assert!(!cluster.try_kubectl(&handle).0, "the handle goes with it");
}

fn metrics(cluster: &Cluster) -> String {
    let (node, address) =
        (controllers_pod(cluster, "spec.nodeName"), controllers_pod(cluster, "status.podIP"));
    cluster.run(&node, &format!("curl -sS -m5 http://{address}:9094/metrics"))
}

fn figure(metrics: &str, begin: &str) -> f64 {
    let lines = metrics.lines().filter(|line| line.starts_with(begin));
    lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

fn configure(cluster: &Cluster, node: &str) {
    let kind = "kubecontrollersconfigurations.crd.projectcalico.org";
    let patch = format!(r#"{{"spec":{{"controllers":{{"node":{node}}}}}}}"#);
    cluster.kubectl(&format!("patch {kind} default --type merge -p {patch}"));
}

fn host_endpoint(cluster: &Cluster, name: &str) -> String {
    let (found, said) =
        cluster.try_kubectl(&format!("get hostendpoints.crd.projectcalico.org {name} -o json"));
    if found { said } else { String::new() }
}

#[test]
fn what_pods_and_nodes_leave_is_cleaned_up() {
    let cluster = Cluster::up("controllers", &["--nodes", "2", "--audit"]);
    is_ready(&cluster);
    cluster.serve_web();
    let mut web: BTreeSet<String> =
        ["n1", "n2"].map(|node| cluster.web(node, "metadata.name")).into();

    // The settings are made, and say what runs once they change.
    configure(&cluster, r#"{"leakGracePeriod":"3s","hostEndpoint":{"autoCreate":"Enabled"}}"#);
    cluster.within(LIMIT, "the status says what runs", |cluster| {
        let stored = json(cluster, "kubecontrollersconfigurations.crd.projectcalico.org default");
        stored["status"]["runningConfig"]["controllers"]["node"]["leakGracePeriod"] == "3s"
            && stored["status"]["environmentVars"]["ENABLED_CONTROLLERS"] == "node"
    });

    // Host endpoints are made, and follow their nodes.
    for node in ["n1", "n2"] {
        cluster.within(LIMIT, "a host endpoint", |cluster| {
            host_endpoint(cluster, &format!("{node}-auto-hep")).contains("172.31.0.1")
        });
    }
    cluster.kubectl("label node n1 zone=somewhere");
    cluster.within(LIMIT, "the endpoint has the node's label", |cluster| {
        host_endpoint(cluster, "n1-auto-hep").contains("somewhere")
    });

    // What no pod has is freed; what pods and tunnels have stays.
    let living = held(&cluster);
    assert!(living.len() >= 4, "{living:?}");
    is_freed(&cluster, &leak(&cluster, "n1", "ghost-one"));
    assert_eq!(held(&cluster), living);
    let said = metrics(&cluster);
    assert_eq!(figure(&said, "ipam_allocations_gc_reclamations{"), 1.0, "{said}");
    assert_eq!(figure(&said, "ipam_allocations_in_use{"), living.len() as f64, "{said}");

    // Killed, it comes back and goes on.
    let node = controllers_pod(&cluster, "spec.nodeName");
    cluster.run(&node, "pkill -KILL -f ^/usr/bin/kube-controllers");
    cluster.within(LIMIT, "it has been started again", |cluster| {
        controllers_pod(cluster, "status.containerStatuses[0].restartCount") == "1"
    });
    is_freed(&cluster, &leak(&cluster, "n2", "ghost-two"));
    is_ready(&cluster);
    // Another instance takes over at once, as the lease is given back.
    let holder = |cluster: &Cluster| {
        let lease = format!("get lease {NAMESPACED} calico-kube-controllers");
        cluster.kubectl(&format!("{lease} -o jsonpath={{.spec.holderIdentity}}"))
    };
    assert_eq!(holder(&cluster), controllers_pod(&cluster, "metadata.name"));
    cluster.kubectl(&format!("rollout restart {NAMESPACED} deployment/calico-kube-controllers"));
    is_ready(&cluster);
    cluster.within(LIMIT, "the new instance leads", |cluster| {
        holder(cluster) == controllers_pod(cluster, "metadata.name")
    });
    assert!(
        held(&cluster)
            .is_superset(&living.iter().filter(|one| one.contains("web-")).cloned().collect())
    );

    // A node that is deleted leaves nothing.
    let kept = controllers_pod(&cluster, "spec.nodeName");
    let gone = if kept == "n1" { "n2" } else { "n1" };
    web.remove(&cluster.web(gone, "metadata.name"));
    cluster.kubectl(&format!("delete node {gone}"));
    cluster.within(PODS_GONE, "nothing of the node is left", |cluster| {
        let affinities = cluster
            .kubectl("get blockaffinities.crd.projectcalico.org -o jsonpath={.items[*].spec.node}");
        let blocks = cluster
            .kubectl("get ipamblocks.crd.projectcalico.org -o jsonpath={.items[*].spec.affinity}");
        let held = held(cluster);
        !affinities.split(' ').any(|node| node == gone)
            && !blocks.split(' ').any(|owner| owner == format!("host:{gone}"))
            && !held.iter().any(|one| one.contains(&format!(r#""node":"{gone}""#)))
            && host_endpoint(cluster, &format!("{gone}-auto-hep")).is_empty()
    });
    let held = held(&cluster);
    for pod in &web {
        assert!(held.iter().any(|one| one.contains(pod)), "{pod}: {held:?}");
    }
    assert!(!host_endpoint(&cluster, &format!("{kept}-auto-hep")).is_empty());
    let requests = Requests::of(&cluster);
    requests.assert_none_denied();
    requests.assert_all_used(&cluster, OF_CONTROLLERS, UNUSED);

    // Of its own memory; the pages of the program depend on how that was built.
    let own = "grep RssAnon /proc/$(pgrep -f ^/usr/bin/kube-controllers)/status";
    let kibibytes = cluster.run(&kept, own);
    let kibibytes = kibibytes.split_whitespace().nth(1).and_then(|text| text.parse::<u64>().ok());
    assert!(kibibytes.is_some_and(|own| own < 10 * 1024), "{kibibytes:?} KiB");
}

/// An embedded datastore on the control plane, beside the cluster's own etcd.
const DATASTORE: &str = "DATASTORE_TYPE=etcdv3 ETCD_ENDPOINTS=http://127.0.0.1:23790";

const NODES: &str = "
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: calico-n1, labels: {mine: stays}}
spec: {orchRefs: [{nodeName: n1, orchestrator: k8s}]}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: gone}
spec: {orchRefs: [{nodeName: gone, orchestrator: k8s}]}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: machine}
spec: {bgp: {ipv4Address: 172.31.0.99/24}}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata:
  name: calico--n1-k8s-first-eth0
  namespace: shop
spec:
  orchestrator: k8s
  node: calico-n1
  pod: first
  endpoint: eth0
  containerID: c0ffee
  ipNetworks: [192.168.77.1/32]
  interfaceName: cali0123456789a
  profiles: [kns.shop, ksa.shop.default]
";

const SHOP: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {team: sales}}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {matchLabels: {app: web}}
  ingress: [{from: [{podSelector: {matchLabels: {app: client}}}]}]
";

#[test]
fn etcd_has_what_kubernetes_has() {
    let cluster = Cluster::up("etcd", &["--nodes", "1", "--cni", "bridge"]);
    let start = |line: &str| {
        let program = line.split(' ').find(|word| !word.contains('=')).expect("a program");
        let log = format!("/tmp/{}.log", program.replace('/', "-"));
        cluster.run("control-plane", &format!("setsid env {line} >>{log} 2>&1 </dev/null &"));
    };
    start("calico datastore --listen http://127.0.0.1:23790 --data-dir /tmp/datastore");
    let ask = |line: &str| cluster.try_run("control-plane", &format!("{DATASTORE} {line}"));
    let apply = format!("calicoctl apply -f - <<'END'\n{NODES}\nEND\n");
    cluster.within(LIMIT, "the datastore answers", |_| ask(&apply).0);
    let account = "get serviceaccount default -n shop";
    cluster.apply(SHOP);
    cluster.within(LIMIT, "the account", |cluster| cluster.try_kubectl(account).0);
    cluster
        .kubectl("run first -n shop --image calico.lab/busybox:1 --labels app=web -- sleep 9999");
    let enabled = "ENABLED_CONTROLLERS=node,policy,namespace,serviceaccount,workloadendpoint";
    let kubeconfig = "KUBECONFIG=/etc/kubernetes/admin.conf";
    start(&format!(
        "{DATASTORE} {enabled} {kubeconfig} calico component kube-controllers \
         --status-file /tmp/status.json"
    ));

    let says = |what: &str, parts: &[&str]| {
        cluster.within(LIMIT, &format!("{what} says {parts:?}"), |_| {
            let (found, said) = ask(&format!("calicoctl get {what} -o yaml"));
            found && parts.iter().all(|part| said.contains(part))
        });
    };
    let is_gone = |what: &str| {
        cluster.within(LIMIT, &format!("{what} is gone"), |_| {
            !ask(&format!("calicoctl get {what}")).0
        });
    };
    says("networkpolicy knp.default.web -n shop", &["app == 'client'", "order: 1000"]);
    says("profile kns.shop", &["pcns.team: sales"]);
    says("profile ksa.shop.default", &["pcsa.projectcalico.org/name: default"]);
    says("node calico-n1", &["mine: stays", "kubernetes.io/hostname: n1"]);
    says("wep calico--n1-k8s-first-eth0 -n shop", &["app: web"]);
    is_gone("node gone");
    says("node machine", &["172.31.0.99"]);
    cluster.within(LIMIT, "it is ready", |_| {
        ask("calico component kube-controllers kube-controllers-health -r -f /tmp/status.json").0
    });

    // It follows.
    cluster.kubectl("label namespace shop team=support --overwrite");
    cluster.kubectl("label pod first -n shop app=shop --overwrite");
    cluster.kubectl("label node n1 zone=a");
    cluster.kubectl("delete networkpolicy web -n shop");
    says("profile kns.shop", &["pcns.team: support"]);
    says("wep calico--n1-k8s-first-eth0 -n shop", &["app: shop"]);
    says("node calico-n1", &["zone: a", "mine: stays"]);
    is_gone("networkpolicy knp.default.web -n shop");

    // While it was away.
    cluster.run("control-plane", "pkill -KILL -f '^calico component kube-controllers'");
    cluster.kubectl("label node n1 zone-");
    cluster.kubectl("create namespace later");
    start(&format!(
        "{DATASTORE} {enabled} {kubeconfig} calico component kube-controllers \
         --status-file /tmp/status.json"
    ));
    says("profile kns.later", &["pcns.projectcalico.org/name: later"]);
    cluster.within(LIMIT, "the label is gone", |_| {
        let (_, said) = ask("calicoctl get node calico-n1 -o yaml");
        said.contains("mine: stays") && !said.contains("zone: a")
    });
}

//! A cluster works with `manifests/calico.yaml`: what calicoctl shows, policies, what pods cost, what
//! goes and comes back; and Calico's accounts are allowed what they need, and no more.

use crate::audit::{OF_NODES, Requests, Unused};
use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{MANIFEST, await_calico, await_controllers, installed};
use crate::workloads::{SHOP, await_nothing_but, calicoctl, guard, remains, resources, start};
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);

/// Requests that a pod's start and its end may cost at most.
const ADD_REQUESTS_MAX: usize = 4;
const DEL_REQUESTS_MAX: usize = 3;

const OPEN: &str = "
    web     api  tcp/8080  allowed
    web     api  ping      allowed
    api     web  tcp/80    allowed
    teller  api  tcp/8080  allowed
    teller  web  tcp/80    allowed
";

/// What the roles allow and this cluster has no use for.
const UNUSED: &[Unused] = &[
    Unused {
        account: "calico-node",
        verbs: &["get"],
        resources: &["namespaces"],
        reason: "A pod's namespace is read where the pod was quicker than the watch of namespaces.",
    },
    Unused {
        account: "calico-node",
        verbs: &["watch"],
        resources: &["clusternetworkpolicies.policy.networking.k8s.io"],
        reason: "This cluster has no such kind.",
    },
    Unused {
        account: "calico-node",
        verbs: &["update"],
        resources: &["ipamhandles.crd.projectcalico.org"],
        reason: "A handle has two blocks where a pod has addresses of two pools or families.",
    },
    Unused {
        account: "calico-node",
        verbs: &["get"],
        resources: &["blockaffinities.crd.projectcalico.org"],
        reason: "An affinity is read where another node was first to claim the block.",
    },
    Unused {
        account: "calico-node",
        verbs: &["delete"],
        resources: &["blockaffinities.crd.projectcalico.org", "ipamblocks.crd.projectcalico.org"],
        reason: "Where no block is free, one that another node has left empty changes hands.",
    },
    Unused {
        account: "calico-cni-plugin",
        verbs: &["get"],
        resources: &["blockaffinities.crd.projectcalico.org"],
        reason: "An affinity is read where another node was first to claim the block.",
    },
    Unused {
        account: "calico-cni-plugin",
        verbs: &["delete"],
        resources: &["blockaffinities.crd.projectcalico.org", "ipamblocks.crd.projectcalico.org"],
        reason: "Where no block is free, one that another node has left empty changes hands.",
    },
];

#[test]
fn a_cluster_works() {
    let cluster = installed("works", MANIFEST);
    await_controllers(&cluster);
    cluster.apply(SHOP);
    cluster.kubectl("wait -n shop --for=condition=Ready pod/web pod/api --timeout=60s");
    cluster.kubectl("wait -n bank --for=condition=Ready pod/teller --timeout=60s");
    let pods = Pods::of(&cluster);
    pods.come_out(&cluster, OPEN);
    calicoctl_shows_the_cluster(&cluster, &pods);
    policies_of_kubernetes_are_enforced(&cluster, &pods);
    services_are_what_their_slices_say(&cluster, &pods);
    what_cannot_be_read_is_told(&cluster);
    a_node_answers_questions(&cluster);
    pods_are_cheap_and_leave_nothing(&cluster);
    agents_may_go(&cluster, &pods);
    the_plugins_work_on_their_own(&cluster);
    // A starting API server denies everything until it has read the roles.
    Requests::of(&cluster).assert_none_denied();
    the_api_server_may_go(&cluster, &pods);
    Requests::of(&cluster).assert_all_used(&cluster, OF_NODES, UNUSED);
}

/// A resource, or a list of them, as calicoctl prints it.
fn get(cluster: &Cluster, what: &str) -> Value {
    let text = calicoctl(cluster, &format!("get {what} -o json"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{what}: {error}: {text}"))
}

fn calicoctl_shows_the_cluster(cluster: &Cluster, pods: &Pods) {
    let nodes = calicoctl(cluster, "get nodes -o wide");
    for part in ["n1", "172.31.0.11/24", "n2", "172.31.0.12/24"] {
        assert!(nodes.contains(part), "{part}: {nodes}");
    }
    let endpoint = get(cluster, "wep -n shop n2-k8s-api-eth0");
    assert_eq!(endpoint["metadata"]["labels"]["app"], "api");
    assert_eq!(endpoint["metadata"]["labels"]["projectcalico.org/serviceaccount"], "cart");
    assert_eq!(endpoint["spec"]["profiles"], json!(["kns.shop", "ksa.shop.cart"]));
    assert_eq!(endpoint["spec"]["ports"][0]["name"], "http");
    let network = format!("{}/32", pods.address("api"));
    assert_eq!(endpoint["spec"]["ipNetworks"], json!([network]));
    let pod = cluster.kubectl("get pod -n shop api -o json");
    let pod: Value = serde_json::from_str(&pod).expect("JSON");
    let annotations = &pod["metadata"]["annotations"];
    assert_eq!(annotations["cni.projectcalico.org/podIP"], network);
    assert_eq!(annotations["cni.projectcalico.org/podIPs"], network);
    assert_eq!(annotations["cni.projectcalico.org/containerID"], endpoint["spec"]["containerID"]);

    let pool = get(cluster, "ippool default-ipv4-ippool");
    assert_eq!(pool["spec"]["cidr"], "192.168.0.0/16");
    assert_eq!(get(cluster, "profile kns.shop")["spec"]["labelsToApply"]["pcns.team"], "shop");
    let account = get(cluster, "profile ksa.shop.cart");
    assert_eq!(account["spec"]["labelsToApply"]["pcsa.role"], "clerk");
    let information = get(cluster, "clusterinformation default");
    let types = information["spec"]["clusterType"].as_str().unwrap_or_default().to_owned();
    assert!(types.split(',').any(|word| word == "kdd"), "{types}");
    let felix = calicoctl(cluster, "get felixconfigurations");
    assert!(!felix.contains("node.n1"), "it is Calico's without Kubernetes only: {felix}");
    let blocks = calicoctl(cluster, "ipam show --show-blocks");
    assert!(blocks.contains("| IP Pool  |") && blocks.contains("| Block    |"), "{blocks}");
    let status = cluster.run("n1", "calicoctl node status");
    let line = status.lines().find(|line| line.contains("172.31.0.12")).unwrap_or_default();
    assert!(line.contains("Established"), "{status}");
}

fn policies_of_kubernetes_are_enforced(cluster: &Cluster, pods: &Pods) {
    let web = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    guard(cluster, "shop", "api", &web, &json!("http"));
    let closed = "
        web     api  tcp/8080  allowed
        web     api  ping      denied
        teller  api  tcp/8080  denied
        api     web  tcp/80    allowed
        teller  web  tcp/80    allowed
    ";
    pods.come_out(cluster, closed);
    let shown = get(cluster, "networkpolicy -n shop");
    assert_eq!(shown["items"][0]["metadata"]["name"], "knp.default.api");
    // Namespaces' labels, as they change.
    let trusted = json!({"namespaceSelector": {"matchLabels": {"trusted": "yes"}}});
    guard(cluster, "shop", "api", &trusted, &json!("http"));
    pods.come_out(cluster, "web api tcp/8080 denied\nteller api tcp/8080 denied");
    cluster.kubectl("label namespace bank trusted=yes");
    pods.come_out(cluster, "web api tcp/8080 denied\nteller api tcp/8080 allowed");
    // So do pods'.
    cluster.kubectl("label pod -n shop api --overwrite app=other");
    pods.come_out(cluster, OPEN);
    cluster.kubectl("label pod -n shop api --overwrite app=api");
    pods.come_out(cluster, "web api tcp/8080 denied\nteller api tcp/8080 allowed");
    cluster.kubectl("delete networkpolicy -n shop api");
    pods.come_out(cluster, OPEN);
}

fn services_are_what_their_slices_say(cluster: &Cluster, pods: &Pods) {
    let policy = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "NetworkPolicy",
        "metadata": {"name": "to-api", "namespace": "shop"},
        "spec": {
            "selector": "app == 'web'", "types": ["Egress"],
            "egress": [{"action": "Allow", "destination": {
                "services": {"name": "api", "namespace": "shop"},
            }}],
        },
    });
    resources(cluster, "apply", &policy);
    let followed = "
        web     api     tcp/8080  allowed
        web     api     tcp/80    denied
        web     teller  tcp/80    denied
        teller  api     tcp/8080  allowed
    ";
    pods.come_out(cluster, followed);
    let select = |app: &str| {
        let patch = json!({"spec": {"selector": {"app": app}}});
        cluster.kubectl(&format!("patch service -n shop api -p {patch}"));
    };
    select("nobody");
    pods.come_out(cluster, "web api tcp/8080 denied\nteller api tcp/8080 allowed");
    select("api");
    pods.come_out(cluster, followed);
    resources(cluster, "delete", &policy);
    pods.come_out(cluster, OPEN);
}

fn what_cannot_be_read_is_told(cluster: &Cluster) {
    let annotation = "cni.projectcalico.org/allowedSourcePrefixes";
    cluster.kubectl(&format!("annotate pod -n shop web {annotation}=10.0.0.0"));
    let says = |cluster: &Cluster| {
        let status = cluster.run("n1", "calicoctl node status");
        ["Pod shop/web of Kubernetes", annotation, "10.0.0.0", "correct it with kubectl"]
            .iter()
            .all(|part| status.contains(part))
    };
    cluster.within(SOON, "the pod's problem is told", says);
    cluster.kubectl(&format!("annotate pod -n shop web {annotation}-"));
    cluster.within(SOON, "it is over", |cluster| !says(cluster));
    // A pod that Kubernetes has not is given nothing, and told why.
    cluster.run("n1", "ip netns add empty");
    let line = "printf '{\"cniVersion\":\"1.0.0\",\"name\":\"k8s-pod-network\",\"type\":\"calico\",\
                \"ipam\":{\"type\":\"calico-ipam\"}}' | CNI_COMMAND=ADD CNI_CONTAINERID=0123 \
                CNI_NETNS=/run/netns/empty CNI_IFNAME=eth0 CNI_PATH=/opt/cni/bin \
                CNI_ARGS='K8S_POD_NAMESPACE=shop;K8S_POD_NAME=nobody' /opt/cni/bin/calico";
    let (succeeded, said) = cluster.try_run("n1", line);
    assert!(!succeeded && said.contains("Kubernetes has no pod shop/nobody"), "{said}");
    cluster.run("n1", "ip netns delete empty");
}

fn a_node_answers_questions(cluster: &Cluster) {
    let question = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "CalicoNodeStatus",
        "metadata": {"name": "n1"},
        "spec": {"node": "n1", "classes": ["Agent", "BGP"], "updatePeriodSeconds": 10},
    });
    resources(cluster, "apply", &question);
    cluster.within(SOON, "n1 tells its sessions", |cluster| {
        let status = get(cluster, "caliconodestatus n1")["status"].clone();
        status["bgp"]["peersV4"][0]["state"] == "Established"
    });
    resources(cluster, "delete", &question);
}

fn pods_are_cheap_and_leave_nothing(cluster: &Cluster) {
    let before = remains(cluster);
    for node in ["n1", "n2"] {
        for name in ["one", "two", "three"] {
            let asked = Requests::cost(cluster, |cluster| start(cluster, name, "shop", node));
            println!("a pod's start on {node}: {} requests: {asked:#?}", asked.len());
            assert!(asked.len() <= ADD_REQUESTS_MAX, "{asked:#?}");
        }
        let pods = Pods::of(cluster);
        pods.come_out(cluster, "one api tcp/8080 allowed\nteller two ping allowed");
        assert_eq!(get(cluster, "wep -n shop")["items"].as_array().map(Vec::len), Some(5));
        for name in ["two", "one", "three"] {
            let asked = Requests::cost(cluster, |cluster| {
                cluster.kubectl(&format!("delete pod -n shop {name}"));
            });
            println!("a pod's end on {node}: {} requests: {asked:#?}", asked.len());
            assert!(asked.len() <= DEL_REQUESTS_MAX, "{asked:#?}");
        }
    }
    // kubelet removes sandboxes of pods that are gone within a minute, each by DEL again.
    let asked = Requests::cost(cluster, |cluster| {
        cluster.within(LIMIT * 2, "kubelet forgets the sandboxes", |cluster| {
            ["n1", "n2"].iter().all(|node| sandboxes(cluster, node) == pods_on(cluster, node))
        });
    });
    assert_eq!(asked, [""; 0]);
    reserved_addresses_are_given_to_nobody(cluster);
    await_nothing_but(cluster, &before);
}

/// How many sandboxes containerd has on a node.
fn sandboxes(cluster: &Cluster, node: &str) -> usize {
    let line = "ctr -n k8s.io containers list -q 'labels.\"io.cri-containerd.kind\"==sandbox'";
    cluster.run(node, line).lines().count()
}

/// How many pods the API server has on a node.
fn pods_on(cluster: &Cluster, node: &str) -> usize {
    let pods =
        cluster.kubectl(&format!("get pods -A --field-selector spec.nodeName={node} -o name"));
    pods.lines().count()
}

fn reserved_addresses_are_given_to_nobody(cluster: &Cluster) {
    start(cluster, "one", "shop", "n2");
    let last: Ipv4Addr = Pods::of(cluster).address("one").parse().expect("an IPv4 address");
    let next = |count: u32| Ipv4Addr::from(u32::from(last) + count).to_string();
    let reservation = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "IPReservation", "metadata": {"name": "next"},
        "spec": {"reservedCIDRs": [format!("{}/32", next(1)), next(2)]},
    });
    resources(cluster, "apply", &reservation);
    assert_eq!(get(cluster, "ipreservation next")["spec"]["reservedCIDRs"][1], next(2));
    cluster.within(SOON * 2, "the agent has heard of it", |cluster| {
        start(cluster, "two", "shop", "n2");
        let address = Pods::of(cluster).address("two").to_owned();
        cluster.kubectl("delete pod -n shop two");
        address == next(3)
    });
    cluster.kubectl("delete pod -n shop one");
    resources(cluster, "delete", &reservation);
}

/// A pod that goes while its node has no agent is released by the next, which also says its version.
fn agents_may_go(cluster: &Cluster, pods: &Pods) {
    let before = remains(cluster);
    start(cluster, "late", "shop", "n1");
    let address = Pods::of(cluster).address("late").to_owned();
    let select = |node: Value| {
        let patch = json!({"spec": {"template": {"spec": {"nodeSelector": {"calico": node}}}}});
        cluster.kubectl(&format!("patch daemonset -n kube-system calico-node -p {patch}"));
    };
    let version = |cluster: &Cluster| {
        get(cluster, "clusterinformation default")["spec"]["calicoVersion"].clone()
    };
    let own = version(cluster);
    let older = json!({"spec": {"calicoVersion": "v0.0.1"}});
    let information = "clusterinformations.crd.projectcalico.org default";
    cluster.kubectl(&format!("patch {information} --type=merge -p {older}"));
    assert_eq!(version(cluster), "v0.0.1");
    select(json!("none"));
    cluster.within(LIMIT, "no agent runs", |cluster| {
        cluster.kubectl("get pods -n kube-system -l k8s-app=calico-node -o name").is_empty()
    });
    cluster.kubectl("delete pod -n shop late");
    let shows = |cluster: &Cluster| calicoctl(cluster, &format!("ipam show --ip={address}"));
    assert!(shows(cluster).contains("in use"), "{}", shows(cluster));
    pods.come_out(cluster, OPEN);
    select(Value::Null);
    await_calico(cluster);
    assert_eq!(version(cluster), own);
    cluster.within(LIMIT, "its address is released", |cluster| !shows(cluster).contains("in use"));
    await_nothing_but(cluster, &before);
    pods.come_out(cluster, OPEN);
}

fn the_api_server_may_go(cluster: &Cluster, pods: &Pods) {
    cluster.run("control-plane", "pkill -KILL -x kube-apiserver");
    pods.come_out(cluster, OPEN);
    cluster.within(LIMIT, "the API server is back", |cluster| {
        cluster.try_kubectl("get --raw /readyz").0
    });
    let nothing = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy",
        "metadata": {"name": "nothing", "namespace": "shop"},
        "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    });
    cluster.apply(&nothing.to_string());
    cluster.within(LIMIT, "policy is followed again", |cluster| {
        !pods.reaches(cluster, "teller", "web", "tcp/80")
    });
    pods.come_out(cluster, "teller web tcp/80 denied\nweb api tcp/8080 denied");
    start(cluster, "late", "bank", "n1");
    Pods::of(cluster).come_out(cluster, "late teller tcp/80 allowed\nlate api tcp/8080 denied");
    cluster.kubectl("delete pod -n bank late");
}

/// Another plugin's calico-ipam, and `calico -t`, with the credentials that install-cni has left; in
/// both families, from a pool for some namespaces.
fn the_plugins_work_on_their_own(cluster: &Cluster) {
    let pool = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "IPPool", "metadata": {"name": "six"},
        "spec": {"cidr": "fd00:10:244::/64", "namespaceSelector": "team == 'shop'"},
    });
    resources(cluster, "apply", &pool);
    let configuration = json!({
        "cniVersion": "1.0.0", "name": "other", "type": "macvlan", "datastore_type": "kubernetes",
        "ipam": {"type": "calico-ipam", "assign_ipv6": "true"},
        "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig"},
    });
    let run = |namespace: &str, line: &str| {
        let line = format!(
            "CNI_CONTAINERID=c0ffee CNI_NETNS=/proc/1/ns/net CNI_IFNAME=eth0 \
             CNI_ARGS='K8S_POD_NAMESPACE={namespace};K8S_POD_NAME=other' \
             CNI_PATH=/opt/cni/bin {line} 2>/dev/null <<'END'\n{configuration}\nEND\n"
        );
        cluster.try_run("n1", &line)
    };
    let (_, said) = run("bank", "CNI_COMMAND=ADD /opt/cni/bin/calico-ipam");
    assert!(said.contains("its namespaceSelector does not select the namespace"), "{said}");
    let (added, said) = run("shop", "CNI_COMMAND=ADD /opt/cni/bin/calico-ipam");
    assert!(added && said.contains(r#""address":"192.168."#), "{said}");
    assert!(said.contains(r#""address":"fd00:10:244:"#), "{said}");
    for line in ["CNI_COMMAND=DEL /opt/cni/bin/calico-ipam", "/opt/cni/bin/calico -t"] {
        let (succeeded, said) = run("shop", line);
        assert!(succeeded, "{said}");
    }
    resources(cluster, "delete", &pool);
}

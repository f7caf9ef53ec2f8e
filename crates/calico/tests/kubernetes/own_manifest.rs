//! A manifest of Calico's own, of v3.28, with nothing but its images changed: definitions, roles,
//! settings, volumes and probes are as Calico has them. Then ours over it, while pods run.

use crate::audit::Requests;
use crate::cluster::{Cluster, repository};
use crate::connections::Pods;
use crate::installation::{MANIFEST, await_calico, await_controllers, installed};
use crate::workloads::{SHOP, calicoctl, guard, start};
use serde_json::{Value, json};

/// What its roles do not allow, and this program does without.
const DENIED: &[(&str, &str)] = &[
    (
        "calico-kube-controllers update kubecontrollersconfigurations/status.crd.projectcalico.org",
        NEWER,
    ),
    ("calico-kube-controllers get ipamconfigs.crd.projectcalico.org", "it takes the default"),
    (
        "calico-kube-controllers get leases.coordination.k8s.io",
        "its Deployment has one replica: no election is needed",
    ),
    ("calico-node list ipamconfigs.crd.projectcalico.org", "it may get the one there is"),
    ("calico-node create tiers.crd.projectcalico.org", NEWER),
    ("calico-node get tiers.crd.projectcalico.org", NEWER),
    ("calico-node list clusternetworkpolicies.policy.networking.k8s.io", NEWER),
    ("calico-node list stagedglobalnetworkpolicies.crd.projectcalico.org", NEWER),
    ("calico-node list stagedkubernetesnetworkpolicies.crd.projectcalico.org", NEWER),
    ("calico-node list stagednetworkpolicies.crd.projectcalico.org", NEWER),
    ("calico-node list tiers.crd.projectcalico.org", NEWER),
];
const NEWER: &str = "the cluster has no such kind, and that is seen instead";

/// As scripts/calico-manifest has fetched it; every image is named as ours.
fn with_our_images() -> String {
    let path = repository().join("target/kubernetes/calico-v3.28.yaml");
    let text = std::fs::read_to_string(&path);
    let text = text.unwrap_or_else(|why| {
        panic!("{}: {why}; scripts/calico-manifest fetches it", path.display())
    });
    let ours = ["cni", "node", "kube-controllers"];
    let mut changed = 0;
    let lines = text.lines().map(|line| {
        let Some((indent, image)) = line.split_once("image: docker.io/calico/") else {
            return line.to_owned();
        };
        let (name, _version) = image.split_once(':').expect("a version");
        assert!(ours.contains(&name), "{line}");
        changed += 1;
        let own = format!("image: docker.io/calico-rs/{name}:");
        let tagged = MANIFEST.lines().find_map(|line| line.trim_start().strip_prefix(&own));
        format!("{indent}{own}{}", tagged.expect("our manifest has the image"))
    });
    let text = lines.collect::<Vec<String>>().join("\n");
    assert_eq!(changed, 5);
    text
}

#[test]
fn calicos_own_manifest_works_with_its_images_changed() {
    let cluster = installed("own", &with_our_images());
    await_controllers(&cluster);
    init_containers_have_ended_well(&cluster);
    cluster.apply(SHOP);
    cluster.kubectl("wait -n shop --for=condition=Ready pod/web pod/api --timeout=60s");
    cluster.kubectl("wait -n bank --for=condition=Ready pod/teller --timeout=60s");
    let pods = Pods::of(&cluster);
    pods.come_out(&cluster, "web api ping allowed\nteller web tcp/80 allowed");
    let web = json!({"podSelector": {"matchLabels": {"app": "web"}}});
    guard(&cluster, "shop", "api", &web, &json!("http"));
    let guarded = "
        web     api  tcp/8080  allowed
        web     api  ping      denied
        teller  api  tcp/8080  denied
        teller  web  ping      allowed
    ";
    pods.come_out(&cluster, guarded);
    calicoctl_shows(&cluster);
    let denied = Requests::of(&cluster).denied();
    let unlisted = denied.iter().filter(|one| !DENIED.iter().any(|(known, _)| known == one));
    assert_eq!(unlisted.collect::<Vec<_>>(), [""; 0]);

    // Ours over it: no packet is lost, and policy, addresses and blocks are what they were.
    let blocks = calicoctl(&cluster, "ipam show --show-blocks");
    let ping =
        format!("ping -i 0.05 -q {} >/tmp/ping 2>&1 & echo $! >/tmp/ping.pid", pods.address("web"));
    pods.inside(&cluster, "teller", &ping);
    cluster.apply(MANIFEST);
    cluster.kubectl("rollout status -n kube-system daemonset/calico-node --timeout=120s");
    await_calico(&cluster);
    await_controllers(&cluster);
    // Those before may have asked once more.
    let before = Requests::of(&cluster).denied().len();
    pods.come_out(&cluster, guarded);
    let node = &pods.place("teller").node;
    let said = cluster.run(node, "kill -INT $(cat /tmp/ping.pid); sleep 0.2; cat /tmp/ping");
    assert!(said.contains(" 0% packet loss"), "{said}");
    let now = Pods::of(&cluster);
    for pod in ["web", "api", "teller"] {
        assert_eq!(now.address(pod), pods.address(pod), "{pod}");
    }
    assert_eq!(
        calicoctl(&cluster, "ipam show --show-blocks").lines().count(),
        blocks.lines().count()
    );
    start(&cluster, "later", "shop", "n2");
    Pods::of(&cluster).come_out(&cluster, "later web ping allowed\nlater api ping denied");
    calicoctl_shows(&cluster);
    assert_eq!(Requests::of(&cluster).denied().split_off(before), [""; 0]);
    let tiers = calicoctl(&cluster, "get tiers");
    assert!(tiers.contains("kube-admin"), "the new agents have made them: {tiers}");
}

/// The one that mounts BPF's file system and shares it with the node, too.
fn init_containers_have_ended_well(cluster: &Cluster) {
    let pods = cluster.kubectl("get pods -n kube-system -l k8s-app=calico-node -o json");
    let pods: Value = serde_json::from_str(&pods).expect("JSON");
    for pod in pods["items"].as_array().expect("a list") {
        let ended = pod["status"]["initContainerStatuses"].as_array().expect("a list").iter();
        let ended: Vec<(&Value, &Value)> =
            ended.map(|one| (&one["name"], &one["state"]["terminated"]["exitCode"])).collect();
        let zero = json!(0);
        let names = [json!("upgrade-ipam"), json!("install-cni"), json!("mount-bpffs")];
        assert_eq!(ended, names.iter().map(|name| (name, &zero)).collect::<Vec<_>>());
    }
}

fn calicoctl_shows(cluster: &Cluster) {
    let shown = calicoctl(cluster, "get nodes -o wide") + &calicoctl(cluster, "get wep -A");
    for part in ["172.31.0.11/24", "172.31.0.12/24", "teller", "api"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let pools = calicoctl(cluster, "get ippools -o wide");
    assert!(pools.contains("192.168.0.0/16") && pools.contains("Always"), "{pools}");
    let policies = calicoctl(cluster, "get networkpolicy -n shop");
    assert!(policies.contains("knp.default.api"), "{policies}");
    cluster.within(crate::cluster::LIMIT, "the BGP session is there", |cluster| {
        let status = cluster.run("n1", "calicoctl node status");
        let line = status.lines().find(|line| line.contains("172.31.0.12"));
        line.is_some_and(|line| line.contains("Established"))
    });
}

//! What annotations of pods and namespaces ask of CNI ADD, and the plugin's options: done as they say,
//! or refused in the pod's events.

use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{MANIFEST, await_controllers, installed_on};
use crate::workloads::{
    await_nothing_but, await_ready, calicoctl, idle, remains, resources, start,
};
use serde_json::{Value, json};
use std::time::Duration;

/// IPAM as the manifest has it, and as it is here.
const IPAM: &str = r#""ipam": {"type": "calico-ipam", "assign_ipv6": "false"},"#;
const BOTH_FAMILIES: &str = r#""ipam": {"type": "calico-ipam", "assign_ipv6": "true"}, "feature_control": {"ip_addrs_no_ipam": true},"#;
const HOST_LOCAL: &str = r#""ipam": {"type": "host-local", "subnet": "usePodCidr"},"#;

const CALICO: &str = "cni.projectcalico.org/";

#[test]
fn annotations_say_what_a_pod_gets() {
    assert!(MANIFEST.contains(IPAM));
    let manifest = MANIFEST.replace(IPAM, BOTH_FAMILIES);
    let cluster = installed_on("annotations", &manifest, &["--dual-stack"]);
    make_pools(&cluster);
    await_controllers(&cluster);
    let before = remains(&cluster);
    pods_get_what_they_ask_for(&cluster);
    what_is_wrong_is_told_in_events(&cluster);
    await_nothing_but(&cluster, &before);
    other_sources_are_allowed(&cluster);
    limits_of_bandwidth_are_kept(&cluster);
    host_local_gives_the_nodes_range(&cluster);
    await_nothing_but(&cluster, &before);
}

fn make_pools(cluster: &Cluster) {
    for (name, spec) in [
        ("six", json!({"cidr": "fd00:10:244::/64", "natOutgoing": false})),
        ("small", json!({"cidr": "10.9.0.0/24", "nodeSelector": "!all()"})),
        ("off", json!({"cidr": "10.66.0.0/24", "disabled": true})),
        ("shop", json!({"cidr": "10.8.0.0/24", "namespaceSelector": "team == 'shop'"})),
    ] {
        let pool = json!({
            "apiVersion": "projectcalico.org/v3", "kind": "IPPool",
            "metadata": {"name": name}, "spec": spec,
        });
        resources(cluster, "apply", &pool);
    }
    let others = json!({"spec": {"namespaceSelector": "team!='shop'"}});
    let pool = "ippools.crd.projectcalico.org default-ipv4-ippool";
    cluster.kubectl(&format!("patch {pool} --type=merge -p {others}"));
    for (namespace, labels, annotations) in [
        ("shop", json!({"team": "shop"}), json!({})),
        ("small", json!({}), json!({"cni.projectcalico.org/ipv4pools": "[\"10.9.0.0/24\"]"})),
        ("odd", json!({}), json!({"cni.projectcalico.org/ipv4pools": "small"})),
    ] {
        let namespace = json!({
            "apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": namespace, "labels": labels, "annotations": annotations},
        });
        cluster.apply(&namespace.to_string());
    }
}

/// Full names of Calico's annotations.
fn annotated(annotations: &[(&str, &str)]) -> Vec<(String, String)> {
    let full = |(name, value): &(&str, &str)| (format!("{CALICO}{name}"), (*value).to_owned());
    annotations.iter().map(full).collect()
}

/// A pod on n1 with annotations of Calico's.
fn pod(name: &str, namespace: &str, annotations: &[(&str, &str)]) -> Value {
    let annotations = annotated(annotations);
    let annotations: Vec<(&str, &str)> =
        annotations.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    idle(name, namespace, "n1", &annotations)
}

/// A pod: name, namespace, annotations, how its addresses begin.
type Good =
    (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const GOOD: [Good; 8] = [
    ("plain", "default", &[], &["192.168.", "fd00:10:244:"]),
    ("pool", "default", &[("ipv4pools", r#"["small"]"#)], &["10.9.0.", "fd00:10:244:"]),
    ("of-namespace", "small", &[], &["10.9.0.", "fd00:10:244:"]),
    (
        "own-pool",
        "small",
        &[("ipv4pools", r#"["default-ipv4-ippool"]"#), ("ipFamilies", r#"["IPv4"]"#)],
        &["192.168."],
    ),
    ("selected", "shop", &[], &["10.8.0.", "fd00:10:244:"]),
    ("six", "default", &[("ipFamilies", r#"["IPv6"]"#)], &["fd00:10:244:"]),
    (
        "very",
        "default",
        &[("ipAddrs", r#"["10.9.0.77", "fd00:10:244::77"]"#), ("hwAddr", "02:00:0a:00:00:4d")],
        &["10.9.0.77", "fd00:10:244::77"],
    ),
    ("no-ipam", "default", &[("ipAddrsNoIpam", r#"["10.77.0.7"]"#)], &["10.77.0.7"]),
];

fn pods_get_what_they_ask_for(cluster: &Cluster) {
    for (name, namespace, annotations, _) in GOOD {
        cluster.apply(&pod(name, namespace, annotations).to_string());
    }
    for (name, namespace, ..) in GOOD {
        await_ready(cluster, name, namespace);
    }
    let pods = Pods::of(cluster);
    for (name, _, _, expected) in GOOD {
        let addresses = &pods.place(name).addresses;
        let alike = addresses.len() == expected.len()
            && expected.iter().all(|begin| addresses.iter().any(|one| one.starts_with(begin)));
        assert!(alike, "{name}: {addresses:?}, and {expected:?} was asked for");
    }
    let link = pods.inside(cluster, "very", "ip link show eth0");
    assert!(link.contains("02:00:0a:00:00:4d"), "{link}");
    let shown = calicoctl(cluster, "ipam show --ip=10.77.0.7");
    assert!(shown.contains("not assigned"), "{shown}");
    // In both families, with each other and with the node.
    pods.come_out(cluster, "plain very ping allowed\nno-ipam plain ping allowed");
    let six = |name: &str| {
        let addresses = &pods.place(name).addresses;
        addresses.iter().find(|one| one.contains(':')).expect("an IPv6 address").clone()
    };
    for to in ["very", "six"] {
        pods.inside(cluster, "plain", &format!("ping -6 -c1 -W2 {}", six(to)));
    }
    cluster.run("n1", &format!("ping -6 -c1 -W2 {}", six("plain")));
}

/// A pod: name, namespace, annotations, what its events say beside the pod and the next step.
type Bad =
    (&'static str, &'static str, &'static [(&'static str, &'static str)], &'static [&'static str]);

const BAD: [Bad; 11] = [
    ("no-json", "default", &[("ipv4pools", "small")], &["ipv4pools", "a JSON list"]),
    (
        "no-pool",
        "default",
        &[("ipv4pools", r#"["nope"]"#)],
        &["ipv4pools", "nope", "does not exist"],
    ),
    ("off", "default", &[("ipv4pools", r#"["off"]"#)], &["ipv4pools", "off", "disabled"]),
    ("of-odd", "odd", &[], &["ipv4pools of its namespace odd", "a JSON list"]),
    ("no-address", "default", &[("ipAddrs", r#"["10.9.0.256"]"#)], &["ipAddrs", "10.9.0.256"]),
    (
        "no-pools",
        "default",
        &[("ipAddrs", r#"["10.55.0.1"]"#)],
        &["ipAddrs", "not in a configured pool", "10.55.0.1"],
    ),
    (
        "off-pools",
        "default",
        &[("ipAddrs", r#"["10.66.0.1"]"#)],
        &["ipAddrs", "not in a configured pool", "10.66.0.1"],
    ),
    (
        "taken",
        "default",
        &[("ipAddrs", r#"["10.9.0.77"]"#)],
        &["ipAddrs", "10.9.0.77", "pod default/very holds it"],
    ),
    (
        "both",
        "default",
        &[("ipAddrs", r#"["10.9.0.8"]"#), ("ipAddrsNoIpam", r#"["10.77.0.8"]"#)],
        &["can't have both annotations"],
    ),
    ("no-mac", "default", &[("hwAddr", "02:00")], &["hwAddr", "six bytes"]),
    (
        "no-range",
        "default",
        &[("allowedSourcePrefixes", "10.0.0.0/8")],
        &["allowedSourcePrefixes", "a JSON list"],
    ),
];

fn events_of(cluster: &Cluster, name: &str, namespace: &str) -> String {
    cluster.kubectl(&format!(
        "get events -n {namespace} --field-selector involvedObject.name={name} \
         -o jsonpath={{.items[*].message}}"
    ))
}

fn what_is_wrong_is_told_in_events(cluster: &Cluster) {
    let before = remains(cluster);
    for (name, namespace, annotations, _) in BAD {
        cluster.apply(&pod(name, namespace, annotations).to_string());
    }
    for (name, namespace, _, said) in BAD {
        let subject = format!("pod {namespace}/{name}: annotation {CALICO}");
        let parts = [subject.as_str(), "correct it with kubectl annotate"];
        let parts: Vec<&str> = parts.iter().chain(said).copied().collect();
        cluster.within(LIMIT, &format!("{name}'s events say {parts:?}"), |cluster| {
            let events = events_of(cluster, name, namespace);
            parts.iter().all(|part| events.contains(part))
        });
    }
    // Corrected, it starts.
    cluster.kubectl(&format!("annotate pod no-json --overwrite {CALICO}ipv4pools=[\"small\"]"));
    await_ready(cluster, "no-json", "default");
    for (name, namespace, ..) in BAD {
        cluster.kubectl(&format!("delete pod -n {namespace} {name}"));
    }
    await_nothing_but(cluster, &before);
    for (name, namespace, ..) in GOOD {
        cluster.kubectl(&format!("delete pod -n {namespace} {name}"));
    }
}

/// With workloadSourceSpoofing, a pod may send from what its annotation says, and from nothing else.
fn other_sources_are_allowed(cluster: &Cluster) {
    let any = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration",
        "metadata": {"name": "default"}, "spec": {"workloadSourceSpoofing": "Any"},
    });
    resources(cluster, "apply", &any);
    start(cluster, "target", "default", "n1");
    let prefixes = [("allowedSourcePrefixes", r#"["10.123.0.0/16"]"#)];
    for (name, annotations) in [("other", &prefixes[..]), ("usual", &[])] {
        cluster.apply(&pod(name, "default", annotations).to_string());
        await_ready(cluster, name, "default");
    }
    let pods = Pods::of(cluster);
    let asked = |cluster: &Cluster| {
        let line = "awk '/^Icmp: [0-9]/ {print $10}' /proc/net/snmp";
        let count = pods.inside(cluster, "target", line);
        count.trim().parse::<u64>().expect("a number")
    };
    let to = pods.address("target");
    for (from, source, arrives) in [
        ("other", "10.123.0.1", true),
        ("other", "10.124.0.1", false),
        ("usual", "10.123.0.1", false),
    ] {
        let line = format!(
            "ip address add {source}/32 dev lo; ping -c3 -i0.2 -W1 -I {source} {to}; \
             ip address del {source}/32 dev lo"
        );
        let begin = asked(cluster);
        let send = |cluster: &Cluster| {
            pods.try_inside(cluster, from, &line);
            asked(cluster) > begin
        };
        if arrives {
            cluster.within(Duration::from_secs(20), "packets of another source arrive", send);
        } else {
            assert!(!send(cluster), "{from} may not send from {source}");
        }
    }
    for name in ["target", "other", "usual"] {
        cluster.kubectl(&format!("delete pod {name}"));
    }
}

/// The bandwidth plugin's, which kubelet tells of Kubernetes' annotations.
fn limits_of_bandwidth_are_kept(cluster: &Cluster) {
    let limits =
        [("kubernetes.io/ingress-bandwidth", "10M"), ("kubernetes.io/egress-bandwidth", "20M")];
    cluster.apply(&idle("limited", "default", "n1", &limits).to_string());
    await_ready(cluster, "limited", "default");
    let queues = cluster.run("n1", "tc qdisc show");
    for rate in ["rate 10Mbit", "rate 20Mbit"] {
        assert!(queues.contains(rate), "{rate}: {queues}");
    }
    cluster.kubectl("delete pod limited");
}

/// host-local in place of Calico's IPAM, with the range that Kubernetes has given the node, whose name
/// the plugin has from the agent's file.
fn host_local_gives_the_nodes_range(cluster: &Cluster) {
    let file = "/etc/cni/net.d/10-calico.conflist";
    let text = cluster.run("n1", &format!("cat {file}"));
    let own = text.replace(BOTH_FAMILIES, HOST_LOCAL).replace(r#""nodename": "n1","#, "");
    assert!(own.contains(HOST_LOCAL) && !own.contains("nodename"), "{text}");
    let write = |text: &str| {
        cluster.run("n1", &format!("cat >{file}.new <<'END'\n{text}\nEND\nmv {file}.new {file}"));
        // containerd hears of it.
        std::thread::sleep(Duration::from_secs(1));
    };
    write(&own);
    assert_eq!(cluster.run("n1", "cat /var/lib/calico/nodename").trim(), "n1");
    cluster.run("n1", "mv /var/lib/calico/nodename /var/lib/calico/nodename.away");
    cluster.apply(&pod("local", "default", &[]).to_string());
    cluster.within(LIMIT, "the missing file is named", |cluster| {
        let events = events_of(cluster, "local", "default");
        events.contains("check that the calico/node container is running and has mounted")
    });
    cluster.run("n1", "mv /var/lib/calico/nodename.away /var/lib/calico/nodename");
    await_ready(cluster, "local", "default");
    let pods = Pods::of(cluster);
    let address = pods.address("local");
    let range = cluster.kubectl("get node n1 -o jsonpath={.spec.podCIDR}");
    let begin = range.strip_suffix("0/24").expect("a range of 256 addresses");
    assert!(address.starts_with(begin), "{address} is not of {range}");
    let held = cluster.run("n1", "ls /var/lib/cni/networks/k8s-pod-network");
    assert!(held.lines().any(|one| one == address), "{held}");
    cluster.run("n1", &format!("ping -c1 -W2 {address}"));
    let very = [("ipAddrs", r#"["10.9.0.8"]"#)];
    cluster.apply(&pod("deaf", "default", &very).to_string());
    cluster.within(LIMIT, "host-local has no ear for it", |cluster| {
        events_of(cluster, "deaf", "default").contains("another IPAM plugin gives")
    });
    for name in ["local", "deaf"] {
        cluster.kubectl(&format!("delete pod {name}"));
    }
    write(&text);
}

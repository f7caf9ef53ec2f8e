//! The clusters that policy benchmarks are about: those of Felix's and Antrea's own benchmarks.

use ipnet::IpNet;
use model::DefaultAction;
use policy::Update;
use policy::input::{
    Action, Entity, NetworkSet, NetworkSetId, Policy, PolicyId, PolicyKind, Port, Profile, Rule,
    Tier, Workload, WorkloadId,
};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The node whose graph is measured.
pub(crate) const NODE: &str = "localhost";

/// The label by which a pod knows its namespace.
const NAMESPACE: &str = "pcns.projectcalico.org/name";
const UDP: u8 = 17;
/// Namespaces of Felix's benchmark of a snapshot.
const NAMESPACES: usize = 100;

/// Labels that only mark (`felix/calc/calc_graph_bench_test.go`): 29 different ones.
const MARKERS: [&str; 31] = [
    "FOO_BAR",
    "FOO_BAR",
    "BIFF_BOP",
    "calico/FizzBuzz",
    "calico/BoffBip",
    "calico/Bazzle",
    "calico/Razzle",
    "calico/DoopDeeDoo",
    "calico/SOME_LABEL",
    "calico/BORED_NOW",
    "MyMarkerLabel",
    "xFOO_BAR",
    "xBIFF_BOP",
    "xcalico/FizzBuzz",
    "xcalico/BoffBip",
    "xcalico/Bazzle",
    "xcalico/Razzle",
    "xcalico/DoopDeeDoo",
    "xcalico/SOME_LABEL",
    "xcalico/BORED_NOW",
    "yxMyMarkerLabel",
    "yxFOO_BAR",
    "yxBIFF_BOP",
    "yxcalico/FizzBuzz",
    "yxcalico/BoffBip",
    "yxcalico/Bazzle",
    "yxcalico/Razzle",
    "yxcalico/DoopDeeDoo",
    "yxcalico/SOME_LABEL",
    "yxcalico/BORED_NOW",
    "yxMyMarkerLabel",
];

/// Makes one cluster's updates.
#[derive(Default)]
struct Maker {
    updates: Vec<Update>,
    addresses: u32,
}

type Labels = BTreeMap<Box<str>, Box<str>>;

fn labels<const N: usize>(pairs: [(&str, String); N]) -> Labels {
    pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn rule(source: &str, destination: &str) -> Rule {
    let entity = |selector: &str| {
        let selector: Box<str> = selector.into();
        (!selector.is_empty()).then(|| Box::new(Entity { selector, ..Entity::default() }))
    };
    Rule {
        action: Action::Allow,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: entity(source),
        destination: entity(destination),
        name: "".into(),
    }
}

impl Maker {
    fn new() -> Maker {
        let tier = Tier { order: Some(1e6), default_action: DefaultAction::Deny };
        Maker { updates: vec![Update::Tier("default".into(), Some(tier))], addresses: 0 }
    }

    fn address(&mut self) -> IpAddr {
        self.addresses += 1;
        IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + self.addresses))
    }

    fn policy(&mut self, namespace: &str, name: String, selector: &str, rules: [Vec<Rule>; 2]) {
        let kind = match namespace {
            "" => PolicyKind::GlobalNetworkPolicy,
            _ => PolicyKind::NetworkPolicy,
        };
        let [ingress, egress] = rules;
        let policy = Policy {
            tier: "default".into(),
            selector: selector.into(),
            applies_to_ingress: true,
            applies_to_egress: !egress.is_empty(),
            ingress,
            egress,
            ..Policy::default()
        };
        let id = PolicyId { kind, namespace: namespace.into(), name: name.into() };
        self.updates.push(Update::Policy(id, Some(Box::new(policy))));
    }

    fn namespace(&mut self, namespace: &str, mut labels: Labels) {
        labels.insert(NAMESPACE.into(), namespace.into());
        let profile = Profile { labels, ..Profile::default() };
        self.updates.push(Update::Profile(format!("kns.{namespace}"), Some(Box::new(profile))));
    }

    fn workload(&mut self, node: &str, namespace: &str, name: String, labels: Labels) {
        let workload = Workload {
            node: node.into(),
            interface: format!("cali{:011x}", self.addresses).into(),
            addresses: vec![self.address()],
            labels,
            profiles: vec![format!("kns.{namespace}").into()],
            ..Workload::default()
        };
        let id = WorkloadId { namespace: namespace.into(), name: name.into() };
        self.updates.push(Update::Workload(id, Some(Box::new(workload))));
    }

    /// Endpoints as of Felix's `benchInitialSnap`.
    fn snapshot_endpoints(&mut self, node: &str, count: usize) {
        for n in 0..count {
            let one_in = |many: usize| (n + 1) % many;
            let mut labels: Labels = [10, 11, 20, 30, 40]
                .map(|many| {
                    let value = format!("value-{}", one_in(many)).into();
                    (format!("one-in-{many}").into(), value)
                })
                .into();
            labels.insert(MARKERS[one_in(MARKERS.len())].into(), "true".into());
            let namespace = format!("namespace-{}", n % NAMESPACES);
            self.workload(node, &namespace, format!("{node}-wep-{n}"), labels);
        }
    }

    fn namespaces(&mut self) {
        for n in 0..NAMESPACES {
            self.namespace(&format!("namespace-{n}"), Labels::new());
        }
    }
}

/// Many endpoints on other nodes, and policies that select and name them by marker labels.
pub(crate) fn snapshot(remote: usize, local: usize, policies: usize) -> Vec<Update> {
    const RULES: usize = 5;
    let mut maker = Maker::new();
    let has = |n: usize| format!("has({})", MARKERS[n % MARKERS.len()]);
    for n in 0..policies {
        let rules = (n..n + RULES).map(|n| rule(&has(n), "")).collect();
        maker.policy("", format!("tag-pol-{n}"), &has(n), [rules, vec![]]);
    }
    maker.namespaces();
    maker.snapshot_endpoints("remotehost", remote);
    maker.snapshot_endpoints(NODE, local);
    maker.updates
}

/// The end of endpoints of this node.
pub(crate) fn local_gone(updates: &[Update]) -> Vec<Update> {
    let gone = updates.iter().filter_map(|update| match update {
        Update::Workload(id, Some(workload)) if &*workload.node == NODE => {
            Some(Update::Workload(id.clone(), None))
        }
        _ => None,
    });
    gone.collect()
}

/// Network sets of up to 1,000 addresses, and a policy on everything for each.
pub(crate) fn network_sets(remote: usize, local: usize, sets: usize) -> Vec<Update> {
    const SIZES: [usize; 10] = [1, 1, 1, 1, 2, 3, 4, 5, 100, 1000];
    let mut maker = Maker::new();
    maker.namespaces();
    maker.snapshot_endpoints("remotehost", remote);
    for n in 0..sets {
        let name = format!("network-set-{n}");
        let selector = format!("network-set-name == '{name}'");
        let nets = (0..SIZES[n % SIZES.len()]).map(|_| IpNet::from(maker.address())).collect();
        let labels = labels([("network-set-name", name.clone())]);
        let id = NetworkSetId { namespace: "".into(), name: name.into() };
        let set = NetworkSet { nets, labels, profiles: vec![] };
        maker.updates.push(Update::NetworkSet(id, Some(Box::new(set))));
        let rules = [vec![rule(&selector, "")], vec![]];
        maker.policy("", format!("network-set-pol-{n}"), "all()", rules);
    }
    maker.snapshot_endpoints(NODE, local);
    maker.updates
}

/// Namespaces of one customer each, who may talk to themselves and to DNS.
pub(crate) fn isolated(customers: usize, local: usize) -> Vec<Update> {
    let mut maker = Maker::new();
    for n in 0..customers {
        let namespace = format!("customer-{n}");
        let own = format!("{NAMESPACE} == '{namespace}'");
        let dns = Entity {
            nets: [IpNet::from(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)))].into(),
            ports: [Port::Range(53, 53)].into(),
            ..Entity::default()
        };
        let to_dns = Rule { protocol: Some(UDP), destination: Some(Box::new(dns)), ..rule("", "") };
        let egress = vec![rule("", &own), to_dns];
        maker.policy(&namespace, "isolation".into(), &own, [vec![rule(&own, "")], egress]);
    }
    for n in 0..customers {
        let labels = labels([
            ("pcns.namespace-id", text(n, 20)),
            ("pcns.production", (n % 2 == 0).to_string()),
        ]);
        maker.namespace(&format!("customer-{n}"), labels);
    }
    let is_local = |n: usize| n.is_multiple_of(customers / local);
    for (node, here) in [("remotehost", false), (NODE, true)] {
        for n in (0..customers).filter(|n| is_local(*n) == here) {
            let name = format!("app-{:09x}-{:05x}", n * 7 + 3, (n * 17 + 5) % 0x10000);
            maker.workload(node, &format!("customer-{n}"), name, customer_labels(n));
        }
    }
    maker.updates
}

fn customer_labels(n: usize) -> Labels {
    let one_of = |values: &[&str]| values[n % values.len()].to_owned();
    labels([
        ("pod-id", text(n * 5, 20)),
        ("instance-id", text(n * 5 + 1, 20)),
        ("short-id", text(n * 5 + 2, 10)),
        ("config-hash", text(n * 5 + 3, 20)),
        ("version-tag", text(n * 5 + 4, 8)),
        ("enabled", (n % 2).to_string()),
        ("debug", (n / 2 % 2).to_string()),
        ("canary", (n / 4 % 2).to_string()),
        ("managed", (n / 8 % 2).to_string()),
        ("environment", one_of(&["dev", "staging", "prod"])),
        ("tier", one_of(&["frontend", "backend", "middleware", "data"])),
        ("region", one_of(&["us-east", "us-west", "eu-west", "ap-south"])),
        ("team", one_of(&["platform", "payments", "identity", "growth", "infra"])),
        ("managed-by", "saas-controller".into()),
        ("tenant-id", text(n % 5000, 10)),
    ])
}

/// A text of a number, as Felix's benchmark makes it.
fn text(number: usize, length: usize) -> String {
    const LETTERS: &[u8; 16] = b"abcdef0123456789";
    let mut state = (number as u64).wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut letter = || {
        let letter = LETTERS[(state % 16) as usize];
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(letter)
    };
    (0..length).map(|_| letter()).collect()
}

/// Antrea's largest cluster of small namespaces, all of it on one node, as Antrea's controller computes
/// it all: four pods and three policies in each.
pub(crate) fn small_namespaces(namespaces: usize) -> Vec<Update> {
    let mut maker = Maker::new();
    let app = |n: usize| labels([(["app-1", "app-2"][n], format!("scale-{}", n + 1))]);
    for n in 0..namespaces {
        let namespace = text(n, 8) + &format!("{n:x}");
        maker.namespace(&namespace, labels([("pcns.app", namespace.clone())]));
        let own = format!("projectcalico.org/namespace == \"{namespace}\"");
        maker.policy(&namespace, "default-deny-all".into(), &own, [vec![], vec![]]);
        for n in 1..=2 {
            let apps = format!("(app-{n} == 'scale-{n}') && {own}");
            let rules = [vec![rule(&apps, "")], vec![]];
            maker.policy(&namespace, format!("np-{n}"), &apps, rules);
        }
        for pod in 0..4 {
            let mut labels = app(pod / 2);
            labels.insert("projectcalico.org/namespace".into(), namespace.as_str().into());
            labels.insert("projectcalico.org/orchestrator".into(), "k8s".into());
            maker.workload(NODE, &namespace, format!("pod{pod}"), labels);
        }
    }
    maker.updates
}

/// Many selectors that agree in all but one label (`felix/labelindex/named_port_bench_test.go`), in rules of
/// one policy each, and an endpoint that one of them selects.
pub(crate) fn selectors(count: usize) -> Vec<Update> {
    let mut maker = Maker::new();
    for n in 0..count {
        let selector = format!("alpha == \"beta\" && has(ipset-{n})");
        let rules = [vec![rule(&selector, "")], vec![]];
        maker.policy("", format!("pol-{n}"), "all()", rules);
    }
    maker.workload(NODE, "default", "local".into(), Labels::new());
    maker.updates.push(one_pod(1));
    maker.updates
}

/// An endpoint of another node with the label `ipset-N`.
pub(crate) fn one_pod(n: usize) -> Update {
    let mut maker = Maker::default();
    let name = format!("ipset-{n}");
    let labels = labels([("alpha", "beta".into()), (&name, "true".into())]);
    maker.workload("remotehost", "default", "changing".into(), labels);
    maker.updates.remove(0)
}

//! What the roles allow: what each program follows is taken from it; the rest is a list, each line
//! with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use store::kubernetes::collections;

/// The API group of Calico's resources in `crds.yaml`.
const CALICO: &str = "crd.projectcalico.org";
const CORE: &str = "";
const COORDINATION: &str = "coordination.k8s.io";

/// One rule: API group, resources, verbs, only for objects of these names, reason.
struct Rule {
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    names: &'static [&'static str],
    reason: &'static str,
}

const fn rule(
    group: &'static str,
    resources: &'static [&'static str],
    verbs: &'static [&'static str],
    reason: &'static str,
) -> Rule {
    Rule { group, resources, verbs, names: &[], reason }
}

/// What IPAM does, in the agent and in calico-ipam.
const IPAM: &[Rule] = &[
    rule(CALICO, &["ipamconfigs"], &["get"], "IPAM's settings."),
    rule(
        CALICO,
        &["blockaffinities", "ipamblocks"],
        &["get", "list", "create", "update", "delete"],
        "Addresses are given from blocks, and blocks to nodes.",
    ),
    rule(
        CALICO,
        &["ipamhandles"],
        &["get", "create", "update", "delete"],
        "What holds an address is known by its handle.",
    ),
];

const NODE: &[Rule] = &[
    rule(CORE, &["nodes", "pods"], &["get"], "One is read before it is changed."),
    rule(CORE, &["namespaces"], &["get"], "A pod may be quicker than the news of its namespace."),
    rule(
        CORE,
        &["nodes/status", "pods/status"],
        &["patch"],
        "What Calico knows of a node or a pod stands in its annotations.",
    ),
    rule(
        CALICO,
        &["clusterinformations"],
        &["get", "create", "update"],
        "At its start, a node tells the cluster its version, and initialises a new cluster.",
    ),
    rule(
        CALICO,
        &["ippools", "tiers"],
        &["get", "create"],
        "What every cluster has is made where it is missing.",
    ),
    rule(
        CALICO,
        &["caliconodestatuses"],
        &["get", "update"],
        "Who asks how the node is gets an answer.",
    ),
    Rule {
        group: CORE,
        resources: &["serviceaccounts/token"],
        verbs: &["create"],
        names: &["calico-cni-plugin"],
        reason: "The CNI plugin's token.",
    },
];

const PLUGIN: &[Rule] = &[
    rule(CORE, &["namespaces", "nodes"], &["get"], "Their labels, by which pools are selected."),
    rule(CALICO, &["ippools", "ipreservations"], &["list"], "What addresses there are to give."),
    rule(CALICO, &["clusterinformations"], &["get"], "Whether the cluster is ready (calico -t)."),
];

const CONTROLLERS: &[Rule] = &[
    rule(CORE, &["nodes", "pods"], &["get"], "Asked once more before what was theirs is freed."),
    rule(
        CALICO,
        &["kubecontrollersconfigurations"],
        &["get", "create", "update"],
        "Settings, made where they are missing; their status says what runs.",
    ),
    rule(CALICO, &["ipamconfigs"], &["get"], "IPAM's settings."),
    rule(
        CALICO,
        &["blockaffinities", "ipamblocks", "ipamhandles"],
        &["get", "update", "delete"],
        "Addresses that no pod has are freed, and what deleted nodes had.",
    ),
    rule(
        CALICO,
        &["hostendpoints"],
        &["get", "list", "create", "update", "delete"],
        "Automatic host endpoints.",
    ),
];

/// What is allowed in the namespace of its own pod alone.
const ELECTION: &[Rule] = &[
    rule(COORDINATION, &["leases"], &["create"], "One of several instances acts."),
    Rule {
        group: COORDINATION,
        resources: &["leases"],
        verbs: &["get", "update"],
        names: &["calico-kube-controllers"],
        reason: "The one that holds this lease.",
    },
];

/// The rules of calico-node, as YAML.
pub(crate) fn of_node() -> String {
    let mut text = followed(node::queries());
    NODE.iter().chain(IPAM).for_each(|rule| rule.write(&mut text));
    text
}

/// The rules of kube-controllers, as YAML.
pub(crate) fn of_controllers() -> String {
    let mut text = followed(controllers::followed());
    CONTROLLERS.iter().for_each(|rule| rule.write(&mut text));
    text
}

/// The rules of kube-controllers in its own namespace, as YAML.
pub(crate) fn of_election() -> String {
    let mut text = String::new();
    ELECTION.iter().for_each(|rule| rule.write(&mut text));
    text
}

/// What is listed and watched.
fn followed(queries: Vec<model::Query>) -> String {
    let mut followed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for query in queries {
        for collection in collections(&query) {
            followed.entry(collection.group).or_default().insert(collection.resource);
        }
    }
    let mut text = String::new();
    for (group, resources) in &followed {
        let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
        write_rule(&mut text, group, &resources, &["list", "watch"], &[], "Followed.");
    }
    text
}

/// The rules of the CNI plugin, as YAML.
pub(crate) fn of_plugin() -> String {
    let mut text = String::new();
    PLUGIN.iter().chain(IPAM).for_each(|rule| rule.write(&mut text));
    text
}

impl Rule {
    fn write(&self, text: &mut String) {
        write_rule(text, self.group, self.resources, self.verbs, self.names, self.reason);
    }
}

fn write_rule(
    text: &mut String,
    group: &str,
    resources: &[&str],
    verbs: &[&str],
    names: &[&str],
    reason: &str,
) {
    let list = |words: &[&str]| {
        let lines = words.iter().map(|word| format!("\n      - {word}"));
        lines.collect::<String>()
    };
    let mut add = |line: String| writeln!(text, "{line}").expect("a text takes lines");
    add(format!("  # {reason}"));
    add(format!("  - apiGroups: [\"{group}\"]"));
    add(format!("    resources:{}", list(resources)));
    if !names.is_empty() {
        add(format!("    resourceNames: [{}]", names.join(", ")));
    }
    add(format!("    verbs: [{}]", verbs.join(", ")));
}

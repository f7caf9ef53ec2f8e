//! What the roles allow: what each program follows is taken from it; the rest is a list, each line
//! with its reason.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use store::kubernetes::collections;

/// The API group of Calico's resources in `crds.yaml`.
const CALICO: &str = "crd.projectcalico.org";
/// The same in `crds-v3.yaml`, and the one resource that it calls otherwise.
const NATIVE: &str = "projectcalico.org";
const NATIVE_IPAM_CONFIG: (&str, &str) = ("ipamconfigs", "ipamconfigurations");
/// Of what is written, the resources whose status is a resource of its own there.
const NATIVE_STATUS: [&str; 2] = ["caliconodestatuses", "kubecontrollersconfigurations"];
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

/// Whose definitions of Calico's resources roles are for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Roles {
    /// `crds.yaml`.
    Crd,
    /// `crds-v3.yaml`.
    Native,
}

impl Roles {
    /// The rules of calico-node, as YAML.
    pub(crate) fn of_node(self) -> String {
        self.followed(node::queries()) + &self.written(NODE.iter().chain(IPAM))
    }

    /// The rules of kube-controllers, as YAML.
    pub(crate) fn of_controllers(self) -> String {
        self.followed(controllers::followed()) + &self.written(CONTROLLERS)
    }

    /// The rules of the CNI plugin, as YAML.
    pub(crate) fn of_plugin(self) -> String {
        self.written(PLUGIN.iter().chain(IPAM))
    }

    /// What is listed and watched.
    fn followed(self, queries: Vec<model::Query>) -> String {
        let mut followed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for query in queries {
            for collection in collections(&query) {
                followed.entry(collection.group).or_default().insert(collection.resource);
            }
        }
        let mut text = String::new();
        for (group, resources) in &followed {
            let resources: Vec<&str> = resources.iter().map(String::as_str).collect();
            self.write(&mut text, group, &resources, &["list", "watch"], &[], "Followed.");
        }
        text
    }

    fn written<'a>(self, rules: impl IntoIterator<Item = &'a Rule>) -> String {
        let mut text = String::new();
        for rule in rules {
            let Rule { group, resources, verbs, names, reason } = rule;
            self.write(&mut text, group, resources, verbs, names, reason);
        }
        text
    }

    fn write(
        self,
        text: &mut String,
        group: &str,
        resources: &[&str],
        verbs: &[&str],
        names: &[&str],
        reason: &str,
    ) {
        let is_native = self == Roles::Native && group == CALICO;
        let (old, new) = NATIVE_IPAM_CONFIG;
        let called = |name: &&str| match *name {
            name if is_native && name == old => new.to_owned(),
            name => name.to_owned(),
        };
        let resources: Vec<String> = resources.iter().map(called).collect();
        let list = |words: &[String]| {
            let lines = words.iter().map(|word| format!("\n      - {word}"));
            lines.collect::<String>()
        };
        let mut add = |line: String| writeln!(text, "{line}").expect("a text takes lines");
        add(format!("  # {reason}"));
        add(format!("  - apiGroups: [\"{}\"]", if is_native { NATIVE } else { group }));
        add(format!("    resources:{}", list(&resources)));
        if !names.is_empty() {
            add(format!("    resourceNames: [{}]", names.join(", ")));
        }
        add(format!("    verbs: [{}]", verbs.join(", ")));
        if is_native && verbs.contains(&"update") {
            let statuses =
                NATIVE_STATUS.iter().filter(|name| resources.contains(&(**name).to_owned()));
            for name in statuses.map(|name| format!("{name}/status")) {
                self.write(text, CALICO, &[&name], &["update"], &[], "Apart from the rest of it.");
            }
        }
    }
}

/// The rules of kube-controllers in its own namespace, as YAML: nothing of Calico's resources.
pub(crate) fn of_election() -> String {
    Roles::Crd.written(ELECTION)
}

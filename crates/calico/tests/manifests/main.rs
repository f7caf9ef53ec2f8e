//! `manifests/calico.yaml`, `calico-vxlan.yaml` and `calico-v3.yaml`, which a user applies as one file:
//! made of the templates beside them, of the resources' definitions and of what the product asks the
//! API server for. `UPDATE_EXPECT=1` writes them anew.

mod permissions;

use expect_test::expect_file;
use model::config::definition_of_variable;
use permissions::Roles;
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the manifests differ in.
#[derive(Clone, Copy)]
struct Variant {
    title: &'static str,
    /// The definitions of Calico's resources, and the roles for them.
    definitions: &'static str,
    roles: Roles,
    backend: &'static str,
    cluster_type: &'static str,
    ipip: &'static str,
    vxlan: &'static str,
    bgp: bool,
}

const BIRD: Variant = Variant {
    title: "Calico on Kubernetes, with BGP and IP-in-IP: kubectl apply -f calico.yaml",
    definitions: "crds.yaml",
    roles: Roles::Crd,
    backend: "bird",
    cluster_type: "k8s,bgp",
    ipip: "Always",
    vxlan: "Never",
    bgp: true,
};

const VXLAN: Variant = Variant {
    title: "Calico on Kubernetes, with VXLAN between subnets and without BGP: kubectl apply -f \
            calico-vxlan.yaml",
    definitions: "crds.yaml",
    roles: Roles::Crd,
    backend: "vxlan",
    cluster_type: "k8s",
    ipip: "Never",
    vxlan: "CrossSubnet",
    bgp: false,
};

const NATIVE: Variant = Variant {
    title: "Calico on Kubernetes, its resources kubectl's as projectcalico.org/v3, otherwise as \
            calico.yaml: kubectl apply -f calico-v3.yaml",
    definitions: "crds-v3.yaml",
    roles: Roles::Native,
    ..BIRD
};

fn manifests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../manifests")
}

fn read(name: &str) -> String {
    let path = manifests().join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

impl Variant {
    fn manifest(&self) -> String {
        let templates = ["config", "accounts", "controllers", "node"];
        let templates = templates.map(|name| read(&format!("templates/{name}.yaml"))).concat();
        let probe = |what: &str| {
            let bgp = if self.bgp { format!(r#", "-bird-{what}""#) } else { String::new() };
            format!(r#""/bin/calico-node", "-felix-{what}"{bgp}"#)
        };
        let mut text = templates;
        for (name, value) in [
            ("backend", self.backend),
            ("cluster_type", self.cluster_type),
            ("ipip", self.ipip),
            ("vxlan", self.vxlan),
            ("live", &probe("live")),
            ("ready", &probe("ready")),
            ("registry", lab::calico_image::REGISTRY),
            ("version", model::VERSION),
            ("node_rules", self.roles.of_node().trim_end()),
            ("plugin_rules", self.roles.of_plugin().trim_end()),
            ("controllers_rules", self.roles.of_controllers().trim_end()),
            ("election_rules", permissions::of_election().trim_end()),
        ] {
            let placeholder = format!("{{{name}}}");
            assert!(text.contains(&placeholder), "no template has {placeholder}");
            text = text.replace(&placeholder, value);
        }
        let Variant { title, definitions, .. } = self;
        let header =
            format!("# {title}\n# Made from manifests/templates and manifests/{definitions}.\n");
        // The definitions come first, so that what is of their kinds can be made.
        format!("{header}{}{text}", read(definitions))
    }
}

/// The manifest that takes away what the others leave on nodes.
fn removal() -> String {
    let title = "# Takes from every node what Calico has left there, once its own manifest is deleted: \
                 see\n# README.md, \"Removing it\".";
    let text = read("templates/remove.yaml");
    let text = text.replace("{registry}", lab::calico_image::REGISTRY);
    format!("{title}\n{}", text.replace("{version}", model::VERSION))
}

fn documents(manifest: &str) -> Vec<Value> {
    let documents = manifest.split("\n---\n").filter(|text| text.contains("kind:"));
    documents.map(|text| serde_saphyr::from_str(text).expect("YAML")).collect()
}

#[test]
fn manifests_are_what_templates_and_code_say() {
    for (variant, name) in
        [(BIRD, "calico.yaml"), (VXLAN, "calico-vxlan.yaml"), (NATIVE, "calico-v3.yaml")]
    {
        expect_file![manifests().join(name)].assert_eq(&variant.manifest());
    }
    expect_file![manifests().join("calico-remove.yaml")].assert_eq(&removal());
}

/// A variable that does nothing would be a promise.
#[test]
fn variables_are_acted_on() {
    for document in documents(&BIRD.manifest()) {
        let containers = &document["spec"]["template"]["spec"]["containers"];
        for container in containers.as_array().into_iter().flatten() {
            let variables = container["env"].as_array().into_iter().flatten();
            let names: Vec<&str> = variables.filter_map(|one| one["name"].as_str()).collect();
            assert!(names.contains(&"DATASTORE_TYPE"), "{names:?}");
            let of_controllers = document["metadata"]["name"] == "calico-kube-controllers";
            for name in names {
                if of_controllers {
                    assert!(controllers::VARIABLES.contains(&name), "{name}");
                    continue;
                }
                let known = definition_of_variable(name).unwrap_or_else(|| panic!("{name}"));
                assert!(known.acted_on, "{name}");
            }
        }
    }
}

/// Names that one document has and another means.
#[test]
fn what_is_referred_to_is_there() {
    let all = documents(&VXLAN.manifest());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut named = BTreeSet::new();
    for document in &all {
        named.insert((text(&document["kind"]), text(&document["metadata"]["name"])));
    }
    let has = |kind: &str, name: &Value| {
        let name = name.as_str().unwrap_or_default().to_owned();
        assert!(named.contains(&(kind.to_owned(), name.clone())), "{kind} {name}");
    };
    let mut checked = 0;
    for document in &all {
        match document["kind"].as_str() {
            Some("ClusterRoleBinding" | "RoleBinding") => {
                let role = text(&document["roleRef"]["kind"]);
                has(&role, &document["roleRef"]["name"]);
                has("ServiceAccount", &document["subjects"][0]["name"]);
                checked += 1;
            }
            Some("Deployment") => {
                has("ServiceAccount", &document["spec"]["template"]["spec"]["serviceAccountName"]);
                checked += 1;
            }
            Some("DaemonSet") => {
                let pod = &document["spec"]["template"]["spec"];
                has("ServiceAccount", &pod["serviceAccountName"]);
                let volumes = pod["volumes"].as_array().expect("volumes");
                let volumes: BTreeSet<_> = volumes.iter().map(|one| text(&one["name"])).collect();
                let mut mounted = BTreeSet::new();
                for list in ["initContainers", "containers"] {
                    for container in pod[list].as_array().expect("containers") {
                        let mounts = container["volumeMounts"].as_array().expect("mounts");
                        mounted.extend(mounts.iter().map(|one| text(&one["name"])));
                    }
                }
                assert_eq!(mounted, volumes);
                checked += 1;
            }
            _ => {}
        }
    }
    assert_eq!(checked, 6);
}

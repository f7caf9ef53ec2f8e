//! Automatic host endpoints: one of all interfaces for each node, and those that templates say.
//!
//! Source: `calico-features.md` §10.1 ("Auto HEP").

use crate::cluster::{CREATED_BY, CREATOR, Cluster, Made, Node};
use crate::settings::makes_default;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ipnet::IpNet;
use model::resources::host_endpoint::ANY_INTERFACE;
use model::resources::kube_controllers_configuration::{AutoHostEndpoints, HostEndpointTemplate};
use model::resources::profile::ALLOW_PROFILE;
use model::{HostEndpointSpec, Selector};
use regex::Regex;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// How their names end.
const SUFFIX: &str = "auto-hep";
/// The longest name of a resource.
const NAME_BYTES_MAX: usize = 253;

/// What is to be done about one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// It is to be there like this.
    Put(String, Box<Made>),
    /// It is to go.
    Remove(String),
}

/// A template as it is applied.
struct Template<'a> {
    given: &'a HostEndpointTemplate,
    ranges: Vec<IpNet>,
    interfaces: Option<Regex>,
    nodes: Selector,
}

/// What of the cluster's host endpoints differs from what the settings say; and templates that
/// cannot be read, with the reason.
pub(crate) fn changes(
    cluster: &Cluster,
    settings: Option<&AutoHostEndpoints>,
) -> (Vec<Change>, Vec<String>) {
    let (wanted, warnings) = match settings {
        Some(settings) => wanted(&cluster.nodes, settings),
        None => (BTreeMap::new(), Vec::new()),
    };
    let there = &cluster.host_endpoints;
    let gone = there.keys().filter(|name| !wanted.contains_key(*name));
    let mut changes: Vec<Change> = gone.cloned().map(Change::Remove).collect();
    for (name, made) in wanted {
        if there.get(&name).is_none_or(|there| !is_as_wanted(there, &made)) {
            changes.push(Change::Put(name, Box::new(made)));
        }
    }
    (changes, warnings)
}

/// Ports, and annotations of others, are theirs.
fn is_as_wanted(there: &Made, wanted: &Made) -> bool {
    let HostEndpointSpec { node, interface_name, expected_ips, profiles, .. } = &there.spec;
    let same_spec = *node == wanted.spec.node
        && *interface_name == wanted.spec.interface_name
        && *expected_ips == wanted.spec.expected_ips
        && *profiles == wanted.spec.profiles;
    let mut annotations = wanted.annotations.iter();
    let annotated = annotations.all(|(name, text)| there.annotations.get(name) == Some(text));
    same_spec && annotated && there.labels == wanted.labels
}

fn wanted(
    nodes: &BTreeMap<String, Node>,
    settings: &AutoHostEndpoints,
) -> (BTreeMap<String, Made>, Vec<String>) {
    let mut warnings = Vec::new();
    let read = settings
        .templates
        .iter()
        .filter_map(|given| Template::read(given).map_err(|why| warnings.push(why)).ok());
    let templates: Vec<Template<'_>> = read.collect();
    let mut wanted = BTreeMap::new();
    for (name, node) in nodes {
        if makes_default(settings) {
            let made = made(name, node, ANY_INTERFACE, &node.addresses, None);
            wanted.insert(endpoint_name(&[name]), made);
        }
        for template in templates.iter().filter(|one| one.nodes.matches(&node.labels)) {
            template.add(name, node, &mut wanted);
        }
    }
    (wanted, warnings)
}

impl<'a> Template<'a> {
    fn read(given: &'a HostEndpointTemplate) -> Result<Template<'a>, String> {
        let wrong = |field: &str, text: &str, reason: &str| {
            format!(
                "KubeControllersConfiguration(default): the template {} makes no host endpoints: \
                 its {field} is {text:?}: {reason}",
                given.generate_name
            )
        };
        let ranges = given.interface_cidrs.iter().map(|text| {
            let range = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
            range.map_err(|_| wrong("interfaceCIDRs", text, "write a range such as 10.0.0.0/8"))
        });
        let interfaces = given.interface_pattern.as_deref().filter(|text| !text.is_empty());
        let interfaces = interfaces.map(|text| {
            Regex::new(text).map_err(|why| wrong("interfacePattern", text, &why.to_string()))
        });
        let nodes = given.node_selector.as_deref().unwrap_or_default();
        Ok(Template {
            given,
            ranges: ranges.collect::<Result<_, _>>()?,
            interfaces: interfaces.transpose()?,
            nodes: Selector::parse(nodes)
                .map_err(|why| wrong("nodeSelector", nodes, &why.to_string()))?,
        })
    }

    fn add(&self, name: &str, node: &Node, wanted: &mut BTreeMap<String, Made>) {
        let template = self.given.generate_name.as_str();
        let Some(pattern) = &self.interfaces else {
            let addresses = self.within(&node.addresses);
            let is_all = self.ranges.is_empty();
            if is_all || !addresses.is_empty() {
                // The addresses say which interfaces.
                let interface = if is_all { ANY_INTERFACE } else { "" };
                let made = made(name, node, interface, &addresses, Some(self.given));
                wanted.insert(endpoint_name(&[name, template]), made);
            }
            return;
        };
        for (interface, addresses) in &node.interfaces {
            let addresses = self.within(addresses);
            let is_wanted = self.ranges.is_empty() || !addresses.is_empty();
            if pattern.is_match(interface) && is_wanted {
                let made = made(name, node, interface, &addresses, Some(self.given));
                wanted.insert(endpoint_name(&[name, template, interface]), made);
            }
        }
    }

    fn within(&self, addresses: &[IpAddr]) -> Vec<IpAddr> {
        let is_within = |address: &&IpAddr| {
            self.ranges.is_empty() || self.ranges.iter().any(|range| range.contains(*address))
        };
        addresses.iter().filter(is_within).copied().collect()
    }
}

fn made(
    name: &str,
    node: &Node,
    interface: &str,
    addresses: &[IpAddr],
    template: Option<&HostEndpointTemplate>,
) -> Made {
    let mut labels = node.labels.clone();
    labels.extend(template.into_iter().flat_map(|one| one.labels.clone()));
    labels.insert(CREATED_BY.to_owned(), CREATOR.to_owned());
    Made {
        labels,
        annotations: template.map(|one| one.annotations.clone()).unwrap_or_default(),
        spec: HostEndpointSpec {
            node: name.to_owned(),
            interface_name: interface.to_owned(),
            expected_ips: addresses.iter().map(ToString::to_string).collect(),
            profiles: vec![ALLOW_PROFILE.to_owned()],
            ports: Vec::new(),
        },
    }
}

/// The parts and the suffix, or a hash of them where that is too long.
fn endpoint_name(parts: &[&str]) -> String {
    let name = format!("{}-{SUFFIX}", parts.join("-"));
    if name.len() <= NAME_BYTES_MAX {
        return name;
    }
    let hash = STANDARD.encode(Sha256::digest(&name)).to_lowercase();
    let kept: String = hash.chars().filter(char::is_ascii_alphanumeric).collect();
    format!("{kept}-{SUFFIX}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(labels: &[(&str, &str)], addresses: &[&str], interfaces: &[(&str, &str)]) -> Node {
        let address = |text: &&str| text.parse().expect("an address");
        let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
        Node {
            labels: labels.iter().map(owned).collect(),
            addresses: addresses.iter().map(address).collect(),
            interfaces: interfaces
                .iter()
                .map(|(name, one)| ((*name).to_owned(), vec![address(one)]))
                .collect(),
            ..Node::default()
        }
    }

    fn cluster() -> Cluster {
        let n1 = node(
            &[("zone", "a")],
            &["172.31.0.11", "10.1.0.1", "fd00::1"],
            &[("eth0", "172.31.0.11"), ("eth1", "10.1.0.1"), ("lo", "127.0.0.1")],
        );
        let n2 = node(&[("zone", "b")], &["172.31.0.12"], &[]);
        let nodes = BTreeMap::from([("n1".to_owned(), n1), ("n2".to_owned(), n2)]);
        Cluster { nodes, ..Cluster::default() }
    }

    fn settings(text: &str) -> AutoHostEndpoints {
        serde_json::from_str(text).expect("settings")
    }

    fn put(changes: Vec<Change>) -> BTreeMap<String, Made> {
        let made = changes.into_iter().map(|change| match change {
            Change::Put(name, made) => (name, *made),
            Change::Remove(name) => panic!("{name} is removed"),
        });
        made.collect()
    }

    #[test]
    fn every_node_has_one_of_all_its_interfaces() {
        let (changes, warnings) = changes(&cluster(), Some(&settings("{}")));
        assert_eq!(warnings, Vec::<String>::new());
        let made = put(changes);
        assert_eq!(made.keys().collect::<Vec<_>>(), ["n1-auto-hep", "n2-auto-hep"]);
        expect_test::expect![[r#"{"node":"n1","interfaceName":"*","expectedIPs":["172.31.0.11","10.1.0.1","fd00::1"],"profiles":["projectcalico-default-allow"]}"#]]
            .assert_eq(&serde_json::to_string(&made["n1-auto-hep"].spec).expect("JSON"));
        assert_eq!(made["n1-auto-hep"].labels[CREATED_BY], CREATOR);
        assert_eq!(made["n1-auto-hep"].labels["zone"], "a");
    }

    #[test]
    fn what_is_there_follows_labels_and_goes_with_its_node() {
        let mut cluster = cluster();
        let all = settings("{}");
        cluster.host_endpoints = put(changes(&cluster, Some(&all)).0);
        assert_eq!(changes(&cluster, Some(&all)).0, []);
        // Somebody's ports stay.
        let made = cluster.host_endpoints.get_mut("n1-auto-hep").expect("an endpoint");
        made.annotations.insert("note".to_owned(), "mine".to_owned());
        assert_eq!(changes(&cluster, Some(&all)).0, []);
        let n1 = cluster.nodes.get_mut("n1").expect("a node");
        n1.labels.insert("zone".to_owned(), "c".to_owned());
        cluster.nodes.remove("n2");
        let (changed, _) = changes(&cluster, Some(&all));
        let [Change::Remove(gone), Change::Put(name, made)] = changed.as_slice() else {
            panic!("{changed:?}")
        };
        assert_eq!((gone.as_str(), name.as_str()), ("n2-auto-hep", "n1-auto-hep"));
        assert_eq!(made.labels["zone"], "c");
        let (off, _) = changes(&cluster, None);
        assert_eq!(off.len(), 2);
        assert!(off.iter().all(|change| matches!(change, Change::Remove(_))));
    }

    #[test]
    fn templates_select_nodes_addresses_and_interfaces() {
        let templates = settings(
            r#"{"createDefaultHostEndpoint": "Disabled", "templates": [
                {"generateName": "inside", "interfaceCIDRs": ["10.0.0.0/8"],
                 "labels": {"zone": "of-template"}, "annotations": {"team": "net"}},
                {"generateName": "cards", "interfacePattern": "^eth", "nodeSelector": "zone == 'a'"}
            ]}"#,
        );
        let (changes, warnings) = changes(&cluster(), Some(&templates));
        assert_eq!(warnings, Vec::<String>::new());
        let made = put(changes);
        let shown: Vec<String> = made
            .iter()
            .map(|(name, made)| {
                let HostEndpointSpec { interface_name, expected_ips, .. } = &made.spec;
                format!(
                    "{name} [{interface_name}] {} {}",
                    expected_ips.join(","),
                    made.labels["zone"]
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "n1-cards-eth0-auto-hep [eth0] 172.31.0.11 a",
                "n1-cards-eth1-auto-hep [eth1] 10.1.0.1 a",
                "n1-inside-auto-hep [] 10.1.0.1 of-template",
            ]
        );
        assert_eq!(made["n1-inside-auto-hep"].annotations["team"], "net");
    }

    #[test]
    fn a_template_that_cannot_be_read_makes_none_and_says_why() {
        let templates = settings(
            r#"{"templates": [{"generateName": "odd", "nodeSelector": "zone =="},
                              {"generateName": "wide", "interfaceCIDRs": ["ten"]}]}"#,
        );
        let (changes, warnings) = changes(&cluster(), Some(&templates));
        assert_eq!(put(changes).len(), 2);
        assert!(warnings[0].contains("odd") && warnings[0].contains("nodeSelector"));
        assert!(warnings[1].contains("wide") && warnings[1].contains("interfaceCIDRs"));
    }

    #[test]
    fn a_long_name_is_hashed() {
        let name = endpoint_name(&[&"n".repeat(250)]);
        assert!(name.ends_with("-auto-hep") && name.len() < 60, "{name}");
        assert!(
            name.bytes().all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'-')
        );
    }
}

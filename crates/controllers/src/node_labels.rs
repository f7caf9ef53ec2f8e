//! In etcd: Kubernetes' labels onto Calico's nodes, beside those that are Calico's alone.

use crate::cluster::{Cluster, KUBERNETES_LABELS, Node};
use std::collections::BTreeMap;

/// Calico's nodes whose labels differ from what Kubernetes' Nodes say.
pub(crate) fn outdated(cluster: &Cluster) -> Vec<String> {
    let differs = |node: &Node| {
        let of_kubernetes = cluster.kubernetes_nodes.get(node.kubernetes.as_deref()?)?;
        let known = node.kubernetes_labels.as_deref();
        synced(&node.labels, known, of_kubernetes).map(|_| ())
    };
    let outdated = cluster.nodes.iter().filter(|(_, node)| differs(node).is_some());
    outdated.map(|(name, _)| name.clone()).collect()
}

/// A node's labels, and the annotation of those that are Kubernetes', as they are to be; `None`: they
/// are so. `known` is the annotation, by which labels that Kubernetes has no more are found.
pub(crate) fn synced(
    labels: &BTreeMap<String, String>,
    known: Option<&str>,
    of_kubernetes: &BTreeMap<String, String>,
) -> Option<(BTreeMap<String, String>, String)> {
    let before: BTreeMap<String, String> =
        known.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let mut wanted = labels.clone();
    wanted.retain(|name, _| !before.contains_key(name) || of_kubernetes.contains_key(name));
    wanted.extend(of_kubernetes.clone());
    let changed = wanted != *labels || before != *of_kubernetes;
    changed.then(|| (wanted, annotation(of_kubernetes)))
}

fn annotation(labels: &BTreeMap<String, String>) -> String {
    serde_json::to_string(labels).expect("texts by names are always JSON")
}

/// Brings a node up to date. False: it is.
pub(crate) fn sync(node: &mut model::Node, of_kubernetes: &BTreeMap<String, String>) -> bool {
    let known = node.metadata.annotations.get(KUBERNETES_LABELS).map(String::as_str);
    let Some((labels, known)) = synced(&node.metadata.labels, known, of_kubernetes) else {
        return false;
    };
    node.metadata.labels = labels;
    node.metadata.annotations.insert(KUBERNETES_LABELS.to_owned(), known);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pairs = text.split_whitespace().filter_map(|pair| pair.split_once('='));
        pairs.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn kubernetes_labels_come_change_and_go_and_calicos_stay() {
        for (before, known, of_kubernetes, after) in [
            ("mine=1", None, "a=1", Some("mine=1 a=1")),
            ("mine=1 a=1", Some("a=1"), "a=2", Some("mine=1 a=2")),
            ("mine=1 a=1 b=1", Some("a=1 b=1"), "a=1", Some("mine=1 a=1")),
            ("mine=1 a=1", Some("a=1"), "a=1", None),
            ("mine=1 a=9", Some("a=1"), "a=1", Some("mine=1 a=1")),
            ("mine=1", Some("a=1"), "", Some("mine=1")),
        ] {
            let known = known.map(|text| annotation(&labels(text)));
            let found = synced(&labels(before), known.as_deref(), &labels(of_kubernetes));
            assert_eq!(
                found.as_ref().map(|(found, _)| found.clone()),
                after.map(labels),
                "{before}"
            );
            if let Some((found, known)) = found {
                assert_eq!(synced(&found, Some(&known), &labels(of_kubernetes)), None);
            }
        }
    }
}

//! What the runtime says of the container in the network configuration's key `args`: labels,
//! service account, named ports.
//!
//! ```json
//! "args": {"cni": {
//!   "labels": [{"key": "app", "value": "web"}],
//!   "serviceAccount": "cart",
//!   "ports": [{"name": "http", "protocol": "tcp", "port": 8080}]
//! }}
//! ```
//!
//! `labels` is the CNI conventions' (CONVENTIONS.md, "args in network config"); `serviceAccount` and
//! `ports`, in the form they have in a WorkloadEndpoint, stand beside it, as no convention names them.
//! Mesos says labels its own way, by
//! `org.apache.mesos`, in any characters: they are made fit as Calico makes them.

use model::WorkloadEndpointPort;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Mesos' label that is no label but the endpoint's namespace.
const MESOS_NAMESPACE: &str = "projectcalico.org/namespace";

/// The key `args`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Arguments {
    cni: Conventional,
    #[serde(rename = "org.apache.mesos")]
    mesos: Mesos,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conventional {
    labels: Vec<Label>,
    service_account: Option<String>,
    ports: Vec<WorkloadEndpointPort>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Mesos {
    network_info: NetworkInfo,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct NetworkInfo {
    labels: Labels,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Labels {
    labels: Vec<Label>,
}

#[derive(Clone, Debug, Deserialize)]
struct Label {
    key: String,
    #[serde(default)]
    value: String,
}

impl Arguments {
    /// The container's labels.
    pub(crate) fn labels(&self) -> BTreeMap<String, String> {
        let pair = |label: &Label| (label.key.clone(), label.value.clone());
        let fit = |label: &Label| (mesos_text(&label.key), mesos_text(&label.value));
        let mesos = self.mesos_labels().filter(|label| label.key != MESOS_NAMESPACE);
        mesos.map(fit).chain(self.cni.labels.iter().map(pair)).collect()
    }

    /// Its service account.
    pub(crate) fn service_account(&self) -> Option<String> {
        self.cni.service_account.clone().filter(|account| !account.is_empty())
    }

    /// Its named ports.
    pub(crate) fn ports(&self) -> Vec<WorkloadEndpointPort> {
        self.cni.ports.clone()
    }

    /// The namespace that Mesos gives it.
    pub(crate) fn namespace(&self) -> Option<String> {
        let mut labels = self.mesos_labels().filter(|label| label.key == MESOS_NAMESPACE);
        labels.next_back().map(|label| mesos_text(&label.value))
    }

    fn mesos_labels(&self) -> impl DoubleEndedIterator<Item = &Label> {
        self.mesos.network_info.labels.labels.iter()
    }
}

/// A text of Mesos as a label takes it (Calico's `SanitizeMesosLabel`): `/` becomes `.`, each run of
/// other characters that don't fit `-`, each run of `.` and `-` with a `.` in it one `.`, and
/// neither stands at an end.
fn mesos_text(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let mut fit = String::new();
    let mut separator = String::new();
    let mut replacing = false;
    for c in text.chars().map(|c| if c == '/' { '.' } else { c }) {
        let repeated = !fits(c) && replacing;
        replacing = !fits(c);
        match c {
            _ if repeated => {}
            '.' | '-' => separator.push(c),
            _ if replacing => separator.push('-'),
            _ => {
                if !fit.is_empty() {
                    fit += if separator.contains('.') { "." } else { &separator };
                }
                separator.clear();
                fit.push(c);
            }
        }
    }
    fit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mesos_says_is_made_fit_for_a_label() {
        for (text, expected) in [
            ("", ""),
            ("app", "app"),
            ("Größe", "Gr-e"),
            ("rack/1", "rack.1"),
            ("a//b", "a.b"),
            ("a - b", "a---b"),
            ("a -. b", "a.b"),
            ("--a_b--", "a_b"),
            ("../etc/passwd", "etc.passwd"),
            ("_a_", "_a_"),
            ("日本", ""),
        ] {
            assert_eq!(mesos_text(text), expected, "{text:?}");
        }
    }

    #[test]
    fn labels_come_by_both_ways() {
        let arguments: Arguments = serde_json::from_str(
            r#"{
                "cni": {"labels": [{"key": "app", "value": "web"}, {"key": "bare"}]},
                "org.apache.mesos": {"network_info": {"name": "n", "labels": {"labels": [
                    {"key": "rack/no", "value": "7 b"}, {"key": "app", "value": "other"},
                    {"key": "projectcalico.org/namespace", "value": "shop"}
                ]}}},
                "another.runtime": 5
            }"#,
        )
        .expect("arguments");
        let labels = [("app", "web"), ("bare", ""), ("rack.no", "7-b")];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
        assert_eq!(arguments.labels(), BTreeMap::from(labels));
        assert_eq!(arguments.namespace().as_deref(), Some("shop"));
    }
}

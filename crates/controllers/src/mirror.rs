//! In etcd: Kubernetes' NetworkPolicies, Namespaces, ServiceAccounts and pods' labels as Calico's
//! resources. What each is to Calico, `store`'s Kubernetes driver says; here is only what of it
//! differs from what etcd has. Of each object a digest is kept.
//!
//! What this makes has names that begin with `knp.default.`, `kns.` and `ksa.`; others are left
//! alone.

use crate::cluster::Source;
use crate::settings::Settings;
use model::{Key, Kind, Value, WorkloadEndpoint};
use serde::Serialize;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, HashMap};
use std::hash::{Hash, Hasher};

const POLICY: &str = "knp.default.";
const NAMESPACE: &str = "kns.";
const SERVICE_ACCOUNT: &str = "ksa.";
const KUBERNETES: &str = "k8s";

/// A pod, by namespace and name.
type PodName = (Box<str>, Box<str>);

/// What is to be in etcd, and what is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mirror {
    wanted: BTreeMap<Key, u64>,
    there: BTreeMap<Key, u64>,
    /// Kubernetes' pods: their endpoint's key and the digest of its labels.
    pods: HashMap<PodName, (Key, u64)>,
    /// etcd's endpoints of pods, likewise.
    endpoints: BTreeMap<Key, (PodName, u64)>,
}

/// What is to be done in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The object of this key, as Kubernetes has it.
    Copy(Key),
    /// It is no more.
    Remove(Key),
    /// An endpoint's labels, and whose they are.
    Labels { endpoint: Key, pod: Key },
}

impl Mirror {
    /// Takes an object. False: it is none that this is about, or as before.
    pub(crate) fn take(&mut self, source: Source, key: &Key, value: &Value) -> bool {
        let digest = match value {
            Value::Profile(profile) => digest(&profile.metadata.labels, &profile.spec),
            Value::NetworkPolicy(policy) => digest(&policy.metadata.labels, &policy.spec),
            _ => return false,
        };
        controller(key).is_some() && self.of(source).insert(key.clone(), digest) != Some(digest)
    }

    /// An object is gone. False: it is none that this is about.
    pub(crate) fn remove(&mut self, source: Source, key: &Key) -> bool {
        if matches!(key, Key::Resource { kind: Kind::WorkloadEndpoint, .. }) {
            return match source {
                Source::Calico => self.endpoints.remove(key).is_some(),
                // Rare beside the pods that are looked up by name.
                Source::Kubernetes => {
                    let before = self.pods.len();
                    self.pods.retain(|_, (known, _)| known != key);
                    self.pods.len() != before
                }
            };
        }
        self.of(source).remove(key).is_some()
    }

    /// Takes a pod's endpoint. False: its labels are as before.
    pub(crate) fn take_endpoint(
        &mut self,
        source: Source,
        key: &Key,
        endpoint: &WorkloadEndpoint,
    ) -> bool {
        let namespace = endpoint.metadata.namespace.as_deref().unwrap_or_default();
        if endpoint.spec.orchestrator != KUBERNETES || endpoint.spec.pod.is_empty() {
            return false;
        }
        let pod = (namespace.into(), endpoint.spec.pod.as_str().into());
        let digest = digest(&endpoint.metadata.labels, &());
        match source {
            Source::Kubernetes => {
                let known = (key.clone(), digest);
                self.pods.insert(pod, known.clone()) != Some(known)
            }
            Source::Calico => {
                let known = (pod, digest);
                self.endpoints.insert(key.clone(), known.clone()) != Some(known)
            }
        }
    }

    fn of(&mut self, source: Source) -> &mut BTreeMap<Key, u64> {
        match source {
            Source::Calico => &mut self.there,
            Source::Kubernetes => &mut self.wanted,
        }
    }

    /// What differs, of what the controllers that run are about.
    pub(crate) fn changes(&self, settings: &Settings) -> Vec<Change> {
        let is_on = |key: &Key| match controller(key) {
            Some(POLICY) => settings.policy,
            Some(NAMESPACE) => settings.namespace,
            Some(SERVICE_ACCOUNT) => settings.service_account,
            _ => false,
        };
        let differs = |(key, digest): &(&Key, &u64)| self.there.get(*key) != Some(*digest);
        let wanted = self.wanted.iter().filter(differs).map(|(key, _)| Change::Copy(key.clone()));
        let gone = self.there.keys().filter(|key| !self.wanted.contains_key(*key));
        let gone = gone.map(|key| Change::Remove(key.clone()));
        let mut changes: Vec<Change> = wanted.chain(gone).collect();
        changes.retain(|change| match change {
            Change::Copy(key) | Change::Remove(key) => is_on(key),
            Change::Labels { .. } => true,
        });
        if settings.workload_endpoint {
            changes.extend(self.endpoints.iter().filter_map(|(endpoint, (pod, digest))| {
                let (pod, of_pod) = self.pods.get(pod)?;
                let (endpoint, pod) = (endpoint.clone(), pod.clone());
                (of_pod != digest).then_some(Change::Labels { endpoint, pod })
            }));
        }
        changes
    }
}

/// How the name of an object begins that this makes.
fn controller(key: &Key) -> Option<&'static str> {
    let Key::Resource { kind, name, .. } = key else { return None };
    let begins = match kind {
        Kind::NetworkPolicy => [POLICY].as_slice(),
        Kind::Profile => &[NAMESPACE, SERVICE_ACCOUNT],
        _ => return None,
    };
    begins.iter().find(|begin| name.starts_with(**begin)).copied()
}

/// Equal for equal content, as one process sees it.
fn digest(labels: &BTreeMap<String, String>, spec: &impl Serialize) -> u64 {
    let mut hasher = DefaultHasher::new();
    labels.hash(&mut hasher);
    serde_json::to_vec(spec).expect("a spec is always JSON").hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Entry, Revision};
    use serde_json::json;

    fn object(kind: Kind, namespace: Option<&str>, name: &str, spec: &str) -> (Key, Value) {
        let key =
            Key::Resource { kind, namespace: namespace.map(str::to_owned), name: name.to_owned() };
        let spec: serde_json::Value = serde_json::from_str(spec).expect("JSON");
        let text = json!({"metadata": {"name": name, "namespace": namespace}, "spec": spec});
        let entry = Entry::new(key.clone(), text.to_string().into_bytes(), Revision(1));
        let value = Value::decode(&entry).expect("a resource");
        (key, value)
    }

    fn all() -> Settings {
        Settings {
            policy: true,
            namespace: true,
            service_account: true,
            workload_endpoint: true,
            ..Settings::default()
        }
    }

    #[test]
    fn what_differs_is_copied_and_what_is_gone_removed() {
        let mut mirror = Mirror::default();
        let policy = |order: u32| {
            let spec = format!(r#"{{"order": {order}}}"#);
            object(Kind::NetworkPolicy, Some("shop"), "knp.default.web", &spec)
        };
        let profile = |name: &str| object(Kind::Profile, None, name, "{}");
        let take = |mirror: &mut Mirror, source, (key, value): (Key, Value)| {
            mirror.take(source, &key, &value)
        };
        assert!(take(&mut mirror, Source::Kubernetes, policy(1)));
        assert!(!take(&mut mirror, Source::Kubernetes, policy(1)));
        take(&mut mirror, Source::Kubernetes, profile("kns.shop"));
        take(&mut mirror, Source::Calico, profile("kns.gone"));
        take(&mut mirror, Source::Calico, profile("ksa.gone.default"));
        // Somebody's own, and that every cluster has.
        assert!(!take(&mut mirror, Source::Calico, profile("mine")));
        let own = object(Kind::NetworkPolicy, Some("shop"), "mine", "{}");
        assert!(!take(&mut mirror, Source::Calico, own));
        assert_eq!(
            mirror.changes(&all()),
            [
                Change::Copy(policy(1).0),
                Change::Copy(profile("kns.shop").0),
                Change::Remove(profile("kns.gone").0),
                Change::Remove(profile("ksa.gone.default").0),
            ]
        );
        let only = Settings { namespace: true, ..Settings::default() };
        assert_eq!(mirror.changes(&only).len(), 2);
        take(&mut mirror, Source::Calico, policy(1));
        take(&mut mirror, Source::Calico, profile("kns.shop"));
        mirror.remove(Source::Calico, &profile("kns.gone").0);
        mirror.remove(Source::Calico, &profile("ksa.gone.default").0);
        assert_eq!(mirror.changes(&all()), []);
        take(&mut mirror, Source::Calico, policy(2));
        assert_eq!(mirror.changes(&all()), [Change::Copy(policy(1).0)]);
    }

    #[test]
    fn endpoints_have_their_pods_labels() {
        let mut mirror = Mirror::default();
        let endpoint = |node: &str, label: &str| {
            let name = model::names::kubernetes_endpoint(node, "web", "eth0");
            let spec = r#"{"orchestrator": "k8s", "pod": "web"}"#;
            let (key, value) = object(Kind::WorkloadEndpoint, Some("shop"), &name, spec);
            let Value::WorkloadEndpoint(mut endpoint) = value else { panic!("{value:?}") };
            endpoint.metadata.labels.insert("app".to_owned(), label.to_owned());
            (key, endpoint)
        };
        // A node may have another name in etcd.
        let (pod, of_pod) = endpoint("node", "a");
        let (there, in_etcd) = endpoint("calico-node", "b");
        mirror.take_endpoint(Source::Kubernetes, &pod, &of_pod);
        mirror.take_endpoint(Source::Calico, &there, &in_etcd);
        let change = Change::Labels { endpoint: there.clone(), pod: pod.clone() };
        assert_eq!(mirror.changes(&all()), [change]);
        mirror.take_endpoint(Source::Calico, &there, &endpoint("calico-node", "a").1);
        assert_eq!(mirror.changes(&all()), []);
        mirror.take_endpoint(Source::Calico, &there, &in_etcd);
        mirror.remove(Source::Kubernetes, &pod);
        assert_eq!(mirror.changes(&all()), []);
    }
}

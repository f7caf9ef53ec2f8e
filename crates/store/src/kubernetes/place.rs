//! Where the Kubernetes API keeps each object: collections, names, and which of two API groups.
//!
//! Source: `calico-features.md` §3.2. Names are Calico's, byte for byte.

use super::object::Object;
use crate::Error;
use ipnet::IpNet;
use model::{AffinityKind, Key, Kind, Query, Scope};
use sha2::{Digest, Sha256};
use sha3::Sha3_256;
use std::collections::BTreeMap;

/// The API group of Calico's custom resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// `crd.projectcalico.org/v1`: metadata stands in an annotation, as an API server of Calico's may
    /// serve the same resources as `projectcalico.org/v3`.
    Crd,
    /// `projectcalico.org/v3` itself (3.32).
    Native,
}

impl Group {
    pub(super) const fn api_version(self) -> &'static str {
        match self {
            Group::Crd => "crd.projectcalico.org/v1",
            Group::Native => model::resource::API_VERSION,
        }
    }

    /// The `kind` that the group calls a kind.
    pub(super) const fn kind(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Group::Native, Kind::IpamConfig) => "IPAMConfiguration",
            _ => kind.name(),
        }
    }

    fn collection(self, kind: Kind, namespace: Option<&str>) -> String {
        let plural = match (self, kind) {
            (Group::Native, Kind::IpamConfig) => "ipamconfigurations",
            _ => kind.plural(),
        };
        collection(&format!("/apis/{}", self.api_version()), namespace, plural)
    }
}

fn collection(api: &str, namespace: Option<&str>, plural: &str) -> String {
    match namespace {
        Some(namespace) => format!("{api}/namespaces/{namespace}/{plural}"),
        None => format!("{api}/{plural}"),
    }
}

const CORE: &str = "/api/v1";
const DISCOVERY: &str = "/apis/discovery.k8s.io/v1";
const NETWORKING: &str = "/apis/networking.k8s.io/v1";
const CLUSTER_POLICY: &str = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";

/// How the names of NetworkPolicies begin that are Kubernetes' own.
pub(super) const KUBERNETES_POLICY: &str = "knp.default.";
/// How the names of GlobalNetworkPolicies begin that are ClusterNetworkPolicies.
pub(super) const CLUSTER_POLICY_PREFIX: &str = "kcnp.";
const NAMESPACE_PROFILE: &str = "kns.";
const ACCOUNT_PROFILE: &str = "ksa.";
/// How Calico before 3.32 begins the names of policies of the default tier in the first group.
pub(super) const DEFAULT_TIER_PREFIX: &str = "default.";

/// One object's place.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) object: Object,
    collection: String,
    pub(super) name: String,
    /// The name that older Calico gave it.
    pub(super) older_name: Option<String>,
}

impl Place {
    pub(super) fn collection(&self) -> &str {
        &self.collection
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.collection, self.name)
    }

    fn new(object: Object, collection: String, name: impl Into<String>) -> Place {
        Place { object, collection, name: name.into(), older_name: None }
    }

    /// Where an object stands; `None` where it can stand nowhere, e.g. a pod's endpoint with a name
    /// of no pod.
    pub(super) fn of(group: Group, key: &Key) -> Option<Place> {
        let custom = |kind, object, name| Place::new(object, group.collection(kind, None), name);
        Some(match key {
            Key::Block(net) => custom(Kind::IpamBlock, Object::Block, dashed(net)),
            Key::Affinity { host, block, .. } => {
                custom(Kind::BlockAffinity, Object::Affinity, affinity_name(host, block))
            }
            Key::Handle(id) => custom(Kind::IpamHandle, Object::Handle, id.to_lowercase()),
            Key::IpamConfig => custom(Kind::IpamConfig, Object::IpamConfig, "default".to_owned()),
            Key::EndpointSlice { namespace, name } => Place::new(
                Object::EndpointSlice,
                collection(DISCOVERY, Some(namespace), "endpointslices"),
                name,
            ),
            Key::Resource { kind, namespace, name } => {
                return Place::of_resource(group, *kind, namespace.as_deref(), name);
            }
        })
    }

    fn of_resource(group: Group, kind: Kind, namespace: Option<&str>, name: &str) -> Option<Place> {
        let after = |prefix| name.strip_prefix(prefix);
        Some(match kind {
            Kind::Node => Place::new(Object::Node, format!("{CORE}/nodes"), name),
            Kind::WorkloadEndpoint => {
                Place::new(Object::Pod, collection(CORE, Some(namespace?), "pods"), pod_of(name)?)
            }
            Kind::Profile => match (after(NAMESPACE_PROFILE), after(ACCOUNT_PROFILE)) {
                (Some(name), _) => {
                    Place::new(Object::Namespace, format!("{CORE}/namespaces"), name)
                }
                (None, Some(account)) => {
                    // No namespace's name has a dot.
                    let (namespace, name) = account.split_once('.')?;
                    let accounts = collection(CORE, Some(namespace), "serviceaccounts");
                    Place::new(Object::ServiceAccount, accounts, name)
                }
                (None, None) => return None,
            },
            Kind::NetworkPolicy if after(KUBERNETES_POLICY).is_some() => Place::new(
                Object::NetworkPolicy,
                collection(NETWORKING, Some(namespace?), "networkpolicies"),
                after(KUBERNETES_POLICY)?,
            ),
            Kind::GlobalNetworkPolicy if after(CLUSTER_POLICY_PREFIX).is_some() => Place::new(
                Object::ClusterNetworkPolicy,
                CLUSTER_POLICY.to_owned(),
                after(CLUSTER_POLICY_PREFIX)?,
            ),
            kind => {
                let namespace = match kind.scope() {
                    Scope::Namespaced => Some(namespace?),
                    Scope::Cluster => None,
                };
                let object = Object::Custom(kind);
                let mut place = Place::new(object, group.collection(kind, namespace), name);
                if group == Group::Crd && has_tier(kind) {
                    place.older_name = Some(format!("{DEFAULT_TIER_PREFIX}{name}"));
                }
                place
            }
        })
    }
}

/// One collection that holds objects of a query.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) object: Object,
    pub(super) collection: String,
    pub(super) selector: Option<String>,
}

/// The collections that hold a query's objects, and perhaps others.
pub(super) fn sources(group: Group, query: &Query) -> Vec<Source> {
    let source = |object, collection| Source { object, collection, selector: None };
    let custom = |kind, object| source(object, group.collection(kind, None));
    match query {
        Query::Blocks => vec![custom(Kind::IpamBlock, Object::Block)],
        Query::Affinities { .. } => vec![custom(Kind::BlockAffinity, Object::Affinity)],
        Query::Handles => vec![custom(Kind::IpamHandle, Object::Handle)],
        Query::IpamConfig => vec![custom(Kind::IpamConfig, Object::IpamConfig)],
        Query::EndpointSlices => {
            vec![source(Object::EndpointSlice, collection(DISCOVERY, None, "endpointslices"))]
        }
        Query::Resources { kind, namespace } => {
            let namespace = namespace.as_deref();
            let core = |plural| collection(CORE, namespace, plural);
            let own = || source(Object::Custom(*kind), group.collection(*kind, namespace));
            match kind {
                Kind::Node => vec![source(Object::Node, core("nodes"))],
                Kind::WorkloadEndpoint => vec![source(Object::Pod, core("pods"))],
                Kind::Profile => vec![
                    source(Object::Namespace, core("namespaces")),
                    source(Object::ServiceAccount, core("serviceaccounts")),
                ],
                Kind::NetworkPolicy => {
                    let theirs = collection(NETWORKING, namespace, "networkpolicies");
                    vec![own(), source(Object::NetworkPolicy, theirs)]
                }
                Kind::GlobalNetworkPolicy => {
                    let theirs = source(Object::ClusterNetworkPolicy, CLUSTER_POLICY.to_owned());
                    vec![own(), theirs]
                }
                _ => vec![own()],
            }
        }
    }
}

/// Whether a query has a key, which its sources may not know.
pub(super) fn covers(query: &Query, key: &Key) -> bool {
    match (query, key) {
        (Query::Affinities { kind, host }, Key::Affinity { kind: of, host: on, .. }) => {
            kind == of && host.as_ref().is_none_or(|host| host == on)
        }
        (Query::IpamConfig, Key::IpamConfig) => true,
        _ => key.path().starts_with(&query.prefix()),
    }
}

/// Whether policies of a kind have a tier, which older Calico put before their names.
pub(super) fn has_tier(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::NetworkPolicy
            | Kind::GlobalNetworkPolicy
            | Kind::StagedNetworkPolicy
            | Kind::StagedGlobalNetworkPolicy
    )
}

/// The pod of an endpoint `<node>-k8s-<pod>-<interface>`.
fn pod_of(endpoint: &str) -> Option<String> {
    // A hyphen that separates is single, those of the parts are doubled.
    let parts = endpoint.replace("--", "\0");
    match parts.split('-').collect::<Vec<_>>().as_slice() {
        [_, "k8s", pod, _] if !pod.is_empty() => Some(pod.replace('\0', "-")),
        _ => None,
    }
}

fn dashed(net: &IpNet) -> String {
    net.to_string().replace(['.', ':', '/'], "-")
}

/// Kubernetes' bound on names, in bytes.
const NAME_BYTES_MAX: usize = 253;

fn affinity_name(host: &str, block: &IpNet) -> String {
    let block = dashed(block);
    let name = format!("{host}-{block}");
    if name.len() < NAME_BYTES_MAX {
        return name;
    }
    let hash: String =
        Sha256::digest(format!("{host}+{block}")).iter().map(|b| format!("{b:02x}")).collect();
    let kept = NAME_BYTES_MAX - 1 - block.len() - 13;
    let host: String = host.chars().take(kept).collect();
    format!("{host}-{block}-{}", &hash[..11])
}

/// The label of an affinity by whose value those of one host are found.
pub(super) const HOST_LABEL: &str = "projectcalico.org/hostname-hash";

/// The value of [`HOST_LABEL`]: base32 of SHA3-256, as a host's name may exceed what a label takes.
pub(super) fn host_hash(host: &str) -> String {
    const DIGITS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha3_256::digest(host);
    let bit = |i: usize| digest.get(i / 8).map_or(0, |byte| byte >> (7 - i % 8) & 1);
    let digit = |at: usize| (at..at + 5).fold(0, |value, i| value << 1 | usize::from(bit(i)));
    (0..digest.len() * 8).step_by(5).map(|at| char::from(DIGITS[digit(at)])).collect()
}

/// The labels of an affinity.
pub(super) fn affinity_labels(
    kind: AffinityKind,
    host: &str,
    block: &IpNet,
) -> BTreeMap<String, String> {
    let version = if block.addr().is_ipv4() { "4" } else { "6" };
    [
        (HOST_LABEL, host_hash(host)),
        ("projectcalico.org/affinity-type", kind.as_str().to_owned()),
        ("projectcalico.org/ip-version", version.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

/// The error of an object that the Kubernetes API cannot hold.
pub(super) fn no_place(endpoint: &str, key: &Key) -> Error {
    Error::Refused {
        endpoint: endpoint.to_owned(),
        reason: format!(
            "{key} has no place in Kubernetes: endpoints there are pods', profiles namespaces' and \
             service accounts'; change these instead"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_calicos() {
        let block: IpNet = "10.0.0.64/26".parse().expect("a range");
        let six: IpNet = "fd00:1::/122".parse().expect("a range");
        let affinity =
            |host: &str| Key::Affinity { kind: AffinityKind::Host, host: host.to_owned(), block };
        let long = "h".repeat(250);
        let cut = format!("{}-10-0-0-64-26-", "h".repeat(252 - 12 - 13));
        for (key, crd, native) in [
            (
                Key::cluster(Kind::IpPool, "p"),
                "/apis/crd.projectcalico.org/v1/ippools/p",
                "/apis/projectcalico.org/v3/ippools/p",
            ),
            (
                Key::namespaced(Kind::NetworkPolicy, "ns", "p"),
                "/apis/crd.projectcalico.org/v1/namespaces/ns/networkpolicies/p",
                "/apis/projectcalico.org/v3/namespaces/ns/networkpolicies/p",
            ),
            (
                Key::Block(block),
                "/apis/crd.projectcalico.org/v1/ipamblocks/10-0-0-64-26",
                "/apis/projectcalico.org/v3/ipamblocks/10-0-0-64-26",
            ),
            (
                Key::Block(six),
                "/apis/crd.projectcalico.org/v1/ipamblocks/fd00-1---122",
                "/apis/projectcalico.org/v3/ipamblocks/fd00-1---122",
            ),
            (
                affinity("n-1"),
                "/apis/crd.projectcalico.org/v1/blockaffinities/n-1-10-0-0-64-26",
                "/apis/projectcalico.org/v3/blockaffinities/n-1-10-0-0-64-26",
            ),
            (
                Key::IpamConfig,
                "/apis/crd.projectcalico.org/v1/ipamconfigs/default",
                "/apis/projectcalico.org/v3/ipamconfigurations/default",
            ),
            (
                Key::Handle("net.0aB".to_owned()),
                "/apis/crd.projectcalico.org/v1/ipamhandles/net.0ab",
                "/apis/projectcalico.org/v3/ipamhandles/net.0ab",
            ),
        ] {
            let path = |group| Place::of(group, &key).expect("a place").path();
            assert_eq!((path(Group::Crd), path(Group::Native)), (crd.into(), native.into()));
        }
        let shortened = Place::of(Group::Crd, &affinity(&long)).expect("a place").name;
        assert!(shortened.starts_with(&cut) && shortened.len() < NAME_BYTES_MAX, "{shortened}");
    }

    #[test]
    fn what_kubernetes_makes_stands_there() {
        for (key, path) in [
            (Key::cluster(Kind::Node, "n"), "/api/v1/nodes/n"),
            (Key::cluster(Kind::Profile, "kns.a"), "/api/v1/namespaces/a"),
            (Key::cluster(Kind::Profile, "ksa.a.b.c"), "/api/v1/namespaces/a/serviceaccounts/b.c"),
            (
                Key::namespaced(Kind::WorkloadEndpoint, "a", "n--1-k8s-p--0-eth0"),
                "/api/v1/namespaces/a/pods/p-0",
            ),
            (
                Key::namespaced(Kind::NetworkPolicy, "a", "knp.default.x"),
                "/apis/networking.k8s.io/v1/namespaces/a/networkpolicies/x",
            ),
        ] {
            assert_eq!(Place::of(Group::Crd, &key).expect("a place").path(), path);
        }
        for key in [
            Key::cluster(Kind::Profile, "mine"),
            Key::namespaced(Kind::WorkloadEndpoint, "a", "n-cni-0123-eth0"),
        ] {
            assert!(Place::of(Group::Crd, &key).is_none(), "{key}");
        }
    }

    // `printf n1 | openssl dgst -sha3-256 -binary | base32 | tr -d =`
    #[test]
    fn hosts_are_hashed_as_calico_does() {
        assert_eq!(host_hash("n1").len(), 52);
        assert_eq!(host_hash("n1"), "DM7EHBDU4L3ELKRER4A46T6QMKAGARQI4CVWBO26S4I2IDAAW6CA");
    }
}

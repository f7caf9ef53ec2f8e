//! Where the datastore keeps each object: typed keys and their etcd v3 paths.
//!
//! Source: Calico's etcd layout (`calico-features.md` §3.1). Paths are Calico's own, byte for byte.

use crate::Kind;
use crate::kind::Scope;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Whose block an affinity speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum AffinityKind {
    /// A node of the cluster.
    Host,
    /// A name that is no node, e.g. `load-balancer`.
    Virtual,
}

impl AffinityKind {
    /// `host` or `virtual`, as in keys and in a block's `affinity` field.
    pub const fn as_str(self) -> &'static str {
        match self {
            AffinityKind::Host => "host",
            AffinityKind::Virtual => "virtual",
        }
    }
}

/// The name of one object in the datastore, independent of the datastore's kind.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Key {
    /// A v3 resource.
    Resource {
        /// Its kind.
        kind: Kind,
        /// Set for namespaced kinds.
        namespace: Option<String>,
        /// `metadata.name`.
        name: String,
    },
    /// An IPAM block, by its prefix.
    Block(IpNet),
    /// The claim of a host on a block.
    Affinity {
        /// Node or virtual host.
        kind: AffinityKind,
        /// The host's name.
        host: String,
        /// The block's prefix.
        block: IpNet,
    },
    /// The addresses held under one handle.
    Handle(String),
    /// The cluster's IPAM settings.
    IpamConfig,
    /// An EndpointSlice of Kubernetes', which only its API holds.
    EndpointSlice {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
}

const RESOURCES: &str = "/calico/resources/v3/projectcalico.org/";
const IPAM: &str = "/calico/ipam/v2/";
// Calico's etcd layout has none of them; the path gives them an order among keys.
const ENDPOINT_SLICES: &str = "/calico/resources/v3/discovery.k8s.io/endpointslices/";

impl Key {
    /// The key of a cluster-wide resource.
    pub fn cluster(kind: Kind, name: impl Into<String>) -> Key {
        Key::Resource { kind, namespace: None, name: name.into() }
    }

    /// The key of a namespaced resource.
    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key::Resource { kind, namespace: Some(namespace.into()), name: name.into() }
    }

    /// The etcd v3 path.
    pub fn path(&self) -> String {
        match self {
            Key::Resource { kind, namespace: Some(ns), name } => {
                format!("{RESOURCES}{}/{}/{}", kind.plural(), escape(ns), escape(name))
            }
            Key::Resource { kind, namespace: None, name } => {
                format!("{RESOURCES}{}/{}", kind.plural(), escape(name))
            }
            Key::Block(net) => format!("{IPAM}assignment/{}/block/{}", family(net), dashed(net)),
            Key::Affinity { kind, host, block } => {
                let (kind, host) = (kind.as_str(), escape(host));
                format!("{IPAM}{kind}/{host}/{}/block/{}", family(block), dashed(block))
            }
            Key::Handle(id) => format!("{IPAM}handle/{}", escape(id)),
            Key::IpamConfig => format!("{IPAM}config"),
            Key::EndpointSlice { namespace, name } => {
                format!("{ENDPOINT_SLICES}{}/{}", escape(namespace), escape(name))
            }
        }
    }

    /// Reads an etcd v3 path; `None` for a path that names nothing known here.
    pub fn parse(path: &str) -> Option<Key> {
        if let Some(rest) = path.strip_prefix(RESOURCES) {
            let mut parts = rest.split('/');
            let plural = parts.next()?;
            let kind = Kind::ALL.iter().copied().find(|k| k.plural() == plural)?;
            let namespace = match kind.scope() {
                Scope::Namespaced => Some(unescape(parts.next()?)),
                Scope::Cluster => None,
            };
            let name = unescape(parts.next()?);
            return (parts.next().is_none()).then_some(Key::Resource { kind, namespace, name });
        }
        if let Some(rest) = path.strip_prefix(ENDPOINT_SLICES) {
            let (namespace, name) = rest.split_once('/').filter(|(_, name)| !name.contains('/'))?;
            let (namespace, name) = (unescape(namespace), unescape(name));
            return Some(Key::EndpointSlice { namespace, name });
        }
        let parts: Vec<&str> = path.strip_prefix(IPAM)?.split('/').collect();
        match parts.as_slice() {
            ["config"] => Some(Key::IpamConfig),
            ["handle", id] => Some(Key::Handle(unescape(id))),
            ["assignment", version, "block", net] => {
                undashed(net).filter(|n| family(n) == *version).map(Key::Block)
            }
            [kind, host, version, "block", net] => {
                let kind = match *kind {
                    "host" => AffinityKind::Host,
                    "virtual" => AffinityKind::Virtual,
                    _ => return None,
                };
                let block = undashed(net).filter(|n| family(n) == *version)?;
                Some(Key::Affinity { kind, host: unescape(host), block })
            }
            _ => None,
        }
    }
}

impl std::fmt::Display for Key {
    /// How an error names the object: `IPPool default-ipv4-ippool`, `block 192.168.0.0/26`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Key::Resource { kind, namespace: Some(ns), name } => {
                write!(f, "{}({ns}/{name})", kind.name())
            }
            Key::Resource { kind, namespace: None, name } => write!(f, "{}({name})", kind.name()),
            Key::Block(net) => write!(f, "block {net}"),
            Key::Affinity { host, block, .. } => write!(f, "affinity of {host} for block {block}"),
            Key::Handle(id) => write!(f, "IPAM handle {id}"),
            Key::IpamConfig => write!(f, "IPAM configuration"),
            Key::EndpointSlice { namespace, name } => {
                write!(f, "EndpointSlice({namespace}/{name})")
            }
        }
    }
}

/// A set of keys to list or watch.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Query {
    /// All resources of a kind, in one namespace or in all.
    Resources {
        /// The kind.
        kind: Kind,
        /// `None`: every namespace.
        namespace: Option<String>,
    },
    /// All blocks of both families.
    Blocks,
    /// The affinities of one host, or of every host.
    Affinities {
        /// Node or virtual host.
        kind: AffinityKind,
        /// `None`: every host.
        host: Option<String>,
    },
    /// All handles.
    Handles,
    /// The IPAM settings (one key at most).
    IpamConfig,
    /// All EndpointSlices of Kubernetes'.
    EndpointSlices,
}

impl Query {
    /// All resources of a kind.
    pub fn kind(kind: Kind) -> Query {
        Query::Resources { kind, namespace: None }
    }

    /// The etcd v3 prefix under which exactly these keys stand.
    pub fn prefix(&self) -> String {
        match self {
            Query::Resources { kind, namespace: Some(ns) } => {
                format!("{RESOURCES}{}/{}/", kind.plural(), escape(ns))
            }
            Query::Resources { kind, namespace: None } => format!("{RESOURCES}{}/", kind.plural()),
            Query::Blocks => format!("{IPAM}assignment/"),
            Query::Affinities { kind, host: Some(host) } => {
                format!("{IPAM}{}/{}/", kind.as_str(), escape(host))
            }
            Query::Affinities { kind, host: None } => format!("{IPAM}{}/", kind.as_str()),
            Query::Handles => format!("{IPAM}handle/"),
            Query::IpamConfig => format!("{IPAM}config"),
            Query::EndpointSlices => ENDPOINT_SLICES.to_owned(),
        }
    }
}

fn family(net: &IpNet) -> &'static str {
    match net {
        IpNet::V4(_) => "ipv4",
        IpNet::V6(_) => "ipv6",
    }
}

fn dashed(net: &IpNet) -> String {
    net.to_string().replace('/', "-")
}

fn undashed(text: &str) -> Option<IpNet> {
    text.replace('-', "/").parse().ok()
}

fn escape(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2f")
}

fn unescape(name: &str) -> String {
    name.replace("%2f", "/").replace("%2F", "/").replace("%25", "%")
}

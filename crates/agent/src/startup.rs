//! What happens before the node joins: its Node resource, the default pool, the cluster's identity,
//! the built-in tiers and profile.
//!
//! Source: `calico-features.md` §8, "startup order". Every write is a create, or a compare-and-swap
//! on what was read, so that nodes starting at once end up with one result.

use crate::autodetect::{self, Family, Interface, Method};
use crate::settings::Startup;
use ipnet::{IpNet, Ipv4Net};
use model::resources::node::{NodeAddress, NodeInterface, OrchRef};
use model::resources::profile::ALLOW_PROFILE;
use model::resources::tier::{BUILT_IN_TIERS, built_in_tier};
use model::{
    ClusterInformation, ClusterInformationSpec, FelixConfiguration, FelixConfigurationSpec, IpPool,
    IpPoolSpec, Node, NodeBgpSpec, Profile, ProfileSpec, Resource, Spec,
};
use std::net::IpAddr;
use store::{Datastore, Error, typed};

/// Attempts at a compare-and-swap before giving up.
const WRITE_ATTEMPTS_MAX: u32 = 20;
/// The kind of an address that Calico has found.
const OWN_ADDRESS: &str = "CalicoNodeIP";
/// The word of `clusterType` for clusters whose datastore is the Kubernetes API.
const KUBERNETES_DATASTORE: &str = "kdd";
/// The pool's range where none is configured.
const POOL_CIDR_DEFAULT: &str = "192.168.0.0/16";
/// The ranges tried instead where the default one overlaps an address of the node.
const POOL_CIDR_SECOND_OCTETS: std::ops::RangeInclusive<u8> = 16..=31;

/// Why a node cannot start; the text names the object and the next step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartupError {
    /// The datastore refused or doesn't answer.
    #[error(transparent)]
    Datastore(#[from] Error),
    /// The node's address is not known.
    #[error(transparent)]
    Address(#[from] autodetect::NotFound),
    /// The address is another node's.
    #[error(
        "node {other} has the address {address} too: two nodes cannot share one. Set IP or \
         IP_AUTODETECTION_METHOD on this node, or delete the other Node resource if that machine is gone \
         (calicoctl delete node {other}); DISABLE_NODE_IP_CHECK=true skips this check"
    )]
    AddressTaken { other: String, address: IpAddr },
    /// Kubernetes has no such Node.
    #[error(
        "Kubernetes has no Node {node}: kubelet makes it, before it starts pods. NODENAME must be its name \
         (kubectl get nodes), in manifests by fieldRef spec.nodeName"
    )]
    NoKubernetesNode {
        /// This node's name.
        node: String,
    },
    /// A variable's value cannot be used.
    #[error("{0}")]
    Settings(String),
}

/// What the machine has, as the kernel shows it.
pub(crate) struct Machine {
    pub(crate) interfaces: Vec<Interface>,
    /// The source address the kernel would take to the `can-reach` destination.
    pub(crate) reached_from: Option<IpAddr>,
}

/// Registers the node and initialises the datastore where it is new.
pub(crate) async fn run(
    datastore: &dyn Datastore,
    settings: &Startup,
    machine: &Machine,
) -> Result<Node, StartupError> {
    let address = address(settings, machine, stored(datastore, settings).await?.as_ref())?;
    if let (Some(address), false) = (address, settings.disable_node_ip_check) {
        check_unique(datastore, settings, address).await?;
    }
    let node = register(datastore, settings, machine, address).await?;
    ensure_pools(datastore, settings, machine).await?;
    ensure_cluster_information(datastore, settings).await?;
    ensure_policy_built_ins(datastore).await?;
    if !settings.kubernetes {
        ensure_node_configuration(datastore, settings).await?;
    }
    Ok(node)
}

async fn stored(datastore: &dyn Datastore, settings: &Startup) -> Result<Option<Node>, Error> {
    typed::get(datastore, None, &settings.node).await
}

/// The node's IPv4 address: given, stored or detected, in the order `calico-features.md` §8 has.
fn address(
    settings: &Startup,
    machine: &Machine,
    stored: Option<&Node>,
) -> Result<Option<Ipv4Net>, StartupError> {
    let stored = stored.and_then(|node| node.spec.ipv4());
    match settings.ip.as_deref().unwrap_or_default() {
        "none" => Ok(stored),
        "" if stored.is_some() => Ok(stored),
        "" | "autodetect" => {
            let method = Method::parse(&settings.ip_autodetection_method)?;
            let given = match method {
                Method::CanReach(_) => machine.reached_from,
                _ => None,
            };
            let (interface, net) =
                autodetect::pick(&method, Family::V4, &machine.interfaces, given)?;
            tracing::info!("this node's address is {net}, found on {interface}");
            Ok(match net {
                IpNet::V4(net) => Some(net),
                IpNet::V6(_) => None,
            })
        }
        text => {
            let wrong = || {
                StartupError::Settings(format!(
                    "IP={text} is no IPv4 address: set it to one, with or without prefix length, or \
                     to autodetect"
                ))
            };
            if text.contains('/') {
                return Ok(Some(text.parse().map_err(|_| wrong())?));
            }
            let bare: std::net::Ipv4Addr = text.parse().map_err(|_| wrong())?;
            Ok(Some(with_local_mask(bare, machine)))
        }
    }
}

/// A bare address takes the prefix length it has on its interface.
fn with_local_mask(bare: std::net::Ipv4Addr, machine: &Machine) -> Ipv4Net {
    let addresses = machine.interfaces.iter().flat_map(|interface| &interface.addresses);
    let mut found = addresses.filter_map(|net| match net {
        IpNet::V4(net) if net.addr() == bare => Some(*net),
        _ => None,
    });
    found.next_back().unwrap_or(Ipv4Net::from(bare))
}

async fn check_unique(
    datastore: &dyn Datastore,
    settings: &Startup,
    address: Ipv4Net,
) -> Result<(), StartupError> {
    let nodes: Vec<Node> = typed::list(datastore, None).await?;
    let taken = |node: &&Node| {
        node.metadata.name != settings.node
            && node.spec.ipv4().is_some_and(|other| other.addr() == address.addr())
    };
    match nodes.iter().find(taken) {
        None => Ok(()),
        Some(node) => Err(StartupError::AddressTaken {
            other: node.metadata.name.clone(),
            address: address.addr().into(),
        }),
    }
}

/// Creates the Node resource, or brings the parts of it that this process owns up to date.
async fn register(
    datastore: &dyn Datastore,
    settings: &Startup,
    machine: &Machine,
    address: Option<Ipv4Net>,
) -> Result<Node, StartupError> {
    for _ in 0..WRITE_ATTEMPTS_MAX {
        let stored = stored(datastore, settings).await?;
        if stored.is_none() && settings.kubernetes {
            return Err(StartupError::NoKubernetesNode { node: settings.node.clone() });
        }
        let mut node = stored.clone().unwrap_or_else(|| Node::new(&settings.node, <_>::default()));
        describe(&mut node, settings, machine, address);
        let written = match &stored {
            Some(stored) if *stored == node => return Ok(node),
            Some(_) => typed::update(datastore, node).await,
            None => typed::create(datastore, node).await,
        };
        match written {
            Err(Error::Conflict(_) | Error::NotFound(_)) => {}
            other => return Ok(other?),
        }
    }
    let key = Node::new(&settings.node, <_>::default()).key();
    Err(Error::Conflict(key).into())
}

fn describe(node: &mut Node, settings: &Startup, machine: &Machine, address: Option<Ipv4Net>) {
    if let Some(address) = address {
        let bgp = node.spec.bgp.get_or_insert_with(NodeBgpSpec::default);
        bgp.ipv4_address = Some(address.to_string());
        let own = NodeAddress { address: address.to_string(), kind: Some(OWN_ADDRESS.into()) };
        // Others are Kubernetes' to say.
        node.spec
            .addresses
            .retain(|other| settings.kubernetes && other.kind.as_deref() != Some(OWN_ADDRESS));
        node.spec.addresses.insert(0, own);
    }
    if let Some(number) = &settings.as_number {
        let bgp = node.spec.bgp.get_or_insert_with(NodeBgpSpec::default);
        bgp.as_number = Some(*number);
    }
    if let Some(reference) = &settings.kubernetes_node {
        let reference =
            OrchRef { node_name: Some(reference.clone()), orchestrator: "k8s".to_owned() };
        if !node.spec.orch_refs.contains(&reference) {
            node.spec.orch_refs.push(reference);
        }
    }
    let uplinks = machine.interfaces.iter().filter(|interface| {
        let name = interface.name.as_str();
        interface.up && name != "lo" && !name.starts_with("cali") && !name.ends_with(".calico")
    });
    node.spec.interfaces = uplinks
        .map(|interface| NodeInterface {
            name: Some(interface.name.clone()),
            addresses: interface.addresses.iter().map(|net| net.addr().to_string()).collect(),
        })
        .collect();
}

/// Creates the default IPv4 pool where there is no IPv4 pool yet.
async fn ensure_pools(
    datastore: &dyn Datastore,
    settings: &Startup,
    machine: &Machine,
) -> Result<(), StartupError> {
    let configured = settings.pool.cidr.as_deref();
    if settings.no_default_pools {
        return match configured {
            None => Ok(()),
            Some(cidr) => Err(StartupError::Settings(format!(
                "NO_DEFAULT_POOLS=true and CALICO_IPV4POOL_CIDR={cidr} exclude each other: unset one"
            ))),
        };
    }
    if configured == Some("none") {
        return Ok(());
    }
    let pools: Vec<IpPool> = typed::list(datastore, None).await?;
    let is_v4 = |pool: &IpPool| matches!(pool.spec.cidr.parse(), Ok(IpNet::V4(_)));
    if pools.iter().any(is_v4) {
        return Ok(());
    }
    let pool = default_pool(settings, machine)?;
    // Where another node was first, its pool is as good.
    ensure(datastore, pool).await
}

fn default_pool(settings: &Startup, machine: &Machine) -> Result<IpPool, StartupError> {
    let wanted = &settings.pool;
    let cidr = wanted.cidr.clone().unwrap_or_else(|| free_range(machine));
    let mut pool = IpPool::new(
        "default-ipv4-ippool",
        IpPoolSpec {
            cidr,
            ipip_mode: wanted.ipip,
            vxlan_mode: wanted.vxlan,
            nat_outgoing: wanted.nat_outgoing,
            disable_bgp_export: wanted.disable_bgp_export,
            block_size: Some(wanted.block_size),
            node_selector: Some(wanted.node_selector.clone()),
            ..IpPoolSpec::default()
        },
    );
    pool.apply_defaults();
    match pool.validate() {
        Ok(()) => Ok(pool),
        Err(problems) => {
            let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
            Err(StartupError::Settings(format!(
                "the pool that CALICO_IPV4POOL_* describe cannot be made: {}",
                problems.join("; ")
            )))
        }
    }
}

/// 192.168.0.0/16, or the first of 172.16.0.0/16 … 172.31.0.0/16 that no address of the node is in.
fn free_range(machine: &Machine) -> String {
    let overlaps = |range: &Ipv4Net| {
        let addresses = machine.interfaces.iter().flat_map(|interface| &interface.addresses);
        addresses.into_iter().any(|net| match net {
            IpNet::V4(net) => range.contains(&net.addr()) || net.contains(&range.network()),
            IpNet::V6(_) => false,
        })
    };
    let candidates = std::iter::once(POOL_CIDR_DEFAULT.to_owned())
        .chain(POOL_CIDR_SECOND_OCTETS.map(|octet| format!("172.{octet}.0.0/16")));
    let free = candidates.filter(|text| text.parse().is_ok_and(|range| !overlaps(&range)));
    free.into_iter().next().unwrap_or_else(|| POOL_CIDR_DEFAULT.to_owned())
}

/// Creates or updates ClusterInformation: the cluster's GUID, its type, the version in use.
async fn ensure_cluster_information(
    datastore: &dyn Datastore,
    settings: &Startup,
) -> Result<(), StartupError> {
    for _ in 0..WRITE_ATTEMPTS_MAX {
        let stored: Option<ClusterInformation> = typed::get(datastore, None, "default").await?;
        let mut wanted = stored.clone().unwrap_or_else(|| {
            ClusterInformation::new(
                "default",
                ClusterInformationSpec {
                    cluster_guid: uuid::Uuid::new_v4().simple().to_string(),
                    datastore_ready: Some(true),
                    ..ClusterInformationSpec::default()
                },
            )
        });
        wanted.spec.calico_version = model::VERSION.to_owned();
        let own = settings.kubernetes.then(|| KUBERNETES_DATASTORE.to_owned());
        let types: Vec<String> = settings.cluster_type.iter().cloned().chain(own).collect();
        wanted.spec.cluster_type = merged_types(&wanted.spec.cluster_type, &types);
        let written = match &stored {
            Some(stored) if *stored == wanted => return Ok(()),
            Some(_) => typed::update(datastore, wanted).await,
            None => typed::create(datastore, wanted).await,
        };
        match written {
            Err(Error::Conflict(_) | Error::NotFound(_)) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => return Ok(()),
        }
    }
    Err(Error::Conflict(ClusterInformation::new("default", <_>::default()).key()).into())
}

/// Creates the tiers and the profile that every cluster has, where they are missing
/// (`calico-features.md` §1.7).
async fn ensure_policy_built_ins(datastore: &dyn Datastore) -> Result<(), StartupError> {
    for (name, ..) in BUILT_IN_TIERS {
        if let Some(tier) = built_in_tier(name) {
            ensure(datastore, tier).await?;
        }
    }
    ensure(datastore, Profile::new(ALLOW_PROFILE, ProfileSpec::allow_all())).await
}

/// Lets the host's own rules decide about what pods send to it, unless somebody has said otherwise:
/// what Calico does outside of Kubernetes' datastore (`calico-features.md` §8, "startup order").
async fn ensure_node_configuration(
    datastore: &dyn Datastore,
    settings: &Startup,
) -> Result<(), StartupError> {
    let action = ("defaultEndpointToHostAction".to_owned(), "Return".into());
    let spec = FelixConfigurationSpec([action].into());
    ensure(datastore, FelixConfiguration::new(format!("node.{}", settings.node), spec)).await
}

/// Creates a resource unless one of its name is there, whatever it says.
async fn ensure<S: Spec>(
    datastore: &dyn Datastore,
    resource: Resource<S>,
) -> Result<(), StartupError> {
    if datastore.get(&resource.key()).await?.is_some() {
        return Ok(());
    }
    match typed::create(datastore, resource).await {
        // Another node was first.
        Ok(_) | Err(Error::Conflict(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Words are only ever added: other nodes may have put theirs there.
fn merged_types(stored: &str, wanted: &[String]) -> String {
    let mut words: Vec<&str> = stored.split(',').filter(|word| !word.is_empty()).collect();
    for word in wanted {
        if !word.is_empty() && !words.contains(&word.as_str()) {
            words.push(word);
        }
    }
    words.join(",")
}

#[cfg(test)]
mod tests;

//! What happens before the node joins: its Node resource, the default pool, the cluster's identity,
//! the built-in tiers and profile.
//!
//! Source: `calico-features.md` §8, "startup order". Every write is a create, or a compare-and-swap
//! on what was read, so that nodes starting at once end up with one result.

use crate::autodetect::{self, Family, Interface, Method};
use crate::settings::{DefaultPool, OwnAddress, Startup};
use ipnet::{IpNet, Ipv4Net};
use model::resources::node::{NodeAddress, NodeInterface, OrchRef};
use model::resources::profile::ALLOW_PROFILE;
use model::resources::tier::{BUILT_IN_TIERS, built_in_tier};
use model::{
    ClusterInformation, ClusterInformationSpec, FelixConfiguration, FelixConfigurationSpec, IpPool,
    IpPoolSpec, Node, NodeBgpSpec, Profile, ProfileSpec, Resource, Spec, names,
};
use std::net::IpAddr;
use store::{Datastore, Error, typed};

/// Attempts at a compare-and-swap before giving up.
const WRITE_ATTEMPTS_MAX: u32 = 20;
/// The kind of an address that Calico has found.
const OWN_ADDRESS: &str = "CalicoNodeIP";
/// The kind of an address that Kubernetes says.
const INTERNAL_ADDRESS: &str = "InternalIP";
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
    /// The source addresses the kernel would take to the `can-reach` destinations.
    pub(crate) reached_from: Vec<IpAddr>,
}

/// Registers the node and initialises the datastore where it is new.
pub(crate) async fn run(
    datastore: &dyn Datastore,
    settings: &Startup,
    machine: &Machine,
) -> Result<Node, StartupError> {
    let stored = stored(datastore, settings).await?;
    let mut addresses = Vec::new();
    for own in [&settings.ipv4, &settings.ipv6] {
        addresses.extend(address(own, settings, machine, stored.as_ref())?);
    }
    if !settings.disable_node_ip_check {
        check_unique(datastore, settings, &addresses).await?;
    }
    // None of these reads what another writes: a node that starts waits for the slowest only.
    let (node, (), (), ()) = tokio::try_join!(
        join(datastore, settings, machine, &addresses, stored),
        ensure_cluster_information(datastore, settings),
        ensure_policy_built_ins(datastore),
        ensure_node_configuration(datastore, settings),
    )?;
    Ok(node)
}

/// Registers the node, with a pool to give addresses from.
async fn join(
    datastore: &dyn Datastore,
    settings: &Startup,
    machine: &Machine,
    addresses: &[IpNet],
    stored: Option<Node>,
) -> Result<Node, StartupError> {
    let node = register(datastore, settings, machine, addresses, stored).await?;
    ensure_pools(datastore, settings, machine, &node).await?;
    Ok(node)
}

async fn stored(datastore: &dyn Datastore, settings: &Startup) -> Result<Option<Node>, Error> {
    typed::get(datastore, None, &settings.node).await
}

/// The node's address of a family: given, stored or detected, in the order `calico-features.md` §8
/// has. Only that of IPv4 is looked for unasked.
fn address(
    own: &OwnAddress,
    settings: &Startup,
    machine: &Machine,
    node: Option<&Node>,
) -> Result<Option<IpNet>, StartupError> {
    let stored = node.and_then(|node| of_family(node, own.family));
    if own.is_detected() && (stored.is_none() || !own.value.is_empty()) {
        let method = Method::parse(own.family, &own.method)?;
        let given = match method {
            Method::CanReach(_) => {
                machine.reached_from.iter().copied().find(|one| own.family.has(*one))
            }
            Method::KubernetesInternalIp => {
                let name = settings.kubernetes.then_some(settings.node.as_str());
                let internal = node.and_then(|node| internal_address(node, own.family));
                Some(internal.ok_or_else(|| autodetect::no_internal_address(own.family, name))?)
            }
            _ => None,
        };
        let (interface, net) = autodetect::pick(&method, own.family, &machine.interfaces, given)?;
        tracing::info!("this node's address is {net}, found on {interface}");
        return Ok(Some(net));
    }
    match own.value.as_str() {
        "" | "none" => Ok(stored),
        text => {
            let given = match text.parse().ok() {
                None => text.parse().ok().map(|bare| with_local_mask(bare, machine)),
                given => given,
            };
            let given = given.filter(|net: &IpNet| own.family.has(net.addr()));
            given.map(Some).ok_or_else(|| {
                let (name, version) = (own.family.variable(), own.family.version());
                StartupError::Settings(format!(
                    "{name}={text} is no IPv{version} address: set it to one, with or without \
                     prefix length, or to autodetect"
                ))
            })
        }
    }
}

fn of_family(node: &Node, family: Family) -> Option<IpNet> {
    match family {
        Family::V4 => node.spec.ipv4().map(IpNet::V4),
        Family::V6 => node.spec.ipv6().map(IpNet::V6),
    }
}

/// The address that Kubernetes' Node calls its InternalIP.
fn internal_address(node: &Node, family: Family) -> Option<IpAddr> {
    let internal =
        node.spec.addresses.iter().filter(|one| one.kind.as_deref() == Some(INTERNAL_ADDRESS));
    internal.filter_map(|one| one.address.parse().ok()).find(|address| family.has(*address))
}

/// A bare address takes the prefix length it has on its interface.
fn with_local_mask(bare: IpAddr, machine: &Machine) -> IpNet {
    let mut addresses = machine.interfaces.iter().flat_map(|interface| &interface.addresses);
    let found = addresses.rfind(|net| net.addr() == bare);
    found.copied().unwrap_or(IpNet::from(bare))
}

async fn check_unique(
    datastore: &dyn Datastore,
    settings: &Startup,
    addresses: &[IpNet],
) -> Result<(), StartupError> {
    let nodes: Vec<Node> = typed::list(datastore, None).await?;
    for node in nodes.iter().filter(|node| node.metadata.name != settings.node) {
        for family in [Family::V4, Family::V6] {
            let Some(other) = of_family(node, family).map(|net| net.addr()) else { continue };
            if addresses.iter().any(|net| net.addr() == other) {
                let name = node.metadata.name.clone();
                return Err(StartupError::AddressTaken { other: name, address: other });
            }
        }
    }
    Ok(())
}

/// Creates the Node resource, or brings the parts of it that this process owns up to date.
async fn register(
    datastore: &dyn Datastore,
    settings: &Startup,
    machine: &Machine,
    addresses: &[IpNet],
    mut stored: Option<Node>,
) -> Result<Node, StartupError> {
    for _ in 0..WRITE_ATTEMPTS_MAX {
        if stored.is_none() && settings.kubernetes {
            return Err(StartupError::NoKubernetesNode { node: settings.node.clone() });
        }
        let mut node = stored.clone().unwrap_or_else(|| Node::new(&settings.node, <_>::default()));
        describe(&mut node, settings, machine, addresses);
        let written = match &stored {
            Some(stored) if *stored == node => return Ok(node),
            Some(_) => typed::update(datastore, node).await,
            None => typed::create(datastore, node).await,
        };
        match written {
            Err(Error::Conflict(_) | Error::NotFound(_)) => {}
            other => return Ok(other?),
        }
        stored = self::stored(datastore, settings).await?;
    }
    let key = Node::new(&settings.node, <_>::default()).key();
    Err(Error::Conflict(key).into())
}

fn describe(node: &mut Node, settings: &Startup, machine: &Machine, addresses: &[IpNet]) {
    if !addresses.is_empty() {
        // Others are Kubernetes' to say.
        node.spec
            .addresses
            .retain(|other| settings.kubernetes && other.kind.as_deref() != Some(OWN_ADDRESS));
    }
    for (position, net) in addresses.iter().enumerate() {
        let bgp = node.spec.bgp.get_or_insert_with(NodeBgpSpec::default);
        let stated = match net {
            IpNet::V4(_) => &mut bgp.ipv4_address,
            IpNet::V6(_) => &mut bgp.ipv6_address,
        };
        *stated = Some(net.to_string());
        let own = NodeAddress { address: net.to_string(), kind: Some(OWN_ADDRESS.into()) };
        node.spec.addresses.insert(position, own);
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

/// Creates a default pool of each family of which there is no pool yet.
async fn ensure_pools(
    datastore: &dyn Datastore,
    settings: &Startup,
    machine: &Machine,
    node: &Node,
) -> Result<(), StartupError> {
    let mut wanted: Vec<&DefaultPool> = vec![&settings.pool];
    // Without an address of the node nothing of the pool would be routed.
    let six = settings.pool_v6.as_ref();
    wanted.extend(six.filter(|pool| pool.cidr.is_some() || node.spec.ipv6().is_some()));
    if settings.no_default_pools {
        return match wanted.into_iter().find_map(|pool| Some((pool, pool.cidr.as_ref()?))) {
            None => Ok(()),
            Some((pool, cidr)) => Err(StartupError::Settings(format!(
                "NO_DEFAULT_POOLS=true and CALICO_IPV{}POOL_CIDR={cidr} exclude each other: unset \
                 one",
                pool.family.version()
            ))),
        };
    }
    wanted.retain(|pool| pool.cidr.as_deref() != Some("none"));
    let pools: Vec<IpPool> = typed::list(datastore, None).await?;
    for wanted in wanted {
        let is_there =
            pools.iter().any(|pool| pool.spec.net().is_ok_and(|net| wanted.family.has(net.addr())));
        if !is_there {
            // Where another node was first, its pool is as good.
            ensure(datastore, default_pool(wanted, machine)?).await?;
        }
    }
    Ok(())
}

fn default_pool(wanted: &DefaultPool, machine: &Machine) -> Result<IpPool, StartupError> {
    let (name, free): (_, fn(&Machine) -> String) = match wanted.family {
        Family::V4 => (names::DEFAULT_IPV4_POOL, free_range),
        Family::V6 => (names::DEFAULT_IPV6_POOL, |_| unique_local_range()),
    };
    let mut pool = IpPool::new(
        name,
        IpPoolSpec {
            cidr: wanted.cidr.clone().unwrap_or_else(|| free(machine)),
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
                "the pool that CALICO_IPV{}POOL_* describe cannot be made: {}",
                wanted.family.version(),
                problems.join("; ")
            )))
        }
    }
}

/// A random /48 of fd00::/8 (RFC 4193, 3.2).
fn unique_local_range() -> String {
    let [a, b, c, d, e, ..] = *uuid::Uuid::new_v4().as_bytes();
    format!("fd{a:02x}:{b:02x}{c:02x}:{d:02x}{e:02x}::/48")
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
    if settings.kubernetes {
        return Ok(());
    }
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
        // Another node was first, or the cluster is of a Calico that had no such kind yet.
        Ok(_) | Err(Error::Conflict(_) | Error::NotFound(_)) => Ok(()),
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

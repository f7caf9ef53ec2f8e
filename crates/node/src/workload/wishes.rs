//! Where an ADD's addresses come from: what the network configuration says, and above it annotations
//! of the pod and its namespace (`calico-features.md` §4 and §5.3).

use super::endpoint;
use crate::api::{AddWorkload, AddressSource, KUBERNETES};
use crate::cluster::Cluster;
use crate::event::{Addresses, Assign};
use ipam::{Demand, Pool};
use ipnet::IpNet;
use kernel::Mac;
use model::kubernetes::cni::{Annotation, Wish, Wishes};
use model::names;
use std::collections::BTreeMap;

/// What an ADD comes to.
pub(super) struct Asked {
    pub(super) source: Source,
    /// The MAC that the container's interface is to have in place of its own.
    pub(super) mac: Option<String>,
    /// The annotation that says where addresses are to come from.
    pub(super) annotation: Option<Annotation>,
}

/// Where its addresses come from.
pub(super) enum Source {
    /// They are known: IPAM is not asked.
    Known(Vec<IpNet>),
    /// IPAM assigns them.
    Assign(Box<Assign>),
}

/// Reads all that is said of an endpoint, before anything is done for it.
///
/// # Errors
/// What cannot be done: whose it is, the cause and the next step.
pub(super) fn read(request: &AddWorkload, cluster: &Cluster) -> Result<Asked, String> {
    endpoint::check(cluster.node(), request)?;
    let wishes = cluster.wishes(&request.id).map_err(|wrong| wrong.to_string())?;
    check_features(request, &wishes)?;
    let mac = wishes.mac.as_ref().map(|mac| Mac(mac.wish).to_string());
    let (source, annotation) = match &request.addresses {
        AddressSource::Given(addresses) => {
            check_given(&wishes)?;
            (Source::Known(single(addresses.iter().map(IpNet::addr))), None)
        }
        AddressSource::CalicoIpam { .. } => match &wishes.addresses_no_ipam {
            Some(wish) => (Source::Known(single(wish.wish.iter().copied())), None),
            None => (Source::Assign(Box::new(assign(request, &wishes, cluster)?)), by(&wishes)),
        },
    };
    Ok(Asked { source, mac, annotation })
}

fn single(addresses: impl Iterator<Item = std::net::IpAddr>) -> Vec<IpNet> {
    addresses.map(IpNet::from).collect()
}

/// The annotation that IPAM does as it says, where it is one.
fn by(wishes: &Wishes) -> Option<Annotation> {
    let of = |wish: &Option<Wish<Vec<String>>>| wish.as_ref().map(|wish| wish.annotation.clone());
    match &wishes.addresses {
        Some(wish) => Some(wish.annotation.clone()),
        None => match (of(&wishes.ipv4_pools), of(&wishes.ipv6_pools)) {
            (Some(_), Some(_)) => None,
            (one, other) => one.or(other),
        },
    }
}

/// Some annotations are heeded only where the network's operator says so.
fn check_features(request: &AddWorkload, wishes: &Wishes) -> Result<(), String> {
    let features = &request.features;
    for (wish, enabled, feature) in [
        (&wishes.addresses_no_ipam, features.ip_addrs_no_ipam, "ip_addrs_no_ipam"),
        (&wishes.floating_addresses, features.floating_ips, "floating_ips"),
    ] {
        if let Some(wish) = wish.as_ref().filter(|_| !enabled) {
            let reason = format!(
                "requested feature is not enabled: {feature}; feature_control in the network \
                 configuration enables it, or take the annotation away"
            );
            return Err(wish.annotation.wrong(reason).to_string());
        }
    }
    Ok(())
}

/// Another IPAM plugin has no ear for very addresses.
fn check_given(wishes: &Wishes) -> Result<(), String> {
    let wish = wishes.addresses.as_ref().or(wishes.addresses_no_ipam.as_ref());
    wish.map_or(Ok(()), |wish| {
        let reason = "another IPAM plugin gives this network's addresses, and this needs ipam.type \
                      \"calico-ipam\"";
        Err(wish.annotation.wrong(reason).to_string())
    })
}

fn assign(request: &AddWorkload, wishes: &Wishes, cluster: &Cluster) -> Result<Assign, String> {
    let AddressSource::CalicoIpam { ipv4, ipv6, ipv4_pools, ipv6_pools, requested } =
        &request.addresses
    else {
        return Err("another IPAM plugin has assigned this endpoint's addresses".to_owned());
    };
    let id = &request.id;
    let mut attributes = BTreeMap::from([("node".to_owned(), cluster.node().to_owned())]);
    if id.orchestrator == KUBERNETES {
        attributes.insert("namespace".to_owned(), id.namespace.clone());
        attributes.insert("pod".to_owned(), id.pod.clone());
    }
    let very = wishes.addresses.as_ref().map(|wish| &wish.wish);
    let very = very.or(Some(requested)).filter(|addresses| !addresses.is_empty());
    let addresses = match very {
        Some(addresses) => {
            let pools = ipam::pools_of_requested(cluster.pools().values());
            Addresses::These(addresses.clone(), pools)
        }
        None => {
            let families = wishes.families.as_ref().map(|wish| wish.wish);
            let count = |asked: u8, wished: Option<bool>| match wished {
                Some(wished) => usize::from(wished),
                None => usize::from(asked),
            };
            let four = count(*ipv4, families.map(|families| families.ipv4));
            let six = count(*ipv6, families.map(|families| families.ipv6));
            let mut any = Vec::new();
            for (count, ipv4, asked, wish) in [
                (four, true, ipv4_pools, &wishes.ipv4_pools),
                (six, false, ipv6_pools, &wishes.ipv6_pools),
            ] {
                if count > 0 {
                    any.push((count, pools(request, cluster, ipv4, asked, wish.as_ref())?));
                }
            }
            Addresses::Any(any)
        }
    };
    let earlier = wishes.addresses.as_ref().and_then(|_| earlier_handle(request, cluster));
    let (reserved, own_blocks) = (cluster.reserved(), cluster.own_blocks());
    Ok(Assign { handle: id.handle(), attributes, addresses, earlier, reserved, own_blocks })
}

/// The pools of a family: those wished for, else those of the network configuration, else all that
/// select the node and the namespace.
fn pools(
    request: &AddWorkload,
    cluster: &Cluster,
    ipv4: bool,
    asked: &[String],
    wish: Option<&Wish<Vec<String>>>,
) -> Result<Vec<Pool>, String> {
    let demand = Demand {
        host: cluster.node(),
        labels: cluster.labels(),
        namespace: cluster.namespace_labels(&request.id.namespace),
        ipv4,
        wished: wish.map_or(asked, |wish| &wish.wish),
    };
    ipam::select_pools(cluster.pools().values(), &demand).map_err(|why| match wish {
        Some(wish) => wish.annotation.wrong(why.to_string()).to_string(),
        None => why.to_string(),
    })
}

/// The handle of the pod's earlier container, which held the same addresses: its DEL may still be to
/// come.
fn earlier_handle(request: &AddWorkload, cluster: &Cluster) -> Option<String> {
    let id = &request.id;
    let earlier = &cluster.pod(id)?.spec.container_id;
    let is_other = !earlier.is_empty() && *earlier != id.container_id;
    is_other.then(|| names::container_handle(&id.network, earlier))
}

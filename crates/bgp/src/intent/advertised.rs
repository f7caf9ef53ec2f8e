//! What a node tells its peers of itself, and what it doesn't.

use super::{Cluster, Identity};
use crate::configuration::{Communities, ExportRanges};
use ipnet::IpNet;
use model::config::ProgramClusterRoutes;
use model::{BgpConfigurationSpec, CommunityValue};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// On a Node: it doesn't advertise services.
const NO_SERVICES_LABEL: &str = "node.kubernetes.io/exclude-from-external-load-balancers";

/// One route per own block, one per address that lies in a pool but in no own block, and the
/// service ranges whole.
///
/// An own address is a workload's or, where BGP programs the routes of IP-in-IP, that of `tunl0`;
/// otherwise each node computes the way to it. Calico tells eBGP peers of the other tunnel
/// addresses too, which no packet from there may use.
pub(super) fn originated(
    cluster: &Cluster<'_>,
    own: &Identity,
    problems: &mut Vec<String>,
) -> BTreeSet<IpNet> {
    let node = cluster.nodes.get(cluster.node);
    let programs = cluster.global().map(BgpConfigurationSpec::program_cluster_routes);
    let tunnel = match programs.unwrap_or(ProgramClusterRoutes::Enabled) {
        ProgramClusterRoutes::Enabled | ProgramClusterRoutes::EnabledIpipOnly => {
            node.and_then(|node| node.spec.ipip_ipv4()).map(IpAddr::V4)
        }
        ProgramClusterRoutes::Disabled | ProgramClusterRoutes::EnabledNoEncapOnly => None,
    };
    let addresses = cluster.workloads.iter().copied().chain(tunnel);
    let pools: Vec<IpNet> = cluster.pools.values().filter_map(|p| p.spec.net().ok()).collect();
    let borrowed = addresses.filter(|address| {
        pools.iter().any(|pool| pool.contains(address))
            && !cluster.blocks.iter().any(|block| block.contains(address))
    });
    let mut originated = cluster.blocks.clone();
    originated.extend(borrowed.map(IpNet::from));
    let excluded = node.and_then(|node| node.metadata.labels.get(NO_SERVICES_LABEL));
    if excluded.is_none_or(|value| value != "true") {
        originated.extend(services(cluster, problems));
    }
    // Routes of a family that the node has no address of would have no next hop.
    originated.retain(|net| own.address(matches!(net, IpNet::V6(_))).is_some());
    originated
}

/// The pools; and what a node advertises that lies in none of them.
pub(super) fn export(cluster: &Cluster<'_>, problems: &mut Vec<String>) -> ExportRanges {
    let mut ranges = ExportRanges::default();
    for (name, pool) in cluster.pools {
        match pool.spec.net() {
            Ok(net) if pool.spec.disable_bgp_export => ranges.denied.insert(net),
            Ok(net) => ranges.allowed.insert(net),
            Err(_) => {
                problems.push(format!(
                    "IPPool({name}): cidr is '{}', which is no range, so BGP tells nobody of it; \
                     correct it",
                    pool.spec.cidr
                ));
                false
            }
        };
    }
    let pools: Vec<IpNet> = ranges.allowed.union(&ranges.denied).copied().collect();
    let outside = |net: &IpNet| !pools.iter().any(|pool| pool.contains(net));
    ranges.allowed.extend(cluster.blocks.iter().copied().filter(outside));
    ranges.allowed.extend(services(cluster, problems));
    ranges
}

/// Service ranges. A range of one external or load-balancer address is not advertised by all
/// nodes, but by those with the service's endpoints.
fn services(cluster: &Cluster<'_>, problems: &mut Vec<String>) -> BTreeSet<IpNet> {
    let Some(spec) = cluster.global() else { return BTreeSet::new() };
    let mut ranges = BTreeSet::new();
    for (field, blocks) in spec.service_blocks() {
        let single = field == "serviceClusterIPs";
        for block in blocks {
            match block.cidr.parse::<IpNet>() {
                Ok(net) if single || net.prefix_len() < net.max_prefix_len() => {
                    ranges.insert(net.trunc());
                }
                Ok(net) => problems.push(format!(
                    "BGPConfiguration(default): {field} has the single address {net}, which is \
                     advertised per service only, and services are not watched yet; give the \
                     range it belongs to"
                )),
                Err(_) => problems.push(format!(
                    "BGPConfiguration(default): {field} has '{}', which is no range and is not \
                     advertised; correct it",
                    block.cidr
                )),
            }
        }
    }
    ranges
}

/// Those of the node's BGPConfiguration, if it has any, else the cluster's; in order.
pub(super) fn communities(
    cluster: &Cluster<'_>,
    problems: &mut Vec<String>,
) -> Vec<(IpNet, Communities)> {
    let own = format!("node.{}", cluster.node);
    let stated = [own.as_str(), "default"].into_iter().find_map(|name| {
        let spec = &cluster.configurations.get(name)?.spec;
        Some((name, spec, spec.prefix_advertisements.as_ref()?))
    });
    let Some((name, spec, advertisements)) = stated else { return Vec::new() };
    let mut found = Vec::new();
    for advertisement in advertisements {
        let at =
            format!("BGPConfiguration({name}): prefixAdvertisements of {}", advertisement.cidr);
        let Ok(range) = advertisement.cidr.parse::<IpNet>() else {
            problems.push(format!("{at} are left out, as that is no range; correct it"));
            continue;
        };
        let mut values = BTreeSet::new();
        for text in &advertisement.communities {
            let named = spec.communities.iter().flatten().find(|one| one.name == *text);
            let literal = CommunityValue::parse(text);
            match literal.or_else(|| CommunityValue::parse(&named?.value)) {
                Some(value) => drop(values.insert(value)),
                None => problems.push(format!(
                    "{at} leave out '{text}', which is neither a community nor the name of one; \
                     correct it"
                )),
            }
        }
        let mut communities = Communities::default();
        for value in values {
            match value {
                CommunityValue::Standard(value) => communities.standard.push(value),
                CommunityValue::Large(value) => communities.large.push(value),
            }
        }
        if communities != Communities::default() {
            found.push((range.trunc(), communities));
        }
    }
    found
}

//! Which pools a request's addresses may come from.

use crate::cluster::Cluster;
use ipnet::IpNet;
use model::IpPool;
use model::resources::ip_pool::{AllowedUse, AssignmentMode};

/// The address family a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Family {
    V4,
    V6,
}

/// The pools for `count` addresses: those named (by CIDR or name; they must exist and be enabled), else all
/// enabled, automatic pools for workloads that select this node (Calico IPAM, "pool selection").
///
/// # Errors
/// A named pool doesn't exist or is disabled; no pool is left. The text says which and what to do.
pub fn select(
    cluster: &Cluster,
    count: u8,
    named: &[String],
    family: Family,
) -> Result<Vec<IpPool>, String> {
    if count == 0 {
        return Ok(vec![]);
    }
    if !named.is_empty() {
        return named.iter().map(|wanted| by_name(cluster, wanted, family)).collect();
    }
    let usable = cluster.pools().values().filter(|pool| {
        is_of(pool, family)
            && !pool.spec.disabled
            && pool.spec.assignment_mode != Some(AssignmentMode::Manual)
            && allows(pool, AllowedUse::Workload)
            && selects(pool, cluster)
    });
    let pools: Vec<IpPool> = usable.cloned().collect();
    if pools.is_empty() {
        return Err(none_left(cluster, family));
    }
    Ok(pools)
}

/// The pools a VXLAN tunnel address may come from: those with VXLAN that select this node.
pub(crate) fn for_vxlan_tunnel(cluster: &Cluster) -> Vec<IpPool> {
    let pools = cluster.pools().values().filter(|pool| {
        is_of(pool, Family::V4)
            && !pool.spec.disabled
            && pool.spec.vxlan_mode != model::EncapsulationMode::Never
            && allows(pool, AllowedUse::Tunnel)
            && selects(pool, cluster)
    });
    pools.cloned().collect()
}

fn by_name(cluster: &Cluster, wanted: &str, family: Family) -> Result<IpPool, String> {
    let found = cluster.pools().values().find(|pool| {
        (pool.metadata.name == wanted || pool.spec.cidr == wanted) && is_of(pool, family)
    });
    match found {
        Some(pool) if pool.spec.disabled => Err(format!(
            "IPPool({}) is disabled: enable it, or name another pool in the CNI configuration",
            pool.metadata.name
        )),
        Some(pool) => Ok(pool.clone()),
        None => Err(format!(
            "no IP pool has the name or CIDR {wanted}: `calicoctl get ippool` lists them; correct \
             ipv4_pools or ipv6_pools in the CNI configuration"
        )),
    }
}

fn none_left(cluster: &Cluster, family: Family) -> String {
    let family = match family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    format!(
        "no enabled {family} pool selects node {}: `calicoctl get ippool -o wide` shows what each \
         selects; add a pool, or change a nodeSelector",
        cluster.node()
    )
}

fn is_of(pool: &IpPool, family: Family) -> bool {
    match pool.spec.cidr.parse() {
        Ok(IpNet::V4(_)) => family == Family::V4,
        Ok(IpNet::V6(_)) => family == Family::V6,
        Err(_) => false,
    }
}

fn allows(pool: &IpPool, wanted: AllowedUse) -> bool {
    match &pool.spec.allowed_uses {
        Some(uses) if !uses.is_empty() => uses.contains(&wanted),
        _ => wanted != AllowedUse::LoadBalancer,
    }
}

fn selects(pool: &IpPool, cluster: &Cluster) -> bool {
    let selector = pool.spec.node_selector.as_deref().unwrap_or("all()");
    model::selector::Selector::parse(selector).is_ok_and(|s| s.matches(cluster.labels()))
}

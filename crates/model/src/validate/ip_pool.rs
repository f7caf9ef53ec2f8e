//! IPPool: range, block size, encapsulation, uses; pools beside each other and across an update.

use super::fields;
use crate::resources::ip_pool::{AllowedUse, EncapsulationMode, IpPool, IpPoolSpec, overlap};
use crate::{Metadata, Problem, Problems};
use ipnet::IpNet;

const LINK_LOCAL: [&str; 2] = ["169.254.0.0/16", "fe80::/10"];

pub(crate) fn check(spec: &IpPoolSpec, _metadata: &Metadata, problems: &mut Problems) {
    match spec.net() {
        Ok(net) => range(spec, &net, problems),
        Err(problem) => problems.0.push(problem),
    }
    if spec.ipip_mode != EncapsulationMode::Never && spec.vxlan_mode != EncapsulationMode::Never {
        problems.add(
            "spec.vxlanMode",
            format!("{:?}", spec.vxlan_mode),
            format!(
                "ipipMode is {:?} already, and a pool has one encapsulation at most: set one of \
                 the two to Never",
                spec.ipip_mode
            ),
        );
    }
    selectors(spec, problems);
    uses(spec, problems);
}

fn range(spec: &IpPoolSpec, net: &IpNet, problems: &mut Problems) {
    for reserved in LINK_LOCAL {
        if reserved.parse().is_ok_and(|reserved| overlap(net, &reserved)) {
            let reason =
                format!("it overlaps the link-local range {reserved}; choose another range");
            problems.add("spec.cidr", net, reason);
        }
    }
    let v6 = matches!(net, IpNet::V6(_));
    let (family, sizes) = if v6 { ("IPv6", 116..=128) } else { ("IPv4", 20..=32) };
    let size = spec.block_size();
    if !sizes.contains(&size) {
        let (low, high) = (sizes.start(), sizes.end());
        problems.add("spec.blockSize", size, format!("an {family} pool's is from {low} to {high}"));
    } else if net.prefix_len() > size && !spec.disabled {
        let reason = format!(
            "the pool is smaller than one of its blocks (/{size}): take a range of /{size} or \
             shorter, or a blockSize of {} or more",
            net.prefix_len()
        );
        problems.add("spec.cidr", net, reason);
    }
    if v6 && spec.ipip_mode != EncapsulationMode::Never {
        let mode = format!("{:?}", spec.ipip_mode);
        problems.add("spec.ipipMode", mode, "IP-in-IP carries IPv4 only; set it to Never");
    }
}

fn selectors(spec: &IpPoolSpec, problems: &mut Problems) {
    for (field, text) in [
        ("spec.nodeSelector", &spec.node_selector),
        ("spec.namespaceSelector", &spec.namespace_selector),
    ] {
        let Some(text) = text else { continue };
        if fields::selector(field, text, problems).is_some_and(|s| s.uses_global()) {
            problems.add(field, text, "global() means nothing to a pool; use all() or a label");
        }
    }
}

fn uses(spec: &IpPoolSpec, problems: &mut Problems) {
    let uses = spec.allowed_uses();
    let field = "spec.allowedUses";
    let given = format!("{uses:?}");
    if uses.contains(&AllowedUse::Tunnel)
        && spec.allowed_uses.is_some()
        && spec.namespace_selector.is_some()
    {
        let reason =
            "a pool with a namespaceSelector cannot give tunnel addresses; leave out Tunnel";
        problems.add(field, &given, reason);
    }
    if !uses.contains(&AllowedUse::LoadBalancer) {
        return;
    }
    if uses.len() > 1 {
        problems.add(field, &given, "LoadBalancer goes with no other use; make a pool of its own");
    }
    let never = EncapsulationMode::Never;
    if spec.ipip_mode != never || spec.vxlan_mode != never {
        let reason =
            "a LoadBalancer pool has no encapsulation; set ipipMode and vxlanMode to Never";
        problems.add(field, &given, reason);
    }
    if spec.disable_bgp_export {
        let reason = "a LoadBalancer pool must be exported; leave out disableBGPExport";
        problems.add(field, &given, reason);
    }
    if spec.node_selector.as_deref().is_some_and(|text| text.trim() != "all()") {
        let reason = "a LoadBalancer pool serves every node; set nodeSelector to all()";
        problems.add(field, &given, reason);
    }
}

/// Checks a pool that is to be created or updated against the others: no two may overlap.
///
/// A pool of the same name among `existing` is the one being replaced.
///
/// # Errors
/// One problem for each pool that overlaps, or the range itself being wrong.
pub fn validate_pools(new: &IpPool, existing: &[IpPool]) -> Result<(), Vec<Problem>> {
    let net = new.spec.net().map_err(|problem| vec![problem])?;
    let mut problems = Problems::default();
    for other in existing.iter().filter(|other| other.metadata.name != new.metadata.name) {
        if let Some(taken) = other.spec.net().ok().filter(|taken| overlap(&net, taken)) {
            let reason = format!(
                "it overlaps IPPool({}), which has {taken}; choose a range outside it, or delete \
                 that pool first",
                other.metadata.name
            );
            problems.add("spec.cidr", net, reason);
        }
    }
    problems.into_result()
}

/// Checks what may not change between two versions of a pool.
///
/// # Errors
/// `cidr` or `blockSize` differ, or the pool becomes or ceases to be a load balancer's.
pub fn validate_pool_update(old: &IpPool, new: &IpPool) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    let (was, is) = (&old.spec, &new.spec);
    if was.net().ok() != is.net().ok() || (was.net().is_err() && was.cidr != is.cidr) {
        let reason = format!(
            "a pool's range stays as it is ({}); create a second pool, disable this one and move \
             the workloads",
            was.cidr
        );
        problems.add("spec.cidr", &is.cidr, reason);
    }
    if was.block_size() != is.block_size() {
        let reason = format!(
            "a pool's blockSize stays as it is ({}); create a second pool, disable this one and \
             move the workloads",
            was.block_size()
        );
        problems.add("spec.blockSize", is.block_size(), reason);
    }
    let balances = |spec: &IpPoolSpec| spec.allows(AllowedUse::LoadBalancer);
    if balances(was) != balances(is) {
        let reason =
            "LoadBalancer can be neither added to a pool nor taken from it; create another";
        problems.add("spec.allowedUses", format!("{:?}", is.allowed_uses()), reason);
    }
    problems.into_result()
}

//! IPAMConfig: which settings go together.

use crate::{IpamConfig, Problem, Problems};

/// The longest rest of a released address, in seconds.
const MAX_COOLDOWN: u32 = 1200;

/// Checks the cluster's IPAM settings.
///
/// # Errors
/// Every problem found.
pub fn validate_ipam_config(config: &IpamConfig) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    if !config.strict_affinity && !config.auto_allocate_blocks {
        let reason =
            "without it no node could ever take a block, unless strictAffinity is true too";
        problems.add("spec.autoAllocateBlocks", false, reason);
    }
    if config.max_blocks_per_host > 0 && !config.strict_affinity {
        let reason = "a bound holds only while addresses come from own blocks; set strictAffinity";
        problems.add("spec.maxBlocksPerHost", config.max_blocks_per_host, reason);
    }
    super::fields::choice(
        "spec.kubeVirtVMAddressPersistence",
        config.kube_virt_vm_address_persistence.as_ref(),
        &["Enabled", "Disabled"],
        &mut problems,
    );
    if config.ip_cooldown_seconds > MAX_COOLDOWN {
        let reason = format!("it is from 0 to {MAX_COOLDOWN} seconds");
        problems.add("spec.ipCooldownSeconds", config.ip_cooldown_seconds, reason);
    }
    problems.into_result()
}

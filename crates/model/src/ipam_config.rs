//! The cluster's IPAM settings.

use serde::{Deserialize, Serialize};

/// The stored value of [`crate::Key::IpamConfig`] (resource `IPAMConfig`, name `default`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamConfig {
    /// Take addresses from own blocks only; never borrow.
    pub strict_affinity: bool,
    /// Claim new blocks when the own ones are full.
    pub auto_allocate_blocks: bool,
    /// Blocks one host may hold; 0: the built-in bound of 20.
    #[serde(rename = "maxBlocksPerHost", skip_serializing_if = "is_zero")]
    pub max_blocks_per_host: u32,
    /// `Enabled` or `Disabled` (3.32); unset means enabled.
    #[serde(rename = "kubeVirtVMAddressPersistence", skip_serializing_if = "Option::is_none")]
    pub kube_virt_vm_address_persistence: Option<String>,
    /// Seconds a released address rests before it is given again (3.33), 0–1200.
    #[serde(rename = "ipCooldownSeconds", skip_serializing_if = "is_zero")]
    pub ip_cooldown_seconds: u32,
}

impl Default for IpamConfig {
    fn default() -> Self {
        IpamConfig {
            strict_affinity: false,
            auto_allocate_blocks: true,
            max_blocks_per_host: 0,
            kube_virt_vm_address_persistence: None,
            ip_cooldown_seconds: 0,
        }
    }
}

fn is_zero(n: &u32) -> bool {
    *n == 0
}

//! IPAM's objects as custom resources: what etcd keeps bare stands here in a `spec`, with what etcd
//! says in the key.
//!
//! Source: `calico-features.md` §1.7, §3.1, §3.2.

use crate::{Affinity, AffinityKind, AffinityState, Block, Handle, IpamConfig};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The spec of an IPAMBlock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IpamBlockSpec {
    // The definition leaves the form of the lists to whoever reads a block, which looks at more than a
    // schema can say: with their schema, a change of a full block costs the API server 12.2 ms of a
    // processor, without it 7.5 ms, and every start and end of a pod is such a change.
    /// The block's prefix.
    pub cidr: String,
    /// `host:<node>` or `virtual:<name>`; absent when nobody claims the block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// When the affinity was claimed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_claim_time: Option<String>,
    /// By ordinal: index into `attributes`, null where the address is free.
    #[schemars(with = "serde_json::Value")]
    pub allocations: Vec<Option<usize>>,
    /// Free ordinals, first in first out.
    #[schemars(with = "serde_json::Value")]
    pub unallocated: Vec<usize>,
    /// Holders; several ordinals may share one.
    #[schemars(with = "serde_json::Value")]
    pub attributes: Vec<AllocationAttribute>,
    /// Nanoseconds since 1970 at creation, plus one for each update.
    pub sequence_number: u64,
    /// By ordinal (as text): `sequenceNumber` when it was allocated.
    #[schemars(with = "serde_json::Value")]
    pub sequence_number_for_allocation: BTreeMap<String, u64>,
    /// Set while the block is deleted, in two steps.
    pub deleted: bool,
    /// Deprecated; read by nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strict_affinity: Option<bool>,
}

/// Who holds an address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AllocationAttribute {
    /// The handle it is released by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handle_id: Option<String>,
    /// The owner: `pod`, `namespace`, `node`, `type`, `timestamp` …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secondary: Option<BTreeMap<String, String>>,
    /// The other owner of a virtual machine that moves.
    #[serde(rename = "alternateOwnerAttrs", skip_serializing_if = "Option::is_none")]
    pub alternate_owner_attrs: Option<BTreeMap<String, String>>,
    /// Set on an address that rests before it is given again.
    #[serde(rename = "releasedAt", skip_serializing_if = "Option::is_none")]
    pub released_at: Option<String>,
}

/// What the block calls a field, and what the custom resource calls it.
const CLAIM_TIME: (&str, &str) = ("affinity_claim_time", "affinityClaimTime");
/// What definitions of older Calico require, though only `true` ever said something.
const STRICT_AFFINITY: &str = "strictAffinity";

impl IpamBlockSpec {
    /// The custom resource's form of a block.
    ///
    /// # Errors
    /// A field of a newer Calico, which the block carries along, is of another type here.
    pub fn from_block(block: &Block) -> Result<IpamBlockSpec, serde_json::Error> {
        let mut value = serde_json::to_value(block)?;
        let (own, resource) = CLAIM_TIME;
        if let Some(fields) = value.as_object_mut()
            && let Some(time) = fields.remove(own)
        {
            fields.insert(resource.to_owned(), time);
        }
        let spec: IpamBlockSpec = serde_json::from_value(value)?;
        Ok(IpamBlockSpec { strict_affinity: spec.strict_affinity.or(Some(false)), ..spec })
    }

    /// The block that the JSON of a spec is.
    ///
    /// # Errors
    /// It has another form.
    pub fn block(spec: &str) -> Result<Block, serde_json::Error> {
        let mut block: Block = serde_json::from_str(spec)?;
        let is_strict = |value: &serde_json::Value| value.as_bool() == Some(true);
        block.other.retain(|name, value| name != STRICT_AFFINITY || is_strict(value));
        Ok(block)
    }
}

/// The spec of a BlockAffinity.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BlockAffinitySpec {
    /// Progress of claim or release.
    #[schemars(with = "String")]
    pub state: AffinityState,
    /// Node or virtual host.
    pub node: String,
    /// `host` or `virtual`; empty, as older Calico leaves it, is `host`.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The block's prefix.
    pub cidr: String,
    /// Set while the affinity is deleted, in two steps.
    pub deleted: Flag,
}

/// True or false; a text in `crd.projectcalico.org/v1`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Flag {
    /// As `projectcalico.org/v3` says it.
    Bool(bool),
    /// As `crd.projectcalico.org/v1` says it: `true`, or anything else.
    Text(String),
}

impl Default for Flag {
    fn default() -> Flag {
        Flag::Bool(false)
    }
}

impl Flag {
    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        match self {
            Flag::Bool(set) => *set,
            Flag::Text(text) => text == "true",
        }
    }
}

impl BlockAffinitySpec {
    /// Whose block it speaks of and which; `None` where that cannot be read.
    pub fn of(&self) -> Option<(AffinityKind, &str, IpNet)> {
        let kind = match self.kind.as_str() {
            "" | "host" => AffinityKind::Host,
            "virtual" => AffinityKind::Virtual,
            _ => return None,
        };
        Some((kind, &self.node, self.cidr.parse().ok()?))
    }

    /// The affinity, as etcd keeps it.
    pub fn to_affinity(&self) -> Affinity {
        Affinity { deleted: self.deleted.is_set().to_string(), ..Affinity::new(self.state) }
    }
}

/// The spec of an IPAMHandle.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IpamHandleSpec {
    /// The handle as it is; the object's name is in lower case.
    #[serde(rename = "handleID")]
    pub handle_id: String,
    /// Block prefix to number of addresses.
    pub block: BTreeMap<String, u32>,
    /// Set while the handle is deleted, in two steps.
    pub deleted: bool,
}

impl IpamHandleSpec {
    /// The custom resource's form of a handle.
    pub fn from_handle(id: &str, handle: Handle) -> IpamHandleSpec {
        let Handle { block, deleted } = handle;
        IpamHandleSpec { handle_id: id.to_owned(), block, deleted }
    }

    /// The handle.
    pub fn to_handle(&self) -> Handle {
        Handle { block: self.block.clone(), deleted: self.deleted }
    }
}

/// The spec of an IPAMConfiguration (IPAMConfig in `crd.projectcalico.org/v1`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IpamConfigurationSpec {
    /// Take addresses from own blocks only; never borrow.
    pub strict_affinity: bool,
    /// Claim new blocks when the own ones are full.
    pub auto_allocate_blocks: bool,
    /// Blocks one host may hold; 0: the built-in bound of 20.
    pub max_blocks_per_host: u32,
    /// `Enabled` or `Disabled`; unset means enabled.
    #[serde(rename = "kubeVirtVMAddressPersistence", skip_serializing_if = "Option::is_none")]
    pub kube_virt_vm_address_persistence: Option<String>,
    /// Seconds a released address rests before it is given again.
    pub ip_cooldown_seconds: u32,
}

impl Default for IpamConfigurationSpec {
    fn default() -> IpamConfigurationSpec {
        IpamConfig::default().into()
    }
}

impl From<IpamConfig> for IpamConfigurationSpec {
    fn from(config: IpamConfig) -> IpamConfigurationSpec {
        IpamConfigurationSpec {
            strict_affinity: config.strict_affinity,
            auto_allocate_blocks: config.auto_allocate_blocks,
            max_blocks_per_host: config.max_blocks_per_host,
            kube_virt_vm_address_persistence: config.kube_virt_vm_address_persistence,
            ip_cooldown_seconds: config.ip_cooldown_seconds,
        }
    }
}

impl From<IpamConfigurationSpec> for IpamConfig {
    fn from(spec: IpamConfigurationSpec) -> IpamConfig {
        IpamConfig {
            strict_affinity: spec.strict_affinity,
            auto_allocate_blocks: spec.auto_allocate_blocks,
            max_blocks_per_host: spec.max_blocks_per_host,
            kube_virt_vm_address_persistence: spec.kube_virt_vm_address_persistence,
            ip_cooldown_seconds: spec.ip_cooldown_seconds,
        }
    }
}

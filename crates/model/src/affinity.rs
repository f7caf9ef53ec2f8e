//! Block affinities: which host routes a block.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How far a claim or a release of a block has got (Calico IPAM: pending → confirmed →
/// pendingDeletion).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AffinityState {
    /// Claimed, and the block says so too. An empty stored state means this.
    #[default]
    #[serde(rename = "confirmed", alias = "")]
    Confirmed,
    /// Being claimed: the block may belong to another host.
    #[serde(rename = "pending")]
    Pending,
    /// Being released.
    #[serde(rename = "pendingDeletion")]
    PendingDeletion,
}

/// The stored value of [`crate::Key::Affinity`]: `{"state":"confirmed","deleted":"false"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Affinity {
    /// Progress of claim or release.
    #[serde(default)]
    pub state: AffinityState,
    /// `"true"` while a Kubernetes datastore deletes it in two steps; a string in Calico's JSON.
    #[serde(default = "no")]
    pub deleted: String,
}

fn no() -> String {
    "false".to_owned()
}

impl Affinity {
    /// An affinity in a state, not deleted.
    pub fn new(state: AffinityState) -> Affinity {
        Affinity { state, deleted: no() }
    }

    /// Reads stored bytes. An empty value is a confirmed affinity (Calico before v3).
    ///
    /// # Errors
    /// The bytes are not an affinity's JSON.
    pub fn from_stored(bytes: &[u8]) -> Result<Affinity, serde_json::Error> {
        if bytes.is_empty() {
            return Ok(Affinity::new(AffinityState::Confirmed));
        }
        serde_json::from_slice(bytes)
    }
}

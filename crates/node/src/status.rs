//! What the node says of itself.

use serde::{Deserialize, Serialize};

/// The node's condition, for `calicoctl node status`, readiness and the log.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeStatus {
    /// The node's name.
    pub node: String,
    /// `bird`, `vxlan` or `none` (CALICO_NETWORKING_BACKEND).
    pub backend: String,
    /// What the BGP speaker says; absent where none runs.
    #[serde(default)]
    pub bgp: Option<bgp::status::SpeakerStatus>,
    /// The process has read the datastore and applied what it says.
    pub in_sync: bool,
    /// Why it isn't ready, worst first; empty when ready.
    pub not_ready: Vec<String>,
    /// What is wrong without making the node unready: a pool that cannot be routed, an object that
    /// cannot be read. Each names its object and the next step.
    pub warnings: Vec<String>,
}

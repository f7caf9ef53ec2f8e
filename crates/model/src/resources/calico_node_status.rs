//! CalicoNodeStatus: asks one node to say how its agent, its BGP sessions and its routes are.

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A CalicoNodeStatus resource; the node writes its answer to `status`.
pub type CalicoNodeStatus = Resource<CalicoNodeStatusSpec>;

/// The spec of a CalicoNodeStatus (Calico reference, "Calico node status").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CalicoNodeStatusSpec {
    /// The node that is asked.
    pub node: String,
    /// What it is asked: `Agent`, `BGP`, `Routes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<String>,
    /// How often it answers anew; 0: once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_period_seconds: Option<u32>,
}

impl Spec for CalicoNodeStatusSpec {
    const KIND: Kind = Kind::CalicoNodeStatus;

    fn check(&self, _metadata: &Metadata, problems: &mut Problems) {
        validate::calico_node_status::check(self, problems);
    }
}

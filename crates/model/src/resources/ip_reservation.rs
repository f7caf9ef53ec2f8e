//! IPReservation: addresses that nobody is given unasked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The spec of an IPReservation (Calico reference, "IP reservation").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IpReservationSpec {
    /// The addresses and ranges.
    #[serde(rename = "reservedCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub reserved_cidrs: Vec<String>,
}

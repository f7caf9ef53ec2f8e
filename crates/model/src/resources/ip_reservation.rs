//! IPReservation: addresses that nobody is given unasked.

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An IPReservation resource. Who asks for one of its addresses by name gets it.
pub type IpReservation = Resource<IpReservationSpec>;

/// The spec of an IPReservation (Calico reference, "IP reservation").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct IpReservationSpec {
    /// The addresses and ranges.
    #[serde(rename = "reservedCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub reserved_cidrs: Vec<String>,
}

impl IpReservationSpec {
    /// The ranges; those that cannot be read are none.
    pub fn nets(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.reserved_cidrs.iter().filter_map(|text| validate::ip_reservation::range(text))
    }
}

impl Spec for IpReservationSpec {
    const KIND: Kind = Kind::IpReservation;

    fn check(&self, _metadata: &Metadata, problems: &mut Problems) {
        validate::ip_reservation::check(self, problems);
    }
}

//! IPReservation: ranges that can be read.

use super::fields;
use crate::Problems;
use crate::resources::ip_reservation::IpReservationSpec;
use ipnet::IpNet;

/// An address, or a range without host bits.
pub(crate) fn range(text: &str) -> Option<IpNet> {
    fields::network_address(text).filter(|net| *net == net.trunc())
}

pub(crate) fn check(spec: &IpReservationSpec, problems: &mut Problems) {
    for (i, text) in spec.reserved_cidrs.iter().enumerate() {
        if range(text).is_none() {
            let reason = "write a range without host bits, such as 10.0.0.0/30, or an address";
            problems.add(format!("spec.reservedCIDRs[{i}]"), text, reason);
        }
    }
}

//! UPDATEs as bytes: as many prefixes in each as fit.

use super::{Agreed, Attributes, Family};
use ipnet::IpNet;
use std::net::IpAddr;

/// Appends one UPDATE that announces as many of `prefixes`, from the first on, as fit into it.
/// All are of `next_hop`'s family; the first of another family ends the message. Towards another
/// AS (`agreed.external`) LOCAL_PREF and RFC 4456's attributes are left out.
///
/// How many were taken. 0, and nothing appended: there are none of this family, or the attributes
/// leave no room for a single prefix, so that the route cannot be told (RFC 4271, 9.2).
pub fn encode_announcement(
    attributes: &Attributes,
    next_hop: IpAddr,
    prefixes: &[IpNet],
    agreed: Agreed,
    out: &mut Vec<u8>,
) -> usize {
    let _ = (attributes, next_hop, prefixes, agreed, out);
    0
}

/// Appends one UPDATE that withdraws as many of `prefixes`, from the first on, as fit into it;
/// all are of the first one's family, the first of another family ends the message.
///
/// How many were taken; 0, and nothing appended, only if there are none.
pub fn encode_withdrawal(prefixes: &[IpNet], out: &mut Vec<u8>) -> usize {
    let _ = (prefixes, out);
    0
}

/// Appends End-of-RIB (RFC 4724, 2).
pub fn encode_end_of_rib(family: Family, out: &mut Vec<u8>) {
    let _ = (family, out);
}

//! UPDATE as it comes (RFC 4271, 4.3, 6.3; RFC 7606).

use super::attributes::{self, AS_PATH, INVALID_NETWORK, MALFORMED_LIST, MISSING, NEXT_HOP};
use super::attributes::{ORIGIN, Received, error};
use super::{Agreed, Announced, Family, Notification, Update, prefix};
use ipnet::IpNet;
use std::net::IpAddr;

/// Reads what follows the header.
pub(super) fn decode(body: &[u8], agreed: Agreed) -> Result<Update, Notification> {
    let (withdrawn, field, reachable) = sections(body).ok_or_else(|| error(MALFORMED_LIST, &[]))?;
    let prefixes =
        |field| prefix::decode(field, Family::Ipv4).ok_or_else(|| error(INVALID_NETWORK, &[]));
    let mut withdrawn = prefixes(withdrawn)?;
    let reachable = prefixes(reachable)?;
    let mut received = attributes::decode(field, agreed)?;
    let announces = received.announces || !reachable.is_empty();
    if announces {
        received.require(ORIGIN, "ORIGIN");
        received.require(AS_PATH, "AS_PATH");
    }
    if !reachable.is_empty() {
        received.require(NEXT_HOP, "NEXT_HOP");
    }
    if let Some(fault) = received.fault.take_if(|_| !announces && received.others) {
        // What is broken may be what held the prefixes (RFC 7606, 5.2).
        return Err(fault);
    }
    let end_of_rib = end_of_rib(&withdrawn, &reachable, field, &received);
    withdrawn.extend(received.withdrawn.take().into_iter().flat_map(|(_, prefixes)| prefixes));
    let announced = received.take_announced(reachable);
    let Received { attributes, fault, tolerated, .. } = received;
    let mut update = Update { withdrawn, announced, attributes: None, end_of_rib, tolerated };
    if fault.is_some() {
        for announced in update.announced.drain(..) {
            update.withdrawn.extend(announced.prefixes);
        }
    }
    update.attributes = (!update.announced.is_empty()).then_some(attributes);
    Ok(update)
}

/// Withdrawn routes, attributes and reachable prefixes, if the lengths agree.
fn sections(body: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let (withdrawn, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (attributes, reachable) = rest.split_at_checked(u16::from_be_bytes(*length).into())?;
    Some((withdrawn, attributes, reachable))
}

/// An UPDATE that is empty but for the family, in MP_UNREACH_NLRI (RFC 4724, 2).
fn end_of_rib(
    withdrawn: &[IpNet],
    reachable: &[IpNet],
    field: &[u8],
    received: &Received,
) -> Option<Family> {
    if !withdrawn.is_empty() || !reachable.is_empty() {
        return None;
    }
    match &received.withdrawn {
        _ if field.is_empty() => Some(Family::Ipv4),
        Some((family, none)) if none.is_empty() && !received.others => Some(*family),
        _ => None,
    }
}

impl Received {
    /// Notes where a well-known attribute is missing (RFC 7606, 3 d).
    fn require(&mut self, code: u8, name: &str) {
        if !self.has(code) {
            self.note(|| format!("routes withdrawn: {name} is missing"));
            self.fault.get_or_insert_with(|| error(MISSING, &[code]));
        }
    }

    /// What is announced, in the classic field and in MP_REACH_NLRI.
    fn take_announced(&mut self, reachable: Vec<IpNet>) -> Vec<Announced> {
        let next_hop = IpAddr::V4(self.next_hop.unwrap_or(std::net::Ipv4Addr::UNSPECIFIED));
        let classic = Announced { next_hop, prefixes: reachable };
        let mut all: Vec<Announced> = [Some(classic), self.announced.take()]
            .into_iter()
            .flatten()
            .filter(|announced| !announced.prefixes.is_empty())
            .collect();
        for announced in &mut all {
            let before = announced.prefixes.len();
            announced.prefixes.retain(|prefix| !prefix.addr().is_multicast());
            let ignored = before - announced.prefixes.len();
            if ignored > 0 {
                self.note(|| format!("{ignored} multicast prefixes ignored (RFC 4271, 6.3)"));
            }
        }
        all.retain(|announced| !announced.prefixes.is_empty());
        all
    }
}

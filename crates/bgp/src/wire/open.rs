//! OPEN (RFC 4271, 4.2, 6.2) and its capabilities (RFC 5492).

use super::{AS_TRANS, Capability, Family, GracefulRestart, Notification, Open, header};
use std::net::Ipv4Addr;

const VERSION: u8 = 4;
/// The optional parameter that holds capabilities (RFC 5492, 4).
const PARAMETER_CAPABILITIES: u8 = 2;
/// Stands as first parameter's type where two-byte lengths follow (RFC 9072).
const PARAMETERS_EXTENDED: u8 = 255;
/// Bytes of capabilities that one parameter with a one-byte length holds.
const CAPABILITIES_BYTES_MAX: usize = 253;
/// Bytes of capabilities that fit into the longest message.
const CAPABILITIES_EXTENDED_BYTES_MAX: usize = super::MESSAGE_BYTES_MAX - 29 - 3 - 3;

/// Subcodes of error 2.
const UNSPECIFIC: u8 = 0;
const UNSUPPORTED_VERSION: u8 = 1;
const UNSUPPORTED_PARAMETER: u8 = 4;

fn error(subcode: u8, data: &[u8]) -> Notification {
    Notification::new(2, subcode, data)
}

/// Reads what follows the header.
pub(super) fn decode(body: &[u8]) -> Result<Open, Notification> {
    let malformed = || error(UNSPECIFIC, &[]);
    let (fixed, parameters) = body.split_first_chunk::<10>().ok_or_else(malformed)?;
    let &[version, as_high, as_low, hold_high, hold_low, a, b, c, d, length] = fixed;
    if version != VERSION {
        return Err(error(UNSUPPORTED_VERSION, &u16::from(VERSION).to_be_bytes()));
    }
    let capabilities = parameters_of(length, parameters)?;
    let two_octets = u32::from(u16::from_be_bytes([as_high, as_low]));
    let four_octets = capabilities.iter().find_map(|capability| match capability {
        Capability::FourOctetAs(autonomous_system) => Some(*autonomous_system),
        _ => None,
    });
    let autonomous_system = four_octets.unwrap_or(two_octets);
    // RFC 7607: 0 is nobody's AS, in either place.
    if two_octets == 0 || autonomous_system == 0 {
        return Err(Notification::bad_peer_as(0));
    }
    let hold_time = u16::from_be_bytes([hold_high, hold_low]);
    if matches!(hold_time, 1 | 2) {
        return Err(Notification::unacceptable_hold_time(hold_time));
    }
    let router_id = Ipv4Addr::new(a, b, c, d);
    if router_id.is_unspecified() {
        return Err(Notification::bad_bgp_identifier(router_id));
    }
    Ok(Open { autonomous_system, hold_time, router_id, capabilities })
}

/// The capabilities of all optional parameters, whose lengths take one byte or two.
fn parameters_of(length: u8, bytes: &[u8]) -> Result<Vec<Capability>, Notification> {
    let malformed = || error(UNSPECIFIC, &[]);
    let (extended, declared, mut rest) = match bytes {
        [PARAMETERS_EXTENDED, high, low, rest @ ..] if length != 0 => {
            (true, usize::from(u16::from_be_bytes([*high, *low])), rest)
        }
        rest => (false, usize::from(length), rest),
    };
    if declared != rest.len() {
        return Err(malformed());
    }
    let mut capabilities = Vec::new();
    while !rest.is_empty() {
        let (kind, length, after) = match rest {
            [kind, high, low, after @ ..] if extended => {
                (*kind, usize::from(u16::from_be_bytes([*high, *low])), after)
            }
            [kind, length, after @ ..] if !extended => (*kind, usize::from(*length), after),
            _ => return Err(malformed()),
        };
        let (mut value, after) = after.split_at_checked(length).ok_or_else(malformed)?;
        if kind != PARAMETER_CAPABILITIES {
            return Err(error(UNSUPPORTED_PARAMETER, &[]));
        }
        while !value.is_empty() {
            let (capability, after) = capability(value).ok_or_else(malformed)?;
            capabilities.push(capability);
            value = after;
        }
        rest = after;
    }
    Ok(capabilities)
}

/// The first capability, and what follows it.
fn capability(bytes: &[u8]) -> Option<(Capability, &[u8])> {
    let [code, length, rest @ ..] = bytes else { return None };
    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
    let capability = match (code, value) {
        (1, [_, _, _, _]) => match family(value[0], value[1], value[3]) {
            Some(family) => Capability::Multiprotocol(family),
            None => Capability::Other { code: 1, value: value.to_vec() },
        },
        (2, []) => Capability::RouteRefresh,
        (64, [high, low, families @ ..]) if families.len().is_multiple_of(4) => {
            Capability::GracefulRestart(GracefulRestart {
                restarting: high & 0x80 != 0,
                notification: high & 0x40 != 0,
                restart_time: u16::from_be_bytes([high & 0x0f, *low]),
                families: families
                    .chunks_exact(4)
                    .filter_map(|of| Some((family(of[0], of[1], of[2])?, of[3] & 0x80 != 0)))
                    .collect(),
            })
        }
        (65, &[a, b, c, d]) => Capability::FourOctetAs(u32::from_be_bytes([a, b, c, d])),
        (1 | 2 | 64 | 65, _) => return None,
        (code, value) => Capability::Other { code: *code, value: value.to_vec() },
    };
    Some((capability, rest))
}

/// The family of an AFI and a SAFI, if we carry it.
pub(super) fn family(afi_high: u8, afi_low: u8, safi: u8) -> Option<Family> {
    match (afi_high, afi_low, safi) {
        (0, 1, 1) => Some(Family::Ipv4),
        (0, 2, 1) => Some(Family::Ipv6),
        _ => None,
    }
}

/// A family's AFI.
pub(super) const fn afi(family: Family) -> u8 {
    match family {
        Family::Ipv4 => 1,
        Family::Ipv6 => 2,
    }
}

/// Appends an OPEN.
pub(super) fn encode(open: &Open, out: &mut Vec<u8>) {
    let start = header::start(header::OPEN, out);
    let two_octets = u16::try_from(open.autonomous_system).unwrap_or(AS_TRANS);
    out.push(VERSION);
    out.extend_from_slice(&two_octets.to_be_bytes());
    out.extend_from_slice(&open.hold_time.to_be_bytes());
    out.extend_from_slice(&open.router_id.octets());
    let mut capabilities = Vec::new();
    for capability in &open.capabilities {
        let (code, value) = value_of(capability);
        let after = capabilities.len() + 2 + value.len();
        if let Ok(length) = u8::try_from(value.len())
            && after <= CAPABILITIES_EXTENDED_BYTES_MAX
        {
            capabilities.extend_from_slice(&[code, length]);
            capabilities.extend_from_slice(&value);
        }
    }
    let length = capabilities.len() as u16;
    match capabilities.len() {
        0 => out.push(0),
        1..=CAPABILITIES_BYTES_MAX => {
            out.extend_from_slice(&[length as u8 + 2, PARAMETER_CAPABILITIES, length as u8]);
        }
        _ => {
            out.extend_from_slice(&[255, PARAMETERS_EXTENDED]);
            out.extend_from_slice(&(length + 3).to_be_bytes());
            out.push(PARAMETER_CAPABILITIES);
            out.extend_from_slice(&length.to_be_bytes());
        }
    }
    out.extend_from_slice(&capabilities);
    header::finish(start, out);
}

/// A capability's code and value.
fn value_of(capability: &Capability) -> (u8, Vec<u8>) {
    match capability {
        Capability::Multiprotocol(family) => (1, vec![0, afi(*family), 0, 1]),
        Capability::RouteRefresh => (2, vec![]),
        Capability::GracefulRestart(restart) => {
            let flags = u16::from(restart.restarting) << 15
                | u16::from(restart.notification) << 14
                | restart.restart_time.min(0x0fff);
            let mut value = flags.to_be_bytes().to_vec();
            for (family, forwarding) in &restart.families {
                value.extend_from_slice(&[0, afi(*family), 1, u8::from(*forwarding) << 7]);
            }
            (64, value)
        }
        Capability::FourOctetAs(autonomous_system) => {
            (65, autonomous_system.to_be_bytes().to_vec())
        }
        Capability::Other { code, value } => (*code, value.clone()),
    }
}

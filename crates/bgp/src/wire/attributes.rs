//! Path attributes (RFC 4271, 4.3, 5), read with the forbearance of RFC 7606.

use super::as_path::{self, Width};
use super::{AS_TRANS, Agreed, Announced, AsSegment, Attributes, Family, Notification, Origin};
use super::{open, prefix};
use ipnet::IpNet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Types of attributes.
pub(super) const ORIGIN: u8 = 1;
pub(super) const AS_PATH: u8 = 2;
pub(super) const NEXT_HOP: u8 = 3;
pub(super) const MED: u8 = 4;
pub(super) const LOCAL_PREF: u8 = 5;
pub(super) const ATOMIC_AGGREGATE: u8 = 6;
pub(super) const AGGREGATOR: u8 = 7;
pub(super) const COMMUNITIES: u8 = 8;
pub(super) const ORIGINATOR_ID: u8 = 9;
pub(super) const CLUSTER_LIST: u8 = 10;
pub(super) const MP_REACH: u8 = 14;
pub(super) const MP_UNREACH: u8 = 15;
pub(super) const EXTENDED_COMMUNITIES: u8 = 16;
pub(super) const AS4_PATH: u8 = 17;
pub(super) const AS4_AGGREGATOR: u8 = 18;
pub(super) const LARGE_COMMUNITIES: u8 = 32;

/// Attribute flags.
pub(super) const OPTIONAL: u8 = 0x80;
pub(super) const TRANSITIVE: u8 = 0x40;
pub(super) const PARTIAL: u8 = 0x20;
pub(super) const EXTENDED_LENGTH: u8 = 0x10;

/// Subcodes of error 3.
pub(super) const MALFORMED_LIST: u8 = 1;
const UNRECOGNIZED: u8 = 2;
pub(super) const MISSING: u8 = 3;
const FLAGS: u8 = 4;
const LENGTH: u8 = 5;
const INVALID_ORIGIN: u8 = 6;
const INVALID_NEXT_HOP: u8 = 8;
const OPTIONAL_ATTRIBUTE: u8 = 9;
pub(super) const INVALID_NETWORK: u8 = 10;
const MALFORMED_AS_PATH: u8 = 11;

/// Lines of [`super::Update::tolerated`]; what else is wrong in the same message isn't told.
const TOLERATED_MAX: usize = 8;

/// The error of an UPDATE.
pub(super) fn error(subcode: u8, data: &[u8]) -> Notification {
    Notification::new(3, subcode, data)
}

/// An attribute's name, and the flags it must have.
const fn known(code: u8) -> Option<(&'static str, u8)> {
    Some(match code {
        ORIGIN => ("ORIGIN", TRANSITIVE),
        AS_PATH => ("AS_PATH", TRANSITIVE),
        NEXT_HOP => ("NEXT_HOP", TRANSITIVE),
        MED => ("MULTI_EXIT_DISC", OPTIONAL),
        LOCAL_PREF => ("LOCAL_PREF", TRANSITIVE),
        ATOMIC_AGGREGATE => ("ATOMIC_AGGREGATE", TRANSITIVE),
        AGGREGATOR => ("AGGREGATOR", OPTIONAL | TRANSITIVE),
        COMMUNITIES => ("COMMUNITIES", OPTIONAL | TRANSITIVE),
        ORIGINATOR_ID => ("ORIGINATOR_ID", OPTIONAL),
        CLUSTER_LIST => ("CLUSTER_LIST", OPTIONAL),
        MP_REACH => ("MP_REACH_NLRI", OPTIONAL),
        MP_UNREACH => ("MP_UNREACH_NLRI", OPTIONAL),
        EXTENDED_COMMUNITIES => ("EXTENDED_COMMUNITIES", OPTIONAL | TRANSITIVE),
        AS4_PATH => ("AS4_PATH", OPTIONAL | TRANSITIVE),
        AS4_AGGREGATOR => ("AS4_AGGREGATOR", OPTIONAL | TRANSITIVE),
        LARGE_COMMUNITIES => ("LARGE_COMMUNITY", OPTIONAL | TRANSITIVE),
        _ => return None,
    })
}

/// An attribute's name.
pub(super) fn name(code: u8) -> Option<&'static str> {
    known(code).map(|(name, _)| name)
}

/// What is to be done about a malformed attribute, mildest first (RFC 7606, 2), and why.
enum Malformed {
    Discard(&'static str),
    Withdraw(u8, &'static str),
    Reset(u8),
}

use Malformed::{Discard, Reset, Withdraw};

/// The attributes of one UPDATE.
#[derive(Debug, Default)]
pub(super) struct Received {
    /// Those for [`super::Update::attributes`].
    pub(super) attributes: Attributes,
    /// NEXT_HOP.
    pub(super) next_hop: Option<Ipv4Addr>,
    /// MP_REACH_NLRI, of a family we carry.
    pub(super) announced: Option<Announced>,
    /// MP_REACH_NLRI holds prefixes, of whichever family.
    pub(super) announces: bool,
    /// MP_UNREACH_NLRI, of a family we carry.
    pub(super) withdrawn: Option<(Family, Vec<IpNet>)>,
    /// There are others than MP_UNREACH_NLRI.
    pub(super) others: bool,
    /// The first error that asks for "treat-as-withdraw": the NOTIFICATION it would be.
    pub(super) fault: Option<Notification>,
    /// For the log.
    pub(super) tolerated: Vec<String>,
    seen: Seen,
    as4_path: Option<Vec<AsSegment>>,
    as4_aggregator: Option<(u32, Ipv4Addr)>,
}

/// The types that have occurred, a bit each.
#[derive(Debug, Default)]
struct Seen([u64; 4]);

impl Seen {
    fn contains(&self, code: u8) -> bool {
        self.0[usize::from(code >> 6)] & (1 << (code & 63)) != 0
    }

    fn insert(&mut self, code: u8) {
        self.0[usize::from(code >> 6)] |= 1 << (code & 63);
    }
}

/// One attribute as it came.
#[derive(Clone, Copy)]
struct Raw<'a> {
    flags: u8,
    code: u8,
    value: &'a [u8],
    /// With flags, type and length.
    whole: &'a [u8],
}

/// The first attribute and what follows, unless it is cut off.
fn split(bytes: &[u8]) -> Option<(Raw<'_>, &[u8])> {
    let (flags, code, length, after) = match bytes {
        [flags, code, high, low, after @ ..] if flags & EXTENDED_LENGTH != 0 => {
            (*flags, *code, usize::from(u16::from_be_bytes([*high, *low])), after)
        }
        [flags, code, length, after @ ..] if flags & EXTENDED_LENGTH == 0 => {
            (*flags, *code, usize::from(*length), after)
        }
        _ => return None,
    };
    let (value, rest) = after.split_at_checked(length)?;
    let whole = &bytes[..bytes.len() - rest.len()];
    Some((Raw { flags, code, value, whole }, rest))
}

/// Reads the attributes' field.
///
/// # Errors
/// What RFC 7606 wants to reset the session for, or what it leaves at that.
pub(super) fn decode(mut field: &[u8], agreed: Agreed) -> Result<Received, Notification> {
    let mut received = Received::default();
    while !field.is_empty() {
        let Some((raw, rest)) = split(field) else {
            received.cut_off(field)?;
            break;
        };
        field = rest;
        received.others |= raw.code != MP_UNREACH;
        if received.seen.contains(raw.code) {
            if matches!(raw.code, MP_REACH | MP_UNREACH) {
                return Err(error(MALFORMED_LIST, &[]));
            }
            received.discard(raw.code, "it occurs twice");
            continue;
        }
        received.seen.insert(raw.code);
        match received.read(raw, agreed) {
            Ok(()) => {}
            Err(Discard(why)) => received.discard(raw.code, why),
            Err(Withdraw(subcode, why)) => received.withdraw(subcode, raw.code, raw.whole, why),
            Err(Reset(subcode)) => return Err(error(subcode, raw.whole)),
        }
    }
    received.merge();
    Ok(received)
}

impl Received {
    /// Whether the attribute came, well-formed or not.
    pub(super) fn has(&self, code: u8) -> bool {
        self.seen.contains(code)
    }

    /// The last attribute is longer than the field (RFC 7606, 4).
    fn cut_off(&mut self, field: &[u8]) -> Result<(), Notification> {
        let code = field.get(1).copied();
        self.others |= code != Some(MP_UNREACH);
        if matches!(code, Some(MP_REACH | MP_UNREACH)) {
            // Its prefixes cannot be told, so they cannot be withdrawn either (RFC 7606, 3 j).
            return Err(error(OPTIONAL_ATTRIBUTE, field));
        }
        self.withdraw(MALFORMED_LIST, code.unwrap_or(0), &[], "it is cut off");
        Ok(())
    }

    /// Notes an "attribute discard".
    fn discard(&mut self, code: u8, why: &str) {
        self.note(|| format!("{} ignored: {why}", described(code)));
    }

    /// Notes a "treat-as-withdraw".
    pub(super) fn withdraw(&mut self, subcode: u8, code: u8, data: &[u8], why: &str) {
        self.note(|| format!("routes withdrawn for their {}: {why}", described(code)));
        self.fault.get_or_insert_with(|| error(subcode, data));
    }

    /// Notes something for the log.
    pub(super) fn note(&mut self, text: impl FnOnce() -> String) {
        if self.tolerated.len() < TOLERATED_MAX {
            self.tolerated.push(text());
        }
    }

    fn read(&mut self, raw: Raw<'_>, agreed: Agreed) -> Result<(), Malformed> {
        let Some((_, flags)) = known(raw.code) else {
            return self.read_unknown(raw);
        };
        match raw.code {
            LOCAL_PREF | ORIGINATOR_ID | CLUSTER_LIST if agreed.external => {
                return Err(Discard("the peer is of another AS"));
            }
            AS4_PATH | AS4_AGGREGATOR if agreed.four_octet_as => {
                return Err(Discard("the peer has AS numbers of four octets"));
            }
            _ => {}
        }
        if (raw.flags ^ flags) & (OPTIONAL | TRANSITIVE) != 0 {
            return Err(match raw.code {
                AS4_PATH | AS4_AGGREGATOR => Discard("wrong flags"),
                _ => Withdraw(FLAGS, "wrong flags"),
            });
        }
        self.read_known(raw, Width::of(agreed.four_octet_as))
    }

    fn read_unknown(&mut self, raw: Raw<'_>) -> Result<(), Malformed> {
        if raw.flags & OPTIONAL == 0 {
            return Err(Reset(UNRECOGNIZED));
        }
        if raw.flags & TRANSITIVE != 0 {
            // Who passes on what it doesn't know says so (RFC 4271, 5).
            self.pass_on(raw, PARTIAL);
        }
        Ok(())
    }

    fn pass_on(&mut self, raw: Raw<'_>, more_flags: u8) {
        let flags = raw.flags & (OPTIONAL | TRANSITIVE | PARTIAL) | more_flags;
        self.attributes.unknown.push((flags, raw.code, raw.value.to_vec()));
    }

    fn read_known(&mut self, raw: Raw<'_>, width: Width) -> Result<(), Malformed> {
        let attributes = &mut self.attributes;
        let value = raw.value;
        match raw.code {
            ORIGIN => attributes.origin = origin(value)?,
            AS_PATH => {
                attributes.as_path = as_path::decode(value, width)
                    .map_err(|why| Withdraw(MALFORMED_AS_PATH, why))?;
            }
            NEXT_HOP => self.next_hop = Some(next_hop_v4(value)?),
            MED => attributes.med = Some(u32::from_be_bytes(exactly(value)?)),
            LOCAL_PREF => attributes.local_pref = Some(u32::from_be_bytes(exactly(value)?)),
            ATOMIC_AGGREGATE if value.is_empty() => attributes.atomic_aggregate = true,
            ATOMIC_AGGREGATE => return Err(Discard("it has a value")),
            AGGREGATOR => attributes.aggregator = Some(aggregator(value, width)?),
            COMMUNITIES => {
                attributes.communities = words(list(value, 4)?).collect();
                attributes.communities.sort_unstable();
                attributes.communities.dedup();
            }
            LARGE_COMMUNITIES => {
                let numbers: Vec<u32> = words(list(value, 12)?).collect();
                attributes.large_communities =
                    numbers.chunks_exact(3).map(|of| [of[0], of[1], of[2]]).collect();
                attributes.large_communities.sort_unstable();
                attributes.large_communities.dedup();
            }
            EXTENDED_COMMUNITIES => {
                list(value, 8)?;
                self.pass_on(raw, 0);
            }
            ORIGINATOR_ID => attributes.originator_id = Some(exactly::<4>(value)?.into()),
            CLUSTER_LIST => {
                attributes.cluster_list = words(list(value, 4)?).map(Ipv4Addr::from).collect();
            }
            AS4_PATH => self.as4_path = Some(as_path::decode_as4(value).map_err(Discard)?),
            AS4_AGGREGATOR => self.as4_aggregator = Some(aggregator(value, Width::Four)?),
            MP_REACH => self.read_reach(value)?,
            MP_UNREACH => self.read_unreach(value)?,
            _ => {}
        }
        Ok(())
    }

    /// MP_REACH_NLRI (RFC 4760, 3; RFC 7606, 7.11); another family's is passed over.
    fn read_reach(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let broken = || Reset(OPTIONAL_ATTRIBUTE);
        let [afi_high, afi_low, safi, length, rest @ ..] = value else { return Err(broken()) };
        let (next_hop, rest) = rest.split_at_checked(usize::from(*length)).ok_or_else(broken)?;
        let [_reserved, prefixes @ ..] = rest else { return Err(broken()) };
        self.announces = !prefixes.is_empty();
        let Some(family) = open::family(*afi_high, *afi_low, *safi) else {
            self.note(|| {
                let afi = u16::from_be_bytes([*afi_high, *afi_low]);
                format!("routes of AFI {afi}, SAFI {safi} ignored: it wasn't agreed on")
            });
            return Ok(());
        };
        let next_hop = match (family, next_hop.len()) {
            (Family::Ipv4, 4) | (Family::Ipv6, 16 | 32) => next_hop,
            _ => return Err(broken()),
        };
        let prefixes = prefix::decode(prefixes, family).ok_or_else(broken)?;
        let next_hop = match next_hop {
            &[a, b, c, d] => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            // The link-local one after it is for neighbours on one link: not needed.
            global => {
                IpAddr::V6(global.first_chunk().map_or(Ipv6Addr::UNSPECIFIED, |of| (*of).into()))
            }
        };
        self.announced = Some(Announced { next_hop, prefixes });
        host_address(next_hop)
    }

    /// MP_UNREACH_NLRI (RFC 4760, 4; RFC 7606, 7.12).
    fn read_unreach(&mut self, value: &[u8]) -> Result<(), Malformed> {
        let [afi_high, afi_low, safi, prefixes @ ..] = value else {
            return Err(Reset(OPTIONAL_ATTRIBUTE));
        };
        if let Some(family) = open::family(*afi_high, *afi_low, *safi) {
            let prefixes = prefix::decode(prefixes, family).ok_or(Reset(OPTIONAL_ATTRIBUTE))?;
            self.withdrawn = Some((family, prefixes));
        }
        Ok(())
    }

    /// Puts AS numbers of four octets where two-octet speakers have left AS_TRANS
    /// (RFC 6793, 4.2.3).
    fn merge(&mut self) {
        self.attributes.unknown.sort_unstable_by_key(|(_, code, _)| *code);
        match (self.attributes.aggregator, self.as4_aggregator) {
            (Some((number, _)), Some(real)) if number == u32::from(AS_TRANS) => {
                self.attributes.aggregator = Some(real);
            }
            // Somebody with two octets has aggregated since: both are of older routes.
            (Some(_), Some(_)) => return,
            _ => {}
        }
        if let Some(as4_path) = self.as4_path.take() {
            let path = std::mem::take(&mut self.attributes.as_path);
            self.attributes.as_path = as_path::merge(path, as4_path);
        }
    }
}

fn described(code: u8) -> String {
    name(code).map_or_else(|| format!("attribute {code}"), str::to_owned)
}

/// Big-endian numbers of four bytes.
pub(super) fn words(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.chunks_exact(4).map(|of| u32::from_be_bytes([of[0], of[1], of[2], of[3]]))
}

fn exactly<const LENGTH_BYTES: usize>(value: &[u8]) -> Result<[u8; LENGTH_BYTES], Malformed> {
    value.try_into().map_err(|_| Withdraw(LENGTH, "wrong length"))
}

/// A list that has at least one item, of so many bytes each.
fn list(value: &[u8], item_bytes: usize) -> Result<&[u8], Malformed> {
    if value.is_empty() || !value.len().is_multiple_of(item_bytes) {
        return Err(Withdraw(OPTIONAL_ATTRIBUTE, "wrong length"));
    }
    Ok(value)
}

fn origin(value: &[u8]) -> Result<Origin, Malformed> {
    match value {
        [0] => Ok(Origin::Igp),
        [1] => Ok(Origin::Egp),
        [2] => Ok(Origin::Incomplete),
        [_] => Err(Withdraw(INVALID_ORIGIN, "an undefined value")),
        _ => Err(Withdraw(LENGTH, "wrong length")),
    }
}

/// NEXT_HOP (RFC 7606, 7.3).
fn next_hop_v4(value: &[u8]) -> Result<Ipv4Addr, Malformed> {
    let address = Ipv4Addr::from(exactly::<4>(value)?);
    host_address(IpAddr::V4(address))?;
    Ok(address)
}

/// Whether a host can have the address (RFC 4271, 6.3).
fn host_address(address: IpAddr) -> Result<(), Malformed> {
    let reserved = matches!(address, IpAddr::V4(address) if address.octets()[0] >= 240);
    if address.is_unspecified() || address.is_multicast() || reserved {
        return Err(Withdraw(INVALID_NEXT_HOP, "no host has this address"));
    }
    Ok(())
}

/// AGGREGATOR and AS4_AGGREGATOR (RFC 7606, 7.7; RFC 7607).
fn aggregator(value: &[u8], width: Width) -> Result<(u32, Ipv4Addr), Malformed> {
    let (number, [a, b, c, d]) = match (width, value) {
        (Width::Two, &[high, low, a, b, c, d]) => {
            (u16::from_be_bytes([high, low]).into(), [a, b, c, d])
        }
        (Width::Four, &[n1, n2, n3, n4, a, b, c, d]) => {
            (u32::from_be_bytes([n1, n2, n3, n4]), [a, b, c, d])
        }
        _ => return Err(Discard("wrong length")),
    };
    if number == 0 {
        return Err(Discard("AS 0, which is nobody's (RFC 7607)"));
    }
    Ok((number, Ipv4Addr::new(a, b, c, d)))
}

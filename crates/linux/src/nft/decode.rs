//! What the kernel tells as the values that make it; anything else is foreign.

pub(super) mod element;
mod register;
pub(super) mod rule;

use super::attribute::Attributes;
use super::numbers::{self as n, attribute as a};
use kernel::nft::{BaseChain, ChainKind, Device, Family, Hook, Verdict};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The base of a `NEWCHAIN` message's chain.
pub(super) fn base(attributes: Attributes<'_>, family: Family) -> Option<BaseChain> {
    let hook = Attributes(attributes.get(a::CHAIN_HOOK)?);
    let priority = hook.number(a::HOOK_PRIORITY).unwrap_or(0).cast_signed();
    // Absent for a chain of several devices, or of none that is there.
    let device = hook.text(a::HOOK_DEVICE).and_then(Device::new);
    let (known, hook) = match (family, hook.number(a::HOOK_NUMBER), device) {
        (Family::Netdev, Some(0), Some(device)) => (true, Hook::Ingress(device)),
        (Family::Netdev, Some(1), Some(device)) => (true, Hook::Egress(device)),
        (Family::Netdev, ..) => (false, Hook::Prerouting),
        (_, Some(0), _) => (true, Hook::Prerouting),
        (_, Some(1), _) => (true, Hook::Input),
        (_, Some(2), _) => (true, Hook::Forward),
        (_, Some(3), _) => (true, Hook::Output),
        (_, Some(4), _) => (true, Hook::Postrouting),
        _ => (false, Hook::Prerouting),
    };
    let accepts = attributes.number(a::CHAIN_POLICY) == Some(n::ACCEPT.cast_unsigned());
    let kind = match attributes.text(a::CHAIN_TYPE) {
        _ if !known || !accepts => ChainKind::Foreign,
        Some("filter") => ChainKind::Filter,
        Some("nat") => ChainKind::Nat,
        Some("route") => ChainKind::Route,
        _ => ChainKind::Foreign,
    };
    Some(BaseChain { kind, hook, priority })
}

/// The verdict in `NFTA_DATA_VERDICT`, as rules and maps have it.
fn verdict(value: Attributes<'_>) -> Option<Verdict> {
    let verdict = value.nested(a::DATA_VERDICT);
    let code = i32::from_be_bytes(verdict.get(a::VERDICT_CODE)?.try_into().ok()?);
    let chain = || verdict.text(a::VERDICT_CHAIN).map(str::to_owned);
    Some(match code {
        n::ACCEPT => Verdict::Accept,
        n::DROP => Verdict::Drop,
        n::RETURN => Verdict::Return,
        n::CONTINUE => Verdict::Continue,
        n::JUMP => Verdict::Jump(chain()?),
        n::GOTO => Verdict::Goto(chain()?),
        _ => return None,
    })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    Some(match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        _ => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
    })
}

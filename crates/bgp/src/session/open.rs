//! OPEN: what is said of oneself, and what both sides agree on (RFC 4271, 4.2, 6.2; RFC 5492).

use crate::configuration::Peer;
use crate::wire::{Agreed, Capability, Family, GracefulRestart, Notification, Open};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Longest restart time that its 12 bits hold.
const RESTART_TIME_MAX: u16 = 4095;

/// What two OPENs agree on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Agreement {
    /// The peer's BGP identifier.
    pub router_id: Ipv4Addr,
    /// The smaller of both hold times; `None`: the connection alone tells.
    pub hold_time: Option<Duration>,
    /// How often to send KEEPALIVE.
    pub keepalive_time: Option<Duration>,
    /// The families that both carry.
    pub families: Vec<Family>,
    /// How UPDATEs are written.
    pub wire: Agreed,
    /// The peer can send its routes again.
    pub route_refresh: bool,
    /// What the peer says of its restarts.
    pub restart: Option<GracefulRestart>,
}

impl Agreement {
    /// The families whose routes stay when the session is lost (RFC 4724, 4.2).
    pub fn kept_families(&self) -> Vec<Family> {
        let Some(restart) = &self.restart else { return vec![] };
        if restart.restart_time == 0 {
            return vec![];
        }
        let listed = restart.families.iter().map(|(family, _)| *family);
        listed.filter(|family| self.families.contains(family)).collect()
    }

    /// Whether NOTIFICATIONs keep routes too (RFC 8538, 2: both sides say N; this one always does).
    pub fn notification_keeps(&self) -> bool {
        self.restart.as_ref().is_some_and(|restart| restart.notification)
    }
}

/// The family a peer's sessions carry: its address's, as Calico's mesh has it.
pub fn family_of(address: IpAddr) -> Family {
    match address {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// The OPEN for a peer; `restarting`: this process is new and may have had routes before. F is
/// always set: the kernel forwards whether or not this process runs.
pub fn open(peer: &Peer, router_id: Ipv4Addr, restarting: bool) -> Open {
    let family = family_of(peer.address);
    Open {
        autonomous_system: peer.local_as,
        hold_time: peer.hold_time,
        router_id,
        capabilities: vec![
            Capability::Multiprotocol(family),
            Capability::RouteRefresh,
            Capability::GracefulRestart(GracefulRestart {
                restarting,
                notification: true,
                restart_time: peer.restart_time.min(RESTART_TIME_MAX),
                families: vec![(family, true)],
            }),
            Capability::FourOctetAs(peer.local_as),
        ],
    }
}

/// Checks a peer's OPEN.
///
/// # Errors
/// The NOTIFICATION to send, and the reason in words.
pub fn agree(
    peer: &Peer,
    own_id: Ipv4Addr,
    theirs: &Open,
) -> Result<Agreement, (Notification, String)> {
    if theirs.autonomous_system != peer.remote_as {
        let reason = format!(
            "OPEN Message Error: Bad Peer AS: the peer is of AS {}, the configuration says {}",
            theirs.autonomous_system, peer.remote_as
        );
        return Err((Notification::bad_peer_as(theirs.autonomous_system), reason));
    }
    let external = peer.remote_as != peer.local_as;
    // RFC 6286, 2.1: within one AS the identifier is unique; 0 is never one.
    let duplicate = !external && theirs.router_id == own_id;
    if theirs.router_id.is_unspecified() || duplicate {
        let what = if duplicate { ", which is this node's own" } else { "" };
        let reason = format!("OPEN Message Error: Bad BGP Identifier {}{what}", theirs.router_id);
        return Err((Notification::bad_bgp_identifier(theirs.router_id), reason));
    }
    if matches!(theirs.hold_time, 1 | 2) {
        let reason = format!(
            "OPEN Message Error: Unacceptable Hold Time: {} s, it must be 0 or at least 3",
            theirs.hold_time
        );
        return Err((Notification::unacceptable_hold_time(theirs.hold_time), reason));
    }
    let families = families(peer, theirs)?;
    let hold = peer.hold_time.min(theirs.hold_time);
    let hold_time = (hold != 0).then(|| Duration::from_secs(hold.into()));
    let keepalive_time = hold_time.map(|hold| match peer.keepalive_time {
        Some(seconds) if seconds > 0 => Duration::from_secs(seconds.into()).min(hold / 3),
        _ => hold / 3,
    });
    let mut agreement = Agreement {
        router_id: theirs.router_id,
        hold_time,
        keepalive_time,
        families,
        wire: Agreed { four_octet_as: false, external },
        route_refresh: false,
        restart: None,
    };
    for capability in &theirs.capabilities {
        match capability {
            Capability::RouteRefresh => agreement.route_refresh = true,
            Capability::FourOctetAs(_) => agreement.wire.four_octet_as = true,
            Capability::GracefulRestart(restart) => agreement.restart = Some(restart.clone()),
            Capability::Multiprotocol(_) | Capability::Other { .. } => {}
        }
    }
    Ok(agreement)
}

/// The families both carry; a peer that names none carries IPv4 (RFC 4760, 8).
fn families(peer: &Peer, theirs: &Open) -> Result<Vec<Family>, (Notification, String)> {
    let own = family_of(peer.address);
    let mut named = theirs.capabilities.iter().filter_map(|capability| match capability {
        Capability::Multiprotocol(family) => Some(*family),
        _ => None,
    });
    let other_named = theirs.capabilities.iter().any(is_multiprotocol);
    if named.any(|family| family == own) || (own == Family::Ipv4 && !other_named) {
        return Ok(vec![own]);
    }
    // RFC 5492, 5: the data is the capability that is missing.
    let number = if own == Family::Ipv4 { 1 } else { 2 };
    let missing = Notification::unsupported_capability(&[1, 4, 0, number, 0, 1]);
    let reason = format!("OPEN Message Error: Unsupported Capability: the peer carries no {own:?}");
    Err((missing, reason))
}

/// Whether it names a family, be it one not carried here.
fn is_multiprotocol(capability: &Capability) -> bool {
    matches!(capability, Capability::Multiprotocol(_) | Capability::Other { code: 1, .. })
}

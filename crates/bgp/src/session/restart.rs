//! The helper's side of graceful restart (RFC 4724, 4.2; RFC 8538): what stays of a lost session.

use crate::session::open::Agreement;
use crate::wire::Family;
use std::time::Duration;

/// Why a session ended, as far as its routes depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The connection broke, gave way to a newer one, or lost to another at the same time.
    Transport,
    /// A NOTIFICATION was sent or received: routes stay if both sides said N.
    Notification,
    /// Hard reset, or the peer is no longer one: nothing stays.
    Final,
}

/// Routes kept of a lost session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stale {
    /// Their families; shrinks as End-of-RIB comes.
    pub(crate) families: Vec<Family>,
    /// When the first loss's restart time ends.
    pub(crate) lost_until: Duration,
    /// When they go: after the restart time, counted from the loss until the session is back, and
    /// from then on anew until its End-of-RIB.
    pub(crate) until: Duration,
}

/// The families whose routes stay.
pub(crate) fn kept(agreement: &Agreement, loss: Loss) -> Vec<Family> {
    match loss {
        Loss::Transport => agreement.kept_families(),
        Loss::Notification if agreement.notification_keeps() => agreement.kept_families(),
        Loss::Notification | Loss::Final => vec![],
    }
}

/// The families of a new session whose stale routes stay until End-of-RIB: those that the peer
/// says it went on forwarding (F).
pub(crate) fn forwarded(agreement: &Agreement) -> Vec<Family> {
    let Some(restart) = &agreement.restart else { return vec![] };
    let forwarding = restart.families.iter().filter(|(_, forwarding)| *forwarding);
    forwarding.map(|(family, _)| *family).collect()
}

/// How long a peer's routes stay.
pub(crate) fn restart_time(agreement: &Agreement) -> Duration {
    let seconds = agreement.restart.as_ref().map_or(0, |restart| restart.restart_time);
    Duration::from_secs(seconds.into())
}

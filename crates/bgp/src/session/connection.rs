//! One TCP connection of a session: framing, its own timers, and what it has to say itself.
//! UPDATEs don't pass here on the way out: the table writes them when the socket takes them.

use crate::session::limits::{CONNECT_TIMEOUT, OPEN_WAIT, SEND_HOLD_MIN};
use crate::session::open::Agreement;
use crate::speaker::ConnectionId;
use crate::wire::{Agreed, Family, Message};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

/// How far a connection has come; a session is as far as its furthest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// The SYN is on its way.
    Connecting,
    /// OPEN is sent.
    OpenSent,
    /// Both OPENs are there.
    OpenConfirm,
    /// Both have confirmed.
    Established,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) id: ConnectionId,
    /// Made by this side.
    pub(crate) initiated: bool,
    pub(crate) stage: Stage,
    /// The own end, once connected.
    pub(crate) local: Option<SocketAddr>,
    /// Set from OpenConfirm on.
    pub(crate) agreement: Option<Agreement>,
    /// When it is given up unless something comes.
    pub(crate) expires: Option<Duration>,
    /// When KEEPALIVE is due.
    pub(crate) keepalive_at: Option<Duration>,
    /// Since when the peer has taken nothing though there was something.
    pub(crate) unsent_since: Option<Duration>,
    /// The beginning of a message: shorter than one.
    incoming: Vec<u8>,
    /// OPEN, the first KEEPALIVE, NOTIFICATION: a few messages, and none twice.
    outgoing: Vec<u8>,
    /// Families to ask the peer for anew.
    refreshes: BTreeSet<Family>,
    /// A KEEPALIVE is due; one suffices however long the peer reads nothing.
    keepalive_due: bool,
}

impl Connection {
    /// An attempt that starts now.
    pub(crate) fn attempt(now: Duration, id: ConnectionId) -> Connection {
        Connection {
            id,
            initiated: true,
            stage: Stage::Connecting,
            local: None,
            agreement: None,
            expires: Some(now + CONNECT_TIMEOUT),
            keepalive_at: None,
            unsent_since: None,
            incoming: vec![],
            outgoing: vec![],
            refreshes: BTreeSet::new(),
            keepalive_due: false,
        }
    }

    /// One that the peer has made.
    pub(crate) fn accepted(now: Duration, id: ConnectionId, local: SocketAddr) -> Connection {
        let attempt = Connection::attempt(now, id);
        Connection { initiated: false, local: Some(local), ..attempt }
    }

    /// TCP stands: OPEN goes out.
    pub(crate) fn opened(&mut self, now: Duration, open: &Message) {
        self.stage = Stage::OpenSent;
        self.expires = Some(now + OPEN_WAIT);
        self.send(now, open);
    }

    /// The peer's OPEN is good: KEEPALIVE says so.
    pub(crate) fn confirm(&mut self, now: Duration, agreement: Agreement) {
        self.stage = Stage::OpenConfirm;
        // A hold time of 0 still leaves the peer only so long to confirm.
        self.expires = Some(now + agreement.hold_time.unwrap_or(OPEN_WAIT));
        self.keepalive_at = agreement.keepalive_time.map(|interval| now + interval);
        self.agreement = Some(agreement);
        self.send(now, &Message::Keepalive);
    }

    /// Something came: the hold timer starts over.
    pub(crate) fn heard(&mut self, now: Duration) {
        let agreement = self.agreement.as_ref();
        let hold = agreement.and_then(|agreement| agreement.hold_time);
        self.expires = hold.map(|hold| now + hold);
    }

    /// Puts a message behind those that wait.
    pub(crate) fn send(&mut self, now: Duration, message: &Message) {
        message.encode(self.agreed(), &mut self.outgoing);
        self.unsent_since.get_or_insert(now);
    }

    /// Asks for all routes of a family again (RFC 2918), once however often called.
    pub(crate) fn refresh(&mut self, now: Duration, family: Family) {
        self.refreshes.insert(family);
        self.unsent_since.get_or_insert(now);
    }

    /// Queues the KEEPALIVE that is due, if one is; whether there is something to send now.
    pub(crate) fn keep_alive(&mut self, now: Duration) -> bool {
        let interval = self.agreement.as_ref().and_then(|agreement| agreement.keepalive_time);
        let (Some(at), Some(interval)) = (self.keepalive_at, interval) else { return false };
        if at > now {
            return false;
        }
        self.keepalive_at = Some(now + interval);
        self.unsent_since.get_or_insert(now);
        !std::mem::replace(&mut self.keepalive_due, true)
    }

    /// When the peer has taken nothing for too long (RFC 9687).
    pub(crate) fn send_expires(&self) -> Option<Duration> {
        let hold = self.agreement.as_ref()?.hold_time?;
        Some(self.unsent_since? + SEND_HOLD_MIN.max(hold * 2))
    }

    /// The next time something is due here.
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let times = [self.expires, self.keepalive_at, self.send_expires()];
        times.into_iter().flatten().min()
    }

    /// Takes what waits.
    pub(crate) fn take(&mut self) -> Vec<u8> {
        let agreed = self.agreed();
        for family in std::mem::take(&mut self.refreshes) {
            Message::RouteRefresh(Some(family)).encode(agreed, &mut self.outgoing);
        }
        if std::mem::take(&mut self.keepalive_due) {
            Message::Keepalive.encode(agreed, &mut self.outgoing);
        }
        self.unsent_since = None;
        std::mem::take(&mut self.outgoing)
    }

    /// What is to be read: what was kept, and what has come.
    pub(crate) fn unread(&mut self, bytes: Vec<u8>) -> Vec<u8> {
        if self.incoming.is_empty() {
            return bytes;
        }
        let mut unread = std::mem::take(&mut self.incoming);
        unread.extend(bytes);
        unread
    }

    /// Keeps the beginning of a message, which is less than one: [`crate::wire::frame`] said so.
    pub(crate) fn keep(&mut self, rest: &[u8]) {
        self.incoming = rest.to_vec();
    }

    /// How messages are written here.
    pub(crate) fn agreed(&self) -> Agreed {
        self.agreement.as_ref().map(|agreement| agreement.wire).unwrap_or_default()
    }
}

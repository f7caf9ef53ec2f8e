//! How connections and the session end, and what follows.

use super::{Action, Connection, Loss, Session, Stage, Stale, restart};
use crate::speaker::ConnectionId;
use crate::wire::{Cease, Message, Notification};
use std::time::Duration;

impl Session {
    /// A connection broke, or an attempt failed.
    pub(super) fn gone(&mut self, now: Duration, id: ConnectionId, reason: String) {
        let Some(connection) = self.take_connection(id) else { return };
        if connection.stage == Stage::Established {
            self.down(now, &connection, Loss::Transport);
        }
        // A peer that waits after an error ends connections without a word: the error is the reason.
        let silent = connection.stage == Stage::OpenSent && self.told;
        let reason = if silent { self.reason.clone() } else { reason };
        self.ended(now, reason, false);
        self.told |= silent;
    }

    /// The peer has sent a NOTIFICATION.
    pub(super) fn notified(&mut self, now: Duration, id: ConnectionId, told: &Notification) {
        let Some(connection) = self.take_connection(id) else { return };
        self.actions.push(Action::Close(id, vec![]));
        let collision = is(told, Cease::ConnectionCollisionResolution);
        if connection.stage == Stage::Established {
            let loss = match () {
                () if told.is_hard_reset() => Loss::Final,
                // The peer keeps another connection: nothing was lost.
                () if collision => Loss::Transport,
                () => Loss::Notification,
            };
            self.down(now, &connection, loss);
        }
        if collision && !self.connections.is_empty() {
            return;
        }
        let soon = collision
            || is(told, Cease::AdministrativeReset)
            || is(told, Cease::OtherConfigurationChange);
        self.ended(now, format!("the peer has ended it: {told}"), !soon);
    }

    /// Ends one connection with a NOTIFICATION.
    pub(super) fn fail(
        &mut self,
        now: Duration,
        id: ConnectionId,
        notification: &Notification,
        reason: String,
    ) {
        let Some(mut connection) = self.take_connection(id) else { return };
        let collision = is(notification, Cease::ConnectionCollisionResolution);
        if connection.stage > Stage::Connecting {
            connection.send(now, &Message::Notification(notification.clone()));
        }
        self.actions.push(Action::Close(id, connection.take()));
        if connection.stage == Stage::Established {
            let last = notification.is_hard_reset();
            self.down(now, &connection, if last { Loss::Final } else { Loss::Notification });
        }
        if collision && !self.connections.is_empty() {
            return;
        }
        // A hold timer tells of the network, not of a mistake that stays.
        let soon = collision
            || notification.code == Notification::hold_timer_expired().code
            || is(notification, Cease::OtherConfigurationChange);
        self.ended(now, reason, !soon);
    }

    /// Ends all connections.
    pub(super) fn fail_all(&mut self, now: Duration, notification: &Notification, reason: &str) {
        while let Some(id) = self.connections.first().map(|connection| connection.id) {
            self.fail(now, id, notification, reason.to_string());
        }
    }

    /// Ends all for good. A peer that would keep routes after a plain NOTIFICATION gets a hard
    /// reset (RFC 8538, 4).
    pub(super) fn remove(&mut self, now: Duration, notification: &Notification) {
        let hard = Notification::hard_reset(notification);
        while let Some(connection) = self.connections.first() {
            let agreement = connection.agreement.as_ref();
            let keeps = agreement.is_some_and(|agreement| agreement.notification_keeps());
            let notification = if keeps { &hard } else { notification };
            self.fail(now, connection.id, notification, "no longer a peer".into());
        }
        self.retry_at = None;
        self.stale = None;
    }

    /// Closes a connection without a word, and without counting it as a failure.
    pub(super) fn close_silently(&mut self, id: ConnectionId) {
        if self.take_connection(id).is_some() {
            self.actions.push(Action::Close(id, vec![]));
        }
    }

    /// The peer has restarted and connected anew before the loss of the running connection was
    /// noticed (RFC 4724, 4.2).
    pub(super) fn replace_established(&mut self, now: Duration) {
        let Some(id) = self.established() else { return };
        let Some(connection) = self.take_connection(id) else { return };
        self.actions.push(Action::Close(id, vec![]));
        self.down(now, &connection, Loss::Transport);
        self.reason = "the peer has restarted".into();
    }

    /// After a connection has ended: when to make the next one.
    pub(super) fn ended(&mut self, now: Duration, reason: String, error: bool) {
        if self.established().is_some() {
            return;
        }
        self.reason = reason;
        self.told = error;
        let wait = match error {
            true => self.backoff.after_error(),
            false if self.retry_at.is_some() => return,
            false => self.backoff.after_failure(),
        };
        if self.peer.passive || self.connections.iter().any(|other| other.initiated) {
            return;
        }
        self.retry_at = Some(now + wait);
        self.error_wait = error;
    }

    /// Of two connections that both stand, one goes as soon as the peer's identifier is known:
    /// the one made by the lower identifier's side (RFC 4271, 6.8; RFC 6286, 2.3).
    pub(super) fn resolve_collision(&mut self, now: Duration) {
        let standing = |connection: &&Connection| {
            matches!(connection.stage, Stage::OpenSent | Stage::OpenConfirm)
        };
        let standing = self.connections.iter().filter(standing);
        let own = standing.clone().find(|connection| connection.initiated);
        let theirs = standing.clone().find(|connection| !connection.initiated);
        let mut agreements = standing.filter_map(|connection| connection.agreement.as_ref());
        let (Some(own), Some(theirs), Some(agreement)) = (own, theirs, agreements.next()) else {
            return;
        };
        let here = (self.router_id, self.peer.local_as);
        let there = (agreement.router_id, self.peer.remote_as);
        let loser = if here > there { theirs.id } else { own.id };
        let notification = Notification::cease(Cease::ConnectionCollisionResolution);
        self.fail(now, loser, &notification, notification.to_string());
    }

    /// The session is no longer Established.
    fn down(&mut self, now: Duration, connection: &Connection, loss: Loss) {
        self.backoff.lasted(now.saturating_sub(self.since));
        self.awaited.clear();
        let Some(agreement) = &connection.agreement else { return };
        let families = restart::kept(agreement, loss);
        if let Some(stale) = self.stale.as_mut().filter(|_| !self.heard && !families.is_empty()) {
            // RFC 4724, 4.2 lets routes of before go at a second loss, so that they cannot stay for
            // ever; that they stay for the first loss's time does as well.
            stale.until = stale.lost_until;
            self.actions.push(Action::Interrupted);
            return;
        }
        let until = now + restart::restart_time(agreement);
        self.actions.push(Action::Down(families.clone()));
        let stale = Stale { families, lost_until: until, until };
        self.stale = Some(stale).filter(|stale| !stale.families.is_empty());
    }

    fn take_connection(&mut self, id: ConnectionId) -> Option<Connection> {
        let index = self.connections.iter().position(|connection| connection.id == id)?;
        Some(self.connections.remove(index))
    }
}

fn is(notification: &Notification, cease: Cease) -> bool {
    let other = Notification::cease(cease);
    (notification.code, notification.subcode) == (other.code, other.subcode)
}

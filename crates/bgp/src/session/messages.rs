//! What is done with the peer's messages.

use super::{Action, Session, Stage, Stale, open, restart};
use crate::speaker::ConnectionId;
use crate::status::SessionState;
use crate::wire::{self, Cease, Family, Message, Notification, Open, Update};
use ipnet::IpNet;
use std::time::Duration;

impl Session {
    /// Handles all whole messages. There are as many as the input's bytes hold: the driver's reads
    /// are what bounds them.
    pub(super) fn received(&mut self, now: Duration, id: ConnectionId, bytes: Vec<u8>) {
        let Some(connection) = self.connection(id) else { return };
        if connection.stage == Stage::Connecting {
            return;
        }
        let unread = connection.unread(bytes);
        let mut rest = &unread[..];
        // A message may end the connection, or the one before it have changed how to read it.
        while let Some(agreed) = self.connection(id).map(|connection| connection.agreed()) {
            let message = match wire::frame(rest) {
                Ok(None) => break,
                Ok(Some(length)) => {
                    let (message, after) = rest.split_at(length);
                    rest = after;
                    Message::decode(message, agreed)
                }
                Err(notification) => Err(notification),
            };
            match message {
                Ok(message) => self.message(now, id, message),
                Err(notification) => {
                    self.fail(now, id, &notification, notification.to_string());
                }
            }
        }
        if let Some(connection) = self.connection(id) {
            connection.keep(rest);
        }
    }

    fn message(&mut self, now: Duration, id: ConnectionId, message: Message) {
        let Some(connection) = self.connection(id) else { return };
        let stage = connection.stage;
        match (stage, message) {
            (_, Message::Notification(notification)) => self.notified(now, id, &notification),
            (Stage::OpenSent, Message::Open(open)) => self.opened(now, id, &open),
            (Stage::OpenConfirm, Message::Keepalive) => self.confirmed(now, id),
            (Stage::Established, Message::Keepalive) => connection.heard(now),
            (Stage::Established, Message::Update(update)) => {
                connection.heard(now);
                self.told(update);
            }
            (Stage::Established, Message::RouteRefresh(family)) => {
                connection.heard(now);
                let known = self.agreement().map(|(agreement, _)| &agreement.families);
                if let Some(family) = family.filter(|f| known.is_some_and(|k| k.contains(f))) {
                    self.actions.push(Action::Resend(family));
                }
            }
            (stage, message) => {
                let state = match stage {
                    Stage::Connecting => SessionState::Connect,
                    Stage::OpenSent => SessionState::OpenSent,
                    Stage::OpenConfirm => SessionState::OpenConfirm,
                    Stage::Established => SessionState::Established,
                };
                let notification = Notification::unexpected_message(state, kind(&message));
                self.fail(now, id, &notification, notification.to_string());
            }
        }
    }

    /// The peer's OPEN.
    fn opened(&mut self, now: Duration, id: ConnectionId, theirs: &Open) {
        let agreement = match open::agree(&self.peer, self.router_id, theirs) {
            Ok(agreement) => agreement,
            Err((notification, reason)) => return self.fail(now, id, &notification, reason),
        };
        // A second connection beside the running one: the peer has restarted, if it is one to
        // restart gracefully; else the running one stays (RFC 4271, 6.8; RFC 4724, 4.2).
        match self.agreement().map(|(running, _)| running.restart.is_some()) {
            Some(true) => self.replace_established(now),
            Some(false) => {
                let notification = Notification::cease(Cease::ConnectionCollisionResolution);
                return self.fail(now, id, &notification, notification.to_string());
            }
            None => {}
        }
        if let Some(connection) = self.connection(id) {
            connection.confirm(now, agreement);
            self.actions.push(Action::Ready(id));
        }
        self.resolve_collision(now);
    }

    /// The peer's first KEEPALIVE: Established.
    fn confirmed(&mut self, now: Duration, id: ConnectionId) {
        let Some(connection) = self.connection(id) else { return };
        let Some(agreement) = connection.agreement.clone() else { return };
        let Some(local) = connection.local else { return };
        connection.stage = Stage::Established;
        connection.heard(now);
        let others = self.connections.iter().filter(|other| other.id != id);
        for other in others.map(|other| other.id).collect::<Vec<_>>() {
            self.close_silently(other);
        }
        self.backoff.established();
        self.retry_at = None;
        self.error_wait = false;
        self.reason.clear();
        self.told = false;
        self.heard = false;
        self.actions.push(Action::Up(Box::new(agreement.clone()), local));

        let restart = agreement.restart.as_ref();
        self.awaited = restart.map(|_| agreement.families.clone()).unwrap_or_default();
        self.synchronized |= restart.is_none_or(|restart| restart.restarting);
        let forwarded = restart::forwarded(&agreement);
        let Some(stale) = self.stale.take() else { return };
        let kept = |family: &Family| forwarded.contains(family);
        let (families, gone) = stale.families.into_iter().partition::<Vec<_>, _>(kept);
        self.actions.extend(gone.into_iter().map(Action::Sweep));
        if !families.is_empty() {
            let until = now + restart::restart_time(&agreement);
            self.stale = Some(Stale { families, until, ..stale });
        }
    }

    /// The peer's routes.
    fn told(&mut self, mut update: Update) {
        self.heard = true;
        if let Some(family) = update.end_of_rib {
            self.awaited.retain(|awaited| *awaited != family);
            self.synchronized |= self.awaited.is_empty();
            if let Some(stale) = &mut self.stale {
                let before = stale.families.len();
                stale.families.retain(|stale| *stale != family);
                if stale.families.len() < before {
                    self.actions.push(Action::Sweep(family));
                }
            }
            self.stale = self.stale.take().filter(|stale| !stale.families.is_empty());
            return;
        }
        // A family that wasn't agreed on is none of this session's (RFC 4760, 7).
        let Some((agreement, _)) = self.agreement() else { return };
        let carried = |prefix: &IpNet| {
            agreement.families.contains(match prefix {
                IpNet::V4(_) => &Family::Ipv4,
                IpNet::V6(_) => &Family::Ipv6,
            })
        };
        update.withdrawn.retain(carried);
        update.announced.retain(|announced| announced.prefixes.first().is_some_and(carried));
        self.actions.push(Action::Update(update));
    }
}

/// A message's type (RFC 4271, 4.1; RFC 2918, 3).
fn kind(message: &Message) -> u8 {
    match message {
        Message::Open(_) => 1,
        Message::Update(_) => 2,
        Message::Notification(_) => 3,
        Message::Keepalive => 4,
        Message::RouteRefresh(_) => 5,
    }
}

//! Tables of the state machine.

use super::limits::{CONNECT_TIMEOUT, OPEN_WAIT, SEND_HOLD_MIN};
use super::{Action, Event, Session};
use crate::configuration::{HOLD_TIME_DEFAULT, Peer, PeerKind};
use crate::speaker::ConnectionId;
use crate::status::SessionState::{
    self, Active, Connect, Established, Idle, OpenConfirm, OpenSent,
};
use crate::wire::{
    Agreed, Capability, Cease, Family, GracefulRestart, Message, Notification, Open, Update,
};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

const OWN_ID: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 5);
/// The first attempt, and what the peer has made.
const ATTEMPT: ConnectionId = 2;
const ACCEPTED: ConnectionId = 1;

fn peer() -> Peer {
    Peer::new(PeerKind::NodeMesh, [10, 0, 0, 7].into(), 64512, 64512)
}

fn restart(notification: bool, forwarding: bool) -> Capability {
    Capability::GracefulRestart(GracefulRestart {
        restarting: false,
        notification,
        restart_time: 120,
        families: vec![(Family::Ipv4, forwarding)],
    })
}

/// The peer's OPEN.
fn open(last_octet: u8, capabilities: &[Capability]) -> Open {
    Open {
        autonomous_system: 64512,
        hold_time: HOLD_TIME_DEFAULT,
        router_id: Ipv4Addr::new(10, 0, 0, last_octet),
        capabilities: [Capability::FourOctetAs(64512), Capability::Multiprotocol(Family::Ipv4)]
            .iter()
            .chain(capabilities)
            .cloned()
            .collect(),
    }
}

fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = vec![];
    let agreed = Agreed { four_octet_as: true, external: false };
    message.encode(agreed, &mut bytes);
    bytes
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

fn end_point() -> SocketAddr {
    SocketAddr::new([10, 0, 0, 5].into(), 179)
}

fn started(peer: Peer) -> Session {
    let mut session = Session::new("Mesh_10_0_0_7", peer, OWN_ID, ATTEMPT, false);
    session.on(seconds(0), Event::Start);
    session
}

fn receive(session: &mut Session, id: ConnectionId, message: &Message) -> Vec<Action> {
    session.on(seconds(1), Event::Received(id, bytes(message)))
}

/// A session whose attempt has come that far, the peer having sent this OPEN.
fn at(state: SessionState, theirs: Open) -> Session {
    let mut session = started(peer());
    if state >= OpenSent {
        session.on(seconds(1), Event::Connected(ATTEMPT, end_point()));
    }
    if state >= OpenConfirm {
        receive(&mut session, ATTEMPT, &Message::Open(theirs));
    }
    if state >= Established {
        receive(&mut session, ATTEMPT, &Message::Keepalive);
    }
    assert_eq!(session.state().0, state);
    session
}

/// The NOTIFICATION that a connection is closed with.
fn last_words(actions: &[Action], id: ConnectionId) -> Option<(u8, u8)> {
    actions.iter().find_map(|action| match action {
        Action::Close(closed, last) if *closed == id && !last.is_empty() => {
            let mut rest = &last[..];
            // Whatever waited goes out before it.
            while rest[18] != 3 {
                rest = &rest[usize::from(u16::from_be_bytes([rest[16], rest[17]]))..];
            }
            Some((rest[19], rest[20]))
        }
        _ => None,
    })
}

#[test]
fn each_message_in_each_state() {
    let update = || {
        Message::Update(Update {
            withdrawn: vec!["10.1.0.0/16".parse().unwrap()],
            ..Update::default()
        })
    };
    let refresh = || Message::RouteRefresh(Some(Family::Ipv4));
    let theirs = || Message::Open(open(7, &[]));
    let cease = || Message::Notification(Notification::cease(Cease::OutOfResources));
    let table = [
        (OpenSent, theirs(), OpenConfirm, None),
        (OpenSent, Message::Keepalive, Idle, Some((5, 1))),
        (OpenSent, update(), Idle, Some((5, 1))),
        (OpenSent, refresh(), Idle, Some((5, 1))),
        (OpenSent, cease(), Idle, None),
        (OpenConfirm, theirs(), Idle, Some((5, 2))),
        (OpenConfirm, Message::Keepalive, Established, None),
        (OpenConfirm, update(), Idle, Some((5, 2))),
        (OpenConfirm, refresh(), Idle, Some((5, 2))),
        (OpenConfirm, cease(), Idle, None),
        (Established, theirs(), Idle, Some((5, 3))),
        (Established, Message::Keepalive, Established, None),
        (Established, update(), Established, None),
        (Established, refresh(), Established, None),
        (Established, cease(), Idle, None),
    ];
    for (state, message, next, told) in table {
        let mut session = at(state, open(7, &[]));
        let actions = receive(&mut session, ATTEMPT, &message);
        assert_eq!(session.state().0, next, "{message:?} in {state:?}");
        assert_eq!(last_words(&actions, ATTEMPT), told, "{message:?} in {state:?}");
        assert_eq!(session.reason(seconds(1)).is_none(), next == Established);
    }
}

#[test]
fn each_other_event_in_each_state() {
    type Row = (SessionState, Event, u64, SessionState);
    let closed = || Event::Closed(ATTEMPT, "Connection reset by peer".into());
    let failed = || Event::ConnectFailed(ATTEMPT, "Connection refused".into());
    let connected = || Event::Connected(ATTEMPT, end_point());
    let table: [Row; 9] = [
        (Connect, connected(), 1, OpenSent),
        (Connect, failed(), 1, Active),
        (Connect, Event::Tick, CONNECT_TIMEOUT.as_secs(), Active),
        (Connect, Event::Accepted(ACCEPTED, end_point()), 1, OpenSent),
        (OpenSent, closed(), 1, Active),
        (OpenSent, Event::Tick, 1 + OPEN_WAIT.as_secs(), Active),
        (OpenConfirm, closed(), 1, Active),
        (Established, closed(), 1, Active),
        (Established, Event::Tick, 1 + u64::from(HOLD_TIME_DEFAULT), Active),
    ];
    for (state, event, time, next) in table {
        let mut session = at(state, open(7, &[]));
        let text = format!("{event:?} in {state:?}");
        session.on(seconds(time), event);
        assert_eq!(session.state().0, next, "{text}");
        if next == Active {
            let due = session.deadline().expect("another attempt");
            let actions = session.on(due, Event::Tick);
            assert!(matches!(actions[..], [Action::Connect(id), ..] if id > ATTEMPT), "{text}");
        }
    }
}

#[test]
fn opens_that_are_refused() {
    let good = || open(7, &[]);
    let other = |capability: Capability| Open { capabilities: vec![capability], ..good() };
    let table = [
        (
            Open { autonomous_system: 65001, ..other(Capability::FourOctetAs(65001)) },
            (2, 2),
            "AS 65001, the configuration says 64512",
        ),
        (Open { router_id: OWN_ID, ..good() }, (2, 3), "this node's own"),
        (other(Capability::Multiprotocol(Family::Ipv6)), (2, 7), "carries no Ipv4"),
    ];
    for (theirs, told, words) in table {
        let mut session = at(OpenSent, good());
        let actions = receive(&mut session, ATTEMPT, &Message::Open(theirs));
        assert_eq!(last_words(&actions, ATTEMPT), Some(told));
        let reason = session.reason(seconds(1)).expect("a reason");
        assert!(reason.contains(words), "{reason}");
    }
}

#[test]
fn an_error_is_shown_until_something_else_is_known() {
    let closed = || Event::Closed(ACCEPTED, "reset".into());
    let capabilities = vec![Capability::FourOctetAs(65001)];
    let wrong = Open { autonomous_system: 65001, capabilities, ..open(7, &[]) };
    let table: [(&str, &[Event], &str); 4] = [
        ("closed without a word", &[closed()], "Bad Peer AS"),
        ("and again", &[closed(), Event::Accepted(ACCEPTED, end_point()), closed()], "Bad Peer AS"),
        ("unreachable", &[Event::ConnectFailed(ATTEMPT + 2, "refused".into())], "refused"),
        (
            "configured anew",
            &[
                Event::Configure { peer: Box::new(peer()), router_id: OWN_ID, reset: true },
                Event::Accepted(ACCEPTED, end_point()),
                closed(),
            ],
            "reset",
        ),
    ];
    for (what, events, words) in table {
        let mut session = at(OpenSent, wrong.clone());
        receive(&mut session, ATTEMPT, &Message::Open(wrong.clone()));
        match events[0] {
            Event::ConnectFailed(..) => {
                let due = session.deadline().expect("another attempt");
                session.on(due, Event::Tick);
            }
            _ => drop(session.on(seconds(2), Event::Accepted(ACCEPTED, end_point()))),
        }
        for event in events {
            session.on(seconds(60), event.clone());
        }
        let reason = session.reason(seconds(60)).expect("a reason");
        assert!(reason.contains(words), "{what}: {reason}");
    }
    // Once the session has been up, it isn't of before.
    let mut session = at(OpenSent, wrong.clone());
    receive(&mut session, ATTEMPT, &Message::Open(wrong));
    session.on(seconds(2), Event::Accepted(ACCEPTED, end_point()));
    receive(&mut session, ACCEPTED, &Message::Open(open(7, &[])));
    receive(&mut session, ACCEPTED, &Message::Keepalive);
    session.on(seconds(3), closed());
    assert_eq!(session.reason(seconds(3)).as_deref(), Some("reset"));
}

#[test]
fn hold_and_keepalive_times_are_the_smaller_ones() {
    let table = [
        (240, 90, None, Some((90, 30))),
        (240, 90, Some(10), Some((90, 10))),
        (240, 90, Some(60), Some((90, 30))),
        (30, 240, None, Some((30, 10))),
        (0, 240, None, None),
        (240, 0, Some(5), None),
    ];
    for (own, theirs, keepalive_time, expected) in table {
        let peer = Peer { hold_time: own, keepalive_time, ..peer() };
        let theirs = Open { hold_time: theirs, ..open(7, &[]) };
        let agreement = super::open::agree(&peer, OWN_ID, &theirs).expect("a good OPEN");
        let times = agreement.hold_time.zip(agreement.keepalive_time);
        assert_eq!(times.map(|(a, b)| (a.as_secs(), b.as_secs())), expected);
    }
}

/// RFC 4271, 6.8: the connection that the higher identifier's side has made stays, whichever
/// brings the OPEN first and whenever the other comes to stand.
#[test]
fn of_two_connections_the_higher_identifiers_stays() {
    for last_octet in [3, 7] {
        let kept = if last_octet > 5 { ACCEPTED } else { ATTEMPT };
        let lost = ACCEPTED + ATTEMPT - kept;
        for order in 0..4 {
            let mut session = started(peer());
            let theirs = Message::Open(open(last_octet, &[]));
            let connected = Event::Connected(ATTEMPT, end_point());
            let accepted = Event::Accepted(ACCEPTED, end_point());
            let (first, second) =
                if order % 2 == 0 { (ATTEMPT, connected) } else { (ACCEPTED, accepted) };
            let other = match first {
                ATTEMPT => Event::Accepted(ACCEPTED, end_point()),
                _ => Event::Connected(ATTEMPT, end_point()),
            };
            session.on(seconds(1), second);
            let mut actions = vec![];
            if order < 2 {
                actions.extend(receive(&mut session, first, &theirs));
                actions.extend(session.on(seconds(1), other));
            } else {
                actions.extend(session.on(seconds(1), other));
                actions.extend(receive(&mut session, first, &theirs));
            }
            assert_eq!(last_words(&actions, lost), Some((6, 7)), "{last_octet} {order}");
            if kept != first {
                receive(&mut session, kept, &theirs);
            }
            receive(&mut session, kept, &Message::Keepalive);
            assert_eq!(session.established(), Some(kept));
        }
    }
}

#[test]
fn a_second_connection_beside_a_running_one() {
    // The peer restarts gracefully: the new one takes over, its OPEN given.
    let mut session = at(Established, open(7, &[restart(true, true)]));
    session.on(seconds(2), Event::Accepted(ACCEPTED, end_point()));
    assert_eq!(session.established(), Some(ATTEMPT));
    let theirs = Message::Open(open(7, &[restart(true, true)]));
    let actions = receive(&mut session, ACCEPTED, &theirs);
    assert!(actions.contains(&Action::Close(ATTEMPT, vec![])));
    assert!(actions.contains(&Action::Down(vec![Family::Ipv4])));
    assert_eq!(session.state().0, OpenConfirm);
    // It does not: the running one stays.
    let mut session = at(Established, open(7, &[]));
    session.on(seconds(2), Event::Accepted(ACCEPTED, end_point()));
    let actions = receive(&mut session, ACCEPTED, &Message::Open(open(7, &[])));
    assert_eq!(last_words(&actions, ACCEPTED), Some((6, 7)));
    assert_eq!(session.established(), Some(ATTEMPT));
}

#[test]
fn which_losses_keep_routes() {
    let ipv4 = || vec![Family::Ipv4];
    let cease = |why| Event::Received(ATTEMPT, bytes(&Message::Notification(why)));
    let shutdown = || cease(Notification::cease(Cease::AdministrativeReset));
    let hard = || cease(Notification::hard_reset(&Notification::cease(Cease::PeerDeconfigured)));
    let closed = || Event::Closed(ATTEMPT, "reset".into());
    let hold = seconds(1 + u64::from(HOLD_TIME_DEFAULT));
    let table = [
        (vec![], seconds(2), closed(), vec![]),
        (vec![restart(false, true)], seconds(2), closed(), ipv4()),
        (vec![restart(false, true)], seconds(2), shutdown(), vec![]),
        (vec![restart(true, true)], seconds(2), shutdown(), ipv4()),
        (vec![restart(true, true)], seconds(2), hard(), vec![]),
        (vec![restart(false, true)], hold, Event::Tick, vec![]),
        (vec![restart(true, true)], hold, Event::Tick, ipv4()),
    ];
    for (capabilities, time, event, kept) in table {
        let mut session = at(Established, open(7, &capabilities));
        let text = format!("{capabilities:?} {event:?}");
        let actions = session.on(time, event);
        assert!(actions.contains(&Action::Down(kept.clone())), "{text}: {actions:?}");
        let reason = session.reason(time).expect("a reason");
        assert_eq!(reason.contains("its routes are kept"), !kept.is_empty(), "{text}: {reason}");
    }
}

#[test]
fn kept_routes_go_when_the_new_session_says_so() {
    let end_of_rib =
        Message::Update(Update { end_of_rib: Some(Family::Ipv4), ..Update::default() });
    for (forwarding, at_once) in [(true, false), (false, true)] {
        let mut session = at(Established, open(7, &[restart(true, true)]));
        session.on(seconds(2), Event::Closed(ATTEMPT, "reset".into()));
        session.on(seconds(3), Event::Accepted(ACCEPTED, end_point()));
        let theirs = Message::Open(open(7, &[restart(true, forwarding)]));
        receive(&mut session, ACCEPTED, &theirs);
        let actions = receive(&mut session, ACCEPTED, &Message::Keepalive);
        let swept = Action::Sweep(Family::Ipv4);
        assert_eq!(actions.contains(&swept), at_once);
        let actions = receive(&mut session, ACCEPTED, &end_of_rib);
        assert_eq!(actions.contains(&swept), !at_once);
        assert!(session.synchronized());
    }
}

#[test]
fn a_second_loss_before_anything_was_told_keeps_what_was_kept_no_longer() {
    let theirs = Message::Open(open(7, &[restart(true, true)]));
    let mut session = at(Established, open(7, &[restart(true, true)]));
    session.on(seconds(2), Event::Closed(ATTEMPT, "reset".into()));
    session.on(seconds(60), Event::Accepted(ACCEPTED, end_point()));
    receive(&mut session, ACCEPTED, &theirs);
    receive(&mut session, ACCEPTED, &Message::Keepalive);
    let actions = session.on(seconds(61), Event::Closed(ACCEPTED, "reset".into()));
    assert!(actions.contains(&Action::Interrupted));
    assert!(session.reason(seconds(61)).expect("a reason").contains("for 61 s more"));
    let actions = session.on(seconds(122), Event::Tick);
    assert!(actions.contains(&Action::Sweep(Family::Ipv4)));
}

#[test]
fn a_peer_that_takes_nothing_is_given_up() {
    let mut session = at(Established, open(7, &[]));
    session.write(ATTEMPT);
    assert_eq!(session.output_due(seconds(1)), Some(ATTEMPT));
    let mut now = seconds(1);
    while session.established().is_some() {
        now = session.deadline().expect("a timer");
        session.on(now, Event::Received(ATTEMPT, bytes(&Message::Keepalive)));
        session.on(now, Event::Tick);
        assert!(now <= SEND_HOLD_MIN + seconds(1));
    }
    assert_eq!(now, SEND_HOLD_MIN.max(seconds(480)) + seconds(1));
    assert!(session.reason(now).expect("a reason").contains("takes nothing"));
}

#[test]
fn messages_arrive_in_any_pieces() {
    let mut stream = bytes(&Message::Open(open(7, &[])));
    stream.extend(bytes(&Message::Keepalive));
    for size in 1..stream.len() {
        let mut session = at(OpenSent, open(7, &[]));
        for piece in stream.chunks(size) {
            session.on(seconds(1), Event::Received(ATTEMPT, piece.to_vec()));
        }
        assert_eq!(session.established(), Some(ATTEMPT), "in pieces of {size}");
    }
}

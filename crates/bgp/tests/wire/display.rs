//! NOTIFICATIONs in a person's words.

use bgp::status::SessionState;
use bgp::wire::{Cease, Notification};

#[test]
fn notifications_are_readable() {
    let of = Notification::new;
    let text = "shut down for repair";
    let cases = [
        (of(1, 1, &[]), "Message Header Error: Connection Not Synchronized"),
        (of(1, 2, &[0x13, 0x88]), "Message Header Error: Bad Message Length (length 5000)"),
        (of(1, 3, &[9]), "Message Header Error: Bad Message Type (message type 9)"),
        (
            of(2, 1, &[0, 4]),
            "OPEN Message Error: Unsupported Version Number (version 4 is supported)",
        ),
        (
            Notification::bad_peer_as(64999),
            "OPEN Message Error: Bad Peer AS (AS 64999 is not the one configured)",
        ),
        (
            Notification::bad_bgp_identifier([10, 0, 0, 1].into()),
            "OPEN Message Error: Bad BGP Identifier (10.0.0.1)",
        ),
        (
            Notification::unacceptable_hold_time(2),
            "OPEN Message Error: Unacceptable Hold Time (2 seconds)",
        ),
        (
            Notification::unsupported_capability(&[65, 4, 0, 0, 0, 1]),
            "OPEN Message Error: Unsupported Capability (capability 65)",
        ),
        (of(3, 3, &[2]), "UPDATE Message Error: Missing Well-known Attribute (AS_PATH)"),
        (
            of(3, 9, &[0x80, 14, 0]),
            "UPDATE Message Error: Optional Attribute Error (MP_REACH_NLRI)",
        ),
        (
            of(3, 2, &[0x40, 99, 0]),
            "UPDATE Message Error: Unrecognized Well-known Attribute (attribute 99)",
        ),
        (Notification::hold_timer_expired(), "Hold Timer Expired"),
        (
            Notification::unexpected_message(SessionState::OpenSent, 2),
            "Finite State Machine Error: Unexpected message in OpenSent (message type 2)",
        ),
        (Notification::cease(Cease::PeerDeconfigured), "Cease: Peer De-configured"),
        (
            of(6, 1, &[0, 2, 1, 0, 0, 3, 232]),
            "Cease: Maximum Number of Prefixes Reached (at most 1000 of IPv6)",
        ),
        (Notification::shutdown(text), "Cease: Administrative Shutdown (shut down for repair)"),
        (Notification::shutdown("a\u{1b}[31mb"), "Cease: Administrative Shutdown (a[31mb)"),
        (of(6, 2, &[9, b'x']), "Cease: Administrative Shutdown"),
        (
            Notification::hard_reset(&Notification::cease(Cease::AdministrativeReset)),
            "Cease: Hard Reset (Cease: Administrative Reset)",
        ),
        (of(6, 77, &[]), "Cease: subcode 77"),
        (of(99, 0, &[]), "Error code 99"),
        (of(99, 3, &[]), "Error code 99: subcode 3"),
    ];
    for (notification, expected) in cases {
        assert_eq!(notification.to_string(), expected);
    }
}

#[test]
fn a_long_shutdown_text_is_cut_between_characters() {
    let notification = Notification::shutdown(&"ü".repeat(200));
    assert_eq!(notification.data.len(), 255);
    assert_eq!(notification.data[0], 254);
}

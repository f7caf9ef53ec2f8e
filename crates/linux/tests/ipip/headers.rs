//! The outer header as RFC 2003 and RFC 6040 have it.

use crate::node::{TUNNEL, UPLINK, address, pair, pod, run};
use crate::wire::{ICMP, IPIP, Packet, UDP, Wire};

#[test]
fn what_leaves_looks_as_the_kernels_own() {
    let (one, two) = pair();
    let wire = Wire::open(&two.namespace, UPLINK);
    let sent = Wire::open(&one.namespace, TUNNEL);
    let received = Wire::open(&two.namespace, TUNNEL);
    for (tos, ttl) in [(0, 64), (2, 33), (0xb9, 3), (0xbb, 255)] {
        run(&one.pod, &format!("ping -q -c 1 -W 5 -Q {tos} -t {ttl} {}", pod(2)));
        let outer = wire.wait(|it| it.protocol() == IPIP && it.source() == address(1));
        assert!(outer.is_sound(), "{outer:?}");
        assert_eq!((outer.source(), outer.destination()), (address(1), address(2)));
        // One hop less, as the inner one; ECN, and no DSCP; DF.
        assert_eq!((outer.ttl(), outer.tos(), outer.0[6]), (ttl - 1, tos & 3, 0x40));
        let inner = Packet(outer.content().to_vec());
        assert!(inner.is_sound(), "{inner:?}");
        assert_eq!((inner.source(), inner.destination()), (pod(1), pod(2)));
        assert_eq!((inner.ttl(), inner.tos()), (ttl - 1, tos));
        // tcpdump sees it on both tunnels, without the outer header.
        for tunnel in [&sent, &received] {
            assert_eq!(tunnel.wait(|packet| packet.source() == pod(1)).0, inner.0);
        }
        let answer = received.wait(|packet| packet.source() == pod(2));
        assert_eq!(answer.protocol(), ICMP);
    }
}

/// RFC 6040, figure 4: for each inner codepoint, what becomes of it under each outer one.
#[test]
fn congestion_marks_are_joined() {
    let (one, two) = pair();
    let (wire, tunnel) = (Wire::open(&one.namespace, UPLINK), Wire::open(&two.namespace, TUNNEL));
    let joined = [
        (0, [Some(0), Some(0), Some(0), None]),
        (1, [Some(1), Some(1), Some(1), Some(3)]),
        (2, [Some(2), Some(1), Some(2), Some(3)]),
        (3, [Some(3), Some(3), Some(3), Some(3)]),
    ];
    for (inner, expected) in joined {
        for (outer, expected) in (0..).zip(expected) {
            for (dscp, mark) in [(0, 1), (0xb8, 2)] {
                let packet = Packet::datagram(&[inner, outer, mark]).with(1, dscp | inner);
                wire.send(&packet.wrapped().with(1, 0x20 | outer).0);
                // What comes after it, whatever comes.
                wire.send(&Packet::datagram(b"next").wrapped().0);
                let came = tunnel.wait(|packet| packet.protocol() == UDP);
                assert!(came.is_sound());
                if let Some(expected) = expected {
                    assert_eq!(came.tos(), dscp | expected, "{inner} in {outer}");
                    assert_eq!(came.content()[8..], [inner, outer, mark]);
                    tunnel.wait(|packet| packet.content().ends_with(b"next"));
                } else {
                    assert!(came.content().ends_with(b"next"), "{inner} in {outer}");
                }
            }
        }
    }
}

#[test]
fn options_outside_go_with_the_header() {
    let (one, two) = pair();
    let (wire, tunnel) = (Wire::open(&one.namespace, UPLINK), Wire::open(&two.namespace, TUNNEL));
    // No operation, up to the longest header.
    for words in 1..=10 {
        let inner = Packet::datagram(&[words]);
        wire.send(&inner.wrapped().with_options(&vec![1; usize::from(words) * 4]).0);
        assert_eq!(tunnel.wait(|packet| packet.protocol() == UDP).0, inner.0);
    }
    let inner = Packet::datagram(b"inside too").with_options(&[1; 8]);
    wire.send(&inner.wrapped().with_options(&[1; 4]).0);
    assert_eq!(tunnel.wait(|packet| packet.protocol() == UDP).0, inner.0);
}

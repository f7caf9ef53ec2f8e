//! Only whole packets from nodes of the cluster to this node are taken; the host counts others.

use crate::node::{Node, TUNNEL, UPLINK, address, pair, plan, run};
use crate::wire::{IPIP, Packet, UDP, Wire};

/// Sends packets that must not be taken, and then one that must.
fn refused(one: &Node, two: &Node, packets: &[Packet]) {
    let (wire, tunnel) = (Wire::open(&one.namespace, UPLINK), Wire::open(&two.namespace, TUNNEL));
    for packet in packets {
        wire.send(&packet.0);
    }
    wire.send(&Packet::datagram(b"permitted").wrapped().0);
    let came = tunnel.wait(|packet| packet.protocol() == UDP);
    assert!(came.content().ends_with(b"permitted"), "{came:?}");
}

fn inner() -> Packet {
    Packet::datagram(b"refused")
}

#[test]
fn strangers_packets_are_the_hosts_to_count() {
    let (one, two) = pair();
    for command in [
        "add table ip t",
        "add chain ip t input { type filter hook input priority 0 ; }",
        "add rule ip t input ip protocol 4 counter drop",
    ] {
        run(&two.namespace, &format!("nft {command}"));
    }
    let stranger = Packet::new([10, 30, 0, 77].into(), address(2), IPIP, &inner().0);
    refused(&one, &two, &[stranger.clone(), stranger.clone(), stranger]);
    let counted = run(&two.namespace, "nft list chain ip t input");
    assert!(counted.contains("counter packets 3 "), "{counted}");
}

#[test]
fn fragments_and_broken_packets() {
    let (one, two) = pair();
    let whole = inner().wrapped();
    let mut broken = whole.clone();
    broken.0[10] ^= 1;
    let mut long = whole.clone().with(8, 63);
    long.0.truncate(45);
    let mut version = whole.clone();
    version.0[0] = 0x65;
    let elsewhere = Packet::new(address(1), [10, 30, 0, 3].into(), IPIP, &inner().0);
    let congested = whole.clone().with(1, 3);
    let more_fragments = whole.clone().with(6, 0x20);
    let last_fragment = whole.with(7, 3);
    let nothing = Packet::new(address(1), address(2), IPIP, &[]);
    let packets =
        [broken, long, version, elsewhere, congested, more_fragments, last_fragment, nothing];
    refused(&one, &two, &packets);
}

#[test]
fn a_node_that_goes_is_a_stranger_from_then_on() {
    let (one, mut two) = pair();
    let from_3 = Packet::new(address(3), address(2), IPIP, &inner().0);
    refused(&one, &two, std::slice::from_ref(&from_3));
    let changes = two.bring_to(&plan(2, &[1, 3]));
    assert_eq!(changes[0], "tunnel source add 10.30.0.3 dev tunl0");
    let (wire, tunnel) = (Wire::open(&one.namespace, UPLINK), Wire::open(&two.namespace, TUNNEL));
    wire.send(&from_3.0);
    assert_eq!(tunnel.wait(|packet| packet.protocol() == UDP).0, inner().0);
    let changes = two.bring_to(&plan(2, &[1]));
    assert_eq!(changes.last().unwrap(), "tunnel source del 10.30.0.3 dev tunl0");
    refused(&one, &two, &[from_3]);
}

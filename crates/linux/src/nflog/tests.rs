//! On the real kernel, each test in a namespace of its own, with rules made by `nft`.

use super::*;
use crate::test_namespace::{Namespace, feed, run};
use nix::net::if_::if_nametoindex;
use std::net::UdpSocket;

const RULES: &str = "
table inet test {
    chain out {
        type filter hook output priority 0;
        udp dport 53 meta mark set 0x10 log prefix \"DPE0|np/shop/web\" group 2
        icmp type { echo-request, echo-reply } log prefix \"LPE1|gnp/ping\" group 2
        udp dport 9 log prefix \"not read\" group 3
    }
    chain in {
        type filter hook input priority 0;
        ip6 daddr ::1 udp dport 53 log prefix \"DRI\" group 1 drop
        udp dport 7777 log prefix \"flood\" group 1
    }
}";

fn send(from: &str, to: &str, bytes: &[u8]) {
    UdpSocket::bind(from).expect("client").send_to(bytes, to).expect("sent");
}

/// Reads until `count` packets have come; fails after a while.
fn read(reader: &mut NflogReader, count: usize) -> Vec<LoggedPacket> {
    let mut packets = Vec::new();
    for _ in 0..100 {
        if packets.len() >= count {
            break;
        }
        reader.read(Duration::from_millis(100), |packet| packets.push(packet)).expect("read");
    }
    packets
}

#[test]
fn logged_packets_are_told_with_their_prefix() {
    let namespace = Namespace::new();
    namespace.inside(|| {
        feed("nft", &["-f", "-"], RULES).expect("the rules");
        let mut reader = NflogReader::open(&[1, 2]).expect("the groups are free");
        send("127.0.0.1:4001", "127.0.0.2:53", &[7; 1000]);
        send("127.0.0.1:4002", "127.0.0.2:9", b"not read");
        send("[::1]:4003", "[::1]:53", b"dropped");
        run("ping", &["-c", "1", "-I", "127.0.0.1", "127.0.0.2"]);
        // Requests and replies leave by the same chain.
        let packets = read(&mut reader, 5);
        let lo = if_nametoindex("lo").expect("lo");
        let mut told: Vec<_> = packets
            .iter()
            .map(|packet| {
                let LoggedPacket { group, prefix, hook, input, output, mark, tuple } = packet;
                let tuple = tuple.expect("an IP packet");
                let way = (input.map(|index| index == lo), output.map(|index| index == lo));
                format!("{group} {prefix} {hook} {way:?} {mark:#x} {tuple}")
            })
            .collect();
        told.sort();
        assert_eq!(
            told,
            [
                "1 DRI 1 (Some(true), None) 0x10 [::1]:4003 -> ::1 udp/53",
                "2 DPE0|np/shop/web 3 (None, Some(true)) 0x10 127.0.0.1:4001 -> 127.0.0.2 udp/53",
                "2 DPE0|np/shop/web 3 (None, Some(true)) 0x10 [::1]:4003 -> ::1 udp/53",
                "2 LPE1|gnp/ping 3 (None, Some(true)) 0x0 127.0.0.1 -> 127.0.0.2 icmp type 8 code 0",
                "2 LPE1|gnp/ping 3 (None, Some(true)) 0x0 127.0.0.2 -> 127.0.0.1 icmp type 0 code 0",
            ]
        );
        assert_eq!(reader.lost(), Lost::default());
    });
}

#[test]
fn what_is_not_read_in_time_is_counted() {
    let namespace = Namespace::new();
    namespace.inside(|| {
        feed("nft", &["-f", "-"], RULES).expect("the rules");
        let mut reader = NflogReader::open(&[1]).expect("the group is free");
        let socket = UdpSocket::bind("127.0.0.1:4001").expect("client");
        // Far more than the queue's 4 MiB hold.
        for _ in 0..60_000 {
            let _ = socket.send_to(&[0; 200], "127.0.0.2:7777");
        }
        let taken = |reader: &mut NflogReader| {
            let mut taken = 0_u64;
            loop {
                let before = taken;
                let wait = Duration::from_millis(100);
                reader.read(wait, |_| taken += 1).expect("an overrun is no error");
                if taken == before {
                    return taken;
                }
            }
        };
        let mut count = taken(&mut reader);
        assert!(reader.lost().overruns > 0, "{count} were taken");
        // A gap is seen by what comes after it.
        let _ = socket.send_to(&[0; 200], "127.0.0.2:7777");
        count += taken(&mut reader);
        assert_eq!(count + reader.lost().packets, 60_001);
    });
}

#[test]
fn a_group_has_one_reader() {
    let namespace = Namespace::new();
    namespace.inside(|| {
        let first = NflogReader::open(&[1, 2]).expect("the groups are free");
        let error = NflogReader::open(&[3, 2]).err().expect("group 2 is taken");
        assert!(error.to_string().starts_with("NFLOG group 2: another program"), "{error}");
        drop(first);
        NflogReader::open(&[1, 2]).expect("free again");
    });
}

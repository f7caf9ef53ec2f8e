//! Packets of all sizes arrive whole, from pods and from the nodes themselves.

use crate::node::{Node, TUNNEL, pair, pod, run, tunnel};
use linux::netns::NetNs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);

fn udp(namespace: &NetNs, address: Ipv4Addr) -> UdpSocket {
    let socket = namespace.run(|| UdpSocket::bind((address, 0))).unwrap().unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    socket
}

/// The first datagram too, which has to wait for ARP.
fn exchange(one: (&NetNs, Ipv4Addr), two: (&NetNs, Ipv4Addr), sizes: &[usize]) {
    let (from, to) = (udp(one.0, one.1), udp(two.0, two.1));
    let port = to.local_addr().unwrap().port();
    let mut buffer = vec![0; 65_536];
    for size in sizes {
        let data: Vec<u8> = (0..*size).map(|at| (at * 7 + size) as u8).collect();
        from.send_to(&data, (two.1, port)).unwrap();
        let (length, sender) = to.recv_from(&mut buffer).unwrap();
        assert_eq!((&buffer[..length], sender.ip()), (&data[..], one.1.into()), "{size}");
        to.send_to(&buffer[..length], sender).unwrap();
        assert_eq!(from.recv(&mut buffer).unwrap(), *size);
    }
}

#[test]
fn datagrams_between_pods_and_between_nodes() {
    let (one, two) = pair();
    let sizes = [0, 1, 2, 3, 17, 100, 511, 1000, 1451, 1452, 1453, 1471, 3001, 9000, 65_507];
    exchange((&one.pod, pod(1)), (&two.pod, pod(2)), &sizes);
    exchange((&one.namespace, tunnel(1)), (&two.namespace, tunnel(2)), &sizes);
    exchange((&one.namespace, tunnel(1)), (&two.pod, pod(2)), &sizes);
    run(&one.pod, &format!("ping -q -c 3 -i 0.05 -W 5 {}", pod(2)));
    run(&one.namespace, &format!("ping -q -c 3 -i 0.05 -W 5 {}", pod(2)));
}

fn content(seed: u64) -> impl FnMut(&mut [u8]) {
    let mut state = seed;
    move |buffer| {
        for byte in buffer {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
    }
}

/// Sends bytes from one pod to the other, where each is compared.
fn stream(one: &Node, two: &Node, chunks: usize) {
    let listener = two.pod.run(|| TcpListener::bind((pod(2), 0))).unwrap().unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut socket = one.pod.run(|| TcpStream::connect(address)).unwrap().unwrap();
            socket.set_write_timeout(Some(LONG)).unwrap();
            let (mut fill, mut buffer) = (content(1), vec![0; 1 << 20]);
            for _ in 0..chunks {
                fill(&mut buffer);
                socket.write_all(&buffer).unwrap();
            }
        });
        let (mut socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        let (mut fill, mut expected, mut buffer) = (content(1), vec![0; 1 << 20], vec![0; 1 << 20]);
        for chunk in 0..chunks {
            fill(&mut expected);
            socket.read_exact(&mut buffer).unwrap();
            assert!(buffer == expected, "MiB {chunk} differs");
        }
        assert_eq!(socket.read(&mut buffer).unwrap(), 0);
    });
}

#[test]
fn a_stream_arrives_whole_in_large_segments() {
    let (one, two) = pair();
    let megabytes = 128;
    stream(&one, &two, megabytes);
    let (received, sent) = (two.packets(TUNNEL).0, one.packets(TUNNEL).1);
    // One packet for each 1,428 bytes would be 94,000.
    for packets in [received, sent] {
        assert!((megabytes as u64 * 16..40_000).contains(&packets), "{received} {sent}");
    }
}

#[test]
fn a_stream_arrives_whole_without_large_segments() {
    let (one, two) = pair();
    for node in [&one, &two] {
        run(&node.pod, "ip link set eth0 gso_max_segs 1");
        node.ip("link set ens5 gso_max_segs 1");
        node.ip("link set tunl0 gso_max_segs 1");
    }
    stream(&one, &two, 16);
    assert!(two.packets(TUNNEL).0 > 11_000);
}

#[test]
fn counters_count_both_ways() {
    let (one, two) = pair();
    run(&one.pod, &format!("ping -q -c 5 -i 0.05 -W 5 {}", pod(2)));
    for node in [&one, &two] {
        assert_eq!(node.packets(TUNNEL), (5, 5));
    }
}

//! Packets too large for the way: the sender hears of it (RFC 2003, 5.1), and sends smaller ones.

use crate::node::{Node, UPLINK, address, pair, pod, run};
use crate::wire::{ICMP, IPIP, Packet, Wire, checksum};
use std::process::Output;
use std::time::{Duration, Instant};

/// One ping of so many bytes, with or without DF.
fn ping(from: &Node, bytes: usize, discover: &str) -> Output {
    let size = (bytes - 28).to_string();
    let to = pod(3 - from.number).to_string();
    let arguments = ["-c", "1", "-W", "1", "-M", discover, "-s", &size, &to];
    let mut command = std::process::Command::new("ping");
    from.pod.run(|| command.args(arguments).output()).unwrap().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_tunnels_own_mtu_is_told() {
    let (one, _two) = pair();
    run(&one.pod, "ip link set eth0 mtu 1500");
    assert!(ping(&one, 1480, "do").status.success());
    let said = text(&ping(&one, 1481, "do"));
    assert!(said.contains("mtu = 1480"), "{said}");
    assert!(ping(&one, 3000, "dont").status.success());
}

/// Until the sender has learned, and its packets pass.
fn learns(from: &Node, bytes: usize, discover: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while !ping(from, bytes, discover).status.success() {
        assert!(Instant::now() < until, "{bytes} bytes do not pass with {discover}");
    }
}

#[test]
fn a_narrower_way_is_told() {
    let (one, two) = pair();
    for (node, other) in [(&one, 2), (&two, 1)] {
        node.ip(&format!("route add {} dev {UPLINK} mtu lock 1400", address(other)));
    }
    assert!(ping(&one, 1380, "do").status.success());
    let said = text(&ping(&one, 1381, "do"));
    assert!(said.contains("mtu = 1380"), "{said}");
    // Who allows fragments is told too, and makes them before the tunnel.
    learns(&one, 3000, "dont");
}

#[test]
fn a_stream_finds_the_way_narrower() {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    let (one, two) = pair();
    one.ip(&format!("route add {} dev {UPLINK} mtu lock 1400", address(2)));
    let listener = two.pod.run(|| TcpListener::bind((pod(2), 80))).unwrap().unwrap();
    let mut sender = one.pod.run(|| TcpStream::connect((pod(2), 80))).unwrap().unwrap();
    let (mut receiver, _) = listener.accept().unwrap();
    receiver.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let sending = std::thread::spawn(move || sender.write_all(&vec![7; 4 << 20]).unwrap());
    let mut received = Vec::new();
    receiver.read_to_end(&mut received).unwrap();
    sending.join().unwrap();
    assert!(received == vec![7; 4 << 20]);
    let cached = run(&one.pod, &format!("ip route get {}", pod(2)));
    assert!(cached.contains("mtu 1380"), "{cached}");
}

/// A router on the way says what it can carry.
#[test]
fn a_router_on_the_way_is_heard() {
    let (one, two) = pair();
    let wire = Wire::open(&one.namespace, UPLINK);
    // What node 2 has sent, and a router sends back the start of.
    let inner = Packet::new(pod(2), pod(1), ICMP, &[8; 40]);
    let outer = Packet::new(address(2), address(1), IPIP, &inner.0);
    let mut error = vec![3, 4, 0, 0, 0, 0];
    error.extend(1300u16.to_be_bytes());
    error.extend(&outer.0[..28]);
    let sum = checksum(&error).to_be_bytes();
    error[2..4].copy_from_slice(&sum);
    wire.send(&Packet::new([10, 30, 0, 200].into(), address(2), ICMP, &error).0);
    let until = Instant::now() + Duration::from_secs(10);
    while !two.ip(&format!("route get {}", address(1))).contains("mtu 1300") {
        assert!(Instant::now() < until, "{}", two.ip(&format!("route get {}", address(1))));
    }
    let said = text(&ping(&two, 1281, "do"));
    assert!(said.contains("mtu = 1280"), "{said}");
    assert!(ping(&two, 1280, "do").status.success());
}

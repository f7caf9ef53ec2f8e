//! Real packets: pod ── router (the table under test) ── outside.

use super::namespace::{Namespace, run};
use super::*;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

const FREE: &str = "10.1.0.2";
const BLOCKED: &str = "10.1.0.3";

fn ip(command: &str) {
    run("ip", &command.split(' ').collect::<Vec<_>>());
}

#[test]
fn set_drops_and_masquerade_translates() {
    let (pod, router, outside) = (Namespace::new(), Namespace::new(), Namespace::new());
    let mut nft = router.inside(|| {
        for (name, peer, address) in [("in0", &pod, "10.1.0.1"), ("out0", &outside, "10.2.0.1")] {
            ip(&format!("link add {name} type veth peer name eth0 netns {}", peer.path()));
            ip(&format!("addr add {address}/24 dev {name}"));
            ip(&format!("link set {name} up"));
        }
        std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("forwarding");
        Nft::open().expect("socket")
    });
    pod.inside(|| {
        ip(&format!("addr add {FREE}/24 dev eth0"));
        ip(&format!("addr add {BLOCKED}/24 dev eth0"));
        ip("link set eth0 up");
        ip("route add default via 10.1.0.1");
    });
    // Outside has no route to the pod's network: only the router's address can have been the
    // source.
    let server = outside.inside(|| {
        ip("addr add 10.2.0.2/24 dev eth0");
        ip("link set eth0 up");
        UdpSocket::bind("10.2.0.2:7").expect("server")
    });
    server.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    let send = |from: &str, text: &str| {
        pod.inside(|| {
            let socket = UdpSocket::bind((from, 0)).expect("client");
            socket.send_to(text.as_bytes(), "10.2.0.2:7").expect("sent");
        });
    };
    let next = || -> (String, SocketAddr) {
        let mut buffer = [0; 64];
        let (length, from) = server.recv_from(&mut buffer).expect("a packet arrives");
        (String::from_utf8_lossy(&buffer[..length]).into_owned(), from)
    };

    // Packets keep their order, so what comes before another and isn't received was dropped.
    reach(&mut nft, &calico(&["10.1.0.3/32", "10.9.0.0/16"]));
    send(BLOCKED, "blocked");
    send(FREE, "free");
    let (text, from) = next();
    assert_eq!((text.as_str(), from.ip().to_string().as_str()), ("free", "10.2.0.1"));

    reach(&mut nft, &calico(&["10.9.0.0/16"]));
    send(BLOCKED, "no longer blocked");
    let (text, from) = next();
    assert_eq!((text.as_str(), from.ip().to_string().as_str()), ("no longer blocked", "10.2.0.1"));

    reach(&mut nft, &calico(&["10.1.0.3/32"]));
    send(BLOCKED, "blocked again");
    send(FREE, "still free");
    assert_eq!(next().0, "still free");
}

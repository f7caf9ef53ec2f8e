//! Two machines, joined by a cable, and a tunnel between them made by plan.

use crate::machine::{Machine, VXLAN, by, route};
use ipnet::{IpNet, Ipv4Net};
use kernel::{Link, LinkKind, Mac, PROTOCOL_CALICO, State};
use linux::rtnetlink::{Peer, Veth};
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

fn node(number: u8) -> Ipv4Addr {
    [10, 30, 0, number].into()
}

fn tunnel(number: u8) -> Ipv4Addr {
    [192, 168, number, 0].into()
}

fn mac(number: u8) -> Mac {
    Mac([0x66, 0, 0, 0, 0, number])
}

/// What machine `own` wants while machine `other` is the only other.
fn plan(own: u8, other: u8) -> State {
    let mut state = State::default();
    let parent = "wire".to_owned();
    let kind = LinkKind::Vxlan { vni: 4096, port: 4789, local: node(own).into(), parent };
    let link = Link { kind, mtu: 1450, mac: Some(mac(own)), up: true };
    state.links.insert(VXLAN.to_owned(), link);
    state.addresses.insert((VXLAN.to_owned(), IpNet::V4(tunnel(own).into())));
    state.fdb.insert((VXLAN.to_owned(), mac(other)), node(other).into());
    state.neighbors.insert((VXLAN.to_owned(), tunnel(other).into()), mac(other));
    let block: IpNet = Ipv4Net::new(tunnel(other), 26).unwrap().into();
    let target = by(VXLAN, Some(tunnel(other).into()));
    state.routes.extend([route(block, target, PROTOCOL_CALICO, 0)]);
    state
}

#[test]
fn a_tunnel_made_by_plan_carries_packets_both_ways() {
    let (mut one, mut two) = (Machine::new(), Machine::new());
    for machine in [&mut one, &mut two] {
        machine.netlink.delete_link("eth0").unwrap();
    }
    let peer = Peer { name: "wire", mac: None, namespace: Some(&two.namespace) };
    one.veth(&Veth { name: "wire", mtu: 1500, mac: None, peer });
    two.up("wire");
    for (machine, number) in [(&mut one, 1), (&mut two, 2)] {
        let address = IpNet::new(node(number).into(), 24).unwrap();
        machine.netlink.add_address("wire", address).unwrap();
        assert_eq!(machine.bring_to(&plan(number, 3 - number)), Vec::<String>::new());
    }
    let socket = |machine: &Machine, number| {
        let socket = machine.namespace.run(|| UdpSocket::bind((tunnel(number), 7))).unwrap();
        let socket = socket.unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    };
    let (first, second) = (socket(&one, 1), socket(&two, 2));
    let mut buffer = [0; 1400];
    // As large as the tunnel carries in one piece.
    first.send_to(&[7; 1400], (tunnel(2), 7)).unwrap();
    let (length, from) = second.recv_from(&mut buffer).unwrap();
    assert_eq!((length, from.ip()), (1400, tunnel(1).into()));
    second.send_to(&buffer[..length], from).unwrap();
    let (length, from) = first.recv_from(&mut buffer).unwrap();
    assert_eq!((length, from.ip()), (1400, tunnel(2).into()));
    let sent = one.ip(&format!("ip -s link show {VXLAN}"));
    assert!(sent.iter().any(|line| line.contains("1408") || line.contains("1428")), "{sent:#?}");
}

//! Two nodes joined by a cable, `ens5` at both ends, and a pod on each.

use ipnet::{IpNet, Ipv4Net};
use kernel::{
    Link, LinkKind, Mac, Ownership, PROTOCOL_BIRD, Route, RouteKey, RouteTarget, State, TABLE_MAIN,
};
use linux::netns::NetNs;
use linux::rtnetlink::{Peer, Rtnetlink, Veth};
use std::net::Ipv4Addr;
use std::process::Command;

pub(crate) const TUNNEL: &str = "tunl0";
pub(crate) const UPLINK: &str = "ens5";

pub(crate) struct Node {
    pub(crate) number: u8,
    pub(crate) namespace: NetNs,
    pub(crate) netlink: Rtnetlink,
    pub(crate) pod: NetNs,
}

/// A node's address outside.
pub(crate) fn address(number: u8) -> Ipv4Addr {
    [10, 30, 0, number].into()
}

/// Its address on `tunl0`.
pub(crate) fn tunnel(number: u8) -> Ipv4Addr {
    [192, 168, number, 0].into()
}

/// Its pod's address.
pub(crate) fn pod(number: u8) -> Ipv4Addr {
    [192, 168, number, 2].into()
}

pub(crate) fn mac(number: u8) -> Mac {
    Mac([2, 0, 10, 30, 0, number])
}

/// Nodes 1 and 2, with IP-in-IP between them.
pub(crate) fn pair() -> (Node, Node) {
    let (mut one, mut two) = (Node::new(1), Node::new(2));
    let peer = Peer { name: UPLINK, mac: Some(mac(2)), namespace: Some(&two.namespace) };
    let veth = Veth { name: UPLINK, mtu: 1500, mac: Some(mac(1)), peer };
    one.netlink.create_veth(&veth).unwrap();
    for (node, other) in [(&mut one, 2), (&mut two, 1)] {
        node.ip(&format!("addr add {}/24 dev {UPLINK}", address(node.number)));
        node.ip(&format!("link set {UPLINK} up"));
        node.bring_to(&plan(node.number, &[other]));
    }
    (one, two)
}

/// What node `own` wants while `others` are the other nodes.
pub(crate) fn plan(own: u8, others: &[u8]) -> State {
    let mut state = State::default();
    let uplinks = [UPLINK.to_owned()].into();
    let kind = LinkKind::IpipBpf { local: address(own), uplinks };
    state.links.insert(TUNNEL.to_owned(), Link { kind, mtu: 1480, mac: None, up: true });
    state.addresses.insert((TUNNEL.to_owned(), IpNet::V4(tunnel(own).into())));
    let sources = others.iter().map(|other| address(*other)).collect();
    state.decapsulated.insert(TUNNEL.to_owned(), sources);
    for other in others {
        let block = Ipv4Net::new(tunnel(*other), 26).unwrap().into();
        let key = RouteKey { table: TABLE_MAIN, destination: block, metric: 0 };
        let gateway = Some(address(*other).into());
        let target = RouteTarget::Via { device: TUNNEL.to_owned(), gateway, onlink: true };
        state.routes.insert(key, Route { target, protocol: PROTOCOL_BIRD, scope: 0, source: None });
    }
    state.sysctls.insert("net/ipv4/ip_forward".to_owned(), "1".to_owned());
    state
}

pub(crate) fn owned() -> Ownership {
    Ownership {
        route_protocols: [PROTOCOL_BIRD].into(),
        workload_prefixes: [].into(),
        external_workload_routes: false,
        devices: [TUNNEL.to_owned()].into(),
        ..Ownership::default()
    }
}

impl Node {
    fn new(number: u8) -> Node {
        let namespace = NetNs::create().expect("these tests need root");
        let pod_namespace = NetNs::create().unwrap();
        let mut netlink = Rtnetlink::open_in(&namespace).unwrap();
        let eth0 = Peer { name: "eth0", mac: None, namespace: Some(&pod_namespace) };
        let host = Some(Mac([0xee; 6]));
        netlink.create_veth(&Veth { name: "cali1", mtu: 1480, mac: host, peer: eth0 }).unwrap();
        let node = Node { number, namespace, netlink, pod: pod_namespace };
        node.ip("link set lo up");
        node.ip("link set cali1 up");
        node.ip(&format!("route add {} dev cali1", pod(number)));
        for arguments in [
            "link set lo up".to_owned(),
            "link set eth0 up".to_owned(),
            format!("addr add {}/32 dev eth0", pod(number)),
            "route add 169.254.1.1 dev eth0".to_owned(),
            "neigh add 169.254.1.1 dev eth0 lladdr ee:ee:ee:ee:ee:ee".to_owned(),
            "route add default via 169.254.1.1".to_owned(),
        ] {
            run(&node.pod, &format!("ip {arguments}"));
        }
        node
    }

    pub(crate) fn read(&mut self, desired: &State) -> State {
        let Node { namespace, netlink, .. } = self;
        let paths = desired.sysctls.keys().map(String::as_str);
        namespace.run(|| linux::apply::read_state(netlink, paths)).unwrap().unwrap()
    }

    /// Brings the kernel to a state, which it then has.
    pub(crate) fn bring_to(&mut self, desired: &State) -> Vec<String> {
        let actual = self.read(desired);
        let changes = kernel::diff(desired, &actual, &owned());
        let Node { namespace, netlink, .. } = self;
        let failed = namespace.run(|| linux::apply::apply(netlink, &changes)).unwrap();
        let failed: Vec<_> = failed.into_iter().map(|(_, error)| error.to_string()).collect();
        assert_eq!(failed, Vec::<String>::new());
        let after = self.read(desired);
        assert_eq!(kernel::diff(desired, &after, &owned()), vec![]);
        changes.iter().map(ToString::to_string).collect()
    }

    pub(crate) fn ip(&self, arguments: &str) -> String {
        run(&self.namespace, &format!("ip {arguments}"))
    }

    /// Packets that a device has (received, sent), as `ip -s link` counts them.
    pub(crate) fn packets(&self, device: &str) -> (u64, u64) {
        let text = self.ip(&format!("-s link show {device}"));
        let count = |after: &str| {
            let line = text.lines().skip_while(|line| !line.trim().starts_with(after)).nth(1);
            line.unwrap().split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        (count("RX:"), count("TX:"))
    }
}

/// What a command says in a namespace; it must succeed.
pub(crate) fn run(namespace: &NetNs, command: &str) -> String {
    let mut words = command.split(' ');
    let mut command = Command::new(words.next().unwrap());
    let output = namespace.run(|| command.args(words).output()).unwrap().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

//! A machine in a namespace of its own: an uplink and two pods' devices, all up.

use ipnet::IpNet;
use kernel::{Mac, Ownership, Route, RouteKey, RouteTarget, State, TABLE_MAIN};
use linux::netns::NetNs;
use linux::rtnetlink::{LinkSettings, Peer, Rtnetlink, Veth};
use std::net::IpAddr;
use std::process::Command;

pub(crate) const VXLAN: &str = "vxlan.calico";

pub(crate) struct Machine {
    pub(crate) namespace: NetNs,
    pub(crate) netlink: Rtnetlink,
}

impl Machine {
    pub(crate) fn new() -> Machine {
        let namespace = NetNs::create().expect("these tests need root");
        let netlink = Rtnetlink::open_in(&namespace).unwrap();
        // No link-local addresses, which come when they like.
        let path = "net/ipv6/conf/default/addr_gen_mode";
        namespace.run(|| linux::sysctl::write(path, "1")).unwrap().unwrap();
        let mut machine = Machine { namespace, netlink };
        for name in ["eth0", "cali1", "cali2"] {
            let peer = format!("{name}-peer");
            let peer = Peer { name: &peer, mac: None, namespace: None };
            machine.veth(&Veth { name, mtu: 1500, mac: Some(Mac([0xee; 6])), peer });
        }
        machine.up("lo");
        machine.netlink.add_address("eth0", "10.30.0.136/24".parse().unwrap()).unwrap();
        machine
    }

    /// Makes both ends, up where they are in this namespace.
    pub(crate) fn veth(&mut self, veth: &Veth<'_>) {
        self.netlink.create_veth(veth).unwrap();
        self.up(veth.name);
        if veth.peer.namespace.is_none() {
            self.up(veth.peer.name);
        }
    }

    pub(crate) fn up(&mut self, name: &str) {
        let up = LinkSettings { up: Some(true), ..LinkSettings::default() };
        self.netlink.set_link(name, &up).unwrap();
    }

    pub(crate) fn read(&mut self, desired: &State) -> State {
        let Machine { namespace, netlink } = self;
        let paths = desired.sysctls.keys().map(String::as_str);
        namespace.run(|| linux::apply::read_state(netlink, paths)).unwrap().unwrap()
    }

    /// Brings the kernel to a state; what it refused.
    pub(crate) fn bring_to(&mut self, desired: &State) -> Vec<String> {
        let actual = self.read(desired);
        let changes = kernel::diff(desired, &actual, &owned());
        let Machine { namespace, netlink } = self;
        let failed = namespace.run(|| linux::apply::apply(netlink, &changes)).unwrap();
        failed.into_iter().map(|(change, error)| format!("{change}: {error}")).collect()
    }

    /// What iproute2 says in this namespace: the lines, without spaces at their ends.
    pub(crate) fn ip(&self, arguments: &str) -> Vec<String> {
        let mut words = arguments.split(' ');
        let mut command = Command::new(words.next().unwrap());
        let output = self.namespace.run(|| command.args(words).output()).unwrap().unwrap();
        assert!(output.status.success(), "{arguments}: {output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| line.trim_end().to_owned()).collect()
    }
}

pub(crate) fn owned() -> Ownership {
    Ownership {
        route_protocols: [kernel::PROTOCOL_CALICO].into(),
        kept_protocols: <_>::default(),
        workload_prefixes: ["cali".to_owned()].into(),
        external_workload_routes: true,
        devices: [VXLAN.to_owned()].into(),
    }
}

pub(crate) fn route(to: IpNet, target: RouteTarget, protocol: u8, scope: u8) -> (RouteKey, Route) {
    let key = RouteKey { table: TABLE_MAIN, destination: to, metric: 0 };
    (key, Route { target, protocol, scope, source: None })
}

pub(crate) fn by(device: &str, gateway: Option<IpAddr>) -> RouteTarget {
    RouteTarget::Via { device: device.to_owned(), gateway, onlink: gateway.is_some() }
}

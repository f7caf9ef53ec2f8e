//! Plan, apply and read: what is read is what was desired, in iproute2's eyes too.

use crate::machine::{Machine, VXLAN, by, owned, route};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kernel::{
    Link, LinkKind, Mac, PROTOCOL_BOOT, PROTOCOL_CALICO, RouteTarget, SCOPE_LINK, SCOPE_UNIVERSE,
    State,
};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn any_tunnel() -> impl Strategy<Value = Link> {
    let ports = prop::sample::select(vec![4789u16, 8472]);
    (4096..4098u32, ports, 1400..1402u32, 0..2u8).prop_map(|(vni, port, mtu, mac)| Link {
        kind: LinkKind::Vxlan {
            vni,
            port,
            local: Ipv4Addr::new(10, 30, 0, 136).into(),
            parent: "eth0".to_owned(),
        },
        mtu,
        mac: Some(Mac([0x66, 0, 0, 0, 0, mac])),
        up: true,
    })
}

fn any_target() -> impl Strategy<Value = (RouteTarget, u8, u8)> {
    (0..5usize, any::<bool>()).prop_map(|(out, gateway)| {
        let far = |last| gateway.then_some(IpAddr::from([192, 168, 10, last]));
        match out {
            0 => (RouteTarget::Blackhole, PROTOCOL_CALICO, SCOPE_UNIVERSE),
            1 => (by("eth0", Some([10, 30, 0, 1].into())), PROTOCOL_CALICO, SCOPE_UNIVERSE),
            2 => (by("cali1", None), PROTOCOL_BOOT, SCOPE_LINK),
            3 => (by("cali2", None), PROTOCOL_CALICO, SCOPE_LINK),
            _ => (by(VXLAN, far(1)), PROTOCOL_CALICO, if gateway { 0 } else { SCOPE_LINK }),
        }
    })
}

fn any_destination() -> impl Strategy<Value = IpNet> {
    let ipv4 = (0..4u8, 24..33u8)
        .prop_map(|(net, length)| Ipv4Net::new([192, 168, net, 0].into(), length).unwrap().into());
    let ipv6 = (0..4u16, 64..129u8).prop_map(|(net, length)| {
        let address = Ipv6Addr::new(0xfd00, 0, 0, net, 0, 0, 0, 0);
        Ipv6Net::new(address, length).unwrap().into()
    });
    prop_oneof![3 => ipv4, 1 => ipv6]
}

prop_compose! {
    fn any_desired()(
        tunnel in prop::option::weighted(0.8, any_tunnel()),
        addresses in prop::collection::btree_set((0..4u8, 3..5u8), 0..3),
        forwarding in prop::collection::vec((0..4u8, 0..4u8, 0..4u8), 0..6),
        routes in prop::collection::vec((any_destination(), any_target(), 0..2u32), 0..12),
        forward in 0..2u8,
    ) -> State {
        let mut state = State::default();
        let has_tunnel = tunnel.is_some();
        state.links.extend(tunnel.map(|link| (VXLAN.to_owned(), link)));
        let at = VXLAN.to_owned();
        if has_tunnel {
            for (last, eighths) in addresses {
                let net = Ipv4Net::new([192, 168, 9, last].into(), eighths * 8).unwrap();
                state.addresses.insert((at.clone(), net.into()));
            }
            for (mac, address, remote) in forwarding {
                let mac = Mac([6, 0, 0, 0, 0, mac]);
                state.fdb.insert((at.clone(), mac), [10, 30, 0, remote].into());
                state.neighbors.insert((at.clone(), [192, 168, 8, address].into()), mac);
            }
            state.sysctls.insert(format!("net/ipv4/conf/{VXLAN}/forwarding"), forward.to_string());
        }
        for (to, (target, protocol, scope), metric) in routes {
            let (mut key, route) = route(to, target, protocol, scope);
            key.metric = metric * 100;
            let same_family = match &route.target {
                RouteTarget::Via { gateway: Some(far), .. } => far.is_ipv4() == to.addr().is_ipv4(),
                _ => true,
            };
            if same_family && (has_tunnel || route.device() != Some(VXLAN)) {
                state.routes.insert(key, route);
            }
        }
        state
    }
}

/// Every route as iproute2 prints it: `describe` says the same.
fn compare_with_iproute2(machine: &mut Machine, desired: &State) {
    let state = machine.read(desired);
    let mut ours: Vec<_> = state
        .routes
        .iter()
        .filter(|(key, _)| key.destination.addr().is_ipv4())
        .map(|(key, route)| key.describe(route).to_string())
        .collect();
    let mut theirs = machine.ip("ip -4 route show");
    theirs.iter_mut().for_each(|line| *line = line.replace("  ", " ").replace(" linkdown", ""));
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);

    let neighbors = state.neighbors.iter();
    let mut ours: Vec<_> = neighbors
        .map(|((device, address), mac)| format!("{address} dev {device} lladdr {mac} PERMANENT"))
        .collect();
    let mut theirs = machine.ip("ip neigh show nud permanent");
    ours.sort();
    theirs.sort();
    assert_eq!(ours, theirs);

    if state.links.contains_key(VXLAN) {
        let fdb = state.fdb.iter();
        let mut ours: Vec<_> =
            fdb.map(|((_, mac), remote)| format!("{mac} dst {remote} self permanent")).collect();
        let mut theirs = machine.ip(&format!("bridge fdb show dev {VXLAN}"));
        ours.sort();
        theirs.sort();
        assert_eq!(ours, theirs);
        let LinkKind::Vxlan { vni, port, .. } = state.links[VXLAN].kind else { panic!("kind") };
        let link = machine.ip(&format!("ip -d link show {VXLAN}")).join(" ");
        let wanted =
            format!("vxlan id {vni} local 10.30.0.136 dev eth0 srcport 0 0 dstport {port}");
        assert!(link.contains(&wanted), "{link}");
        assert!(link.contains("nolearning"), "{link}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        ..ProptestConfig::with_cases(32)
    })]

    #[test]
    fn what_is_read_is_what_was_desired(states in prop::collection::vec(any_desired(), 1..4)) {
        let mut machine = Machine::new();
        let before = machine.read(&State::default());
        for desired in &states {
            prop_assert_eq!(machine.bring_to(desired), Vec::<String>::new());
            let actual = machine.read(desired);
            prop_assert_eq!(kernel::diff(desired, &actual, &owned()), vec![], "{:#?}", actual);
            compare_with_iproute2(&mut machine, desired);
        }
        // And nothing else has moved.
        prop_assert_eq!(machine.bring_to(&State::default()), Vec::<String>::new());
        prop_assert_eq!(machine.read(&State::default()), before);
    }
}

#[test]
fn a_foreign_route_of_the_same_key_is_replaced() {
    let mut machine = Machine::new();
    machine.ip("ip route add 192.168.1.0/26 dev eth0 proto static");
    machine.ip("ip route add 192.168.1.0/26 dev eth0 proto static metric 7");
    let mut desired = State::default();
    let to = "192.168.1.0/26".parse().unwrap();
    desired.routes.extend([route(to, RouteTarget::Blackhole, PROTOCOL_CALICO, 0)]);
    assert_eq!(machine.bring_to(&desired), Vec::<String>::new());
    let routes = machine.ip("ip route show 192.168.1.0/26");
    assert_eq!(
        routes,
        [
            "blackhole 192.168.1.0/26 proto 80",
            "192.168.1.0/26 dev eth0 proto static scope link metric 7",
        ]
    );
}

#[test]
fn the_way_to_an_address_is_the_kernels() {
    let mut machine = Machine::new();
    machine.ip("ip route add default via 10.30.0.1 dev eth0");
    let far = machine.netlink.route_get([10, 30, 1, 66].into()).unwrap();
    assert_eq!(far.device, "eth0");
    assert_eq!(far.gateway, Some([10, 30, 0, 1].into()));
    assert_eq!(far.source, Some([10, 30, 0, 136].into()));
    let near = machine.netlink.route_get([10, 30, 0, 56].into()).unwrap();
    assert_eq!((near.device.as_str(), near.gateway), ("eth0", None));
    let own = machine.netlink.route_get([10, 30, 0, 136].into()).unwrap();
    assert!(own.local);
}

use super::*;
use crate::{
    Mac, PROTOCOL_BIRD, PROTOCOL_BOOT, PROTOCOL_CALICO, SCOPE_LINK, SCOPE_UNIVERSE, TABLE_MAIN,
};
use expect_test::expect;
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};

mod ipip;

const VXLAN: &str = "vxlan.calico";
const TUNNELS: [&str; 2] = [VXLAN, "vxlan.other"];
const UPLINKS: [&str; 2] = ["eth0", "eth1"];
const WORKLOADS: [&str; 2] = ["cali1", "cali2"];

fn owned() -> Ownership {
    Ownership {
        route_protocols: [PROTOCOL_CALICO].into(),
        kept_protocols: <_>::default(),
        workload_prefixes: ["cali".to_owned()].into(),
        external_workload_routes: true,
        devices: [VXLAN, "vxlan.other", ipip::TUNNEL].map(str::to_owned).into(),
    }
}

fn other(kind: &str) -> Link {
    Link { kind: LinkKind::Other(kind.to_owned()), mtu: 1500, mac: None, up: true }
}

fn route(to: &str, target: RouteTarget, protocol: u8, scope: u8) -> (RouteKey, Route) {
    let key = RouteKey { table: TABLE_MAIN, destination: to.parse().unwrap(), metric: 0 };
    (key, Route { target, protocol, scope, source: None })
}

fn by(device: &str, gateway: Option<IpAddr>) -> RouteTarget {
    RouteTarget::Via { device: device.to_owned(), gateway, onlink: gateway.is_some() }
}

/// A machine without us: uplinks with an address, a pod's device, and routes of others.
fn machine() -> State {
    let mut state = State::default();
    for name in UPLINKS {
        state.links.insert(name.to_owned(), other(""));
    }
    for name in WORKLOADS {
        state.links.insert(name.to_owned(), other("veth"));
    }
    state.addresses.insert(("eth0".to_owned(), "10.30.0.136/24".parse().unwrap()));
    let gateway = Some(Ipv4Addr::new(10, 30, 0, 1).into());
    state.routes.extend([
        route("0.0.0.0/0", by("eth0", gateway), 16, SCOPE_UNIVERSE),
        route("10.30.0.0/24", by("eth0", None), 2, SCOPE_LINK),
        route("172.31.0.0/16", by("eth1", None), PROTOCOL_BOOT, SCOPE_LINK),
        route("172.30.0.0/16", RouteTarget::Other("multipath".to_owned()), 80, SCOPE_UNIVERSE),
    ]);
    let neighbor = ("eth0".to_owned(), Ipv4Addr::new(10, 30, 0, 1).into());
    state.neighbors.insert(neighbor, Mac([2; 6]));
    state
}

fn tunnel(index: usize) -> impl Strategy<Value = Link> {
    let parents = prop::sample::select(&UPLINKS[..]);
    // A VNI that both tunnels may have had, at different times.
    (0..3u32, parents, 1300..1302u32, 0..2u8, any::<bool>()).prop_map(
        move |(vni, parent, mtu, mac, up)| Link {
            kind: LinkKind::Vxlan {
                vni: vni * 2 + index as u32,
                port: 4789,
                local: Ipv4Addr::new(10, 30, 0, 136).into(),
                parent: parent.to_owned(),
            },
            mtu,
            mac: Some(Mac([0x66, 0, 0, 0, 0, mac])),
            up,
        },
    )
}

fn tunnel_address() -> impl Strategy<Value = IpNet> {
    (0..4u8, prop::sample::select(vec![24u8, 32]))
        .prop_map(|(last, length)| IpNet::new([192, 168, 9, last].into(), length).unwrap())
}

type Forwarding = (u8, u8, u8);

fn any_routes() -> impl Strategy<Value = Vec<(RouteKey, Route)>> {
    let one =
        (0..6u8, 24..33u8, 0..5usize, any::<bool>()).prop_map(|(net, length, out, gateway)| {
            let net = IpNet::new([192, 168, net, 0].into(), length).unwrap().to_string();
            let gateway = gateway.then_some([192, 168, 9, 1].into());
            match out {
                0 => route(&net, RouteTarget::Blackhole, PROTOCOL_CALICO, SCOPE_UNIVERSE),
                1 => route(&net, by(UPLINKS[1], gateway), PROTOCOL_CALICO, SCOPE_UNIVERSE),
                2 => route(&net, by(WORKLOADS[0], None), PROTOCOL_BOOT, SCOPE_LINK),
                3 => route(&net, by(WORKLOADS[1], None), PROTOCOL_CALICO, SCOPE_LINK),
                _ => route(&net, by(VXLAN, gateway), PROTOCOL_CALICO, SCOPE_UNIVERSE),
            }
        });
    prop::collection::vec(one, 0..12)
}

prop_compose! {
    /// Anything the plan could want, and more.
    fn any_desired()(
        first in prop::option::weighted(0.8, tunnel(0)),
        second in prop::option::of(tunnel(0)),
        third in prop::option::of(ipip::by_bpf()),
        addresses in prop::collection::vec((0..2usize, tunnel_address()), 0..4),
        forwarding in prop::collection::vec(any::<Forwarding>(), 0..6),
        routes in any_routes(),
        sysctl in prop::option::of(0..2u8),
    ) -> State {
        let mut state = State::default();
        state.links.extend(first.map(|link| (TUNNELS[0].to_owned(), link)));
        let same_tunnel = |link: &Link| state.links.values().any(|other| {
            matches!((&other.kind, &link.kind),
                (LinkKind::Vxlan { vni: a, .. }, LinkKind::Vxlan { vni: b, .. }) if a == b)
        });
        let second = second.filter(|link| !same_tunnel(link));
        state.links.extend(second.map(|link| (TUNNELS[1].to_owned(), link)));
        if let Some((link, sources)) = third {
            state.links.insert(ipip::TUNNEL.to_owned(), link);
            state.decapsulated.insert(ipip::TUNNEL.to_owned(), sources);
        }
        for (at, net) in addresses {
            if state.has(TUNNELS[at]) {
                state.addresses.insert((TUNNELS[at].to_owned(), net));
            }
        }
        for (key, route) in routes {
            let usable = |name: &str| state.links.get(name).is_some_and(|link| link.up);
            if route.device() != Some(VXLAN) || usable(VXLAN) {
                state.routes.insert(key, route);
            }
        }
        if state.links.get(VXLAN).is_some_and(|link| link.up) {
            for (mac, address, remote) in forwarding {
                let (mac, at) = (Mac([6, 0, 0, 0, 0, mac % 4]), VXLAN.to_owned());
                state.fdb.insert((at.clone(), mac), [10, 30, 0, remote % 4].into());
                state.neighbors.insert((at, [192, 168, 0, address % 4].into()), mac);
            }
            if let Some(value) = sysctl {
                let path = format!("net/ipv4/conf/{VXLAN}/rp_filter");
                state.sysctls.insert(path, value.to_string());
            }
        }
        state.sysctls.insert("net/ipv4/ip_forward".to_owned(), "1".to_owned());
        state
    }
}

/// Makes the changes, each of which must be possible, showing every state on the way.
fn follow(mut state: State, changes: &[Change], mut see: impl FnMut(&State)) -> State {
    for change in changes {
        state.apply(change).unwrap();
        see(&state);
    }
    state
}

fn brought_to(actual: State, desired: &State) -> State {
    let changes = diff(desired, &actual, &owned());
    follow(actual, &changes, |_| ())
}

/// What isn't ours of a state.
fn foreign(mut state: State) -> State {
    let owned = owned();
    state.links.retain(|name, _| !owned.owns_device(name));
    state.addresses.retain(|(device, net)| !owned.owns_address(device, *net));
    state.routes.retain(|key, route| !owned.owns_route(key, route));
    state.neighbors.retain(|(device, _), _| !owned.owns_device(device));
    state.fdb.retain(|(device, _), _| !owned.owns_device(device));
    state.decapsulated.retain(|device, _| !owned.owns_device(device));
    state.sysctls.clear();
    state
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn leads_to_the_desired_state(one in any_desired(), two in any_desired()) {
        let state = brought_to(brought_to(machine(), &one), &two);
        prop_assert_eq!(diff(&two, &state, &owned()), vec![]);
        prop_assert_eq!(diff(&two, &two, &owned()), vec![]);
    }

    #[test]
    fn incremental_equals_from_scratch(states in prop::collection::vec(any_desired(), 1..5)) {
        let last = states.last().unwrap().clone();
        let mut incremental = states.iter().fold(machine(), brought_to);
        let mut scratch = brought_to(machine(), &last);
        // Sysctls are never set back.
        incremental.sysctls.clear();
        scratch.sysctls.clear();
        prop_assert_eq!(incremental, scratch);
    }

    #[test]
    fn touches_nothing_foreign(one in any_desired(), two in any_desired()) {
        let before = brought_to(machine(), &one);
        let changes = diff(&two, &before, &owned());
        let expected = foreign(before.clone());
        let mut seen = Vec::new();
        follow(before, &changes, |state| seen.push(foreign(state.clone())));
        prop_assert!(seen.iter().all(|state| *state == expected), "{changes:#?}");
    }

    #[test]
    fn removes_nothing_before_in_sync(one in any_desired(), two in any_desired()) {
        let before = brought_to(machine(), &one);
        let nothing = Ownership::default();
        let mut desired = two;
        // What would have to be made anew isn't changed either.
        desired.links.retain(|name, link| match before.links.get(name) {
            Some(there) => there.kind == link.kind,
            None => false,
        });
        for change in diff(&desired, &before, &nothing) {
            let removes = matches!(change,
                Change::DeleteLink { .. } | Change::DeleteAddress { .. } | Change::DeleteRoute { .. }
                | Change::DeleteNeighbor { .. } | Change::DeleteFdb { .. });
            prop_assert!(!removes, "{change}");
        }
    }

    /// A destination routed before and after is routed at every step, unless its device had to go.
    #[test]
    fn makes_before_it_breaks(one in any_desired(), two in any_desired()) {
        let before = brought_to(machine(), &one);
        let changes = diff(&two, &before, &owned());
        let moved = |device: &str| changes.iter().any(|change| match change {
            Change::DeleteLink { name } => name == device,
            Change::DeleteAddress { device: on, .. } => on == device,
            Change::UpdateLink { name, up, .. } => name == device && *up == Some(false),
            _ => false,
        });
        let stays = |key: &RouteKey| {
            [&before, &two].iter().all(|state| {
                state.routes.get(key).is_some_and(|route| !route.device().is_some_and(moved))
            })
        };
        let kept: Vec<_> = before.routes.keys().filter(|key| stays(key)).cloned().collect();
        let after = follow(before, &changes, |state| {
            for key in &kept {
                assert!(state.routes.contains_key(key), "{key:?} {changes:#?}");
            }
        });
        prop_assert!(kept.iter().all(|key| after.routes.contains_key(key)));
    }
}

fn vxlan_plan() -> State {
    let mut state = State::default();
    let kind = LinkKind::Vxlan {
        vni: 4096,
        port: 4789,
        local: Ipv4Addr::new(10, 30, 0, 136).into(),
        parent: "eth0".to_owned(),
    };
    let mac = Mac([0x66, 1, 2, 3, 4, 5]);
    let link = Link { kind, mtu: 1450, mac: Some(mac), up: true };
    state.links.insert(VXLAN.to_owned(), link);
    state.addresses.insert((VXLAN.to_owned(), "192.168.1.0/32".parse().unwrap()));
    let (peer, at) = (Mac([0x66, 9, 9, 9, 9, 9]), VXLAN.to_owned());
    state.fdb.insert((at.clone(), peer), Ipv4Addr::new(10, 30, 0, 206).into());
    state.neighbors.insert((at, Ipv4Addr::new(192, 168, 2, 0).into()), peer);
    let gateway = Some(Ipv4Addr::new(192, 168, 2, 0).into());
    state.routes.extend([
        route("192.168.2.0/26", by(VXLAN, gateway), PROTOCOL_CALICO, SCOPE_UNIVERSE),
        route("192.168.1.0/26", RouteTarget::Blackhole, PROTOCOL_CALICO, SCOPE_UNIVERSE),
        route("192.168.1.7/32", by("cali1", None), PROTOCOL_BOOT, SCOPE_LINK),
    ]);
    state.sysctls.insert("net/ipv4/ip_forward".to_owned(), "1".to_owned());
    state.sysctls.insert("net/ipv4/conf/vxlan.calico/rp_filter".to_owned(), "1".to_owned());
    state
}

fn text(changes: &[Change]) -> String {
    changes.iter().map(|change| format!("{change}\n")).collect()
}

#[test]
fn the_first_plan_in_order() {
    expect![[r#"
        sysctl net/ipv4/ip_forward=1
        link add vxlan.calico address 66:01:02:03:04:05 mtu 1450 up type vxlan id 4096 local 10.30.0.136 dev eth0 dstport 4789 nolearning
        sysctl net/ipv4/conf/vxlan.calico/rp_filter=1
        addr add 192.168.1.0/32 dev vxlan.calico
        fdb replace 66:09:09:09:09:09 dev vxlan.calico dst 10.30.0.206 self permanent
        neigh replace 192.168.2.0 lladdr 66:09:09:09:09:09 nud permanent dev vxlan.calico
        route replace 192.168.1.7 dev cali1 scope link
        route replace blackhole 192.168.1.0/26 proto 80
        route replace 192.168.2.0/26 via 192.168.2.0 dev vxlan.calico proto 80 onlink
    "#]].assert_eq(&text(&diff(&vxlan_plan(), &machine(), &owned())));
}

#[test]
fn another_port_makes_the_device_anew() {
    let before = brought_to(machine(), &vxlan_plan());
    let mut desired = vxlan_plan();
    if let Some(Link { kind: LinkKind::Vxlan { port, .. }, .. }) = desired.links.get_mut(VXLAN) {
        *port = 8472;
    }
    expect![[r#"
        link del vxlan.calico
        link add vxlan.calico address 66:01:02:03:04:05 mtu 1450 up type vxlan id 4096 local 10.30.0.136 dev eth0 dstport 8472 nolearning
        sysctl net/ipv4/conf/vxlan.calico/rp_filter=1
        addr add 192.168.1.0/32 dev vxlan.calico
        fdb replace 66:09:09:09:09:09 dev vxlan.calico dst 10.30.0.206 self permanent
        neigh replace 192.168.2.0 lladdr 66:09:09:09:09:09 nud permanent dev vxlan.calico
        route replace 192.168.2.0/26 via 192.168.2.0 dev vxlan.calico proto 80 onlink
    "#]].assert_eq(&text(&diff(&desired, &before, &owned())));
}

#[test]
fn to_direct_and_away() {
    let before = brought_to(machine(), &vxlan_plan());
    let mut desired = vxlan_plan();
    desired.links.clear();
    desired.addresses.clear();
    desired.fdb.clear();
    desired.neighbors.clear();
    desired.sysctls.clear();
    let gateway = Some(Ipv4Addr::new(10, 30, 0, 206).into());
    let direct = route("192.168.2.0/26", by("eth0", gateway), PROTOCOL_CALICO, SCOPE_UNIVERSE);
    desired.routes.extend([direct]);
    expect![[r#"
        route replace 192.168.2.0/26 via 10.30.0.206 dev eth0 proto 80 onlink
        link del vxlan.calico
    "#]]
    .assert_eq(&text(&diff(&desired, &before, &owned())));
    let empty = State::default();
    expect![[r#"
        route del 192.168.1.7 dev cali1 scope link
        route del blackhole 192.168.1.0/26 proto 80
        route del 192.168.2.0/26 via 192.168.2.0 dev vxlan.calico proto 80 onlink
        link del vxlan.calico
    "#]]
    .assert_eq(&text(&diff(&empty, &before, &owned())));
}

/// A restarted BGP speaker has not heard of all routes: what it left in the kernel goes on
/// forwarding, what it has heard replaces it, and other sources' routes go as ever.
#[test]
fn routes_of_a_kept_protocol_are_replaced_and_not_removed() {
    let via = |gateway: [u8; 4]| by("eth0", Some(gateway.into()));
    let bird = |to, target| route(to, target, PROTOCOL_BIRD, SCOPE_UNIVERSE);
    let mut before = machine();
    before.routes.extend([
        bird("192.168.2.0/26", via([10, 30, 0, 2])),
        bird("192.168.3.0/26", via([10, 30, 0, 3])),
        bird("192.168.4.0/26", RouteTarget::Blackhole),
        bird("192.168.5.1/32", by("cali1", None)),
        route("192.168.6.0/26", via([10, 30, 0, 6]), PROTOCOL_CALICO, SCOPE_UNIVERSE),
    ]);
    let mut desired = State::default();
    desired.routes.extend([bird("192.168.2.0/26", via([10, 30, 0, 9]))]);
    let mut owned = owned();
    owned.route_protocols.insert(PROTOCOL_BIRD);
    owned.kept_protocols.insert(PROTOCOL_BIRD);
    expect![[r#"
        route replace 192.168.2.0/26 via 10.30.0.9 dev eth0 proto bird onlink
        route del blackhole 192.168.4.0/26 proto bird
        route del 192.168.6.0/26 via 10.30.0.6 dev eth0 proto 80 onlink
    "#]]
    .assert_eq(&text(&diff(&desired, &before, &owned)));
    owned.kept_protocols.clear();
    let all = text(&diff(&desired, &before, &owned));
    assert!(all.contains("route del 192.168.3.0/26 via 10.30.0.3 dev eth0 proto bird onlink"));
    assert!(all.contains("route del 192.168.5.1 dev cali1 proto bird"));
}

#[test]
fn a_foreign_device_of_a_desired_name_stays() {
    let mut machine = machine();
    machine.links.insert(VXLAN.to_owned(), other("dummy"));
    let mut desired = State::default();
    desired.links.insert(VXLAN.to_owned(), vxlan_plan().links[VXLAN].clone());
    let none = Ownership::default();
    assert_eq!(diff(&desired, &machine, &none), vec![]);
    expect![[r#"
        link del vxlan.calico
        link add vxlan.calico address 66:01:02:03:04:05 mtu 1450 up type vxlan id 4096 local 10.30.0.136 dev eth0 dstport 4789 nolearning
    "#]].assert_eq(&text(&diff(&desired, &machine, &owned())));
}

#[test]
fn ipv6_routes_are_compared_as_the_kernel_keeps_them() {
    let mut desired = State::default();
    desired.routes.extend([route("fd00::/64", by("cali1", None), PROTOCOL_BOOT, SCOPE_LINK)]);
    let mut actual = State::default();
    let (mut key, mut kept) = route("fd00::/64", by("cali1", None), PROTOCOL_BOOT, SCOPE_UNIVERSE);
    key.metric = METRIC_IPV6;
    actual.routes.insert(key.clone(), kept.clone());
    assert_eq!(diff(&desired, &actual, &owned()), vec![]);
    kept.protocol = PROTOCOL_CALICO;
    actual.routes.insert(key, kept);
    expect![[r#"
        route replace fd00::/64 dev cali1 metric 1024
    "#]]
    .assert_eq(&text(&diff(&desired, &actual, &owned())));
}

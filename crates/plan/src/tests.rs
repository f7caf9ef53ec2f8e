//! The table of routing modes, as `ip route` prints it.

use crate::*;
use expect_test::{Expect, expect};
use ipnet::{IpNet, Ipv4Net};
use kernel::{
    Link, LinkKind, Route, RouteKey, RouteTarget, SCOPE_LINK, SCOPE_UNIVERSE, State, TABLE_MAIN,
};
use model::EncapsulationMode::{self, Always, CrossSubnet, Never};
use model::config::{NetworkingBackend as Backend, ProgramClusterRoutes as ClusterRoutes};
use proptest::prelude::*;
use std::net::IpAddr;

fn net(text: &str) -> IpNet {
    text.parse().expect("a prefix")
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Worker-1 of the first walkthrough, as its kernel and the datastore show it.
fn worker_1(ipip: EncapsulationMode, vxlan: EncapsulationMode) -> Topology {
    let mut facts = Facts { ipv6: true, ..Facts::default() };
    let hardware = LinkKind::Other(String::new());
    let link = Link { kind: hardware, mtu: 1500, mac: None, up: true };
    facts.links.insert("ens5".to_owned(), link);
    facts.workload_links.insert("cali4d001776093".to_owned());
    facts.addresses.insert(("ens5".to_owned(), net("10.30.0.206/24")));
    for (destination, gateway, scope) in
        [("0.0.0.0/0", Some("10.30.0.1"), SCOPE_UNIVERSE), ("10.30.0.0/24", None, SCOPE_LINK)]
    {
        let key = RouteKey { table: TABLE_MAIN, destination: net(destination), metric: 0 };
        let target =
            RouteTarget::Via { device: "ens5".to_owned(), gateway: gateway.map(ip), onlink: false };
        facts.routes.insert(key, Route { target, protocol: 2, scope, source: None });
    }
    let node = |address: &str, tunnel: &str| RemoteNode {
        address: address.parse().ok(),
        address_v6: None,
        vxlan_address: tunnel.parse().ok(),
        vxlan_mac: None,
    };
    let pool = Pool {
        name: "default-ipv4-ippool".to_owned(),
        cidr: net("192.168.0.0/16"),
        ipip,
        vxlan,
        nat_outgoing: true,
    };
    let workload = Workload { addresses: [net("192.168.226.65/32")].into() };
    Topology {
        ipip_address: None,
        learned: Learned::default(),
        node: "worker-1".to_owned(),
        address: "10.30.0.206/24".parse::<Ipv4Net>().ok(),
        address_v6: None,
        vxlan_address: "192.168.226.64".parse().ok(),
        nodes: [
            ("worker-2".to_owned(), node("10.30.0.56", "192.168.133.192")),
            ("worker-3".to_owned(), node("10.30.1.66", "192.168.97.192")),
        ]
        .into(),
        pools: vec![pool],
        blocks: [
            (net("192.168.226.64/26"), "worker-1".to_owned()),
            (net("192.168.133.192/26"), "worker-2".to_owned()),
            (net("192.168.97.192/26"), "worker-3".to_owned()),
            (net("192.168.1.0/26"), "a node that is gone".to_owned()),
        ]
        .into(),
        borrowed: [(ip("192.168.226.70"), "worker-2".to_owned())].into(),
        workloads: [("cali4d001776093".to_owned(), workload)].into(),
        facts,
        settings: Settings {
            backend: Backend::Vxlan,
            program_cluster_routes: ClusterRoutes::Enabled,
            mtu_devices: ["ens5".to_owned()].into(),
            ..Settings::default()
        },
    }
}

fn shown(state: &State) -> String {
    let line = |(key, route): (&RouteKey, &Route)| format!("{}\n", key.describe(route));
    state.routes.iter().map(line).collect()
}

fn routes(topology: &Topology, expected: &Expect) {
    expected.assert_eq(&shown(&plan(topology).state));
}

mod bgp;

#[test]
fn vxlan_always_goes_by_the_tunnel_to_every_node() {
    routes(
        &worker_1(Never, Always),
        &expect![[r#"
            192.168.97.192/26 via 192.168.97.192 dev vxlan.calico proto 80 onlink
            192.168.133.192/26 via 192.168.133.192 dev vxlan.calico proto 80 onlink
            blackhole 192.168.226.64/26 proto 80
            192.168.226.65 dev cali4d001776093 scope link
            192.168.226.70 via 192.168.133.192 dev vxlan.calico proto 80 onlink
        "#]],
    );
}

#[test]
fn direct_goes_to_the_node_or_by_the_kernels_own_gateway() {
    routes(
        &worker_1(Never, Never),
        &expect![[r#"
            192.168.97.192/26 via 10.30.0.1 dev ens5 proto 80
            192.168.133.192/26 via 10.30.0.56 dev ens5 proto 80
            blackhole 192.168.226.64/26 proto 80
            192.168.226.65 dev cali4d001776093 scope link
            192.168.226.70 via 10.30.0.56 dev ens5 proto 80
        "#]],
    );
}

#[test]
fn vxlan_cross_subnet_goes_by_the_tunnel_to_other_subnets_only() {
    routes(
        &worker_1(Never, CrossSubnet),
        &expect![[r#"
            192.168.97.192/26 via 192.168.97.192 dev vxlan.calico proto 80 onlink
            192.168.133.192/26 via 10.30.0.56 dev ens5 proto 80
            blackhole 192.168.226.64/26 proto 80
            192.168.226.65 dev cali4d001776093 scope link
            192.168.226.70 via 10.30.0.56 dev ens5 proto 80
        "#]],
    );
}

#[test]
fn the_vxlan_device_knows_every_node_and_is_smaller_than_the_uplink() {
    let plan = plan(&worker_1(Never, Always));
    let device = &plan.state.links[VXLAN_DEVICE];
    assert_eq!((device.mtu, plan.pod_mtu), (1450, 1450));
    assert_eq!(device.mac, Some(vxlan_mac("worker-1")));
    assert_eq!(plan.state.neighbors.len(), 2);
    let key = (VXLAN_DEVICE.to_owned(), vxlan_mac("worker-3"));
    assert_eq!(plan.state.fdb[&key], ip("10.30.1.66"));
    let key = (VXLAN_DEVICE.to_owned(), ip("192.168.97.192"));
    assert_eq!(plan.state.neighbors[&key], vxlan_mac("worker-3"));
    assert_eq!(crate::plan(&worker_1(Never, Never)).pod_mtu, 1500);
}

#[test]
fn nothing_is_routed_by_a_tunnel_whose_end_is_unknown() {
    let mut topology = worker_1(Never, Always);
    topology.vxlan_address = None;
    let plan = plan(&topology);
    let has_gateway =
        |route: &Route| matches!(route.target, RouteTarget::Via { gateway: Some(_), .. });
    assert!(!plan.state.routes.values().any(has_gateway));
    assert!(plan.state.links.is_empty());
}

#[test]
fn a_workload_whose_interface_is_gone_is_not_routed() {
    let mut topology = worker_1(Never, Always);
    topology.facts.workload_links.clear();
    let plan = plan(&topology);
    assert!(!shown(&plan.state).contains("cali4d001776093"));
    assert!(!plan.state.sysctls.keys().any(|path| path.contains("cali4d001776093")));
}

#[test]
fn what_a_plan_makes_is_no_fact() {
    let topology = worker_1(Never, Always);
    let plan = plan(&topology);
    assert!(!plan.state.links.is_empty() && !plan.state.addresses.is_empty());
    let mut actual = plan.state.clone();
    actual.links.extend(topology.facts.links.clone());
    for name in &topology.facts.workload_links {
        actual.links.insert(name.clone(), topology.facts.links["ens5"].clone());
        actual.addresses.insert((name.clone(), net("fe80::1/64")));
    }
    actual.addresses.extend(topology.facts.addresses.clone());
    actual.routes.extend(topology.facts.routes.clone());
    for owned in [Some(&plan.owned), None] {
        assert_eq!(Facts::of(&actual, owned, true), topology.facts);
    }
}

/// A pod's interface is down for a moment while the plugin makes it: a route by it would be refused.
#[test]
fn a_workload_is_not_routed_by_an_interface_that_is_down() {
    let mut topology = worker_1(Never, Always);
    let mut actual = State { links: topology.facts.links.clone(), ..State::default() };
    for up in [false, true] {
        let link = Link { up, ..topology.facts.links["ens5"].clone() };
        actual.links.insert("cali4d001776093".to_owned(), link);
        topology.facts = Facts::of(&actual, None, true);
        assert_eq!(shown(&plan(&topology).state).contains("cali4d001776093"), up);
    }
}

#[test]
fn the_node_forwards_ipv6_where_a_workload_has_such_an_address() {
    let path = "net/ipv6/conf/all/forwarding";
    let forwards = |topology: &Topology| plan(topology).state.sysctls.get(path).cloned();
    let mut topology = worker_1(Never, Always);
    assert_eq!(forwards(&topology), None);
    let workload = topology.workloads.values_mut().next().expect("a workload");
    workload.addresses.insert("fd00:10:244::1/128".parse().expect("an address"));
    assert_eq!(forwards(&topology).as_deref(), Some("1"));
    topology.facts.ipv6 = false;
    assert_eq!(forwards(&topology), None);
}

#[test]
fn a_kernel_without_ipv6_gets_no_parameters_of_it() {
    let mut topology = worker_1(Never, Always);
    let of_ipv6 = |plan: Plan| plan.state.sysctls.keys().filter(|p| p.contains("ipv6")).count();
    assert_eq!(of_ipv6(plan(&topology)), 3);
    topology.facts.ipv6 = false;
    assert_eq!(of_ipv6(plan(&topology)), 0);
}

#[test]
fn felix_configuration_decides_over_the_device_before_pools_do() {
    let mut forbidden = worker_1(Never, Always);
    forbidden.settings.vxlan_enabled = Some(false);
    let forbidden = plan(&forbidden);
    assert!(forbidden.state.links.is_empty());
    assert!(forbidden.unroutable[0].reason.contains("vxlanEnabled: false"));
    let mut wanted = worker_1(Never, Never);
    assert!(plan(&wanted).state.links.is_empty());
    wanted.settings.vxlan_enabled = Some(true);
    assert!(plan(&wanted).state.links.contains_key(VXLAN_DEVICE));
}

#[test]
fn external_routes_are_owned_unless_they_are_to_stay() {
    let mut topology = worker_1(Never, Always);
    let key = RouteKey { table: TABLE_MAIN, destination: net("10.9.9.9/32"), metric: 0 };
    let device = "cali4d001776093".to_owned();
    let target = RouteTarget::Via { device, gateway: None, onlink: false };
    let made_by =
        |protocol| Route { target: target.clone(), protocol, scope: SCOPE_LINK, source: None };
    let (stale, external) = (made_by(kernel::PROTOCOL_BOOT), made_by(99));
    let owned = plan(&topology).owned;
    assert!(owned.owns_route(&key, &stale) && owned.owns_route(&key, &external));
    topology.settings.remove_external_routes = false;
    let owned = plan(&topology).owned;
    assert!(owned.owns_route(&key, &stale) && !owned.owns_route(&key, &external));
}

#[test]
fn the_tables_masquerade_and_protect_the_tunnel() {
    let tables = plan(&worker_1(Never, Always)).tables;
    expect![[r#"
        table ip calico {
        	set cali40all-vxlan-net {
        		type ipv4_addr
        		elements = { 10.30.0.56, 10.30.1.66 }
        	}

        	set cali40masq-ipam-pools {
        		type ipv4_addr
        		flags interval
        		elements = { 192.168.0.0/16 }
        	}

        	set cali40network-ip-pools {
        		type ipv4_addr
        		flags interval
        		elements = { 192.168.0.0/16 }
        	}
        }
    "#]]
    .assert_eq(&sets_only(&tables[0].to_string()));
}

/// The text up to the first chain: the rules' own goldens stand with the nf_tables code.
fn sets_only(text: &str) -> String {
    let sets = text.split("\n\n\tchain").next().unwrap_or_default();
    format!("{sets}\n}}\n")
}

proptest! {
    /// Whatever the topology, a plan holds nothing it doesn't own, and a route leads over a device
    /// that exists or is made by the plan itself.
    #[test]
    fn plans_stand_on_their_own_feet(
        ipip in mode(), vxlan in mode(), backend in backend(), program in program(),
        same_subnet: bool, tunnels: bool, vxlan_enabled: Option<bool>,
    ) {
        let mut topology = worker_1(ipip, vxlan);
        topology.settings.backend = backend;
        topology.settings.vxlan_enabled = vxlan_enabled;
        topology.settings.program_cluster_routes = program;
        if same_subnet {
            topology.nodes.get_mut("worker-3").expect("a node").address = "10.30.0.7".parse().ok();
        }
        if !tunnels {
            topology.nodes.values_mut().for_each(|node| node.vxlan_address = None);
        }
        let plan = plan(&topology);
        for (key, route) in &plan.state.routes {
            prop_assert_eq!(key.table, TABLE_MAIN);
            match &route.target {
                RouteTarget::Via { device, .. } => prop_assert!(
                    topology.facts.links.contains_key(device)
                        || topology.facts.workload_links.contains(device)
                        || plan.state.links.contains_key(device),
                    "{} exists nowhere", device
                ),
                RouteTarget::Blackhole => {
                    prop_assert_eq!(&topology.blocks[&key.destination], "worker-1");
                }
                RouteTarget::Other(text) => prop_assert!(false, "{}", text),
            }
        }
        for link in plan.state.links.keys() {
            prop_assert!(plan.owned.devices.contains(link));
        }
        for table in &plan.tables {
            prop_assert_eq!(table.check(), Ok(()));
        }
        let routed = plan.unroutable.is_empty();
        prop_assert_eq!(plan.unroutable.len(), usize::from(!routed));
    }
}

fn mode() -> impl Strategy<Value = EncapsulationMode> {
    prop_oneof![Just(Never), Just(Always), Just(CrossSubnet)]
}

fn backend() -> impl Strategy<Value = Backend> {
    prop_oneof![Just(Backend::Bird), Just(Backend::Vxlan), Just(Backend::None)]
}

fn program() -> impl Strategy<Value = ClusterRoutes> {
    prop_oneof![
        Just(ClusterRoutes::Disabled),
        Just(ClusterRoutes::Enabled),
        Just(ClusterRoutes::EnabledIpipOnly),
        Just(ClusterRoutes::EnabledNoEncapOnly)
    ]
}

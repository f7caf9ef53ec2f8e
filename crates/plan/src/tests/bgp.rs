//! Who routes which pool, and what BGP's routes become.

use super::*;
use std::collections::BTreeSet;

/// Worker-1 with backend `bird` and Calico's defaults, and what its peers tell: the blocks of
/// worker-2 and worker-3, and an address that worker-2 has borrowed of this node's block.
fn with_bgp(ipip: EncapsulationMode) -> Topology {
    let mut topology = worker_1(ipip, Never);
    topology.settings.backend = Backend::Bird;
    topology.settings.program_cluster_routes = ClusterRoutes::Disabled;
    topology.ipip_address = "192.168.226.64".parse().ok();
    topology.learned.in_sync = true;
    for (destination, next_hop) in [
        ("192.168.133.192/26", "10.30.0.56"),
        ("192.168.97.192/26", "10.30.1.66"),
        ("192.168.226.70/32", "10.30.0.56"),
    ] {
        learn(&mut topology, destination, &[next_hop]);
    }
    topology
}

fn learn(topology: &mut Topology, destination: &str, next_hops: &[&str]) {
    let next_hops = next_hops.iter().map(|hop| ip(hop)).collect();
    std::sync::Arc::make_mut(&mut topology.learned.routes).insert(net(destination), next_hops);
}

/// The same routes, by whomever; only the protocol tells.
fn from_either_source(ipip: EncapsulationMode, expected: &Expect) {
    for by_felix in [false, true] {
        let mut topology = with_bgp(ipip);
        if by_felix {
            topology.settings.program_cluster_routes = ClusterRoutes::Enabled;
            topology.learned = Learned::default();
        }
        let plan = plan(&topology);
        assert_eq!((plan.unroutable.len(), plan.unreachable), (0, 0));
        let shown = shown(&plan.state);
        let protocol = if by_felix { "proto 80" } else { "proto bird" };
        expected.assert_eq(&shown.replace(protocol, "proto WHO"));
    }
}

#[test]
fn ipip_always_goes_by_the_tunnel_to_every_node() {
    from_either_source(
        Always,
        &expect![[r#"
            192.168.97.192/26 via 10.30.1.66 dev tunl0 proto WHO onlink
            192.168.133.192/26 via 10.30.0.56 dev tunl0 proto WHO onlink
            blackhole 192.168.226.64/26 proto WHO
            192.168.226.65 dev cali4d001776093 scope link
            192.168.226.70 via 10.30.0.56 dev tunl0 proto WHO onlink
        "#]],
    );
}

#[test]
fn ipip_cross_subnet_goes_by_the_tunnel_to_other_subnets_only() {
    from_either_source(
        CrossSubnet,
        &expect![[r#"
            192.168.97.192/26 via 10.30.1.66 dev tunl0 proto WHO onlink
            192.168.133.192/26 via 10.30.0.56 dev ens5 proto WHO
            blackhole 192.168.226.64/26 proto WHO
            192.168.226.65 dev cali4d001776093 scope link
            192.168.226.70 via 10.30.0.56 dev ens5 proto WHO
        "#]],
    );
}

#[test]
fn without_encapsulation_it_goes_to_the_node_or_by_the_kernels_own_gateway() {
    from_either_source(
        Never,
        &expect![[r#"
            192.168.97.192/26 via 10.30.0.1 dev ens5 proto WHO
            192.168.133.192/26 via 10.30.0.56 dev ens5 proto WHO
            blackhole 192.168.226.64/26 proto WHO
            192.168.226.65 dev cali4d001776093 scope link
            192.168.226.70 via 10.30.0.56 dev ens5 proto WHO
        "#]],
    );
}

/// Who routes, of every backend and both `programClusterRoutes`: the protocol of the own block's
/// blackhole and of the routes, or a word of the reason why there are none.
#[test]
fn backend_and_both_settings_decide_who_routes() {
    use ClusterRoutes::{Disabled, Enabled, EnabledIpipOnly, EnabledNoEncapOnly};
    let (felix, bgp) = (Ok("proto 80"), Ok("proto bird"));
    let neither = Err("set one of them to Enabled");
    let needs = Err("needs BGP, which this node does not run (CALICO_NETWORKING_BACKEND=vxlan)");
    let none = Err("CALICO_NETWORKING_BACKEND is none");
    for (backend, by_felix, by_bgp, of_ipip, of_direct) in [
        (Backend::Bird, Disabled, Enabled, bgp, bgp),
        (Backend::Bird, Enabled, Enabled, felix, felix),
        (Backend::Bird, EnabledIpipOnly, EnabledNoEncapOnly, felix, bgp),
        (Backend::Bird, EnabledNoEncapOnly, EnabledIpipOnly, bgp, felix),
        (Backend::Bird, Disabled, EnabledNoEncapOnly, neither, bgp),
        (Backend::Bird, Disabled, EnabledIpipOnly, bgp, neither),
        (Backend::Bird, Disabled, Disabled, neither, neither),
        (Backend::Vxlan, Disabled, Enabled, needs, needs),
        (Backend::Vxlan, EnabledIpipOnly, Enabled, felix, needs),
        (Backend::Vxlan, Enabled, Disabled, felix, felix),
        (Backend::None, Enabled, Enabled, none, none),
    ] {
        for (ipip, expected) in [(Always, of_ipip), (CrossSubnet, of_ipip), (Never, of_direct)] {
            let mut topology = with_bgp(ipip);
            topology.settings.backend = backend;
            topology.settings.program_cluster_routes = by_felix;
            topology.settings.bgp_program_cluster_routes = by_bgp;
            who_routes(&plan(&topology), expected);
        }
        let mut vxlan = with_bgp(Never);
        vxlan.pools[0].vxlan = Always;
        vxlan.settings.backend = backend;
        vxlan.settings.program_cluster_routes = by_felix;
        vxlan.settings.bgp_program_cluster_routes = by_bgp;
        who_routes(&plan(&vxlan), if backend == Backend::None { none } else { felix });
    }
}

fn who_routes(plan: &Plan, expected: Result<&str, &str>) {
    let shown = shown(&plan.state);
    match expected {
        Ok(protocol) => {
            assert!(plan.unroutable.is_empty(), "{:?}", plan.unroutable);
            assert_eq!(shown.matches(protocol).count(), 4, "{shown}");
        }
        Err(said) => {
            let [why] = plan.unroutable.as_slice() else { panic!("{:?}", plan.unroutable) };
            let why = why.to_string();
            assert!(why.starts_with("IPPool(default-ipv4-ippool) is not routed: "), "{why}");
            assert!(why.contains(said), "{why}");
            expect![[r#"
                blackhole 192.168.226.64/26 proto 80
                192.168.226.65 dev cali4d001776093 scope link
            "#]]
            .assert_eq(&shown);
        }
    }
}

#[test]
fn a_forbidden_device_leaves_its_pools_unrouted() {
    let mut topology = with_bgp(Always);
    topology.settings.ipip_enabled = Some(false);
    let plan = plan(&topology);
    assert!(!plan.state.links.contains_key(IPIP_DEVICE));
    who_routes(&plan, Err("ipipEnabled: false of FelixConfiguration"));
}

#[test]
fn what_is_outside_all_pools_is_routed_as_it_is() {
    let mut topology = with_bgp(Always);
    learn(&mut topology, "172.20.0.0/16", &["10.30.0.9"]);
    learn(&mut topology, "172.21.0.0/16", &["10.30.7.7", "10.30.8.8"]);
    learn(&mut topology, "192.0.0.0/8", &["10.30.0.9"]);
    let shown = shown(&plan(&topology).state);
    for line in [
        "172.20.0.0/16 via 10.30.0.9 dev ens5 proto bird\n",
        "172.21.0.0/16 via 10.30.0.1 dev ens5 proto bird\n",
        "192.0.0.0/8 via 10.30.0.9 dev ens5 proto bird\n",
    ] {
        assert!(shown.contains(line), "{shown}");
    }
}

#[test]
fn inside_a_vxlan_pool_bgp_says_nothing() {
    let mut topology = with_bgp(Never);
    topology.pools[0].vxlan = Always;
    let before = plan(&topology);
    learn(&mut topology, "192.168.133.192/27", &["10.30.0.9"]);
    topology.learned.in_sync = false;
    assert_eq!(plan(&topology).state, before.state);
    assert!(!shown(&before.state).contains("proto bird"));
}

#[test]
fn nothing_of_this_nodes_own_is_displaced() {
    let mut topology = with_bgp(Always);
    let single = "192.168.7.7/32";
    topology.blocks.insert(net(single), "worker-1".to_owned());
    let before = plan(&topology);
    for destination in
        ["192.168.226.64/26", "192.168.226.65/32", single, "10.30.0.0/24", "0.0.0.0/0"]
    {
        learn(&mut topology, destination, &["10.30.0.9"]);
    }
    assert_eq!(plan(&topology).state, before.state);
    // Nor while the workload's interface isn't there yet.
    topology.facts.workload_links.clear();
    let shown = shown(&plan(&topology).state);
    assert!(!shown.contains("192.168.226.65"), "{shown}");
}

#[test]
fn what_leads_nowhere_is_left_out_and_counted() {
    let mut topology = with_bgp(Always);
    let default = RouteKey { table: TABLE_MAIN, destination: net("0.0.0.0/0"), metric: 0 };
    let before = plan(&topology);
    topology.facts.routes.remove(&default);
    for (destination, next_hop) in [
        // Its only way was the default route.
        ("172.20.0.0/16", "10.99.0.1"),
        // This node itself.
        ("172.21.0.0/16", "10.30.0.206"),
        // Such a route would be the way to its own next hop.
        ("10.30.0.9/32", "10.30.0.9"),
        ("10.30.0.0/25", "10.30.0.9"),
        // No peer has said where.
        ("2001:db8::/32", "2001:db8:1::1"),
    ] {
        learn(&mut topology, destination, &[next_hop]);
    }
    let plan = plan(&topology);
    // Of those that were there, worker-3's went by the default route.
    assert_eq!(plan.unreachable, 6);
    let mut expected = before.state;
    expected.routes.retain(|key, _| key.destination != net("192.168.97.192/26"));
    assert_eq!(plan.state, expected);
}

#[test]
fn ipv6_destinations_go_by_the_kernels_own_routes() {
    let mut topology = with_bgp(Always);
    let key = RouteKey { table: TABLE_MAIN, destination: net("fd00:30::/64"), metric: 1024 };
    let target = RouteTarget::Via { device: "ens5".to_owned(), gateway: None, onlink: false };
    let connected = Route { target, protocol: 2, scope: SCOPE_UNIVERSE, source: None };
    topology.facts.routes.insert(key, connected);
    learn(&mut topology, "fd00:20::/64", &["fd00:30::9"]);
    learn(&mut topology, "fd00:30::/64", &["fd00:30::9"]);
    let shown = shown(&plan(&topology).state);
    assert!(shown.contains("fd00:20::/64 via fd00:30::9 dev ens5 proto bird\n"), "{shown}");
    assert!(!shown.contains("fd00:30::/64"), "{shown}");
}

/// A restarted agent knows no routes of peers yet: the kernel's go on, and the own block's blackhole
/// needs no peer.
#[test]
fn until_bgp_is_in_sync_its_routes_stay_in_the_kernel() {
    let topology = with_bgp(Always);
    let before = plan(&topology).state;
    let restarted = Topology { learned: Learned::default(), ..topology.clone() };
    let starting = plan(&restarted);
    assert!(shown(&starting.state).contains("blackhole 192.168.226.64/26 proto bird"));
    assert_eq!(kernel::diff(&starting.state, &before, &starting.owned), vec![]);
    let mut halfway = restarted.clone();
    learn(&mut halfway, "192.168.133.192/26", &["10.30.0.57"]);
    let text = |topology: &Topology| -> String {
        let plan = plan(topology);
        let changes = kernel::diff(&plan.state, &before, &plan.owned);
        changes.iter().map(|change| format!("{change}\n")).collect()
    };
    let replaced = "route replace 192.168.133.192/26 via 10.30.0.57 dev tunl0 proto bird onlink\n";
    assert_eq!(text(&halfway), replaced);
    halfway.learned.in_sync = true;
    expect![[r#"
        route replace 192.168.133.192/26 via 10.30.0.57 dev tunl0 proto bird onlink
        route del 192.168.226.70 via 10.30.0.56 dev tunl0 proto bird onlink
        route del 192.168.97.192/26 via 10.30.1.66 dev tunl0 proto bird onlink
    "#]]
    .assert_eq(&text(&halfway));
}

#[test]
fn routes_of_bgp_are_facts_only_where_another_runs_it() {
    let mut topology = with_bgp(Never);
    let actual = {
        let mut actual = plan(&topology).state;
        actual.links.extend(topology.facts.links.clone());
        actual.addresses.extend(topology.facts.addresses.clone());
        actual.routes.extend(topology.facts.routes.clone());
        actual
    };
    for in_sync in [true, false] {
        topology.learned.in_sync = in_sync;
        let facts = Facts::of(&actual, Some(&plan(&topology).owned), true);
        assert_eq!(facts.routes, topology.facts.routes);
    }
    topology.settings.backend = Backend::Vxlan;
    let owned = plan(&topology).owned;
    let facts = Facts::of(&actual, Some(&owned), true);
    assert!(facts.routes.values().any(|route| route.protocol == kernel::PROTOCOL_BIRD));
    let changes = kernel::diff(&State::default(), &actual, &owned);
    let text: String = changes.iter().map(|change| format!("{change}\n")).collect();
    assert!(!text.contains("proto bird"), "{text}");
    // What is wanted takes the place of what another has left.
    topology.settings.program_cluster_routes = ClusterRoutes::Enabled;
    let wanted = plan(&topology);
    let changes = kernel::diff(&wanted.state, &actual, &wanted.owned);
    let replaced = "route replace 192.168.133.192/26 via 10.30.0.56 dev ens5 proto 80";
    assert!(changes.iter().any(|change| change.to_string() == replaced), "{changes:?}");
}

proptest! {
    /// Whatever the peers tell, the node's own routes are as they were without them, and each of the
    /// others is its own or BGP's.
    #[test]
    fn peers_cannot_touch_what_is_not_theirs(
        ipip in mode(), backend in backend(), felix in program(), bgp in program(),
        told in proptest::collection::vec((any::<[u8; 3]>(), 0..33_u8, 0..6_usize), 0..24),
    ) {
        let mut topology = with_bgp(ipip);
        topology.settings.backend = backend;
        topology.settings.program_cluster_routes = felix;
        topology.settings.bgp_program_cluster_routes = bgp;
        topology.learned = Learned::default();
        let alone = plan(&topology).state;
        let hops =
            ["10.30.0.56", "10.30.1.66", "10.30.0.206", "10.30.0.1", "192.168.1.1", "fd00::1"];
        for ([kind, third, fourth], length, hop) in told {
            let address = match kind % 4 {
                0 => [192, 168, 226, 64 + fourth % 8],
                1 => [192, 168, third, fourth],
                2 => [10, 30, third % 2, fourth],
                _ => [kind, third, fourth, 0],
            };
            let destination = IpNet::new(address.into(), length).expect("a length").trunc();
            learn(&mut topology, &destination.to_string(), &[hops[hop]]);
        }
        let plan = plan(&topology);
        let told: BTreeSet<IpNet> = topology.learned.routes.keys().copied().collect();
        for (key, route) in &alone.routes {
            prop_assert_eq!(plan.state.routes.get(key), Some(route));
        }
        for (key, route) in plan.state.routes.iter().filter(|(k, _)| !alone.routes.contains_key(k)) {
            prop_assert_eq!(route.protocol, kernel::PROTOCOL_BIRD);
            prop_assert!(backend == Backend::Bird && told.contains(&key.destination));
            prop_assert!(!topology.facts.routes.contains_key(key));
        }
        prop_assert_eq!(&plan.state.links, &alone.links);
    }
}

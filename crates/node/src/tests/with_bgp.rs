//! Backend `bird`: what the speaker is told, and what becomes of what it tells.

use super::*;
use bgp::Configuration;
use bgp::speaker::{LearnedRoute, RouteChange};
use bgp::status::{PeerStatus, SessionState, SpeakerStatus};
use ipnet::IpNet;
use kernel::PROTOCOL_BIRD;
use model::config::ProgramClusterRoutes;
use model::{BgpConfiguration, BgpConfigurationSpec, BgpPeer, BgpPeerSpec};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

const BLOCK_OF_2: &str = "192.168.133.192/26";
const PEER_2: &str = "Mesh_10_30_0_56";

fn ipip_pool(mode: EncapsulationMode) -> Event {
    let spec = IpPoolSpec { cidr: "192.168.0.0/16".to_owned(), ipip_mode: mode, ..<_>::default() };
    stored(&IpPool::new("default-ipv4-ippool", spec))
}

fn bgp_node(name: &str, address: Option<&str>, tunnel: Option<&str>) -> Event {
    let bgp = NodeBgpSpec {
        ipv4_address: address.map(str::to_owned),
        ipv4_ipip_tunnel_addr: tunnel.map(str::to_owned),
        ..NodeBgpSpec::default()
    };
    let spec = NodeSpec { bgp: Some(bgp), ..NodeSpec::default() };
    stored(&model::Node::new(name, spec))
}

fn bgp_peer(address: &str) -> Event {
    let as_number = "65001".parse().ok();
    let spec = BgpPeerSpec { peer_ip: address.to_owned(), as_number, ..<_>::default() };
    stored(&BgpPeer::new("tor", spec))
}

fn bgp_configuration(name: &str, program: Option<&str>, mesh: Option<bool>) -> Event {
    let spec = BgpConfigurationSpec {
        program_cluster_routes: program.map(str::to_owned),
        node_to_node_mesh_enabled: mesh,
        ..<_>::default()
    };
    stored(&BgpConfiguration::new(name, spec))
}

fn deleted(kind: Kind, name: &str) -> Event {
    let key = Key::cluster(kind, name);
    Event::Datastore(DatastoreEvent::Deleted { key, revision: Revision(9) })
}

fn bgp_cluster() -> Vec<Event> {
    vec![
        facts(),
        ipip_pool(EncapsulationMode::Always),
        bgp_node("worker-1", Some("10.30.0.206/24"), Some("192.168.226.64")),
        bgp_node("worker-2", Some("10.30.0.56/24"), Some("192.168.133.192")),
        block("192.168.226.64/26", "worker-1", None),
        block(BLOCK_OF_2, "worker-2", None),
        bgp_peer("10.30.0.9"),
    ]
}

/// A node in sync, and what it did first.
fn started(events: Vec<Event>) -> (Node, Vec<Effect>) {
    let mut node = Node::new("worker-1", vec![]);
    for event in events.into_iter().chain([in_sync()]) {
        assert!(node.on(event).is_empty());
    }
    let effects = node.on(Event::Idle);
    (node, effects)
}

/// What the speaker is told by these effects, at most once.
fn told(effects: &[Effect]) -> Option<Option<Configuration>> {
    let mut told = effects.iter().filter_map(|effect| match effect {
        Effect::ConfigureBgp(configuration) => Some(configuration.as_deref().cloned()),
        _ => None,
    });
    let first = told.next();
    assert!(told.next().is_none(), "{effects:?}");
    first
}

fn change(prefix: &str, next_hop: Option<&str>) -> RouteChange {
    let best = next_hop.map(|hop| {
        let hop: IpAddr = hop.parse().expect("an address");
        LearnedRoute { next_hops: vec![hop], peer: hop }
    });
    RouteChange { prefix: prefix.parse().expect("a prefix"), best }
}

fn learned(changes: Vec<RouteChange>, in_sync: bool) -> Event {
    Event::BgpRoutes { changes, in_sync }
}

/// The routes of a plan that BGP has told, as `ip route` shows them.
fn routes_of_bgp(plan: &plan::Plan) -> Vec<String> {
    let by_bgp = plan.state.routes.iter().filter(|(_, route)| route.protocol == PROTOCOL_BIRD);
    by_bgp.map(|(key, route)| key.describe(route).to_string()).collect()
}

#[test]
fn the_speaker_is_told_once_and_again_where_something_concerns_it() {
    let (mut node, effects) = started(bgp_cluster());
    let first = told(&effects).flatten().expect("a configuration");
    assert_eq!(first.router_id, Ipv4Addr::new(10, 30, 0, 206));
    assert!(first.peers.contains_key(PEER_2), "{:?}", first.peers.keys());
    assert!(first.originated.contains(&"192.168.226.64/26".parse().expect("a prefix")));
    // What changes nothing of it: another's block and the own one's contents, what is told again.
    for event in [
        block("192.168.1.0/26", "worker-2", None),
        block("192.168.226.64/26", "worker-1", Some("worker-2")),
        bgp_node("worker-2", Some("10.30.0.56/24"), None),
        bgp_peer("10.30.0.9"),
        learned(vec![change(BLOCK_OF_2, Some("10.30.0.56"))], true),
    ] {
        node.on(event);
        assert_eq!(told(&node.on(Event::Idle)), None);
    }
    for (event, peers) in [
        (bgp_peer("10.30.0.10"), vec!["Global_10_30_0_10", PEER_2]),
        (deleted(Kind::BgpPeer, "tor"), vec![PEER_2]),
        (bgp_node("worker-2", Some("10.30.0.57/24"), None), vec!["Mesh_10_30_0_57"]),
        (bgp_configuration("default", None, Some(false)), vec![]),
        (deleted(Kind::BgpConfiguration, "default"), vec!["Mesh_10_30_0_57"]),
        (deleted(Kind::Node, "worker-2"), vec![]),
    ] {
        node.on(event);
        let now = told(&node.on(Event::Idle)).flatten().expect("a configuration");
        assert_eq!(now.peers.keys().collect::<Vec<_>>(), peers);
    }
    node.on(block("192.168.2.0/26", "worker-1", None));
    let now = told(&node.on(Event::Idle)).flatten().expect("a configuration");
    assert!(now.originated.contains(&"192.168.2.0/26".parse().expect("a prefix")));
}

#[test]
fn a_burst_of_events_is_one_configuration() {
    let (mut node, _) = started(vec![facts()]);
    for event in bgp_cluster() {
        assert!(node.on(event).is_empty());
    }
    assert!(told(&node.on(Event::Idle)).flatten().is_some());
}

#[test]
fn without_bgp_the_speaker_is_told_nothing_and_believed_nothing() {
    let mut node = Node::new("worker-1", environment());
    for event in bgp_cluster().into_iter().chain([in_sync()]) {
        node.on(event);
    }
    let effects = node.on(Event::Idle);
    assert_eq!(told(&effects), None);
    let plan = plan_of(&effects);
    assert!(plan.owned.kept_protocols.is_empty());
    assert!(!plan.owned.route_protocols.contains(&PROTOCOL_BIRD));
    node.on(learned(vec![change("172.20.0.0/16", Some("10.30.0.56"))], true));
    node.on(Event::BgpStatus(Box::new(speaker_status(SessionState::Established))));
    assert!(node.on(Event::Idle).is_empty());
    assert_eq!(node.status().bgp, None);
}

#[test]
fn a_node_that_loses_its_address_ends_bgp_and_forgets_its_routes() {
    let (mut node, _) = started(bgp_cluster());
    node.on(learned(vec![change("172.20.0.0/16", Some("10.30.0.56"))], true));
    node.on(Event::BgpStatus(Box::new(speaker_status(SessionState::Established))));
    assert_eq!(routes_of_bgp(&plan_of(&node.on(Event::Idle))).len(), 2);
    node.on(bgp_node("worker-1", None, None));
    let effects = node.on(Event::Idle);
    assert_eq!(told(&effects), Some(None));
    let plan = plan_of(&effects);
    assert!(plan.owned.kept_protocols.is_empty(), "the kernel's go too");
    assert_eq!(routes_of_bgp(&plan), ["blackhole 192.168.226.64/26 proto bird"]);
    assert_eq!(node.status().bgp, None);
    // What the speaker said before it stopped comes late.
    node.on(learned(vec![change("172.20.0.0/16", Some("10.30.0.56"))], true));
    assert!(node.on(Event::Idle).is_empty());
    node.on(bgp_node("worker-1", Some("10.30.0.206/24"), None));
    let effects = node.on(Event::Idle);
    assert!(told(&effects).flatten().is_some());
    assert!(plan_of(&effects).owned.kept_protocols.contains(&PROTOCOL_BIRD), "not in sync yet");
}

#[test]
fn learned_routes_lead_to_a_plan_and_the_same_ones_to_none() {
    let (mut node, effects) = started(bgp_cluster());
    let own = "blackhole 192.168.226.64/26 proto bird";
    assert_eq!(routes_of_bgp(&plan_of(&effects)), [own]);
    let block_of_2 = "192.168.133.192/26 via 10.30.0.56 dev tunl0 proto bird onlink";
    let routes = || learned(vec![change(BLOCK_OF_2, Some("10.30.0.56"))], true);
    node.on(routes());
    assert_eq!(routes_of_bgp(&plan_of(&node.on(Event::Idle))), [block_of_2, own]);
    let shared = node.cluster.topology().learned.routes.clone();
    node.on(routes());
    assert!(node.on(Event::Idle).is_empty());
    assert!(Arc::ptr_eq(&shared, &node.cluster.topology().learned.routes), "nothing is copied");
    // Of several changes of one batch the last counts.
    node.on(learned(vec![change(BLOCK_OF_2, Some("10.30.0.7")), change(BLOCK_OF_2, None)], true));
    assert_eq!(routes_of_bgp(&plan_of(&node.on(Event::Idle))), [own]);
}

/// The agent was killed and is back: until its peers have told all, what it finds in the kernel stays.
#[test]
fn a_restart_removes_no_route_before_bgp_is_in_sync() {
    let (mut node, effects) = started(bgp_cluster());
    let first = plan_of(&effects);
    let mut left = first.state.clone();
    let of_2 = "192.168.133.192/26 via 10.30.0.56 dev tunl0 proto bird onlink";
    let mut other = node.cluster.topology().clone();
    let routes = [(BLOCK_OF_2, "10.30.0.56"), ("192.168.97.192/26", "10.30.0.56")];
    let routes =
        routes.map(|(net, hop)| (net.parse().expect("net"), vec![hop.parse().expect("ip")]));
    other.learned.routes = Arc::new(routes.into());
    left.routes.extend(plan::plan(&other).state.routes);
    let changes = |plan: &plan::Plan| -> Vec<String> {
        let changes = kernel::diff(&plan.state, &left, &plan.owned);
        changes.iter().map(ToString::to_string).collect()
    };
    assert_eq!(changes(&first), Vec::<String>::new());
    node.on(learned(vec![change(BLOCK_OF_2, Some("10.30.0.56"))], false));
    let second = plan_of(&node.on(Event::Idle));
    assert!(routes_of_bgp(&second).contains(&of_2.to_owned()));
    assert_eq!(changes(&second), Vec::<String>::new());
    node.on(learned(vec![], true));
    let third = plan_of(&node.on(Event::Idle));
    let gone = "route del 192.168.97.192/26 via 10.30.0.56 dev tunl0 proto bird onlink";
    assert_eq!(changes(&third), [gone]);
}

#[test]
fn the_nodes_own_bgp_configuration_decides_who_routes() {
    let (mut node, _) = started(bgp_cluster());
    let now = |node: &Node| node.cluster.topology().settings.bgp_program_cluster_routes;
    assert_eq!(now(&node), ProgramClusterRoutes::Enabled);
    node.on(bgp_configuration("default", Some("Disabled"), None));
    assert_eq!(now(&node), ProgramClusterRoutes::Disabled);
    node.on(Event::Idle);
    let warnings = node.status().warnings;
    assert!(warnings.iter().any(|w| w.contains("is not routed: IP-in-IP")), "{warnings:?}");
    node.on(bgp_configuration("node.worker-1", Some("EnabledIPIPOnly"), None));
    node.on(bgp_configuration("node.worker-2", Some("Disabled"), None));
    assert_eq!(now(&node), ProgramClusterRoutes::EnabledIpipOnly);
    node.on(bgp_configuration("node.worker-1", None, None));
    assert_eq!(now(&node), ProgramClusterRoutes::Disabled, "it says nothing of it");
    node.on(deleted(Kind::BgpConfiguration, "default"));
    assert_eq!(now(&node), ProgramClusterRoutes::Enabled);
}

#[test]
fn sessions_are_shown_and_make_nothing_unready() {
    let (mut node, effects) = started(bgp_cluster());
    node.on(Event::Applied { generation: applied_generation(&effects), failures: vec![] });
    let said = speaker_status(SessionState::Idle);
    node.on(Event::BgpStatus(Box::new(said.clone())));
    node.on(learned(vec![change("172.20.0.0/16", Some("10.99.0.1"))], true));
    node.on(bgp_peer("nonsense"));
    node.on(Event::Idle);
    let status = node.status();
    assert_eq!((status.backend.as_str(), status.bgp), ("bird", Some(said)));
    assert!(status.not_ready.is_empty(), "{:?}", status.not_ready);
    for said in ["1 routes learned by BGP", "BGPPeer(tor)"] {
        assert!(status.warnings.iter().any(|w| w.contains(said)), "{said}: {:?}", status.warnings);
    }
}

fn speaker_status(state: SessionState) -> SpeakerStatus {
    let peer = PeerStatus {
        name: PEER_2.to_owned(),
        kind: bgp::configuration::PeerKind::NodeMesh,
        address: Ipv4Addr::new(10, 30, 0, 56).into(),
        port: 179,
        state,
        since: 7,
        reason: None,
        prefixes: 0,
    };
    SpeakerStatus {
        router_id: Ipv4Addr::new(10, 30, 0, 206),
        restarting: false,
        not_listening: None,
        peers: vec![peer],
    }
}

#[test]
fn the_address_on_tunl0_is_wanted_while_a_pool_uses_ipip() {
    let wanted = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::TunnelAddress { tunnel: Tunnel::Ipip, pools } => Some(pools.is_some()),
            Effect::TunnelAddress { .. } => panic!("no pool uses VXLAN"),
            _ => None,
        })
    };
    let own = |tunnel| bgp_node("worker-1", Some("10.30.0.206/24"), tunnel);
    let (mut node, effects) = started(vec![facts(), ipip_pool(CROSS_SUBNET), own(None)]);
    assert_eq!(wanted(&effects), Some(true));
    let result = Err("no free block".to_owned());
    node.on(Event::TunnelAddress { tunnel: Tunnel::Ipip, wanted: true, result });
    let not_ready = node.status().not_ready;
    let said = "the address of tunl0 could not be got: no free block";
    assert!(not_ready.iter().any(|line| line == said), "{not_ready:?}");
    assert_eq!(wanted(&node.on(Event::Idle)), Some(true), "tried again");
    node.on(own(Some("192.168.226.64")));
    node.on(Event::TunnelAddress { tunnel: Tunnel::Ipip, wanted: true, result: Ok(()) });
    let addresses = plan_of(&node.on(Event::Idle)).state.addresses;
    let address = "192.168.226.64/32".parse().expect("a prefix");
    assert!(addresses.contains(&("tunl0".to_owned(), address)));
    node.on(ipip_pool(EncapsulationMode::Never));
    assert_eq!(wanted(&node.on(Event::Idle)), Some(false));
}

const CROSS_SUBNET: EncapsulationMode = EncapsulationMode::CrossSubnet;

proptest! {
    /// Whatever is told in whatever order, with plans made on the way and detours: what the speaker
    /// was told last is what a node tells it that was told the final state once.
    #[test]
    fn the_order_of_events_does_not_matter_to_the_speaker(
        order in Just((0..bgp_cluster().len()).collect::<Vec<_>>()).prop_shuffle(),
        detours in proptest::collection::vec(0..7_usize, 0..12),
        idle_after in any::<[bool; 20]>(),
    ) {
        let (_, effects) = started(bgp_cluster());
        let expected = told(&effects).flatten();
        let mut node = Node::new("worker-1", vec![]);
        node.on(in_sync());
        let detours = detours.into_iter().map(detour);
        let events = order.into_iter().map(|position| bgp_cluster().swap_remove(position));
        let mut last = None;
        for (event, idle) in detours.chain(events).zip(idle_after) {
            node.on(event);
            if idle {
                last = told(&node.on(Event::Idle)).unwrap_or(last);
            }
        }
        last = told(&node.on(Event::Idle)).unwrap_or(last);
        prop_assert_eq!(last, expected);
    }

    /// However the changes of routes are cut into batches, the plan is the one of the last change of
    /// each destination.
    #[test]
    fn batches_of_routes_add_up(
        batches in proptest::collection::vec(
            (proptest::collection::vec((0..6_u8, 0..4_u8), 0..5), any::<bool>(), any::<bool>()),
            1..12,
        ),
    ) {
        let (mut node, effects) = started(bgp_cluster());
        let mut last = plan_of(&effects);
        let mut routes: BTreeMap<IpNet, Vec<IpAddr>> = BTreeMap::new();
        let mut synced = false;
        for (changes, in_sync, idle) in batches {
            synced = in_sync;
            let changes = changes.into_iter().map(|(net, hop)| {
                let hop = (hop > 0).then(|| format!("10.30.0.{}", 50 + hop));
                change(&format!("172.20.{net}.0/24"), hop.as_deref())
            });
            let changes: Vec<RouteChange> = changes.collect();
            for change in &changes {
                match &change.best {
                    Some(best) => drop(routes.insert(change.prefix, best.next_hops.clone())),
                    None => drop(routes.remove(&change.prefix)),
                }
            }
            node.on(learned(changes, in_sync));
            let effects = if idle { node.on(Event::Idle) } else { vec![] };
            last = if effects.iter().any(is_plan) { plan_of(&effects) } else { last };
        }
        let effects = node.on(Event::Idle);
        last = if effects.iter().any(is_plan) { plan_of(&effects) } else { last };
        let learned = plan::Learned { routes: Arc::new(routes), in_sync: synced };
        let topology = plan::Topology { learned, ..node.cluster.topology().clone() };
        prop_assert_eq!(last, plan::plan(&topology));
    }
}

fn is_plan(effect: &Effect) -> bool {
    matches!(effect, Effect::Apply { .. })
}

/// Something that the final state undoes.
fn detour(position: usize) -> Event {
    match position {
        0 => bgp_node("worker-1", None, None),
        1 => bgp_node("worker-2", Some("10.30.0.99/24"), None),
        2 => deleted(Kind::Node, "worker-1"),
        3 => deleted(Kind::Node, "worker-2"),
        4 => block("192.168.226.64/26", "worker-2", None),
        5 => bgp_peer("10.30.0.10"),
        _ => ipip_pool(EncapsulationMode::Never),
    }
}

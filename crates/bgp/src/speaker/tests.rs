use super::simulation::{Network, address, block, mesh, name, peer};
use super::{Input, Output, Speaker};
use crate::filter::{Filter, Rule};
use crate::status::SessionState;
use crate::wire::{Agreed, Cease, Message, Notification};
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

/// Random networks of each property.
const CASES: u32 = 48;
/// What a mesh may take.
const MESH_TIME: Duration = Duration::from_secs(20);

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// A mesh that stands.
fn standing(seed: u64, count: usize) -> Network {
    let mut network = Network::mesh(seed, count);
    network.until(MESH_TIME, "the mesh", Network::complete);
    network.run(seconds(1));
    network
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(CASES))]

    #[test]
    fn a_mesh_comes_up_whatever_the_order(seed in any::<u64>()) {
        let mut network = Network::mesh(seed, 5);
        let took = network.until(MESH_TIME, "the mesh", Network::complete);
        prop_assert!(took < seconds(2), "took {took:?}");
        // All have restarted: nobody waits for anybody.
        network.run(seconds(1));
        prop_assert!(network.nodes.iter().all(|node| node.speaker.in_sync()));
        prop_assert!(network.nodes.iter().all(|node| node.withdrawn.is_empty()));
        for node in 0..5 {
            for other in (0..5).filter(|other| *other != node) {
                prop_assert_eq!(network.connections(node, other).len(), 1);
            }
        }
        network.run(seconds(600));
        prop_assert!(network.complete());
    }

    #[test]
    fn cuts_take_no_route(
        seed in any::<u64>(),
        cuts in prop::collection::vec((0usize..4, 0usize..4, 0u64..400), 1..8),
    ) {
        let mut network = standing(seed, 4);
        for (a, b, milliseconds) in cuts {
            network.cut(a, b);
            network.run(Duration::from_millis(milliseconds));
        }
        network.until(MESH_TIME, "the sessions", Network::complete);
        network.run(seconds(300));
        prop_assert!(network.complete());
        prop_assert!(network.nodes.iter().all(|node| node.withdrawn.is_empty()));
    }

    #[test]
    fn a_restart_takes_no_route(seed in any::<u64>(), away in 0u64..30_000) {
        let mut network = standing(seed, 4);
        network.kill(2);
        network.run(Duration::from_millis(away));
        network.start(2);
        network.until(MESH_TIME, "the sessions", |network| {
            network.complete() && network.nodes[2].speaker.in_sync()
        });
        network.run(seconds(300));
        prop_assert!(network.nodes.iter().all(|node| node.withdrawn.is_empty()));
        prop_assert!(network.complete());
    }

    #[test]
    fn no_order_of_inputs_panics(inputs in prop::collection::vec(random_input(), 1..80)) {
        let mut speaker = Speaker::new(0);
        let mut now = Duration::ZERO;
        for (milliseconds, input) in inputs {
            now += Duration::from_millis(milliseconds);
            for output in speaker.on(now, input) {
                if let Output::Ready(connection) | Output::Close(connection) = output {
                    while !speaker.write(now, connection, 4096).is_empty() {}
                }
            }
            speaker.take_routes(100);
            speaker.status();
            speaker.deadline();
        }
    }
}

/// An input, possible or not, and the time before it.
fn random_input() -> impl Strategy<Value = (u64, Input)> {
    let own = (1u64..4, 0u64..4).prop_map(|(serial, attempt)| (serial << 32) + attempt * 2);
    let connection = prop_oneof![own, (0u64..4).prop_map(|number| number * 2 + 1)];
    let local = SocketAddr::new(address(0), 179);
    let remote = (0usize..5).prop_map(|node| SocketAddr::new(address(node), 40000));
    let open = |node: usize| {
        let open = crate::session::open::open(&peer(0), [10, 0, 0, node as u8 + 1].into(), false);
        message(&Message::Open(open))
    };
    let bytes = prop_oneof![
        4 => (0usize..4).prop_map(open),
        4 => Just(message(&Message::Keepalive)),
        1 => Just(message(&Message::RouteRefresh(Some(crate::wire::Family::Ipv4)))),
        1 => Just(message(&Message::Notification(Notification::cease(Cease::OutOfResources)))),
        1 => prop::collection::vec(any::<u8>(), 0..60),
    ];
    let input = (connection, remote, bytes, 0usize..8, 1usize..4);
    let input = input.prop_map(move |(connection, remote, bytes, which, count)| match which {
        0 => Input::Configure(Box::new(mesh(0, count + 1))),
        1 => Input::Connected { connection, local },
        2 => Input::ConnectFailed { connection, reason: "no".into() },
        3 => Input::Accepted { connection, local, remote },
        4 => Input::Closed { connection, reason: "gone".into() },
        5 => Input::Tick,
        _ => Input::Received { connection, bytes },
    });
    (0u64..5000, input)
}

fn message(message: &Message) -> Vec<u8> {
    let mut bytes = vec![];
    message.encode(Agreed::default(), &mut bytes);
    bytes
}

#[test]
fn who_does_not_return_loses_its_routes_after_the_restart_time() {
    let mut network = standing(1, 3);
    network.kill(2);
    network.run(seconds(100));
    assert!(network.nodes[0].routes.contains_key(&block(2)));
    let reason = network.peer(0, 2).reason.unwrap();
    assert!(reason.starts_with("Connection refused; graceful restart: its routes"), "{reason}");
    assert!(reason.ends_with("kept for 20 s more"), "{reason}");
    network.run(seconds(21));
    assert!(!network.nodes[0].routes.contains_key(&block(2)));
    assert_eq!(network.nodes[0].withdrawn, [block(2)]);
    assert_eq!(network.peer(0, 2).reason.unwrap(), "Connection refused");
    network.start(2);
    network.until(MESH_TIME, "the return", Network::complete);
}

#[test]
fn a_partition_ends_sessions_by_the_hold_timer_and_routes_after_that() {
    let mut network = standing(2, 3);
    network.partitioned.insert((0, 1));
    network.run(seconds(200));
    assert!(network.established(0, 1), "the hold time is 240 s");
    network.run(seconds(50));
    let reason = network.peer(0, 1).reason.unwrap();
    assert!(reason.contains("graceful restart: its routes are kept"), "{reason}");
    assert!(network.nodes[0].routes.contains_key(&block(1)), "kept (RFC 8538)");
    network.run(seconds(120));
    assert!(!network.nodes[0].routes.contains_key(&block(1)));
    assert!(network.peer(0, 1).reason.unwrap().starts_with("no answer within 4 s"));
    assert!(network.established(0, 2) && network.established(1, 2), "the others stay");
    network.partitioned.clear();
    let took = network.until(MESH_TIME, "the return", Network::complete);
    assert!(took < seconds(6), "took {took:?}");
}

#[test]
fn a_wrong_as_is_told_on_both_sides_and_recovers_when_mended() {
    let mut configurations = vec![mesh(0, 3), mesh(1, 3), mesh(2, 3)];
    configurations[0].peers.get_mut(&name(1)).unwrap().remote_as = 65001;
    let mut network = Network::new(3, configurations);
    network.run(seconds(30));
    let said = network.peer(0, 1).reason.unwrap();
    assert!(said.contains("the peer is of AS 64512, the configuration says 65001"), "{said}");
    let heard = network.peer(1, 0).reason.unwrap();
    assert!(heard.contains("Bad Peer AS"), "{heard}");
    assert!(network.established(0, 2) && network.established(1, 2));
    network.configure(0, |this| this.peers.get_mut(&name(1)).unwrap().remote_as = 64512);
    let took = network.until(seconds(60), "the session", Network::complete);
    assert!(took < seconds(2), "the mended side connects at once: {took:?}");
}

#[test]
fn a_removed_peer_goes_with_its_routes_and_nothing_else_moves() {
    let mut network = standing(4, 4);
    let before = network.nodes[0].sent.clone();
    network.nodes.iter_mut().for_each(|node| node.closed.clear());
    network.configure(0, |this| drop(this.peers.remove(&name(3))));
    network.run(seconds(1));
    assert!(!network.nodes[0].routes.contains_key(&block(3)));
    assert!(!network.nodes[3].routes.contains_key(&block(0)), "a hard reset keeps nothing");
    for other in [1, 2] {
        let connection = network.connections(0, other)[0];
        assert_eq!(network.nodes[0].sent.get(&connection), before.get(&connection));
        assert!(network.established(0, other));
        assert!(!network.nodes[0].closed.contains(&connection));
        assert!(network.nodes[other].closed.is_empty());
    }
    let reason = network.peer(3, 0).reason.unwrap();
    assert!(reason.contains("De-configured") || reason.contains("Rejected"), "{reason}");
    network.configure(0, |this| drop(this.peers.insert(name(3), peer(3))));
    network.until(MESH_TIME, "the return", Network::complete);
}

#[test]
fn a_changed_hold_time_resets_one_session_and_keeps_all_routes() {
    let mut network = standing(5, 3);
    network.nodes.iter_mut().for_each(|node| node.closed.clear());
    network.configure(0, |this| this.peers.get_mut(&name(1)).unwrap().hold_time = 90);
    assert!(!network.established(0, 1));
    network.until(MESH_TIME, "the session", Network::complete);
    network.run(seconds(1));
    assert!(network.nodes.iter().all(|node| node.withdrawn.is_empty()));
    assert!(network.nodes[2].closed.is_empty());
    let connection = network.connections(0, 2);
    assert!(connection.iter().all(|connection| !network.nodes[0].closed.contains(connection)));
}

#[test]
fn what_a_node_originates_changes_without_a_session_being_touched() {
    let mut network = standing(6, 3);
    network.nodes.iter_mut().for_each(|node| node.closed.clear());
    network.configure(0, |this| {
        this.originated.insert("10.244.9.0/26".parse().unwrap());
    });
    network.until(seconds(1), "the new route", |network| network.nodes[2].routes.len() == 3);
    network.configure(0, |this| {
        this.originated.remove(&block(0));
    });
    network.until(seconds(1), "the withdrawal", |network| network.nodes[1].routes.len() == 2);
    assert!(network.nodes.iter().all(|node| node.closed.is_empty()));
}

#[test]
fn equal_configurations_change_nothing() {
    let mut network = standing(7, 3);
    let configuration = Box::new(mesh(0, 3));
    let outputs = network.nodes[0].speaker.on(network.now, Input::Configure(configuration));
    assert_eq!(outputs, []);
}

#[test]
fn two_passive_sides_wait_and_one_suffices_to_connect() {
    let mut configurations = vec![mesh(0, 2), mesh(1, 2)];
    for (node, configuration) in configurations.iter_mut().enumerate() {
        configuration.peers.get_mut(&name(1 - node)).unwrap().passive = true;
    }
    let mut network = Network::new(8, configurations);
    network.run(seconds(600));
    let status = network.peer(0, 1);
    assert_eq!(status.state, SessionState::Active);
    assert_eq!(status.reason.unwrap(), "waiting for the peer to connect");
    network.configure(1, |this| this.peers.get_mut(&name(0)).unwrap().passive = false);
    network.until(seconds(1), "the session", Network::complete);
}

#[test]
fn garbage_ends_one_session_with_the_right_notification() {
    let cases: [(&[u8], (u8, u8)); 3] = [
        (&[0; 19], (1, 1)),
        (&[&[0xff; 16][..], &[0, 18, 4]].concat(), (1, 2)),
        (&[&[0xff; 16][..], &[0, 19, 9]].concat(), (1, 3)),
    ];
    for (bytes, expected) in cases {
        let mut network = standing(9, 3);
        let connection = network.connections(0, 1)[0];
        let input = Input::Received { connection, bytes: bytes.to_vec() };
        let outputs = network.nodes[0].speaker.on(network.now, input);
        assert!(outputs.contains(&Output::Close(connection)), "{outputs:?}");
        let last = network.nodes[0].speaker.write(network.now, connection, 4096);
        assert_eq!((last[18], last[19], last[20]), (3, expected.0, expected.1));
        assert!(network.nodes[0].speaker.write(network.now, connection, 4096).is_empty());
        assert!(network.established(0, 2));
        assert!(network.peer(0, 1).reason.unwrap().contains("Message Header Error"));
    }
}

#[test]
fn strangers_are_refused_and_a_thousand_of_them_cost_a_bounded_sum() {
    let mut network = standing(10, 3);
    let local = SocketAddr::new(address(0), 179);
    let refused = message(&Message::Notification(Notification::cease(Cease::ConnectionRejected)));
    for number in 0..3000u64 {
        let remote = SocketAddr::new(address(200), 1024);
        let connection = 100_001 + number * 2;
        let input = Input::Accepted { connection, local, remote };
        let outputs = network.nodes[0].speaker.on(network.now, input);
        assert_eq!(outputs, [Output::Close(connection)]);
    }
    let running = network.nodes[0].speaker.running.as_ref().unwrap();
    assert_eq!(running.closing.len(), super::CLOSING_MAX);
    assert_eq!(running.connections.len(), 2);
    let last = network.nodes[0].speaker.write(network.now, 100_001 + 2999 * 2, 4096);
    assert_eq!(last, refused);
    // From a peer's address: one beside the running session, which stays.
    for number in 0..1000u64 {
        let remote = SocketAddr::new(address(1), 1024);
        let input = Input::Accepted { connection: 200_001 + number * 2, local, remote };
        network.input(0, input);
    }
    assert_eq!(network.nodes[0].speaker.running.as_ref().unwrap().connections.len(), 3);
    network.run(seconds(60));
    assert!(network.complete());
}

#[test]
fn a_peer_that_reads_nothing_is_bounded_and_ended_at_last() {
    let mut network = standing(11, 3);
    network.nodes[0].unread = true;
    for round in 0..200u32 {
        let route = format!("10.244.{}.{}/32", 20 + round % 5, round % 7).parse().unwrap();
        network.configure(0, |this| {
            if !this.originated.remove(&route) {
                this.originated.insert(route);
            }
        });
        network.run(seconds(1));
    }
    let connection = network.connections(0, 1)[0];
    let mut waiting = 0;
    loop {
        let bytes = network.nodes[0].speaker.write(network.now, connection, 4096);
        if bytes.is_empty() {
            break;
        }
        waiting += bytes.len();
    }
    assert!(waiting < 4096, "each route waits once, however often it changed: {waiting}");
    network.run(seconds(1000));
    assert!(!network.established(0, 1), "the peer's hold timer, or the own send hold timer");
}

#[test]
fn a_restarted_node_is_in_sync_after_the_last_peer_or_the_restart_time() {
    let mut network = standing(12, 3);
    network.kill(1);
    network.kill(2);
    network.run(seconds(1));
    network.start(2);
    network.run(seconds(5));
    assert!(network.established(2, 0));
    let restarting = |network: &Network| network.nodes[2].speaker.status().unwrap().restarting;
    assert!(restarting(&network), "node 1 may still have routes to tell");
    network.run(seconds(116));
    assert!(!restarting(&network), "it had its time");
    network.start(1);
    network.until(MESH_TIME, "the mesh", Network::complete);
    assert!(network.nodes[1].speaker.in_sync() || network.nodes[1].withdrawn.is_empty());
}

#[test]
fn nobody_to_wait_for_is_in_sync_at_once() {
    let mut network = Network::mesh(13, 1);
    assert!(network.nodes[0].speaker.in_sync());
    assert!(!Speaker::new(0).in_sync(), "nothing is known before a configuration");
    network.input(0, Input::Listening(Err("the port is taken".into())));
    let status = network.nodes[0].speaker.status().unwrap();
    assert_eq!(status.not_listening.unwrap(), "the port is taken");
}

#[test]
fn a_restarted_reflector_tells_nothing_before_it_knows_all() {
    // Node 0 reflects between its clients 1 and 2, which know only it.
    let mut configurations = vec![mesh(0, 3), mesh(1, 3), mesh(2, 3)];
    for peer in configurations[0].peers.values_mut() {
        peer.reflector_client = true;
        peer.cluster_id = Some([10, 0, 0, 1].into());
    }
    configurations[1].peers.remove(&name(2));
    configurations[2].peers.remove(&name(1));
    for seed in 14..40 {
        let mut network = Network::new(seed, configurations.clone());
        network.until(MESH_TIME, "the start", Network::complete);
        network.run(seconds(1));
        network.kill(0);
        network.run(seconds(2));
        network.start(0);
        network.until(MESH_TIME, "the sessions", |network| {
            network.complete() && network.nodes[0].speaker.in_sync()
        });
        network.run(seconds(300));
        assert!(network.complete(), "seed {seed}");
        assert!(network.nodes.iter().all(|node| node.withdrawn.is_empty()), "seed {seed}");
    }
}

#[test]
fn nodes_of_different_ases_exchange_routes() {
    let mut configurations = vec![mesh(0, 2), mesh(1, 2)];
    for (node, configuration) in configurations.iter_mut().enumerate() {
        configuration.local_as = 65001 + node as u32;
        let peer = configuration.peers.get_mut(&name(1 - node)).unwrap();
        peer.local_as = 65001 + node as u32;
        peer.remote_as = 65002 - node as u32;
    }
    let mut network = Network::new(40, configurations);
    network.until(MESH_TIME, "the session", Network::complete);
    assert_eq!(network.nodes[0].routes[&block(1)].next_hops, [address(1)]);
}

#[test]
fn changed_import_filters_take_a_route_refresh_and_no_new_session() {
    let mut network = standing(41, 3);
    network.nodes.iter_mut().for_each(|node| node.closed.clear());
    let connection = network.connections(0, 1)[0];
    let before = network.nodes[0].sent.clone();
    let reject =
        Filter { name: "none".into(), rules: vec![Rule { reject: true, ..Rule::default() }] };
    network.configure(0, |this| this.peers.get_mut(&name(1)).unwrap().import = vec![reject]);
    network.run(seconds(1));
    assert!(!network.nodes[0].routes.contains_key(&block(1)), "told again, and stopped");
    network.configure(0, |this| this.peers.get_mut(&name(1)).unwrap().import.clear());
    network.until(seconds(1), "the route by a refresh", Network::complete);
    let refresh = message(&Message::RouteRefresh(Some(crate::wire::Family::Ipv4))).len();
    assert_eq!(network.nodes[0].sent[&connection], before[&connection] + 2 * refresh);
    assert!(network.nodes.iter().all(|node| node.closed.is_empty()));
}

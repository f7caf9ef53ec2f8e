//! What comes in on TCP 179 from anybody.

use super::peer::{self, KEEPALIVE, MARKER, OPEN, UPDATE};
use super::{Node, STRANGER, configuration, in_namespace, prefixes, v4};
use bgp::Configuration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Connections of strangers, or of one peer's address, that may stay open.
const KEPT_MAX: usize = 8;

/// A node at .1 with a peer of ours at .3, and one that misbehaves at .2.
struct Scene {
    victim: Node,
    other: Node,
    since: u64,
}

/// What the victim does; it waits for .2 to connect.
fn of_victim(range: u8, count: u32) -> Configuration {
    let mut configuration = configuration(v4(1), prefixes(range, count), &[v4(2), v4(3)]);
    for peer in configuration.peers.values_mut().filter(|peer| peer.address == v4(2)) {
        peer.passive = true;
    }
    configuration
}

impl Scene {
    async fn set() -> Scene {
        let mut victim = Node::start(of_victim(10, 3));
        let mut other = Node::start(configuration(v4(3), prefixes(11, 2), &[v4(1)]));
        victim.established(v4(3)).await;
        other.established(v4(1)).await;
        other.until(|node| node.learned() == prefixes(10, 3)).await;
        let since = victim.peer(v4(3)).expect("a peer").since;
        Scene { victim, other, since }
    }

    /// The victim has so many other routes now, and its good peer learns them.
    async fn change(&mut self, range: u8, count: u32) {
        self.victim.handle.configure(Some(Box::new(of_victim(range, count))));
        self.other.until(|node| node.learned() == prefixes(range, count)).await;
    }

    /// The session with the good peer works and has not moved.
    async fn untouched(mut self) {
        self.change(20, 7).await;
        self.other.until(|node| node.is_established(v4(1))).await;
        let peer = self.victim.peer(v4(3)).expect("a peer");
        assert!(self.victim.is_established(v4(3)) && peer.since == self.since, "{peer:?}");
    }
}

#[test]
fn what_is_wrong_is_answered_and_others_stay() {
    in_namespace(|| async {
        let scene = Scene::set().await;
        let mut wrong_marker = MARKER;
        wrong_marker[15] = 0;
        let number = |n: u32| n.wrapping_mul(2_654_435_761).to_le_bytes()[3];
        let garbage: Vec<u8> = (1..200_000).map(number).collect();
        for (what, bytes, answer) in [
            ("garbage", garbage, (1, 1)),
            ("a wrong marker", peer::message(wrong_marker, OPEN, &[]), (1, 1)),
            ("a wrong length", [&MARKER[..], &[0, 1, KEEPALIVE]].concat(), (1, 2)),
            ("an unknown type", peer::message(MARKER, 77, &[]), (1, 3)),
            ("a wrong AS", peer::open(65000, 2), (2, 2)),
        ] {
            let mut stream = peer::connect(v4(2), v4(1), None).await.expect("a connection");
            stream.write_all(&bytes).await.expect("sent");
            assert_eq!(peer::notified(&mut stream).await, Some(answer), "{what}");
        }
        scene.untouched().await;
    });
}

#[test]
fn a_thousand_connections_are_closed_and_others_stay() {
    in_namespace(|| async {
        let scene = Scene::set().await;
        // Strangers, and somebody with the address of a peer.
        for from in [STRANGER, v4(2)] {
            let (ended, mut ends) = tokio::sync::mpsc::channel::<()>(1);
            for _ in 0..1000 {
                let mut stream = peer::connect(from, v4(1), None).await.expect("a connection");
                let ended = ended.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 512];
                    while stream.read(&mut bytes).await.is_ok_and(|read| read > 0) {}
                    ended.send(()).await
                });
            }
            for _ in 0..1000 - KEPT_MAX {
                ends.recv().await.expect("most of them are closed");
            }
        }
        scene.untouched().await;
    });
}

#[test]
fn a_slow_reader_learns_what_holds_and_delays_nobody() {
    const COUNT: u32 = 100_000;
    in_namespace(|| async {
        let mut scene = Scene::set().await;
        let mut stream = peer::connect(v4(2), v4(1), Some(4096)).await.expect("a connection");
        peer::establish(&mut stream, 2).await;
        scene.victim.established(v4(2)).await;
        // It reads nothing, while everything changes for the others, twice.
        scene.change(12, COUNT).await;
        scene.change(13, COUNT).await;
        // Now it reads: what holds, and of what held no more than its socket had taken.
        let mut learned = 0;
        while learned < COUNT as usize {
            let (kind, body) = peer::read(&mut stream).await.expect("a message");
            if kind == UPDATE {
                learned += peer::announced(&body);
            }
        }
        scene.untouched().await;
    });
}

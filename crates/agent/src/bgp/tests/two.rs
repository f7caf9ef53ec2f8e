//! Two of ours.

use super::{Node, at, configuration, in_namespace, prefixes, v4, v6};
use bgp::Configuration;
use tokio::net::TcpListener;

/// Two speakers that have told each other their routes.
async fn pair(a: Configuration, b: Configuration) -> (Node, Node) {
    let own = |c: &Configuration| c.listen.address.expect("an address");
    let (address_a, address_b) = (own(&a), own(&b));
    let (of_a, of_b) = (a.originated.clone(), b.originated.clone());
    let (mut a, mut b) = (Node::start(a), Node::start(b));
    a.established(address_b).await;
    b.established(address_a).await;
    a.until(|node| node.in_sync && node.learned() == of_b).await;
    b.until(|node| node.in_sync && node.learned() == of_a).await;
    (a, b)
}

/// The configuration with what every peer has in common changed.
fn each(
    mut configuration: Configuration,
    change: impl Fn(&mut bgp::configuration::Peer),
) -> Configuration {
    configuration.peers.values_mut().for_each(change);
    configuration
}

#[test]
fn routes_outlive_a_restart_but_not_a_stop() {
    in_namespace(|| async {
        let (one, two) = (v4(1), v4(2));
        let of_a = || configuration(one, prefixes(10, 3000), &[two]);
        let (a, mut b) = pair(of_a(), configuration(two, prefixes(11, 1), &[one])).await;
        assert!(b.routes.values().all(|route| route.next_hops == [one] && route.peer == one));
        // The process ends: no NOTIFICATION, so the peer keeps what it was told.
        drop(a);
        b.down(one, "Socket: Connection").await;
        assert_eq!(b.learned(), prefixes(10, 3000));
        let mut a = Node::start(of_a());
        a.established(two).await;
        b.established(one).await;
        a.until(|node| node.in_sync && node.learned() == prefixes(11, 1)).await;
        assert_eq!(b.learned(), prefixes(10, 3000));
        // BGP is switched off: the peers are told.
        a.handle.configure(None);
        b.until(|node| node.learned().is_empty() && !node.is_established(one)).await;
    });
}

#[test]
fn a_change_reaches_the_peer_and_keeps_the_session() {
    in_namespace(|| async {
        let (one, two) = (v4(1), v4(2));
        let (a, mut b) = pair(
            configuration(one, prefixes(10, 1), &[two]),
            configuration(two, prefixes(11, 1), &[one]),
        )
        .await;
        let since = b.peer(one).expect("a peer").since;
        a.handle.configure(Some(Box::new(configuration(one, prefixes(12, 5), &[two]))));
        b.until(|node| node.learned() == prefixes(12, 5)).await;
        assert_eq!(b.peer(one).expect("a peer").since, since);
    });
}

#[test]
fn signed_sessions_between_neighbors_in_both_families() {
    in_namespace(|| async {
        for (one, two) in [(v4(1), v4(2)), (v6(1), v6(2))] {
            let secured = |own, other| {
                each(configuration(own, <_>::default(), &[other]), |peer| {
                    (peer.password, peer.ttl_security) = (Some("secret".to_owned()), Some(1));
                })
            };
            drop(pair(secured(one, two), secured(two, one)).await);
        }
    });
}

#[test]
fn a_wrong_password_is_silence_until_it_is_right() {
    in_namespace(|| async {
        let (one, two) = (v4(1), v4(2));
        let secured = |own, other, password: &str| {
            let configuration = configuration(own, prefixes(10, 1), &[other]);
            each(configuration, |peer| peer.password = Some(password.to_owned()))
        };
        let mut a = Node::start(secured(one, two, "secret"));
        let b = Node::start(secured(two, one, "sicret"));
        a.down(two, "is TCP port 1790 blocked by a firewall or security group?").await;
        b.handle.configure(Some(Box::new(secured(two, one, "secret"))));
        a.established(two).await;
    });
}

#[test]
fn reasons_name_the_likely_cause() {
    in_namespace(|| async {
        let (one, two) = (v4(1), v4(2));
        let taken = TcpListener::bind(at(one)).await.expect("the port");
        let mut a = Node::start(configuration(one, prefixes(10, 1), &[two]));
        let not_listening = |node: &Node| node.status.clone().and_then(|s| s.not_listening);
        a.until(|node| not_listening(node).is_some()).await;
        let why = not_listening(&a).unwrap_or_default();
        assert!(why.contains("TCP port 1790 is taken by another program"), "{why}");
        a.down(two, "Connection refused: nothing listens on port 1790 there").await;
        drop(taken);
        a.until(|node| node.status.is_some() && not_listening(node).is_none()).await;
        let of_b = configuration(two, prefixes(11, 1), &[one]);
        let _b = Node::start(each(of_b, |peer| peer.local_as = 65000));
        a.down(two, "AS").await;
    });
}

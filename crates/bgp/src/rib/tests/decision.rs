//! Each step of the decision by itself (RFC 4271, 9.1.2.2; RFC 4456, 9).

use super::*;

/// Paths of three peers: two internal ones, one of AS 65001.
struct Case {
    why: &'static str,
    /// From each peer.
    paths: [Option<Attributes>; 3],
    /// Whose is best, and who else shares the traffic.
    shared: &'static [usize],
}

fn with(change: impl FnOnce(&mut Attributes)) -> Option<Attributes> {
    let mut attributes = Attributes { as_path: path(&[65001]), ..attributes() };
    change(&mut attributes);
    Some(attributes)
}

fn cases() -> Vec<Case> {
    let same = || with(|_| {});
    let case = |why, paths, shared| Case { why, paths, shared };
    vec![
        case("one only", [None, same(), None], &[1]),
        case("equal up to the router id", [same(), same(), None], &[0, 1]),
        case("LOCAL_PREF", [same(), with(|a| a.local_pref = Some(101)), None], &[1]),
        case(
            "LOCAL_PREF comes before the path's length",
            [
                with(|a| a.as_path = path(&[65001, 65002, 65003])),
                with(|a| a.local_pref = Some(99)),
                None,
            ],
            &[0],
        ),
        case("a shorter path", [with(|a| a.as_path = path(&[65001, 65001])), same(), None], &[1]),
        case(
            "a set counts as one",
            [
                with(|a| a.as_path.push(AsSegment::Set(vec![1, 2, 3]))),
                with(|a| a.as_path = path(&[65001, 1, 2])),
                None,
            ],
            &[0],
        ),
        case("ORIGIN", [with(|a| a.origin = Origin::Incomplete), same(), None], &[1]),
        case(
            "the path's length comes before ORIGIN",
            [with(|a| a.origin = Origin::Egp), with(|a| a.as_path = path(&[65001, 5])), None],
            &[0],
        ),
        case("MED of one neighbor AS", [with(|a| a.med = Some(1)), same(), None], &[1]),
        case(
            "MEDs of different ASes say nothing",
            [with(|a| a.med = Some(1)), with(|a| a.as_path = path(&[65002])), None],
            &[0, 1],
        ),
        case(
            "a path out by its MED beats nobody, however low its router id",
            [
                with(|a| a.med = Some(9)),
                with(|a| a.as_path = path(&[65002])),
                with(|a| a.med = Some(1)),
            ],
            &[2],
        ),
        case("eBGP over iBGP", [same(), None, same()], &[2]),
        case("ORIGIN comes before eBGP", [same(), None, with(|a| a.origin = Origin::Egp)], &[0]),
        case(
            "the originator's id instead of the router id",
            [with(|a| a.originator_id = Some(Ipv4Addr::new(10, 0, 0, 9))), same(), None],
            &[1, 0],
        ),
        case(
            "a shorter CLUSTER_LIST",
            [
                with(|a| {
                    a.originator_id = Some(Ipv4Addr::new(10, 0, 0, 7));
                    a.cluster_list = vec![Ipv4Addr::new(7, 7, 7, 7), Ipv4Addr::new(8, 8, 8, 8)];
                }),
                with(|a| {
                    a.originator_id = Some(Ipv4Addr::new(10, 0, 0, 7));
                    a.cluster_list = vec![Ipv4Addr::new(7, 7, 7, 7)];
                }),
                None,
            ],
            &[1, 0],
        ),
        case(
            "the lower address",
            [
                with(|a| a.originator_id = Some(Ipv4Addr::new(10, 0, 0, 7))),
                with(|a| a.originator_id = Some(Ipv4Addr::new(10, 0, 0, 7))),
                None,
            ],
            &[0, 1],
        ),
    ]
}

#[test]
fn each_step_whichever_path_comes_first() {
    let peers = [peer("10.0.0.1"), peer("10.0.0.2"), external("10.0.0.3", 65001)];
    let prefix = net("192.168.0.0/26");
    for Case { why, paths, shared } in cases() {
        for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
            let mut scene = Scene::new(configuration(), &peers);
            for at in order {
                if let Some(attributes) = paths[at].clone() {
                    let next_hop = format!("10.0.1.{at}");
                    scene.learn(at, &announce(&[prefix], &next_hop, attributes));
                }
            }
            let best = scene.best(prefix).expect(why);
            assert_eq!(best.peer, peers[shared[0]].address, "{why}, {order:?}");
            let mut next_hops: Vec<_> =
                shared.iter().map(|at| ip(&format!("10.0.1.{at}"))).collect();
            next_hops.sort();
            assert_eq!(best.next_hops, next_hops, "{why}, {order:?}");
        }
    }
}

#[test]
fn own_routes_win_and_hide_learned_ones_from_the_kernel() {
    let prefix = net("192.168.0.0/26");
    let mut scene = Scene::new(configuration(), &[peer("10.0.0.1"), peer("10.0.0.2")]);
    let best = Attributes { local_pref: Some(u32::MAX), ..attributes() };
    scene.learn(0, &announce(&[prefix], "10.0.0.1", best));
    assert_eq!(scene.rib.take_routes(9).len(), 1);

    scene.configuration.originated.insert(prefix);
    scene.rib.configure(&scene.configuration);
    assert_eq!(scene.rib.take_routes(9), [RouteChange { prefix, best: None }]);
    assert_eq!(scene.told_of(1, prefix).map(|(_, next_hop)| next_hop), Some(OWN));
    assert!(scene.told_of(0, prefix).is_some());

    scene.configuration.originated.clear();
    scene.rib.configure(&scene.configuration);
    let [change] = &scene.rib.take_routes(9)[..] else { panic!("one change") };
    assert_eq!(change.best.as_ref().map(|best| best.peer), Some(ip("10.0.0.1")));
    assert_eq!(scene.told(1).routes, BTreeMap::new());
}

#[test]
fn more_equal_paths_than_can_share_are_cut_in_order() {
    let peers: Vec<Peer> = (1..=20).map(|n| peer(&format!("10.0.0.{n}"))).collect();
    let mut scene = Scene::new(configuration(), &peers);
    let prefix = net("10.96.0.0/12");
    for at in (0..20).rev() {
        let next_hop = peers[at].address.to_string();
        scene.learn(at, &announce(&[prefix], &next_hop, attributes()));
    }
    let expected: Vec<IpAddr> = peers[..16].iter().map(|peer| peer.address).collect();
    assert_eq!(scene.best(prefix).expect("a route").next_hops, expected);
}

#[test]
fn a_restart_that_tells_the_same_again_changes_nothing() {
    let prefixes = [net("192.168.0.0/26"), net("192.168.0.64/26"), net("192.168.0.128/26")];
    let mut scene = Scene::new(configuration(), &[peer("10.0.0.1"), external("10.0.0.2", 65001)]);
    scene.learn(0, &announce(&prefixes, "10.0.0.1", attributes()));
    assert_eq!(scene.rib.take_routes(9).len(), 3);
    let before = scene.told(1).clone();

    let slot = scene.slot(0);
    scene.rib.down(slot, &[Family::Ipv4]);
    scene.rib.up(slot, session(&peer("10.0.0.1"), 1));
    scene.learn(0, &announce(&prefixes[..2], "10.0.0.1", attributes()));
    assert!(!scene.rib.routes_changed());
    assert_eq!(*scene.told(1), before);
    assert_eq!(scene.rib.prefixes(slot), 3);

    scene.rib.sweep(slot, Family::Ipv4);
    assert_eq!(scene.rib.take_routes(9), [RouteChange { prefix: prefixes[2], best: None }]);
    assert_eq!(scene.told(1).routes.len(), 2);
    scene.rib.down(slot, &[Family::Ipv6]);
    assert_eq!(scene.rib.take_routes(9).len(), 2);
    assert_eq!(scene.rib.prefixes(slot), 0);
}

#[test]
fn what_is_stale_twice_goes() {
    let prefix = net("fd00:1::/122");
    let mut scene = Scene::new(configuration(), &[peer("10.0.0.1")]);
    scene.learn(0, &announce(&[prefix], "fd00::1", attributes()));
    let slot = scene.slot(0);
    scene.rib.down(slot, &[Family::Ipv6]);
    assert!(scene.best(prefix).is_some());
    scene.rib.up(slot, session(&peer("10.0.0.1"), 1));
    scene.rib.down(slot, &[Family::Ipv6]);
    assert_eq!(scene.best(prefix), None);
}

//! What comes in, and what is said to whom.

use super::*;
use crate::filter::{Destination, Operation, Operator, Rule};
use model::CommunityValue;

const CLUSTER: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 1);

fn client(address: &str) -> Peer {
    Peer { reflector_client: true, cluster_id: Some(CLUSTER), ..peer(address) }
}

fn non_client(address: &str) -> Peer {
    Peer { cluster_id: Some(CLUSTER), ..peer(address) }
}

pub(super) fn rule(range: &str, reject: bool, operations: Vec<Operation>) -> Filter {
    let range = net(range);
    let lengths = (range.prefix_len(), range.max_prefix_len());
    let destination = Some(Destination { range, operator: Operator::In, lengths });
    let rules = vec![Rule { destination, reject, operations, ..Rule::default() }];
    Filter { name: range.to_string(), rules }
}

fn prefix() -> IpNet {
    net("192.168.0.0/26")
}

#[test]
fn loops_and_unusable_next_hops_stay_out_and_replace_what_was_told() {
    let strict = || client("10.0.0.1");
    let lax = || Peer { allowed_own_as: 1, ..strict() };
    let good = || Attributes { as_path: path(&[65001]), ..attributes() };
    let with_path = |numbers: &[u32]| Attributes { as_path: path(numbers), ..attributes() };
    let originator =
        |last| Attributes { originator_id: Some(Ipv4Addr::new(10, 0, 0, last)), ..good() };
    let clusters = |list: &[Ipv4Addr]| Attributes { cluster_list: list.to_vec(), ..good() };
    let in_set = Attributes { as_path: vec![AsSegment::Set(vec![5, LOCAL_AS])], ..attributes() };
    let cases = [
        (strict(), good(), "10.0.0.1", true),
        (strict(), good(), "10.0.9.9", true),
        (strict(), with_path(&[65001, LOCAL_AS]), "10.0.0.1", false),
        (strict(), in_set, "10.0.0.1", false),
        (lax(), with_path(&[65001, LOCAL_AS]), "10.0.0.1", true),
        (lax(), with_path(&[LOCAL_AS, LOCAL_AS]), "10.0.0.1", false),
        (strict(), originator(250), "10.0.0.1", false),
        (strict(), originator(9), "10.0.0.1", true),
        (strict(), clusters(&[Ipv4Addr::new(1, 1, 1, 1), CLUSTER]), "10.0.0.1", false),
        (strict(), clusters(&[Ipv4Addr::new(1, 1, 1, 1)]), "10.0.0.1", true),
        (strict(), good(), "10.0.0.250", false),
        (strict(), good(), "0.0.0.0", false),
        (strict(), good(), "224.0.0.5", false),
        (strict(), good(), "127.0.0.1", false),
        (strict(), good(), "255.255.255.255", false),
    ];
    for (peer, told, next_hop, comes_in) in cases {
        let mut scene = Scene::new(configuration(), &[peer]);
        scene.learn(0, &announce(&[prefix()], "10.0.0.77", good()));
        scene.learn(0, &announce(&[prefix()], next_hop, told.clone()));
        let next_hops = scene.best(prefix()).map(|best| best.next_hops);
        let expected = comes_in.then(|| vec![ip(next_hop)]);
        assert_eq!(next_hops, expected, "{told:?} by {next_hop}");
    }
}

#[test]
fn import_filters_stop_and_change() {
    let stop = rule("10.0.0.0/8", true, vec![]);
    let change = rule("192.168.0.0/16", false, vec![Operation::SetPriority(512)]);
    let filtered = Peer { import: vec![stop, change], ..external("10.0.0.1", 65001) };
    let mut scene = Scene::new(configuration(), &[filtered, peer("10.0.0.2")]);
    let prefixes = [net("10.1.0.0/16"), prefix(), net("172.16.0.0/12")];
    let told = Attributes { as_path: path(&[65001]), ..Attributes::default() };
    scene.learn(0, &announce(&prefixes, "10.0.0.1", told));
    assert_eq!(scene.rib.prefixes(scene.slot(0)), 2);
    let preference = |told: Option<(Attributes, IpAddr)>| told.map(|(told, _)| told.local_pref);
    assert_eq!(preference(scene.told_of(1, prefixes[0])), None);
    assert_eq!(preference(scene.told_of(1, prefixes[1])), Some(Some(i32::MAX as u32 - 512)));
    assert_eq!(preference(scene.told_of(1, prefixes[2])), Some(Some(100)));
}

/// Who hears what the first, the second ... peer tells: RFC 4456, 6.
#[test]
fn reflection() {
    let peers = [
        client("10.0.0.1"),
        client("10.0.0.2"),
        non_client("10.0.0.3"),
        non_client("10.0.0.4"),
        external("10.0.0.5", 65001),
    ];
    let hears: [&[usize]; 5] =
        [&[1, 2, 3, 4], &[0, 2, 3, 4], &[0, 1, 4], &[0, 1, 4], &[0, 1, 2, 3]];
    for (from, expected) in hears.iter().enumerate() {
        let mut scene = Scene::new(configuration(), &peers);
        let told = Attributes { as_path: path(&[65001]), ..attributes() };
        scene.learn(from, &announce(&[prefix()], "10.0.0.99", told));
        let hear: Vec<usize> =
            (0..5).filter(|peer| scene.told_of(*peer, prefix()).is_some()).collect();
        assert_eq!(hear, *expected, "from {from}");
    }
}

#[test]
fn what_reflection_adds() {
    let mut scene = Scene::new(
        configuration(),
        &[client("10.0.0.1"), peer("10.0.0.2"), external("10.0.0.3", 65001)],
    );
    scene.learn(0, &announce(&[prefix()], "10.0.0.1", attributes()));
    let (told, next_hop) = scene.told_of(1, prefix()).expect("reflected");
    assert_eq!(told.originator_id, Some(Ipv4Addr::new(10, 0, 0, 1)));
    assert_eq!(told.cluster_list, [CLUSTER]);
    assert_eq!((told.local_pref, next_hop), (Some(100), ip("10.0.0.1")));
    let (told, next_hop) = scene.told_of(2, prefix()).expect("told");
    assert_eq!((told.originator_id, told.cluster_list), (None, vec![]));
    assert_eq!((told.as_path, next_hop), (path(&[LOCAL_AS]), OWN));

    let originator_id = Some(Ipv4Addr::new(9, 9, 9, 9));
    let cluster_list = vec![Ipv4Addr::new(8, 8, 8, 8)];
    let reflected = Attributes { originator_id, cluster_list, ..attributes() };
    scene.learn(0, &announce(&[prefix()], "10.0.0.1", reflected));
    let (told, _) = scene.told_of(1, prefix()).expect("reflected");
    assert_eq!(told.originator_id, originator_id);
    assert_eq!(told.cluster_list, [CLUSTER, Ipv4Addr::new(8, 8, 8, 8)]);
}

#[test]
fn well_known_communities() {
    let peers = [external("10.0.0.1", 65001), external("10.0.0.2", 65002), peer("10.0.0.3")];
    // NO_EXPORT, NO_ADVERTISE, NO_EXPORT_SUBCONFED, and one like any other.
    for (community, hear) in [
        (0xffff_ff01, vec![2]),
        (0xffff_ff02, vec![]),
        (0xffff_ff03, vec![2]),
        (0xffff_ff04, vec![1, 2]),
    ] {
        let mut scene = Scene::new(configuration(), &peers);
        let told = Attributes {
            as_path: path(&[65001]),
            communities: vec![community],
            ..Attributes::default()
        };
        scene.learn(0, &announce(&[prefix()], "10.0.0.1", told));
        let heard: Vec<usize> =
            (0..3).filter(|peer| scene.told_of(*peer, prefix()).is_some()).collect();
        assert_eq!(heard, hear, "{community:x}");
    }
}

#[test]
fn to_another_as() {
    let odd = Peer { local_as: 65100, ..external("10.0.0.2", 65002) };
    let mut scene = Scene::new(configuration(), &[external("10.0.0.1", 65001), odd]);
    let full: Vec<u32> = (1..=255).collect();
    let told = Attributes {
        as_path: path(&full),
        med: Some(7),
        unknown: vec![(0xc0, 99, vec![1])],
        ..Attributes::default()
    };
    scene.learn(0, &announce(&[prefix()], "10.0.0.1", told));
    let (told, next_hop) = scene.told_of(1, prefix()).expect("told");
    let expected = [AsSegment::Sequence(vec![65100]), AsSegment::Sequence(full)];
    assert_eq!(told.as_path, expected);
    assert_eq!((told.med, told.local_pref, next_hop), (None, None, OWN));
    assert_eq!(told.unknown, [(0xe0, 99, vec![1])], "partial");
}

#[test]
fn next_hops() {
    let (theirs, own) = (ip("10.0.0.77"), OWN);
    for (mode, external_peer, learned, originated) in [
        (NextHop::Auto, false, theirs, own),
        (NextHop::Own, false, own, own),
        (NextHop::Keep, false, theirs, own),
        (NextHop::Auto, true, own, own),
        (NextHop::Own, true, own, own),
        (NextHop::Keep, true, theirs, own),
    ] {
        let remote_as = if external_peer { 65002 } else { LOCAL_AS };
        let target = Peer { next_hop: mode, ..external("10.0.0.2", remote_as) };
        let mut configuration = configuration();
        configuration.originated.insert(net("192.168.1.0/26"));
        let mut scene = Scene::new(configuration, &[external("10.0.0.1", 65001), target]);
        let told = || Attributes { as_path: path(&[65001]), ..Attributes::default() };
        scene.learn(0, &announce(&[prefix()], "10.0.0.77", told()));
        let next_hop = |route: Option<(Attributes, IpAddr)>| route.map(|(_, next_hop)| next_hop);
        assert_eq!(next_hop(scene.told_of(1, prefix())), Some(learned), "{mode:?}");
        let own_route = scene.told_of(1, net("192.168.1.0/26"));
        assert_eq!(next_hop(own_route), Some(originated), "{mode:?}");

        // Nobody is told that a route leads to itself.
        scene.learn(0, &announce(&[prefix()], "10.0.0.2", told()));
        let itself = scene.told_of(1, prefix());
        assert_eq!(itself.is_some(), learned == own, "{mode:?}");
    }
}

#[test]
fn a_family_without_own_address_leaves_only_with_its_next_hop() {
    let mut configuration = configuration();
    configuration.originated.insert(net("fd00:2::/122"));
    let mut scene = Scene::new(
        configuration,
        &[external("10.0.0.1", 65001), peer("10.0.0.2"), external("fd00::3", 65003)],
    );
    let learned = net("fd00:1::/122");
    let told = Attributes { as_path: path(&[65001]), ..Attributes::default() };
    scene.learn(0, &announce(&[learned], "fd00::1", told));
    assert_eq!(scene.told(1).routes.keys().collect::<Vec<_>>(), [&learned]);
    assert_eq!(scene.told(2).routes.len(), 2);
    assert_eq!(scene.told_of(2, learned).map(|(_, next_hop)| next_hop), Some(ip("fd00::250")));
}

#[test]
fn own_routes_with_communities() {
    let mut configuration = configuration();
    let (inside, outside) = (net("192.168.0.0/26"), net("10.96.0.0/12"));
    configuration.originated = [inside, outside].into();
    let set = |standard: &[u32], large: &[[u32; 3]]| Communities {
        standard: standard.to_vec(),
        large: large.to_vec(),
    };
    configuration.communities = vec![
        (net("192.168.0.0/16"), set(&[5, 3], &[[1, 2, 3]])),
        (net("192.168.0.0/26"), set(&[3, 4, 0xffff_ff01], &[])),
        (net("192.168.0.0/27"), set(&[9], &[])),
    ];
    let mut scene = Scene::new(configuration, &[peer("10.0.0.1"), external("10.0.0.2", 65001)]);
    let (told, _) = scene.told_of(0, inside).expect("told");
    assert_eq!(told.local_pref, Some(2_147_482_623), "as Calico's BIRD has it");
    assert_eq!(told.communities, [3, 4, 5, 0xffff_ff01]);
    assert_eq!(told.large_communities, [[1, 2, 3]]);
    assert_eq!(scene.told_of(0, outside).expect("told").0.communities, [0_u32; 0]);
    assert!(scene.told_of(1, inside).is_some(), "its receiver is to keep it");

    scene.configuration.communities.clear();
    scene.rib.configure(&scene.configuration);
    let before = scene.told(1).updates;
    assert_eq!(scene.told_of(0, inside).expect("told").0.communities, [0_u32; 0]);
    assert_eq!(scene.told(1).updates, before, "only one route changed, and was told");
}

#[test]
fn export_ranges_and_filters() {
    let own = [net("192.168.0.0/26"), net("172.30.0.0/24"), net("10.5.0.0/16")];
    let learned = [net("192.168.9.0/26"), net("172.31.0.0/24"), net("10.6.0.0/16")];
    let mut configuration = configuration();
    configuration.originated = own.into();
    configuration.export = ExportRanges {
        allowed: [net("192.168.0.0/16"), net("10.0.0.0/8")].into(),
        denied: [net("10.0.0.0/8")].into(),
    };
    let target = external("10.0.0.2", 65002);
    let mut scene = Scene::new(configuration, &[external("10.0.0.1", 65001), target.clone()]);
    let told = Attributes { as_path: path(&[65001]), ..Attributes::default() };
    scene.learn(0, &announce(&learned, "10.0.0.1", told));
    let leave = |scene: &mut Scene| scene.told(1).routes.keys().copied().collect::<BTreeSet<_>>();
    assert_eq!(leave(&mut scene), [own[0], own[1], learned[0]].into());

    let before = scene.told(1).updates;
    let community = Operation::AddCommunity(CommunityValue::Standard(77));
    let filters =
        vec![rule("10.6.0.0/16", false, vec![community]), rule("192.168.9.0/24", true, vec![])];
    scene.rib.configure_peer(scene.slot(1), &Peer { export: filters, ..target.clone() });
    assert_eq!(leave(&mut scene), [own[0], own[1], learned[2]].into());
    assert_eq!(scene.told_of(1, learned[2]).expect("told").0.communities, [77]);
    assert_eq!(scene.told(1).updates, before + 2, "one announcement, one withdrawal");

    scene.rib.configure_peer(scene.slot(1), &target);
    scene.configuration.export.denied.clear();
    scene.rib.configure(&scene.configuration);
    assert_eq!(leave(&mut scene), [own[0], own[1], own[2], learned[0], learned[2]].into());
}

#[test]
fn each_family_ends_with_end_of_rib_and_equal_attributes_share_messages() {
    let mut configuration = configuration();
    configuration.originated = (0..200).map(|n| net(&format!("192.168.{n}.0/26"))).collect();
    let mut scene = Scene::new(configuration, &[peer("10.0.0.1")]);
    let told = scene.told(0);
    assert_eq!(told.routes.len(), 200);
    assert_eq!(told.end_of_rib, [Family::Ipv4, Family::Ipv6].into());
    assert_eq!(told.updates, 3);
    let slot = scene.slot(0);
    assert!(scene.rib.write(slot, 4096).is_empty());

    scene.rib.refresh(slot, Family::Ipv4);
    assert_eq!(scene.told(0).updates, 4);
}

#[test]
fn attributes_too_long_for_a_message_are_told_to_nobody() {
    let mut scene =
        Scene::new(configuration(), &[external("10.0.0.1", 65001), external("10.0.0.2", 65002)]);
    let short = Attributes { as_path: path(&[65001]), ..Attributes::default() };
    scene.learn(0, &announce(&[prefix()], "10.0.0.1", short.clone()));
    assert!(scene.told_of(1, prefix()).is_some());
    let long = Attributes { communities: (0..1020).collect(), ..short };
    scene.learn(0, &announce(&[prefix()], "10.0.0.1", long));
    assert_eq!(scene.told_of(1, prefix()), None);
}

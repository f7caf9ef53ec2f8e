//! What stands in the datastore afterwards, byte for byte, what it costs, and what errors say.

mod world;

use ipam::{
    AutoAssign, CheckIp, EnsureTunnelAddress, Error, ReleaseAddresses, ReleaseHost, ReleaseOne,
    ReleaseUnclaimed, Usage,
};
use model::{IpamConfig, Key, Request, names::Tunnel};
use world::{Process, Task, World, check, now, pool, release, wish};

fn stored(world: &World, path: &str) -> String {
    let value = Key::parse(path).and_then(|key| world.values.get(&key));
    value.map(|bytes| String::from_utf8_lossy(bytes).into_owned()).unwrap_or_default()
}

const BLOCK: &str = "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-30";

#[test]
fn the_objects_are_calicos() {
    let mut world = World::default();
    let given = world.run(wish("n", "net.c1", pool("10.0.0.0/30", 30)).start()).unwrap();
    assert_eq!(given, ["10.0.0.0/30".parse().unwrap()]);
    expect_test::expect![[r#"{"cidr":"10.0.0.0/30","affinity":"host:n","affinity_claim_time":"2026-01-01T00:00:00Z","allocations":[0,null,null,null],"unallocated":[1,2,3],"attributes":[{"handle_id":"net.c1","secondary":{"node":"n"}}],"sequenceNumber":1767225600000000001,"sequenceNumberForAllocation":{"0":1767225600000000000},"deleted":false}"#]]
        .assert_eq(&stored(&world, BLOCK));
    expect_test::expect![[r#"{"block":{"10.0.0.0/30":1},"deleted":false}"#]]
        .assert_eq(&stored(&world, "/calico/ipam/v2/handle/net.c1"));
    expect_test::expect![[r#"{"state":"confirmed","deleted":"false"}"#]]
        .assert_eq(&stored(&world, "/calico/ipam/v2/host/n/ipv4/block/10.0.0.0-30"));
}

#[test]
fn a_freed_address_is_given_last_and_attributes_are_renumbered() {
    let mut world = World::default();
    for handle in ["a", "b"] {
        world.run(wish("n", handle, pool("10.0.0.0/30", 30)).start()).unwrap();
    }
    world.run(release("a")).unwrap();
    let block = &world.blocks()[0];
    assert_eq!(block.unallocated, [2, 3, 0]);
    assert_eq!(block.allocations, [None, Some(0), None, None]);
    assert_eq!(block.attributes.len(), 1);
    assert!(!world.handles().contains_key("a"));
}

#[test]
fn fields_of_a_newer_calico_stay() {
    let mut world = World::default();
    world.run(wish("n", "a", pool("10.0.0.0/30", 30)).start()).unwrap();
    let key = Key::parse(BLOCK).unwrap();
    let text = stored(&world, BLOCK).replace("\"deleted\"", "\"future\":7,\"deleted\"");
    world.values.insert(key, text.into_bytes());
    world.run(wish("n", "b", pool("10.0.0.0/30", 30)).start()).unwrap();
    assert!(stored(&world, BLOCK).contains("\"future\":7"));
}

#[test]
fn the_common_case_costs_few_requests() {
    let mut world = World::default();
    let wanted = |handle: &str| wish("n", handle, pool("fd00::/64", 122));
    world.run(wanted("a").start()).unwrap();
    let (_, asked) = world.count(&mut wanted("b").start());
    assert_eq!(asked.len(), 4, "{asked:?}");
    let key = Key::Block(world.blocks()[0].cidr);
    let model::Response::Entry(Some(entry)) = world.carry_out(Request::Get(key)) else {
        panic!("the block is not there")
    };
    let hinted =
        |handle: &str| AutoAssign { known_affine_blocks: vec![entry.clone()], ..wanted(handle) };
    let (given, asked) = world.count(&mut hinted("c").start());
    assert_eq!(given.unwrap().len(), 1);
    assert!(matches!(asked.as_slice(), [Request::Create { .. }, Request::Update { .. }]));
    // The hint is outdated now: a conflict, and the address is another one.
    assert_eq!(world.run(hinted("d").start()).unwrap().len(), 1);
    world.check();
}

#[test]
fn a_released_address_rests() {
    let mut world = World::default();
    let config = IpamConfig { ip_cooldown_seconds: 30, ..IpamConfig::default() };
    let at = |second: i64, handle: &str| AutoAssign {
        config: config.clone(),
        now: now() + jiff::SignedDuration::from_secs(second),
        ..wish("n", handle, pool("10.0.0.0/32", 32))
    };
    world.run(at(0, "a").start()).unwrap();
    let release =
        ipam::ReleaseByHandle { handle: "a".to_owned(), config: config.clone(), now: now() };
    world.run(release.start()).unwrap();
    assert!(matches!(world.run(at(29, "b").start()), Err(Error::PoolExhausted { .. })));
    assert_eq!(world.run(at(30, "b").start()).unwrap().len(), 1);
    world.check();
}

#[test]
fn errors_name_the_object_and_the_next_step() {
    let mut world = World::default();
    let two = AutoAssign { count: 2, ..wish("n", "a", pool("10.0.0.0/32", 32)) };
    let error = world.run(two.start()).unwrap_err();
    expect_test::expect![[r#"no free address for node n in the IP pools p (10.0.0.0/32): create another IPPool, or release addresses nobody uses (calicoctl ipam show --show-blocks says where they are)"#]]
        .assert_eq(&error.to_string());
    assert!(world.handles().is_empty(), "all or none");
    let bound =
        AutoAssign { max_blocks: Some(1), count: 2, ..wish("n", "a", pool("10.1.0.0/24", 32)) };
    let error = world.run(bound.start()).unwrap_err();
    assert!(matches!(error, Error::BlockLimit { limit: 1, .. }), "{error}");
    world.run(wish("n", "a", pool("10.0.0.0/32", 32)).start()).unwrap();
    let one = ReleaseOne {
        address: "10.0.0.0".parse().unwrap(),
        handle: Some("x".to_owned()),
        sequence_number: None,
    };
    let addresses = vec![one.clone()];
    let wrong = ReleaseAddresses { addresses, config: IpamConfig::default(), now: now() };
    assert!(matches!(world.run(wrong.clone().start()), Err(Error::BadHandle { .. })));
    let stale = ReleaseOne { handle: None, sequence_number: Some(1), ..one.clone() };
    let stale = ReleaseAddresses { addresses: vec![stale], ..wrong.clone() };
    assert!(matches!(world.run(stale.start()), Err(Error::BadSequenceNumber { .. })));
    let right = ReleaseOne { handle: Some("a".to_owned()), ..one };
    let right = ReleaseAddresses { addresses: vec![right], ..wrong };
    assert_eq!(world.run(right.clone().start()).unwrap().len(), 0);
    assert_eq!(world.run(right.start()).unwrap().len(), 1, "nobody holds it any more");
    assert!(world.handles().is_empty());
}

#[test]
fn a_damaged_block_is_an_error_not_a_panic() {
    let mut world = World::default();
    world.run(wish("n", "a", pool("10.0.0.0/30", 30)).start()).unwrap();
    let text = stored(&world, BLOCK).replace("[0,null", "[9,null");
    world.values.insert(Key::parse(BLOCK).unwrap(), text.into_bytes());
    let outcome = world.run(wish("n", "b", pool("10.0.0.0/30", 30)).start());
    assert!(matches!(outcome, Err(Error::Corrupt { .. })), "{outcome:?}");
}

/// Pods that do without it are given addresses, never one of it; who needs it is told.
#[test]
fn a_damaged_block_stops_nobody_else() {
    let mut world = World::default();
    let damaged: ipnet::IpNet = "10.0.0.0/30".parse().unwrap();
    let wide = || pool("10.0.0.0/29", 30);
    world.run(wish("n", "a", pool("10.0.0.0/30", 30)).start()).unwrap();
    let text = stored(&world, BLOCK).replace("[0,null", "[9,null");
    world.values.insert(Key::parse(BLOCK).unwrap(), text.into_bytes());

    for handle in ["b", "c", "d", "e"] {
        let given = world.run(wish("n", handle, wide()).start()).unwrap();
        assert!(!damaged.contains(&given[0].addr()), "{given:?}");
    }
    let refused = world.run(wish("n", "f", wide()).start());
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
    assert_eq!(world.run(wish("n", "g", pool("10.9.0.0/30", 30)).start()).unwrap().len(), 1);

    let mut release = |address: &str| {
        let address = address.parse().unwrap();
        let addresses = vec![ReleaseOne { address, handle: None, sequence_number: None }];
        let config = IpamConfig::default();
        world.run(ReleaseAddresses { addresses, config, now: now() }.start())
    };
    assert_eq!(release("10.0.0.5").unwrap().len(), 0, "it was held");
    let refused = release("10.0.0.1");
    assert!(matches!(refused, Err(Error::Corrupt { .. })), "{refused:?}");
}

#[test]
fn a_tunnel_keeps_its_address_until_the_pool_changes() {
    let mut world = World::default();
    let mut ensure = |pools| {
        let host = "n".to_owned();
        let (tunnel, config) = (Tunnel::Vxlan, IpamConfig::default());
        world.run(EnsureTunnelAddress { host, tunnel, pools, config, now: now() }.start()).unwrap()
    };
    let first = ensure(vec![pool("10.0.0.0/24", 26)]);
    assert!(first.is_some());
    assert_eq!(ensure(vec![pool("10.0.0.0/24", 26)]), first);
    assert_ne!(ensure(vec![pool("10.1.0.0/24", 26)]), first);
    assert_eq!(ensure(vec![]), None);
    assert!(world.handles().is_empty());
}

#[test]
fn usage_counts_borrowed_and_reserved() {
    let mut world = World::default();
    world.run(wish("n", "a", pool("10.0.0.0/30", 30)).start()).unwrap();
    world.run(wish("m", "b", pool("10.0.0.0/30", 30)).start()).unwrap();
    let reserved = vec!["10.0.0.3/32".parse().unwrap()];
    let usage = world.run(Usage { pools: vec![pool("10.0.0.0/30", 30)], reserved }.start());
    let usage = &usage.unwrap()[0];
    assert_eq!((usage.total, usage.in_use, usage.reserved, usage.free), (4, 2, 1, 1));
    assert_eq!(usage.blocks[0].borrowed[0].handle.as_deref(), Some("b"));
    let held = world.run(CheckIp { address: "10.0.0.1".parse().unwrap() }.start()).unwrap();
    assert_eq!(held.unwrap().attributes["node"], "m");
    check(&world, &[Process::new(Task::Release("x".to_owned()))]);
}

proptest::proptest! {
    #[test]
    fn blocks_partition_their_pool(bits in 0u8..=10, index: u128, v6: bool) {
        let (cidr, block_size) = if v6 { ("fd00:1::", 122) } else { ("10.64.0.0", 28) };
        let pool = pool(&format!("{cidr}/{}", block_size - bits), block_size);
        proptest::prop_assert_eq!(pool.block_count(), 1 << bits);
        let index = index % pool.block_count();
        let block = pool.block(index).unwrap();
        proptest::prop_assert!(pool.cidr.contains(&block));
        proptest::prop_assert_eq!(pool.block_of(block.network()), Some(block));
        proptest::prop_assert_eq!(pool.block_of(block.broadcast()), Some(block));
        proptest::prop_assert_eq!(pool.block(pool.block_count()), None);
        if let Some(next) = pool.block(index + 1) {
            proptest::prop_assert!(next.network() > block.broadcast());
        }
    }
}

/// One that was seen long ago is left alone; nothing is left of one that is as it was seen.
#[test]
fn only_what_is_as_it_was_seen_is_released() {
    let mut world = World::default();
    let mut two = wish("n", "h", pool("10.0.0.0/30", 30));
    two.count = 2;
    world.run(two.clone().start()).unwrap();
    let stale = world::seen(&world, "h");
    world.run(release("h")).unwrap();
    world.run(two.start()).unwrap();
    let before = world.values.clone();
    assert_eq!(world.run(stale.start()).unwrap(), [""; 0].map(|_| std::net::IpAddr::from([0; 4])));
    assert_eq!(world.values, before);
    let seen = world::seen(&world, "h");
    let mut operation = seen.start();
    let (released, asked) = world.count(&mut operation);
    assert_eq!((released.unwrap().len(), asked.len()), (2, 4));
    assert!(world.handles().is_empty());
    world.check();
}

#[test]
fn a_block_that_nobody_claims_goes_with_its_last_address() {
    let mut world = World::default();
    world.run(wish("n", "h", pool("10.0.0.0/30", 30)).start()).unwrap();
    let block = "10.0.0.0/30".parse().unwrap();
    let unclaimed = |world: &mut World| world.run(ReleaseUnclaimed { block }.start()).unwrap();
    assert!(!unclaimed(&mut world), "it is a node's");
    let config = IpamConfig::default();
    world.run(ReleaseHost { host: "n".to_owned(), config, now: now() }.start()).unwrap();
    assert!(!unclaimed(&mut world), "it holds an address");
    world.run(release("h")).unwrap();
    assert!(unclaimed(&mut world));
    assert!(!unclaimed(&mut world), "it is gone");
    assert_eq!(world.values.len(), 0);
}

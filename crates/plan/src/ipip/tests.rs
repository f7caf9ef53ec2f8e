//! When there is a `tunl0`, of which kind, how large its packets are, and whose it takes.

use super::DEVICE;
use crate::topology::{Facts, Pool, RemoteNode, Settings, Topology};
use crate::{Plan, plan};
use expect_test::expect;
use kernel::{Link, LinkKind};
use model::EncapsulationMode::{self, Always, CrossSubnet, Never};

fn uplink(mtu: u32) -> Link {
    Link { kind: LinkKind::Other(String::new()), mtu, mac: None, up: true }
}

/// A node with two uplinks, and two others of which one has no address yet.
fn node(ipip: EncapsulationMode, vxlan: EncapsulationMode) -> Topology {
    let mut facts = Facts::default();
    facts.links.extend([("ens5".to_owned(), uplink(1500)), ("ens6".to_owned(), uplink(9001))]);
    facts.links.insert("docker0".to_owned(), uplink(1400));
    facts.addresses.insert(("ens5".to_owned(), "10.30.0.206/24".parse().unwrap()));
    let remote = |address: &str| RemoteNode { address: address.parse().ok(), ..<_>::default() };
    let cidr = "192.168.0.0/16".parse().unwrap();
    let name = "default-ipv4-ippool".to_owned();
    Topology {
        node: "worker-1".to_owned(),
        address: "10.30.0.206/24".parse().ok(),
        ipip_address: "192.168.226.64".parse().ok(),
        nodes: [("worker-2".to_owned(), remote("10.30.0.56")), ("worker-3".to_owned(), remote(""))]
            .into(),
        pools: vec![Pool { name, cidr, ipip, vxlan, nat_outgoing: true }],
        facts,
        settings: Settings {
            mtu_devices: ["ens5", "ens6", "ens7"].map(str::to_owned).into(),
            ..Settings::default()
        },
        ..Topology::default()
    }
}

fn device(plan: &Plan) -> Option<&Link> {
    plan.state.links.get(DEVICE)
}

#[test]
fn it_is_there_where_a_pool_or_the_settings_want_it() {
    for (ipip, enabled, expected) in [
        (Never, None, false),
        (Always, None, true),
        (CrossSubnet, None, true),
        (Never, Some(true), true),
        (Always, Some(false), false),
    ] {
        let mut topology = node(ipip, Never);
        topology.settings.ipip_enabled = enabled;
        let plan = plan(&topology);
        assert_eq!(device(&plan).is_some(), expected, "{ipip:?} {enabled:?}");
        assert_eq!(plan.state.decapsulated.contains_key(DEVICE), expected);
        assert!(plan.owned.owns_device(DEVICE), "one of former times can be removed");
    }
    let mut nameless = node(Always, Never);
    nameless.address = None;
    assert_eq!(device(&plan(&nameless)), None);
}

#[test]
fn by_bpf_it_takes_packets_of_nodes_on_all_uplinks() {
    let plan = plan(&node(Always, Never));
    let link = device(&plan).unwrap();
    let expected = expect!["mtu 1480 up type ipip (by BPF) local 10.30.0.206 dev ens5,ens6"];
    expected.assert_eq(&link.to_string());
    assert_eq!(plan.state.decapsulated[DEVICE], ["10.30.0.56".parse().unwrap()].into());
    let address = (DEVICE.to_owned(), "192.168.226.64/32".parse().unwrap());
    assert!(plan.state.addresses.contains(&address));
}

#[test]
fn a_kernel_with_ipip_has_its_own() {
    let mut topology = node(Always, Never);
    topology.facts.ipip = true;
    let plan = plan(&topology);
    assert_eq!(device(&plan).unwrap().kind, LinkKind::Ipip);
    assert!(plan.state.decapsulated.is_empty());
}

#[test]
fn pods_send_what_the_narrowest_tunnel_carries() {
    for (ipip, vxlan, ipip_mtu, tunnel, pod) in [
        (Never, Never, 0, None, 1500),
        (Always, Never, 0, Some(1480), 1480),
        (Never, Always, 0, None, 1450),
        (Always, Never, 1300, Some(1300), 1300),
        (Never, Never, 1300, None, 1500),
    ] {
        let mut topology = node(ipip, vxlan);
        topology.settings.ipip_mtu = ipip_mtu;
        let plan = plan(&topology);
        assert_eq!(device(&plan).map(|link| link.mtu), tunnel);
        assert_eq!(plan.pod_mtu, pod);
    }
    let mut both = node(Never, Always);
    both.pools.extend(node(Always, Never).pools);
    assert_eq!(plan(&both).pod_mtu, 1450);
}

#[test]
fn only_nodes_may_send_ip_in_ip_to_this_one() {
    let text = |ipip| plan(&node(ipip, Never)).tables.iter().map(ToString::to_string).collect();
    let (with, without): (String, String) = (text(Always), text(Never));
    let added: Vec<&str> =
        with.lines().map(str::trim).filter(|line| !without.contains(*line)).collect();
    expect![[r#"
        set cali40all-hosts-net {
        meta l4proto ipencap fib daddr type local ip saddr @cali40all-hosts-net counter accept comment "IP-in-IP from cluster nodes"
        meta l4proto ipencap fib daddr type local counter drop comment "IP-in-IP from anybody else""#]].assert_eq(&added.join("\n"));
}

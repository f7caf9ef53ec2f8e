//! The core as a whole: events in, effects out, no kernel and no datastore.

use crate::api::{
    AddWorkload, AddressSource, DeleteWorkload, Features, Reply, Request, WorkloadId,
};
use crate::event::ApplyFailure;
use crate::*;
use kernel::{Link, LinkKind};
use model::names::Tunnel;
use model::{
    Block, DatastoreEvent, EncapsulationMode, Entry, IpPool, IpPoolSpec, Key, Kind, NodeBgpSpec,
    NodeSpec, Revision, WorkloadEndpoint,
};
use proptest::prelude::*;
use std::collections::BTreeMap;

mod with_bgp;
mod with_kubernetes;
mod with_policy;
mod with_workloads;

const INTERFACE: &str = "cali4d001776093";

fn environment() -> Vec<(String, String)> {
    let pairs = [("CALICO_NETWORKING_BACKEND", "vxlan"), ("FELIX_PROGRAMCLUSTERROUTES", "Enabled")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn changed(key: Key, value: Vec<u8>) -> Event {
    Event::Datastore(DatastoreEvent::Changed(Entry::new(key, value, Revision(7))))
}

fn stored<S: model::Spec>(resource: &model::Resource<S>) -> Event {
    changed(resource.key(), resource.to_stored())
}

fn a_node(name: &str, address: &str, tunnel: &str) -> Event {
    let bgp = NodeBgpSpec { ipv4_address: Some(address.to_owned()), ..NodeBgpSpec::default() };
    let spec = NodeSpec {
        bgp: Some(bgp),
        ipv4_vxlan_tunnel_addr: Some(tunnel.to_owned()),
        ..NodeSpec::default()
    };
    stored(&model::Node::new(name, spec))
}

fn pool(vxlan: EncapsulationMode) -> Event {
    let spec =
        IpPoolSpec { cidr: "192.168.0.0/16".to_owned(), vxlan_mode: vxlan, ..<_>::default() };
    stored(&IpPool::new("default-ipv4-ippool", spec))
}

fn block(cidr: &str, node: &str, borrower: Option<&str>) -> Event {
    let mut block: Block = serde_json::from_value(serde_json::json!({
        "cidr": cidr, "affinity": format!("host:{node}"), "allocations": vec![None::<u32>; 64],
        "unallocated": (0..64).collect::<Vec<_>>(),
    }))
    .expect("a block");
    if let Some(borrower) = borrower {
        let secondary = BTreeMap::from([("node".to_owned(), borrower.to_owned())]);
        let allocation =
            model::Allocation { secondary: Some(secondary), ..model::Allocation::default() };
        block.attributes.push(allocation);
        block.allocations[6] = Some(0);
        block.unallocated.retain(|ordinal| *ordinal != 6);
    }
    let key = Key::Block(block.cidr);
    changed(key, serde_json::to_vec(&block).expect("JSON"))
}

fn facts() -> Event {
    let mut facts = plan::Facts::default();
    let kind = LinkKind::Other(String::new());
    facts.links.insert("ens5".to_owned(), Link { kind, mtu: 1500, mac: None, up: true });
    facts.addresses.insert(("ens5".to_owned(), "10.30.0.206/24".parse().expect("a prefix")));
    Event::Facts(Box::new(facts))
}

fn cluster() -> Vec<Event> {
    vec![
        facts(),
        pool(EncapsulationMode::Always),
        a_node("worker-1", "10.30.0.206/24", "192.168.226.64"),
        a_node("worker-2", "10.30.0.56/24", "192.168.133.192"),
        block("192.168.226.64/26", "worker-1", Some("worker-2")),
        block("192.168.133.192/26", "worker-2", None),
    ]
}

fn in_sync() -> Event {
    Event::Datastore(DatastoreEvent::InSync)
}

/// A node that is in sync, with its first plan applied.
fn ready() -> Node {
    let mut node = Node::new("worker-1", environment());
    for event in cluster().into_iter().chain([in_sync()]) {
        assert!(node.on(event).is_empty());
    }
    let generation = applied_generation(&node.on(Event::Idle));
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    without_connections(&mut node, effects);
    node
}

/// The kernel tracks none, as often as it is asked.
fn without_connections(node: &mut Node, mut effects: Vec<Effect>) {
    while effects.iter().any(|effect| matches!(effect, Effect::ListConnections(_))) {
        effects = node.on(Event::Connections(vec![]));
    }
}

fn applied_generation(effects: &[Effect]) -> u64 {
    let generation = effects.iter().find_map(|effect| match effect {
        Effect::Apply { generation, .. } => Some(*generation),
        _ => None,
    });
    generation.expect("a plan")
}

fn pod() -> WorkloadId {
    WorkloadId {
        network: "k8s-pod-network".to_owned(),
        container_id: "c0ffee".to_owned(),
        interface: "eth0".to_owned(),
        orchestrator: "k8s".to_owned(),
        namespace: "default".to_owned(),
        pod: "pod-1".to_owned(),
    }
}

fn add() -> Request {
    Request::AddWorkload(Box::new(AddWorkload {
        id: pod(),
        host_interface: INTERFACE.to_owned(),
        interface_follows: false,
        mac: "fe:00:00:00:00:01".to_owned(),
        addresses: AddressSource::CalicoIpam {
            ipv4: 1,
            ipv6: 0,
            ipv4_pools: vec![],
            ipv6_pools: vec![],
            requested: vec![],
        },
        labels: BTreeMap::new(),
        service_account: None,
        ports: vec![],
        features: Features::default(),
    }))
}

fn delete() -> Request {
    Request::DeleteWorkload(DeleteWorkload {
        id: pod(),
        host_interface: INTERFACE.to_owned(),
        release_addresses: true,
    })
}

fn asked(node: &mut Node, id: RequestId, request: Request) -> Vec<Effect> {
    let mut effects = node.on(Event::Request { id, request });
    effects.extend(node.on(Event::Idle));
    effects
}

fn assigned(node: &mut Node, id: RequestId) -> (WorkloadEndpoint, u64) {
    let result = Ok(vec!["192.168.226.65".parse().expect("an address")]);
    let mut effects = node.on(Event::Assigned { id, result });
    effects.extend(node.on(Event::Idle));
    let endpoint = effects.iter().find_map(|effect| match effect {
        Effect::WriteEndpoint { endpoint, .. } => Some((**endpoint).clone()),
        _ => None,
    });
    (endpoint.expect("an endpoint to write"), applied_generation(&effects))
}

/// Connections are looked at whenever policy has changed.
fn but_connections(mut effects: Vec<Effect>) -> Vec<Effect> {
    effects.retain(|effect| !matches!(effect, Effect::ListConnections(_)));
    effects
}

fn replies(effects: &[Effect]) -> Vec<Reply> {
    let reply = |effect: &Effect| match effect {
        Effect::Reply { reply, .. } => Some(reply.clone()),
        _ => None,
    };
    effects.iter().filter_map(reply).collect()
}

#[test]
fn nothing_is_planned_before_the_datastore_is_in_sync() {
    let mut node = Node::new("worker-1", environment());
    for event in cluster() {
        node.on(event);
        assert!(node.on(Event::Idle).is_empty());
    }
    assert_eq!(node.status().not_ready, ["the datastore has not been read yet"]);
    let down = DatastoreEvent::Unreachable("etcd is down".to_owned());
    node.on(Event::Datastore(down));
    assert!(node.status().not_ready[0].contains("etcd is down"));
    node.on(in_sync());
    node.on(Event::Datastore(DatastoreEvent::Reachable));
    let generation = applied_generation(&node.on(Event::Idle));
    assert_eq!(node.status().not_ready, ["the first plan has not been applied yet"]);
    node.on(Event::Applied { generation, failures: vec![] });
    let status = node.status();
    assert!(status.in_sync && status.not_ready.is_empty(), "{status:?}");
}

#[test]
fn an_unreachable_datastore_changes_nothing_and_is_a_warning() {
    let mut node = ready();
    let down = DatastoreEvent::Unreachable("etcd is down".to_owned());
    node.on(Event::Datastore(down));
    assert!(node.on(Event::Idle).is_empty());
    let status = node.status();
    assert!(status.not_ready.is_empty(), "{status:?}");
    assert_eq!(status.warnings, ["etcd is down; what was known stays in force"]);
}

#[test]
fn an_object_that_cannot_be_read_is_named_and_the_rest_goes_on() {
    let mut node = ready();
    let key = Key::cluster(Kind::IpPool, "broken");
    node.on(changed(key, b"{\"spec\": 7}".to_vec()));
    let warnings = node.status().warnings;
    assert!(warnings.iter().any(|w| w.starts_with("IPPool(broken) is ignored")), "{warnings:?}");
    assert!(node.on(Event::Idle).is_empty());
}

#[test]
fn the_tunnel_address_is_wanted_while_a_pool_uses_vxlan() {
    let mut node = Node::new("worker-1", environment());
    node.on(facts());
    node.on(pool(EncapsulationMode::Always));
    node.on(in_sync());
    let wanted = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::TunnelAddress { tunnel: Tunnel::Vxlan, pools } => Some(pools.is_some()),
            _ => None,
        })
    };
    assert_eq!(wanted(&node.on(Event::Idle)), Some(true));
    assert_eq!(wanted(&node.on(Event::Idle)), None, "one at a time");
    node.on(a_node("worker-1", "10.30.0.206/24", "192.168.226.64"));
    node.on(Event::TunnelAddress { tunnel: Tunnel::Vxlan, wanted: true, result: Ok(()) });
    assert_eq!(wanted(&node.on(Event::Idle)), None);
    node.on(pool(EncapsulationMode::Never));
    assert_eq!(wanted(&node.on(Event::Idle)), Some(false));
    node.on(Event::TunnelAddress {
        tunnel: Tunnel::Vxlan,
        wanted: false,
        result: Err("etcd is down".to_owned()),
    });
    assert!(node.status().not_ready.iter().any(|line| line.contains("etcd is down")));
    assert_eq!(wanted(&node.on(Event::Idle)), Some(false), "tried again");
}

#[test]
fn a_node_that_no_vxlan_pool_selects_says_what_it_does_not_reach() {
    let mut node = Node::new("worker-1", environment());
    node.on(facts());
    let spec = IpPoolSpec {
        cidr: "192.168.0.0/16".to_owned(),
        vxlan_mode: EncapsulationMode::Always,
        node_selector: Some("has(rack)".to_owned()),
        ..<_>::default()
    };
    node.on(stored(&IpPool::new("racks", spec)));
    node.on(in_sync());
    node.on(Event::Idle);
    let warnings = node.status().warnings;
    assert!(warnings.iter().any(|w| w.contains("pods of IPPool(racks)")), "{warnings:?}");
    assert!(ready().status().warnings.is_empty(), "a node with an address says nothing");
}

#[test]
fn a_disabled_pool_keeps_the_tunnel_of_its_pods() {
    let mut node = ready();
    let wanted = |effects: &[Effect]| {
        effects.iter().any(|effect| matches!(effect, Effect::TunnelAddress { .. }))
    };
    node.on(Event::TunnelAddress { tunnel: Tunnel::Vxlan, wanted: true, result: Ok(()) });
    let with = |vxlan_mode, disabled| {
        let cidr = "192.168.0.0/16".to_owned();
        let spec = IpPoolSpec { cidr, vxlan_mode, disabled, ..<_>::default() };
        stored(&IpPool::new("default-ipv4-ippool", spec))
    };
    node.on(with(EncapsulationMode::Always, true));
    assert!(!wanted(&node.on(Event::Idle)), "its pods keep their addresses");
    node.on(with(EncapsulationMode::Never, true));
    assert!(wanted(&node.on(Event::Idle)), "nothing travels by it");
}

proptest! {
    /// Incremental equals from scratch: whatever is told in whatever order, twice, with detours, the
    /// plan is the one of a node that was told the final state once.
    #[test]
    fn the_order_of_events_does_not_matter(
        order in Just((0..cluster().len()).collect::<Vec<_>>()).prop_shuffle(),
        detours in proptest::collection::vec((0..6_usize, any::<bool>()), 0..12),
    ) {
        let mut node = Node::new("worker-1", environment());
        for (position, deletes) in detours {
            let event = detour(position, deletes);
            node.on(event);
        }
        for position in order {
            node.on(cluster().swap_remove(position));
        }
        node.on(in_sync());
        let mut fresh = Node::new("worker-1", environment());
        for event in cluster() {
            fresh.on(event);
        }
        fresh.on(in_sync());
        prop_assert_eq!(node.cluster.topology(), fresh.cluster.topology());
        let plans = [node, fresh].map(|mut node| plan_of(&node.on(Event::Idle)));
        prop_assert_eq!(&plans[0], &plans[1]);
    }

    /// Events survive being recorded.
    #[test]
    fn events_are_recorded_and_replayed(position in 0..6_usize) {
        let event = cluster().swap_remove(position);
        let text = serde_json::to_string(&event).expect("JSON");
        let replayed: Event = serde_json::from_str(&text).expect("an event");
        prop_assert_eq!(format!("{event:?}"), format!("{replayed:?}"));
    }
}

/// Something that the final state undoes.
fn detour(position: usize, deletes: bool) -> Event {
    let event = match position {
        0 => pool(EncapsulationMode::Never),
        1 => a_node("worker-2", "10.9.9.9/24", "192.168.9.9"),
        2 => block("192.168.133.192/26", "worker-1", Some("worker-2")),
        3 => block("192.168.226.64/26", "worker-2", None),
        4 => a_node("worker-1", "10.9.9.1/24", "192.168.9.1"),
        _ => return Event::Idle,
    };
    match event {
        Event::Datastore(DatastoreEvent::Changed(entry)) if deletes => {
            let deleted = DatastoreEvent::Deleted { key: entry.key, revision: Revision(9) };
            Event::Datastore(deleted)
        }
        other => other,
    }
}

fn plan_of(effects: &[Effect]) -> plan::Plan {
    let plan = effects.iter().find_map(|effect| match effect {
        Effect::Apply { plan: Some(plan), .. } => Some((**plan).clone()),
        _ => None,
    });
    plan.expect("a plan")
}

#[test]
fn another_node_is_asked_only_what_changes_nothing() {
    let mut node = Node::new("worker-1", environment());
    node.on(a_node("worker-1", "10.0.0.1/24", "192.168.0.1"));
    node.on(a_node("worker-2", "10.0.0.2/24", "192.168.0.2"));
    let mut ask = |name: &str, request: Request| {
        let request = Request::OnNode { node: name.to_owned(), request: Box::new(request) };
        match node.on(Event::Request { id: 9, request }).as_slice() {
            [Effect::AskNode { id: 9, node, address, request: Request::Status }] => {
                format!("asks {node} at {address}")
            }
            [Effect::Reply { id: 9, reply: Reply::Status(status) }] => status.node.clone(),
            [Effect::Reply { id: 9, reply: Reply::Failed { retry: false, message } }] => {
                message.clone()
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(ask("worker-2", Request::Status), "asks worker-2 at 10.0.0.2");
    assert_eq!(ask("worker-1", Request::Status), "worker-1");
    let unknown = ask("worker-9", Request::Status);
    assert!(unknown.starts_with("node worker-9 has no IPv4 address"), "{unknown}");
    for name in ["worker-1", "worker-2"] {
        let further = Request::OnNode { node: name.to_owned(), request: Box::new(Request::Status) };
        let refused = ask(name, further);
        assert!(refused.contains("other nodes may only read"), "{refused}");
    }
}

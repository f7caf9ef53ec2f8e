//! The core as a whole: events in, effects out, no kernel and no datastore.

use crate::api::{AddWorkload, AddressSource, DeleteWorkload, Reply, Request, WorkloadId};
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
mod with_policy;

const INTERFACE: &str = "cali4d001776093";

fn environment() -> Vec<(String, String)> {
    let pairs = [("CALICO_NETWORKING_BACKEND", "vxlan"), ("FELIX_PROGRAMCLUSTERROUTES", "Enabled")];
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec()
}

fn changed(key: Key, value: Vec<u8>) -> Event {
    Event::Datastore(DatastoreEvent::Changed(Entry { key, value, revision: Revision(7) }))
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
    node.on(Event::Applied { generation, failures: vec![] });
    node
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
fn add_is_answered_when_stored_and_applied_in_either_order() {
    for stored_first in [true, false] {
        let mut node = ready();
        let effects = asked(&mut node, 1, add());
        let [Effect::Assign { id: 1, assign }, ..] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(assign.handle, "k8s-pod-network.c0ffee");
        assert_eq!(assign.attributes["pod"], "pod-1");
        assert_eq!(assign.own_blocks.len(), 1);
        let (endpoint, generation) = assigned(&mut node, 1);
        assert_eq!(endpoint.metadata.name, "worker--1-k8s-pod--1-eth0");
        assert_eq!(endpoint.spec.ip_networks, ["192.168.226.65/32"]);
        let written = Event::Written { id: 1, written: Written::Endpoint(Ok(())) };
        let applied = Event::Applied { generation, failures: vec![] };
        let (first, second) = if stored_first { (written, applied) } else { (applied, written) };
        assert_eq!(replies(&node.on(first)), []);
        let addresses = vec!["192.168.226.65/32".parse().expect("a prefix")];
        assert_eq!(replies(&node.on(second)), [Reply::Added { addresses }]);
    }
}

#[test]
fn an_add_with_a_label_that_is_none_takes_no_address() {
    let mut node = ready();
    let mut request = add();
    if let Request::AddWorkload(add) = &mut request {
        add.labels.insert("app".to_owned(), "not fit".to_owned());
    }
    let effects = asked(&mut node, 1, request);
    let [Effect::Reply { id: 1, reply: Reply::Failed { retry: false, message } }] =
        effects.as_slice()
    else {
        panic!("{effects:?}")
    };
    assert!(message.contains("not fit"), "{message}");
}

#[test]
fn add_again_gets_the_same_addresses_without_new_ones() {
    let mut node = ready();
    asked(&mut node, 1, add());
    let (endpoint, generation) = assigned(&mut node, 1);
    node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    node.on(Event::Applied { generation, failures: vec![] });
    node.on(stored(&endpoint));
    let effects = asked(&mut node, 2, add());
    let addresses = vec!["192.168.226.65/32".parse().expect("a prefix")];
    assert_eq!(replies(&effects), [Reply::Added { addresses }]);
}

/// A pod of the same name comes back at once: what the datastore still tells of the container before
/// must not take the new one's route.
#[test]
fn news_of_a_pods_earlier_container_does_not_touch_the_new_one() {
    let mut node = ready();
    asked(&mut node, 1, add());
    let (endpoint, generation) = assigned(&mut node, 1);
    node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    node.on(Event::Applied { generation, failures: vec![] });
    let mut earlier = endpoint.clone();
    earlier.spec.container_id = "an earlier one".to_owned();
    earlier.spec.ip_networks = vec!["192.168.226.99/32".to_owned()];
    let key = endpoint.key();
    let deleted = DatastoreEvent::Deleted { key: key.clone(), revision: Revision(9) };
    for event in [stored(&earlier), Event::Datastore(deleted.clone()), stored(&endpoint)] {
        node.on(event);
        assert!(node.on(Event::Idle).is_empty(), "the plan stays");
    }
    node.on(Event::Datastore(deleted));
    applied_generation(&node.on(Event::Idle));
    assert!(!node.cluster.topology().workloads.contains_key(INTERFACE), "now it is its own");
}

#[test]
fn what_fails_is_taken_back_before_it_is_answered() {
    let refusal = || Refusal { retry: true, message: "etcd is full".to_owned() };
    let failure = ApplyFailure {
        object: "192.168.226.65/32".to_owned(),
        interface: Some(INTERFACE.to_owned()),
        message: "no such device".to_owned(),
    };
    for (event, said) in [
        (Event::Written { id: 1, written: Written::Endpoint(Err(refusal())) }, "etcd is full"),
        (Event::Applied { generation: 2, failures: vec![failure] }, "no such device"),
    ] {
        let mut node = ready();
        asked(&mut node, 1, add());
        let (_, generation) = assigned(&mut node, 1);
        assert_eq!(generation, 2);
        let written = matches!(event, Event::Written { .. });
        let mut effects = but_connections(node.on(event));
        if !written {
            assert!(effects.is_empty(), "the endpoint is still being written: {effects:?}");
            effects = node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
        }
        let [Effect::Remove { id: 1, delete }] = effects.as_slice() else { panic!("{effects:?}") };
        assert!(delete.release_addresses);
        let replies = replies(&node.on(Event::Written { id: 1, written: Written::Removed }));
        let [Reply::Failed { message, .. }] = replies.as_slice() else { panic!("{replies:?}") };
        assert_eq!(message, said);
        let plan = node.on(Event::Idle);
        assert!(applied_generation(&plan) == 3, "the route goes again");
    }
}

#[test]
fn add_without_pool_or_with_a_locked_datastore_fails_in_words() {
    let mut node = ready();
    node.on(Event::Datastore(DatastoreEvent::Deleted {
        key: Key::cluster(Kind::IpPool, "default-ipv4-ippool"),
        revision: Revision(8),
    }));
    let replies_of = |effects: Vec<Effect>| replies(&effects);
    let answers = replies_of(asked(&mut node, 1, add()));
    let [Reply::Failed { message, .. }] = answers.as_slice() else { panic!("{answers:?}") };
    assert!(message.contains("no IPv4 pool gives addresses to node worker-1"), "{message}");

    let spec = model::ClusterInformationSpec { datastore_ready: Some(false), ..<_>::default() };
    node.on(stored(&model::ClusterInformation::new("default", spec)));
    let answers = replies_of(asked(&mut node, 2, add()));
    let [Reply::Failed { message, retry: true }] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert!(message.starts_with("Calico is currently not ready to process requests"));
}

#[test]
fn delete_is_answered_when_released_and_the_route_goes_at_once() {
    let mut node = ready();
    asked(&mut node, 1, add());
    let (_, generation) = assigned(&mut node, 1);
    node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    node.on(Event::Applied { generation, failures: vec![] });
    let effects = asked(&mut node, 2, delete());
    assert!(matches!(effects.first(), Some(Effect::Remove { id: 2, .. })), "{effects:?}");
    assert_eq!(applied_generation(&effects), 3);
    let done = node.on(Event::Written { id: 2, written: Written::Removed });
    assert_eq!(replies(&done), [Reply::Done]);
}

/// The runtime gives an ADD up and deletes the container while the datastore is slow.
#[test]
fn a_removal_waits_for_the_writes_of_its_add() {
    let to_come = [
        Event::Assigned { id: 1, result: Ok(vec!["192.168.226.65".parse().expect("an address")]) },
        Event::Written { id: 1, written: Written::Endpoint(Ok(())) },
    ];
    for (position, answer) in to_come.into_iter().enumerate() {
        let mut node = ready();
        asked(&mut node, 1, add());
        if position == 1 {
            assigned(&mut node, 1);
        }
        let effects = node.on(Event::Request { id: 2, request: delete() });
        let [Effect::Reply { id: 1, reply: Reply::Failed { retry: true, .. } }] =
            effects.as_slice()
        else {
            panic!("{effects:?}")
        };
        let effects = node.on(answer);
        assert!(matches!(effects.as_slice(), [Effect::Remove { id: 2, .. }]), "{effects:?}");
        let done = node.on(Event::Written { id: 2, written: Written::Removed });
        assert_eq!(replies(&done), [Reply::Done]);
        node.on(Event::Idle);
        let address = "192.168.226.65/32".parse().expect("a prefix");
        let plan = node.last_plan.as_ref().expect("a plan");
        assert!(plan.state.routes.keys().all(|route| route.destination != address));
    }
}

/// An ADD that still waits for the datastore is not started after its container was deleted.
#[test]
fn an_add_that_waits_ends_with_its_container() {
    let mut node = Node::new("worker-1", environment());
    assert!(asked(&mut node, 1, add()).is_empty());
    let effects = asked(&mut node, 2, delete());
    let [Effect::Reply { id: 1, .. }, Effect::Remove { id: 2, .. }] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    for event in cluster().into_iter().chain([in_sync()]) {
        node.on(event);
    }
    let effects = node.on(Event::Idle);
    assert!(!effects.iter().any(|e| matches!(e, Effect::Assign { .. })), "{effects:?}");
}

#[test]
fn a_device_that_went_with_its_pod_is_no_failure_of_the_node() {
    let mut node = ready();
    asked(&mut node, 1, add());
    let (_, generation) = assigned(&mut node, 1);
    node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    let Event::Facts(mut with_pod) = facts() else { panic!("facts") };
    with_pod.workload_links.insert(INTERFACE.to_owned());
    for (facts, not_ready) in [(Event::Facts(with_pod), vec!["no such device"]), (facts(), vec![])]
    {
        node.on(facts);
        let failure = ApplyFailure {
            object: "192.168.226.65/32".to_owned(),
            interface: Some(INTERFACE.to_owned()),
            message: "no such device".to_owned(),
        };
        node.on(Event::Applied { generation, failures: vec![failure] });
        assert_eq!(node.status().not_ready, not_ready);
    }
}

#[test]
fn an_endpoint_is_shown_while_it_is_routed() {
    let shown = |effects: &[Effect]| {
        effects.iter().find_map(|effect| match effect {
            Effect::ShowEndpoints { endpoints, .. } => Some(endpoints.clone()),
            _ => None,
        })
    };
    let mut node = ready();
    asked(&mut node, 1, add());
    let (_, generation) = assigned(&mut node, 1);
    let endpoints = shown(&node.on(Event::Applied { generation, failures: vec![] }));
    let endpoints = endpoints.expect("routed");
    assert_eq!(endpoints["k8s default%2Fpod-1 eth0"].ipv4_nets, ["192.168.226.65/32"]);
    assert!(shown(&node.on(Event::Applied { generation, failures: vec![] })).is_none(), "told");
    node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    let generation = applied_generation(&asked(&mut node, 2, delete()));
    let endpoints = shown(&node.on(Event::Applied { generation, failures: vec![] }));
    assert!(endpoints.expect("told").is_empty());
}

#[test]
fn check_knows_the_container_it_was_asked_about() {
    let mut node = ready();
    let check = |id: WorkloadId| {
        Request::CheckWorkload(DeleteWorkload {
            id,
            host_interface: INTERFACE.to_owned(),
            release_addresses: false,
        })
    };
    let unknown = replies(&asked(&mut node, 1, check(pod())));
    assert!(matches!(unknown.as_slice(), [Reply::Failed { .. }]), "{unknown:?}");
    asked(&mut node, 2, add());
    assigned(&mut node, 2);
    assert_eq!(replies(&asked(&mut node, 3, check(pod()))), [Reply::Done]);
    let other = WorkloadId { container_id: "another".to_owned(), ..pod() };
    let other = replies(&asked(&mut node, 4, check(other)));
    assert!(matches!(other.as_slice(), [Reply::Failed { .. }]), "{other:?}");
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

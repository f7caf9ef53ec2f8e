//! What the CNI plugin asks for: pods come, are checked and go.

use super::*;

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
        assert_eq!(replies(&node.on(second)), [Reply::Added { addresses, mac: None }]);
    }
}

#[test]
fn an_add_before_its_interface_is_assigned_and_stored_but_routed_only_with_it() {
    let follows = || match add() {
        Request::AddWorkload(mut add) => {
            add.interface_follows = true;
            Request::AddWorkload(add)
        }
        other => panic!("{other:?}"),
    };
    let routed = |node: &Node| node.cluster.topology().facts.workload_links.contains(INTERFACE);
    for made_first in [true, false] {
        let mut node = ready();
        let effects = asked(&mut node, 1, follows());
        assert!(matches!(effects.first(), Some(Effect::Assign { id: 1, .. })), "{effects:?}");
        if made_first {
            let effects = asked(&mut node, 2, Request::InterfaceMade(pod()));
            assert_eq!(replies(&effects), [Reply::Done]);
        }
        let result = Ok(vec!["192.168.226.65".parse().expect("an address")]);
        let mut effects = node.on(Event::Assigned { id: 1, result });
        assert!(matches!(effects.first(), Some(Effect::WriteEndpoint { .. })), "{effects:?}");
        node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
        effects.extend(node.on(Event::Idle));
        let mut generation = applied_generation(&effects);
        if !made_first {
            // A plan without it, as when policy changes meanwhile, answers nothing.
            assert!(!routed(&node));
            let early = node.on(Event::Applied { generation, failures: vec![] });
            assert_eq!(replies(&early), []);
            let effects = asked(&mut node, 2, Request::InterfaceMade(pod()));
            assert_eq!(replies(&effects), [Reply::Done]);
            generation = applied_generation(&effects);
        }
        assert!(routed(&node));
        let done = node.on(Event::Applied { generation, failures: vec![] });
        let addresses = vec!["192.168.226.65/32".parse().expect("a prefix")];
        assert_eq!(replies(&done), [Reply::Added { addresses, mac: None }]);
    }

    // Given up meanwhile, its interface is none of the node's.
    let mut node = ready();
    asked(&mut node, 1, follows());
    asked(&mut node, 2, delete());
    asked(&mut node, 3, Request::InterfaceMade(pod()));
    assert!(!routed(&node));
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
    assert_eq!(replies(&effects), [Reply::Added { addresses, mac: None }]);
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

//! Where the Kubernetes API is the datastore: pods are told before their CNI ADD.

use super::*;

fn of_kubernetes() -> Node {
    let mut environment = environment();
    environment.push(("DATASTORE_TYPE".to_owned(), "kubernetes".to_owned()));
    let mut node = Node::new("worker-1", environment);
    for event in cluster().into_iter().chain([in_sync()]) {
        node.on(event);
    }
    let generation = applied_generation(&node.on(Event::Idle));
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    without_connections(&mut node, effects);
    node
}

/// The pod as the driver makes it of what Kubernetes says; `container` is CNI's annotation.
fn told(container: &str, addresses: &[&str]) -> WorkloadEndpoint {
    let mut endpoint = WorkloadEndpoint::new("worker--1-k8s-pod--1-eth0", <_>::default());
    endpoint.metadata.namespace = Some("default".to_owned());
    endpoint.metadata.uid = Some("01020304-0506-4708-890a-0b0c0d0e0f10".to_owned());
    endpoint.metadata.labels.insert("app".to_owned(), "web".to_owned());
    endpoint.spec.orchestrator = "k8s".to_owned();
    endpoint.spec.node = "worker-1".to_owned();
    endpoint.spec.pod = "pod-1".to_owned();
    endpoint.spec.endpoint = "eth0".to_owned();
    endpoint.spec.interface_name = INTERFACE.to_owned();
    endpoint.spec.container_id = container.to_owned();
    endpoint.spec.ip_networks = addresses.iter().map(|text| (*text).to_owned()).collect();
    endpoint
}

/// The addresses of the pod's routes in the newest plan.
fn routed(node: &Node) -> Vec<String> {
    let plan = node.last_plan.as_ref().expect("a plan");
    let all = plan.state.routes.keys().map(|route| route.destination.to_string());
    all.filter(|net| net.ends_with("/32") && net.starts_with("192.168.226.")).collect()
}

#[test]
fn an_add_takes_what_kubernetes_says_of_the_pod() {
    let mut node = of_kubernetes();
    node.on(stored(&told("", &[])));
    let effects = asked(&mut node, 1, add());
    assert!(matches!(effects.first(), Some(Effect::Assign { id: 1, .. })), "{effects:?}");
    let (endpoint, generation) = assigned(&mut node, 1);
    let mut expected = told("c0ffee", &["192.168.226.65/32"]);
    expected.spec.mac = "fe:00:00:00:00:01".to_owned();
    assert_eq!(endpoint, expected);
    node.on(Event::Applied { generation, failures: vec![] });
    let done = node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    assert!(matches!(replies(&done).as_slice(), [Reply::Added { .. }]), "{done:?}");
    // Kubelet's status may still have the addresses of the container before.
    node.on(stored(&told("c0ffee", &["192.168.226.99/32"])));
    node.on(Event::Idle);
    assert!(routed(&node).contains(&"192.168.226.65/32".to_owned()), "{:?}", routed(&node));
    assert!(!routed(&node).contains(&"192.168.226.99/32".to_owned()), "{:?}", routed(&node));
    // A pod that has ended has none.
    node.on(stored(&told("c0ffee", &[])));
    node.on(Event::Idle);
    assert!(!routed(&node).contains(&"192.168.226.65/32".to_owned()), "{:?}", routed(&node));
}

#[test]
fn a_pod_that_was_not_told_is_read() {
    let key = told("", &[]).key();
    let read = |node: &mut Node, result| {
        let mut effects = node.on(Event::PodRead { id: 1, result });
        effects.extend(node.on(Event::Idle));
        effects
    };
    let begin = || {
        let mut node = of_kubernetes();
        let effects = asked(&mut node, 1, add());
        let [Effect::ReadPod { id: 1, key: asked }] = effects.as_slice() else {
            panic!("{effects:?}")
        };
        assert_eq!(*asked, key);
        node
    };
    let entry = || {
        let pod = told("", &[]);
        Entry::new(pod.key(), pod.to_stored(), Revision(9))
    };
    let effects = read(&mut begin(), Ok(Some(entry())));
    assert!(matches!(effects.first(), Some(Effect::Assign { id: 1, .. })), "{effects:?}");
    // The watch was quicker.
    let mut node = begin();
    node.on(stored(&told("", &[])));
    let effects = read(&mut node, Ok(None));
    assert!(effects.iter().any(|e| matches!(e, Effect::Assign { id: 1, .. })), "{effects:?}");

    let refusal = |effects: &[Effect]| match replies(effects).as_slice() {
        [Reply::Failed { retry: true, message }] => message.clone(),
        other => panic!("{other:?}"),
    };
    let said = refusal(&read(&mut begin(), Ok(None)));
    assert!(said.contains("no pod default/pod-1 on node worker-1"), "{said}");
    let unreachable = Refusal { retry: true, message: "no answer".to_owned() };
    assert_eq!(refusal(&read(&mut begin(), Err(unreachable))), "no answer");
    // Deleted meanwhile: nothing is done for it.
    let mut node = begin();
    node.on(Event::Request { id: 2, request: delete() });
    let effects = read(&mut node, Ok(Some(entry())));
    assert!(!effects.iter().any(|e| matches!(e, Effect::Assign { .. })), "{effects:?}");
}

#[test]
fn what_of_an_object_cannot_be_read_is_a_warning_where_it_matters() {
    let mut node = of_kubernetes();
    let says = |node: &Node| node.status().warnings.iter().any(|line| line.contains("Pod odd"));
    let mut pod = told("", &[]);
    let tell = |node: &mut Node, pod: &WorkloadEndpoint, problems: &[&str]| {
        let mut entry = Entry::new(pod.key(), pod.to_stored(), Revision(9));
        entry.problems = problems.iter().map(|text| (*text).to_owned()).collect();
        node.on(Event::Datastore(DatastoreEvent::Changed(entry)));
    };
    tell(&mut node, &pod, &["Pod odd"]);
    assert!(says(&node));
    tell(&mut node, &pod, &[]);
    assert!(!says(&node));
    tell(&mut node, &pod, &["Pod odd"]);
    node.on(Event::Datastore(DatastoreEvent::Deleted { key: pod.key(), revision: Revision(10) }));
    assert!(!says(&node));
    pod.spec.node = "worker-2".to_owned();
    tell(&mut node, &pod, &["Pod odd"]);
    assert!(!says(&node), "worker-2 says it");
}

#[test]
fn the_ipam_settings_are_known_once_all_is_told() {
    let mut node = Node::new("worker-1", environment());
    assert_eq!(node.ipam_config(), None);
    node.on(in_sync());
    assert_eq!(node.ipam_config(), Some(&model::IpamConfig::default()));
    let config = model::IpamConfig { strict_affinity: true, ..model::IpamConfig::default() };
    node.on(changed(Key::IpamConfig, model::Value::IpamConfig(config.clone()).encode()));
    assert_eq!(node.ipam_config(), Some(&config));
    node.on(changed(Key::IpamConfig, b"nonsense".to_vec()));
    assert_eq!(node.ipam_config(), None);
    let gone = DatastoreEvent::Deleted { key: Key::IpamConfig, revision: Revision(9) };
    node.on(Event::Datastore(gone));
    assert_eq!(node.ipam_config(), Some(&model::IpamConfig::default()));
}

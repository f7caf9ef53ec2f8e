//! Where the Kubernetes API is the datastore: pods are told before their CNI ADD.

use super::*;
use crate::event::{Addresses, Assign};
use model::kubernetes::Namespace;
use model::{Metadata, Profile};
use std::net::IpAddr;

fn of_kubernetes() -> Node {
    let mut environment = environment();
    environment.push(("DATASTORE_TYPE".to_owned(), "kubernetes".to_owned()));
    let mut node = Node::new("worker-1", environment);
    for event in cluster().into_iter().chain([namespace(&[]), in_sync()]) {
        node.on(event);
    }
    let generation = applied_generation(&node.on(Event::Idle));
    let effects = node.on(Event::Applied { generation, failures: vec![] });
    without_connections(&mut node, effects);
    node
}

/// The pods' namespace as the driver makes it of what Kubernetes says, with these annotations.
fn namespace(annotations: &[(&str, &str)]) -> Event {
    let mut metadata = Metadata::named("default");
    metadata.labels.insert("team".to_owned(), "shop".to_owned());
    metadata.annotations = annotated(annotations);
    stored(&Namespace { metadata }.to_profile())
}

fn annotated(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    let full = |name: &str| format!("cni.projectcalico.org/{name}");
    list.iter().map(|(name, value)| (full(name), (*value).to_owned())).collect()
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
    expected.metadata.resource_version = Some("7".to_owned());
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

/// A node may start hundreds of pods, and the kernel track a million connections.
#[test]
fn a_pods_start_asks_for_no_connections() {
    let mut node = of_kubernetes();
    let mut effects = node.on(stored(&told("", &[])));
    effects.extend(node.on(Event::Idle));
    let apply = |node: &mut Node, effects: &mut Vec<Effect>| {
        let generation = node.generation;
        effects.extend(node.on(Event::Applied { generation, failures: vec![] }));
    };
    apply(&mut node, &mut effects);
    effects.extend(asked(&mut node, 1, add()));
    let (_, generation) = assigned(&mut node, 1);
    effects.extend(node.on(Event::Applied { generation, failures: vec![] }));
    effects.extend(node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) }));
    // What CNI has written comes back, then kubelet's status.
    for _ in 0..2 {
        effects.extend(node.on(stored(&told("c0ffee", &["192.168.226.65/32"]))));
        effects.extend(node.on(Event::Idle));
        apply(&mut node, &mut effects);
    }
    let lists = effects.iter().filter(|effect| matches!(effect, Effect::ListConnections(_)));
    assert_eq!(lists.count(), 0);
    assert!(routed(&node).contains(&"192.168.226.65/32".to_owned()), "{:?}", routed(&node));
}

#[test]
fn a_pod_that_was_not_told_is_read() {
    let key = told("", &[]).key();
    let read = |node: &mut Node, result| {
        let mut effects = node.on(Event::Read { id: 1, result });
        effects.extend(node.on(Event::Idle));
        effects
    };
    let begin = || {
        let mut node = of_kubernetes();
        let effects = asked(&mut node, 1, add());
        let [Effect::Read { id: 1, key: asked }] = effects.as_slice() else {
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
fn a_namespace_that_was_not_told_is_read() {
    let mut node = of_kubernetes();
    let key = Key::cluster(model::Kind::Profile, "kns.default");
    let deleted = DatastoreEvent::Deleted { key: key.clone(), revision: Revision(9) };
    node.on(Event::Datastore(deleted));
    node.on(stored(&told("", &[])));
    let effects = asked(&mut node, 1, add());
    let asks = |effects: &[Effect]| {
        effects.iter().any(|e| matches!(e, Effect::Read { id: 1, key: asked } if *asked == key))
    };
    assert!(asks(&effects), "{effects:?}");
    let profile: Profile = Namespace { metadata: Metadata::named("default") }.to_profile();
    let entry = Entry::new(profile.key(), profile.to_stored(), Revision(9));
    let mut effects = node.on(Event::Read { id: 1, result: Ok(Some(entry)) });
    effects.extend(node.on(Event::Idle));
    assert!(effects.iter().any(|e| matches!(e, Effect::Assign { id: 1, .. })), "{effects:?}");
}

/// What an ADD of a pod with these annotations comes to: what is assigned, or why nothing is.
fn add_annotated(
    node: &mut Node,
    of_pod: &[(&str, &str)],
    features: Features,
) -> Result<Assign, String> {
    let mut pod = told("", &[]);
    pod.metadata.annotations = annotated(of_pod);
    node.on(stored(&pod));
    let mut request = add();
    if let Request::AddWorkload(add) = &mut request {
        add.features = features;
    }
    let effects = asked(node, 1, request);
    for effect in &effects {
        match effect {
            Effect::Assign { assign, .. } => return Ok((**assign).clone()),
            Effect::Reply { reply: Reply::Failed { retry: false, message }, .. } => {
                return Err(message.clone());
            }
            _ => {}
        }
    }
    panic!("{effects:?}")
}

fn another_pool(name: &str, cidr: &str, namespace_selector: Option<&str>) -> Event {
    let namespace_selector = namespace_selector.map(str::to_owned);
    let spec = IpPoolSpec { cidr: cidr.to_owned(), namespace_selector, ..<_>::default() };
    stored(&IpPool::new(name, spec))
}

fn with_pools() -> Node {
    let mut node = of_kubernetes();
    node.on(another_pool("small", "10.9.0.0/24", Some("team == 'bank'")));
    node.on(another_pool("six", "fd00:9::/112", None));
    node
}

/// The names of the pools of each family that addresses are to come from.
fn pools_of(assign: &Assign) -> Vec<Vec<&str>> {
    let Addresses::Any(families) = &assign.addresses else { panic!("{assign:?}") };
    families
        .iter()
        .map(|(_, pools)| pools.iter().map(|pool| pool.name.as_str()).collect())
        .collect()
}

#[test]
fn annotations_choose_pools_and_families() {
    let features = Features::default();
    let chosen = |of_namespace: &[(&str, &str)], of_pod: &[(&str, &str)]| {
        let mut node = with_pools();
        node.on(namespace(of_namespace));
        add_annotated(&mut node, of_pod, features).map(|assign| {
            pools_of(&assign).iter().map(|names| names.join("+")).collect::<Vec<_>>().join(", ")
        })
    };
    let said = |text: &str| Ok(text.to_owned());
    assert_eq!(chosen(&[], &[]), said("default-ipv4-ippool"));
    let small = [("ipv4pools", r#"["small"]"#)];
    assert_eq!(chosen(&small, &[]), said("small"));
    assert_eq!(chosen(&[], &small), said("small"));
    assert_eq!(
        chosen(&small, &[("ipv4pools", r#"["192.168.0.0/16"]"#)]),
        said("default-ipv4-ippool")
    );
    assert_eq!(
        chosen(&[], &[("ipFamilies", r#"["IPv4", "IPv6"]"#)]),
        said("default-ipv4-ippool, six")
    );
    assert_eq!(chosen(&[("ipFamilies", r#"["IPv6"]"#)], &[]), said("six"));
    let wrong = chosen(&[("ipv4pools", r#"["none"]"#)], &[]).expect_err("no such pool");
    assert_eq!(
        wrong,
        "pod default/pod-1: annotation cni.projectcalico.org/ipv4pools of its namespace default is \
         \"[\\\"none\\\"]\": IP pool none was asked for but it does not exist in this family: calicoctl \
         get ippool lists the pools; correct it with kubectl annotate --overwrite"
    );
    // The pool is for pods of other namespaces, unless it is asked for.
    let mut node = with_pools();
    node.on(another_pool("small", "10.9.0.0/24", Some("team == 'shop'")));
    let assign = add_annotated(&mut node, &[], features).expect("addresses");
    assert_eq!(pools_of(&assign), [["default-ipv4-ippool", "small"]]);
}

#[test]
fn annotations_name_addresses_and_a_mac() {
    let features = Features::default();
    let mut node = with_pools();
    let very = [("ipAddrs", r#"["10.9.0.7", "fd00:9::7"]"#), ("hwAddr", "02:00:00:00:00:07")];
    let assign = add_annotated(&mut node, &very, features).expect("addresses");
    let Addresses::These(addresses, _) = &assign.addresses else { panic!("{assign:?}") };
    assert_eq!(
        *addresses,
        ["10.9.0.7", "fd00:9::7"].map(|text| text.parse::<IpAddr>().expect("one"))
    );
    let (endpoint, generation) = assigned(&mut node, 1);
    assert_eq!(endpoint.spec.mac, "02:00:00:00:00:07");
    node.on(Event::Applied { generation, failures: vec![] });
    let done = node.on(Event::Written { id: 1, written: Written::Endpoint(Ok(())) });
    let [Reply::Added { mac, .. }] = &replies(&done)[..] else { panic!("{done:?}") };
    assert_eq!(mac.as_deref(), Some("02:00:00:00:00:07"));

    // Whom IPAM refuses hears of the annotation.
    let mut node = with_pools();
    add_annotated(&mut node, &very, features).expect("addresses");
    let refusal = Refusal { retry: false, message: "address 10.9.0.7 is taken".to_owned() };
    let effects = node.on(Event::Assigned { id: 1, result: Err(refusal) });
    let [Reply::Failed { message, .. }] = &replies(&effects)[..] else { panic!("{effects:?}") };
    let begin = "pod default/pod-1: annotation cni.projectcalico.org/ipAddrs is";
    assert!(message.starts_with(begin) && message.contains("is taken"), "{message}");
    // What the pod's container before this held goes first.
    let mut pod = told("earlier", &["10.9.0.7/32"]);
    pod.metadata.annotations = annotated(&very);
    node.on(stored(&pod));
    let effects = asked(&mut node, 2, add());
    let earlier = effects.iter().find_map(|effect| match effect {
        Effect::Assign { assign, .. } => assign.earlier.clone(),
        _ => None,
    });
    assert_eq!(earlier.as_deref(), Some("k8s-pod-network.earlier"));
}

#[test]
fn addresses_without_ipam_have_to_be_enabled() {
    let own = [("ipAddrsNoIpam", r#"["10.77.0.7"]"#)];
    let wrong = add_annotated(&mut with_pools(), &own, Features::default()).expect_err("off");
    assert!(wrong.contains("requested feature is not enabled: ip_addrs_no_ipam"), "{wrong}");
    let floating = [("floatingIPs", r#"["198.51.100.7"]"#)];
    let wrong = add_annotated(&mut with_pools(), &floating, Features::default()).expect_err("off");
    assert!(wrong.contains("requested feature is not enabled: floating_ips"), "{wrong}");
    let mut node = with_pools();
    let mut pod = told("", &[]);
    pod.metadata.annotations = annotated(&own);
    node.on(stored(&pod));
    let mut request = add();
    if let Request::AddWorkload(add) = &mut request {
        add.features.ip_addrs_no_ipam = true;
    }
    let effects = asked(&mut node, 1, request);
    let endpoint = effects.iter().find_map(|effect| match effect {
        Effect::WriteEndpoint { endpoint, .. } => Some(&endpoint.spec.ip_networks),
        Effect::Assign { .. } => panic!("{effects:?}"),
        _ => None,
    });
    assert_eq!(endpoint.expect("an endpoint"), &["10.77.0.7/32"]);
}

#[test]
fn the_ranges_of_the_nodes_pods_are_kubernetes_word() {
    let mut node = of_kubernetes();
    let ask =
        |node: &mut Node| replies(&node.on(Event::Request { id: 9, request: Request::PodRanges }));
    let [Reply::Failed { retry: false, message }] = &ask(&mut node)[..] else { panic!("refused") };
    assert!(message.contains("Node worker-1") && message.contains("podCIDRs"), "{message}");
    let mut own = model::Node::new("worker-1", NodeSpec::default());
    own.status = Some(serde_json::json!({"podCIDRs": ["10.244.1.0/24", "fd00::/64"]}));
    node.on(stored(&own));
    let ranges = ["10.244.1.0/24", "fd00::/64"].map(|range| range.parse().expect("one")).to_vec();
    assert_eq!(ask(&mut node), [Reply::PodRanges(ranges)]);
}

/// Runtimes repeat DEL, once when they remove a sandbox that has stopped.
#[test]
fn what_is_removed_already_is_removed_for_nothing() {
    let mut node = of_kubernetes();
    let removes =
        |effects: &[Effect]| effects.iter().any(|effect| matches!(effect, Effect::Remove { .. }));
    let effects = node.on(Event::Request { id: 1, request: delete() });
    assert!(removes(&effects), "{effects:?}");
    node.on(Event::Written { id: 1, written: Written::Removed });
    let effects = node.on(Event::Request { id: 2, request: delete() });
    assert_eq!(replies(&effects), [Reply::Done]);
    assert!(!removes(&effects), "{effects:?}");
    // It has come back.
    node.on(stored(&told("", &[])));
    asked(&mut node, 3, add());
    let (_, generation) = assigned(&mut node, 3);
    node.on(Event::Applied { generation, failures: vec![] });
    node.on(Event::Written { id: 3, written: Written::Endpoint(Ok(())) });
    let effects = node.on(Event::Request { id: 4, request: delete() });
    assert!(removes(&effects), "{effects:?}");
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

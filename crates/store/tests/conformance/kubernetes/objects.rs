//! Objects whose form in Kubernetes is not Calico's.

use super::Kubernetes;
use crate::server::Server;
use futures_util::StreamExt;
use model::{
    Affinity, AffinityKind, AffinityState, DatastoreEvent, Entry, Handle, IpamConfig, Key, Kind,
    NodeSpec, Query, Resource, Revision, Value, WorkloadEndpointSpec,
};
use serde_json::json;
use std::collections::BTreeMap;
use store::{Change, Datastore, Error, Settings, typed};

fn block_value() -> Vec<u8> {
    json!({
        "cidr": "10.0.0.0/30", "affinity": "host:n1", "affinity_claim_time": "2026-01-01T00:00:00Z",
        "allocations": [0, null, null, null], "unallocated": [1, 2, 3],
        "attributes": [{"handle_id": "net.0aB", "secondary": {"node": "n1"}}],
        "sequenceNumber": 1_700_000_000_000_000_000_u64,
        "sequenceNumberForAllocation": {"0": 1_700_000_000_000_000_000_u64}, "deleted": false,
    })
    .to_string()
    .into_bytes()
}

/// IPAM's objects with their values.
fn ipam_objects() -> [(Key, Vec<u8>); 4] {
    let block = "10.0.0.0/30".parse().expect("a range");
    let affinity = Key::Affinity { kind: AffinityKind::Host, host: "n1".into(), block };
    let state = Value::Affinity(Affinity::new(AffinityState::Pending));
    let handle = Handle { block: BTreeMap::from([("10.0.0.0/30".into(), 1)]), deleted: false };
    let config = IpamConfig { strict_affinity: true, ..IpamConfig::default() };
    [
        (Key::Block(block), block_value()),
        (affinity, state.encode()),
        (Key::Handle("net.0aB".into()), Value::Handle(handle).encode()),
        (Key::IpamConfig, Value::IpamConfig(config).encode()),
    ]
}

fn decoded(key: &Key, value: &[u8]) -> Value {
    let entry = Entry::new(key.clone(), value.to_vec(), Revision(1));
    Value::decode(&entry).expect("a value")
}

fn changed_value(key: &Key, value: &[u8]) -> Vec<u8> {
    let mut value = decoded(key, value);
    match &mut value {
        Value::Block(block) => block.sequence_number += 1,
        Value::Affinity(affinity) => affinity.state = AffinityState::Confirmed,
        Value::Handle(handle) => handle.block.values_mut().for_each(|count| *count += 1),
        Value::IpamConfig(config) => config.max_blocks_per_host = 7,
        other => panic!("{other:?}"),
    }
    value.encode()
}

pub(crate) async fn ipam_is_compared_and_swapped<const NATIVE: bool>(
    server: &mut Kubernetes<NATIVE>,
) {
    let server = &*server;
    let datastore = server.datastore().await;
    for (key, value) in ipam_objects() {
        let created = datastore.create(&key, value.clone()).await.expect("a new object");
        let conflict = Error::Conflict(key.clone());
        assert_eq!(datastore.create(&key, value.clone()).await, Err(conflict.clone()));
        let read = datastore.get(&key).await.unwrap().expect("it is there");
        assert_eq!(decoded(&key, &read.value), decoded(&key, &value), "{key}");
        assert_eq!(read.revision, created);
        // What changes nothing is no change to Kubernetes.
        assert_eq!(datastore.update(&key, value.clone(), created).await, Ok(created));
        let other = changed_value(&key, &value);
        let updated = datastore.update(&key, other.clone(), created).await.expect("unchanged");
        let read = datastore.get(&key).await.unwrap().expect("it is there");
        assert_eq!(decoded(&key, &read.value), decoded(&key, &other), "{key}");
        assert_eq!(datastore.update(&key, value.clone(), created).await, Err(conflict.clone()));
        assert_eq!(datastore.delete(&key, Some(created)).await, Err(conflict));
        assert_eq!(datastore.delete(&key, Some(updated)).await, Ok(()));
        assert_eq!(datastore.get(&key).await, Ok(None));
    }
    affinities_of_a_host(server, &*datastore).await;
    the_second_step_is_made_up_for(server, &*datastore).await;
}

async fn affinities_of_a_host<const NATIVE: bool>(
    server: &Kubernetes<NATIVE>,
    datastore: &dyn Datastore,
) {
    let (kind, state) = (AffinityKind::Host, AffinityState::Confirmed);
    let key = |host: &str, block: &str| Key::Affinity {
        kind,
        host: host.into(),
        block: block.parse().expect("a range"),
    };
    let mine = [key("n1", "10.0.0.0/30"), key("n1", "fd00::/122")];
    let value = Value::Affinity(Affinity::new(state)).encode();
    for key in mine.iter().chain([&key("n2", "10.0.0.4/30")]) {
        datastore.create(key, value.clone()).await.expect("a new object");
    }
    let of = Query::Affinities { kind, host: Some("n1".into()) };
    let keys = |entries: Vec<Entry>| entries.into_iter().map(|one| one.key).collect::<Vec<_>>();
    assert_eq!(keys(datastore.list(&of).await.expect("a list").entries), mine);
    // One of an older Calico, without labels, is found by a client that begins anew.
    let (version, deleted) = match NATIVE {
        true => ("projectcalico.org/v3", json!(false)),
        false => ("crd.projectcalico.org/v1", json!("false")),
    };
    server.make(
        &format!("/apis/{version}/blockaffinities"),
        &json!({
            "apiVersion": version, "kind": "BlockAffinity", "metadata": {"name": "n1-10-0-0-8-30"},
            "spec": {"cidr": "10.0.0.8/30", "node": "n1", "state": "", "deleted": deleted},
        }),
    );
    let listing = server.datastore().await.list(&of).await.expect("a list");
    assert_eq!(listing.entries.len(), 3);
}

/// A block whose deletion was begun by somebody who then died.
async fn the_second_step_is_made_up_for<const NATIVE: bool>(
    server: &Kubernetes<NATIVE>,
    datastore: &dyn Datastore,
) {
    let (key, value) = ipam_objects()[0].clone();
    let begin = datastore.list(&Query::Blocks).await.expect("a list").revision;
    let mut changes = datastore.watch(&Query::Blocks, begin).await.expect("a watch");
    datastore.create(&key, value.clone()).await.expect("a new object");
    let version = if NATIVE { "projectcalico.org/v3" } else { "crd.projectcalico.org/v1" };
    let path = format!("/apis/{version}/ipamblocks/10-0-0-0-30");
    server.patch(&path, &json!({"spec": {"deleted": true}}));
    let listing = datastore.list(&Query::Blocks).await.expect("a list");
    assert_eq!(listing.entries, []);
    datastore.create(&key, value).await.expect("the marked one makes way");
    let mut told = Vec::new();
    while told.len() < 4 {
        match changes.next().await.expect("a change").expect("a change") {
            Change::Put(entry) => told.push((entry.key, true)),
            Change::Delete(key, _) => told.push((key, false)),
            Change::Progress(_) => {}
        }
    }
    // Marked and gone are told alike.
    assert_eq!(told, [true, false, false, true].map(|there| (key.clone(), there)));
}

/// Metadata stands where Calico has it: in an annotation, with Calico's own labels outside too.
pub(crate) async fn metadata_stand_in_an_annotation(server: &mut Kubernetes<false>) {
    let datastore = server.datastore().await;
    let mut tier = model::Tier::new("a", model::TierSpec::default());
    tier.metadata.labels =
        [("x", "1"), ("projectcalico.org/y", "2")].map(|(k, v)| (k.into(), v.into())).into();
    typed::create(&*datastore, tier.clone()).await.expect("a new tier");
    let path = "/apis/crd.projectcalico.org/v1/tiers/a";
    let stored = server.ask("GET", path, "").1;
    assert_eq!(stored["metadata"]["labels"], json!({"projectcalico.org/y": "2"}));
    let annotation = &stored["metadata"]["annotations"]["projectcalico.org/metadata"];
    let hidden: serde_json::Value =
        serde_json::from_str(annotation.as_str().expect("a text")).expect("JSON");
    assert_eq!(hidden["labels"], json!({"x": "1", "projectcalico.org/y": "2"}));
    let read: model::Tier = typed::get(&*datastore, None, "a").await.unwrap().expect("a tier");
    assert_eq!(read.metadata.labels, tier.metadata.labels);
    assert!(read.metadata.annotations.is_empty(), "{:?}", read.metadata.annotations);
    assert_ne!(json!(read.metadata.uid), stored["metadata"]["uid"]);
    // A policy of an older Calico has its tier's name before its own.
    server.make(
        "/apis/crd.projectcalico.org/v1/globalnetworkpolicies",
        &json!({
            "apiVersion": "crd.projectcalico.org/v1", "kind": "GlobalNetworkPolicy",
            "metadata": {"name": "default.old"}, "spec": {"selector": "all()"},
        }),
    );
    type Policy = model::GlobalNetworkPolicySpec;
    let old = typed::get::<Policy>(&*datastore, None, "old").await.unwrap().expect("a policy");
    assert_eq!(old.metadata.name, "old");
    typed::update(&*datastore, old).await.expect("unchanged");
    typed::delete::<Policy>(&*datastore, None, "old").await.expect("it is there");
}

/// Nodes, pods, namespaces, service accounts and policies, each as what it is to Calico.
pub(crate) async fn kubernetes_own_objects_are_calicos_too(server: &mut Kubernetes<false>) {
    let server = &*server;
    let datastore = server.datastore().await;
    server.make_namespace("shop");
    server.make("/api/v1/nodes", &json!({"metadata": {"name": "n-1", "labels": {"zone": "a"}}}));
    node(&*datastore).await;
    profiles(server, &*datastore).await;
    pod(server, &*datastore).await;
    endpoint_slices(server, &*datastore).await;
    cluster_network_policies(server).await;
}

async fn node(datastore: &dyn Datastore) {
    let mut node: Resource<NodeSpec> =
        typed::get(datastore, None, "n-1").await.unwrap().expect("a node");
    assert_eq!(node.metadata.labels, BTreeMap::from([("zone".into(), "a".into())]));
    let bgp = node.spec.bgp.get_or_insert_default();
    bgp.ipv4_address = Some("10.1.0.1/24".into());
    bgp.as_number = "65001".parse().ok();
    node.spec.ipv4_vxlan_tunnel_addr = Some("192.168.0.1".into());
    node.metadata.labels.insert("ours".into(), "b".into());
    let stale = node.clone();
    typed::update(datastore, node.clone()).await.expect("unchanged");
    assert!(matches!(typed::update(datastore, stale).await, Err(Error::Conflict(_))));
    let mut read: Resource<NodeSpec> =
        typed::get(datastore, None, "n-1").await.unwrap().expect("a node");
    assert_eq!(read.metadata.labels, node.metadata.labels);
    assert_eq!(read.spec.bgp, node.spec.bgp);
    assert_eq!(read.spec.addresses.len(), 1);
    read.spec.bgp = None;
    let updated = typed::update(datastore, read).await.expect("unchanged");
    let read: Resource<NodeSpec> =
        typed::get(datastore, None, "n-1").await.unwrap().expect("a node");
    assert_eq!(
        (read.spec.bgp, read.spec.ipv4_vxlan_tunnel_addr),
        (None, Some("192.168.0.1".into()))
    );
    assert_eq!(read.metadata.resource_version, updated.metadata.resource_version);
}

async fn profiles(server: &Kubernetes<false>, datastore: &dyn Datastore) {
    let account = json!({"metadata": {"name": "till"}});
    server.make("/api/v1/namespaces/shop/serviceaccounts", &account);
    let policy = json!({
        "metadata": {"name": "web"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]},
    });
    server.make("/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies", &policy);
    let names = |kind| async move {
        let entries = datastore.list(&Query::kind(kind)).await.expect("a list").entries;
        let name = |entry: Entry| match entry.key {
            Key::Resource { name, .. } => name,
            other => panic!("{other}"),
        };
        entries.into_iter().map(name).collect::<Vec<_>>()
    };
    let profiles = names(Kind::Profile).await;
    for name in ["kns.shop", "ksa.shop.till", "projectcalico-default-allow"] {
        assert!(profiles.iter().any(|one| one == name), "{name}: {profiles:?}");
        let key = Key::cluster(Kind::Profile, name);
        assert!(datastore.get(&key).await.expect("an answer").is_some(), "{name}");
    }
    assert_eq!(names(Kind::NetworkPolicy).await, ["knp.default.web"]);
    // Both collections of a kind are followed, whichever changes; those that aren't there are none.
    let kinds = [Kind::Profile, Kind::NetworkPolicy, Kind::GlobalNetworkPolicy];
    let queries = kinds.map(Query::kind).to_vec();
    let mut events = store::watcher::watch(server.datastore().await, queries);
    while events.recv().await.expect("an event") != DatastoreEvent::InSync {}
    server.make_namespace("later");
    let expected = Key::cluster(Kind::Profile, "kns.later");
    assert_eq!(changed(events.recv().await), expected);
    server.make("/api/v1/namespaces/later/serviceaccounts", &account);
    assert_eq!(changed(events.recv().await), Key::cluster(Kind::Profile, "ksa.later.till"));
    server.make("/apis/networking.k8s.io/v1/namespaces/later/networkpolicies", &policy);
    let expected = Key::namespaced(Kind::NetworkPolicy, "later", "knp.default.web");
    assert_eq!(changed(events.recv().await), expected);
}

fn changed(event: Option<DatastoreEvent>) -> Key {
    match event.expect("an event") {
        DatastoreEvent::Changed(entry) => entry.key,
        other => panic!("{other:?}"),
    }
}

async fn pod(server: &Kubernetes<false>, datastore: &dyn Datastore) {
    let pod = |name: &str, host: bool| {
        json!({"metadata": {"name": name, "labels": {"app": name}}, "spec": {
            "nodeName": "n-1", "hostNetwork": host, "serviceAccountName": "till",
            "containers": [{"name": "c", "image": "i:1", "ports": [
                {"name": "http", "containerPort": 80}, {"containerPort": 81},
            ]}],
        }})
    };
    let query = Query::kind(Kind::WorkloadEndpoint);
    let begin = datastore.list(&query).await.expect("a list").revision;
    let mut changes = datastore.watch(&query, begin).await.expect("a watch");
    server.make("/api/v1/namespaces/shop/pods", &pod("of-the-host", true));
    server.make("/api/v1/namespaces/shop/pods", &pod("web-0", false));
    let name = "n--1-k8s-web--0-eth0";
    let key = Key::namespaced(Kind::WorkloadEndpoint, "shop", name);
    let mut next = async || loop {
        match changes.next().await.expect("a change").expect("a change") {
            Change::Progress(_) => {}
            Change::Put(entry) => match decoded(&entry.key, &entry.value) {
                Value::WorkloadEndpoint(endpoint) => break (entry.key, Some(endpoint)),
                other => panic!("{other:?}"),
            },
            Change::Delete(key, _) => break (key, None),
        }
    };
    let (seen, first) = next().await;
    let mut endpoint = *first.expect("an endpoint");
    assert_eq!(seen, key);
    assert_eq!(endpoint.spec.profiles, ["kns.shop", "ksa.shop.till"]);
    assert_eq!(endpoint.spec.ports.len(), 1);
    assert_eq!(endpoint.spec.ip_networks, Vec::<String>::new());
    assert_eq!(endpoint.metadata.labels["projectcalico.org/namespace"], "shop");

    endpoint.spec.ip_networks = vec!["10.0.0.1/32".into()];
    endpoint.spec.container_id = "0123".into();
    let mut of_another = endpoint.clone();
    of_another.metadata.uid = Some("01020304-0506-4708-890a-0b0c0d0e0f10".into());
    let refused = typed::create(datastore, of_another).await;
    assert_eq!(refused, Err(Error::Conflict(key.clone())));
    typed::create(datastore, endpoint.clone()).await.expect("the pod is there");
    let told = next().await.1.expect("an endpoint");
    assert_eq!(told.spec, endpoint.spec);
    let read = typed::get::<WorkloadEndpointSpec>(datastore, Some("shop"), name).await.unwrap();
    let read = read.expect("an endpoint");
    assert_eq!(read.spec, endpoint.spec);
    assert_eq!(datastore.list(&query).await.expect("a list").entries.len(), 1);
    // Of another container it is not taken away, nor twice.
    datastore.remove_endpoint(&key, "4567").await.expect("nothing to do");
    let kept = typed::get::<WorkloadEndpointSpec>(datastore, Some("shop"), name).await.unwrap();
    assert_eq!(kept.expect("an endpoint").spec, endpoint.spec);
    datastore.remove_endpoint(&key, "0123").await.expect("it is there");
    datastore.remove_endpoint(&key, "0123").await.expect("it is there");
    let pod = server.ask("GET", "/api/v1/namespaces/shop/pods/web-0", "").1;
    assert_eq!(pod["metadata"]["annotations"]["cni.projectcalico.org/podIP"], "");
    assert_eq!(next().await.1.expect("an endpoint").spec.ip_networks, Vec::<String>::new());
    server.ask("DELETE", "/api/v1/namespaces/shop/pods/web-0?gracePeriodSeconds=0", "");
    // It may change once more before it goes.
    while next().await.1.is_some() {}
    assert_eq!(datastore.get(&key).await, Ok(None));
    assert_eq!(datastore.remove_endpoint(&key, "0123").await, Ok(()));
    let elsewhere = Key::namespaced(Kind::WorkloadEndpoint, "shop", "n--1-cni-0123-eth0");
    assert!(matches!(datastore.create(&elsewhere, Vec::new()).await, Err(Error::Refused { .. })));
}

async fn endpoint_slices(server: &Kubernetes<false>, datastore: &dyn Datastore) {
    let slices = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices";
    let slice = json!({
        "metadata": {"name": "web-1", "labels": {"kubernetes.io/service-name": "web", "x": "y"}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 80, "protocol": "TCP"}],
        "endpoints": [{"addresses": ["10.0.0.1"], "nodeName": "n-1"}],
    });
    server.make(slices, &slice);
    let mut events = store::watcher::watch(server.datastore().await, vec![Query::EndpointSlices]);
    let first = match events.recv().await.expect("an event") {
        DatastoreEvent::Changed(entry) => entry,
        other => panic!("{other:?}"),
    };
    let key = Key::EndpointSlice { namespace: "shop".into(), name: "web-1".into() };
    assert_eq!(first.key, key);
    assert_eq!(datastore.get(&key).await.unwrap().as_ref(), Some(&first));
    let Value::EndpointSlice(read) = decoded(&first.key, &first.value) else { panic!("{key}") };
    assert_eq!(read.service(), Some("web"));
    assert_eq!(read.endpoints[0].addresses, ["10.0.0.1"]);
    assert_eq!((read.ports[0].port, read.metadata.labels.len()), (Some(80), 1));
    while events.recv().await.expect("an event") != DatastoreEvent::InSync {}
    server.ask("DELETE", &format!("{slices}/web-1"), "");
    assert!(matches!(
        events.recv().await,
        Some(DatastoreEvent::Deleted { key: gone, .. }) if gone == key
    ));
}

/// They are no API of the server's own: somebody defines them, before Calico starts.
async fn cluster_network_policies(server: &Kubernetes<false>) {
    server.define_cluster_network_policies().await;
    let policies = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
    let policy = |name: &str, action: &str| {
        json!({
            "apiVersion": "policy.networking.k8s.io/v1alpha2", "kind": "ClusterNetworkPolicy",
            "metadata": {"name": name},
            "spec": {
                "tier": "Admin", "priority": 5, "subject": {"namespaces": {}},
                "ingress": [{"action": action, "from": [{"namespaces": {}}]}],
            },
        })
    };
    server.make(policies, &policy("deny", "Deny"));
    let queries = vec![Query::kind(Kind::GlobalNetworkPolicy)];
    let mut events = store::watcher::watch(server.datastore().await, queries);
    let mut next = async || match events.recv().await.expect("an event") {
        DatastoreEvent::Changed(entry) => Some(entry),
        _ => None,
    };
    let entry = next().await.expect("a policy");
    assert_eq!(entry.key, Key::cluster(Kind::GlobalNetworkPolicy, "kcnp.deny"));
    let Value::GlobalNetworkPolicy(read) = decoded(&entry.key, &entry.value) else {
        panic!("{}", entry.key)
    };
    assert_eq!((read.spec.tier.as_str(), read.spec.order), ("kube-admin", Some(5.0)));
    assert_eq!(read.spec.ingress[0].action, model::Action::Deny);
    assert_eq!(entry.problems, Vec::<String>::new());
    while next().await.is_some() {}
    // One that is of a newer API than this is told, and fails closed.
    server.make(policies, &policy("odd", "Ponder"));
    let odd = next().await.expect("a policy");
    let problem = odd.problems.first().expect("a problem");
    for part in ["ClusterNetworkPolicy odd", "spec.ingress[0]", "Ponder", "kubectl"] {
        assert!(problem.contains(part), "{problem}");
    }
}

/// What the definitions refuse, with the reason that `kubectl` shows, and what they take.
pub(crate) async fn definitions_are_enforced(server: &mut Kubernetes<true>) {
    let api = "/apis/projectcalico.org/v3";
    let object = |kind: &str, spec: serde_json::Value| {
        let version = "projectcalico.org/v3";
        json!({"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec})
    };
    for (plural, kind, spec, says) in [
        ("ippools", "IPPool", json!({}), "spec.cidr: Required value"),
        ("ippools", "IPPool", json!({"cidr": 10}), "spec.cidr"),
        ("ippools", "IPPool", json!({"cidr": "10.0.0.0/8", "blockSize": 19}), "spec.blockSize"),
        (
            "ippools",
            "IPPool",
            json!({"cidr": "10.0.0.0/8", "ipipMode": "Always", "vxlanMode": "Always"}),
            "exclude each other",
        ),
        ("ippools", "IPPool", json!({"cidr": "10.0.0.0/8", "ipipMode": "On"}), "spec.ipipMode"),
        (
            "globalnetworkpolicies",
            "GlobalNetworkPolicy",
            json!({"ingress": [{"action": "Permit"}]}),
            "spec.ingress[0].action",
        ),
        (
            "globalnetworkpolicies",
            "GlobalNetworkPolicy",
            json!({"ingress": [{"protocol": "TCP"}]}),
            "spec.ingress[0].action: Required value",
        ),
        ("felixconfigurations", "FelixConfiguration", json!({"vxlanPort": "x"}), "spec.vxlanPort"),
    ] {
        let body = object(kind, spec.clone()).to_string();
        let (code, answer) = server.ask("POST", &format!("{api}/{plural}"), &body);
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(code == 422 && message.contains(says), "{spec}: {code} {message}");
    }
    let pool = json!({"cidr": "10.0.0.0/8", "ipipMode": "Always", "vxlanMode": "Never"});
    server.make(&format!("{api}/ippools"), &object("IPPool", pool));
    let patch = json!({"spec": {"cidr": "10.0.0.0/9"}}).to_string();
    let kind = "application/merge-patch+json";
    let (code, answer) = server.ask_as("PATCH", &format!("{api}/ippools/x"), kind, &patch);
    let message = answer["message"].as_str().unwrap_or_default();
    assert!(code == 422 && message.contains("cannot be changed"), "{code} {message}");

    let rule = json!({
        "action": "Allow", "protocol": 6, "source": {"nets": ["10.0.0.0/8"]},
        "destination": {"ports": [80, "8000:8080", "http"]},
    });
    let policy = json!({"tier": "a", "order": 10.5, "ingress": [rule], "types": ["Ingress"]});
    let policies = format!("{api}/globalnetworkpolicies");
    let made = server.make(&policies, &object("GlobalNetworkPolicy", policy.clone()));
    assert_eq!(made["spec"], policy, "no field is dropped");
    for (tier, count) in [("a", 1), ("b", 0)] {
        let path = format!("{policies}?fieldSelector=spec.tier%3D{tier}");
        assert_eq!(server.ask("GET", &path, "").1["items"].as_array().map(Vec::len), Some(count));
    }
}

/// What install-cni and the agent give the CNI plugin.
#[test]
fn a_service_account_has_tokens() {
    crate::run(async {
        let server = Kubernetes::<false>::start().await;
        let settings = server.settings().kubernetes.expect("settings of Kubernetes");
        let hour = std::time::Duration::from_secs(3600);
        let ask = || store::kubernetes::request_token(&settings, "default", "plugin", hour);
        let refused = ask().await.unwrap_err().to_string();
        assert!(refused.contains("refused: serviceaccounts \"plugin\" not found"), "{refused}");
        server.make(
            "/api/v1/namespaces/default/serviceaccounts",
            &json!({"metadata": {"name": "plugin"}}),
        );
        let token = ask().await.unwrap();
        assert_eq!(token.validity, hour);
        assert!(!format!("{token:?}").contains(&token.text));
        // With it, the API server takes us for the account, which may do nothing.
        let own = store::settings::Kubernetes { token: Some(token.text), ..settings };
        let settings = Settings { kubernetes: Some(own), ..server.settings() };
        let datastore = store::connect(&settings).await.unwrap();
        let refused = datastore.list(&Query::kind(Kind::IpPool)).await.unwrap_err().to_string();
        assert!(refused.contains("system:serviceaccount:default:plugin"), "{refused}");
    });
}

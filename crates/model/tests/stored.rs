//! What stands in the datastore: Calico's JSON is read and written back field by field, keys are
//! read and written back byte by byte, and no stored bytes make a panic.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use model::{
    AffinityKind, Block, Entry, IpPool, Key, Kind, Node, Query, Resource, Revision, Scope, Spec,
    Value, WorkloadEndpoint,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

/// A stored object of Calico's: `{key, value}`.
struct Golden {
    name: String,
    key: String,
    value: Json,
}

fn goldens() -> Vec<Golden> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/goldens");
    let mut found: Vec<Golden> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| {
            let path = file.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap();
            let mut golden: Json = serde_json::from_str(&text).unwrap();
            Golden {
                name: path.file_stem().unwrap().to_string_lossy().into_owned(),
                key: golden["key"].as_str().unwrap().to_owned(),
                value: golden["value"].take(),
            }
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    assert!(found.len() > 10, "goldens are missing from {folder}");
    found
}

fn decode(key: Key, value: &[u8]) -> Result<Value, serde_json::Error> {
    Value::decode(&Entry::new(key, value.to_vec(), Revision(7)))
}

#[test]
fn calicos_objects_round_trip() {
    for Golden { name, key, value } in goldens() {
        let parsed = Key::parse(&key).unwrap_or_else(|| panic!("{name}: {key}"));
        assert_eq!(parsed.path(), key, "{name}");
        let bytes = serde_json::to_vec(&value).unwrap();
        let decoded = decode(parsed, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        let again: Json = serde_json::from_slice(&decoded.encode()).unwrap();
        assert_eq!(again, value, "{name}");
    }
}

#[test]
fn calicos_resources_are_valid_and_have_their_defaults() {
    fn check<S: Spec>(name: &str, resource: &Resource<S>) {
        assert_eq!(resource.validate(), Ok(()), "{name}");
        let mut defaulted = resource.clone();
        defaulted.apply_defaults();
        assert_eq!(&defaulted, resource, "{name}");
    }
    for Golden { name, key, value } in goldens() {
        let bytes = serde_json::to_vec(&value).unwrap();
        match decode(Key::parse(&key).unwrap(), &bytes).unwrap() {
            Value::BgpConfiguration(resource) => check(&name, &resource),
            Value::BgpFilter(resource) => check(&name, &resource),
            Value::BgpPeer(resource) => check(&name, &resource),
            Value::CalicoNodeStatus(resource) => check(&name, &resource),
            Value::ClusterInformation(resource) => check(&name, &resource),
            Value::FelixConfiguration(resource) => check(&name, &resource),
            Value::GlobalNetworkPolicy(resource) => check(&name, &resource),
            Value::GlobalNetworkSet(resource) => check(&name, &resource),
            Value::HostEndpoint(resource) => check(&name, &resource),
            Value::IpPool(resource) => check(&name, &resource),
            Value::IpReservation(resource) => check(&name, &resource),
            Value::KubeControllersConfiguration(resource) => check(&name, &resource),
            Value::NetworkPolicy(resource) => check(&name, &resource),
            Value::NetworkSet(resource) => check(&name, &resource),
            Value::Node(resource) => check(&name, &resource),
            Value::Profile(resource) => check(&name, &resource),
            Value::StagedGlobalNetworkPolicy(resource) => check(&name, &resource),
            Value::StagedKubernetesNetworkPolicy(resource) => check(&name, &resource),
            Value::StagedNetworkPolicy(resource) => check(&name, &resource),
            Value::Tier(resource) => check(&name, &resource),
            Value::WorkloadEndpoint(resource) => check(&name, &resource),
            Value::Affinity(_)
            | Value::Block(_)
            | Value::EndpointSlice(_)
            | Value::Handle(_)
            | Value::IpamConfig(_) => {}
        }
    }
}

#[test]
fn the_order_of_fields_is_calicos() {
    for (key, text) in [
        (
            "/calico/ipam/v2/host/n/ipv4/block/10.0.0.0-26",
            r#"{"state":"confirmed","deleted":"false"}"#,
        ),
        ("/calico/ipam/v2/handle/h", r#"{"block":{"10.0.0.0/26":1},"deleted":false}"#),
        ("/calico/ipam/v2/config", r#"{"strict_affinity":false,"auto_allocate_blocks":true}"#),
        (
            "/calico/ipam/v2/assignment/ipv4/block/10.0.0.0-31",
            r#"{"cidr":"10.0.0.0/31","affinity":"host:n","allocations":[0,null],"unallocated":[1],"attributes":[{"handle_id":"h","secondary":{"node":"n"}}],"sequenceNumber":9,"sequenceNumberForAllocation":{"0":8},"deleted":false}"#,
        ),
    ] {
        let decoded = decode(Key::parse(key).unwrap(), text.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(decoded.encode()).unwrap(), text);
    }
}

#[test]
fn older_forms_are_read() {
    let affinity = Key::parse("/calico/ipam/v2/host/n/ipv4/block/10.0.0.0-26").unwrap();
    for stored in ["", r#"{"state":""}"#, r#"{"state":"confirmed","deleted":"false"}"#] {
        let Value::Affinity(read) = decode(affinity.clone(), stored.as_bytes()).unwrap() else {
            panic!("an affinity's key holds an affinity");
        };
        assert_eq!(read, model::Affinity::new(model::AffinityState::Confirmed), "{stored}");
    }
    let block: Block = serde_json::from_value(json!({
        "cidr": "10.0.0.0/31", "affinity": null, "hostAffinity": "n", "allocations": [null, null],
        "unallocated": null, "attributes": null, "sequenceNumberForAllocation": null
    }))
    .unwrap();
    assert_eq!((block.unallocated.len(), block.attributes.len()), (0, 0));
    assert_eq!((block.affinity, block.host_affinity.as_deref()), (None, Some("n")));
}

#[test]
fn the_walkthroughs_pool_reads_and_gains_its_defaults() {
    let shown = "\
apiVersion: projectcalico.org/v3
kind: IPPool
metadata:
  creationTimestamp: \"2024-09-13T01:29:35Z\"
  name: default-ipv4-ippool
  resourceVersion: \"4751\"
  uid: 39e31d54-8836-47e7-b5b1-9d2a90d91c26
spec:
  allowedUses:
  - Workload
  - Tunnel
  blockSize: 24
  cidr: 172.16.0.0/16
  ipipMode: Always
  natOutgoing: true
  nodeSelector: all()
  vxlanMode: Never
";
    let mut pool: IpPool = serde_saphyr::from_str(shown).unwrap();
    assert_eq!(pool.metadata.resource_version.as_deref(), Some("4751"));
    assert!(pool.spec.nat_outgoing);
    assert_eq!(pool.validate(), Ok(()));
    pool.apply_defaults();
    let golden = goldens().into_iter().find(|golden| golden.name == "ippool").unwrap();
    let stored: Json = serde_json::from_slice(&pool.to_stored()).unwrap();
    assert_eq!(stored, golden.value);

    let minimal = "kind: IPPool\nmetadata: {name: p}\nspec: {cidr: \"FD00:10::/48\"}\n";
    let mut pool: IpPool = serde_saphyr::from_str(minimal).unwrap();
    pool.apply_defaults();
    assert_eq!(
        serde_json::to_value(&pool.spec).unwrap(),
        json!({"cidr": "fd00:10::/48", "ipipMode": "Never", "vxlanMode": "Never", "blockSize": 122,
               "nodeSelector": "all()", "allowedUses": ["Workload", "Tunnel"]})
    );
}

#[test]
fn wrong_documents_are_refused() {
    for text in [
        "kind: Node\nmetadata: {name: p}",
        "apiVersion: v1\nkind: IPPool\nmetadata: {name: p}",
        "kind: IPPool\nspec: {cidr: 1}",
        "kind: IPPool\nspec: {ipipMode: always}",
        "kind: IPPool\nspec: {blockSize: large}",
        "kind: IPPool\nspec: {allowedUses: [Pod]}",
    ] {
        // By way of JSON, as YAML's own reader takes a number for a text.
        let document: Json = serde_saphyr::from_str(text).unwrap();
        assert!(serde_json::from_value::<IpPool>(document).is_err(), "{text}");
    }
}

#[test]
fn endpoints_gain_the_labels_that_policy_selects() {
    let mut endpoint = WorkloadEndpoint::new("e", Default::default());
    endpoint.metadata.namespace = Some("ns".to_owned());
    endpoint.spec.orchestrator = "k8s".to_owned();
    endpoint.spec.service_account_name = "x".repeat(63);
    endpoint.apply_defaults();
    let labels = serde_json::to_value(&endpoint.metadata.labels).unwrap();
    assert_eq!(
        labels,
        json!({"projectcalico.org/namespace": "ns", "projectcalico.org/orchestrator": "k8s"})
    );
}

#[test]
fn a_nodes_addresses_keep_their_host_bits() {
    let golden = goldens().into_iter().find(|golden| golden.name == "node").unwrap();
    let node: Node = serde_json::from_value(golden.value).unwrap();
    let spec = &node.spec;
    assert_eq!(spec.ipv4().unwrap().to_string(), "10.30.0.206/24");
    assert_eq!(spec.ipv6(), None);
    assert_eq!(spec.vxlan_ipv4().unwrap().to_string(), "192.168.226.65");
    assert_eq!(spec.ipip_ipv4().unwrap().to_string(), "192.168.226.64");
    assert_eq!(spec.vxlan_mac("any"), [0x66, 0x93, 0x7f, 0x54, 0xd5, 0x53]);
    assert_eq!(spec.vxlan_mac_v6("worker-1"), model::names::vxlan_mac_v6("worker-1"));
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z0-9.-]{1,20}", "[a-z%/2fF5]{1,10}"]
}

fn net() -> impl Strategy<Value = ipnet::IpNet> {
    prop_oneof![
        (any::<std::net::Ipv4Addr>(), 0u8..=32).prop_map(|(ip, length)| ipnet::IpNet::new(
            ip.into(),
            length
        )
        .unwrap()
        .trunc()),
        (any::<std::net::Ipv6Addr>(), 0u8..=128).prop_map(|(ip, length)| ipnet::IpNet::new(
            ip.into(),
            length
        )
        .unwrap()
        .trunc()),
    ]
}

fn key() -> impl Strategy<Value = Key> {
    let kind = prop::sample::select(Kind::ALL.to_vec());
    let owner = prop::sample::select(vec![AffinityKind::Host, AffinityKind::Virtual]);
    prop_oneof![
        (kind, name(), name()).prop_map(|(kind, namespace, name)| match kind.scope() {
            Scope::Namespaced => Key::namespaced(kind, namespace, name),
            Scope::Cluster => Key::cluster(kind, name),
        }),
        net().prop_map(Key::Block),
        (owner, name(), net()).prop_map(|(kind, host, block)| Key::Affinity { kind, host, block }),
        name().prop_map(Key::Handle),
        Just(Key::IpamConfig),
        (name(), name()).prop_map(|(namespace, name)| Key::EndpointSlice { namespace, name }),
    ]
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<i16>().prop_map(|eighths| json!(f64::from(eighths) / 8.0)),
        "\\PC{0,8}".prop_map(Json::from),
        Just(json!("10.0.0.0/26")),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map("metadata|spec|cidr|bgp|block|[a-z]{1,4}", inner, 0..5)
                .prop_map(|map| Json::Object(map.into_iter().collect())),
        ]
    })
}

/// A golden with one of its values, wherever it stands, replaced.
fn damaged() -> impl Strategy<Value = (String, Json)> {
    let goldens: Vec<(String, Json)> = goldens().into_iter().map(|g| (g.key, g.value)).collect();
    let place = prop::collection::vec(any::<prop::sample::Index>(), 1..5);
    (prop::sample::select(goldens), place, json_value()).prop_map(
        |((key, mut value), place, new)| {
            replace(&mut value, &place, new);
            (key, value)
        },
    )
}

fn replace(at: &mut Json, place: &[prop::sample::Index], new: Json) {
    let Some((index, rest)) = place.split_first() else {
        *at = new;
        return;
    };
    match at {
        Json::Array(items) if !items.is_empty() => {
            let index = index.index(items.len());
            replace(&mut items[index], rest, new);
        }
        Json::Object(fields) if !fields.is_empty() => {
            let index = index.index(fields.len());
            replace(fields.values_mut().nth(index).unwrap(), rest, new);
        }
        other => *other = new,
    }
}

proptest! {
    #[test]
    fn keys_round_trip(key in key()) {
        let path = key.path();
        prop_assert_eq!(Key::parse(&path), Some(key), "{}", path);
    }

    #[test]
    fn a_key_stands_under_its_query(key in key()) {
        let query = match &key {
            Key::Resource { kind, namespace, .. } => {
                Query::Resources { kind: *kind, namespace: namespace.clone() }
            }
            Key::Block(_) => Query::Blocks,
            Key::Affinity { kind, host, .. } => {
                Query::Affinities { kind: *kind, host: Some(host.clone()) }
            }
            Key::Handle(_) => Query::Handles,
            Key::IpamConfig => Query::IpamConfig,
            Key::EndpointSlice { .. } => Query::EndpointSlices,
        };
        prop_assert!(key.path().starts_with(&query.prefix()));
    }

    #[test]
    fn any_path_is_read_or_refused(rest in "[a-z0-9/.%:-]{0,40}|\\PC{0,40}") {
        for start in ["", "/calico/ipam/v2/", "/calico/resources/v3/projectcalico.org/"] {
            if let Some(key) = Key::parse(&format!("{start}{rest}")) {
                prop_assert_eq!(Key::parse(&key.path()), Some(key));
            }
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(key in key(), bytes: Vec<u8>) {
        if let Ok(value) = decode(key, &bytes) {
            value.encode();
        }
    }

    #[test]
    fn damaged_objects_are_decoded_or_refused((path, value) in damaged()) {
        let key = Key::parse(&path).unwrap();
        let bytes = serde_json::to_vec(&value).unwrap();
        if let Ok(value) = decode(key.clone(), &bytes) {
            // What was understood once is understood again as the same.
            prop_assert_eq!(decode(key, &value.encode()).unwrap(), value);
        }
    }

    // Validation and defaults face what a user typed, not what they hope for.
    #[test]
    fn damaged_resources_are_judged((path, value) in damaged()) {
        fn judge<S: Spec>(mut resource: Resource<S>) {
            resource.validate().ok();
            resource.apply_defaults();
            let once = resource.clone();
            resource.apply_defaults();
            assert_eq!(resource, once);
        }
        let bytes = serde_json::to_vec(&value).unwrap();
        match decode(Key::parse(&path).unwrap(), &bytes) {
            Ok(Value::BgpConfiguration(resource)) => judge(*resource),
            Ok(Value::BgpFilter(resource)) => judge(*resource),
            Ok(Value::BgpPeer(resource)) => judge(*resource),
            Ok(Value::CalicoNodeStatus(resource)) => judge(*resource),
            Ok(Value::FelixConfiguration(resource)) => judge(*resource),
            Ok(Value::GlobalNetworkPolicy(resource)) => judge(*resource),
            Ok(Value::GlobalNetworkSet(resource)) => judge(*resource),
            Ok(Value::HostEndpoint(resource)) => judge(*resource),
            Ok(Value::IpPool(resource)) => judge(*resource),
            Ok(Value::NetworkPolicy(resource)) => judge(*resource),
            Ok(Value::NetworkSet(resource)) => judge(*resource),
            Ok(Value::Node(resource)) => judge(*resource),
            Ok(Value::Profile(resource)) => judge(*resource),
            Ok(Value::StagedGlobalNetworkPolicy(resource)) => judge(*resource),
            Ok(Value::StagedKubernetesNetworkPolicy(resource)) => judge(*resource),
            Ok(Value::StagedNetworkPolicy(resource)) => judge(*resource),
            Ok(Value::Tier(resource)) => judge(*resource),
            Ok(Value::WorkloadEndpoint(resource)) => judge(*resource),
            _ => {}
        }
    }
}

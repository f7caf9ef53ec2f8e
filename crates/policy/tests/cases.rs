//! Resources and what a node named `here` is told of them: a folder per case in `tests/cases`, with
//! why it is there, the objects, and all that is told. `UPDATE_EXPECT=1` rewrites `expect.yaml`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use expect_test::expect_file;
use model::kubernetes::{ClusterNetworkPolicy, EndpointSlice, Namespace, NetworkPolicy};
use model::{Entry, Key, Kind, PolicySpec};
use policy::input::{PolicyId, PolicyKind};
use policy::{Graph, Told, Update, convert};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

#[test]
fn nodes_are_told_what_resources_mean() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 3, "cases are missing");
    for case in cases {
        assert!(!read(&case, "why.txt").trim().is_empty(), "{}", case.display());
        let objects: Vec<Value> = serde_saphyr::from_str(&read(&case, "input.yaml")).unwrap();
        let (mut graph, mut told) = (Graph::new("here"), Told::default());
        objects.into_iter().for_each(|object| graph.on(update(object)));
        graph.flush(&mut |output| told.apply(output).unwrap());
        told.check_references().unwrap();
        let problems: Vec<String> = graph.problems().iter().map(ToString::to_string).collect();
        let sets = told.sets.iter().map(|(id, set)| (id.0.to_string(), members(set)));
        let sets: Value = sets.collect();
        let all = json!({
            "sets": sets,
            "policies": named(&told.policies),
            "profiles": named(&told.profiles),
            "workloads": told.workloads.values().map(|it| json!(it)).collect::<Value>(),
            "hostEndpoints": named(&told.host_endpoints),
            "problems": problems,
        });
        let text = serde_saphyr::to_string(&without_empty(all)).unwrap();
        expect_file![case.join("expect.yaml")].assert_eq(&text);
    }
}

fn read(case: &Path, file: &str) -> String {
    let path = case.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

fn update(object: Value) -> Update {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let (name, namespace) = (text("/metadata/name").unwrap(), text("/metadata/namespace"));
    let id = |kind| PolicyId {
        kind,
        namespace: namespace.clone().unwrap_or_default().into(),
        name: name.as_str().into(),
    };
    let (version, kind) = (text("/apiVersion").unwrap(), text("/kind").unwrap());
    match (&*version, &*kind) {
        ("projectcalico.org/v3", kind) => {
            let kind = Kind::ALL.iter().copied().find(|known| known.name() == kind).unwrap();
            let key = Key::Resource { kind, namespace, name };
            let value = serde_json::to_vec(&object).unwrap();
            let entry = Entry::new(key.clone(), value, model::Revision(1));
            let value = model::Value::decode(&entry).unwrap();
            convert::update(&key, Some(&value)).unwrap()
        }
        (_, "Namespace") => {
            let profile = from::<Namespace>(object.clone()).to_profile();
            let name = profile.metadata.name.clone();
            let key = Key::Resource { kind: Kind::Profile, namespace: None, name };
            convert::update(&key, Some(&model::Value::Profile(Box::new(profile)))).unwrap()
        }
        (_, "NetworkPolicy") => {
            let converted = from::<NetworkPolicy>(object.clone()).to_calico();
            let id = id(PolicyKind::KubernetesNetworkPolicy);
            let policy = convert::policy(&id, &converted.resource.spec.parts(), "");
            Update::Policy(id, Some(Box::new(policy)))
        }
        (_, "ClusterNetworkPolicy") => {
            let converted = from::<ClusterNetworkPolicy>(object.clone()).to_calico();
            let id = id(PolicyKind::KubernetesClusterNetworkPolicy);
            let spec = &converted.resource.spec;
            let policy = convert::policy(&id, &spec.parts(), &spec.namespace_selector);
            Update::Policy(id, Some(Box::new(policy)))
        }
        (_, "EndpointSlice") => convert::endpoint_slice(&from::<EndpointSlice>(object.clone())),
        other => panic!("no case has {other:?}"),
    }
}

fn from<T: serde::de::DeserializeOwned>(object: Value) -> T {
    serde_json::from_value(object).unwrap()
}

fn members(set: &policy::Set) -> Value {
    use policy::output::Member;
    let members = set.members.iter().map(|member| match member {
        Member::Net(net) => net.to_string(),
        Member::Port { address, protocol, port } => format!("{address},{protocol}:{port}"),
    });
    members.collect()
}

fn named<'a, K: ToString + 'a, V: serde::Serialize + 'a>(
    objects: impl IntoIterator<Item = (&'a K, &'a V)>,
) -> Value {
    objects.into_iter().map(|(name, object)| (name.to_string(), json!(object))).collect()
}

/// What says nothing is left out.
fn without_empty(value: Value) -> Value {
    let says_something = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => true,
    };
    match value {
        Value::Array(values) => values.into_iter().map(without_empty).collect(),
        Value::Object(fields) => {
            let fields = fields.into_iter().map(|(name, value)| (name, without_empty(value)));
            fields.filter(|(_, value)| says_something(value)).collect()
        }
        other => other,
    }
}

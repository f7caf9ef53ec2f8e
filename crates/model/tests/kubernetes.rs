//! Kubernetes' objects and what they become: a folder per case in `tests/cases/kubernetes`, with why
//! it is there, the object, and all that it becomes. `UPDATE_EXPECT=1` rewrites `expect.yaml`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use expect_test::expect_file;
use model::kubernetes::{
    ClusterNetworkPolicy, Converted, Namespace, NetworkPolicy, Node, Pod, ServiceAccount,
};
use model::{Resource, Selector, Spec};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

fn cases() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases/kubernetes");
    let mut cases: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 20, "cases are missing");
    cases
}

fn read(case: &Path, file: &str) -> String {
    let path = case.join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()))
}

#[test]
fn objects_become_what_calico_makes_of_them() {
    for case in cases() {
        assert!(!read(&case, "why.txt").trim().is_empty(), "{}", case.display());
        let input: Value = serde_saphyr::from_str(&read(&case, "input.yaml")).unwrap();
        let became = converted(input);
        selectors_parse(&became, &case);
        expect_file![case.join("expect.yaml")]
            .assert_eq(&serde_saphyr::to_string(&became).unwrap());
    }
}

fn converted(input: Value) -> Value {
    match input["kind"].as_str().unwrap() {
        "NetworkPolicy" => policy(from::<NetworkPolicy>(input).to_calico()),
        "ClusterNetworkPolicy" => policy(from::<ClusterNetworkPolicy>(input).to_calico()),
        "Namespace" => valid(from::<Namespace>(input).to_profile()),
        "ServiceAccount" => valid(from::<ServiceAccount>(input).to_profile()),
        "Pod" => match from::<Pod>(input).to_calico("cali") {
            Some(endpoint) => policy(endpoint),
            None => Value::Null,
        },
        "Node" => node(&from::<Node>(input)),
        other => panic!("no conversion of {other}"),
    }
}

/// Calico's Node; what is written of it says the same as what was read.
fn node(node: &Node) -> Value {
    let became = node.to_calico();
    let written = became.resource.to_kubernetes_annotations();
    let mut again = node.clone();
    for (name, text) in written {
        match text {
            Some(text) => again.metadata.annotations.insert(name.to_owned(), text),
            None => again.metadata.annotations.remove(name),
        };
    }
    assert_eq!(again.to_calico().resource, became.resource);
    policy(became)
}

fn from<T: serde::de::DeserializeOwned>(input: Value) -> T {
    serde_json::from_value(input).unwrap()
}

fn policy<S: Spec>(converted: Converted<S>) -> Value {
    let problems: Vec<String> = converted.problems.iter().map(ToString::to_string).collect();
    let mut value = valid(converted.resource);
    if !problems.is_empty() {
        value["problems"] = json!(problems);
    }
    value
}

/// The resource's JSON; what came of a conversion is what Calico would accept.
fn valid<S: Spec>(resource: Resource<S>) -> Value {
    assert_eq!(resource.validate(), Ok(()), "{resource:?}");
    serde_json::to_value(resource).unwrap()
}

fn selectors_parse(value: &Value, case: &Path) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
            Some(text) if name.to_ascii_lowercase().ends_with("selector") => {
                assert!(Selector::parse(text).is_ok(), "{}: {text}", case.display());
            }
            _ => selectors_parse(value, case),
        }),
        Value::Array(items) => items.iter().for_each(|item| selectors_parse(item, case)),
        _ => {}
    }
}

//! The CustomResourceDefinitions in `manifests/`. `UPDATE_EXPECT=1` writes them anew.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use expect_test::expect_file;
use model::definitions::{ApiGroup, definitions};
use serde_json::Value;

fn manifest(group: ApiGroup) -> String {
    let documents =
        definitions(group).into_iter().map(|one| serde_saphyr::to_string(&one).unwrap());
    documents.map(|text| format!("---\n{text}")).collect()
}

#[test]
fn manifests_are_what_the_types_say() {
    expect_file!["../../../manifests/crds.yaml"].assert_eq(&manifest(ApiGroup::Crd));
    expect_file!["../../../manifests/crds-v3.yaml"].assert_eq(&manifest(ApiGroup::Native));
}

/// A field that may hold anything is one whose type nobody has said, but for the lists of a block, which
/// are checked by who reads them.
#[test]
fn every_field_has_a_type() {
    const LISTS: [&str; 4] =
        ["allocations", "attributes", "sequenceNumberForAllocation", "unallocated"];
    fn open(schema: &Value, at: &str, found: &mut Vec<String>) {
        if schema.get("x-kubernetes-preserve-unknown-fields").is_some() {
            found.push(at.to_owned());
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            open(field, &format!("{at}.{name}"), found);
        }
        for within in ["items", "additionalProperties"] {
            schema.get(within).into_iter().for_each(|one| open(one, &format!("{at}[]"), found));
        }
    }
    for group in [ApiGroup::Crd, ApiGroup::Native] {
        let mut found = Vec::new();
        for definition in definitions(group) {
            let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
            open(schema, definition["metadata"]["name"].as_str().unwrap(), &mut found);
        }
        let group = match group {
            ApiGroup::Crd => "crd.projectcalico.org",
            ApiGroup::Native => "projectcalico.org",
        };
        assert_eq!(found, LISTS.map(|list| format!("ipamblocks.{group}.spec.{list}")));
    }
}

//! BGPFilters: conditions that cannot be met and operations that cannot be done are refused.

use super::check;
use crate::BgpFilterSpec;
use serde_json::{Value as Json, json};

/// A filter with one rule in one list.
fn one(list: &str, rule: Json) -> Json {
    json!({ list: [rule] })
}

#[test]
fn conditions_fit_their_family_and_each_other() {
    check::<BgpFilterSpec>(
        "f",
        vec![
            (json!({}), &[]),
            (
                one(
                    "importV4",
                    json!({"cidr": "10.0.0.0/8", "matchOperator": "In", "prefixLength": {"min": 8},
                           "source": "RemotePeers", "interface": "*.calico", "peerType": "eBGP",
                           "communities": {"values": ["1:2:4294967295"]}, "asPathPrefix": ["1.1"],
                           "priority": 1, "action": "Reject"}),
                ),
                &[],
            ),
            (
                one(
                    "exportV6",
                    json!({"cidr": "fd00::/8", "matchOperator": "NotIn", "action": "Accept",
                           "prefixLength": {"max": 128}}),
                ),
                &[],
            ),
            (one("importV6", json!({})), &["spec.importV6[0].action"]),
            (one("exportV4", json!({"action": "accept"})), &["spec.exportV4[0].action"]),
            (
                one("exportV4", json!({"action": "Accept", "cidr": "10.0.0.0/8"})),
                &["spec.exportV4[0].matchOperator"],
            ),
            (
                one("exportV4", json!({"action": "Accept", "matchOperator": "Equal"})),
                &["spec.exportV4[0].matchOperator"],
            ),
            (
                one(
                    "exportV4",
                    json!({"action": "Accept", "cidr": "fd00::/8", "matchOperator": "Within"}),
                ),
                &["spec.exportV4[0].matchOperator", "spec.exportV4[0].cidr"],
            ),
            (
                one("importV6", json!({"action": "Accept", "cidr": "::", "matchOperator": "In"})),
                &["spec.importV6[0].cidr"],
            ),
            (
                one("importV4", json!({"action": "Accept", "prefixLength": {"min": 33}})),
                &["spec.importV4[0].prefixLength", "spec.importV4[0].prefixLength.min"],
            ),
            (
                one(
                    "importV4",
                    json!({"action": "Accept", "source": "Kernel", "peerType": "ebgp",
                           "interface": "eth0 ", "communities": {"values": []}, "priority": 0}),
                ),
                &[
                    "spec.importV4[0].source",
                    "spec.importV4[0].peerType",
                    "spec.importV4[0].interface",
                    "spec.importV4[0].communities.values",
                    "spec.importV4[0].priority",
                ],
            ),
            (
                one(
                    "importV4",
                    json!({"action": "Accept", "communities": {"values": ["65536:1"]}}),
                ),
                &["spec.importV4[0].communities.values"],
            ),
        ],
    );
}

#[test]
fn operations_are_one_to_ten_and_of_routes_that_pass() {
    let accepting =
        |operations: Json| one("exportV4", json!({"action": "Accept", "operations": operations}));
    let add = json!({"addCommunity": {"value": "65000:1"}});
    check::<BgpFilterSpec>(
        "f",
        vec![
            (
                one("exportV4", json!({"action": "Reject", "operations": [add]})),
                &["spec.exportV4[0].operations"],
            ),
            (accepting(json!(vec![add.clone(); 10])), &[]),
            (accepting(json!(vec![add; 11])), &["spec.exportV4[0].operations"]),
            (accepting(json!([{}])), &["spec.exportV4[0].operations[0]"]),
            (
                accepting(json!([{"addCommunity": {"value": "1:1"}, "setPriority": {"value": 1}}])),
                &["spec.exportV4[0].operations[0]"],
            ),
            (
                accepting(json!([{"addCommunity": {"value": "1"}},
                                 {"prependASPath": {"prefix": []}},
                                 {"prependASPath": {"prefix": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}},
                                 {"setPriority": {"value": 2_147_483_647_u32}},
                                 {"setPriority": {}}])),
                &[
                    "spec.exportV4[0].operations[0].addCommunity.value",
                    "spec.exportV4[0].operations[1].prependASPath.prefix",
                    "spec.exportV4[0].operations[3].setPriority.value",
                    "spec.exportV4[0].operations[4].setPriority.value",
                ],
            ),
        ],
    );
}

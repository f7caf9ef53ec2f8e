//! The schemas of what the system says of a resource.

use super::schema_of;
use crate::resources::kube_controllers_configuration::KubeControllersConfigurationSpec;
use serde_json::{Value, json};

/// That of a kind; `None` for kinds of which nothing is said.
pub(super) fn schema(kind: &str) -> Option<Value> {
    Some(match kind {
        "IPPool" | "Tier" => object(json!({"conditions": conditions()})),
        "KubeControllersConfiguration" => object(json!({
            "environmentVars": {"type": "object", "additionalProperties": text()},
            "runningConfig": schema_of::<KubeControllersConfigurationSpec>(),
        })),
        "CalicoNodeStatus" => node_status(),
        _ => return None,
    })
}

/// Kubernetes' conditions.
fn conditions() -> Value {
    let mut one = texts(&["lastTransitionTime", "message", "reason", "status", "type"]);
    one["properties"]["observedGeneration"] = json!({"type": "integer", "format": "int64"});
    one["required"] = json!(["status", "type"]);
    array(one)
}

fn node_status() -> Value {
    let daemon =
        texts(&["state", "version", "routerID", "lastBootTime", "lastReconfigurationTime"]);
    let peer = texts(&["peerIP", "type", "state", "since"]);
    let mut route = texts(&["type", "destination", "gateway", "interface"]);
    route["properties"]["learnedFrom"] = texts(&["sourceType", "peerIP"]);
    let number = json!({"type": "integer"});
    object(json!({
        "lastUpdated": {"type": "string", "nullable": true},
        "agent": object(json!({"birdV4": daemon.clone(), "birdV6": daemon})),
        "bgp": object(json!({
            "numberEstablishedV4": number, "numberEstablishedV6": number,
            "numberNotEstablishedV4": number, "numberNotEstablishedV6": number,
            "peersV4": array(peer.clone()), "peersV6": array(peer),
        })),
        "routes": object(json!({"routesV4": array(route.clone()), "routesV6": array(route)})),
    }))
}

fn text() -> Value {
    json!({"type": "string"})
}

fn texts(fields: &[&str]) -> Value {
    let properties: Value = fields.iter().map(|field| ((*field).to_owned(), text())).collect();
    object(properties)
}

fn array(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

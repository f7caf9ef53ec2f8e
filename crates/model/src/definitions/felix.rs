//! The schema of FelixConfiguration, from the registry of parameters.

use crate::config::{self, Definition, ValueType};
use serde_json::{Map, Value, json};

/// Go's form of a length of time.
const DURATION: &str = r"^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))*$";

pub(super) fn schema() -> Value {
    let fields = config::definitions().filter(|definition| definition.of_felix);
    let fields = fields.filter_map(|definition| Some((definition.field?, definition)));
    let mut properties: Map<String, Value> =
        fields.map(|(field, definition)| (field.to_owned(), of(field, definition))).collect();
    let selector = "The nodes that it is for; default: those that its name says (3.32).";
    properties.insert(
        config::NODE_SELECTOR_FIELD.to_owned(),
        json!({"type": "string", "nullable": true, "description": selector}),
    );
    json!({"type": "object", "properties": properties})
}

fn of(field: &str, definition: &Definition) -> Value {
    let mut schema = match definition.value_type {
        ValueType::Bool => json!({"type": "boolean"}),
        ValueType::Integer(min, max) => {
            let mut schema = json!({"type": "integer", "format": "int64"});
            if min != i64::MIN {
                schema["minimum"] = json!(min);
            }
            if max != i64::MAX {
                schema["maximum"] = json!(max);
            }
            schema
        }
        ValueType::Seconds | ValueType::Milliseconds | ValueType::GoDuration => {
            json!({"type": "string", "pattern": DURATION})
        }
        ValueType::Choice(words) => {
            json!({"type": "string", "pattern": format!("^(?i)({})?$", words.join("|"))})
        }
        ValueType::MarkMask => json!({"type": "integer", "format": "int64"}),
        ValueType::AsNumber => json!({"x-kubernetes-int-or-string": true}),
        ValueType::FailsafePorts => array(object(json!({
            "protocol": {"type": "string"}, "port": {"type": "integer"}, "net": {"type": "string"},
        }))),
        ValueType::Structured => structured(field),
        ValueType::Text
        | ValueType::Pattern
        | ValueType::Ipv4
        | ValueType::Ipv6
        | ValueType::InterfacePrefixes
        | ValueType::Selector => json!({"type": "string"}),
    };
    schema["nullable"] = json!(true);
    schema["description"] = json!(definition.doc);
    schema
}

/// The forms of lists and objects, which the registry only passes on.
fn structured(field: &str) -> Value {
    let text = || json!({"type": "string"});
    let range = || object(json!({"min": {"type": "integer"}, "max": {"type": "integer"}}));
    let number_or_text = || json!({"x-kubernetes-int-or-string": true});
    match field {
        "externalNodesList"
        | "bpfDSROptoutCIDRs"
        | "bpfExcludeCIDRsFromNAT"
        | "bpfForceTrackPacketsFromIfaces" => array(text()),
        "kubeNodePortRanges" => array(number_or_text()),
        "natPortRange" | "istioDSCPMark" | "bpfPSNATPorts" => number_or_text(),
        "iptablesMarkMask" => json!({"type": "integer", "format": "int64"}),
        "routeTableRange" => range(),
        "routeTableRanges" => array(range()),
        "healthTimeoutOverrides" => array(object(json!({"name": text(), "timeout": text()}))),
        "bpfConntrackTimeouts" => object(json!({
            "creationGracePeriod": text(), "tcpSynSent": text(), "tcpEstablished": text(),
            "tcpFinsSeen": text(), "tcpResetSeen": text(), "udpTimeout": text(),
            "genericTimeout": text(), "icmpTimeout": text(),
        })),
        "bpfLogFilters" => json!({"type": "object", "additionalProperties": text()}),
        _ => text(),
    }
}

fn array(items: Value) -> Value {
    json!({"type": "array", "items": items})
}

fn object(properties: Value) -> Value {
    json!({"type": "object", "properties": properties})
}

//! A JSON schema as an API server takes it: structural, without references, types or null beside each
//! other, and alternatives.

use serde_json::{Map, Value, json};

/// Formats that an API server knows.
const FORMATS: [&str; 4] = ["int32", "int64", "float", "double"];

/// The schema in structural form.
pub(super) fn structural(schema: Value) -> Value {
    let mut fields = match schema {
        Value::Object(fields) => fields,
        // Anything.
        _ => return json!({"x-kubernetes-preserve-unknown-fields": true}),
    };
    for unknown in ["$schema", "title", "default", "examples"] {
        fields.remove(unknown);
    }
    alternatives(&mut fields);
    null(&mut fields);
    if let Some(format) = fields.get("format").and_then(Value::as_str).map(str::to_owned)
        && !FORMATS.contains(&format.as_str())
    {
        fields.remove("format");
    }
    // What else an object has is dropped, as it is of any other.
    if fields.contains_key("properties") {
        fields.remove("additionalProperties");
    }
    if let Some(Value::Object(properties)) = fields.remove("properties") {
        let properties: Map<String, Value> =
            properties.into_iter().map(|(name, schema)| (name, structural(schema))).collect();
        fields.insert("properties".to_owned(), Value::Object(properties));
    }
    for within in ["items", "additionalProperties"] {
        if let Some(schema) = fields.remove(within) {
            fields.insert(within.to_owned(), structural(schema));
        }
    }
    let is_open =
        !["type", "x-kubernetes-int-or-string"].iter().any(|key| fields.contains_key(*key));
    if is_open {
        fields.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
    }
    Value::Object(fields)
}

/// Words that each have a description become one list; something or nothing becomes that something;
/// a number or a text becomes what Kubernetes calls so.
fn alternatives(fields: &mut Map<String, Value>) {
    let given = fields.remove("oneOf").or_else(|| fields.remove("anyOf"));
    let Some(Value::Array(mut given)) = given else { return };
    let before = given.len();
    given.retain(|one| one["type"] != "null");
    if before != given.len() {
        fields.insert("nullable".to_owned(), json!(true));
    }
    let words: Option<Vec<Value>> =
        given.iter().map(words).collect::<Option<Vec<_>>>().map(|all| all.concat());
    if let Some(words) = words {
        fields.insert("type".to_owned(), json!("string"));
        fields.insert("enum".to_owned(), Value::Array(words));
    } else if let [Value::Object(only)] = given.as_slice() {
        for (key, value) in only {
            // The field's own description says more than that of its type.
            fields.entry(key.clone()).or_insert_with(|| value.clone());
        }
        alternatives(fields);
    } else {
        fields.insert("x-kubernetes-int-or-string".to_owned(), json!(true));
    }
}

fn words(one: &Value) -> Option<Vec<Value>> {
    match (one.get("const"), one.get("enum")) {
        (Some(word), _) => Some(vec![word.clone()]),
        (None, Some(Value::Array(words))) => Some(words.clone()),
        _ => None,
    }
}

/// `[T, null]` becomes a T that may be null.
fn null(fields: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = fields.get("type") else { return };
    let kept: Vec<Value> = types.iter().filter(|kind| **kind != "null").cloned().collect();
    fields.insert("nullable".to_owned(), json!(true));
    if let [only] = kept.as_slice() {
        fields.insert("type".to_owned(), only.clone());
    }
    if let Some(Value::Array(words)) = fields.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
}

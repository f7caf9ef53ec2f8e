//! YAML as Calico prints it: keys in alphabetical order, lists not indented, quotes only where a
//! plain scalar would be read as something else than a text.

use serde_json::{Map, Value};
use std::net::IpAddr;

/// A value as a YAML document.
pub(crate) fn print(value: &Value) -> String {
    match value {
        Value::Object(fields) if !fields.is_empty() => mapping(fields, 0),
        Value::Array(elements) if !elements.is_empty() => sequence(elements, 0),
        other => scalar(other) + "\n",
    }
}

fn mapping(fields: &Map<String, Value>, indent: usize) -> String {
    let mut sorted: Vec<(&String, &Value)> = fields.iter().collect();
    sorted.sort_by_key(|(name, _)| *name);
    let margin = " ".repeat(indent);
    let line = |(name, value): (&String, &Value)| {
        let name = text(name);
        match value {
            Value::Object(below) if !below.is_empty() => {
                format!("{margin}{name}:\n{}", mapping(below, indent + 2))
            }
            Value::Array(below) if !below.is_empty() => {
                format!("{margin}{name}:\n{}", sequence(below, indent))
            }
            other => format!("{margin}{name}: {}\n", scalar(other)),
        }
    };
    sorted.into_iter().map(line).collect()
}

fn sequence(elements: &[Value], indent: usize) -> String {
    let margin = " ".repeat(indent);
    let line = |element: &Value| {
        let below = match element {
            Value::Object(below) if !below.is_empty() => mapping(below, indent + 2),
            Value::Array(below) if !below.is_empty() => sequence(below, indent + 2),
            other => return format!("{margin}- {}\n", scalar(other)),
        };
        // The first line of what stands below follows the dash.
        format!("{margin}- {}", &below[indent + 2..])
    };
    elements.iter().map(line).collect()
}

fn scalar(value: &Value) -> String {
    match value {
        Value::String(string) => text(string),
        other => other.to_string(),
    }
}

fn text(string: &str) -> String {
    if is_plain(string) { string.to_owned() } else { quoted(string) }
}

/// Words that some YAML reader takes for a truth value, nothing or a number.
const WORDS: &[&str] =
    &["y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "nan", "inf", "infinity"];

/// Whether every YAML reader takes these characters, unquoted, for this very text.
fn is_plain(string: &str) -> bool {
    let (Some(first), Some(last)) = (string.chars().next(), string.chars().last()) else {
        return false;
    };
    let usual = |c: char| c.is_alphanumeric() || " _-./:()'\"=,;+*&!|<>@%#{}[]?$^~\\".contains(c);
    string.chars().all(usual)
        && (first.is_alphanumeric() || "_/($^\\;+".contains(first))
        && !last.is_whitespace()
        && last != ':'
        && !string.contains(": ")
        && !string.contains(" #")
        && !WORDS.contains(&string.to_ascii_lowercase().as_str())
        && !is_numeric(string)
}

/// Numbers, dates, times: what begins with a digit or sign and has nothing a number or time hasn't.
fn is_numeric(string: &str) -> bool {
    let starts = string.starts_with(|c: char| c.is_ascii_digit() || c == '+');
    let part = |c: char| c.is_ascii_hexdigit() || "+-_.:xoTZ ".contains(c);
    let uid = string.len() == 36 && string.matches('-').count() == 4;
    let looks = starts && string.chars().all(part) && !uid && string.parse::<IpAddr>().is_err();
    looks || string.parse::<f64>().is_ok()
}

/// Double quotes; JSON's escapes are YAML's too.
fn quoted(string: &str) -> String {
    let json = Value::from(string).to_string();
    let escaped = |c: char| {
        let unprintable = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}');
        if unprintable { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() }
    };
    json.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn a_pool_is_printed_as_in_the_walkthroughs() {
        let pool = json!({
            "kind": "IPPool", "apiVersion": "projectcalico.org/v3",
            "spec": {
                "cidr": "172.16.0.0/16", "allowedUses": ["Workload", "Tunnel"], "blockSize": 24,
                "ipipMode": "Always", "natOutgoing": true, "nodeSelector": "all()",
                "vxlanMode": "Never",
            },
            "metadata": {
                "name": "default-ipv4-ippool", "resourceVersion": "4751",
                "uid": "39e31d54-8836-47e7-b5b1-9d2a90d91c26",
                "creationTimestamp": "2024-09-13T01:29:35Z",
            },
        });
        expect![[r#"
            apiVersion: projectcalico.org/v3
            kind: IPPool
            metadata:
              creationTimestamp: "2024-09-13T01:29:35Z"
              name: default-ipv4-ippool
              resourceVersion: "4751"
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
        "#]]
        .assert_eq(&print(&pool));
    }

    #[test]
    fn lists_of_lists_and_of_maps() {
        let value = json!({"a": [[1, [2]], {"b": [{"c": {}, "d": "10.0.0.1"}], "e": []}, "no"]});
        expect![[r#"
            a:
            - - 1
              - - 2
            - b:
              - c: {}
                d: 10.0.0.1
              e: []
            - "no"
        "#]]
        .assert_eq(&print(&value));
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let text = prop_oneof!["\\PC{0,12}", "[-+0-9a-fxTZ:._ ]{0,10}", any::<String>()];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            text.clone().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::vec((text.clone(), inner), 0..5)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_printed_is_read_again(value in any_json()) {
            let printed = print(&value);
            let read: Value = serde_saphyr::from_str(&printed)
                .map_err(|why| TestCaseError::fail(format!("{why}:\n{printed}")))?;
            prop_assert_eq!(read, value, "{}", printed);
        }
    }
}

//! The `CalicoAPIConfig` file: `/etc/calico/calicoctl.cfg`.

use super::{FIELDS, Values};
use crate::Error;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

const KIND: &str = "CalicoAPIConfig";

/// Fields that are right in the file, and without meaning here.
const OTHER_FIELDS: &[&str] =
    &["k8sDisableNodePoll", "k8sUsePodCIDR", "k8sClientQPS", "k8sClientBurst"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ApiConfig {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    spec: BTreeMap<String, serde_json::Value>,
}

/// Reads the file's fields.
pub(super) fn read(path: &Path) -> Result<Values, Error> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::Settings(format!(
            "cannot read the configuration file {shown}: {error}; name another one or set \
             ETCD_ENDPOINTS"
        ))
    })?;
    parse(&text).map_err(|why| {
        Error::Settings(format!(
            "the configuration file {shown} {why}; it takes a {KIND} of \
             {} as calicoctl's documentation shows",
            model::resource::API_VERSION
        ))
    })
}

pub(super) fn parse(text: &str) -> Result<Values, String> {
    let config: ApiConfig =
        serde_saphyr::from_str(text).map_err(|error| format!("is not readable: {error}"))?;
    if config.kind != KIND {
        return Err(format!("has kind {:?}", config.kind));
    }
    if config.api_version != model::resource::API_VERSION {
        return Err(format!("has apiVersion {:?}", config.api_version));
    }
    let mut values = Values::new();
    for (name, value) in config.spec {
        let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
            if OTHER_FIELDS.contains(&name.as_str()) {
                continue;
            }
            return Err(format!("has an unknown field spec.{name}"));
        };
        let text = match value {
            serde_json::Value::String(text) => text,
            serde_json::Value::Null => continue,
            // An unquoted password of digits.
            serde_json::Value::Number(number) => number.to_string(),
            serde_json::Value::Bool(set) => set.to_string(),
            other => return Err(format!("has {other} in spec.{name}, which takes a text")),
        };
        if !text.trim().is_empty() {
            values.insert(field.name, text);
        }
    }
    Ok(values)
}

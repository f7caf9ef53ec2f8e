//! The network configuration: a template whose variables are filled in.

use super::settings::Settings;
use super::{InstallError, secrets, shown};
use crate::credentials::{HOST_CONFIGURATIONS, KUBECONFIG};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Where no template is given.
const DEFAULT: &str = r#"{
  "name": "k8s-pod-network",
  "cniVersion": "1.0.0",
  "plugins": [
    {
      "type": "calico",
      "log_level": "__LOG_LEVEL__",
      "log_file_path": "__LOG_FILE_PATH__",
      "datastore_type": "__DATASTORE_TYPE__",
      "nodename": "__KUBERNETES_NODE_NAME__",
      "mtu": __CNI_MTU__,
      "ipam": {"type": "calico-ipam"},
      "policy": {"type": "k8s"},
      "kubernetes": {"kubeconfig": "__KUBECONFIG_FILEPATH__"}
    },
    {"type": "portmap", "snat": true, "capabilities": {"portMappings": true}}
  ]
}
"#;

/// The template's variables that are those of the environment, and what they are where it has none.
const VARIABLES: &[(&str, &str)] = &[
    ("LOG_LEVEL", "info"),
    ("LOG_FILE_PATH", "/var/log/calico/cni/cni.log"),
    ("LOG_FILE_MAX_SIZE", "100"),
    ("LOG_FILE_MAX_AGE", "30"),
    ("LOG_FILE_MAX_COUNT", "10"),
    ("DATASTORE_TYPE", "kubernetes"),
    ("CNI_MTU", "1500"),
    ("KUBERNETES_SERVICE_HOST", ""),
    ("KUBERNETES_SERVICE_PORT", ""),
    ("CALICO_API_GROUP", "crd.projectcalico.org/v1"),
    ("ETCD_ENDPOINTS", ""),
    ("ETCD_DISCOVERY_SRV", ""),
    ("REQUIRE_MTU_FILE", "false"),
];

const TOKEN: &str = "__SERVICEACCOUNT_TOKEN__";
const READABLE: u32 = 0o644;
const PRIVATE: u32 = 0o600;

/// Writes the configuration, and removes the one that an older installation has left.
///
/// # Errors
/// The template is missing or no JSON, or a file cannot be written.
pub(super) fn write(
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    secrets: &[&str],
    token: Option<&str>,
    root: &Path,
    say: &mut dyn FnMut(String),
) -> Result<(), InstallError> {
    let (template, origin) = template(environment, root)?;
    let text = filled(&template, settings, environment, secrets, token)?;
    let wrong = |reason| InstallError::Configuration { origin: origin.clone(), reason };
    serde_json::from_str::<Map<String, Value>>(&text).map_err(|why| wrong(why.to_string()))?;
    for unknown in placeholders(&text) {
        say(format!("{origin} has {unknown}, which is no variable: it stays as it is"));
    }
    let directory = root.join(HOST_CONFIGURATIONS);
    let path = directory.join(&settings.configuration);
    let mode = if template.contains(TOKEN) { PRIVATE } else { READABLE };
    linux::file::replace_with_mode(&path, text.as_bytes(), mode).map_err(|source| {
        let next_step = "is the host's /etc/cni/net.d mounted at /host/etc/cni/net.d, writable?";
        InstallError::File { action: "writing", path: path.clone(), source, next_step }
    })?;
    say(format!("wrote {}", shown(&path, root)));
    if settings.old_configuration != settings.configuration {
        let old = directory.join(&settings.old_configuration);
        match std::fs::remove_file(&old) {
            Ok(()) => say(format!("removed {}", shown(&old, root))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => {}
            Err(source) => {
                let next_step = "remove it by hand: the runtime may use it instead of the new one";
                return Err(InstallError::File {
                    action: "removing",
                    path: old,
                    source,
                    next_step,
                });
            }
        }
    }
    Ok(())
}

/// The template, and what it is called. A file counts more than the variable, as in Calico.
fn template(
    environment: &BTreeMap<String, String>,
    root: &Path,
) -> Result<(String, String), InstallError> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    if let Some(file) = set("CNI_NETWORK_CONFIG_FILE") {
        let path = root.join(file.trim_start_matches('/'));
        let text = std::fs::read_to_string(&path).map_err(|source| InstallError::File {
            action: "reading",
            path,
            source,
            next_step: "CNI_NETWORK_CONFIG_FILE names it: mount it into the container",
        })?;
        return Ok((text, file.clone()));
    }
    let text = set("CNI_NETWORK_CONFIG").map_or(DEFAULT, String::as_str);
    Ok((text.to_owned(), "CNI_NETWORK_CONFIG".to_owned()))
}

fn filled(
    template: &str,
    settings: &Settings,
    environment: &BTreeMap<String, String>,
    secrets: &[&str],
    token: Option<&str>,
) -> Result<String, InstallError> {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
    let mut text = template.to_owned();
    for (name, default) in VARIABLES {
        let value = set(name).unwrap_or_else(|| (*default).to_owned());
        text = text.replace(&format!("__{name}__"), &value);
    }
    let host = &settings.host_directory;
    for (file, placeholder) in secrets::FILES {
        let there = secrets.contains(&file);
        let path =
            if there { format!("{host}/{}/{file}", secrets::DIRECTORY) } else { <_>::default() };
        text = text.replace(placeholder, &path);
    }
    const NODE: &str = "__KUBERNETES_NODE_NAME__";
    if text.contains(NODE) {
        let node = match set("KUBERNETES_NODE_NAME") {
            Some(node) => node,
            None => system_name()?,
        };
        text = text.replace(NODE, &node);
    }
    let text = text.replace("__KUBECONFIG_FILEPATH__", &format!("{host}/{KUBECONFIG}"));
    Ok(text.replace(TOKEN, token.unwrap_or_default()))
}

fn system_name() -> Result<String, InstallError> {
    let name = nix::unistd::gethostname().map_err(|errno| InstallError::File {
        action: "reading",
        path: "/proc/sys/kernel/hostname".into(),
        source: errno.into(),
        next_step: "set KUBERNETES_NODE_NAME",
    })?;
    Ok(name.to_string_lossy().to_lowercase())
}

/// What looks like a variable, `__NAME__`.
fn placeholders(text: &str) -> Vec<String> {
    let is_word =
        |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_uppercase() || c == '_');
    let mut found = Vec::new();
    for word in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
        let inner = word.strip_prefix("__").and_then(|word| word.strip_suffix("__"));
        if inner.is_some_and(is_word) && !found.iter().any(|known| known == word) {
            found.push(word.to_owned());
        }
    }
    found
}

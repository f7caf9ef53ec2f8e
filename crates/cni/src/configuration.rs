//! The network configuration on standard input: Calico's keys (`calico-features.md` §5.2).
//!
//! A key that is not acted on is accepted, as Calico accepts it; [`Configuration::unknown_keys`]
//! tells those that Calico doesn't know either.

use crate::container::Arguments;
use crate::error::{Code, Error};
use crate::version::SpecVersion;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use node::api::Features;
use serde::Deserialize;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A network configuration.
#[derive(Clone, Debug)]
pub(crate) struct Configuration {
    /// The version of the specification to answer in.
    pub version: SpecVersion,
    /// The network's name, first part of every IPAM handle.
    pub name: String,
    /// The keys acted on.
    pub keys: Keys,
    /// All of it, as it stands; a delegated plugin gets the same.
    pub text: Vec<u8>,
    /// Its keys as they stand, for those that go to the datastore's client.
    pub object: serde_json::Map<String, Value>,
}

/// The keys that are acted on, typed; absent and `null` are the same.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Keys {
    #[serde(rename = "cniVersion")]
    cni_version: Option<String>,
    name: Option<String>,
    /// Who assigns addresses.
    pub ipam: Option<Ipam>,
    /// Bytes of the pod's largest packet; 0 and absent: the node's file says.
    pub mtu: Option<u32>,
    /// The node's name.
    pub nodename: Option<String>,
    /// The file that holds it, which the agent writes.
    pub nodename_file: Option<PathBuf>,
    /// Go on without that file.
    pub nodename_file_optional: Option<bool>,
    /// The node's name, deprecated.
    pub hostname: Option<String>,
    /// Fail where the MTU's file is missing.
    pub require_mtu_file: Option<bool>,
    /// `info`, `debug`, `warning` or `error`.
    pub log_level: Option<String>,
    /// The log file.
    pub log_file_path: Option<PathBuf>,
    /// Megabytes at which it is rotated.
    pub log_file_max_size: Option<u32>,
    /// Days that rotated files are kept.
    pub log_file_max_age: Option<u32>,
    /// How many rotated files are kept.
    pub log_file_max_count: Option<u32>,
    /// What of annotations pods may ask for.
    pub feature_control: Option<Features>,
    /// Routes to everywhere beside those that `ipam.routes` names.
    pub include_default_routes: Option<bool>,
    /// What a container may do.
    pub container_settings: Option<ContainerSettings>,
    /// The lock that concurrent `calico-ipam` processes take.
    pub ipam_lock_file: Option<PathBuf>,
    /// The result of ADD, in CHECK and DEL.
    #[serde(rename = "prevResult")]
    pub previous_result: Option<Value>,
    /// What the runtime says of the container.
    pub args: Option<Arguments>,
}

/// The key `ipam`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Ipam {
    /// The IPAM plugin's name.
    #[serde(rename = "type")]
    pub plugin: Option<String>,
    /// Assign an IPv4 address; yes unless it says `"false"`.
    pub assign_ipv4: Option<Switch>,
    /// Assign an IPv6 address; no unless it says `"true"`.
    pub assign_ipv6: Option<Switch>,
    /// Pools to use, by CIDR or name.
    pub ipv4_pools: Option<Vec<String>>,
    /// Pools to use, by CIDR or name.
    pub ipv6_pools: Option<Vec<String>>,
    /// With host-local: where the container's routes lead, in place of everywhere.
    pub routes: Option<Vec<Destination>>,
}

/// A route of the key `ipam`. Its gateway is the host, whatever else it names.
#[derive(Clone, Copy, Debug, Deserialize)]
pub(crate) struct Destination {
    /// Where it leads.
    pub dst: IpNet,
}

/// The key `container_settings`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerSettings {
    /// Let the container forward packets.
    pub allow_ip_forwarding: Option<bool>,
}

/// Yes or no: Calico's form is a string, a JSON boolean does too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Switch(pub bool);

impl<'de> Deserialize<'de> for Switch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Switch, D::Error> {
        match Value::deserialize(deserializer)? {
            Value::Bool(on) => Ok(Switch(on)),
            Value::String(text) if text.eq_ignore_ascii_case("true") => Ok(Switch(true)),
            Value::String(text) if text.eq_ignore_ascii_case("false") => Ok(Switch(false)),
            other => {
                Err(serde::de::Error::custom(format!("{other} is neither \"true\" nor \"false\"")))
            }
        }
    }
}

/// The keys that Calico knows; the rest is a typing error, or another plugin's.
const CALICO_KEYS: &[&str] = &[
    "args",
    "calico_api_group",
    "capabilities",
    "cniVersion",
    "container_settings",
    "dataplane_options",
    "datastore_type",
    "device_type",
    "dns",
    "endpoint_status_dir",
    "etcd_authority",
    "etcd_ca_cert_file",
    "etcd_cert_file",
    "etcd_discovery_srv",
    "etcd_endpoints",
    "etcd_key_file",
    "etcd_scheme",
    "feature_control",
    "hostname",
    "include_default_routes",
    "ipam",
    "ipam_lock_file",
    "kubernetes",
    "log_file_max_age",
    "log_file_max_count",
    "log_file_max_size",
    "log_file_path",
    "log_level",
    "mode",
    "mtu",
    "name",
    "nodename",
    "nodename_file",
    "nodename_file_optional",
    "num_queues",
    "policy",
    "policy_setup_timeout_seconds",
    "prevResult",
    "qps",
    "burst",
    "readiness_gates",
    "require_mtu_file",
    "runtimeConfig",
    "type",
    "vxlan_mac_prefix",
    "vxlan_vni",
    "windows_disable_default_deny_all_policy",
    "windows_loopback_DSR",
    "windows_pod_deletion_timestamp_timeout",
    "windows_use_single_network",
];

/// Configuration keys, as JSON pointers, and the variables of the datastore's client that they set (§5.2).
const DATASTORE_KEYS: &[(&str, &str)] = &[
    ("/datastore_type", "DATASTORE_TYPE"),
    ("/calico_api_group", "CALICO_API_GROUP"),
    ("/etcd_endpoints", "ETCD_ENDPOINTS"),
    ("/etcd_discovery_srv", "ETCD_DISCOVERY_SRV"),
    ("/etcd_authority", "ETCD_AUTHORITY"),
    ("/etcd_scheme", "ETCD_SCHEME"),
    ("/etcd_key_file", "ETCD_KEY_FILE"),
    ("/etcd_cert_file", "ETCD_CERT_FILE"),
    ("/etcd_ca_cert_file", "ETCD_CA_CERT_FILE"),
    ("/policy/k8s_api_root", "K8S_API_ENDPOINT"),
    ("/policy/k8s_auth_token", "K8S_API_TOKEN"),
    ("/policy/k8s_client_certificate", "K8S_CERT_FILE"),
    ("/policy/k8s_client_key", "K8S_KEY_FILE"),
    ("/policy/k8s_certificate_authority", "K8S_CA_FILE"),
    ("/kubernetes/k8s_api_root", "K8S_API_ENDPOINT"),
    ("/kubernetes/kubeconfig", "KUBECONFIG"),
];

/// The reference IPAM plugin that gives a node's own range.
pub(crate) const HOST_LOCAL: &str = "host-local";

/// Where the node's name stands unless the configuration says otherwise, below `/var/lib/calico`.
pub(crate) const NODENAME: &str = "nodename";

impl Configuration {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Code 6 for what is no JSON object of Calico's shape, naming field, line and column; code 7
    /// for a missing or wrong name; code 1 for a version that isn't spoken.
    pub(crate) fn parse(text: &[u8]) -> Result<Configuration, Error> {
        let wrong = |problem: String| {
            Error::new(
                Code::Decoding,
                format!(
                    "the network configuration on standard input cannot be read: {problem}; \
                     correct the file below /etc/cni/net.d"
                ),
            )
        };
        if text.iter().all(u8::is_ascii_whitespace) {
            return Err(wrong("it is empty".into()));
        }
        // The version first: a newer one may give keys another meaning.
        let object: serde_json::Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| wrong(error.to_string()))?;
        if let Some(Value::String(version)) = object.get("cniVersion") {
            SpecVersion::parse(version)?;
        }
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let keys: Keys = serde_path_to_error::deserialize(&mut deserializer)
            .map_err(|error| wrong(format!("{}: {}", error.path(), error.inner())))?;
        let version = SpecVersion::parse(keys.cni_version.as_deref().unwrap_or_default())?;
        let name = network_name(keys.name.as_deref())?;
        Ok(Configuration { version, name, keys, text: text.to_owned(), object })
    }

    /// The version that an answer to this text is to be in, also where the text cannot be used.
    pub(crate) fn version_of(text: &[u8]) -> SpecVersion {
        let parsed: Option<Value> = serde_json::from_slice(text).ok();
        let version = parsed.as_ref().and_then(|conf| conf.get("cniVersion"));
        let version = version.and_then(Value::as_str).unwrap_or(SpecVersion::NEWEST.as_str());
        SpecVersion::parse(version).unwrap_or(SpecVersion::NEWEST)
    }

    /// Keys that neither Calico nor the specification knows.
    pub(crate) fn unknown_keys(&self) -> Vec<&str> {
        let keys = self.object.keys().map(String::as_str);
        keys.filter(|key| !CALICO_KEYS.contains(key)).collect()
    }

    /// The IPAM plugin's name.
    ///
    /// # Errors
    /// Code 7 where none is named.
    pub(crate) fn ipam_plugin(&self) -> Result<&str, Error> {
        let named = self.keys.ipam.as_ref().and_then(|ipam| ipam.plugin.as_deref());
        named.filter(|name| !name.is_empty()).ok_or_else(|| {
            Error::new(
                Code::Configuration,
                format!(
                    "network {}: ipam.type is missing, so nobody assigns addresses; \
                     set it to \"calico-ipam\" in the file below /etc/cni/net.d",
                    self.name
                ),
            )
        })
    }

    /// Where the container's routes lead: everywhere, unless host-local's `routes` say where to
    /// (`calico-features.md` §5.3).
    pub(crate) fn destinations(&self) -> Vec<IpNet> {
        let everywhere: [IpNet; 2] = [Ipv4Net::default().into(), Ipv6Net::default().into()];
        let ipam = self.keys.ipam.as_ref();
        let ipam = ipam.filter(|ipam| ipam.plugin.as_deref() == Some(HOST_LOCAL));
        let routes = ipam.and_then(|ipam| ipam.routes.as_deref()).unwrap_or_default();
        let mut destinations: Vec<IpNet> = routes.iter().map(|route| route.dst.trunc()).collect();
        if destinations.is_empty() || self.keys.include_default_routes == Some(true) {
            destinations.extend(everywhere);
        }
        destinations.sort();
        destinations.dedup();
        destinations
    }

    /// The node's name, and why it is not known: the agent writes its file.
    ///
    /// # Errors
    /// Code 11 where the file is missing and needed.
    pub(crate) fn node_name(&self, state_directory: &Path) -> Result<String, Error> {
        let set = |name: &Option<String>| name.clone().filter(|name| !name.is_empty());
        if let Some(name) = set(&self.keys.nodename) {
            return Ok(name);
        }
        let file = self.keys.nodename_file.clone();
        let file = file.unwrap_or_else(|| state_directory.join(NODENAME));
        match std::fs::read_to_string(&file) {
            Ok(name) if !name.trim().is_empty() => return Ok(name.trim().to_owned()),
            Err(error) if self.keys.nodename_file_optional != Some(true) => {
                return Err(Error::new(
                    Code::TryAgain,
                    format!(
                        "{}: {error}: check that the calico/node container is running and has \
                         mounted /var/lib/calico/",
                        file.display()
                    ),
                ));
            }
            _ => {}
        }
        set(&self.keys.hostname).map_or_else(system_name, Ok)
    }

    /// The variables of the datastore's client: the process's, and the configuration's above them.
    pub(crate) fn datastore_variables(
        &self,
        environment: &std::collections::BTreeMap<String, String>,
    ) -> std::collections::BTreeMap<String, String> {
        let mut variables = environment.clone();
        let object = Value::Object(self.object.clone());
        for (key, variable) in DATASTORE_KEYS {
            let value = object.pointer(key).and_then(Value::as_str);
            if let Some(value) = value.filter(|value| !value.is_empty()) {
                variables.insert((*variable).to_owned(), value.to_owned());
            }
        }
        variables
    }
}

fn system_name() -> Result<String, Error> {
    let name = nix::unistd::gethostname()
        .map_err(|errno| Error::new(Code::Io, format!("reading this machine's name: {errno}")))?;
    Ok(name.to_string_lossy().to_lowercase())
}

/// Names that get into handles and file names (§5.2).
fn network_name(name: Option<&str>) -> Result<String, Error> {
    let usable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    match name {
        Some(name) if !name.is_empty() && name.chars().all(usable) => Ok(name.to_owned()),
        Some(name) if !name.is_empty() => Err(Error::new(
            Code::Configuration,
            format!(
                "the network's name {name:?} has characters other than letters, digits, '_', '.' \
                 and '-'; change \"name\" in the file below /etc/cni/net.d"
            ),
        )),
        _ => Err(Error::new(
            Code::Configuration,
            "the network configuration has no \"name\"; set one in the file below /etc/cni/net.d, \
             e.g. k8s-pod-network",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubernetes_api_is_named_as_calicos_manifests_do() {
        let text = br#"{"cniVersion": "1.0.0", "name": "n", "type": "calico",
            "datastore_type": "kubernetes", "ipam": {"type": "calico-ipam"},
            "policy": {"type": "k8s", "k8s_auth_token": "secret"},
            "kubernetes": {"kubeconfig": "/etc/cni/net.d/calico-kubeconfig", "k8s_api_root": ""}}"#;
        let configuration = Configuration::parse(text).expect("a configuration");
        let environment = [("KUBECONFIG", "/root/.kube/config"), ("PATH", "/bin")];
        let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let variables = configuration.datastore_variables(&environment.into());
        let expected = [
            ("DATASTORE_TYPE", "kubernetes"),
            ("K8S_API_TOKEN", "secret"),
            ("KUBECONFIG", "/etc/cni/net.d/calico-kubeconfig"),
            ("PATH", "/bin"),
        ];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(variables, expected.into());
    }
}

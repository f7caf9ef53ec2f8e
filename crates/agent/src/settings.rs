//! What the agent's process is told by its environment, before the datastore can say anything.

use crate::autodetect::Family;
use crate::remote;
use model::config::{self, LogSeverity, Resolved, Warning};
use model::{AsNumber, EncapsulationMode};
use std::path::{Path, PathBuf};

/// The settings of start-up.
#[derive(Clone, Debug)]
pub(crate) struct Startup {
    pub(crate) node: String,
    pub(crate) nodename_file: PathBuf,
    pub(crate) ipv4: OwnAddress,
    pub(crate) ipv6: OwnAddress,
    pub(crate) disable_node_ip_check: bool,
    pub(crate) as_number: Option<AsNumber>,
    pub(crate) kubernetes_node: Option<String>,
    /// The Kubernetes API is the datastore.
    pub(crate) kubernetes: bool,
    pub(crate) cluster_type: Vec<String>,
    pub(crate) no_default_pools: bool,
    pub(crate) pool: DefaultPool,
    /// `None`: FELIX_IPV6SUPPORT forbids one.
    pub(crate) pool_v6: Option<DefaultPool>,
    pub(crate) wait_for_datastore: bool,
    pub(crate) file_logging: bool,
    pub(crate) log_severity: LogSeverity,
    pub(crate) health: Option<String>,
    pub(crate) api: Option<remote::Settings>,
}

/// What says which of a family's addresses is the node's.
#[derive(Clone, Debug)]
pub(crate) struct OwnAddress {
    pub(crate) family: Family,
    /// IP, IP6.
    pub(crate) value: String,
    /// IP_AUTODETECTION_METHOD, IP6_AUTODETECTION_METHOD.
    pub(crate) method: String,
}

impl OwnAddress {
    /// Whether it is to be looked for on the machine, if none is stored.
    pub(crate) fn is_detected(&self) -> bool {
        self.value == "autodetect" || (self.value.is_empty() && self.family == Family::V4)
    }
}

/// CALICO_IPV4POOL_*, CALICO_IPV6POOL_*.
#[derive(Clone, Debug)]
pub(crate) struct DefaultPool {
    pub(crate) family: Family,
    pub(crate) cidr: Option<String>,
    pub(crate) ipip: EncapsulationMode,
    pub(crate) vxlan: EncapsulationMode,
    pub(crate) nat_outgoing: bool,
    pub(crate) block_size: u8,
    pub(crate) node_selector: String,
    pub(crate) disable_bgp_export: bool,
}

/// The process's environment; variables that are not UTF-8 are none of Calico's.
pub(crate) fn environment() -> Vec<(String, String)> {
    let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

/// Reads the environment.
///
/// # Errors
/// A value with which Calico does not start, or no name for the node; the text says which.
pub(crate) fn read(environment: &[(String, String)]) -> Result<Startup, String> {
    let resolved = resolve(environment);
    let refusals: Vec<String> = resolved.refusals().iter().map(refusal).collect();
    if !refusals.is_empty() {
        return Err(refusals.join("; "));
    }
    let nodename_file = PathBuf::from(resolved.get(&config::NODENAME_FILE));
    Ok(Startup {
        node: node_name(&resolved, &nodename_file)?,
        nodename_file,
        ipv4: OwnAddress {
            family: Family::V4,
            value: resolved.get(&config::IP).unwrap_or_default(),
            method: resolved.get(&config::IP_AUTODETECTION_METHOD),
        },
        ipv6: OwnAddress {
            family: Family::V6,
            value: resolved.get(&config::IP6).unwrap_or_default(),
            method: resolved.get(&config::IP6_AUTODETECTION_METHOD),
        },
        disable_node_ip_check: resolved.get(&config::DISABLE_NODE_IP_CHECK),
        as_number: resolved.get(&config::AS),
        kubernetes_node: resolved.get(&config::K8S_NODE_REF),
        kubernetes: resolved.get(&config::DATASTORE_TYPE) == "kubernetes",
        cluster_type: resolved.get(&config::CLUSTER_TYPE),
        no_default_pools: resolved.get(&config::NO_DEFAULT_POOLS),
        pool: DefaultPool {
            family: Family::V4,
            cidr: resolved.get(&config::IPV4POOL_CIDR),
            ipip: resolved.get(&config::IPV4POOL_IPIP),
            vxlan: resolved.get(&config::IPV4POOL_VXLAN),
            nat_outgoing: resolved.get(&config::IPV4POOL_NAT_OUTGOING),
            block_size: resolved.get(&config::IPV4POOL_BLOCK_SIZE),
            node_selector: resolved.get(&config::IPV4POOL_NODE_SELECTOR),
            disable_bgp_export: resolved.get(&config::IPV4POOL_DISABLE_BGP_EXPORT),
        },
        pool_v6: resolved.get(&config::IPV6_SUPPORT).then(|| DefaultPool {
            family: Family::V6,
            cidr: resolved.get(&config::IPV6POOL_CIDR),
            ipip: EncapsulationMode::Never,
            vxlan: resolved.get(&config::IPV6POOL_VXLAN),
            nat_outgoing: resolved.get(&config::IPV6POOL_NAT_OUTGOING),
            block_size: resolved.get(&config::IPV6POOL_BLOCK_SIZE),
            node_selector: resolved.get(&config::IPV6POOL_NODE_SELECTOR),
            disable_bgp_export: resolved.get(&config::IPV6POOL_DISABLE_BGP_EXPORT),
        }),
        wait_for_datastore: resolved.get(&config::WAIT_FOR_DATASTORE),
        file_logging: !resolved.get(&config::DISABLE_FILE_LOGGING),
        log_severity: resolved.get(&config::LOG_SEVERITY_SCREEN),
        health: resolved.get(&config::HEALTH_ENABLED).then(|| health_address(&resolved)),
        api: remote::settings(&resolved)?,
    })
}

/// Why calico-node does not start; so nothing is used instead.
fn refusal(warning: &Warning) -> String {
    match warning {
        Warning::Invalid { name, value, reason, .. } => {
            format!("{name} is '{value}', but {reason}; correct it, or leave it out")
        }
        other => other.to_string(),
    }
}

/// The environment's values alone.
pub(crate) fn resolve(environment: &[(String, String)]) -> Resolved {
    let no_labels = std::collections::BTreeMap::<String, String>::new();
    Resolved::new(environment.iter().cloned(), &[], "", &no_labels)
}

/// `host:port` of the health server.
pub(crate) fn health_address(resolved: &Resolved) -> String {
    let (host, port) = (resolved.get(&config::HEALTH_HOST), resolved.get(&config::HEALTH_PORT));
    // A static executable cannot ask the system's resolver for the one name that needs none.
    let host = if host == "localhost" { "127.0.0.1".to_owned() } else { host };
    format!("{host}:{port}")
}

/// NODENAME, what an earlier start wrote, HOSTNAME, or the system's name in lower case.
fn node_name(resolved: &Resolved, file: &Path) -> Result<String, String> {
    let written = || {
        let text = std::fs::read_to_string(file).ok()?;
        Some(text.trim().to_owned()).filter(|name| !name.is_empty())
    };
    let system = || {
        let name = nix::unistd::gethostname().ok()?.into_string().ok()?;
        Some(name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty())
    };
    let name = resolved
        .get(&config::NODENAME)
        .or_else(written)
        .or_else(|| resolved.get(&config::HOSTNAME).map(|name| name.to_ascii_lowercase()))
        .or_else(system);
    name.ok_or_else(|| "this node has no name: set NODENAME".to_owned())
}

//! What install-cni's environment says.

use super::InstallError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The network configuration's file.
const CONFIGURATION: &str = "10-calico.conflist";

/// The settings that are no variables of the network configuration.
pub(super) struct Settings {
    /// CNI_CONF_NAME.
    pub(super) configuration: String,
    /// CNI_OLD_CONF_NAME: removed where it is another.
    pub(super) old_configuration: String,
    /// CNI_NET_DIR: where the host has configurations, for the paths in them.
    pub(super) host_directory: String,
    /// TLS_ASSETS_DIR.
    pub(super) secrets: PathBuf,
    /// SKIP_CNI_BINARIES.
    pub(super) skipped: Vec<String>,
    /// UPDATE_CNI_BINARIES: replace what is there already.
    pub(super) update: bool,
    /// SLEEP: stay, as a container that isn't an init container should.
    pub(super) sleep: bool,
}

impl Settings {
    pub(super) fn read(
        environment: &BTreeMap<String, String>,
        root: &Path,
    ) -> Result<Settings, InstallError> {
        let text = |name: &str, default: &str| {
            let set = environment.get(name).filter(|value| !value.is_empty());
            set.map_or_else(|| default.to_owned(), Clone::clone)
        };
        let file_name = |name: &'static str| {
            let value = text(name, CONFIGURATION);
            if value.contains('/') || value == "." || value == ".." {
                let takes = "the name of a file below /etc/cni/net.d, without a path";
                return Err(InstallError::Setting { name, value, takes });
            }
            Ok(value)
        };
        let switch = |name: &'static str| match text(name, "true").as_str() {
            "true" | "True" | "TRUE" | "t" | "T" | "1" => Ok(true),
            "false" | "False" | "FALSE" | "f" | "F" | "0" => Ok(false),
            other => {
                Err(InstallError::Setting { name, value: other.to_owned(), takes: "true or false" })
            }
        };
        let secrets = text("TLS_ASSETS_DIR", "/calico-secrets");
        let skipped = text("SKIP_CNI_BINARIES", "");
        Ok(Settings {
            configuration: file_name("CNI_CONF_NAME")?,
            old_configuration: file_name("CNI_OLD_CONF_NAME")?,
            host_directory: text("CNI_NET_DIR", "/etc/cni/net.d"),
            secrets: root.join(secrets.trim_start_matches('/')),
            skipped: skipped.split(',').map(|name| name.trim().to_owned()).collect(),
            update: switch("UPDATE_CNI_BINARIES")?,
            sleep: switch("SLEEP")?,
        })
    }
}

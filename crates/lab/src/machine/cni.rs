//! The runtime's side of CNI: runs a network configuration's plugins for a pod, as containerd does
//! (CNI specification 1.0.0, sections 3 and 4).

use super::PATH;
use crate::topology::{ContainerPort, DEFAULT, Pod};
use anyhow::{Context, Result, anyhow, bail};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::fs;
use std::io::Write;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Where configurations and plugins are.
const CONFIGURATIONS: &str = "/etc/cni/net.d";
const PLUGINS: &str = "/opt/cni/bin";
/// The pod's interface.
const INTERFACE: &str = "eth0";

/// One attachment of a pod; kept on disk so that it can be undone after a reboot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Attachment {
    pub(super) pod: Pod,
    pub(super) container_id: String,
    /// The file bound to the pod's network namespace.
    pub(super) network: PathBuf,
    /// What the last plugin of ADD answered.
    pub(super) result: Value,
}

/// A network configuration: the first of the directory, as a runtime chooses it.
struct Configuration {
    name: Value,
    version: String,
    plugins: Vec<Map<String, Value>>,
}

impl Configuration {
    fn read() -> Result<Configuration> {
        let entries = fs::read_dir(CONFIGURATIONS)
            .with_context(|| format!("reading {CONFIGURATIONS}"))?
            .filter_map(|entry| Some(entry.ok()?.path()));
        let is_list = |path: &PathBuf| path.extension().is_some_and(|end| end == "conflist");
        let path = entries.filter(is_list).min().with_context(|| {
            format!("no .conflist in {CONFIGURATIONS}; the lab writes one when the node starts")
        })?;
        let text = fs::read_to_string(&path);
        let text = text.with_context(|| format!("reading {}", path.display()))?;
        Configuration::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Configuration> {
        let list: Value = serde_json::from_str(text).context("not JSON")?;
        let plugins = list["plugins"].as_array().context("no list of plugins")?;
        let plugins = plugins.iter().map(|plugin| {
            plugin.as_object().cloned().context("a plugin's configuration isn't an object")
        });
        Ok(Configuration {
            name: list["name"].clone(),
            version: list["cniVersion"].as_str().unwrap_or("0.1.0").to_owned(),
            plugins: plugins.collect::<Result<_>>()?,
        })
    }
}

impl Attachment {
    /// Connects the pod by every plugin in turn; undoes what was done if one fails.
    ///
    /// # Errors
    /// The plugin that failed and its message.
    pub(super) fn add(&mut self) -> Result<()> {
        let configuration = Configuration::read()?;
        for plugin in &configuration.plugins {
            match self.run_plugin("ADD", &configuration, plugin) {
                Ok(result) => self.result = result,
                Err(error) => {
                    // The first failure is the one to report; what cannot be undone now, the
                    // plugins release later.
                    let _ = self.delete();
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// Disconnects the pod by every plugin in reverse order; all of them run, whatever fails.
    ///
    /// # Errors
    /// The first plugin that failed and its message.
    pub(super) fn delete(&self) -> Result<()> {
        let configuration = Configuration::read()?;
        let mut first_error = Ok(());
        for plugin in configuration.plugins.iter().rev() {
            let result = self.run_plugin("DEL", &configuration, plugin).map(drop);
            first_error = first_error.and(result);
        }
        first_error
    }

    /// The addresses that ADD gave the pod.
    pub(super) fn addresses(&self) -> Vec<IpAddr> {
        let ips = self.result["ips"].as_array().into_iter().flatten();
        ips.filter_map(|ip| ip["address"].as_str()?.split('/').next()?.parse().ok()).collect()
    }

    fn run_plugin(
        &self,
        command: &str,
        configuration: &Configuration,
        plugin: &Map<String, Value>,
    ) -> Result<Value> {
        let kind = plugin.get("type").and_then(Value::as_str).context("a plugin without type")?;
        if kind.contains('/') {
            bail!("plugin type {kind:?} contains a slash");
        }
        let input = self.plugin_input(command, configuration, plugin)?;
        let mut child = Command::new(Path::new(PLUGINS).join(kind))
            .env_clear()
            .env("PATH", PATH)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", &self.container_id)
            .env("CNI_NETNS", &self.network)
            .env("CNI_IFNAME", INTERFACE)
            .env("CNI_PATH", PLUGINS)
            .env("CNI_ARGS", self.arguments())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting CNI plugin {PLUGINS}/{kind}"))?;
        // A plugin that ends early closes the pipe; its own message says why.
        let mut stdin = child.stdin.take().context("no pipe to the plugin")?;
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().with_context(|| format!("CNI plugin {kind}"))?;
        if !output.status.success() {
            let message = plugin_message(&output.stdout, &output.stderr);
            return Err(anyhow!(
                "CNI plugin {kind}, {command} of pod {}: {message}",
                self.pod.name
            ));
        }
        if command == "DEL" || output.stdout.is_empty() {
            return Ok(self.result.clone());
        }
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("CNI plugin {kind}: its result isn't JSON"))
    }

    /// As containerd's CRI plugin passes them.
    fn arguments(&self) -> String {
        format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE={};K8S_POD_NAME={};\
             K8S_POD_INFRA_CONTAINER_ID={}",
            self.pod.namespace, self.pod.name, self.container_id
        )
    }

    /// The key `args`, by which a runtime says what a plugin could ask Kubernetes for; `None` for a
    /// pod of which nothing is said.
    fn said_of_pod(&self) -> Option<Value> {
        let pod = &self.pod;
        let labels = pod.labels.iter().map(|(key, value)| json!({"key": key, "value": value}));
        let ports = pod.ports.iter().filter_map(|port| {
            let name = port.name.as_ref()?;
            Some(json!({"name": name, "protocol": port.protocol, "port": port.container_port}))
        });
        let (labels, ports): (Vec<_>, Vec<_>) = (labels.collect(), ports.collect());
        if labels.is_empty() && ports.is_empty() && pod.service_account == DEFAULT {
            return None;
        }
        let account = &pod.service_account;
        Some(json!({"cni": {"labels": labels, "serviceAccount": account, "ports": ports}}))
    }

    /// Ports of the node that are the pod's, in the words of the runtime's `portMappings`.
    fn port_mappings(&self) -> Vec<Value> {
        let mapping = |port: &ContainerPort| {
            let (host, container) = (port.host_port?, port.container_port);
            let protocol = &port.protocol;
            Some(json!({"hostPort": host, "containerPort": container, "protocol": protocol}))
        };
        self.pod.ports.iter().filter_map(mapping).collect()
    }

    fn plugin_input(
        &self,
        command: &str,
        configuration: &Configuration,
        plugin: &Map<String, Value>,
    ) -> Result<String> {
        let mut input = plugin.clone();
        input.insert("name".into(), configuration.name.clone());
        input.insert("cniVersion".into(), configuration.version.clone().into());
        let capabilities = input.remove("capabilities").unwrap_or_default();
        let mappings = self.port_mappings();
        if capabilities["portMappings"] == Value::Bool(true) && !mappings.is_empty() {
            input.insert("runtimeConfig".into(), json!({ "portMappings": mappings }));
        }
        if let Some(said) = self.said_of_pod() {
            input.insert("args".into(), said);
        }
        // DEL gets the result since 0.4.0.
        let wants_result = command == "ADD"
            || !["0.1.0", "0.2.0", "0.3.0", "0.3.1"].contains(&&*configuration.version);
        if wants_result && !self.result.is_null() {
            input.insert("prevResult".into(), self.result.clone());
        }
        serde_json::to_string(&input).context("encoding a plugin's configuration")
    }
}

/// A plugin's error: JSON on standard output (section 5 of the specification), else what it wrote.
fn plugin_message(stdout: &[u8], stderr: &[u8]) -> String {
    let parsed: Option<Value> = serde_json::from_slice(stdout).ok();
    if let Some(message) = parsed.as_ref().and_then(|error| error["msg"].as_str()) {
        let details = parsed.as_ref().and_then(|error| error["details"].as_str());
        return match details.filter(|details| !details.is_empty()) {
            Some(details) => format!("{message}: {details}"),
            None => message.to_owned(),
        };
    }
    let text = if stderr.is_empty() { stdout } else { stderr };
    String::from_utf8_lossy(text).trim().to_owned()
}

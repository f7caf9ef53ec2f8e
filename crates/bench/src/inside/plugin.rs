//! One CNI plugin called as containerd calls it, and what the call cost.

use anyhow::{Context, Result, bail};
use linux::process::{Usage, wait_with_usage};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::IpAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Where the node's configurations and plugins are, and Debian's reference plugins.
const CONFIGURATIONS: &str = "/etc/cni/net.d";
const PLUGINS: &str = "/opt/cni/bin";
const REFERENCE_PLUGINS: &str = "/usr/lib/cni";

/// Whose plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// Ours, as the node is configured.
    Calico,
    /// The reference `bridge` with `host-local`: the floor of what a plugin that is a process costs.
    Bridge,
}

impl Kind {
    /// The word for it on the command line.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Kind::Calico => "calico",
            Kind::Bridge => "bridge",
        }
    }
}

/// A plugin with its configuration.
pub(crate) struct Plugin {
    program: PathBuf,
    directory: PathBuf,
    configuration: Map<String, Value>,
}

/// A pod as the plugin is told of it.
pub(crate) struct Attachment {
    pub(crate) pod: String,
    pub(crate) container_id: String,
    pub(crate) network: PathBuf,
    /// What the runtime says of it.
    pub(crate) labels: BTreeMap<String, String>,
}

/// What one call cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Call {
    /// From before the start of the process until it has ended.
    pub(crate) wall_ms: f64,
    /// In user and kernel mode, of the process and the plugins that it called.
    pub(crate) cpu_ms: f64,
}

/// What a call came to: the answer's first address, if it has one, and what the kernel counted.
struct Ended {
    address: Option<IpAddr>,
    wall: Duration,
    usage: Usage,
}

impl Plugin {
    /// The plugin as this node has it.
    ///
    /// # Errors
    /// The node has no such plugin in its CNI configuration.
    pub(crate) fn of_node(kind: Kind) -> Result<Plugin> {
        let (directory, configuration) = match kind {
            Kind::Calico => (PLUGINS, calico_of(Path::new(CONFIGURATIONS))?),
            Kind::Bridge => (REFERENCE_PLUGINS, bridge(Path::new("/var/lib/cni/bench"))),
        };
        let directory = PathBuf::from(directory);
        Ok(Plugin { program: directory.join(kind.as_str()), directory, configuration })
    }

    /// Calls the plugin; its answer's first address, if it has one, and the call's cost.
    ///
    /// # Errors
    /// The plugin fails: its message.
    pub(crate) fn call(&self, verb: &str, pod: &Attachment) -> Result<(Option<IpAddr>, Call)> {
        let Ended { address, wall, usage } = self.run(Command::new(&self.program), verb, pod)?;
        let cost =
            Call { wall_ms: wall.as_secs_f64() * 1e3, cpu_ms: usage.cpu.as_secs_f64() * 1e3 };
        Ok((address, cost))
    }

    /// Calls the plugin for its largest resident memory, or that of a plugin that it called, in MiB.
    /// The kernel counts from before `exec`: all of the calling process's memory where its memory is
    /// shared until then (vfork), as the standard library does it. Where a user is named it forks, and
    /// what counts is what of the caller is copied, a few MiB: less than any plugin's.
    ///
    /// # Errors
    /// As [`Plugin::call`].
    pub(crate) fn peak(&self, verb: &str, pod: &Attachment) -> Result<f64> {
        let mut command = Command::new(&self.program);
        command.uid(nix::unistd::getuid().as_raw());
        #[expect(clippy::cast_precision_loss, reason = "bytes of memory are far below 2^52")]
        let bytes = self.run(command, verb, pod)?.usage.resident_bytes_max as f64;
        Ok(bytes / f64::from(1 << 20))
    }

    fn run(&self, mut command: Command, verb: &str, pod: &Attachment) -> Result<Ended> {
        let configuration = labelled(&self.configuration, &pod.labels);
        let input = serde_json::to_vec(&configuration).context("encoding a configuration")?;
        let arguments = format!(
            "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={};\
             K8S_POD_INFRA_CONTAINER_ID={}",
            pod.pod, pod.container_id
        );
        command
            .env("CNI_COMMAND", verb)
            .env("CNI_CONTAINERID", &pod.container_id)
            .env("CNI_NETNS", &pod.network)
            .env("CNI_IFNAME", "eth0")
            .env("CNI_PATH", &self.directory)
            .env("CNI_ARGS", arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit());
        let program = self.program.display();
        let started = Instant::now();
        let mut child = command.spawn().with_context(|| format!("starting {program}"))?;
        // A plugin that ends early closes the pipe; its own message says why.
        let _ = child.stdin.take().context("no pipe to the plugin")?.write_all(&input);
        let mut output = Vec::new();
        let mut stdout = child.stdout.take().context("no pipe from the plugin")?;
        stdout.read_to_end(&mut output).with_context(|| format!("reading from {program}"))?;
        let (status, usage) = wait_with_usage(child)?;
        let wall = started.elapsed();
        if !status.success() {
            let text = String::from_utf8_lossy(&output);
            bail!("{program}, {verb} of pod {}: {status}: {}", pod.pod, text.trim());
        }
        Ok(Ended { address: first_address(&output), wall, usage })
    }
}

/// A configuration that says a pod's labels, if it has some (CNI CONVENTIONS.md, "args in network
/// config").
fn labelled(
    configuration: &Map<String, Value>,
    labels: &BTreeMap<String, String>,
) -> Map<String, Value> {
    let mut configuration = configuration.clone();
    if !labels.is_empty() {
        let pairs = labels.iter().map(|(key, value)| json!({"key": key, "value": value}));
        let labels = pairs.collect::<Vec<_>>();
        configuration.insert("args".into(), json!({"cni": {"labels": labels}}));
    }
    configuration
}

/// Ours, out of the node's list, with the list's name and version as a runtime passes them.
fn calico_of(directory: &Path) -> Result<Map<String, Value>> {
    let entries = fs::read_dir(directory);
    let entries = entries.with_context(|| format!("reading {}", directory.display()))?;
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    let path = paths
        .filter(|path| path.extension().is_some_and(|end| end == "conflist"))
        .min()
        .with_context(|| format!("no .conflist in {}", directory.display()))?;
    let text = fs::read_to_string(&path);
    let text = text.with_context(|| format!("reading {}", path.display()))?;
    let list: Value =
        serde_json::from_str(&text).with_context(|| format!("parsing {}", path.display()))?;
    let plugins = list["plugins"].as_array().into_iter().flatten();
    let ours = plugins
        .filter_map(Value::as_object)
        .find(|plugin| plugin.get("type").is_some_and(|kind| kind == Kind::Calico.as_str()));
    let mut ours = ours.cloned().with_context(|| format!("{}: no calico in it", path.display()))?;
    ours.insert("name".into(), list["name"].clone());
    ours.insert("cniVersion".into(), list["cniVersion"].clone());
    Ok(ours)
}

/// A bridge of its own with addresses from the node's disk.
fn bridge(data_directory: &Path) -> Map<String, Value> {
    let configuration = json!({
        "name": "bench",
        "cniVersion": "0.3.1",
        "type": "bridge",
        "bridge": "bench0",
        "isGateway": true,
        "ipam": {
            "type": "host-local",
            "subnet": "172.30.0.0/16",
            "routes": [{"dst": "0.0.0.0/0"}],
            "dataDir": data_directory,
        },
    });
    configuration.as_object().cloned().unwrap_or_default()
}

fn first_address(answer: &[u8]) -> Option<IpAddr> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    answer["ips"][0]["address"].as_str()?.split('/').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{Attachment, Plugin, bridge, calico_of, first_address, labelled};
    use linux::netns::NetNs;
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::fd::{AsFd, AsRawFd};
    use std::path::PathBuf;

    #[test]
    fn ours_is_taken_out_of_the_first_list() {
        let directory = tempfile::tempdir().unwrap();
        let list = r#"{"name": "net", "cniVersion": "0.3.1",
            "plugins": [{"type": "portmap"}, {"type": "calico", "nodename": "a"}]}"#;
        fs::write(directory.path().join("10-calico.conflist"), list).unwrap();
        fs::write(directory.path().join("20-other.conflist"), "{}").unwrap();
        let expected = serde_json::json!({
            "name": "net", "cniVersion": "0.3.1", "type": "calico", "nodename": "a",
        });
        assert_eq!(Some(&calico_of(directory.path()).unwrap()), expected.as_object());
    }

    #[test]
    fn a_list_without_calico_says_so() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("a.conflist"), r#"{"plugins": []}"#).unwrap();
        let error = calico_of(directory.path()).unwrap_err();
        assert!(format!("{error:#}").ends_with("a.conflist: no calico in it"), "{error:#}");
    }

    #[test]
    fn an_answer_may_have_no_address() {
        let answer = br#"{"ips": [{"version": "4", "address": "10.0.0.7/32"}]}"#;
        assert_eq!(first_address(answer), Some("10.0.0.7".parse().unwrap()));
        assert_eq!(first_address(b""), None);
        assert_eq!(first_address(br#"{"ips": []}"#), None);
    }

    #[test]
    fn labels_are_arguments_of_the_configuration() {
        let configuration = serde_json::json!({"name": "a"}).as_object().unwrap().clone();
        assert_eq!(labelled(&configuration, &BTreeMap::new()), configuration);
        let labels = BTreeMap::from([("app".to_owned(), "web".to_owned())]);
        let expected = serde_json::json!({
            "name": "a", "args": {"cni": {"labels": [{"key": "app", "value": "web"}]}},
        });
        assert_eq!(Some(&labelled(&configuration, &labels)), expected.as_object());
    }

    /// Debian's plugin in a node that is a namespace of this test; the pod is another.
    #[test]
    fn a_call_is_made_and_measured() {
        let (node, pod) = (NetNs::create().unwrap(), NetNs::create().unwrap());
        let directory = tempfile::tempdir().unwrap();
        let plugins = PathBuf::from("/usr/lib/cni");
        let configuration = bridge(directory.path());
        let plugin = Plugin { program: plugins.join("bridge"), directory: plugins, configuration };
        let network = format!("/proc/{}/fd/{}", std::process::id(), pod.as_fd().as_raw_fd());
        let pod = Attachment {
            pod: "a".into(),
            container_id: "c1".into(),
            network: network.into(),
            labels: BTreeMap::new(),
        };
        let (address, call) = node.run(|| plugin.call("ADD", &pod)).unwrap().unwrap();
        assert_eq!(address, Some("172.30.0.2".parse().unwrap()));
        assert!(call.cpu_ms > 0.0 && call.wall_ms > 0.0, "{call:?}");
        let (address, _) = node.run(|| plugin.call("DEL", &pod)).unwrap().unwrap();
        assert_eq!(address, None);
        // What this process once had is none of the plugin's.
        drop(std::hint::black_box(vec![1_u8; 64 << 20]));
        let peak = node.run(|| plugin.peak("ADD", &pod)).unwrap().unwrap();
        assert!(peak > 1.0 && peak < 32.0, "{peak} MiB");
        let gone = Attachment { network: "/proc/1/none".into(), ..pod };
        let error = node.run(|| plugin.call("ADD", &gone)).unwrap().unwrap_err();
        assert!(format!("{error:#}").contains("ADD of pod a: exit status: 1"), "{error:#}");
    }
}

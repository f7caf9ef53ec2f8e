//! Many pods of a node, connected and disconnected one at a time.

use super::agent::Agent;
use super::plugin::{Attachment, Call, Kind, Plugin};
use anyhow::{Context, Result, bail};
use linux::netns::NetNs;
use linux::rtnetlink::Rtnetlink;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::net::IpAddr;
use std::path::PathBuf;

/// Where runtimes bind network namespaces.
const NETWORK_NAMESPACES: &str = "/var/run/netns";
/// ADDs whose memory is measured.
const PEAKS: u32 = 5;

/// What all the calls cost.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Calls {
    pub(crate) adds: Vec<Call>,
    pub(crate) deletes: Vec<Call>,
    /// The plugin's largest resident memory in some more ADDs, in MiB.
    pub(crate) add_peaks: Vec<f64>,
    /// Processor time of the node's agent meanwhile, per pod, ADD and DEL together. The
    /// kernel counts it in steps of 10 ms, so it means something for many pods only.
    pub(crate) agent_cpu_ms: f64,
}

/// Pods that are connected, or were.
pub(crate) struct Pods {
    plugin: Plugin,
    kind: Kind,
    attachments: Vec<Attachment>,
}

impl Pods {
    /// Network namespaces for `count` pods, not yet connected; each with the labels of its number,
    /// from 1.
    pub(crate) fn prepare(
        kind: Kind,
        count: u32,
        labels: impl Fn(u32) -> BTreeMap<String, String>,
    ) -> Result<Pods> {
        let plugin = Plugin::of_node(kind)?;
        fs::create_dir_all(NETWORK_NAMESPACES)
            .with_context(|| format!("making {NETWORK_NAMESPACES}"))?;
        let mut pods = Pods { plugin, kind, attachments: Vec::new() };
        for number in 1..=count {
            let pod = format!("bench-{}-{number}", kind.as_str());
            let network = PathBuf::from(NETWORK_NAMESPACES).join(&pod);
            NetNs::create()?.bind(&network)?;
            let container_id = format!("{number:08x}{}", "be9c".repeat(14));
            pods.attachments.push(Attachment {
                pod,
                container_id,
                network,
                labels: labels(number),
            });
        }
        Ok(pods)
    }

    /// Connects them all. Ours must be routed when the plugin has returned. Each one's address and
    /// what it cost.
    pub(crate) fn add(&self) -> Result<Vec<(IpAddr, Call)>> {
        let mut netlink = Rtnetlink::open()?;
        let mut calls = Vec::new();
        for pod in &self.attachments {
            let (address, call) = self.plugin.call("ADD", pod)?;
            let address = address.with_context(|| format!("pod {} got no address", pod.pod))?;
            calls.push((address, call));
            if self.kind == Kind::Calico {
                check_routed(&mut netlink, &pod.pod, address)?;
            }
        }
        Ok(calls)
    }

    /// The namespaces, in the order of the numbers.
    ///
    /// # Errors
    /// One is gone.
    pub(crate) fn namespaces(&self) -> Result<Vec<NetNs>> {
        let opened = self.attachments.iter().map(|pod| NetNs::open(&pod.network));
        opened.map(|namespace| namespace.map_err(Into::into)).collect()
    }

    /// Connects and disconnects the first a few times: what of memory the plugin had in each ADD.
    fn add_peaks(&self) -> Result<Vec<f64>> {
        let pod = self.attachments.first().context("no pod to connect")?;
        let peak = |_| {
            let peak = self.plugin.peak("ADD", pod)?;
            self.plugin.call("DEL", pod).map(|_| peak)
        };
        (0..PEAKS).map(peak).collect()
    }

    /// Disconnects them all.
    pub(crate) fn delete(&self) -> Result<Vec<Call>> {
        let calls = self.attachments.iter().map(|pod| Ok(self.plugin.call("DEL", pod)?.1));
        calls.collect()
    }
}

impl Drop for Pods {
    fn drop(&mut self) {
        for pod in &self.attachments {
            if let Err(error) = NetNs::unbind(&pod.network) {
                eprintln!("{error}");
            }
        }
    }
}

fn check_routed(netlink: &mut Rtnetlink, pod: &str, address: IpAddr) -> Result<()> {
    let path = netlink.route_get(address)?;
    if !path.device.starts_with("cali") {
        bail!("ADD of pod {pod} returned before {address} was routed: it goes by {}", path.device);
    }
    Ok(())
}

/// Connects and disconnects `count` pods with a plugin.
///
/// # Errors
/// A call fails, or returns before its pod is routed.
pub(crate) fn measure(kind: Kind, count: u32) -> Result<Calls> {
    let pods = Pods::prepare(kind, count, |_| BTreeMap::new())?;
    let agent = Agent::find()?;
    let before = agent.cpu_ms()?;
    let adds = pods.add()?.into_iter().map(|(_, call)| call).collect();
    let deletes = pods.delete()?;
    let agent_cpu_ms = (agent.cpu_ms()? - before) / f64::from(count.max(1));
    Ok(Calls { adds, deletes, add_peaks: pods.add_peaks()?, agent_cpu_ms })
}

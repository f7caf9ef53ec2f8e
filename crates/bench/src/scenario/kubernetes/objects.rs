//! Objects for the API server, and the files that kubectl reads them from.

use super::ROLLOUT;
use crate::cluster::Cluster;
use crate::inside::groups;
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The lab's own image.
const IMAGE: &str = "calico.lab/busybox:1";
/// kubectls that create the pods of a large cluster at the same time: one is held to 50 a second.
const CREATORS: u32 = 8;
/// Nodes of the large cluster that do not exist.
const ABSENT_NODES: u32 = 100;
/// Groups of its pods, each with policies of its own.
const GROUPS: u32 = super::network::POLICIES / groups::POLICIES;

/// Pods of nodes that do not exist, with addresses, and the Nodes.
pub(super) fn fill(cluster: &Cluster, files: &Files, pods: u32) -> Result<()> {
    let node = |number: u32| {
        let name = format!("absent-{number}");
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
    };
    let nodes = files.write("nodes", (0..ABSENT_NODES).map(node).collect())?;
    cluster.kubectl(&["create", "-f", &nodes], ROLLOUT)?;
    let share = |creator: u32| {
        let numbers = (0..pods).filter(move |number| number % CREATORS == creator);
        numbers.map(|number| {
            let [_, _, high, low] = number.to_be_bytes();
            let mut pod =
                pod(&format!("pod-{number}"), &format!("absent-{}", number % ABSENT_NODES));
            pod["metadata"]["labels"] = json!(groups::labels(number % GROUPS));
            pod["metadata"]["annotations"] =
                json!({"cni.projectcalico.org/podIP": format!("192.169.{high}.{low}/32")});
            pod
        })
    };
    std::thread::scope(|scope| {
        let creators: Vec<_> = (0..CREATORS)
            .map(|creator| {
                scope.spawn(move || {
                    let file = files.write(&format!("pods-{creator}"), share(creator).collect())?;
                    cluster.kubectl(&["create", "-f", &file], ROLLOUT).map(drop)
                })
            })
            .collect();
        let joined = creators
            .into_iter()
            .map(|creator| creator.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect::<Vec<_>>().into_iter().collect()
    })
}

/// A pod of a node that sleeps.
pub(super) fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {
            "nodeName": node, "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "pause", "image": IMAGE, "command": ["sleep", "1000000"]}],
        },
    })
}

/// Files for kubectl, in a directory that is removed at the end.
pub(super) struct Files(PathBuf);

impl Files {
    pub(super) fn new(lab: &str) -> Result<Files> {
        let directory = std::env::temp_dir().join(format!("calico-bench-{lab}"));
        std::fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        Ok(Files(directory))
    }

    /// Writes a list of objects; the file's path.
    pub(super) fn write(&self, name: &str, items: Vec<Value>) -> Result<String> {
        let path = self.0.join(name).with_extension("json");
        let list = json!({"apiVersion": "v1", "kind": "List", "items": items});
        std::fs::write(&path, list.to_string())
            .with_context(|| format!("writing {}", path.display()))?;
        Ok(Path::to_str(&path).context("a directory for temporary files in UTF-8")?.to_owned())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        // Of the temporary directory: that it stays is no failure of a measurement.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

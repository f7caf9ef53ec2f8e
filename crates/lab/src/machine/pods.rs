//! The pods of a node: sandbox and network attachment together, as a kubelet keeps them.

use super::cni::Attachment;
use super::sandbox::Sandbox;
use crate::protocol::PodStatus;
use crate::topology;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Attachments on disk: they outlive a reboot of the node, as in a runtime.
const ATTACHMENTS: &str = "/var/lib/cni/lab";

/// The pods of one node.
pub(super) struct Pods {
    node: String,
    running: Mutex<BTreeMap<String, Pod>>,
}

struct Pod {
    sandbox: Sandbox,
    attachment: Attachment,
}

impl Pods {
    pub(super) fn new(node: &str) -> Pods {
        Pods { node: node.into(), running: Mutex::default() }
    }

    /// Makes a pod: undoes an attachment left from before a reboot, starts a sandbox, connects it.
    ///
    /// # Errors
    /// The pod exists, or could not be made; then nothing of it is left.
    pub(super) fn add(&self, pod: topology::Pod) -> Result<PodStatus> {
        let name = pod.name.clone();
        if self.lock().contains_key(&name) {
            bail!("pod {name} already runs on {}", self.node);
        }
        if let Some(left) = read_attachment(&name)? {
            left.delete().context("undoing what was left from before the node's restart")?;
            remove_attachment(&name)?;
        }
        let sandbox = Sandbox::start(&pod, &network_name()?)?;
        let mut attachment = Attachment {
            container_id: random_hex(32)?,
            network: sandbox.network.clone(),
            pod,
            result: serde_json::Value::Null,
        };
        // Recorded first: a node that dies in the middle of ADD must undo it when it is back.
        write_attachment(&attachment)?;
        if let Err(error) = attachment.add() {
            remove_attachment(&name)?;
            return Err(error);
        }
        write_attachment(&attachment)?;
        let mut pod = Pod { sandbox, attachment };
        let status = pod.status();
        self.lock().insert(name, pod);
        Ok(status)
    }

    /// Disconnects a pod and ends it.
    ///
    /// # Errors
    /// There is no such pod, or a plugin failed; then the pod is still there.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        let attachment = match self.lock().get(name) {
            Some(pod) => pod.attachment.clone(),
            None => {
                read_attachment(name)?.with_context(|| format!("no pod {name} on {}", self.node))?
            }
        };
        attachment.delete()?;
        remove_attachment(name)?;
        let pod = self.lock().remove(name);
        drop(pod);
        Ok(())
    }

    /// How each pod is.
    pub(super) fn statuses(&self) -> Vec<PodStatus> {
        self.lock().values_mut().map(Pod::status).collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Pod>> {
        // Insertions and removals are atomic, so a panic elsewhere leaves nothing half done.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Pod {
    fn status(&mut self) -> PodStatus {
        PodStatus {
            name: self.attachment.pod.name.clone(),
            pid: self.sandbox.pid(),
            addresses: self.attachment.addresses(),
            running: self.sandbox.is_running(),
        }
    }
}

fn attachment_file(pod: &str) -> PathBuf {
    Path::new(ATTACHMENTS).join(format!("{pod}.json"))
}

fn read_attachment(pod: &str) -> Result<Option<Attachment>> {
    let path = attachment_file(pod);
    match fs::read(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        bytes => {
            let bytes = bytes.with_context(|| format!("reading {}", path.display()))?;
            let attachment = serde_json::from_slice(&bytes);
            attachment.map(Some).with_context(|| format!("parsing {}", path.display()))
        }
    }
}

fn write_attachment(attachment: &Attachment) -> Result<()> {
    let text = serde_json::to_string(attachment).context("encoding an attachment")?;
    super::root::write_file(&attachment_file(&attachment.pod.name), &text)
}

fn remove_attachment(pod: &str) -> Result<()> {
    let path = attachment_file(pod);
    fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))
}

/// `cni-` and a random UUID (RFC 9562, version 4), as containerd names them.
fn network_name() -> Result<String> {
    let hex = random_hex(16)?;
    let (time, clock, node) = (&hex[..8], &hex[17..20], &hex[20..]);
    Ok(format!("cni-{time}-{}-4{}-a{clock}-{node}", &hex[8..12], &hex[13..16]))
}

fn random_hex(bytes: usize) -> Result<String> {
    let mut random = vec![0; bytes];
    let read = File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut random));
    read.context("reading /dev/urandom")?;
    Ok(random.iter().map(|byte| format!("{byte:02x}")).collect())
}

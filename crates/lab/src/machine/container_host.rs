//! What a machine has for containerd and kubelet besides a root of its own.

use super::root::{bind, make_directory, mount_new, remount_read_only, write_file};
use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

/// Directories that start empty and are kept when the machine restarts. containerd's must not be on
/// an overlay, which cannot be a layer of others.
pub(super) const OWN_DIRECTORIES: [&str; 6] = [
    "etc/kubernetes",
    "var/lib/containerd",
    "var/lib/etcd",
    "var/lib/kubelet",
    "var/log/containers",
    "var/log/pods",
];

/// Parameters of the whole machine that kubelet wants to set, and the values it wants
/// (`--protect-kernel-defaults` names them). It is shown these values instead.
const MASKED_PARAMETERS: [(&str, &str); 6] = [
    ("kernel/keys/root_maxbytes", "25000000"),
    ("kernel/keys/root_maxkeys", "1000000"),
    ("kernel/panic", "10"),
    ("kernel/panic_on_oops", "1"),
    ("vm/overcommit_memory", "1"),
    ("vm/panic_on_oom", "0"),
];
/// Parameters of the network namespace that Kubernetes wants of a node, where the kernel has them.
const PARAMETERS: [(&str, &str); 2] =
    [("net/bridge/bridge-nf-call-iptables", "1"), ("net/bridge/bridge-nf-call-ip6tables", "1")];

/// What such a machine is shown of the real one's files.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ContainerHost {
    /// Source, and where it is shown, read-only: files or directories.
    pub(crate) shown: Vec<(PathBuf, PathBuf)>,
}

/// Fills the machine's new root, before it is entered.
pub(super) fn mount_below(host: &ContainerHost, root: &Path) -> Result<()> {
    let cgroups = Path::new("/sys/fs/cgroup");
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    // A fresh sysfs has the directory, without the hierarchies.
    mount(Some(cgroups), &root.join("sys/fs/cgroup"), None::<&str>, flags, None::<&str>)
        .context("binding the control groups")?;
    mount_new("bpf", &root.join("sys/fs/bpf"), None)?;
    make_directory(&root.join("lib/modules"))?;
    for (source, target) in &host.shown {
        let target = root.join(target.strip_prefix("/").unwrap_or(target));
        if source.is_dir() {
            make_directory(&target)?;
        } else {
            write_file(&target, "")?;
        }
        bind(source, &target)?;
        remount_read_only(&target)?;
    }
    Ok(())
}

/// The rest, once its root is entered.
pub(super) fn finish() -> Result<()> {
    // Volumes may ask for mounts to be seen by the host, and the host's by them.
    let flags = MsFlags::MS_REC | MsFlags::MS_SHARED;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("sharing the mounts")?;
    for (parameter, value) in MASKED_PARAMETERS {
        let real = Path::new("/proc/sys").join(parameter);
        if real.exists() {
            let shown = Path::new("/run/lab/parameters").join(parameter);
            write_file(&shown, &format!("{value}\n"))?;
            bind(&shown, &real)?;
        }
    }
    for (parameter, value) in PARAMETERS {
        let file = Path::new("/proc/sys").join(parameter);
        if file.exists() {
            fs::write(&file, value).with_context(|| format!("writing {}", file.display()))?;
        }
    }
    Ok(())
}

//! What a lab needs of the machine, tried out before anything is changed.

use crate::machine::{self, REFERENCE_PLUGINS};
use crate::topology::{Cni, DatastoreKind, Kubernetes, Topology};
use anyhow::{Context, Result, bail};
use linux::netns::NetNs;
use std::fs;
use std::path::Path;

/// Checks for every kernel feature and foreign program that a lab of this topology uses.
///
/// # Errors
/// Names what is missing and what to do about it.
pub(crate) fn check(topology: &Topology) -> Result<()> {
    for kind in ["pid", "mnt", "net", "uts", "ipc"] {
        if !Path::new("/proc/self/ns").join(kind).exists() {
            bail!("this kernel has no {kind} namespaces; use a kernel with CONFIG_NAMESPACES");
        }
    }
    check_filesystem("overlay", "CONFIG_OVERLAY_FS")?;
    check_filesystem("tmpfs", "CONFIG_TMPFS")?;
    if let Some(kubernetes) = &topology.kubernetes {
        check_kubernetes(kubernetes)?;
    } else if topology.cni_config.is_none() {
        for plugin in ["portmap", "bandwidth"] {
            check_file(&REFERENCE_PLUGINS, plugin, "containernetworking-plugins")?;
        }
    }
    if topology.datastore.kind == DatastoreKind::Etcd {
        check_file(&machine::PATH.split(':').collect::<Vec<_>>(), "etcd", "etcd-server")?;
    }
    let scratch = NetNs::create()
        .context("this process may not make namespaces; in a container run it with --privileged")?;
    scratch.run(crate::fabric::try_link_kinds)?
}

/// busybox of Debian's package busybox-static, which lab images are made of.
pub(crate) const BUSYBOX: &str = "/bin/busybox";

/// Kubernetes' own programs, and what of Debian's it needs.
fn check_kubernetes(kubernetes: &Kubernetes) -> Result<()> {
    let programs = ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"];
    let proxy = kubernetes.kube_proxy.mode().map(|_| "kube-proxy");
    for program in programs.into_iter().chain(["kubelet"]).chain(proxy) {
        if !kubernetes.programs.join(program).exists() {
            bail!(
                "no {program} in {}; `scripts/kubernetes` builds Kubernetes' programs, \
                 `--programs` says where they are",
                kubernetes.programs.display()
            );
        }
    }
    for (program, package) in [
        ("etcd", "etcd-server"),
        ("containerd", "containerd"),
        ("ctr", "containerd"),
        ("runc", "runc"),
        ("curl", "curl"),
        ("iptables", "iptables"),
        ("busybox", "busybox-static"),
    ] {
        check_file(&machine::PATH.split(':').collect::<Vec<_>>(), program, package)?;
    }
    let bridge: &[&str] = match kubernetes.cni {
        Cni::Bridge => &["bridge", "host-local", "portmap"],
        Cni::Calico | Cni::None => &[],
    };
    if kubernetes.cni == Cni::Calico && !kubernetes.plugins.join("portmap").exists() {
        bail!(
            "no CNI plugins in {}; `scripts/plugins` builds those of Calico's images, `--plugins` \
             says where they are",
            kubernetes.plugins.display()
        );
    }
    for plugin in bridge.iter().chain(&["loopback"]) {
        check_file(&REFERENCE_PLUGINS, plugin, "containernetworking-plugins")?;
    }
    if kubernetes.cni == Cni::Calico && !kubernetes.manifest.exists() {
        bail!("no {}; `--manifest` says where Calico's is", kubernetes.manifest.display());
    }
    let filtered = "net/bridge/bridge-nf-call-iptables";
    if kubernetes.cni == Cni::Bridge && !linux::sysctl::exists(filtered) {
        // Between pods of one node a service would be answered by the pod's own address.
        bail!("no kernel parameter {filtered}; `modprobe br_netfilter`, or choose another --cni");
    }
    for image in &kubernetes.images {
        fs::metadata(image).with_context(|| format!("image archive {}", image.display()))?;
    }
    let busybox = fs::read(BUSYBOX).with_context(|| format!("reading {BUSYBOX}"))?;
    if asks_for_loader(&busybox) {
        bail!("{BUSYBOX} isn't static; `apt-get install busybox-static`");
    }
    Ok(())
}

/// Whether an executable has a program header `PT_INTERP` (elf(5)); no image has a loader.
fn asks_for_loader(elf: &[u8]) -> bool {
    const INTERPRETER: u32 = 3;
    let short = |at| Some(usize::from(u16::from_le_bytes(*elf.get(at..)?.first_chunk()?)));
    let long = |at| Some(u32::from_le_bytes(*elf.get(at..)?.first_chunk()?));
    // e_phoff, which is never large, e_phentsize and e_phnum of a 64-bit file.
    let header = (long(32), short(54), short(56));
    let (Some(first), Some(bytes), Some(count)) = header else { return false };
    (0..count).any(|index| long(first as usize + index * bytes) == Some(INTERPRETER))
}

/// Checks for root.
///
/// # Errors
/// Says to use sudo.
pub(crate) fn check_root(what: &str) -> Result<()> {
    if nix::unistd::geteuid().is_root() {
        return Ok(());
    }
    bail!("{what} needs root, for namespaces and network devices of its own; run it with sudo")
}

fn check_file(directories: &[&str], name: &str, package: &str) -> Result<()> {
    if directories.iter().any(|directory| Path::new(directory).join(name).exists()) {
        return Ok(());
    }
    bail!("no {name} in {}; `apt-get install {package}`", directories.join(", "))
}

fn check_filesystem(name: &str, option: &str) -> Result<()> {
    let known = fs::read_to_string("/proc/filesystems").context("reading /proc/filesystems")?;
    let there = known.lines().any(|line| line.split_whitespace().next_back() == Some(name));
    // A module is loaded when it is first asked for, so its absence from the list isn't proof.
    let release =
        fs::read_to_string("/proc/sys/kernel/osrelease").context("the kernel's release")?;
    let modules = Path::new("/lib/modules").join(release.trim()).join("kernel/fs");
    if there || holds_module(&modules, name) {
        return Ok(());
    }
    bail!("this kernel has no {name} file system; load it (`modprobe {name}`) or set {option}")
}

fn holds_module(directory: &Path, name: &str) -> bool {
    let Ok(entries) = fs::read_dir(directory.join(format!("{name}fs"))) else {
        return false;
    };
    let file = |entry: std::io::Result<fs::DirEntry>| entry.ok()?.file_name().into_string().ok();
    entries.filter_map(file).any(|file| file.starts_with(&format!("{name}.ko")))
}

#[cfg(test)]
mod tests {
    use super::asks_for_loader;

    #[test]
    fn executables_are_static_or_ask_for_a_loader() {
        assert!(asks_for_loader(&std::fs::read("/bin/sh").unwrap()));
        // This very test is as static as the product.
        assert!(!asks_for_loader(&std::fs::read("/proc/self/exe").unwrap()));
        assert!(!asks_for_loader(b"#!/bin/sh\n"));
    }
}

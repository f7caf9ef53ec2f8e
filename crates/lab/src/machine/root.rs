//! A machine's own file system tree: the real machine's, with every change kept in memory.

use super::{MachineSpec, container_host};
use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::pivot_root;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Directories that start empty and are kept when the machine restarts, whatever the real machine
/// has there.
const OWN_DIRECTORIES: [&str; 7] = [
    "etc/calico",
    "etc/cni/net.d",
    "opt/cni/bin",
    "var/lib/calico",
    "var/lib/calico-datastore",
    "var/lib/cni",
    "var/log/calico",
];

/// Devices every program may expect.
const DEVICES: [&str; 8] = ["null", "zero", "full", "random", "urandom", "tty", "kmsg", "net/tun"];

/// Where this program is on a machine.
const BINARY: &str = "usr/local/bin/calico";
/// Its name as a client.
const CLIENT_LINK: &str = "usr/local/bin/calicoctl";
/// Its names on a node, which on Kubernetes' nodes are a manifest's to bring.
const NODE_LINKS: [&str; 6] = [
    "usr/local/bin/calico-node",
    "usr/local/bin/calico-ipam",
    "usr/local/bin/calico-kube-controllers",
    "usr/bin/calico-node",
    "opt/cni/bin/calico",
    "opt/cni/bin/calico-ipam",
];

/// Where distributions put the reference CNI plugins (Debian, Fedora).
pub(crate) const REFERENCE_PLUGINS: [&str; 2] = ["/usr/lib/cni", "/usr/libexec/cni"];

/// Makes the calling process's mount namespace a machine's and fills it.
///
/// # Errors
/// A mount or file that could not be made.
pub(super) fn enter(spec: &MachineSpec) -> Result<()> {
    let root = spec.directory.join("root");
    make_private()?;
    mount_overlay(spec, &root)?;
    mount_kernel_filesystems(&root)?;
    let of_container_host =
        spec.container_host.iter().flat_map(|_| container_host::OWN_DIRECTORIES);
    for directory in OWN_DIRECTORIES.into_iter().chain(of_container_host) {
        let kept = spec.directory.join("kept").join(directory.replace('/', "-"));
        make_directory(&kept)?;
        make_directory(&root.join(directory))?;
        bind(&kept, &root.join(directory))?;
    }
    link_programs(spec, &root)?;
    if let Some(host) = &spec.container_host {
        container_host::mount_below(host, &root)?;
    }
    std::env::set_current_dir(&root).context("entering the new root")?;
    pivot_root(".", ".").context("pivot_root")?;
    umount2(".", MntFlags::MNT_DETACH).context("leaving the old root")?;
    std::env::set_current_dir("/").context("entering the new root")?;
    write_file(Path::new("/etc/hostname"), &format!("{}\n", spec.name))?;
    // Empty: no DNS query may leave the machine.
    write_file(Path::new("/etc/resolv.conf"), "")?;
    for (path, text) in &spec.files {
        write_file(path, text)?;
    }
    spec.container_host.iter().try_for_each(|_| container_host::finish())
}

/// Keeps mounts made from here on out of every other namespace, and theirs out of this one.
pub(crate) fn make_private() -> Result<()> {
    let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
    mount(None::<&str>, "/", None::<&str>, flags, None::<&str>).context("making mounts private")
}

fn mount_overlay(spec: &MachineSpec, root: &Path) -> Result<()> {
    let (upper, work) = (spec.directory.join("upper"), spec.directory.join("work"));
    // A restarted machine keeps its changes; overlayfs wants an empty work directory.
    match fs::remove_dir_all(&work) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("emptying {}", work.display()));
        }
        _ => {}
    }
    for directory in [&upper, &work, &root.to_owned()] {
        make_directory(directory)?;
    }
    let options = format!("lowerdir=/,upperdir={},workdir={}", upper.display(), work.display());
    mount(Some("overlay"), root, Some("overlay"), MsFlags::empty(), Some(options.as_str()))
        .with_context(|| format!("mounting overlay with {options}"))
}

fn mount_kernel_filesystems(root: &Path) -> Result<()> {
    mount_new("proc", &root.join("proc"), None)?;
    mount_new("sysfs", &root.join("sys"), None)?;
    mount_new("tmpfs", &root.join("run"), Some("mode=755"))?;
    for directory in ["run/lock", "run/netns", "run/lab", "run/calico"] {
        make_directory(&root.join(directory))?;
    }
    let dev = root.join("dev");
    mount_new("tmpfs", &dev, Some("mode=755"))?;
    for device in DEVICES {
        let source = Path::new("/dev").join(device);
        if !source.exists() {
            continue;
        }
        let target = dev.join(device);
        target.parent().map_or(Ok(()), make_directory)?;
        fs::write(&target, "").with_context(|| format!("making {}", target.display()))?;
        bind(&source, &target)?;
    }
    for directory in ["pts", "shm"] {
        make_directory(&dev.join(directory))?;
    }
    mount_new("devpts", &dev.join("pts"), Some("newinstance,ptmxmode=0666,mode=0620"))?;
    mount_new("tmpfs", &dev.join("shm"), Some("mode=1777"))?;
    let links = [
        ("pts/ptmx", "ptmx"),
        ("/proc/self/fd", "fd"),
        ("/proc/self/fd/0", "stdin"),
        ("/proc/self/fd/1", "stdout"),
        ("/proc/self/fd/2", "stderr"),
    ];
    for (target, link) in links {
        make_link(target, &dev.join(link))?;
    }
    Ok(())
}

/// Puts this very program on the machine under all its names, and the reference CNI plugins.
fn link_programs(spec: &MachineSpec, root: &Path) -> Result<()> {
    let binary = root.join(BINARY);
    write_file(&binary, "")?;
    bind(&spec.binary, &binary)?;
    let names = if spec.container_host.is_none() { &NODE_LINKS[..] } else { &[] };
    for link in names.iter().chain([&CLIENT_LINK]) {
        make_link(&format!("/{BINARY}"), &root.join(link))?;
    }
    let directories = REFERENCE_PLUGINS
        .iter()
        .filter_map(|directory| fs::read_dir(directory).ok().map(|entries| (directory, entries)));
    for (directory, entries) in directories {
        for entry in entries.flatten() {
            let name = entry.file_name();
            let target = format!("{directory}/{}", name.to_string_lossy());
            make_link(&target, &root.join("opt/cni/bin").join(&name))?;
        }
    }
    Ok(())
}

/// Mounts a fresh instance of one of the kernel's file systems.
pub(crate) fn mount_new(kind: &str, target: &Path, options: Option<&str>) -> Result<()> {
    mount(Some(kind), target, Some(kind), MsFlags::empty(), options)
        .with_context(|| format!("mounting {kind} on {}", target.display()))
}

/// Shows `source` at `target` too.
pub(crate) fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("binding {} to {}", source.display(), target.display()))
}

/// Makes a file or directory that was bound there unchangeable by that path.
pub(super) fn remount_read_only(target: &Path) -> Result<()> {
    let flags = MsFlags::MS_BIND | MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
    mount(None::<&str>, target, None::<&str>, flags, None::<&str>)
        .with_context(|| format!("making {} read-only", target.display()))
}

pub(super) fn make_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))
}

fn make_link(target: &str, link: &Path) -> Result<()> {
    link.parent().map_or(Ok(()), make_directory)?;
    remove_file(link)?;
    symlink(target, link).with_context(|| format!("linking {}", link.display()))
}

fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Replaces a file as a whole. A symbolic link is replaced, not followed.
pub(super) fn write_file(path: &Path, text: &str) -> Result<()> {
    path.parent().map_or(Ok(()), make_directory)?;
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".new");
    fs::write(&unfinished, text)
        .and_then(|()| fs::rename(&unfinished, path))
        .with_context(|| format!("writing {}", path.display()))
}

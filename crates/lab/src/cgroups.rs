//! The control groups of a lab's nodes, below which each kubelet makes those of its pods:
//! `/calico-lab-LAB/NODE` in every hierarchy of the machine.
//!
//! They outlive the processes in them, and are the one thing of a lab besides its directory that
//! the machine itself has.

use anyhow::{Context, Result, bail};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the machine has them.
const ROOT: &str = "/sys/fs/cgroup";
/// How long the kernel may take to let go of the processes that have ended in one.
const END_WAIT: Duration = Duration::from_secs(10);
/// What every group of version 1's cpuset needs before a process may be in it.
const CPUSET: [&str; 2] = ["cpuset.cpus", "cpuset.mems"];

/// The group of a node in each hierarchy, as kubelet's `cgroupRoot` has it.
pub(crate) fn path_of(lab: &str, node: &str) -> String {
    format!("/calico-lab-{lab}/{node}")
}

/// Makes a node's groups.
///
/// # Errors
/// The kernel refuses.
pub(crate) fn make(lab: &str, node: &str) -> Result<()> {
    for hierarchy in hierarchies()? {
        let mut group = hierarchy.clone();
        for part in path_of(lab, node).split('/').filter(|part| !part.is_empty()) {
            delegate(&group)?;
            let parent = group.clone();
            group.push(part);
            make_group(&parent, &group)?;
        }
        delegate(&group)?;
    }
    Ok(())
}

fn make_group(parent: &Path, group: &Path) -> Result<()> {
    match fs::create_dir(group) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        made => made.with_context(|| format!("making control group {}", group.display()))?,
    }
    for file in CPUSET.iter().filter(|_| is_version_1(parent)) {
        match fs::read(parent.join(file)) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            value => {
                let value = value.with_context(|| format!("reading {}", parent.display()))?;
                let file = group.join(file);
                fs::write(&file, value).with_context(|| format!("writing {}", file.display()))?;
            }
        }
    }
    Ok(())
}

/// Passes version 2's controllers on to the groups below.
fn delegate(group: &Path) -> Result<()> {
    if is_version_1(group) {
        return Ok(());
    }
    let reading = || format!("the controllers of {}", group.display());
    let controllers = fs::read_to_string(group.join("cgroup.controllers")).with_context(reading)?;
    let all: Vec<String> = controllers.split_whitespace().map(|name| format!("+{name}")).collect();
    fs::write(group.join("cgroup.subtree_control"), all.join(" ")).with_context(reading)
}

/// Removes a node's groups.
///
/// # Errors
/// There are still processes in one.
pub(crate) fn remove(lab: &str, node: &str) -> Result<()> {
    remove_everywhere(&path_of(lab, node))
}

/// Removes the groups of all a lab's nodes, whose processes must have ended.
///
/// # Errors
/// There are still processes in one.
pub(crate) fn remove_all(lab: &str) -> Result<()> {
    remove_everywhere(&format!("/calico-lab-{lab}"))
}

fn remove_everywhere(path: &str) -> Result<()> {
    let deadline = Instant::now() + END_WAIT;
    for hierarchy in hierarchies()? {
        let group = hierarchy.join(path.trim_start_matches('/'));
        while let Err(error) = remove_tree(&group) {
            if Instant::now() > deadline {
                bail!(
                    "removing control group {}: {error}; see its cgroup.procs for who is in it",
                    group.display()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Removes a group and those below; the files in them are the kernel's and go with them.
fn remove_tree(group: &Path) -> std::io::Result<()> {
    let entries = match fs::read_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(group) {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        removed => removed,
    }
}

/// The hierarchies of version 1, one for each set of controllers and perhaps one of version 2, which
/// then has none; or the one of version 2.
fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = Path::new(ROOT);
    if !is_version_1(root) {
        return Ok(vec![root.to_owned()]);
    }
    let entries = match fs::read_dir(root) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("reading {ROOT}"))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("reading {ROOT}"))?;
        // Links are other names of the same.
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn is_version_1(group: &Path) -> bool {
    !group.join("cgroup.controllers").exists()
}

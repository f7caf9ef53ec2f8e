//! Starting this program's own processes, as machines in new namespaces or inside of others.

use anyhow::Result;
use linux::process::{Spawn, spawn};
use nix::sched::CloneFlags;
use std::path::PathBuf;
use std::process::{Child, Command};

/// This program again, as one of its hidden commands. Works wherever `/proc` is mounted, also after
/// the file has been replaced on disk.
pub(crate) fn own_program(hidden: &str) -> Command {
    use std::os::unix::process::CommandExt;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("calico").arg(hidden);
    command
}

/// Starts `command` as process 1 of new PID, mount, network, UTS and IPC namespaces.
///
/// # Errors
/// Not root, a namespace kind the kernel hasn't got, or the program cannot be started.
pub(crate) fn spawn_as_machine(command: Command) -> Result<Child> {
    let unshare = CloneFlags::CLONE_NEWPID
        | CloneFlags::CLONE_NEWNS
        | CloneFlags::CLONE_NEWNET
        | CloneFlags::CLONE_NEWUTS
        | CloneFlags::CLONE_NEWIPC;
    Ok(spawn(Spawn { unshare, ..Spawn::new(command) })?)
}

/// The directory in the machine's `/proc` of a process named by its id in each nested PID
/// namespace, outermost first: every machine of a lab has a `/proc` of its own below its root.
pub(crate) fn nested_process(first: i32, pids: &[u32]) -> PathBuf {
    let mut path = PathBuf::from(format!("/proc/{first}"));
    for pid in pids {
        path.push(format!("root/proc/{pid}"));
    }
    path
}

//! Starting processes in namespaces.
//!
//! Namespaces belong to threads, and a child is born into those of the thread that starts it: so
//! each start happens in a thread of its own, and the caller stays where it is.

use crate::Error;
use crate::netns::in_own_thread;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::Signal;
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command};

/// One namespace to enter.
#[derive(Debug)]
pub struct Namespace {
    kind: CloneFlags,
    file: OwnedFd,
    name: String,
}

/// The namespaces of a machine (a lab, a node, a pod), in the order in which they can be entered.
const KINDS: [(&str, CloneFlags); 5] = [
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("pid", CloneFlags::CLONE_NEWPID),
    ("mnt", CloneFlags::CLONE_NEWNS),
];

impl Namespace {
    /// The IPC, UTS, network, PID and mount namespaces of the process whose directory in a `/proc`
    /// is
    /// `process`.
    ///
    /// # Errors
    /// The process is gone, or isn't ours to look into.
    pub fn all_of(process: &Path) -> Result<Vec<Namespace>, Error> {
        KINDS
            .into_iter()
            .map(|(kind, flag)| {
                let path = process.join("ns").join(kind);
                let name = path.display().to_string();
                match File::open(&path) {
                    Ok(file) => Ok(Namespace { kind: flag, file: file.into(), name }),
                    Err(source) => Err(Error::system("opening the namespace", name, source)),
                }
            })
            .collect()
    }
}

/// How to start a process.
#[derive(Debug)]
pub struct Spawn {
    /// Program, arguments, environment, standard streams, working directory.
    pub command: Command,
    /// Namespaces of others to enter, in this order.
    pub enter: Vec<Namespace>,
    /// Namespaces to make, after entering those of others.
    pub unshare: CloneFlags,
    /// Make it the leader of a new session, without controlling terminal.
    pub new_session: bool,
    /// Kill it when this process dies.
    pub kill_on_parent_death: bool,
}

impl Spawn {
    /// Starts the command where the caller is.
    pub fn new(command: Command) -> Spawn {
        Spawn {
            command,
            enter: Vec::new(),
            unshare: CloneFlags::empty(),
            new_session: false,
            kill_on_parent_death: false,
        }
    }
}

/// Starts a process. With [`CloneFlags::CLONE_NEWPID`] it is process 1 of the new namespace.
///
/// # Errors
/// Not root, a namespace kind that the kernel hasn't got, or the program cannot be started.
pub fn spawn(spawn: Spawn) -> Result<Child, Error> {
    if !spawn.kill_on_parent_death {
        return in_own_thread(move || start(spawn));
    }
    // The kernel kills the child when the *thread* that started it ends, so the thread stays.
    let (sender, receiver) = std::sync::mpsc::sync_channel(1);
    std::thread::Builder::new()
        .name("child-watch".to_owned())
        .spawn(move || {
            let started = start(spawn);
            let pid = started.as_ref().ok().and_then(|child| i32::try_from(child.id()).ok());
            let received = sender.send(started);
            if let (Ok(()), Some(pid)) = (received, pid) {
                wait_without_reaping(Pid::from_raw(pid));
            }
        })
        .map_err(|source| Error::system("starting", "a thread to watch a child", source))?;
    receiver.recv().unwrap_or_else(|_| {
        let source = std::io::Error::other("the thread that starts it panicked");
        Err(Error::system("starting", "a process", source))
    })
}

fn start(spawn: Spawn) -> Result<Child, Error> {
    let Spawn { mut command, enter, unshare: make, new_session, kill_on_parent_death } = spawn;
    let program = command.get_program().to_string_lossy().into_owned();
    let leave = |flags| {
        unshare(flags)
            .map_err(|errno| Error::system("making namespaces for", program.as_str(), errno))
    };
    if enter.iter().any(|namespace| namespace.kind == CloneFlags::CLONE_NEWNS) {
        // Threads share their working directory and root; a mount namespace can be entered without.
        leave(CloneFlags::CLONE_FS)?;
    }
    for Namespace { kind, file, name } in &enter {
        setns(file, *kind).map_err(|errno| Error::system("entering", name.as_str(), errno))?;
    }
    leave(make)?;
    if new_session || kill_on_parent_death {
        before_exec(&mut command, new_session, kill_on_parent_death);
    }
    command.spawn().map_err(|source| Error::system("starting", program.as_str(), source))
}

fn before_exec(command: &mut Command, new_session: bool, kill_on_parent_death: bool) {
    let hook = move || {
        if new_session {
            nix::unistd::setsid()?;
        }
        if kill_on_parent_death {
            let signal = libc::c_ulong::from(Signal::SIGKILL as u32);
            // SAFETY: prctl(PR_SET_PDEATHSIG) takes a number and touches no memory.
            Errno::result(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) })?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec the hook makes two system calls and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

fn wait_without_reaping(pid: Pid) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
}

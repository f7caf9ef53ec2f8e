//! Starting processes in namespaces.
//!
//! Namespaces belong to threads, and a child is born into those of the thread that starts it: so
//! each start happens in a thread of its own, and the caller stays where it is.

use crate::Error;
use crate::netns::in_own_thread;
use nix::errno::Errno;
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

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
        KINDS.into_iter().map(|(kind, flag)| Namespace::open(process, kind, flag)).collect()
    }

    /// The network namespace of such a process.
    ///
    /// # Errors
    /// As [`Namespace::all_of`].
    pub fn network_of(process: &Path) -> Result<Namespace, Error> {
        Namespace::open(process, "net", CloneFlags::CLONE_NEWNET)
    }

    fn open(process: &Path, kind: &str, flag: CloneFlags) -> Result<Namespace, Error> {
        let path = process.join("ns").join(kind);
        let name = path.display().to_string();
        match File::open(&path) {
            Ok(file) => Ok(Namespace { kind: flag, file: file.into(), name }),
            Err(source) => Err(Error::system("opening the namespace", name, source)),
        }
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
    before_exec(&mut command, new_session, kill_on_parent_death);
    command.spawn().map_err(|source| Error::system("starting", program.as_str(), source))
}

fn before_exec(command: &mut Command, new_session: bool, kill_on_parent_death: bool) {
    let hook = move || {
        // What the caller holds back for itself must reach its child.
        SigSet::empty().thread_set_mask()?;
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
    // SAFETY: between fork and exec the hook makes three system calls and allocates nothing.
    unsafe { command.pre_exec(hook) };
}

fn wait_without_reaping(pid: Pid) {
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
    while waitid(Id::Pid(pid), flags) == Err(Errno::EINTR) {}
}

/// What a process used until its end, together with those of its children that it waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time, in user and kernel mode.
    pub cpu: Duration,
    /// Bytes of memory that the largest of them had resident at once (`ru_maxrss`).
    pub resident_bytes_max: u64,
}

/// Waits for a process to end.
///
/// # Errors
/// Somebody else has waited for it already.
pub fn wait_with_usage(child: Child) -> Result<(ExitStatus, Usage), Error> {
    let pid = child.id();
    let mut status = 0;
    // SAFETY: an rusage is numbers only, for which zero is a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    loop {
        // SAFETY: both pointers lead to values that live longer than the call.
        let waited = unsafe { libc::wait4(pid.cast_signed(), &raw mut status, 0, &raw mut usage) };
        match Errno::result(waited) {
            Ok(_) => break,
            Err(Errno::EINTR) => {}
            Err(errno) => {
                return Err(Error::system("waiting for", format!("process {pid}"), errno));
            }
        }
    }
    let cpu = duration(usage.ru_utime) + duration(usage.ru_stime);
    // The kernel counts in KiB.
    let resident_bytes_max = u64::try_from(usage.ru_maxrss).unwrap_or(0) * 1024;
    Ok((ExitStatus::from_raw(status), Usage { cpu, resident_bytes_max }))
}

/// Time used is never negative.
fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_usec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(micros)
}

#[cfg(test)]
mod tests {
    use super::wait_with_usage;
    use std::process::Command;
    use std::time::Duration;

    #[test]
    fn usage_is_that_of_the_process_and_its_children() {
        let script = "sh -c 'i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done'; exit 3";
        let child = Command::new("sh").args(["-c", script]).spawn().unwrap();
        let (status, usage) = wait_with_usage(child).unwrap();
        assert_eq!(status.code(), Some(3));
        assert!(usage.cpu > Duration::from_millis(5), "{usage:?}");
        assert!(usage.resident_bytes_max > 100_000, "{usage:?}");
    }
}

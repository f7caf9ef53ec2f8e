//! A lab's directory on the machine, `/run/calico-lab/NAME`: all that exists of a lab outside its
//! namespaces.
//!
//! ```text
//! /run/calico-lab/NAME/          flock: held while a lab is being started or removed
//!   pid                          process id and start time of the lab's first process
//!   topology.json  lab.log       what was asked for; what the lab's processes report
//!   control.sock                 where that process takes requests
//!   kubeconfig                   a Kubernetes cluster's administrator's
//!   fs/                          mount point, used only inside the lab's mount namespace
//! ```

use crate::topology::check_name;
use anyhow::{Context, Result, bail};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Where the directories of all labs are.
pub(crate) const LABS: &str = "/run/calico-lab";

/// One lab's directory, which need not exist.
#[derive(Clone, Debug)]
pub(crate) struct LabDirectory {
    name: String,
    path: PathBuf,
}

/// The lab's first process, as the machine sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FirstProcess {
    /// Its process id in the machine's own PID namespace.
    pub(crate) pid: i32,
    /// When it started, in clock ticks since boot: tells it from a later process of the same id.
    start_time: u64,
}

impl LabDirectory {
    /// The directory of the lab called `name`.
    pub(crate) fn of(name: &str) -> Result<LabDirectory> {
        check_name("lab", name)?;
        Ok(LabDirectory { name: name.into(), path: Path::new(LABS).join(name) })
    }

    /// Every lab there is a directory of, in order of name.
    pub(crate) fn all() -> Result<Vec<LabDirectory>> {
        let entries = match fs::read_dir(LABS) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.with_context(|| format!("reading {LABS}"))?,
        };
        let mut labs = Vec::new();
        for entry in entries {
            let name = entry?.file_name();
            labs.extend(name.to_str().and_then(|name| LabDirectory::of(name).ok()));
        }
        labs.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(labs)
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn exists(&self) -> bool {
        self.path.exists()
    }

    pub(crate) fn control_socket(&self) -> PathBuf {
        self.path.join("control.sock")
    }

    pub(crate) fn topology(&self) -> PathBuf {
        self.path.join("topology.json")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.path.join("lab.log")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path.join("kubeconfig")
    }

    /// What kubectl keeps of what the API server has: another lab's, at the same address, has other.
    pub(crate) fn kubectl_cache(&self) -> PathBuf {
        self.path.join("kubectl")
    }

    /// The mount point of the lab's own memory file system.
    pub(crate) fn filesystem(&self) -> PathBuf {
        self.path.join("fs")
    }

    /// Makes the directory and locks it against other `up` and `down`; waits for those to end.
    pub(crate) fn create_locked(&self) -> Result<Flock<File>> {
        loop {
            fs::create_dir_all(&self.path)
                .with_context(|| format!("making {}", self.path.display()))?;
            if let Some(lock) = self.lock()? {
                return Ok(lock);
            }
        }
    }

    /// Locks the directory; `None` if there is none.
    ///
    /// # Errors
    /// Another process holds the lock for too long, or the directory cannot be read.
    pub(crate) fn lock(&self) -> Result<Option<Flock<File>>> {
        let deadline = Instant::now() + LOCK_WAIT;
        loop {
            let mut file = match File::open(&self.path) {
                Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
                file => file.with_context(|| format!("opening {}", self.path.display()))?,
            };
            loop {
                match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
                    Ok(lock) if self.is(&lock) => return Ok(Some(lock)),
                    // Removed, and perhaps made anew, while we waited.
                    Ok(_) => break,
                    Err((unlocked, nix::errno::Errno::EWOULDBLOCK)) => file = unlocked,
                    Err((_, errno)) => bail!("locking {}: {errno}", self.path.display()),
                }
                if Instant::now() > deadline {
                    bail!(
                        "lab {:?}: another `calico lab up` or `down` has been working on it for \
                         {LOCK_WAIT:?}; see `fuser {}`",
                        self.name,
                        self.path.display()
                    );
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    /// Whether the path still leads to the locked directory.
    fn is(&self, lock: &File) -> bool {
        let (Ok(held), Ok(there)) = (lock.metadata(), fs::metadata(&self.path)) else {
            return false;
        };
        (held.dev(), held.ino()) == (there.dev(), there.ino())
    }

    /// Records the calling process as the lab's first.
    ///
    /// Must run while `/proc` still shows the machine's processes.
    pub(crate) fn record_first_process(&self) -> Result<()> {
        let stat = fs::read_to_string("/proc/self/stat").context("reading /proc/self/stat")?;
        let pid = fs::read_link("/proc/self").context("reading /proc/self")?;
        let start_time = start_time(&stat).context("/proc/self/stat has no start time")?;
        let unfinished = self.path.join("pid.new");
        fs::write(&unfinished, format!("{} {start_time}\n", pid.display()))
            .and_then(|()| fs::rename(&unfinished, self.path.join("pid")))
            .with_context(|| format!("writing {}", self.path.join("pid").display()))
    }

    /// The lab's first process, if it is alive.
    pub(crate) fn first_process(&self) -> Option<FirstProcess> {
        let text = fs::read_to_string(self.path.join("pid")).ok()?;
        let (pid, start_time) = text.trim().split_once(' ')?;
        let recorded =
            FirstProcess { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? };
        recorded.is_alive().then_some(recorded)
    }

    /// Removes the directory; the lab's processes must be gone.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", self.path.display()))
            }
            _ => {
                // The last lab takes the common parent with it; others keep it non-empty.
                let _ = fs::remove_dir(LABS);
                Ok(())
            }
        }
    }
}

/// How long `up` and `down` wait for each other.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// How long the kernel may take to end a lab's processes.
const END_WAIT: Duration = Duration::from_secs(30);

impl FirstProcess {
    /// Still running: neither gone nor a zombie without other threads. The last thread of a PID
    /// namespace's first process ends only once the namespace is empty.
    pub(crate) fn is_alive(self) -> bool {
        let process = PathBuf::from(format!("/proc/{}", self.pid));
        let Ok(stat) = fs::read_to_string(process.join("stat")) else {
            return false;
        };
        let threads = fs::read_dir(process.join("task")).map_or(0, Iterator::count);
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        let ended = threads <= 1 && matches!(state, Some('Z' | 'X') | None);
        start_time(&stat) == Some(self.start_time) && !ended
    }

    /// Ends the process and with it, by the kernel's hand, every process of the lab.
    pub(crate) fn end(self) -> Result<()> {
        let deadline = Instant::now() + END_WAIT;
        while self.is_alive() {
            // ESRCH: ended meanwhile.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
            if Instant::now() > deadline {
                bail!(
                    "process {} of the lab did not end within {END_WAIT:?}; see `ps -ef --forest` \
                     for one stuck in the kernel",
                    self.pid
                );
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(())
    }
}

/// Field 22 of `/proc/PID/stat` (proc(5)); the command name before it may hold anything.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    after_name.split(' ').nth(19)?.parse().ok()
}

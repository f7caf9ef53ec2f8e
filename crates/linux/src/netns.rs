//! Network namespaces.
//!
//! A namespace belongs to a thread. [`NetNs::run`] therefore works in a thread of its own, and the
//! caller's namespace never changes.

use crate::Error;
use nix::sched::{CloneFlags, setns, unshare};
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// A network namespace, kept alive by an open file.
#[derive(Debug)]
pub struct NetNs {
    file: OwnedFd,
    name: String,
}

impl NetNs {
    /// The namespace that a file leads to, as `/proc/PID/ns/net` or `/run/netns/NAME` do.
    ///
    /// # Errors
    /// The file is missing, or may not be opened.
    pub fn open(path: impl AsRef<Path>) -> Result<NetNs, Error> {
        let name = path.as_ref().display().to_string();
        let file = File::open(&path)
            .map_err(|source| Error::system("opening the network namespace", &name, source))?;
        Ok(NetNs { file: file.into(), name })
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// `/proc` isn't mounted.
    pub fn current() -> Result<NetNs, Error> {
        NetNs::open("/proc/thread-self/ns/net")
    }

    /// A new namespace without a name: it lives while this value, a process or a bind mount holds
    /// it.
    ///
    /// # Errors
    /// Not root, or the limit of namespaces is reached.
    pub fn create() -> Result<NetNs, Error> {
        in_own_thread(|| {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::system("making", "a network namespace", errno))?;
            NetNs::current()
        })
    }

    /// Runs `work` inside, in a thread of its own, and waits for it. A panic in `work` is carried
    /// on.
    ///
    /// # Errors
    /// The namespace cannot be entered: not root.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        in_own_thread(|| {
            self.enter()?;
            Ok(work())
        })
    }

    /// Moves the calling thread into the namespace, for good.
    ///
    /// # Errors
    /// Not root.
    pub fn enter(&self) -> Result<(), Error> {
        setns(&self.file, CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::system("entering the network namespace", &self.name, errno))
    }

    /// Gives the namespace a name: binds it to the file `path`, which is made where missing.
    ///
    /// # Errors
    /// Not root, or the file cannot be made.
    pub fn bind(&self, path: impl AsRef<Path>) -> Result<(), Error> {
        use nix::mount::{MsFlags, mount};
        use std::os::fd::AsRawFd;
        let path = path.as_ref();
        let failed = |source| {
            let path = path.display().to_string();
            Error::system("binding the network namespace to", path, source)
        };
        File::options().create(true).append(true).open(path).map_err(failed)?;
        let source = format!("/proc/thread-self/fd/{}", self.file.as_raw_fd());
        mount(Some(source.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| failed(errno.into()))
    }

    /// Takes the name that [`NetNs::bind`] gave away again; without one, does nothing.
    ///
    /// # Errors
    /// Not root, or the file cannot be removed.
    pub fn unbind(path: impl AsRef<Path>) -> Result<(), Error> {
        use nix::errno::Errno;
        use nix::mount::{MntFlags, umount2};
        let path = path.as_ref();
        let failed = |source| {
            Error::system("removing the network namespace", path.display().to_string(), source)
        };
        match umount2(path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => {}
            Err(errno) => return Err(failed(errno.into())),
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(error)),
            _ => Ok(()),
        }
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Runs `work` in a new thread, whose namespaces it may change, and waits for it.
pub(crate) fn in_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let joined = std::thread::scope(|scope| scope.spawn(work).join());
    joined.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

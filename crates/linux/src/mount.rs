//! Mounts of a pod's volume.

use crate::Error;
use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use std::path::Path;

/// Mounts an empty file system in memory, of `bytes_max`, on a directory.
///
/// # Errors
/// Not root, or no such directory.
pub fn in_memory(target: &Path, bytes_max: u64) -> Result<(), Error> {
    let options = format!("size={bytes_max}");
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::empty(), Some(options.as_str()))
        .map_err(|errno| failed("mounting memory on", target, errno))
}

/// Shows a directory in another place, too.
///
/// # Errors
/// Not root, or no such directories.
pub fn bind(source: &Path, target: &Path) -> Result<(), Error> {
    mount(Some(source), target, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .map_err(|errno| failed("binding to", target, errno))
}

/// Takes away what is mounted on a directory; where nothing is, does nothing.
///
/// # Errors
/// Not root, or a file there is in use.
pub fn unmount(target: &Path) -> Result<(), Error> {
    match umount2(target, MntFlags::empty()) {
        Ok(()) | Err(Errno::EINVAL | Errno::ENOENT) => Ok(()),
        Err(errno) => Err(failed("unmounting", target, errno)),
    }
}

fn failed(operation: &'static str, target: &Path, errno: Errno) -> Error {
    Error::system(operation, target.display().to_string(), errno)
}

//! Kernel parameters: files below `/proc/sys`, of the calling thread's network namespace where they
//! are below `net`.

use crate::Error;
use std::path::PathBuf;

/// The value of a parameter, e.g. `net/ipv4/ip_forward`, without the line's end.
///
/// # Errors
/// No such parameter ([`Error::is_absent`]), or it may not be read.
pub fn read(path: &str) -> Result<String, Error> {
    let file = file(path)?;
    let text = std::fs::read_to_string(&file)
        .map_err(|source| Error::system("reading", file.display().to_string(), source))?;
    Ok(text.trim_end().to_owned())
}

/// Sets a parameter.
///
/// # Errors
/// No such parameter ([`Error::is_absent`]), a value it doesn't take, or `/proc/sys` is read-only.
pub fn write(path: &str, value: &str) -> Result<(), Error> {
    let file = file(path)?;
    // Not create: a parameter that isn't there must not look like any other failure.
    std::fs::OpenOptions::new()
        .write(true)
        .open(&file)
        .and_then(|mut open| std::io::Write::write_all(&mut open, value.as_bytes()))
        .map_err(|source| {
            Error::system("setting", format!("{} to {value}", file.display()), source)
        })
}

/// Whether this kernel has a parameter, or a directory of them, e.g. `net/ipv6`.
pub fn exists(path: &str) -> bool {
    file(path).is_ok_and(|file| file.exists())
}

fn file(path: &str) -> Result<PathBuf, Error> {
    let outside = path.starts_with('/') || path.split('/').any(|part| part == ".." || part == ".");
    if path.is_empty() || outside {
        let object = format!("sysctl {path:?}");
        let reason = "not a path below /proc/sys; write it as net/ipv4/ip_forward";
        return Err(Error::Invalid { object, reason });
    }
    Ok(PathBuf::from("/proc/sys").join(path))
}

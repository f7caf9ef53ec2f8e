//! Why the server cannot start or run.

use std::path::PathBuf;

/// Each names the object, the likely cause and the next step.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The data directory cannot be made or used.
    #[error("data directory {path}: {reason}: name one that can be written with --data-dir")]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What the system said; no `source`, which would be told a second time.
        reason: std::io::Error,
    },
    /// Another process has the database open.
    #[error(
        "database {0} is in use by another process: stop that one, or choose another --data-dir"
    )]
    InUse(PathBuf),
    /// The file is not a database of ours, or is damaged. It is never replaced.
    #[error(
        "database {path} is truncated, damaged or not a database of `calico datastore`: {reason}. It \
         was left as it is: restore it from a backup, or move it away to begin with an empty one"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        reason: String,
    },
    /// The file cannot be read or written.
    #[error("database {path}: {reason}: check its permissions and its file system")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// An address cannot be listened on.
    #[error("cannot listen on {url}: {reason}: name other addresses with --listen")]
    Listen {
        /// As given.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// Certificates are missing or cannot be used.
    #[error("TLS: {0}")]
    Tls(String),
    /// The runtime or a thread cannot be started, or has failed.
    #[error("the datastore server failed: {0}")]
    Runtime(String),
}

//! What went wrong at the kernel, with the next step.

use nix::errno::Errno;

/// A call that the kernel, or a file of its, refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The kernel refused a netlink request.
    #[error(
        "{operation} {object}: {errno}{}{}",
        extack.as_deref().map(|words| format!(" ({words})")).unwrap_or_default(),
        hint(*errno, object)
    )]
    Refused {
        /// What was asked, in `ip`'s words: `route replace`.
        operation: &'static str,
        /// What it was about: `192.168.1.0/26 via 10.0.0.1 dev ens5 proto 80`.
        object: String,
        /// The kernel's reason.
        errno: Errno,
        /// The kernel's own words (its extended acknowledgement), where it gave some.
        extack: Option<String>,
    },
    /// A system call on a file, socket or namespace failed.
    #[error(
        "{operation} {object}: {reason}{}",
        errno_of(reason).map(|errno| hint(errno, object)).unwrap_or_default()
    )]
    System {
        /// What was tried: `opening the network namespace`.
        operation: &'static str,
        /// What it was about, usually a path.
        object: String,
        /// The system's reason; no `source`, which would be told a second time.
        reason: std::io::Error,
    },
    /// A device that a request needs isn't there.
    #[error(
        "no device {name} in this network namespace; was it removed? `ip link` lists what is there"
    )]
    NoDevice {
        /// Its name.
        name: String,
    },
    /// A value that the kernel could not take.
    #[error("{object}: {reason}")]
    Invalid {
        /// What was wrong.
        object: String,
        /// Why, and what to do.
        reason: &'static str,
    },
    /// The kernel's answer could not be understood.
    #[error(
        "{operation} {object}: the kernel's answer is not understood: {reason}; \
         please report this with `uname -r`"
    )]
    Answer {
        /// What was asked.
        operation: &'static str,
        /// What it was about.
        object: String,
        /// What was wrong with it.
        reason: String,
    },
}

impl Error {
    /// The kernel's error number, where there is one.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Error::Refused { errno, .. } => Some(*errno),
            Error::System { reason, .. } => errno_of(reason),
            Error::NoDevice { .. } => Some(Errno::ENODEV),
            Error::Invalid { .. } | Error::Answer { .. } => None,
        }
    }

    /// Whether the object, or the device it belongs to, isn't there.
    pub fn is_absent(&self) -> bool {
        use Errno as E;
        matches!(self.errno(), Some(E::ENOENT | E::ESRCH | E::ENODEV | E::ENXIO | E::EADDRNOTAVAIL))
    }

    /// Whether the object is already there.
    pub fn is_present(&self) -> bool {
        self.errno() == Some(Errno::EEXIST)
    }

    pub(crate) fn system(
        operation: &'static str,
        object: impl Into<String>,
        reason: impl Into<std::io::Error>,
    ) -> Error {
        Error::System { operation, object: object.into(), reason: reason.into() }
    }
}

fn errno_of(error: &std::io::Error) -> Option<Errno> {
    error.raw_os_error().map(Errno::from_raw)
}

/// The likely cause and the next step, for the errors that have a usual one.
fn hint(errno: Errno, object: &str) -> String {
    let text = match errno {
        Errno::EPERM | Errno::EACCES => "run as root, or with CAP_NET_ADMIN and CAP_SYS_ADMIN",
        Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => {
            return format!(
                "; the kernel lacks this feature: load its module ({}) or use a kernel that has it",
                module(object)
            );
        }
        Errno::EEXIST => {
            "something of that name or key exists already; remove it or choose another"
        }
        Errno::ENODEV => "was it removed? `ip link` lists what this network namespace has",
        Errno::ENOENT | Errno::ESRCH | Errno::EADDRNOTAVAIL => "it isn't there, or not any more",
        Errno::EBUSY => "something else uses it; find it with `ip -d link` and remove it first",
        Errno::ENETUNREACH | Errno::EHOSTUNREACH => {
            "no route leads to the gateway; is its device up, and is its subnet on the device?"
        }
        Errno::ENETDOWN => "its device is down; set it up first",
        Errno::EROFS => "the file system is read-only; mount it writable for this container",
        Errno::ENOBUFS | Errno::ENOMEM => "the kernel ran out of buffers; try again",
        _ => return String::new(),
    };
    format!("; {text}")
}

/// The kernel module that a device of this description comes from.
fn module(object: &str) -> &'static str {
    ["vxlan", "veth", "bridge", "ipip", "nf_tables"]
        .into_iter()
        .find(|module| object.contains(module))
        .unwrap_or("see `modprobe -l`, `/proc/config.gz`")
}

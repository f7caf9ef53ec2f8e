//! nf_tables by raw netlink: tables written as transactions, read back as values, watched.
//!
//! ```text
//!  kernel::nft::diff ──▶ Vec<Change> ──batch, encode──▶ one transaction ──▶ kernel
//!  kernel::nft::Table ◀──────dump, decode────────────── dumps ◀──────────────┘
//!  Heard::Changed ◀────────monitor──────────────────── multicasts ◀──────────┘
//! ```
//!
//! Owns: the encoding of every `kernel::nft` value and its inverse, transactions, generations.
//! Must not know: which tables are Calico's, or why.
//!
//! A further kind of match, statement or verdict is one arm in `encode` and one in `decode`; the
//! tests compare both with `nft` itself.

mod attribute;
mod batch;
mod decode;
mod dump;
mod encode;
mod handles;
mod interfering;
mod monitor;
mod numbers;
mod socket;

pub use dump::Counter;
pub use interfering::DroppingChain;
pub use monitor::{Heard, NftMonitor};

use crate::netns::NetNs;
use batch::Batch;
use handles::Handles;
use kernel::nft::{ChainKind, Change, Edit, Family, Rule, SetKey};
use nix::errno::Errno;
use socket::{NetlinkSocket, Rejection};
use std::io;
use thiserror::Error as ThisError;

/// Attempts at a transaction that the kernel asks to be sent again.
const ATTEMPTS_MAX: usize = 5;

/// Why nf_tables could not be read or changed.
#[derive(Debug, ThisError)]
pub enum Error {
    /// The socket itself failed.
    #[error(
        "{doing} the nf_tables socket failed: {reason}; it needs CAP_NET_ADMIN in the network \
         namespace and a kernel with CONFIG_NF_TABLES"
    )]
    Socket {
        /// What was being done.
        doing: &'static str,
        /// The system's error; no `source`, which would be told a second time.
        reason: io::Error,
    },
    /// The network namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] crate::Error),
    /// The kernel refused to list something.
    #[error("nf_tables does not list {what}: {errno}; {}", next_step(*errno))]
    Read {
        /// The kind of object.
        what: &'static str,
        /// The kernel's error.
        errno: Errno,
    },
    /// The kernel refused a transaction; nothing of it is in force.
    #[error(
        "nf_tables refused '{operation}': {errno}{}; nothing was changed; {}",
        quoted(words), next_step(*errno)
    )]
    Refused {
        /// The first step refused, as a command of `nft`.
        operation: String,
        /// The kernel's error.
        errno: Errno,
        /// The kernel's own words (extended ack), often empty.
        words: String,
    },
    /// A change has a part that was read from the kernel as foreign.
    #[error("'{operation}' has a part that is not one of ours; make it from a Table that check()s")]
    Foreign {
        /// The step, as a command of `nft`.
        operation: String,
    },
    /// A transaction too large for one piece.
    #[error(
        "a transaction of {bytes} bytes is over the limit of {}; apply it in parts",
        socket::BATCH_BYTES_MAX
    )]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Others kept changing the ruleset while it was read.
    #[error(
        "table {table} could not be read, as others keep changing the ruleset; try again later"
    )]
    Unsettled {
        /// `ip calico`.
        table: String,
    },
    /// A chain does not have the rules that a change of some of them was made for.
    #[error("chain {chain} was changed by somebody else: read its table again and retry")]
    OtherRules {
        /// `ip calico x`.
        chain: String,
    },
    /// A reply lacks what every kernel sends.
    #[error("the kernel's reply about {what} cannot be understood; report its version with this")]
    Malformed {
        /// The kind of object.
        what: &'static str,
    },
}

impl Error {
    /// Whether the ruleset is not what the change was made for: read it again and take a new
    /// difference.
    pub fn is_conflict(&self) -> bool {
        use Errno::{EBUSY, EEXIST, ENOENT, ENOTEMPTY, ERESTART};
        matches!(
            self,
            Error::Refused { errno: ENOENT | EEXIST | EBUSY | ENOTEMPTY | ERESTART, .. }
                | Error::OtherRules { .. }
                | Error::Unsettled { .. }
        )
    }
}

fn quoted(words: &str) -> String {
    if words.is_empty() { String::new() } else { format!(" ({words})") }
}

fn next_step(errno: Errno) -> &'static str {
    match errno {
        Errno::EPERM | Errno::EACCES => "run with CAP_NET_ADMIN; another process may own the table",
        Errno::ENOENT => {
            "the table was changed by somebody else, or the kernel lacks a module (nft_fib_ipv4, \
             nft_masq, nft_chain_nat): read it again and retry"
        }
        Errno::EEXIST | Errno::EBUSY | Errno::ENOTEMPTY | Errno::ERESTART => {
            "the table was changed by somebody else: read it again and retry"
        }
        Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT => {
            "the kernel lacks nf_tables or a part of it: load the module nf_tables"
        }
        Errno::ELOOP | Errno::EMLINK => "chains jump in a circle or more than 16 deep",
        Errno::ENOMEM | Errno::ENOBUFS => "the kernel is short of memory: retry later",
        _ => "compare with what `nft list ruleset` shows",
    }
}

/// A connection to nf_tables in one network namespace, that of the thread that opened it.
pub struct Nft {
    socket: NetlinkSocket,
    /// By which sets are read while rules are read by the other one.
    second: NetlinkSocket,
}

impl Nft {
    /// Opens a connection in the calling thread's network namespace; it stays there.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink.
    pub fn open() -> Result<Nft, Error> {
        Ok(Nft { socket: NetlinkSocket::open()?, second: NetlinkSocket::open()? })
    }

    /// Opens a connection in another network namespace; the calling thread stays where it is.
    ///
    /// # Errors
    /// The namespace cannot be entered, or as for [`Nft::open`].
    pub fn open_in(namespace: &NetNs) -> Result<Nft, Error> {
        namespace.run(Nft::open)?
    }

    /// Makes all `changes` or none, in one transaction. Without changes it does nothing.
    ///
    /// # Errors
    /// [`Error::Refused`] with the first step that the kernel does not take, [`Error::OtherRules`]
    /// if a chain that changes in part has not the rules that the changes were made for.
    pub fn apply(&mut self, changes: &[Change]) -> Result<(), Error> {
        if let Some(change) = changes.iter().find(|change| is_foreign(&change.edit)) {
            return Err(Error::Foreign { operation: change.to_string() });
        }
        if changes.is_empty() {
            return Ok(());
        }
        let count = u32::try_from(batch::messages(changes)).unwrap_or(u32::MAX);
        let mut attempt = 0;
        loop {
            attempt += 1;
            let partial = Handles::are_needed(changes);
            let generation = partial.then(|| self.generation()).transpose()?;
            let handles = Handles::read(&mut self.socket, changes)?;
            let first = self.socket.sequences(count);
            let batch = Batch::new(changes, (&handles, generation), first);
            let rejections = self.socket.transact(batch.bytes())?;
            match rejections.into_iter().next() {
                None => return Ok(()),
                Some(Rejection { errno: Errno::ERESTART | Errno::EINTR, .. })
                    if attempt < ATTEMPTS_MAX => {}
                Some(Rejection { sequence, errno, words }) => {
                    let operation = batch.describe(sequence);
                    let operation = operation.unwrap_or_else(|| "the transaction".to_owned());
                    return Err(Error::Refused { operation, errno, words });
                }
            }
        }
    }

    /// Deletes a table with all that is in it; that there is none is success.
    ///
    /// # Errors
    /// [`Error::Refused`] as for [`Nft::apply`].
    pub fn delete_table(&mut self, family: Family, name: &str) -> Result<(), Error> {
        let edit = |edit| Change { family, table: name.to_owned(), edit };
        // Created first, so that it is there to be deleted.
        self.apply(&[edit(Edit::CreateTable), edit(Edit::DeleteTable)])
    }
}

fn is_foreign(edit: &Edit) -> bool {
    match edit {
        Edit::CreateSet { key, .. } | Edit::CreateMap { key, .. } => *key == SetKey::Foreign,
        Edit::CreateChain { base, .. } => base.is_some_and(|base| base.kind == ChainKind::Foreign),
        Edit::AddRules { rules, .. } | Edit::InsertRules { rules, .. } => {
            rules.iter().any(Rule::is_foreign)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;

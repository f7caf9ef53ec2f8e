//! Why a request is refused: etcd's own reasons, in etcd's own words and codes, so that any client
//! of etcd understands them; and trouble with the database file.

use std::io;
use tonic::{Code, Status};

/// A request that was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: request is too large")]
    TooLarge,
    #[error("etcdserver: invalid sort option")]
    InvalidSort,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: too many leases: {0} are the limit; let some expire or revoke some")]
    TooManyLeases(usize),
    #[error("etcdserver: server stopped")]
    Stopped,
    #[error("{0}")]
    Storage(Trouble),
}

/// The database file could not be read or written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub(crate) struct Trouble {
    /// The file system has no space left.
    pub(crate) full: bool,
    /// What a person reads.
    pub(crate) text: String,
}

impl Trouble {
    /// Tells what `error` on `file` means and what to do about it.
    pub(crate) fn new(error: &redb::Error, file: &str) -> Self {
        let full = matches!(error, redb::Error::Io(io) if is_full(io));
        let text = if full {
            format!(
                "etcdserver: mvcc: database space exceeded: {error} while writing {file}: nothing was \
                 written and reading goes on; free space on that file system, then write again"
            )
        } else {
            format!(
                "etcdserver: datastore file {file} cannot be used: {error}: nothing was written; make \
                 its file system writable and sound, then try again"
            )
        };
        Self { full, text }
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge)
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Self {
        let code = match &refused {
            Refused::Compacted | Refused::FutureRevision | Refused::LeaseTtlTooLarge => {
                Code::OutOfRange
            }
            Refused::EmptyKey
            | Refused::KeyNotFound
            | Refused::ValueProvided
            | Refused::LeaseProvided
            | Refused::DuplicateKey
            | Refused::TooManyOps
            | Refused::TooLarge
            | Refused::InvalidSort => Code::InvalidArgument,
            Refused::LeaseNotFound => Code::NotFound,
            Refused::LeaseExists => Code::FailedPrecondition,
            Refused::TooManyLeases(_) => Code::ResourceExhausted,
            Refused::Stopped => Code::Unavailable,
            Refused::Storage(trouble) if trouble.full => Code::ResourceExhausted,
            Refused::Storage(_) => Code::Unavailable,
        };
        Self::new(code, refused.to_string())
    }
}

/// What storage code fails with: a reason for the client, or redb's error, not yet explained.
#[derive(Debug)]
pub(crate) enum Failure {
    Refused(Refused),
    Redb(redb::Error),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

/// redb has an error type per operation; all of them convert to its general one.
macro_rules! from_redb {
    ($($error:ident),*) => {$(
        impl From<redb::$error> for Failure {
            fn from(error: redb::$error) -> Self {
                Self::Redb(error.into())
            }
        }
    )*};
}
from_redb!(StorageError, TableError, TransactionError, CommitError, CompactionError, DatabaseError);

impl Failure {
    /// For the client, naming the database file.
    pub(crate) fn explain(self, file: &str) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            Self::Redb(error) => Refused::Storage(Trouble::new(&error, file)),
        }
    }
}

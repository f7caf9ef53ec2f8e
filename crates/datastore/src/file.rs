//! The database file: made once, opened ever after, never replaced.

use crate::error::Error;
use crate::limits::CACHE_BYTES;
use crate::log::{CURRENT, FORMAT, LEASE_KEYS, LEASES, LOG, META};
use crate::overlay::Overlay;
use crate::refused::{Failure, Trouble};
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageBackend, StorageError};
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

/// The file's name within the data directory.
const FILE_NAME: &str = "datastore.redb";

/// An open database.
pub(crate) struct Opened {
    pub(crate) database: Database,
    /// Why it can only be read, if so.
    pub(crate) trouble: Option<Trouble>,
}

/// Who the server is, for the headers of its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    pub(crate) cluster_id: u64,
    pub(crate) member_id: u64,
}

/// Opens the database of a data directory, making both where there is none.
pub(crate) fn open(directory: &Path) -> Result<(PathBuf, Opened, Identity), Error> {
    let path = directory.join(FILE_NAME);
    match std::fs::symlink_metadata(&path) {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(directory, &path)?,
        Err(reason) => return Err(Error::Directory { path: directory.into(), reason }),
    }
    let opened = open_existing(&path)?;
    let identity = identity(&opened.database)
        .map_err(|reason| Error::Damaged { path: path.clone(), reason })?;
    Ok((path, opened, identity))
}

/// Makes the database under another name first: a file with the right name is always complete.
fn create(directory: &Path, path: &Path) -> Result<(), Error> {
    let failed = |reason| Error::Directory { path: directory.into(), reason };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(failed)?;
    let unfinished = path.with_extension("new");
    match std::fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let fill = || -> Result<(), Failure> {
        let database = Builder::new().create(&unfinished)?;
        let transaction = database.begin_write()?;
        {
            let mut meta = transaction.open_table(META)?;
            for (name, value) in [
                ("format", FORMAT),
                ("revision", 1),
                ("compact_revision", -1),
                ("cleared_revision", 0),
                ("cluster_id", random()),
                ("member_id", random()),
            ] {
                meta.insert(name, value)?;
            }
            transaction.open_table(LOG)?;
            transaction.open_table(CURRENT)?;
            transaction.open_table(LEASES)?;
            transaction.open_table(LEASE_KEYS)?;
        }
        transaction.commit()?;
        Ok(())
    };
    fill().map_err(|failure| Error::Unusable {
        path: unfinished.clone(),
        reason: failure.explain(&unfinished.display().to_string()).to_string(),
    })?;
    std::fs::rename(&unfinished, path).map_err(failed)?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)
}

/// Opens for writing, or for reading only where the file system allows no more.
pub(crate) fn open_existing(path: &Path) -> Result<Opened, Error> {
    match open_writable(path) {
        Ok(database) => Ok(Opened { database, trouble: None }),
        Err(DatabaseError::Storage(StorageError::Io(error))) if is_write_error(&error) => {
            open_readable(path, &redb::Error::Io(error))
        }
        Err(error) => Err(explain(path, error)),
    }
}

/// Opens for writing. A zero-length file is refused: redb would make a new database of it.
pub(crate) fn open_writable(path: &Path) -> Result<Database, DatabaseError> {
    if std::fs::metadata(path)?.len() == 0 {
        return Err(StorageError::Corrupted("it is empty".into()).into());
    }
    builder().open(path)
}

/// Opens the last durable state for reading, with the reason why no more is possible.
pub(crate) fn open_readable(path: &Path, cause: &redb::Error) -> Result<Opened, Error> {
    let trouble = Some(Trouble::new(cause, &path.display().to_string()));
    let open = || -> Result<Database, DatabaseError> {
        let overlay = Overlay::new(File::open(path)?)?;
        if overlay.len()? == 0 {
            return Err(StorageError::Corrupted("it is empty".into()).into());
        }
        builder().create_with_backend(overlay)
    };
    let database = open().map_err(|error| explain(path, error))?;
    Ok(Opened { database, trouble })
}

/// Every page's checksum is verified first: redb trusts its file otherwise, and may panic on one
/// that something else has altered.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

fn is_write_error(error: &io::Error) -> bool {
    use io::ErrorKind::{PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull};
    matches!(error.kind(), PermissionDenied | QuotaExceeded | ReadOnlyFilesystem | StorageFull)
}

fn explain(path: &Path, error: DatabaseError) -> Error {
    let path = path.to_path_buf();
    match error {
        DatabaseError::DatabaseAlreadyOpen => Error::InUse(path),
        DatabaseError::Storage(StorageError::Io(error))
            if !matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
            ) =>
        {
            Error::Unusable { path, reason: error.to_string() }
        }
        other => Error::Damaged { path, reason: other.to_string() },
    }
}

/// Reads who the server is, checking that the file is one of ours.
fn identity(database: &Database) -> Result<Identity, String> {
    let read = || -> Result<(i64, Identity), Failure> {
        let meta = database.begin_read()?.open_table(META)?;
        let number = |name: &str| -> Result<i64, Failure> {
            Ok(redb::ReadableTable::get(&meta, name)?.map_or(0, |value| value.value()))
        };
        let identity = Identity {
            cluster_id: number("cluster_id")?.cast_unsigned(),
            member_id: number("member_id")?.cast_unsigned(),
        };
        Ok((number("format")?, identity))
    };
    match read() {
        Ok((FORMAT, identity)) => Ok(identity),
        Ok((format, _)) => Err(format!("its format is {format}, this program's is {FORMAT}")),
        Err(Failure::Redb(error)) => Err(error.to_string()),
        Err(Failure::Refused(refused)) => Err(refused.to_string()),
    }
}

/// A positive number nobody else is likely to draw.
pub(crate) fn random() -> i64 {
    (RandomState::new().build_hasher().finish() >> 1).cast_signed().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte altered, of the header or of a page: refused, or no byte that matters. Nothing panics,
    /// which would end the process.
    #[test]
    fn an_altered_byte_is_refused_or_does_no_harm() {
        let directory = tempfile::tempdir().unwrap();
        let (path, opened, _) = open(directory.path()).unwrap();
        let transaction = opened.database.begin_write().unwrap();
        {
            let mut meta = transaction.open_table(META).unwrap();
            let names: Vec<String> = (0..2_000).map(|number| format!("name {number}")).collect();
            names.iter().for_each(|name| drop(meta.insert(name.as_str(), 1).unwrap()));
        }
        transaction.commit().unwrap();
        drop(opened);
        let sound = std::fs::read(&path).unwrap();
        let cause = redb::Error::Io(io::ErrorKind::ReadOnlyFilesystem.into());
        let of_pages = (0..sound.len()).step_by(4096).flat_map(|page| [page, page + 2, page + 100]);
        let mut refused = 0;
        for at in (0..512).chain(of_pages) {
            let mut altered = sound.clone();
            altered[at] = !altered[at];
            for writable in [false, true] {
                std::fs::write(&path, &altered).unwrap();
                let opened =
                    if writable { open_existing(&path) } else { open_readable(&path, &cause) };
                match opened {
                    Ok(opened) => drop(identity(&opened.database).unwrap()),
                    Err(error) => {
                        assert!(matches!(error, Error::Damaged { .. }), "byte {at}: {error}");
                        assert_eq!(std::fs::read(&path).unwrap(), altered, "byte {at}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(refused > 100, "{refused}");
    }
}

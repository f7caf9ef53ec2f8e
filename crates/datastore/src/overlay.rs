//! A database file that is only read: what redb writes to it while opening stays in memory.
//!
//! redb refuses everything after one failed write, and repairs a file it opens after that by
//! writing to it. With the disk full or read-only that cannot be; over an overlay the last durable
//! state can still be read. Pages written are few: no request that writes is let through to an
//! overlay.

use redb::{BackendError, StorageBackend};
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs::{File, TryLockError};
use std::io;
use std::ops::Bound;
use std::os::unix::fs::FileExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

const PAGE_BYTES: u64 = 4096;

/// The file and what stands over it.
#[derive(Debug)]
pub(crate) struct Overlay {
    file: File,
    written: Mutex<Written>,
}

#[derive(Debug)]
struct Written {
    length: u64,
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    /// `file` needs to be open for reading only.
    pub(crate) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self { file, written: Mutex::new(Written { length, pages: BTreeMap::new() }) })
    }

    fn written(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A page as the file has it, zero beyond its end.
    fn page_of_file(&self, page: u64) -> io::Result<Box<[u8]>> {
        let mut bytes = vec![0; PAGE_BYTES as usize].into_boxed_slice();
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], page * PAGE_BYTES + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(bytes)
    }
}

/// The pieces of pages that `length` bytes from `offset` on cover: (page, offset in it, length).
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    let end = offset + length as u64;
    let mut at = offset;
    std::iter::from_fn(move || {
        (at < end).then(|| {
            let (page, within) = (at / PAGE_BYTES, at % PAGE_BYTES);
            let piece = (PAGE_BYTES - within).min(end - at);
            at += piece;
            (page, within as usize, piece as usize)
        })
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.written().length)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let written = self.written();
        if offset + out.len() as u64 > written.length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut done = 0;
        for (page, within, length) in pieces(offset, out.len()) {
            let target = &mut out[done..done + length];
            match written.pages.get(&page) {
                Some(bytes) => target.copy_from_slice(&bytes[within..within + length]),
                None => target.copy_from_slice(&self.page_of_file(page)?[within..within + length]),
            }
            done += length;
        }
        Ok(())
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.written().length = length;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut written = self.written();
        let mut done = 0;
        for (page, within, length) in pieces(offset, data.len()) {
            let bytes = match written.pages.entry(page) {
                Entry::Occupied(entry) => entry.into_mut(),
                Entry::Vacant(entry) => entry.insert(self.page_of_file(page)?),
            };
            bytes[within..within + length].copy_from_slice(&data[done..done + length]);
            done += length;
        }
        Ok(())
    }

    /// Whole file only: redb's own writers hold that lock too, and it needs no writable file.
    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        match (start, end) {
            (Bound::Unbounded | Bound::Included(0), Bound::Unbounded) => {
                match self.file.try_lock() {
                    Ok(()) => Ok(true),
                    Err(TryLockError::WouldBlock) => Ok(false),
                    Err(TryLockError::Error(error)) => Err(BackendError::Io(error)),
                }
            }
            _ => Err(BackendError::Unsupported),
        }
    }

    fn unlock_range(&self, _start: Bound<u64>, _end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock().map_err(BackendError::Io)
    }
}

#[cfg(test)]
mod tests {
    use super::Overlay;
    use proptest::prelude::*;
    use redb::StorageBackend;
    use std::fs::File;

    proptest! {
        /// An overlay reads as if its writes had gone to the file, and the file stays as it was.
        #[test]
        fn writes_are_seen_and_not_made(
            content in prop::collection::vec(any::<u8>(), 0..10_000),
            writes in prop::collection::vec((0u64..20_000, prop::collection::vec(any::<u8>(), 0..9_000)), 0..6),
        ) {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join("file");
            std::fs::write(&path, &content).unwrap();
            let overlay = Overlay::new(File::open(&path).unwrap()).unwrap();
            overlay.set_len(30_000).unwrap();
            let mut model = content.clone();
            model.resize(30_000, 0);
            for (offset, data) in writes {
                overlay.write(offset, &data).unwrap();
                model[offset as usize..offset as usize + data.len()].copy_from_slice(&data);
            }
            let mut seen = vec![0; 30_000];
            overlay.read(0, &mut seen).unwrap();
            prop_assert!(seen == model);
            prop_assert!(overlay.read(29_999, &mut [0; 2]).is_err());
            prop_assert_eq!(std::fs::read(&path).unwrap(), content);
        }
    }
}

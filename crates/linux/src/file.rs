//! Files that programs of one node hand each other: replaced whole, never half-written.

use std::fs::{File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Permissions of what everybody may read.
const READABLE: u32 = 0o644;

/// Writes a file beside `path` and renames it over `path`, so that it is there whole or as it was,
/// after a power cut too; makes the directory where it is missing.
///
/// # Errors
/// The directory or the file cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    replace_with_mode(path, content, READABLE)
}

/// As [`replace`], with permissions, which the file has before it has its content.
///
/// # Errors
/// As [`replace`].
pub fn replace_with_mode(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    replace_by(path, mode, |file| file.write_all(content))
}

/// As [`replace_with_mode`], with the content of another file. A program that runs keeps what it
/// was started from.
///
/// # Errors
/// As [`replace`], or the other file cannot be read.
pub fn replace_by_copy(path: &Path, from: &Path, mode: u32) -> io::Result<()> {
    let mut from = File::open(from)?;
    replace_by(path, mode, |file| io::copy(&mut from, file).map(|_| ()))
}

fn replace_by(
    path: &Path,
    mode: u32,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    // The process's number keeps two writers apart.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let unfinished = path.with_file_name(name);
    let written = (|| {
        let mut file = File::create(&unfinished)?;
        file.set_permissions(Permissions::from_mode(mode))?;
        write(&mut file)?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    })();
    if written.is_err() {
        // A full disk is not helped by half of a file; that it may not exist doesn't matter.
        let _ = std::fs::remove_file(&unfinished);
    }
    written?;
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_else_stays() {
        let name = format!("linux-file-{}", std::process::id());
        let directory = std::env::temp_dir().join(name);
        let path = directory.join("deep/mtu");
        for text in ["1500", "1450"] {
            replace(&path, text.as_bytes()).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
        replace_by_copy(&directory.join("deep/other"), &path, 0o600).unwrap();
        let copy = std::fs::metadata(directory.join("deep/other")).unwrap();
        assert_eq!((copy.len(), copy.permissions().mode() & 0o777), (4, 0o600));
        assert!(replace_by_copy(&path, &directory, 0o600).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1450");
        assert_eq!(std::fs::read_dir(directory.join("deep")).unwrap().count(), 2);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

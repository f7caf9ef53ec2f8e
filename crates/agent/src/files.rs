//! Small files that other programs read: replaced whole, never half-written.

use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside `path` and renames it over `path`; makes the directory where it is missing.
///
/// # Errors
/// The directory or the file cannot be written; `path` is then as it was.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".tmp");
    let temporary = path.with_file_name(name);
    let mut file = std::fs::File::create(&temporary)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&temporary, path)
}

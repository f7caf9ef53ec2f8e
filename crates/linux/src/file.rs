//! Small files that programs of one node hand each other: replaced whole, never half-written.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

/// Writes a file beside `path` and renames it over `path`, so that it is there whole or as it was,
/// after a power cut too; makes the directory where it is missing.
///
/// # Errors
/// The directory or the file cannot be written.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(directory)?;
    // The process's number keeps two writers apart.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let unfinished = path.with_file_name(name);
    let mut file = File::create(&unfinished)?;
    file.write_all(content)?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
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
        assert_eq!(std::fs::read_dir(directory.join("deep")).unwrap().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}

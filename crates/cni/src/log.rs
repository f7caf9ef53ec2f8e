//! The plugin's log: a file that rotates, and standard error, which the runtime keeps.
//!
//! Many short processes write one file, so each line is one appending write, and rotation happens
//! under a lock. Rotated files are named `cni-2026-01-31T12-00-00.000.log`, as Calico's. A log that
//! cannot be written never fails a call.

use crate::configuration::Keys;
use jiff::Timestamp;
use nix::fcntl::{Flock, FlockArg};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

const MEGABYTE: u64 = 1 << 20;
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How bad it is; worse is less.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

/// When a file is rotated, and how long rotated ones stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rotation {
    /// Bytes at which it is rotated.
    pub size_max: u64,
    /// How old a rotated file may get.
    pub age_max: Duration,
    /// How many rotated files may stay.
    pub count_max: usize,
}

/// Where log lines of one call go.
pub(crate) struct Log {
    level: Level,
    file: Option<PathBuf>,
    rotation: Rotation,
    subject: String,
    plugin: &'static str,
}

impl Log {
    /// The log that a configuration asks for; `file` where it names none.
    pub(crate) fn new(keys: &Keys, file: &Path, plugin: &'static str, subject: String) -> Log {
        let level = match keys.log_level.as_deref().map(str::to_ascii_lowercase).as_deref() {
            Some("debug") => Level::Debug,
            Some("warning" | "warn") => Level::Warning,
            Some("error") => Level::Error,
            _ => Level::Info,
        };
        let rotation = Rotation {
            size_max: u64::from(keys.log_file_max_size.filter(|&s| s > 0).unwrap_or(100))
                * MEGABYTE,
            age_max: DAY * keys.log_file_max_age.filter(|&days| days > 0).unwrap_or(30),
            count_max: keys.log_file_max_count.filter(|&c| c > 0).unwrap_or(10) as usize,
        };
        let named = keys.log_file_path.clone().filter(|path| !path.as_os_str().is_empty());
        let file = Some(named.unwrap_or_else(|| file.to_owned()));
        Log { level, file, rotation, subject, plugin }
    }

    /// What hinders, or surprises.
    pub(crate) fn warning(&self, text: &str) {
        self.line(Level::Warning, text);
    }

    /// What an operator wants to know.
    pub(crate) fn info(&self, text: &str) {
        self.line(Level::Info, text);
    }

    /// Why a call failed.
    pub(crate) fn error(&self, text: &str) {
        self.line(Level::Error, text);
    }

    /// What a developer wants to know.
    pub(crate) fn debug(&self, text: &str) {
        self.line(Level::Debug, text);
    }

    fn line(&self, level: Level, text: &str) {
        if level > self.level {
            return;
        }
        let name = match level {
            Level::Error => "ERROR",
            Level::Warning => "WARNING",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
        };
        let line = format!(
            "{} [{name}][{}] {}: {} {}\n",
            Timestamp::now().strftime("%Y-%m-%d %H:%M:%S.%3f"),
            std::process::id(),
            self.plugin,
            text.replace('\n', " "),
            self.subject
        );
        // Nothing can be told about a log that cannot be written.
        let _ = std::io::stderr().write_all(line.as_bytes());
        if let Some(file) = &self.file {
            let _ = append(file, &line, self.rotation);
        }
    }
}

/// Appends one line, rotating first where the file is full.
pub(crate) fn append(path: &Path, line: &str, rotation: Rotation) -> std::io::Result<()> {
    let open = || OpenOptions::new().create(true).append(true).open(path);
    let mut file = match open() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/")))?;
            open()?
        }
        opened => opened?,
    };
    let length = file.metadata()?.len();
    if length > 0 && length + line.len() as u64 > rotation.size_max {
        file = rotate(path, file, rotation)?;
    }
    file.write_all(line.as_bytes())
}

/// Renames a full file and drops old ones; another process may just have done so.
fn rotate(path: &Path, full: File, rotation: Rotation) -> std::io::Result<File> {
    let lock = Flock::lock(full, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    let is_current = std::fs::metadata(path).is_ok_and(|now| {
        use std::os::unix::fs::MetadataExt;
        lock.metadata().is_ok_and(|ours| ours.ino() == now.ino())
    });
    if is_current {
        let stamp = Timestamp::now().strftime("%Y-%m-%dT%H-%M-%S.%3f").to_string();
        std::fs::rename(path, path.with_file_name(rotated_name(path, &stamp)))?;
        prune(path, rotation);
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn rotated_name(path: &Path, stamp: &str) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    format!("{stem}-{stamp}.{extension}")
}

/// Drops rotated files that are too old or too many.
fn prune(path: &Path, rotation: Rotation) {
    let (Some(directory), Some(stem)) = (path.parent(), path.file_stem()) else { return };
    let start = format!("{}-2", stem.to_string_lossy());
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    let mut rotated: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|file| file.file_name().is_some_and(|n| n.to_string_lossy().starts_with(&start)))
        .filter(|file| file.extension() == path.extension())
        .collect();
    // Their names sort by time; newest first.
    rotated.sort_by(|a, b| b.cmp(a));
    for (place, file) in rotated.iter().enumerate() {
        let modified = file.metadata().and_then(|data| data.modified());
        let age = modified.map(|at| SystemTime::now().duration_since(at).unwrap_or_default());
        if place >= rotation.count_max || age.is_ok_and(|age| age > rotation.age_max) {
            // Another process may have dropped it.
            let _ = std::fs::remove_file(file);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_is_rotated_and_old_ones_go() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("deep/cni.log");
        let rotation = Rotation { size_max: 10, age_max: DAY, count_max: 2 };
        let rotated = || -> Vec<PathBuf> {
            let entries = std::fs::read_dir(directory.path().join("deep")).expect("the directory");
            let paths = entries.map(|entry| entry.expect("an entry").path());
            paths.filter(|file| *file != path).collect()
        };
        for line in ["1234567\n", "one\n", "two\n", "1234567\n", "1234567\n"] {
            append(&path, line, rotation).expect("a line");
            // Names have milliseconds.
            let before = Timestamp::now().as_millisecond();
            while Timestamp::now().as_millisecond() == before {
                std::hint::spin_loop();
            }
        }
        assert_eq!(std::fs::read_to_string(&path).expect("the log"), "1234567\n");
        assert_eq!(rotated().len(), 2);
        let name = rotated()[0].file_name().expect("a name").to_string_lossy().into_owned();
        assert!(name.starts_with("cni-2") && name.ends_with(".log"), "{name}");

        let old = Rotation { age_max: Duration::ZERO, ..rotation };
        append(&path, "1234567\n", old).expect("a line");
        assert_eq!(rotated(), [] as [PathBuf; 0]);
    }
}

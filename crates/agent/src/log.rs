//! The agent's log: the screen, and a file unless CALICO_DISABLE_FILE_LOGGING says no.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;

/// Where the log file stands.
pub(crate) const FILE: &str = "/var/log/calico/calico-node/current";
/// Bytes of a log file before it is put aside.
const FILE_BYTES_MAX: u64 = 10 * 1024 * 1024;
/// Log files put aside that are kept.
const FILES_MAX: u32 = 5;

/// Starts logging at a level (`debug`, `info`, `warning`, `error`, `fatal`, `none`, in any case).
/// A file that cannot be opened is said on the screen and otherwise does without.
pub(crate) fn start(level: &str, file: Option<&Path>) {
    let level = match level.to_ascii_lowercase().as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warning" | "warn" => LevelFilter::WARN,
        "error" | "fatal" | "panic" => LevelFilter::ERROR,
        "none" => LevelFilter::OFF,
        _ => LevelFilter::INFO,
    };
    let opened = file.map(RotatingFile::open);
    let problem = opened.as_ref().and_then(|r| r.as_ref().err().map(ToString::to_string));
    let writer = Log { file: opened.and_then(Result::ok).map(|f| Arc::new(Mutex::new(f))) };
    // Libraries log their own business at warn and above only.
    let libraries = ["tonic", "h2", "hyper", "tower", "hickory_resolver", "hickory_proto"];
    let filter = Targets::new()
        .with_default(level)
        .with_targets(libraries.map(|library| (library, LevelFilter::WARN)));
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(LevelFilter::TRACE)
        .with_ansi(false)
        .with_target(false)
        .with_writer(writer)
        .finish()
        .with(filter);
    // Tests in one process may have started logging already; theirs is as good.
    let _already_started = tracing::subscriber::set_global_default(subscriber);
    if let (Some(file), Some(problem)) = (file, problem) {
        tracing::warn!("no log file at {}: {problem}", file.display());
    }
    log_panics();
}

/// Logs a panic, which ends the process, before standard error gets it, too.
fn log_panics() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("calico-node ends by a fault of its own, please report it: {panic}");
        usual(panic);
    }));
}

#[derive(Clone)]
struct Log {
    file: Option<Arc<Mutex<RotatingFile>>>,
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = Log;

    fn make_writer(&'a self) -> Log {
        self.clone()
    }
}

impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if let Some(file) = &self.file {
            // A full disk must not stop the agent: the screen has the line.
            let _best_effort = file.lock().unwrap_or_else(PoisonError::into_inner).write(line);
        }
        io::stdout().write_all(line)?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
}

impl RotatingFile {
    fn open(path: &Path) -> io::Result<RotatingFile> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory)?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        let bytes = file.metadata()?.len();
        Ok(RotatingFile { path: path.to_owned(), file, bytes })
    }

    fn write(&mut self, line: &[u8]) -> io::Result<()> {
        if self.bytes + line.len() as u64 > FILE_BYTES_MAX {
            self.rotate()?;
        }
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        Ok(())
    }

    /// `current` becomes `current.1`, which becomes `current.2` and so on.
    fn rotate(&mut self) -> io::Result<()> {
        let aside = |n: u32| PathBuf::from(format!("{}.{n}", self.path.display()));
        for n in (1..FILES_MAX).rev() {
            if aside(n).exists() {
                std::fs::rename(aside(n), aside(n + 1))?;
            }
        }
        std::fs::rename(&self.path, aside(1))?;
        *self = RotatingFile::open(&self.path)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_file_is_put_aside_and_few_are_kept() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log/current");
        let mut log = RotatingFile::open(&path).expect("a log file");
        let line = vec![b'x'; 1024 * 1024];
        for _ in 0..10 * (FILES_MAX + 2) {
            log.write(&line).expect("written");
        }
        let kept = std::fs::read_dir(directory.path().join("log")).expect("a listing").count();
        assert_eq!(kept, FILES_MAX as usize + 1);
        assert!(path.metadata().expect("current").len() <= FILE_BYTES_MAX);
    }

    #[test]
    fn a_panic_is_logged() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("log");
        let file = Mutex::new(File::create(&path).expect("a file"));
        let subscriber = tracing_subscriber::fmt().with_writer(file).finish();
        tracing::subscriber::with_default(subscriber, || {
            log_panics();
            std::panic::catch_unwind(|| panic!("the cause")).expect_err("it panics");
        });
        let log = std::fs::read_to_string(&path).expect("text");
        assert!(log.contains("ERROR") && log.contains("the cause"), "{log}");
    }
}

//! The machine that measured, as a report describes it.

use anyhow::{Context, Result};
use serde::Serialize;
use std::fs;

/// The machine that measured.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Machine {
    /// Its processor, in its maker's words.
    pub processor: String,
    /// Processors that programs may use.
    pub processors: usize,
    /// Memory, in MiB.
    pub memory_mebibytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// When, as a date in UTC.
    pub date: String,
    /// Version and commit of this program.
    pub version: String,
    /// `release` or `debug`.
    pub build: &'static str,
}

impl Machine {
    /// This machine, now.
    ///
    /// # Errors
    /// `/proc` isn't mounted.
    pub fn describe() -> Result<Machine> {
        let read = |path: &str| fs::read_to_string(path).with_context(|| format!("reading {path}"));
        let processors = std::thread::available_parallelism().context("counting processors")?;
        let commit = option_env!("CALICO_GIT_COMMIT").unwrap_or("unknown");
        Ok(Machine {
            processor: field(&read("/proc/cpuinfo")?, "model name").unwrap_or("unknown").into(),
            processors: processors.get(),
            memory_mebibytes: kibibytes(&read("/proc/meminfo")?, "MemTotal").unwrap_or(0) / 1024,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().into(),
            date: jiff::Timestamp::now().strftime("%Y-%m-%d").to_string(),
            version: format!("{} ({commit})", model::VERSION),
            build: if cfg!(debug_assertions) { "debug" } else { "release" },
        })
    }
}

/// The value of a `NAME : value` line.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        (found.trim() == name).then_some(value.trim())
    })
}

/// The value of a `Name:  123 kB` line, as `/proc` has them; its kB are KiB.
pub(crate) fn kibibytes(text: &str, name: &str) -> Option<u64> {
    field(text, name)?.strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{field, kibibytes};

    #[test]
    fn proc_lines_are_read() {
        let status = "Name:\tcalico-node\nVmHWM:\t   10240 kB\nVmRSS:\t    9216 kB\n";
        assert_eq!(kibibytes(status, "VmRSS"), Some(9216));
        assert_eq!(kibibytes(status, "RssAnon"), None);
        assert_eq!(
            field("model name\t: Some CPU @ 2.5 GHz\n", "model name"),
            Some("Some CPU @ 2.5 GHz")
        );
    }
}

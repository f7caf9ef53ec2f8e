//! The node's agent as the kernel sees it: memory and processor time.

use super::plugin::Kind;
use super::pods::Pods;
use crate::machine::kibibytes;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// Processor time is counted in this many steps per second on every Linux machine (USER_HZ).
const STEPS_PER_SECOND: f64 = 100.0;
/// How long the agent is left alone before its memory is read.
pub(super) const SETTLE: Duration = Duration::from_secs(2);

/// Its program's name.
const PROGRAM: &str = "calico-node";

/// A running calico-node, or another program.
pub(crate) struct Agent {
    directory: PathBuf,
}

/// The agent's memory, in MiB.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Memory {
    /// All that is resident, the program's own pages included (VmRSS).
    pub(crate) resident: f64,
    /// The part that belongs to no file (RssAnon).
    pub(crate) anonymous: f64,
    /// The most that was ever resident (VmHWM).
    pub(crate) peak: f64,
}

/// The agent's memory before, with and after the pods.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Memories {
    pub(crate) idle: Memory,
    pub(crate) loaded: Memory,
    pub(crate) after: Memory,
}

impl Agent {
    /// The one of this PID namespace.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn find() -> Result<Agent> {
        Agent::named(PROGRAM)
    }

    /// The one program of this name that runs without an argument in this PID namespace.
    ///
    /// # Errors
    /// None runs.
    pub(crate) fn named(program: &str) -> Result<Agent> {
        let entries = fs::read_dir("/proc").context("reading /proc")?;
        let mut directories = entries.filter_map(|entry| Some(entry.ok()?.path()));
        // With an argument it would be a probe.
        let agent = directories.find(|directory| {
            fs::read(directory.join("cmdline")).is_ok_and(|line| is_of(&line, program))
        });
        let directory = agent
            .with_context(|| format!("no {program} runs on this node; see `calico lab status`"))?;
        Ok(Agent { directory })
    }

    /// Processor time since its start, in user and kernel mode.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn cpu_ms(&self) -> Result<f64> {
        let stat = self.read("stat")?;
        let steps = cpu_steps(&stat).with_context(|| format!("not understood: {stat}"))?;
        Ok(f64::from(steps) * 1000.0 / STEPS_PER_SECOND)
    }

    /// Its memory now.
    ///
    /// # Errors
    /// It has ended.
    pub(crate) fn memory(&self) -> Result<Memory> {
        let status = self.read("status")?;
        memory(&status).with_context(|| format!("not understood: {status}"))
    }

    fn read(&self, file: &str) -> Result<String> {
        let path = self.directory.join(file);
        fs::read_to_string(&path).with_context(|| format!("reading {}", path.display()))
    }
}

fn is_of(command_line: &[u8], program: &str) -> bool {
    let path = command_line.strip_suffix(b"\0").unwrap_or(command_line);
    path.rsplit(|byte| *byte == b'/').next() == Some(program.as_bytes())
}

/// Fields 14 and 15 of `/proc/PID/stat` (proc(5)); the command name before them may hold anything.
fn cpu_steps(stat: &str) -> Option<u32> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    let mut next = || fields.next()?.parse::<u32>().ok();
    Some(next()? + next()?)
}

fn memory(status: &str) -> Option<Memory> {
    let mebibytes = |name| {
        let kibibytes = u32::try_from(kibibytes(status, name)?).ok()?;
        Some(f64::from(kibibytes) / 1024.0)
    };
    Some(Memory {
        resident: mebibytes("VmRSS")?,
        anonymous: mebibytes("RssAnon")?,
        peak: mebibytes("VmHWM")?,
    })
}

/// The agent's memory before, with and after `count` pods.
///
/// # Errors
/// No agent runs, or a pod cannot be connected.
pub(crate) fn measure_memory(count: u32) -> Result<Memories> {
    let agent = Agent::find()?;
    let settled = || {
        std::thread::sleep(SETTLE);
        agent.memory()
    };
    let idle = settled()?;
    let pods = Pods::prepare(Kind::Calico, count, |_| BTreeMap::new())?;
    pods.add()?;
    let loaded = settled()?;
    pods.delete()?;
    Ok(Memories { idle, loaded, after: settled()? })
}

#[cfg(test)]
mod tests {
    use super::{Agent, Memory, PROGRAM, cpu_steps, is_of, memory};
    use std::path::PathBuf;

    #[test]
    fn a_probe_is_not_the_agent() {
        let lines: [(&[u8], bool); 4] = [
            (b"calico-node\0", true),
            (b"/usr/bin/calico-node\0", true),
            (b"calico-node\0-felix-ready\0", false),
            (b"", false),
        ];
        for (line, agent) in lines {
            assert_eq!(is_of(line, PROGRAM), agent, "{}", String::from_utf8_lossy(line));
        }
    }

    #[test]
    fn a_name_with_spaces_and_parentheses_misleads_nobody() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0";
        assert_eq!(cpu_steps(stat), Some(42));
        assert_eq!(cpu_steps("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_of_three_kinds() {
        let status = "VmHWM:\t 3072 kB\nVmRSS:\t 2048 kB\nRssAnon:\t 1024 kB\n";
        assert_eq!(memory(status), Some(Memory { resident: 2.0, anonymous: 1.0, peak: 3.0 }));
    }

    #[test]
    fn this_process_can_be_read() {
        let own = Agent { directory: PathBuf::from("/proc/self") };
        let memory = own.memory().unwrap();
        assert!(memory.anonymous > 0.0 && memory.resident > memory.anonymous, "{memory:?}");
        assert!(own.cpu_ms().unwrap() >= 0.0);
    }
}

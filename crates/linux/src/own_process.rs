//! What this process uses, as its metrics show it.

use crate::Error;
use std::fs::{read_dir, read_to_string};

/// What this process uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct OwnProcess {
    /// Seconds of processor time, in user and kernel mode.
    pub cpu_seconds: f64,
    /// Bytes in memory.
    pub resident_bytes: u64,
    /// Bytes of address space.
    pub virtual_bytes: u64,
    /// Open files, sockets and the like.
    pub open_files: u64,
    /// How many may be open at once.
    pub open_files_max: u64,
    /// When it started, in seconds since the Unix epoch.
    pub started: f64,
}

/// Reads `/proc/self`.
///
/// # Errors
/// `/proc` isn't mounted, or is of a kernel that writes it otherwise.
pub fn read() -> Result<OwnProcess, Error> {
    let text = |path: &'static str| {
        read_to_string(path).map_err(|reason| Error::system("reading", path, reason))
    };
    let statistics = text("/proc/self/stat")?;
    let limits = text("/proc/self/limits")?;
    let machine = text("/proc/stat")?;
    let files = read_dir("/proc/self/fd")
        .map_err(|reason| Error::system("reading", "/proc/self/fd", reason))?;
    parse(&statistics, &limits, &machine)
        .map(|process| OwnProcess { open_files: files.count() as u64, ..process })
        .ok_or_else(|| Error::Answer {
            operation: "reading",
            object: "/proc/self".to_owned(),
            reason: "it lacks what proc(5) says it has".to_owned(),
        })
}

/// By proc(5): fields 14, 15, 22, 23 and 24 of `stat`, counted behind the program's name.
fn parse(statistics: &str, limits: &str, machine: &str) -> Option<OwnProcess> {
    use nix::unistd::{SysconfVar, sysconf};
    let of_system = |name| sysconf(name).ok().flatten().and_then(|n| u32::try_from(n).ok());
    let ticks = f64::from(of_system(SysconfVar::CLK_TCK)?);
    let page_bytes = u64::from(of_system(SysconfVar::PAGE_SIZE)?);
    let (_, fields) = statistics.rsplit_once(") ")?;
    let fields: Vec<&str> = fields.split_whitespace().collect();
    // The first of these is field 3.
    let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
    let seconds = |field: usize| Some(number(field)? as f64 / ticks);
    let after = |text: &str, heading: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(heading))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    Some(OwnProcess {
        cpu_seconds: seconds(14)? + seconds(15)?,
        resident_bytes: number(24)? * page_bytes,
        virtual_bytes: number(23)?,
        open_files: 0,
        // "unlimited" is a limit too.
        open_files_max: after(limits, "Max open files").unwrap_or(u64::MAX),
        started: after(machine, "btime ")? as f64 + seconds(22)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_as_it_was_made() {
        let before = read().expect("/proc");
        let kept: Vec<u8> = (0..64 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
        let file = std::fs::File::open("/proc/self/stat").expect("a file");
        let after = read().expect("/proc");
        assert!(after.resident_bytes >= before.resident_bytes + kept.len() as u64 / 2, "{after:?}");
        assert!(after.virtual_bytes >= after.resident_bytes, "{after:?}");
        assert!(after.cpu_seconds > before.cpu_seconds, "{after:?}");
        assert_eq!(after.started, before.started);
        assert!(after.open_files >= 4 && after.open_files <= after.open_files_max, "{after:?}");
        let now = std::time::SystemTime::UNIX_EPOCH.elapsed().expect("after 1970").as_secs_f64();
        assert!(after.started <= now + 1.0 && after.started > now - 86_400.0, "{after:?}");
        drop((file, kept));
    }

    #[test]
    fn what_is_not_proc_is_refused() {
        for statistics in ["", "1 (a) b) S 1", "1 (a) S 1 2 x"] {
            assert_eq!(parse(statistics, "", "btime 1\n"), None, "{statistics}");
        }
    }
}

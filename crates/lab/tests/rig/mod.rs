//! Runs `examples/calico-lab` as a user would, and looks at what it leaves on the machine.

#![expect(clippy::unwrap_used, reason = "only tests use this; a panic is a failed test")]

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Debian's reference plugins: a point-to-point network per pod, addresses from the node's disk.
const CNI: &str = r#"{
  "cniVersion": "0.4.0", "name": "test",
  "plugins": [
    {"type": "ptp", "ipam": {
      "type": "host-local", "subnet": "192.168.7.0/24", "routes": [{"dst": "0.0.0.0/0"}]}},
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}"#;

/// A lab for one test; ended with it.
pub(crate) struct Rig {
    name: String,
    files: tempfile::TempDir,
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) code: Option<i32>,
    pub(crate) output: String,
    pub(crate) errors: String,
}

impl From<Output> for Outcome {
    fn from(output: Output) -> Outcome {
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        Outcome {
            code: output.status.code(),
            output: text(output.stdout),
            errors: text(output.stderr),
        }
    }
}

impl Rig {
    /// A name for a lab that isn't there.
    pub(crate) fn new(name: &str) -> Rig {
        assert!(nix::unistd::geteuid().is_root(), "these tests make namespaces: run them as root");
        let rig = Rig { name: name.into(), files: tempfile::tempdir().unwrap() };
        rig.run(&["down"]);
        rig
    }

    /// A lab that is up.
    pub(crate) fn up(name: &str) -> Rig {
        let rig = Rig::new(name);
        rig.run_up();
        rig
    }

    pub(crate) fn run_up(&self) {
        let outcome = Outcome::from(self.up_command().output().unwrap());
        assert_eq!(outcome.code, Some(0), "{}\n{}", outcome.errors, self.log());
    }

    pub(crate) fn up_command(&self) -> Command {
        let mut command = self.command(&["up", "--topology"]);
        command.arg(self.topology_with(""));
        command
    }

    /// The default topology with the reference plugins, and more.
    pub(crate) fn topology_with(&self, more: &str) -> PathBuf {
        let cni = CNI.lines().map(|line| format!("  {line}\n")).collect::<String>();
        let path = self.files.path().join("topology.yaml");
        fs::write(&path, format!("cniConfig: |\n{cni}{more}")).unwrap();
        path
    }

    /// A file of this test, on the machine.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.args(words).env("CALICO_LAB", &self.name).stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, words: &[&str]) -> Outcome {
        let outcome = Outcome::from(self.command(words).output().unwrap());
        assert_eq!(outcome.code, Some(0), "{words:?}: {}\n{}", outcome.errors, self.log());
        outcome
    }

    pub(crate) fn exec(&self, place: &str, words: &[&str], input: &str) -> Outcome {
        let mut command = self.command(&["exec", place, "--"]);
        command.args(words).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that doesn't read may be gone already.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap().into()
    }

    /// Standard output of a command that must succeed.
    pub(crate) fn output(&self, place: &str, words: &[&str]) -> String {
        let outcome = self.exec(place, words, "");
        assert_eq!(outcome.code, Some(0), "{place}: {words:?}: {outcome:?}");
        outcome.output
    }

    /// What a shell command writes to a terminal of its own (made by script(1)).
    pub(crate) fn in_terminal(&self, place: &str, command: &str) -> String {
        let binary = binary();
        let typed = format!("{} exec {place} -- sh -c '{command}'", binary.display());
        let mut script = Command::new("script");
        script.args(["-qec", &typed, "/dev/null"]).env("CALICO_LAB", &self.name);
        Outcome::from(script.stdin(Stdio::null()).output().unwrap()).output
    }

    /// Runs a command as nobody.
    pub(crate) fn unprivileged(&self, words: &[&str]) -> Output {
        let copy = self.files.path().join("calico");
        fs::copy(binary(), &copy).unwrap();
        let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        fs::set_permissions(self.files.path(), everyone).unwrap();
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy).args(words);
        command.env("CALICO_LAB", &self.name).output().unwrap()
    }

    pub(crate) fn status(&self) -> serde_json::Value {
        let output = self.command(&["status", "-o", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub(crate) fn directory(&self) -> PathBuf {
        Path::new("/run/calico-lab").join(&self.name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory().join("lab.log")).unwrap_or_default()
    }

    pub(crate) fn first_process(&self) -> u32 {
        let text = fs::read_to_string(self.directory().join("pid")).unwrap();
        text.split(' ').next().unwrap().parse().unwrap()
    }

    /// All processes of the lab, by the machine's numbers; none if it isn't up.
    pub(crate) fn processes(&self) -> Vec<Process> {
        let everything = all_processes();
        let Ok(text) = fs::read_to_string(self.directory().join("pid")) else {
            return Vec::new();
        };
        let mut found = BTreeSet::from([text.split(' ').next().unwrap().parse().unwrap()]);
        loop {
            let children = everything.iter().filter(|process| found.contains(&process.parent));
            let more: Vec<u32> =
                children.map(|process| process.pid).filter(|pid| !found.contains(pid)).collect();
            if more.is_empty() {
                break;
            }
            found.extend(more);
        }
        everything.into_iter().filter(|process| found.contains(&process.pid)).collect()
    }

    /// The first process of a node.
    pub(crate) fn process_of(&self, node: &str) -> u32 {
        let processes = self.processes();
        let named =
            |process: &&Process| process.arguments.contains(&format!("{node}/machine.json"));
        processes.iter().find(named).unwrap_or_else(|| panic!("no {node} in {processes:?}")).pid
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let ended = self.command(&["down"]).output();
        if !std::thread::panicking() {
            assert!(ended.unwrap().status.success());
        }
    }
}

/// A process of the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: u32,
    pub(crate) name: String,
    pub(crate) arguments: String,
    start_time: String,
}

fn all_processes() -> Vec<Process> {
    let pids = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter_map(read_process).collect()
}

fn read_process(pid: u32) -> Option<Process> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = after.split(' ').collect();
    if fields[0] == "Z" {
        return None;
    }
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    Some(Process {
        pid,
        parent: fields[1].parse().ok()?,
        name: before.split_once('(')?.1.to_owned(),
        arguments: String::from_utf8_lossy(&arguments).replace('\0', " "),
        start_time: fields[19].to_owned(),
    })
}

/// Those of the processes that still exist.
pub(crate) fn alive(processes: &[Process]) -> Vec<Process> {
    let same = |process: &&Process| {
        read_process(process.pid).is_some_and(|now| now.start_time == process.start_time)
    };
    processes.iter().filter(same).cloned().collect()
}

/// The machine's own network and mounts, as far as a lab could have changed them.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    files: BTreeMap<&'static str, String>,
    interfaces: BTreeSet<String>,
    forwarding: String,
}

impl Machine {
    pub(crate) fn read() -> Machine {
        let files = ["/proc/self/mountinfo", "/proc/net/route", "/proc/net/ipv6_route"];
        let read = |path: &'static str| {
            let text = fs::read_to_string(path).unwrap();
            // The last columns of the IPv6 routes count uses.
            let stable = |line: &str| line.get(..117.min(line.len())).map(str::to_owned);
            let lines: Vec<String> = match path {
                "/proc/net/ipv6_route" => text.lines().filter_map(stable).collect(),
                _ => text.lines().map(str::to_owned).collect(),
            };
            (path, lines.join("\n"))
        };
        let interfaces = fs::read_dir("/sys/class/net").unwrap().flatten();
        Machine {
            files: files.map(read).into(),
            interfaces: interfaces.map(|entry| entry.file_name().into_string().unwrap()).collect(),
            forwarding: fs::read_to_string("/proc/sys/net/ipv4/ip_forward").unwrap(),
        }
    }
}

fn binary() -> PathBuf {
    // target/TRIPLE/debug/deps/lab-HASH → target/TRIPLE/debug/examples/calico-lab
    let test = std::env::current_exe().unwrap();
    let path = test.ancestors().nth(2).unwrap().join("examples/calico-lab");
    assert!(path.exists(), "{} is missing: `cargo test -p lab` builds it", path.display());
    path
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    nix::sys::signal::kill(Pid::from_raw(pid.cast_signed()), signal).unwrap();
}

pub(crate) fn kill(pid: u32) {
    signal(pid, Signal::SIGKILL);
}

/// Waits for a line with `wanted` in it on standard output.
pub(crate) fn read_line(child: &mut Child, wanted: &str) {
    wait_for_line(BufReader::new(child.stdout.as_mut().unwrap()), wanted);
}

/// Waits for a line with `wanted` in it on standard error.
pub(crate) fn read_error_line(child: &mut Child, wanted: &str) {
    wait_for_line(BufReader::new(child.stderr.as_mut().unwrap()), wanted);
}

fn wait_for_line(reader: impl BufRead, wanted: &str) {
    for line in reader.lines() {
        if line.unwrap().contains(wanted) {
            return;
        }
    }
    panic!("ended without {wanted:?}");
}

/// Waits for a condition.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < deadline, "{what}: not within {LIMIT:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

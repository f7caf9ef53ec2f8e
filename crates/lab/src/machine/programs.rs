//! Programs on a machine: run to their end, or kept running.

use super::PATH;
use crate::protocol::{Finished, Program, ProgramStatus};
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where supervised programs' output goes.
const LOGS: &str = "/var/log/calico";
/// First wait before a program that ended is started again; doubles up to the longest.
const BACK_OFF_FIRST: Duration = Duration::from_millis(100);
const BACK_OFF_LONGEST: Duration = Duration::from_secs(5);
/// A program that ran for this long starts over with the first wait.
const STEADY_AFTER: Duration = Duration::from_secs(10);
/// How long a program may take to end once it is asked to.
const END_WAIT: Duration = Duration::from_secs(10);
/// Bytes of a log that [`log_tail`] looks at.
const LOG_TAIL_BYTES: u64 = 4 << 10;
/// Lines that it returns.
const LOG_TAIL_LINES: usize = 8;

/// The programs kept running on a machine.
#[derive(Default)]
pub(super) struct Programs {
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    /// Those to be kept running, each once.
    programs: Vec<Entry>,
    /// Numbers entries, so that a stopped one's thread doesn't take a later one for its own.
    next: u64,
}

struct Entry {
    number: u64,
    status: ProgramStatus,
    /// Its process, while there is one.
    pid: Option<Pid>,
}

impl Programs {
    /// Keeps a program running until it is stopped. Asked twice, does it once.
    pub(super) fn supervise(&self, name: String, program: Program) {
        let mut entries = lock(&self.entries);
        if entries.programs.iter().any(|entry| entry.status.name == name) {
            return;
        }
        let number = entries.next;
        entries.next += 1;
        let status = ProgramStatus { name: name.clone(), running: false, restarts: 0 };
        entries.programs.push(Entry { number, status, pid: None });
        drop(entries);
        let supervised = Supervised { name, number, program, entries: Arc::clone(&self.entries) };
        std::thread::spawn(move || supervised.keep_running());
    }

    /// Keeps a program running no longer; returns once it has ended.
    ///
    /// # Errors
    /// There is no such program, or it doesn't end.
    pub(super) fn stop(&self, name: &str) -> Result<()> {
        let mut entries = lock(&self.entries);
        let place = entries.programs.iter().position(|entry| entry.status.name == name);
        let entry = entries.programs.remove(place.with_context(|| format!("{name} doesn't run"))?);
        drop(entries);
        let Some(pid) = entry.pid else { return Ok(()) };
        let deadline = Instant::now() + END_WAIT;
        // Asked once; ESRCH when its thread has taken its exit status.
        let _ = kill(pid, Signal::SIGTERM);
        while kill(pid, None).is_ok() {
            if Instant::now() > deadline {
                let _ = kill(pid, Signal::SIGKILL);
                bail!("{name} had to be killed: it did not end within {END_WAIT:?}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// How each of them is.
    pub(super) fn statuses(&self) -> Vec<ProgramStatus> {
        lock(&self.entries).programs.iter().map(|entry| entry.status.clone()).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Every change is a single assignment, so a panic elsewhere leaves nothing half done.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One program that is kept running.
struct Supervised {
    name: String,
    number: u64,
    program: Program,
    entries: Arc<Mutex<Entries>>,
}

impl Supervised {
    fn keep_running(&self) {
        let name = &self.name;
        let mut back_off = BACK_OFF_FIRST;
        loop {
            let started = Instant::now();
            let Some(child) = self.start_unless_stopped() else { return };
            match child {
                Ok(mut child) => {
                    let line = match child.wait() {
                        Ok(status) => format!("{name} ended: {status}"),
                        Err(error) => format!("waiting for {name}: {error}"),
                    };
                    log_line(name, &line);
                }
                Err(error) => log_line(name, &format!("{error:#}")),
            }
            self.update(|entry| {
                entry.pid = None;
                entry.status.running = false;
                entry.status.restarts += 1;
            });
            if started.elapsed() >= STEADY_AFTER {
                back_off = BACK_OFF_FIRST;
            }
            std::thread::sleep(back_off);
            back_off = (back_off * 2).min(BACK_OFF_LONGEST);
        }
    }

    /// `None` once it is stopped; under the lock, so that whoever stops it knows its process.
    fn start_unless_stopped(&self) -> Option<Result<Child>> {
        let mut entries = lock(&self.entries);
        let mut programs = entries.programs.iter_mut();
        let entry = programs.find(|entry| entry.number == self.number)?;
        let child = self.start();
        if let Ok(child) = &child {
            entry.pid = Some(Pid::from_raw(child.id().cast_signed()));
            entry.status.running = true;
        }
        Some(child)
    }

    fn start(&self) -> Result<Child> {
        let log = open_log(&self.name)?;
        let errors = log.try_clone().context("duplicating the log's descriptor")?;
        let mut command = command(&self.program)?;
        command.stdin(Stdio::null()).stdout(log).stderr(errors);
        command.spawn().with_context(|| format!("starting {:?}", self.program.command.join(" ")))
    }

    fn update(&self, change: impl Fn(&mut Entry)) {
        let mut entries = lock(&self.entries);
        entries.programs.iter_mut().filter(|entry| entry.number == self.number).for_each(change);
    }
}

fn command(program: &Program) -> Result<Command> {
    let (name, arguments) = program.command.split_first().context("an empty command")?;
    let mut command = Command::new(name);
    command.args(arguments).env_clear().env("PATH", PATH).env("HOME", "/root");
    command.envs(&program.environment);
    Ok(command)
}

fn log_path(name: &str) -> PathBuf {
    Path::new(LOGS).join(format!("{name}.log"))
}

fn open_log(name: &str) -> Result<File> {
    let path = log_path(name);
    let file = OpenOptions::new().create(true).append(true).open(&path);
    file.with_context(|| format!("opening {}", path.display()))
}

/// Adds a line of the lab's own to a program's log.
fn log_line(name: &str, line: &str) {
    let written = open_log(name).and_then(|mut log| Ok(writeln!(log, "lab: {line}")?));
    if let Err(error) = written {
        eprintln!("{line} ({error:#})");
    }
}

/// Runs a program to its end with `input` as standard input.
///
/// # Errors
/// It cannot be started. A program that fails is an answer.
pub(super) fn run(program: &Program, input: &str) -> Result<Finished> {
    let mut command = command(program)?;
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child =
        command.spawn().with_context(|| format!("starting {:?}", program.command.join(" ")))?;
    let mut stdin = child.stdin.take().context("no pipe to the program")?;
    let output = std::thread::scope(|scope| {
        // A program that ends without reading its input closes the pipe: its business.
        scope.spawn(move || stdin.write_all(input.as_bytes()).is_ok());
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("waiting for {:?}", program.command.join(" ")))?;
    Ok(Finished {
        success: output.status.success(),
        output: String::from_utf8_lossy(&output.stdout).into_owned(),
        errors: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// The last lines of a supervised program's log.
///
/// # Errors
/// There is no such log.
pub(super) fn log_tail(name: &str) -> Result<String> {
    let path = log_path(name);
    let reading = || format!("reading {}", path.display());
    let mut file = File::open(&path).with_context(reading)?;
    let length = fs::metadata(&path).with_context(reading)?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL_BYTES))).with_context(reading)?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).with_context(reading)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    Ok(lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].join("\n"))
}

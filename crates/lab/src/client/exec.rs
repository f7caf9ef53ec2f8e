//! Commands run on a node or in a pod, as if typed there: terminal, standard input and output, and
//! exit status are the command's own.

use super::{ask, find};
use crate::directory::LabDirectory;
use crate::machine::PATH;
use crate::namespaces::nested_process;
use crate::protocol::{LabRequest, Location};
use crate::topology::CONTROL_PLANE;
use anyhow::{Context, Result};
use linux::process::{Namespace, Spawn, spawn};
use nix::errno::Errno;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::SignalFd;
use nix::unistd::{Pid, getpgrp, tcsetpgrp};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

/// Variables of the user's that describe the terminal.
const PASSED_VARIABLES: [&str; 5] = ["TERM", "COLORTERM", "LANG", "LC_ALL", "LC_CTYPE"];
/// Signals passed on to the command.
const PASSED_SIGNALS: [Signal; 4] =
    [Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGHUP];

/// Runs a command in a node, pod, the router or the outside host and returns its exit status: its
/// own, 128 + number of the signal that ended it, 127 if there is no such command.
///
/// # Errors
/// The lab or the place isn't there.
pub(crate) fn exec(lab: &str, place: &str, command: &[OsString]) -> Result<ExitCode> {
    exec_to(lab, place, command, Stdio::inherit())
}

fn exec_to(lab: &str, place: &str, command: &[OsString], output: Stdio) -> Result<ExitCode> {
    let (program, arguments) = command.split_first().context("no command")?;
    let first = find(&LabDirectory::of(lab)?)?;
    let location: Location = ask(lab, &LabRequest::Locate { name: place.into() })?;
    let mut inside = Command::new(program);
    inside.args(arguments).env_clear().env("PATH", PATH).env("HOME", "/root");
    inside.envs(&location.environment).stdout(output);
    for name in PASSED_VARIABLES {
        inside.envs(std::env::var_os(name).map(|value| (name, value)));
    }
    let enter = Namespace::all_of(&nested_process(first.pid, &location.pids))?;
    run_inside(place, inside, enter)
}

/// Runs the lab's kubectl as the cluster's administrator, with the user's own files and environment
/// and, to reach the API server, the control plane's network. Returns its exit status.
///
/// # Errors
/// The lab isn't there, or has no control plane.
pub(crate) fn kubectl(lab: &str, arguments: &[OsString]) -> Result<ExitCode> {
    let directory = LabDirectory::of(lab)?;
    let first = find(&directory)?;
    let kubernetes = super::topology(&directory)?.kubernetes.with_context(|| {
        format!("lab {lab} is no Kubernetes cluster; start one with `calico lab up --kubernetes`")
    })?;
    let location: Location = ask(lab, &LabRequest::Locate { name: CONTROL_PLANE.into() })?;
    let network = Namespace::network_of(&nested_process(first.pid, &location.pids))?;
    let mut command = Command::new(kubernetes.programs.join("kubectl"));
    command.args(arguments).env("KUBECONFIG", directory.kubeconfig());
    command.env("KUBECACHEDIR", directory.kubectl_cache());
    run_inside(CONTROL_PLANE, command, vec![network])
}

/// Runs a command in namespaces until it ends, passing on signals.
fn run_inside(place: &str, command: Command, enter: Vec<Namespace>) -> Result<ExitCode> {
    let program = command.get_program().to_owned();
    let mut signals = SigSet::from_iter(PASSED_SIGNALS);
    signals.add(Signal::SIGCHLD);
    signals.add(Signal::SIGTTOU);
    // Blocked before the start, so that none is lost; the command starts with none blocked.
    signals.thread_block().context("blocking signals")?;
    let started = spawn(Spawn { enter, kill_on_parent_death: true, ..Spawn::new(command) });
    let mut child = match started {
        Ok(child) => child,
        Err(error) => return not_started(place, &program, error),
    };
    signals.remove(Signal::SIGTTOU);
    let status = wait(&mut child, &signals)?;
    give_terminal_back();
    signals.add(Signal::SIGTTOU);
    signals.thread_unblock().context("unblocking signals")?;
    Ok(exit_code(status))
}

/// The shell's exit statuses for a command that could not be started.
fn not_started(place: &str, program: &OsStr, error: linux::Error) -> Result<ExitCode> {
    let (code, reason) = match error.errno() {
        Some(Errno::ENOENT) => (127, "command not found"),
        Some(Errno::EACCES) => (126, "not executable"),
        _ => return Err(error.into()),
    };
    eprintln!("{place}: {}: {reason}", program.display());
    Ok(ExitCode::from(code))
}

fn wait(child: &mut Child, signals: &SigSet) -> Result<ExitStatus> {
    let arrived = SignalFd::new(signals).context("reading signals")?;
    let pid = Pid::from_raw(child.id().cast_signed());
    loop {
        if let Some(status) = child.try_wait().context("waiting for the command")? {
            return Ok(status);
        }
        let Some(signal) = arrived.read_signal().context("reading a signal")? else { continue };
        // The terminal's keys reach the command without our help (si_code SI_KERNEL).
        let from_terminal = signal.ssi_code > 0;
        let signal = Signal::try_from(signal.ssi_signo.cast_signed()).ok();
        if let Some(signal) = signal.filter(|signal| *signal != Signal::SIGCHLD && !from_terminal) {
            // ESRCH: it has just ended.
            let _ = kill(pid, signal);
        }
    }
}

/// A shell makes itself the terminal's foreground job and cannot name us, in a PID namespace it
/// doesn't see, when it ends.
fn give_terminal_back() {
    let stdin = std::io::stdin();
    if stdin.is_terminal() {
        // Not our terminal: then it wasn't taken either.
        let _ = tcsetpgrp(&stdin, getpgrp());
    }
}

fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}

/// Captures packets with tcpdump: text on a terminal, else packets; `-w FILE` writes to the user's
/// own file, not to one in the lab.
///
/// # Errors
/// As [`exec`], or the file cannot be made.
pub(crate) fn capture(
    lab: &str,
    place: &str,
    interface: &str,
    arguments: &[OsString],
) -> Result<ExitCode> {
    let mut command: Vec<OsString> = ["tcpdump", "-i", interface].map(OsString::from).to_vec();
    let mut output = Stdio::inherit();
    let mut binary = !std::io::stdout().is_terminal();
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        let Some(attached) = word.to_str().and_then(|word| word.strip_prefix("-w")) else {
            command.push(word.clone());
            continue;
        };
        let mut next = || words.next().cloned().context("-w needs the name of a file");
        let file = if attached.is_empty() { next()? } else { attached.into() };
        binary = true;
        if file != "-" {
            let made = File::create(&file).with_context(|| format!("making {}", file.display()));
            output = made?.into();
        }
    }
    let format: &[&str] = if binary { &["-U", "-w", "-"] } else { &["-n", "-l"] };
    command.splice(3..3, format.iter().map(OsString::from));
    exec_to(lab, place, &command, output)
}

/// The shell for `shell`: bash where there is one.
pub(crate) fn shell_command() -> Vec<OsString> {
    ["/bin/sh", "-c", "command -v bash >/dev/null && exec bash -i; exec sh -i"]
        .map(OsString::from)
        .to_vec()
}

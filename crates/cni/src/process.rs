//! The plugins as processes: environment and standard input in, standard output and exit status
//! out.

use crate::addresses::{self, calico_ipam};
use crate::call::Input;
use crate::places::Places;
use crate::plugin::{Outcome, calico};
use crate::upgrade;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::ExitCode;

/// Bytes of a network configuration at most; one with a long `prevResult` has some thousands.
const INPUT_BYTES_MAX: u64 = 16 << 20;

/// The plugin `calico`: `-v` prints the version, `-t` tries the datastore, else `CNI_COMMAND` is
/// done.
pub fn run_plugin() -> ExitCode {
    run(calico)
}

/// The IPAM plugin `calico-ipam`, with the same options; `-upgrade` moves the node's addresses from
/// `host-local` to it.
pub fn run_ipam() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("-upgrade" | "--upgrade") => upgrade::run(),
        _ => run(calico_ipam),
    }
}

fn run(plugin: fn(&Input, &Places) -> Outcome) -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("-v" | "--version") => {
            return finish(&Outcome { stdout: model::VERSION.to_owned(), success: true });
        }
        Some("-t") => return test_connection(),
        _ => {}
    }
    let input = match read() {
        Ok(input) => input,
        Err(error) => {
            eprintln!("reading the network configuration from standard input: {error}");
            return ExitCode::FAILURE;
        }
    };
    finish(&plugin(&input, &Places::default()))
}

/// The process's environment; bytes that are no UTF-8 are replaced.
pub(crate) fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .map(|(k, v)| (k.to_string_lossy().into_owned(), v.to_string_lossy().into_owned()))
        .collect()
}

fn read() -> std::io::Result<Input> {
    let environment = environment();
    let mut stdin = vec![];
    // VERSION may come without; a terminal would never end.
    let stream = std::io::stdin();
    if !std::io::IsTerminal::is_terminal(&stream) {
        stream.lock().take(INPUT_BYTES_MAX).read_to_end(&mut stdin)?;
    }
    Ok(Input { environment, stdin })
}

fn test_connection() -> ExitCode {
    match read()
        .map_err(|error| error.to_string())
        .and_then(|input| addresses::test_connection(&input).map_err(|error| error.to_string()))
    {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn finish(outcome: &Outcome) -> ExitCode {
    let mut stdout = std::io::stdout().lock();
    let end = if outcome.stdout.is_empty() { "" } else { "\n" };
    let written = write!(stdout, "{}{end}", outcome.stdout).and_then(|()| stdout.flush());
    if outcome.success && written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

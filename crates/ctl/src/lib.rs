//! calicoctl: Calico's command line, for people first.
//!
//! ```text
//!  arguments ──▶ commands ──▶ documents (YAML, JSON) ──▶ resources (typed, checked) ──▶ (store)
//!                  │   └─▶ (ipam)                    └─▶ teardown: what goes with a pool or node
//!                  └─▶ output (tables, yaml, json, name, custom-columns) ──▶ terminal
//! ```
//!
//! Owns: arguments, files of documents, what each command prints. Columns and messages are those of
//! Calico's calicoctl (`calico-features.md` §9). All documents of a file are checked, by themselves
//! and against what is stored, before the first is written.
//!
//! Must not know: the kernel. What a node says of itself comes from its agent's socket.

mod agent;
mod cli;
mod cluster;
mod commands;
mod documents;
mod error;
mod grid;
mod ipam_config;
mod ipam_objects;
mod output;
mod policies;
mod pools;
mod resources;
mod tables;
mod teardown;
mod terminal;
mod yaml;

use clap::Parser;
use cli::Cli;
use error::Error;
use std::ffi::OsString;
use std::process::ExitCode;
use terminal::Terminal;

/// Runs calicoctl with the arguments after its name; prints, and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("calicoctl");
    let cli = match Cli::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let (mut input, mut output) = (std::io::stdin(), std::io::stdout());
    let mut terminal = Terminal { input: &mut input, output: &mut output };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli, variables(), &mut terminal)),
        Err(error) => Err(Error::Other(format!("cannot start: {error}"))),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// The environment, as far as it is text.
fn variables() -> Vec<(String, String)> {
    let text = |(name, value): (OsString, OsString)| {
        Some((name.into_string().ok()?, value.into_string().ok()?))
    };
    std::env::vars_os().filter_map(text).collect()
}

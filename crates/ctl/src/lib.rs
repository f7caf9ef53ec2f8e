//! calicoctl: Calico's command line, for people first.
//!
//! ```text
//!  arguments ──▶ commands ──▶ documents (YAML, JSON) ──▶ resources (typed, checked) ──▶ (store)
//!                         └─▶ output (tables, yaml, json, name, custom-columns)
//! ```
//!
//! Owns: arguments, files of documents, what each command prints. Columns and messages are those of
//! Calico's calicoctl (`calico-features.md` §9).
//!
//! Must not know: the kernel. What a node says of itself comes from its agent's socket.

mod agent;
mod cli;
mod commands;
mod documents;
mod error;
mod ipam_objects;
mod output;
mod resources;
mod tables;

pub use cli::Cli;
pub use error::Error;

use clap::Parser;
use std::ffi::OsString;
use std::process::ExitCode;

/// Runs calicoctl with the arguments after its name; prints, and says how it went.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("calicoctl");
    let cli = match Cli::try_parse_from(std::iter::once(name).chain(arguments)) {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(commands::run(cli)),
        Err(error) => Err(Error::Other(format!("cannot start: {error}"))),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

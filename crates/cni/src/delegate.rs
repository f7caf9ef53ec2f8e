//! Another IPAM plugin, run as the specification's section 4 says.

use crate::answer::Answer;
use crate::call::{Call, Command};
use crate::configuration::Configuration;
use crate::error::{Code, Error};
use std::io::Write;
use std::path::PathBuf;
use std::process::Stdio;

/// Runs the IPAM plugin for a command; ADD gives its result.
///
/// # Errors
/// Code 7 where there is no such plugin, else what the plugin said.
pub(crate) fn run(
    plugin: &str,
    command: Command,
    call: &Call,
    configuration: &Configuration,
) -> Result<Answer, Error> {
    let program = find(plugin, &call.path)?;
    let whose = format!("IPAM plugin {plugin}, {}", command.as_str());
    let failed = |what: &str, error: std::io::Error| {
        Error::new(Code::Io, format!("{whose}: {what} {}: {error}", program.display()))
    };
    let mut child = std::process::Command::new(&program)
        .env_clear()
        .envs(&call.environment)
        .env("CNI_COMMAND", command.as_str())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed("starting", error))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A plugin that fails early doesn't read it; its answer tells more than the broken pipe.
        let _ = stdin.write_all(&configuration.text);
    }
    let output = child.wait_with_output().map_err(|error| failed("waiting for", error))?;
    if !output.status.success() {
        let said = Error::from_json(&output.stdout).unwrap_or_else(|| {
            let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
            let text = String::from_utf8_lossy(text);
            Error::new(Code::Addresses, format!("{}: {}", output.status, text.trim()))
        });
        return Err(said.during(&whose));
    }
    match command {
        Command::Add => Answer::parse(&output.stdout, &format!("the result of {whose},")),
        _ => Ok(Answer::default()),
    }
}

/// The plugin's program, from the directories of `CNI_PATH`.
fn find(plugin: &str, path: &str) -> Result<PathBuf, Error> {
    let wrong = |problem: &str| {
        Err(Error::new(Code::Configuration, format!("ipam.type {plugin:?} {problem}")))
    };
    if plugin.contains('/') || plugin == "." || plugin == ".." {
        return wrong("is a path: give the plugin's name alone");
    }
    let directories = path.split(':').filter(|directory| !directory.is_empty());
    let found = directories.map(|directory| PathBuf::from(directory).join(plugin));
    match found.into_iter().find(|program| program.is_file()) {
        Some(program) => Ok(program),
        None => wrong(&format!(
            "is in none of the directories of CNI_PATH ({path}): install it there, usually below \
             /opt/cni/bin, or set ipam.type to \"calico-ipam\""
        )),
    }
}

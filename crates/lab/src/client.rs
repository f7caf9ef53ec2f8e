//! The user's side: `up` and `down`, and requests to a running lab.

pub(crate) mod exec;

use crate::cgroups;
use crate::directory::{FirstProcess, LabDirectory};
use crate::namespaces::{own_program, spawn_as_machine};
use crate::preflight;
use crate::protocol::{LabRequest, call};
use crate::status::{LabState, LabStatus};
use crate::supervisor::STARTED;
use crate::topology::Topology;
use anyhow::{Context, Result, bail};
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, ErrorKind};
use std::process::Stdio;
use std::time::Instant;

/// Starts a lab, or joins the wait for one that is being started.
///
/// # Errors
/// The machine lacks something (nothing was changed), or the lab doesn't become ready (it is left
/// as it is, to be looked at).
pub(crate) fn up(name: &str, topology: &Topology) -> Result<()> {
    let started = Instant::now();
    let directory = LabDirectory::of(name)?;
    preflight::check_root("calico lab up")?;
    let fresh = directory.first_process().is_none();
    if fresh {
        preflight::check(topology)?;
    }
    let lock = directory.create_locked()?;
    let fresh = directory.first_process().is_none();
    if fresh {
        start(&directory, topology, &lock)?;
    }
    drop(lock);
    let waited = call::<()>(&directory.control_socket(), &LabRequest::AwaitReady, |line| {
        if fresh {
            eprintln!("{line}");
        }
    });
    waited.with_context(|| {
        format!(
            "lab {name} is up but not ready; look with `calico lab status` and {}, \
             remove it with `calico lab down`",
            directory.log().display()
        )
    })?;
    let took = started.elapsed().as_secs_f64();
    if fresh {
        println!("lab {name} is up ({took:.1} s)");
    } else {
        println!("lab {name} is already up");
    }
    Ok(())
}

/// Starts the lab's first process, which finds the lock on its standard input: should this process
/// be killed now, the lock stays held until the lab can be found.
fn start(directory: &LabDirectory, topology: &Topology, lock: &File) -> Result<()> {
    cgroups::remove_all(directory.name())?;
    for leftover in ["pid", "control.sock", "lab.log", "kubeconfig"] {
        match fs::remove_file(directory.path().join(leftover)) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing an old {leftover}"));
            }
            _ => {}
        }
    }
    let text = serde_json::to_string_pretty(topology).context("encoding the topology")?;
    fs::write(directory.topology(), text).context("writing the topology")?;
    let log = File::create(directory.log()).context("making lab.log")?;
    let mut command = own_program("lab-init");
    command.arg(directory.name()).env_clear().env("PATH", crate::machine::PATH);
    command.stdin(lock.try_clone().context("sharing the lock")?).stdout(Stdio::piped()).stderr(log);
    let mut process = spawn_as_machine(command)?;
    let stdout = process.stdout.take().context("no pipe from the lab")?;
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).context("reading from the lab")?;
    if line.trim() != STARTED {
        let log = fs::read_to_string(directory.log()).unwrap_or_default();
        bail!("the lab's first process ended at its start: {}", log.trim());
    }
    Ok(())
}

/// Ends a lab and removes all of it; a lab that isn't there is no error.
///
/// # Errors
/// A process that the kernel doesn't end, or a file that cannot be removed.
pub(crate) fn down(name: &str) -> Result<()> {
    let directory = LabDirectory::of(name)?;
    preflight::check_root("calico lab down")?;
    let Some(_lock) = directory.lock()? else {
        println!("lab {name} is not up");
        return Ok(());
    };
    if let Some(first) = directory.first_process() {
        first.end()?;
    }
    cgroups::remove_all(name)?;
    directory.remove()?;
    println!("lab {name} is down");
    Ok(())
}

/// Every lab: its name, state, number of nodes and of pods, faults.
///
/// # Errors
/// The directory of labs cannot be read.
pub(crate) fn list() -> Result<String> {
    let rows = LabDirectory::all()?.into_iter().map(|directory| {
        let name = directory.name().to_owned();
        match ask::<LabStatus>(&name, &LabRequest::Status) {
            Ok(status) => {
                let counts = [status.nodes.len(), status.pods.len()].map(|n| n.to_string());
                let [nodes, pods] = counts;
                vec![name, status.state.as_str().to_owned(), nodes, pods, status.faults.join(",")]
            }
            Err(_) => vec![name, "dead (`calico lab down` removes it)".to_owned()],
        }
    });
    Ok(crate::status::table(&["LAB", "STATE", "NODES", "PODS", "FAULTS"], rows))
}

/// Asks a lab for something.
///
/// # Errors
/// It isn't up, or what it says.
pub(crate) fn ask<T: DeserializeOwned>(name: &str, request: &LabRequest) -> Result<T> {
    let directory = LabDirectory::of(name)?;
    find(&directory)?;
    call(&directory.control_socket(), request, |_| {})
}

/// What a lab was asked to be when it was started.
///
/// # Errors
/// The file cannot be read.
pub(crate) fn topology(directory: &LabDirectory) -> Result<Topology> {
    let text = fs::read_to_string(directory.topology()).context("reading the lab's topology")?;
    serde_json::from_str(&text).context("parsing the lab's topology")
}

/// Whether `up` of the lab is through.
///
/// # Errors
/// It isn't up.
pub(crate) fn is_ready(status: &LabStatus) -> bool {
    status.state == LabState::Ready && status.nodes.iter().all(|node| node.ready)
}

/// The first process of a lab that is up.
fn find(directory: &LabDirectory) -> Result<FirstProcess> {
    let name = directory.name();
    preflight::check_root("calico lab")?;
    match directory.first_process() {
        Some(first) => Ok(first),
        None if directory.exists() => {
            bail!("lab {name} has died; `calico lab down` removes what is left of it")
        }
        None => bail!("lab {name} is not up; start it with `calico lab up`"),
    }
}

//! The lab's machines as processes: started, asked, powered off.

use crate::machine::{ContainerHost, MachineSpec};
use crate::namespaces::{own_program, spawn_as_machine};
use crate::protocol::{Finished, NodeRequest, Program, call};
use anyhow::{Context, Result, bail};
use linux::netns::NetNs;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// This program's file in the lab's memory file system; no machine has this name.
pub(super) const BINARY: &str = ".calico";

/// Every machine that is on.
pub(super) struct Machines {
    /// The lab's memory file system; a directory and a socket per machine.
    directory: PathBuf,
    running: Mutex<BTreeMap<String, Child>>,
}

/// What a machine has that others have not.
#[derive(Default)]
pub(super) struct Equipment {
    /// Files written at each boot, by path.
    pub(super) files: BTreeMap<PathBuf, String>,
    /// Whether it answers HTTP on port 80.
    pub(super) web: bool,
    /// Set on a machine of a Kubernetes cluster.
    pub(super) container_host: Option<ContainerHost>,
}

impl Machines {
    pub(super) fn new(directory: PathBuf) -> Machines {
        Machines { directory, running: Mutex::default() }
    }

    /// Switches a machine on; its network namespace is there, empty, when this returns.
    ///
    /// # Errors
    /// It is on already, or its first process cannot be started.
    pub(super) fn boot(&self, name: &str, equipment: Equipment) -> Result<()> {
        if self.is_running(name) {
            bail!("{name} is already running");
        }
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory)
            .with_context(|| format!("making {}", directory.display()))?;
        let spec = MachineSpec {
            name: name.into(),
            directory: directory.clone(),
            binary: self.directory.join(BINARY),
            files: equipment.files,
            web: equipment.web,
            container_host: equipment.container_host,
        };
        let file = directory.join("machine.json");
        let text = serde_json::to_string(&spec).context("encoding a machine's description")?;
        fs::write(&file, text).with_context(|| format!("writing {}", file.display()))?;
        let listener = self.listen(name)?;
        let mut command = own_program("lab-node-init");
        command.arg(&file).stdin(Stdio::from(OwnedFd::from(listener))).stdout(Stdio::null());
        let process = spawn_as_machine(command).with_context(|| format!("booting {name}"))?;
        self.lock().insert(name.into(), process);
        Ok(())
    }

    /// A file of the lab's own, beside the machines' directories.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    fn listen(&self, name: &str) -> Result<UnixListener> {
        let socket = self.socket(name);
        match fs::remove_file(&socket) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", socket.display()));
            }
            _ => {}
        }
        UnixListener::bind(&socket).with_context(|| format!("listening on {}", socket.display()))
    }

    fn socket(&self, name: &str) -> PathBuf {
        self.directory.join(format!("{name}.sock"))
    }

    /// Pulls the plug: all the machine's processes end at once, its files stay.
    ///
    /// # Errors
    /// The machine isn't on.
    pub(super) fn power_off(&self, name: &str) -> Result<()> {
        let process = self.lock().remove(name);
        let mut process = process.with_context(|| format!("{name} is not running"))?;
        // Failure means that it has just ended by itself.
        let _ = process.kill();
        process.wait().with_context(|| format!("waiting for {name} to end"))?;
        Ok(())
    }

    /// Forgets a machine that is off, with its files.
    ///
    /// # Errors
    /// Its files cannot be removed.
    pub(super) fn forget(&self, name: &str) -> Result<()> {
        let directory = self.directory.join(name);
        match fs::remove_dir_all(&directory) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(error).with_context(|| format!("removing {}", directory.display()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a machine is on.
    pub(super) fn is_running(&self, name: &str) -> bool {
        let mut running = self.lock();
        running.get_mut(name).is_some_and(|process| matches!(process.try_wait(), Ok(None)))
    }

    /// The id of a machine's first process.
    ///
    /// # Errors
    /// There is no such machine, or it is off.
    pub(super) fn pid(&self, name: &str) -> Result<u32> {
        if !self.is_running(name) {
            bail!("no machine {name:?} is running");
        }
        self.lock().get(name).map(Child::id).with_context(|| format!("{name} has just ended"))
    }

    /// A machine's network namespace.
    ///
    /// # Errors
    /// There is no such machine, or it is off.
    pub(super) fn network(&self, name: &str) -> Result<NetNs> {
        NetNs::open(format!("/proc/{}/ns/net", self.pid(name)?))
            .with_context(|| format!("{name} ended at its start; see lab.log"))
    }

    /// Asks a machine for something.
    ///
    /// # Errors
    /// It is off, or what it says.
    pub(super) fn ask<T: DeserializeOwned>(&self, name: &str, request: &NodeRequest) -> Result<T> {
        self.pid(name)?;
        call(&self.socket(name), request, |_| {}).with_context(|| name.to_owned())
    }

    /// Runs a program on a machine to its successful end; its standard output.
    ///
    /// # Errors
    /// It cannot be started, or failed: what it wrote to standard error, or else to output.
    pub(super) fn run(&self, name: &str, program: Program, input: String) -> Result<String> {
        let command = program.command.join(" ");
        let finished: Finished = self.ask(name, &NodeRequest::Run { program, input })?;
        if finished.success {
            return Ok(finished.output);
        }
        let said = [&finished.errors, &finished.output].map(|text| text.trim().to_owned());
        let said = said.into_iter().find(|text| !text.is_empty()).unwrap_or("no message".into());
        bail!("{name}: `{command}` failed: {said}")
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

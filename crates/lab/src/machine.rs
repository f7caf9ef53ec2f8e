//! Inside a machine of the lab (node, router, outside host): its first process, and the process
//! that does what the lab asks of it.
//!
//! ```text
//! lab-node-init NAME   process 1: root file system, then only reaps orphans
//!   └ lab-node         serves requests: programs, supervised programs, pods
//!       ├ calico-node, datastore …      restarted when they end
//!       └ lab-pod-init POD              a sandbox per pod, in namespaces of its own
//! ```

mod cni;
mod container_host;
mod pods;
mod programs;
mod root;
mod sandbox;

pub(crate) use container_host::ContainerHost;
pub(crate) use root::{REFERENCE_PLUGINS, bind, make_private, mount_new};
pub(crate) use sandbox::pod_init;

use crate::http;
use crate::namespaces::own_program;
use crate::protocol::{NodeReport, NodeRequest, Reporter, answer, serve};
use anyhow::{Context, Result};
use nix::sys::prctl::set_name;
use nix::sys::wait::waitpid;
use nix::unistd::Pid;
use pods::Pods;
use programs::Programs;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// What makes one machine different from another.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct MachineSpec {
    /// Its name and host name.
    pub(crate) name: String,
    /// Where it keeps its files, in the lab's memory file system.
    pub(crate) directory: PathBuf,
    /// This program, as a file.
    pub(crate) binary: PathBuf,
    /// Files written at each boot, by path.
    pub(crate) files: BTreeMap<PathBuf, String>,
    /// Whether it answers HTTP on port 80.
    pub(crate) web: bool,
    /// What a machine of a Kubernetes cluster has besides.
    pub(crate) container_host: Option<ContainerHost>,
}

/// Where a machine finds its own description.
const SPEC: &str = "/run/lab/machine.json";
/// Where programs are looked for.
pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// `lab-node-init SPEC-FILE`: process 1 of a machine. Standard input is the listening socket that
/// requests come by.
///
/// # Errors
/// The root file system cannot be made; the machine then ends.
pub(crate) fn node_init(spec: &Path) -> Result<()> {
    set_name(c"lab-node-init").context("naming the process")?;
    let text = fs::read_to_string(spec).with_context(|| format!("reading {}", spec.display()))?;
    let spec: MachineSpec = serde_json::from_str(&text).context("the machine's description")?;
    root::enter(&spec).with_context(|| format!("machine {}: its root file system", spec.name))?;
    nix::unistd::sethostname(&spec.name).context("setting the host name")?;
    crate::fabric::set_loopback_up()?;
    fs::write(SPEC, text).with_context(|| format!("writing {SPEC}"))?;
    let server = own_program("lab-node").spawn().context("starting lab-node")?;
    let server = Pid::from_raw(server.id().cast_signed());
    // Every orphan of the machine becomes this process's child.
    while waitpid(None, None).context("waiting for children")?.pid() != Some(server) {}
    Ok(())
}

/// `lab-node`: serves the lab's requests inside a machine.
///
/// # Errors
/// The socket fails; the machine then ends.
pub(crate) fn node() -> Result<()> {
    set_name(c"lab-node").context("naming the process")?;
    let text = fs::read_to_string(SPEC).with_context(|| format!("reading {SPEC}"))?;
    let spec: MachineSpec = serde_json::from_str(&text).context("the machine's description")?;
    let listener = std::io::stdin().as_fd().try_clone_to_owned().context("the request socket")?;
    // What it starts must not inherit the socket.
    nix::unistd::dup2_stdin(fs::File::open("/dev/null").context("opening /dev/null")?)
        .context("closing standard input")?;
    if spec.web {
        let web = http::listen(http::PORT).context("port 80")?;
        let name = spec.name.clone();
        std::thread::spawn(move || http::serve(&web, &name));
    }
    let (programs, pods) = (Programs::default(), Pods::new(&spec.name));
    serve(&UnixListener::from(listener), move |request, _: &Reporter<'_>| match request {
        NodeRequest::Run { program, input } => answer(programs::run(&program, &input)?),
        NodeRequest::Supervise { name, program } => {
            programs.supervise(name, program);
            answer(())
        }
        NodeRequest::Stop { name } => answer(programs.stop(&name)?),
        NodeRequest::Hosts { text } => answer(root::write_file(Path::new("/etc/hosts"), &text)?),
        NodeRequest::PodAdd { pod } => answer(pods.add(pod)?),
        NodeRequest::PodRemove { name } => answer(pods.remove(&name)?),
        NodeRequest::Report => {
            answer(NodeReport { pods: pods.statuses(), programs: programs.statuses() })
        }
        NodeRequest::LogTail { name } => answer(programs::log_tail(&name)?),
    })
}

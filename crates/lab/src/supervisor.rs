//! The lab's first process: holds the fabric, boots the machines, answers the user's requests.
//!
//! It is process 1 of the lab's PID namespace and lives in the fabric's network namespace. When it
//! ends, however it ends, the kernel ends every other process of the lab, and with the last process
//! of a network namespace its devices go: nothing needs cleaning up but the lab's directory.

mod calico;
mod faults;
mod kubernetes;
mod machines;
mod namespaces;
mod nodes;
mod pods;
mod progress;
mod readiness;

use crate::certificates::Authority;
use crate::directory::LabDirectory;
use crate::fabric::Fabric;
use crate::faults::Fault;
use crate::machine::{bind, make_private, mount_new};
use crate::protocol::{LabRequest, Location, Reporter, answer, serve};
use crate::status::{LabState, LabStatus};
use crate::topology::Topology;
use anyhow::{Context, Result, anyhow, bail};
use machines::Machines;
use nix::sys::prctl::set_name;
use progress::Progress;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What the first process says on standard output once it can be found and asked.
pub(crate) const STARTED: &str = "started";

/// A lab, from the inside.
struct Lab {
    name: String,
    fabric: Fabric,
    machines: Machines,
    authority: Authority,
    /// What there should be; changed by requests.
    topology: Mutex<Topology>,
    /// What is wrong with the fabric.
    faults: Mutex<BTreeSet<Fault>>,
    /// Nodes whose calico-node the user has stopped.
    stopped_agents: Mutex<BTreeSet<String>>,
    progress: Progress,
    /// Held by whoever changes what there is, one after the other.
    changing: Mutex<()>,
}

/// `lab-init NAME`: process 1 of a lab. Standard input is the lock on the lab's directory.
///
/// # Errors
/// The lab cannot be started; a lab that can, but doesn't become ready, says so when asked.
pub(crate) fn lab_init(name: &str) -> Result<()> {
    set_name(c"lab-init").context("naming the process")?;
    nix::unistd::setsid().context("leaving the terminal's session")?;
    let directory = LabDirectory::of(name)?;
    directory.record_first_process()?;
    let socket = directory.control_socket();
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("listening on {}", socket.display()))?;
    let null = || File::open("/dev/null").context("opening /dev/null");
    // From here on `down` finds the process without the lock.
    nix::unistd::dup2_stdin(null()?).context("closing standard input")?;
    println!("{STARTED}");
    std::io::stdout().flush().context("reporting to `calico lab up`")?;
    nix::unistd::dup2_stdout(null()?).context("closing standard output")?;

    let text = fs::read_to_string(directory.topology()).context("reading the topology")?;
    let mut topology: Topology = serde_json::from_str(&text).context("parsing the topology")?;
    topology.complete_namespaces();
    enter_own_filesystems(&directory)?;
    nix::unistd::sethostname(format!("lab-{name}")).context("setting the host name")?;
    let lab = Arc::new(Lab {
        name: name.into(),
        fabric: Fabric::new(),
        authority: Authority::new()?,
        machines: Machines::new(directory.filesystem()),
        topology: Mutex::new(topology),
        faults: Mutex::default(),
        stopped_agents: Mutex::default(),
        progress: Progress::new(),
        changing: Mutex::default(),
    });
    let booting = Arc::clone(&lab);
    std::thread::spawn(move || {
        let outcome = booting.boot();
        if let Err(error) = &outcome {
            eprintln!("{error:#}");
        }
        booting.progress.finish(&outcome);
    });
    serve(&listener, move |request, reporter| lab.handle(request, reporter))
}

/// Mounts the lab's own memory file system and a `/proc` of its own processes.
fn enter_own_filesystems(directory: &LabDirectory) -> Result<()> {
    make_private()?;
    let filesystem = directory.filesystem();
    fs::create_dir_all(&filesystem).with_context(|| format!("making {}", filesystem.display()))?;
    mount_new("tmpfs", &filesystem, None)?;
    keep_binary(&filesystem.join(machines::BINARY))?;
    mount_new("proc", Path::new("/proc"), None)
}

/// Makes this program's file available at `target` for as long as the lab exists, whatever becomes
/// of the file it was started from.
fn keep_binary(target: &Path) -> Result<()> {
    let running = Path::new("/proc/self/exe");
    let source = fs::read_link(running).context("reading /proc/self/exe")?;
    let identity = |path: &Path| fs::metadata(path).map(|file| (file.dev(), file.ino())).ok();
    if identity(&source) == identity(running) {
        File::create(target).with_context(|| format!("making {}", target.display()))?;
        return bind(&source, target);
    }
    // Replaced or removed on disk since it was started.
    fs::copy(running, target).with_context(|| format!("copying to {}", target.display()))?;
    Ok(())
}

impl Lab {
    /// Builds what the topology asks for, until all of it works.
    fn boot(&self) -> Result<()> {
        let _changing = self.start_change();
        let topology = self.topology().clone();
        self.fabric.build(&topology)?;
        self.boot_router()?;
        self.boot_outside()?;
        if let Some(kubernetes) = &topology.kubernetes {
            return self.boot_kubernetes(&topology, kubernetes);
        }
        for node in &topology.nodes {
            self.boot_node(node)?;
        }
        self.write_hosts()?;
        self.progress.step(&format!("fabric and {} nodes are there", topology.nodes.len()));
        self.start_datastore()?;
        self.progress.step("datastore answers, resources are applied");
        for node in &topology.nodes {
            self.start_agent(node)?;
        }
        for node in &topology.nodes {
            self.await_agent(node)?;
        }
        self.progress.step("calico-node is ready on every node");
        self.add_pods(&topology.pods)?;
        self.write_hosts()?;
        self.progress.step(&format!("{} pods are connected", topology.pods.len()));
        self.await_routes()?;
        for node in &topology.nodes {
            self.await_ready(node)?;
        }
        self.progress.step("every node has the routes to all others' pods");
        Ok(())
    }

    fn handle(&self, request: LabRequest, reporter: &Reporter<'_>) -> Result<serde_json::Value> {
        if self.topology().kubernetes.is_some() && request.is_of_own_pods() {
            bail!(
                "lab {} is a Kubernetes cluster, whose pods, namespaces and agents are Kubernetes' \
                 own: see `calico lab kubectl`",
                self.name
            );
        }
        match request {
            LabRequest::AwaitReady => answer(self.progress.follow(reporter)?),
            LabRequest::Status => answer(self.status()),
            LabRequest::Locate { name } => answer(self.locate(&name)?),
            LabRequest::PodAdd { pod } => answer(self.pod_add(pod)?),
            LabRequest::PodRemove { name } => answer(self.pod_remove(&name)?),
            LabRequest::NamespaceAdd { namespace } => answer(self.namespace_add(namespace)?),
            LabRequest::NamespaceLabel { name, changes } => {
                answer(self.namespace_label(&name, changes)?)
            }
            LabRequest::NamespaceList => answer(&self.topology().namespaces),
            LabRequest::NamespaceRemove { name } => answer(self.namespace_remove(&name)?),
            LabRequest::NodeAdd { node } => answer(self.node_add(node)?),
            LabRequest::NodeRemove { name, keep_resource } => {
                answer(self.node_remove(&name, keep_resource)?)
            }
            LabRequest::NodeRestart { name } => answer(self.node_restart(&name)?),
            LabRequest::FaultSet { settings } => answer(self.fault_set(settings)?),
            LabRequest::FaultClear { names } => answer(self.fault_clear(&names)?),
            LabRequest::FaultList => answer(self.fault_statuses()?),
            LabRequest::AgentStop { names } => answer(self.agents_stop(&names)?),
            LabRequest::AgentStart { names } => answer(self.agents_start(&names)?),
        }
    }

    fn directory(&self) -> Result<LabDirectory> {
        LabDirectory::of(&self.name)
    }

    fn topology(&self) -> MutexGuard<'_, Topology> {
        // Changes are single insertions or removals, so a panic elsewhere leaves none half done.
        self.topology.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start_change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn status(&self) -> LabStatus {
        let (state, reason) = match self.progress.outcome() {
            None => (LabState::Starting, None),
            Some(Ok(())) => (LabState::Ready, None),
            Some(Err(reason)) => (LabState::Failed, Some(reason)),
        };
        let topology = self.topology().clone();
        let (nodes, pods) = if topology.kubernetes.is_some() {
            self.kubernetes_status(&topology)
        } else {
            let nodes = topology.nodes.iter().map(|node| self.node_status(&topology, node));
            (nodes.collect(), self.pod_statuses(&topology))
        };
        let faults = self.faults().iter().map(Fault::to_string).collect();
        LabStatus { name: self.name.clone(), state, reason, faults, nodes, pods }
    }

    /// Finds a node, pod, the router or the outside host.
    fn locate(&self, name: &str) -> Result<Location> {
        let topology = self.topology().clone();
        if let Some(pod) = topology.pods.iter().find(|pod| pod.name == name) {
            let found = self.find_pod(pod)?.filter(|pod| pod.running);
            let inner = found.with_context(|| {
                format!("pod {name} doesn't run; `calico lab status` shows what does")
            })?;
            let pids = vec![self.machines.pid(&pod.node)?, inner.pid];
            return Ok(Location { pids, environment: Default::default() });
        }
        let pids = vec![self.machines.pid(name).map_err(|error| {
            let machines = topology.machines();
            let machines = machines.iter().map(|machine| machine.name.as_str());
            let pods = topology.pods.iter().map(|pod| pod.name.as_str());
            let names: Vec<&str> = machines.chain(pods).chain(["router", "outside"]).collect();
            let hint = match &topology.kubernetes {
                Some(_) => "; into pods leads `calico lab kubectl exec`",
                None => "",
            };
            anyhow!("{error:#}; in lab {} there are {}{hint}", self.name, names.join(", "))
        })?];
        let environment = match topology.node(name) {
            _ if topology.kubernetes.is_some() => kubernetes::environment(name),
            Some(node) => calico::user_environment(&topology, &node.name),
            None => Default::default(),
        };
        Ok(Location { pids, environment })
    }
}

/// Does the same with all of them, at the same time.
///
/// # Errors
/// The first that failed; the others are done all the same.
fn for_all<T: Sync>(items: &[T], work: impl Fn(&T) -> Result<()> + Sync) -> Result<()> {
    let work = &work;
    std::thread::scope(|scope| {
        let tasks: Vec<_> = items.iter().map(|item| scope.spawn(move || work(item))).collect();
        let results = tasks.into_iter().map(|task| {
            task.join().unwrap_or_else(|_| Err(anyhow!("a thread of the lab panicked")))
        });
        results.collect::<Vec<_>>().into_iter().collect()
    })
}

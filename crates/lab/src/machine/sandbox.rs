//! A pod's sandbox: namespaces held by a small process that answers on the pod's ports with its name.
//!
//! It stands for what a container runtime makes: the pause container, with the application in it.

use super::root::{bind, make_private, mount_new};
use crate::http;
use crate::namespaces::{own_program, spawn_as_machine};
use crate::topology::Pod;
use anyhow::{Context, Result, bail};
use nix::mount::{MntFlags, umount2};
use nix::sys::prctl::set_name;
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, waitpid};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

/// Where runtimes bind network namespaces (containerd's `cni-UUID`).
const NETWORK_NAMESPACES: &str = "/var/run/netns";
/// What the sandbox says once its namespaces are set up.
const READY: &str = "ready";

/// A running sandbox.
pub(super) struct Sandbox {
    process: Child,
    /// The file its network namespace is bound to.
    pub(super) network: PathBuf,
}

impl Sandbox {
    /// Starts a sandbox for a pod and binds its network namespace to `NETWORK_NAMESPACES/NAME`.
    pub(super) fn start(pod: &Pod, network_name: &str) -> Result<Sandbox> {
        let mut command = own_program("lab-pod-init");
        let ports = pod.ports.iter();
        let ports = ports.map(|port| format!("{}/{}", port.container_port, port.protocol));
        command.arg(&pod.name).arg(&pod.node).args(ports);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut process = spawn_as_machine(command)?;
        let stdout = process.stdout.take().context("no pipe from the sandbox")?;
        let network = Path::new(NETWORK_NAMESPACES).join(network_name);
        let sandbox = Sandbox { process, network };
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).context("reading from the sandbox")?;
        if line.trim() != READY {
            bail!("the sandbox of pod {} ended at its start; see lab.log", pod.name);
        }
        let file = &sandbox.network;
        fs::create_dir_all(NETWORK_NAMESPACES).context("making the netns directory")?;
        fs::write(file, "").with_context(|| format!("making {}", file.display()))?;
        let namespace = format!("/proc/{}/ns/net", sandbox.pid());
        bind(Path::new(&namespace), file)?;
        Ok(sandbox)
    }

    /// Its first process, in the node's PID namespace.
    pub(super) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether that process is still there.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Sandbox {
    /// Ends the pod's processes and lets go of its network namespace.
    fn drop(&mut self) {
        // Failure means that it is already gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = umount2(&self.network, MntFlags::MNT_DETACH);
        let _ = fs::remove_file(&self.network);
    }
}

/// `lab-pod-init POD NODE [PORT/PROTOCOL…]`: process 1 of a pod.
///
/// # Errors
/// The pod's namespaces cannot be set up; the pod then ends.
pub(crate) fn pod_init(pod: &str, node: &str, ports: &[&str]) -> Result<()> {
    set_name(c"lab-pod-init").context("naming the process")?;
    make_private()?;
    release_network_namespaces()?;
    mount_new("proc", Path::new("/proc"), None)?;
    mount_new("sysfs", Path::new("/sys"), None)?;
    let hostname = PathBuf::from(format!("/run/lab/hostname-{pod}"));
    fs::write(&hostname, format!("{pod}\n")).context("writing the host name")?;
    bind(&hostname, Path::new("/etc/hostname"))?;
    nix::unistd::sethostname(pod).context("setting the host name")?;
    crate::fabric::set_loopback_up()?;
    let name = format!("{pod} on {node}");
    let listener = http::listen(http::PORT).context("port 80")?;
    for port in ports {
        listen(port, &name).with_context(|| format!("port {port}"))?;
    }
    let child_ended = SigSet::from_iter([Signal::SIGCHLD]);
    child_ended.thread_block().context("blocking SIGCHLD")?;
    std::thread::spawn(move || reap(&child_ended));
    println!("{READY}");
    std::io::stdout().flush().context("reporting to the node")?;
    http::serve(&listener, &name);
    Ok(())
}

/// Answers on one more port, e.g. `5432/tcp`, for ever.
fn listen(port: &str, name: &str) -> Result<()> {
    let (number, protocol) = port.split_once('/').context("no protocol")?;
    let number = number.parse().context("no number")?;
    let name = name.to_owned();
    match protocol {
        // There is a listener already.
        "tcp" if number == http::PORT => {}
        "tcp" => {
            let listener = http::listen(number)?;
            std::thread::spawn(move || http::serve(&listener, &name));
        }
        _ => {
            let socket = http::listen_udp(number)?;
            std::thread::spawn(move || http::serve_udp(&socket, &name));
        }
    }
    Ok(())
}

/// Reaps the orphans of commands run in the pod, for ever.
fn reap(child_ended: &SigSet) {
    while child_ended.wait().is_ok() {
        while waitpid(None, Some(WaitPidFlag::WNOHANG)).is_ok_and(|status| status.pid().is_some()) {
        }
    }
}

/// A mount namespace copied from the node's holds on to the other pods' network namespaces.
fn release_network_namespaces() -> Result<()> {
    for entry in fs::read_dir(NETWORK_NAMESPACES).context("reading the netns directory")? {
        let path = entry.context("reading the netns directory")?.path();
        // Not mounted: being made or removed at this moment by the node.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
    }
    mount_new("tmpfs", Path::new(NETWORK_NAMESPACES), None)
}

//! `calico-node -remove`: a node as it was before Calico (README, "Removing it").
//!
//! ```text
//!  network configuration ──▶ tables, devices, routes ──▶ plugins and files
//! ```
//! In this order, so that no pod starts half-way, and what is interrupted can be done again. Pods that
//! run lose their network, as it is Calico's. Left are logs, the reference plugins, which are anybody's,
//! and sysctls.

use crate::kernel_thread::TABLE;
use anyhow::{Context, Result, bail};
use kernel::nft::Family;
use kernel::{Change, State};
use linux::nft::Nft;
use linux::rtnetlink::Rtnetlink;
use plan::{Learned, Topology};
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Where a container has the host's root directory.
const HOST: &str = "/host";
const CONFIGURATIONS: &str = "etc/cni/net.d";
/// What Calico's files there have in their names, whatever CNI_CONF_NAME is.
const CALICO: &str = "calico";
const SOCKET: &str = "run/calico/agent.sock";
/// How often, a second apart, it is looked whether calico-node has ended.
const LOOKS_MAX: u32 = 60;
/// What install-cni and the agent have made beside the network configuration. In `run/calico` others'
/// file systems may be mounted.
const FILES: &[&str] = &[
    "opt/cni/bin/calico",
    "opt/cni/bin/calico-ipam",
    "usr/libexec/kubernetes/kubelet-plugins/volume/exec/nodeagent~uds",
    "var/lib/calico",
    "run/calico/endpoint-status",
    "run/calico/ipam.lock",
    SOCKET,
];
/// How interfaces begin that the plugin `bandwidth` makes beside a pod's.
const SHAPERS: &str = "bwp";

/// Removes all of it from this machine.
///
/// # Errors
/// calico-node runs here, or something cannot be removed: what was, is, and the rest may be tried again.
pub(crate) fn run() -> Result<()> {
    let mounted = Path::new(HOST);
    let root = if mounted.is_dir() { mounted } else { Path::new("/") };
    await_end(&root.join(SOCKET))?;
    let configurations = root.join(CONFIGURATIONS);
    for file in fs::read_dir(&configurations).into_iter().flatten().flatten() {
        if file.file_name().to_string_lossy().contains(CALICO) {
            remove(&file.path())?;
        }
    }
    remove_tables()?;
    remove_devices_and_routes()?;
    FILES.iter().try_for_each(|path| remove(&root.join(path)))
}

/// Waits for calico-node to end, which may have its DaemonSet deleted right now.
fn await_end(socket: &Path) -> Result<()> {
    for _ in 0..LOOKS_MAX {
        if UnixStream::connect(socket).is_err() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(1));
    }
    bail!("calico-node still runs on this node: delete its DaemonSet first (kubectl delete)")
}

/// A file, or what is in a directory, and that too unless something is mounted there.
fn remove(path: &Path) -> Result<()> {
    // Of a link to a directory the link alone.
    let removed = match fs::read_dir(path) {
        Ok(entries) if !path.is_symlink() => {
            entries.flatten().try_for_each(|entry| remove(&entry.path()))?;
            fs::remove_dir(path)
        }
        _ => fs::remove_file(path),
    };
    match removed {
        Ok(()) => println!("removed {}", path.display()),
        Err(why) if matches!(why.kind(), ErrorKind::NotFound | ErrorKind::ResourceBusy) => {}
        Err(why) => return Err(why).with_context(|| format!("removing {}", path.display())),
    }
    Ok(())
}

fn remove_tables() -> Result<()> {
    let mut nft = Nft::open()?;
    let families = [("net/ipv4", Family::Ip), ("net/ipv6", Family::Ip6)];
    for (_, family) in families.into_iter().filter(|(path, _)| linux::sysctl::exists(path)) {
        nft.delete_table(family, TABLE)?;
        println!("removed table {family} {TABLE}");
    }
    Ok(())
}

fn remove_devices_and_routes() -> Result<()> {
    // With nothing that it were to route, a node owns what it would own with something.
    let learned = Learned { in_sync: true, ..Learned::default() };
    let owned = plan::plan(&Topology { learned, ..Topology::default() }).owned;
    let mut netlink = Rtnetlink::open()?;
    let actual = linux::apply::read_state(&mut netlink, [])?;
    let mut changes = kernel::diff(&State::default(), &actual, &owned);
    let of_pods = |name: &&String| owned.is_workload(name) || name.starts_with(SHAPERS);
    let links = actual.links.keys().filter(of_pods).cloned();
    changes.extend(links.map(|name| Change::DeleteLink { name }));
    let refused = linux::apply::apply(&mut netlink, &changes);
    changes.iter().for_each(|change| println!("{change}"));
    match refused.first() {
        Some((change, why)) => bail!("{change}: {why}"),
        None => Ok(()),
    }
}

//! `calico-ipam -upgrade`: a node's pods keep the addresses that `host-local` gave them
//! (`calico-features.md` §4).
//!
//! ```text
//!  /var/lib/cni/networks/k8s-pod-network/ADDRESS    its first line is the container
//!        │ one by one: assigned in Calico's IPAM, then removed
//!        ▼
//!  blocks and handles
//! ```
//! Done once, before install-cni; whatever interrupts it, the next start goes on. The plugins that
//! would give more addresses by `host-local` are removed first and come back with install-cni: until
//! then the runtime repeats what it wants of them. The rest of the cluster goes on meanwhile. Should
//! an address have been given to somebody else already, both are named, and only a restart of the pod
//! helps.

use ipam::{AssignAddress, CheckIp, Pool, ReadConfig, pools_of_requested};
use jiff::Timestamp;
use model::{IpPoolSpec, IpamConfig, WorkloadEndpoint, WorkloadEndpointSpec, names};
use nix::fcntl::{Flock, FlockArg};
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use store::{Datastore, Settings, drive, typed};

/// The network whose addresses are moved, Calico's name for the pods' network.
const NETWORK: &str = "k8s-pod-network";
/// Where `host-local` notes what it has given.
const GIVEN: &str = "/var/lib/cni/networks/k8s-pod-network";
/// Where install-cni puts plugins.
const PLUGINS: &str = "/host/opt/cni/bin";
/// What gives addresses by `host-local`.
const DISABLED: [&str; 2] = ["calico", "host-local"];
/// The file that `host-local` locks.
const LOCK: &str = "lock";
/// How long a plugin that runs may take.
const LOCK_TIME_MAX: Duration = Duration::from_secs(30);
const LOCK_PAUSE: Duration = Duration::from_millis(20);

/// Why addresses were not moved.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// The node's name is not known.
    #[error(
        "KUBERNETES_NODE_NAME is not set: give the container the node's name by it (fieldRef \
         spec.nodeName)"
    )]
    NoNode,
    /// A file could not be read, written or removed.
    #[error("{action} {}: {source}; it is tried again with the next start", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A `host-local` holds its lock.
    #[error(
        "{} is locked for {LOCK_TIME_MAX:?} already: does a host-local plugin hang?",
        path.display()
    )]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The datastore has no answer.
    #[error(transparent)]
    Datastore(#[from] store::Error),
    /// IPAM's settings cannot be read.
    #[error(transparent)]
    Settings(Box<ipam::Error>),
    /// An address could not be assigned.
    #[error("{address} of pod {pod} cannot be assigned in Calico's IPAM: {reason}")]
    Assignment {
        /// Whose it is, `namespace/name`.
        pod: String,
        /// Which.
        address: IpAddr,
        /// Why, and what to do.
        reason: Box<ipam::Error>,
    },
}

/// Where things are on a node.
#[derive(Clone, Debug)]
pub struct HostLocal {
    /// The files of the network's addresses.
    pub given: PathBuf,
    /// The directory of the plugins.
    pub plugins: PathBuf,
}

/// Moves this node's addresses, if there are any.
pub(crate) fn run() -> ExitCode {
    let place = HostLocal { given: GIVEN.into(), plugins: PLUGINS.into() };
    let mut variables = crate::process::environment();
    // It is no variable of Calico's manifests, as only they have this to do.
    variables.entry("DATASTORE_TYPE".to_owned()).or_insert_with(|| "kubernetes".to_owned());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let done = runtime.map_err(no_runtime).and_then(|runtime| {
        runtime.block_on(upgrade(&variables, &place, &mut |line| println!("{line}")))
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("calico-ipam -upgrade: {error}");
            ExitCode::FAILURE
        }
    }
}

fn no_runtime(source: io::Error) -> UpgradeError {
    UpgradeError::File { action: "waiting for", path: "the datastore".into(), source }
}

/// Moves the addresses below `place` to the IPAM of the datastore that `variables` name; `say` hears
/// of each. Where there are none, does nothing, and asks nobody.
///
/// # Errors
/// Why not all were moved.
pub async fn upgrade(
    variables: &BTreeMap<String, String>,
    place: &HostLocal,
    say: &mut dyn FnMut(String),
) -> Result<(), UpgradeError> {
    let given = &place.given;
    if !given.exists() {
        say(format!("{} is not there: no addresses of host-local to move", given.display()));
        return Ok(());
    }
    if addresses(given)?.is_empty() {
        return remove_all(given);
    }
    let node = variables.get("KUBERNETES_NODE_NAME").filter(|name| !name.is_empty());
    let node = node.ok_or(UpgradeError::NoNode)?;
    let datastore = store::connect(&Settings::from_env(variables.clone())?).await?;
    let mut mover = Mover::new(&*datastore, node).await?;
    for plugin in DISABLED {
        remove(&place.plugins.join(plugin))?;
    }
    let _lock = lock(&given.join(LOCK))?;
    // What a plugin that still ran has added is among them now.
    mover.find_pods().await?;
    for (address, file) in addresses(given)? {
        mover.carry(address, &file, say).await?;
        remove(&file)?;
    }
    remove_all(given)
}

struct Mover<'a> {
    datastore: &'a dyn Datastore,
    node: &'a str,
    pods: HashMap<IpAddr, WorkloadEndpoint>,
    pools: Vec<Pool>,
    config: IpamConfig,
}

impl<'a> Mover<'a> {
    async fn new(datastore: &'a dyn Datastore, node: &'a str) -> Result<Mover<'a>, UpgradeError> {
        let pools = typed::list::<IpPoolSpec>(datastore, None).await?;
        let config = drive(datastore, ReadConfig.start()).await;
        let config = config.map_err(|why| UpgradeError::Settings(Box::new(why)))?;
        let (pods, pools) = (HashMap::new(), pools_of_requested(&pools));
        Ok(Mover { datastore, node, pods, pools, config })
    }

    async fn find_pods(&mut self) -> Result<(), UpgradeError> {
        let endpoints = typed::list::<WorkloadEndpointSpec>(self.datastore, None).await?;
        for endpoint in endpoints.into_iter().filter(|endpoint| endpoint.spec.node == self.node) {
            for net in &endpoint.spec.ip_networks {
                let address = net.split('/').next().unwrap_or_default();
                if let Ok(address) = address.parse() {
                    self.pods.insert(address, endpoint.clone());
                }
            }
        }
        Ok(())
    }

    async fn carry(
        &self,
        address: IpAddr,
        file: &Path,
        say: &mut dyn FnMut(String),
    ) -> Result<(), UpgradeError> {
        let Some(endpoint) = self.pods.get(&address) else {
            say(format!("{address}: no pod of this node has it, so it is free"));
            return Ok(());
        };
        let namespace = endpoint.metadata.namespace.clone().unwrap_or_default();
        let pod = format!("{namespace}/{}", endpoint.spec.pod);
        let content = std::fs::read_to_string(file).map_err(|source| UpgradeError::File {
            action: "reading",
            path: file.to_owned(),
            source,
        })?;
        let container = content.lines().next().unwrap_or_default().trim();
        let handle = names::container_handle(NETWORK, container);
        let now = Timestamp::now();
        let attributes = BTreeMap::from([
            ("namespace".to_owned(), namespace),
            ("node".to_owned(), self.node.to_owned()),
            ("pod".to_owned(), endpoint.spec.pod.clone()),
            ("timestamp".to_owned(), ipam::timestamp(now)),
        ]);
        let operation = AssignAddress {
            address,
            host: self.node.to_owned(),
            handle: handle.clone(),
            attributes,
            pools: self.pools.clone(),
            config: self.config.clone(),
            now,
        };
        match drive(self.datastore, operation.start()).await {
            Ok(_) => say(format!("{address}: moved, of pod {pod}")),
            Err(reason @ ipam::Error::Taken { .. }) => {
                let held = drive(self.datastore, CheckIp { address }.start()).await;
                let held = held.ok().flatten().and_then(|held| held.handle);
                if held.as_deref() == Some(&handle) {
                    say(format!("{address}: was moved before, of pod {pod}"));
                } else {
                    say(format!(
                        "{address}: pod {pod} has it, but {reason}; restart the pod: kubectl \
                         delete pod -n {}",
                        pod.replace('/', " ")
                    ));
                }
            }
            Err(reason) => {
                let reason = Box::new(reason);
                return Err(UpgradeError::Assignment { pod, address, reason });
            }
        }
        Ok(())
    }
}

/// The files that are named after an address.
fn addresses(given: &Path) -> Result<Vec<(IpAddr, PathBuf)>, UpgradeError> {
    let failed = |source| UpgradeError::File { action: "reading", path: given.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(given).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // For file systems without colons, host-local writes IPv6 addresses with underscores.
        if let Ok(address) = name.replace('_', ":").parse() {
            found.push((address, path));
        }
    }
    found.sort();
    Ok(found)
}

fn lock(path: &Path) -> Result<Flock<File>, UpgradeError> {
    let mut file = File::options().create(true).append(true).open(path).map_err(|source| {
        UpgradeError::File { action: "locking", path: path.to_owned(), source }
    })?;
    let start = Instant::now();
    loop {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Ok(lock),
            Err(_) if start.elapsed() > LOCK_TIME_MAX => {
                return Err(UpgradeError::Locked { path: path.to_owned() });
            }
            Err((unlocked, _)) => file = unlocked,
        }
        std::thread::sleep(LOCK_PAUSE);
    }
}

fn remove(path: &Path) -> Result<(), UpgradeError> {
    match std::fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(UpgradeError::File { action: "removing", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

fn remove_all(given: &Path) -> Result<(), UpgradeError> {
    std::fs::remove_dir_all(given).map_err(|source| UpgradeError::File {
        action: "removing",
        path: given.to_owned(),
        source,
    })
}

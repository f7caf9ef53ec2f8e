//! The IPAM plugin `calico-ipam` on its own, straight on the datastore (`calico-features.md` §4).
//!
//! It takes a lock against its like on the node, which only saves them conflicts: what keeps
//! addresses unique is `ipam`'s compare-and-swap.

use crate::answer::{Address, Answer, Route};
use crate::call::{Call, Command, Input};
use crate::configuration::Configuration;
use crate::credentials::KUBECONFIG;
use crate::error::{Code, Error};
use crate::places::Places;
use crate::plugin::{self, Attachment, Outcome};
use ipam::{AssignAddress, AutoAssign, Demand, ReadConfig, ReleaseByHandle};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{
    ClusterInformationSpec, IpPool, IpPoolSpec, IpReservationSpec, IpamConfig, NodeSpec,
    ProfileSpec, names,
};
use nix::fcntl::{Flock, FlockArg};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Datastore, Settings, drive, typed};

/// How long ADD or DEL may take, the lock's wait apart.
const TIME_MAX: Duration = Duration::from_secs(90);
/// How long `-t` waits for the datastore.
const TEST_TIME_MAX: Duration = Duration::from_secs(2);
/// How long the lock is waited for; then it goes without.
const LOCK_TIME_MAX: Duration = Duration::from_secs(90);
const LOCK_PAUSE: Duration = Duration::from_millis(5);

/// Does what the input asks for.
pub fn calico_ipam(input: &Input, places: &Places) -> Outcome {
    plugin::answered(
        input,
        places,
        "ipam-plugin",
        |Attachment { call, configuration, log, .. }| {
            let answer = match call.command {
                Command::Add => add(call, configuration, places)?,
                Command::Del => delete(call, configuration, places)?,
                _ => Answer::default(),
            };
            let list: Vec<_> = answer.addresses.iter().map(|a| a.address.to_string()).collect();
            log.info(&format!("{} done: {}", call.command.as_str(), list.join(" and ")));
            let is_add = call.command == Command::Add;
            Ok(if is_add { answer.to_json(configuration.version) } else { String::new() })
        },
    )
}

fn add(call: &Call, configuration: &Configuration, places: &Places) -> Result<Answer, Error> {
    let node = configuration.node_name(&places.state)?;
    let _lock = lock(configuration, places);
    let addresses = on_datastore(call, configuration, TIME_MAX, async |datastore| {
        let mut wish = Wish::read(datastore, node, call, configuration).await?;
        wish.assign(datastore).await
    })?;
    let routes = addresses.iter().map(|net| Route { dst: net.addr().into(), gateway: None });
    Ok(Answer {
        routes: routes.collect(),
        addresses: addresses
            .iter()
            .map(|net| Address { address: *net, gateway: None, interface: None })
            .collect(),
        ..Answer::default()
    })
}

fn delete(call: &Call, configuration: &Configuration, places: &Places) -> Result<Answer, Error> {
    let _lock = lock(configuration, places);
    on_datastore(call, configuration, TIME_MAX, async |datastore| {
        let config = drive(&**datastore, ReadConfig.start()).await.map_err(ipam_error)?;
        let mut handles = vec![names::container_handle(&configuration.name, &call.container_id)];
        // Calico before v3 named the handle so.
        handles.extend(call.pod.as_ref().map(|(namespace, pod)| format!("{namespace}.{pod}")));
        for handle in handles {
            release(datastore, handle, config.clone()).await?;
        }
        Ok(Answer::default())
    })
}

async fn release(
    datastore: &Arc<dyn Datastore>,
    handle: String,
    config: IpamConfig,
) -> Result<(), Error> {
    let operation = ReleaseByHandle { handle, config, now: Timestamp::now() };
    drive(&**datastore, operation.start()).await.map_err(ipam_error).map(|_| ())
}

/// What to assign, and from what.
struct Wish {
    node: String,
    handle: String,
    attributes: BTreeMap<String, String>,
    labels: BTreeMap<String, String>,
    /// The labels of the pod's namespace, where a pool asks for them.
    namespace: Option<BTreeMap<String, String>>,
    pools: Vec<IpPool>,
    reserved: Vec<IpNet>,
    config: IpamConfig,
    requested: Option<std::net::IpAddr>,
    /// By family, IPv4 first: the pools wished for; `None` for no address.
    families: [Option<Vec<String>>; 2],
}

impl Wish {
    async fn read(
        datastore: &Arc<dyn Datastore>,
        node: String,
        call: &Call,
        configuration: &Configuration,
    ) -> Result<Wish, Error> {
        let pools = typed::list::<IpPoolSpec>(&**datastore, None).await.map_err(store_error)?;
        let reservations = typed::list::<IpReservationSpec>(&**datastore, None).await;
        let reservations = reservations.map_err(store_error)?;
        let stored = typed::get::<NodeSpec>(&**datastore, None, &node).await;
        let labels = stored.map_err(store_error)?.map(|node| node.metadata.labels);
        let config = drive(&**datastore, ReadConfig.start()).await.map_err(ipam_error)?;
        Ok(Wish {
            handle: names::container_handle(&configuration.name, &call.container_id),
            attributes: attributes(&node, call),
            labels: labels.unwrap_or_default(),
            namespace: namespace_labels(datastore, call, &pools).await?,
            pools,
            reserved: reservations.iter().flat_map(|one| one.spec.nets()).collect(),
            config,
            requested: call.requested,
            families: families(configuration)?,
            node,
        })
    }

    async fn assign(&mut self, datastore: &Arc<dyn Datastore>) -> Result<Vec<IpNet>, Error> {
        if let Some(address) = self.requested {
            let operation = AssignAddress {
                address,
                host: self.node.clone(),
                handle: self.handle.clone(),
                attributes: self.attributes.clone(),
                pools: ipam::pools_of_requested(&self.pools),
                config: self.config.clone(),
                now: Timestamp::now(),
            };
            return drive(&**datastore, operation.start())
                .await
                .map(|net| vec![net])
                .map_err(ipam_error);
        }
        let mut assigned = vec![];
        for (ipv4, family) in [true, false].into_iter().zip(self.families.clone()) {
            let Some(wished) = family else { continue };
            match self.assign_family(datastore, ipv4, &wished).await {
                Ok(addresses) => assigned.extend(addresses),
                Err(error) => {
                    // All or none.
                    if !assigned.is_empty() {
                        release(datastore, self.handle.clone(), self.config.clone()).await?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(assigned)
    }

    async fn assign_family(
        &self,
        datastore: &Arc<dyn Datastore>,
        ipv4: bool,
        wished: &[String],
    ) -> Result<Vec<IpNet>, Error> {
        let (host, labels, namespace) = (&self.node, &self.labels, self.namespace.as_ref());
        let demand = Demand { host, labels, namespace, ipv4, wished };
        let pools = ipam::select_pools(&self.pools, &demand).map_err(ipam_error)?;
        let operation = AutoAssign {
            host: self.node.clone(),
            handle: self.handle.clone(),
            attributes: self.attributes.clone(),
            pools,
            count: 1,
            max_blocks: None,
            config: self.config.clone(),
            reserved: self.reserved.clone(),
            known_affine_blocks: vec![],
            now: Timestamp::now(),
        };
        drive(&**datastore, operation.start()).await.map_err(ipam_error)
    }
}

/// The labels of a pod's namespace, read only where a pool is for some namespaces.
async fn namespace_labels(
    datastore: &Arc<dyn Datastore>,
    call: &Call,
    pools: &[IpPool],
) -> Result<Option<BTreeMap<String, String>>, Error> {
    let asked = pools.iter().any(|pool| pool.spec.namespace_selector.is_some());
    let Some((namespace, _)) = call.pod.as_ref().filter(|_| asked) else { return Ok(None) };
    let profile = names::namespace_profile(namespace);
    let profile = typed::get::<ProfileSpec>(&**datastore, None, &profile).await;
    let labels = profile.map_err(store_error)?.map(|profile| profile.spec.namespace_labels());
    Ok(labels)
}

/// The owner that the block names, Calico's attributes.
fn attributes(node: &str, call: &Call) -> BTreeMap<String, String> {
    let now = ipam::timestamp(Timestamp::now());
    let mut attributes =
        BTreeMap::from([("node".to_owned(), node.to_owned()), ("timestamp".to_owned(), now)]);
    if let Some((namespace, pod)) = &call.pod {
        attributes.insert("namespace".to_owned(), namespace.clone());
        attributes.insert("pod".to_owned(), pod.clone());
    }
    attributes
}

fn families(configuration: &Configuration) -> Result<[Option<Vec<String>>; 2], Error> {
    let ipam = configuration.keys.ipam.clone().unwrap_or_default();
    let v4 = ipam.assign_ipv4.is_none_or(|switch| switch.0);
    let v6 = ipam.assign_ipv6.is_some_and(|switch| switch.0);
    if !v4 && !v6 {
        let message = format!(
            "network {}: ipam.assign_ipv4 and ipam.assign_ipv6 are both \"false\", so there is no \
             address to assign; set one of them to \"true\"",
            configuration.name
        );
        return Err(Error::new(Code::Configuration, message));
    }
    Ok([
        v4.then(|| ipam.ipv4_pools.unwrap_or_default()),
        v6.then(|| ipam.ipv6_pools.unwrap_or_default()),
    ])
}

/// Runs `work` on the datastore that configuration and environment name, within a bound.
fn on_datastore<T>(
    call: &Call,
    configuration: &Configuration,
    bound: Duration,
    work: impl AsyncFnOnce(&Arc<dyn Datastore>) -> Result<T, Error>,
) -> Result<T, Error> {
    let variables = configuration.datastore_variables(&call.environment);
    let settings = Settings::from_env(variables).map_err(store_error)?;
    let kubeconfig = settings.kubernetes.as_ref().and_then(|one| one.kubeconfig.clone());
    run_within(&settings, bound, work).map_err(|mut error| {
        let named = kubeconfig.map(|path| path.display().to_string()).unwrap_or_default();
        if named.ends_with(KUBECONFIG) && error.message.contains(&named) {
            error.message += "; calico-node writes this file, and again within seconds where it is \
                              gone or changed: where it does not, its log says why";
        }
        error
    })
}

fn run_within<T>(
    settings: &Settings,
    bound: Duration,
    work: impl AsyncFnOnce(&Arc<dyn Datastore>) -> Result<T, Error>,
) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| {
        Error::new(Code::Io, format!("starting to wait for the datastore: {error}"))
    })?;
    runtime.block_on(async {
        let all = async {
            let datastore = store::connect(settings).await.map_err(store_error)?;
            work(&datastore).await
        };
        tokio::time::timeout(bound, all).await.unwrap_or_else(|_| {
            let message = format!(
                "the datastore did not answer within {bound:?}: check that it runs, and that \
                 etcd_endpoints in the network configuration, or ETCD_ENDPOINTS, names it"
            );
            Err(Error::new(Code::TryAgain, message))
        })
    })
}

/// `-t`: whether the datastore answers, and says that it is ready.
///
/// # Errors
/// Why not.
pub(crate) fn test_connection(input: &Input) -> Result<(), Error> {
    let mut variables = input.environment.clone();
    if !input.stdin.is_empty() {
        variables = Configuration::parse(&input.stdin)?.datastore_variables(&variables);
    }
    let settings = Settings::from_env(variables).map_err(store_error)?;
    run_within(&settings, TEST_TIME_MAX, async |datastore| {
        let read = typed::get::<ClusterInformationSpec>(&**datastore, None, "default").await;
        match read.map_err(store_error)?.map(|information| information.spec.datastore_ready) {
            Some(Some(false)) => Err(Error::new(
                Code::TryAgain,
                "Calico is currently not ready to process requests: ClusterInformation(default) \
                 says datastoreReady: false",
            )),
            _ => Ok(()),
        }
    })
}

/// The lock that `calico-ipam` processes of the node take one after the other; without it, they
/// only meet in the datastore more often.
fn lock(configuration: &Configuration, places: &Places) -> Option<Flock<std::fs::File>> {
    let path = configuration.keys.ipam_lock_file.as_deref().unwrap_or(&places.lock);
    // Its directory is the agent's, but another IPAM's user may run without one.
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).ok()?;
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).ok()?;
    let start = Instant::now();
    while start.elapsed() < LOCK_TIME_MAX {
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => return Some(lock),
            Err((unlocked, _)) => file = unlocked,
        }
        std::thread::sleep(LOCK_PAUSE);
    }
    None
}

fn store_error(error: store::Error) -> Error {
    let code = match error {
        store::Error::Unreachable { .. } | store::Error::Busy { .. } => Code::TryAgain,
        store::Error::Settings(_) => Code::Configuration,
        _ => Code::Addresses,
    };
    Error::new(code, error.to_string())
}

fn ipam_error(error: ipam::Error) -> Error {
    use ipam::Error as E;
    let code = match error {
        E::Unavailable { .. } | E::Contention(_) => Code::TryAgain,
        E::BadPool { .. } => Code::Configuration,
        _ => Code::Addresses,
    };
    Error::new(code, error.to_string())
}

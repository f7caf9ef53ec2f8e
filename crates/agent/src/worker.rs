//! The datastore's side of effects: addresses one at a time, endpoints beside them.
//!
//! Addresses are assigned and released by one task, so that this node's requests never conflict
//! with each other; endpoints are written by tasks of their own.

mod memory;

use crate::spool;
use ipam::{AssignAddress, AutoAssign, EnsureTunnelAddress, Pool, ReadConfig, ReleaseByHandle};
use jiff::Timestamp;
use memory::Memory;
use model::names::Tunnel;
use model::{IpamConfig, Key, Kind, NodeSpec, WorkloadEndpoint, WorkloadEndpointSpec};
use node::api::{DeleteWorkload, SPOOL};
use node::{Addresses, Assign, Event, Refusal, RequestId, Written};
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Datastore, Error, typed};
use tokio::sync::mpsc;

/// Jobs that wait at most; the core waits beyond.
const JOBS_MAX: usize = 1024;
/// Attempts at a compare-and-swap.
const ATTEMPTS_MAX: u32 = 20;
/// The pause after a tunnel address could not be had, before the core hears of it and asks again.
const TUNNEL_PAUSE: Duration = Duration::from_secs(1);

/// Work on the datastore.
#[derive(Debug)]
pub(crate) enum Job {
    Assign {
        id: RequestId,
        assign: Box<Assign>,
    },
    Read {
        id: RequestId,
        key: Key,
    },
    WriteEndpoint {
        id: RequestId,
        endpoint: Box<WorkloadEndpoint>,
    },
    Remove {
        id: RequestId,
        delete: DeleteWorkload,
    },
    /// Removals that CNI DEL left while no agent ran, or that failed.
    EmptySpool,
    TunnelAddress {
        tunnel: Tunnel,
        pools: Option<Vec<Pool>>,
    },
}

/// A job, with the cluster's IPAM settings if the agent knows them.
pub(crate) type Posted = (Job, Option<IpamConfig>);

#[derive(Clone)]
struct Worker {
    datastore: Arc<dyn Datastore>,
    node: String,
    inbox: mpsc::Sender<Event>,
}

/// The task that changes addresses.
struct Addresser {
    worker: Worker,
    memory: Memory,
    /// The cluster's IPAM settings; `None`: to be read.
    config: Option<IpamConfig>,
}

/// Starts the worker; jobs are sent to what it returns.
pub(crate) fn start(
    datastore: Arc<dyn Datastore>,
    node: String,
    inbox: mpsc::Sender<Event>,
) -> mpsc::Sender<Posted> {
    let (jobs, mut waiting) = mpsc::channel(JOBS_MAX);
    let worker = Worker { datastore, node, inbox };
    let mut task = Addresser { worker, memory: Memory::default(), config: None };
    tokio::spawn(async move {
        while let Some((job, config)) = waiting.recv().await {
            task.config = config;
            task.carry_out(job).await;
        }
    });
    jobs
}

impl Addresser {
    async fn carry_out(&mut self, job: Job) {
        let worker = self.worker.clone();
        match job {
            Job::Assign { id, assign } => {
                let result = self.assign(&assign).await;
                worker.tell(Event::Assigned { id, result }).await;
            }
            Job::Read { id, key } => {
                tokio::spawn(async move {
                    let result = worker.datastore.get(&key).await.map_err(refusal);
                    worker.tell(Event::Read { id, result }).await;
                });
            }
            Job::WriteEndpoint { id, endpoint } => {
                tokio::spawn(async move {
                    let result = worker.write_endpoint(*endpoint).await;
                    worker.tell(Event::Written { id, written: Written::Endpoint(result) }).await;
                });
            }
            Job::Remove { id, delete } => {
                self.remove(&delete).await;
                worker.tell(Event::Written { id, written: Written::Removed }).await;
            }
            Job::EmptySpool => {
                for delete in spool::read(Path::new(SPOOL)) {
                    // A datastore that is away would keep requests waiting once for each.
                    if !self.remove(&delete).await {
                        break;
                    }
                }
            }
            Job::TunnelAddress { tunnel, pools } => {
                let wanted = pools.is_some();
                let result = self.tunnel_address(tunnel, pools).await;
                tokio::spawn(async move {
                    if let Err(why) = &result {
                        // The node's status says so, once.
                        tracing::debug!("the address of this node's {tunnel:?} tunnel: {why}");
                        tokio::time::sleep(TUNNEL_PAUSE).await;
                    }
                    worker.tell(Event::TunnelAddress { tunnel, wanted, result }).await;
                });
            }
        }
    }

    /// Addresses of both families: all or none.
    async fn assign(&mut self, assign: &Assign) -> Result<Vec<IpAddr>, Refusal> {
        match self.assign_all(assign).await {
            Ok(addresses) => Ok(addresses),
            Err(error) => {
                // What one family or an earlier address got goes back.
                if let Err(why) = self.release([assign.handle.clone()]).await {
                    tracing::warn!("handle {} is not released: {why}", assign.handle);
                }
                let retry = matches!(error, ipam::Error::Unavailable { .. });
                Err(Refusal { retry, message: error.to_string() })
            }
        }
    }

    async fn assign_all(&mut self, assign: &Assign) -> Result<Vec<IpAddr>, ipam::Error> {
        let config = self.config().await?;
        let (now, datastore) = (Timestamp::now(), self.worker.datastore.clone());
        if let Some(handle) = assign.earlier.clone() {
            let operation = ReleaseByHandle { handle, config: config.clone(), now };
            self.memory.drive(&*datastore, operation.start()).await?;
        }
        let mut attributes = assign.attributes.clone();
        attributes.insert("timestamp".to_owned(), ipam::timestamp(now));
        let mut assigned = Vec::new();
        match &assign.addresses {
            Addresses::These(addresses, pools) => {
                for address in addresses {
                    let operation = AssignAddress {
                        address: *address,
                        host: self.worker.node.clone(),
                        handle: assign.handle.clone(),
                        attributes: attributes.clone(),
                        pools: pools.clone(),
                        config: config.clone(),
                        now,
                    };
                    let given = self.memory.follow(&*datastore, operation.start()).await?;
                    assigned.push(given.addr());
                }
            }
            Addresses::Any(families) => {
                for (count, pools) in families {
                    let operation = AutoAssign {
                        host: self.worker.node.clone(),
                        handle: assign.handle.clone(),
                        attributes: attributes.clone(),
                        pools: pools.clone(),
                        count: *count,
                        max_blocks: None,
                        config: config.clone(),
                        reserved: assign.reserved.clone(),
                        known_affine_blocks: self.memory.newest(assign.own_blocks.clone()),
                        now,
                    };
                    let given = self.memory.follow(&*datastore, operation.start()).await?;
                    assigned.extend(given.iter().map(ipnet::IpNet::addr));
                }
            }
        }
        Ok(assigned)
    }

    async fn config(&self) -> Result<IpamConfig, ipam::Error> {
        match &self.config {
            Some(config) => Ok(config.clone()),
            None => store::drive(&*self.worker.datastore, ReadConfig.start()).await,
        }
    }

    /// Releases what is held under the first of the handles that holds anything: one ADD's addresses
    /// are under one. The settings are read once.
    async fn release(&mut self, handles: impl IntoIterator<Item = String>) -> Result<(), String> {
        let said = |why: ipam::Error| why.to_string();
        let (config, now) = (self.config().await.map_err(said)?, Timestamp::now());
        for handle in handles {
            let operation = ReleaseByHandle { handle, config: config.clone(), now };
            let released = self.memory.drive(&*self.worker.datastore, operation.start()).await;
            if !released.map_err(said)?.is_empty() {
                break;
            }
        }
        Ok(())
    }

    async fn ensure_tunnel_address(
        &self,
        tunnel: Tunnel,
        pools: Vec<Pool>,
    ) -> Result<Option<IpAddr>, ipam::Error> {
        let operation = EnsureTunnelAddress {
            host: self.worker.node.clone(),
            tunnel,
            pools,
            config: self.config().await?,
            now: Timestamp::now(),
        };
        store::drive(&*self.worker.datastore, operation.start()).await
    }

    /// Removes the endpoint and releases its addresses, or leaves both in the spool. False where the
    /// datastore does not answer.
    async fn remove(&mut self, delete: &DeleteWorkload) -> bool {
        let spool = Path::new(SPOOL);
        let mut answers = true;
        let key = delete.id.endpoint_key(&self.worker.node);
        let container = &delete.id.container_id;
        let removed = match self.worker.datastore.remove_endpoint(&key, container).await {
            Ok(()) if delete.release_addresses => self.release(delete.id.handles()).await,
            Ok(()) => Ok(()),
            Err(why) => {
                answers = !matches!(why, Error::Unreachable { .. } | Error::Busy { .. });
                Err(why.to_string())
            }
        };
        match removed {
            Ok(()) => spool::done(spool, delete),
            // It has been told, and waits.
            Err(why) if spool::path(spool, delete).exists() => {
                tracing::debug!("container {container} still waits for its removal: {why}");
            }
            Err(why) => match spool::leave(spool, delete) {
                Ok(()) => tracing::warn!("container {container} is removed later: {why}"),
                Err(lost) => tracing::error!(
                    "container {container} is not removed ({why}), and {SPOOL} takes no note \
                         of it ({lost}); release handle {} by hand",
                    delete.id.handle()
                ),
            },
        }
        answers
    }

    /// Gives this node an address on a tunnel, or takes it away, in IPAM and on the Node resource.
    async fn tunnel_address(
        &mut self,
        tunnel: Tunnel,
        pools: Option<Vec<Pool>>,
    ) -> Result<(), String> {
        let worker = self.worker.clone();
        match pools {
            Some(pools) => {
                let address = self.ensure_tunnel_address(tunnel, pools).await;
                let address = address.map_err(|why| why.to_string())?;
                worker.set_tunnel_address(tunnel, address).await.map_err(|why| why.to_string())
            }
            None => {
                worker.set_tunnel_address(tunnel, None).await.map_err(|why| why.to_string())?;
                self.release([tunnel.handle(&worker.node)]).await
            }
        }
    }
}

impl Worker {
    async fn tell(&self, event: Event) {
        if self.inbox.send(event).await.is_err() {
            tracing::debug!("the agent is stopping; a result is lost");
        }
    }

    async fn write_endpoint(&self, endpoint: WorkloadEndpoint) -> Result<(), Refusal> {
        if endpoint.metadata.uid.is_none() {
            return self.store_endpoint(endpoint).await.map_err(refusal);
        }
        // Kubernetes' pod has one, which the server compares.
        let written = self.datastore.create(&endpoint.key(), endpoint.to_stored()).await;
        match written {
            Ok(_) => Ok(()),
            Err(Error::Conflict(_) | Error::NotFound(_)) => {
                let namespace = endpoint.metadata.namespace.as_deref().unwrap_or_default();
                let message = format!(
                    "pod {namespace}/{} is gone from Kubernetes, or another one has taken its \
                     name, while it was being added; if it is still wanted, kubelet adds it again",
                    endpoint.spec.pod
                );
                Err(Refusal { retry: true, message })
            }
            Err(why) => Err(refusal(why)),
        }
    }

    /// Writes an endpoint, and before it the profile of its network if that is missing: without one
    /// all its traffic is denied.
    async fn store_endpoint(&self, endpoint: WorkloadEndpoint) -> Result<(), Error> {
        if let Some(profile) = node::network_profile(&endpoint) {
            match typed::create(&*self.datastore, profile).await {
                // It may have been changed since: it is the operator's.
                Ok(_) | Err(Error::Conflict(_)) => {}
                Err(why) => return Err(why),
            }
        }
        let namespace = endpoint.metadata.namespace.clone();
        let name = endpoint.metadata.name.clone();
        for _ in 0..ATTEMPTS_MAX {
            let written = match typed::create(&*self.datastore, endpoint.clone()).await {
                Err(Error::Conflict(_)) => {
                    self.replace_endpoint(namespace.as_deref(), &name, &endpoint).await
                }
                created => created.map(|_| ()),
            };
            match written {
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                other => return other,
            }
        }
        Err(Error::Conflict(endpoint.key()))
    }

    async fn replace_endpoint(
        &self,
        namespace: Option<&str>,
        name: &str,
        endpoint: &WorkloadEndpoint,
    ) -> Result<(), Error> {
        let stored = typed::get::<WorkloadEndpointSpec>(&*self.datastore, namespace, name).await?;
        let Some(mut stored) = stored else { return Err(Error::NotFound(endpoint.key())) };
        stored.spec = endpoint.spec.clone();
        stored.metadata.labels = endpoint.metadata.labels.clone();
        typed::update(&*self.datastore, stored).await.map(|_| ())
    }

    async fn set_tunnel_address(
        &self,
        tunnel: Tunnel,
        address: Option<IpAddr>,
    ) -> Result<(), Error> {
        let address = address.map(|address| address.to_string());
        let key = Key::cluster(Kind::Node, &self.node);
        for _ in 0..ATTEMPTS_MAX {
            let stored = typed::get::<NodeSpec>(&*self.datastore, None, &self.node).await?;
            let Some(mut node) = stored else { return Err(Error::NotFound(key)) };
            let held = match tunnel {
                // A node without BGP has no part for it; such a node has no address either.
                Tunnel::Ipip => &mut node.spec.bgp.get_or_insert_default().ipv4_ipip_tunnel_addr,
                _ => &mut node.spec.ipv4_vxlan_tunnel_addr,
            };
            if *held == address {
                return Ok(());
            }
            held.clone_from(&address);
            match typed::update(&*self.datastore, node).await {
                Err(Error::Conflict(_)) => {}
                other => return other.map(|_| ()),
            }
        }
        Err(Error::Conflict(key))
    }
}

fn refusal(error: Error) -> Refusal {
    let retry = !matches!(error, Error::Settings(_) | Error::Corrupt { .. });
    Refusal { retry, message: error.to_string() }
}

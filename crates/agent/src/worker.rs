//! The datastore's side of effects: addresses one at a time, endpoints beside them.
//!
//! Addresses are assigned and released by one task, so that this node's requests never conflict
//! with each other; endpoints are written by tasks of their own.

use crate::spool;
use ipam::{AssignAddress, AutoAssign, EnsureTunnelAddress, Pool, ReadConfig, ReleaseByHandle};
use jiff::Timestamp;
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

#[derive(Clone)]
struct Worker {
    datastore: Arc<dyn Datastore>,
    node: String,
    inbox: mpsc::Sender<Event>,
}

/// Starts the worker; jobs are sent to what it returns.
pub(crate) fn start(
    datastore: Arc<dyn Datastore>,
    node: String,
    inbox: mpsc::Sender<Event>,
) -> mpsc::Sender<Job> {
    let (jobs, mut waiting) = mpsc::channel(JOBS_MAX);
    let worker = Worker { datastore, node, inbox };
    tokio::spawn(async move {
        while let Some(job) = waiting.recv().await {
            worker.carry_out(job).await;
        }
    });
    jobs
}

impl Worker {
    async fn carry_out(&self, job: Job) {
        match job {
            Job::Assign { id, assign } => {
                let result = self.assign(&assign).await;
                self.tell(Event::Assigned { id, result }).await;
            }
            Job::WriteEndpoint { id, endpoint } => {
                let worker = self.clone();
                tokio::spawn(async move {
                    let result = worker.write_endpoint(*endpoint).await.map_err(refusal);
                    worker.tell(Event::Written { id, written: Written::Endpoint(result) }).await;
                });
            }
            Job::Remove { id, delete } => {
                self.remove(&delete).await;
                self.tell(Event::Written { id, written: Written::Removed }).await;
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
                let worker = self.clone();
                let wanted = pools.is_some();
                let result = self.tunnel_address(tunnel, pools).await;
                tokio::spawn(async move {
                    if let Err(why) = &result {
                        tracing::warn!("the address of this node's {tunnel:?} tunnel: {why}");
                        tokio::time::sleep(TUNNEL_PAUSE).await;
                    }
                    worker.tell(Event::TunnelAddress { tunnel, wanted, result }).await;
                });
            }
        }
    }

    async fn tell(&self, event: Event) {
        if self.inbox.send(event).await.is_err() {
            tracing::debug!("the agent is stopping; a result is lost");
        }
    }

    /// Addresses of both families: all or none.
    async fn assign(&self, assign: &Assign) -> Result<Vec<IpAddr>, Refusal> {
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

    async fn assign_all(&self, assign: &Assign) -> Result<Vec<IpAddr>, ipam::Error> {
        let config = self.config().await?;
        let now = Timestamp::now();
        let mut attributes = assign.attributes.clone();
        attributes.insert("timestamp".to_owned(), ipam::timestamp(now));
        let mut assigned = Vec::new();
        match &assign.addresses {
            Addresses::These(addresses, pools) => {
                for address in addresses {
                    let operation = AssignAddress {
                        address: *address,
                        host: self.node.clone(),
                        handle: assign.handle.clone(),
                        attributes: attributes.clone(),
                        pools: pools.clone(),
                        config: config.clone(),
                        now,
                    };
                    let given = store::drive(&*self.datastore, operation.start()).await?;
                    assigned.push(given.addr());
                }
            }
            Addresses::Any(families) => {
                for (count, pools) in families {
                    let operation = AutoAssign {
                        host: self.node.clone(),
                        handle: assign.handle.clone(),
                        attributes: attributes.clone(),
                        pools: pools.clone(),
                        count: *count,
                        max_blocks: None,
                        config: config.clone(),
                        reserved: vec![],
                        known_affine_blocks: assign.own_blocks.clone(),
                        now,
                    };
                    let given = store::drive(&*self.datastore, operation.start()).await?;
                    assigned.extend(given.iter().map(ipnet::IpNet::addr));
                }
            }
        }
        Ok(assigned)
    }

    async fn config(&self) -> Result<IpamConfig, ipam::Error> {
        store::drive(&*self.datastore, ReadConfig.start()).await
    }

    /// Releases what is held under each of the handles; the settings are read once.
    async fn release(&self, handles: impl IntoIterator<Item = String>) -> Result<(), String> {
        let said = |why: ipam::Error| why.to_string();
        let (config, now) = (self.config().await.map_err(said)?, Timestamp::now());
        for handle in handles {
            let operation = ReleaseByHandle { handle, config: config.clone(), now };
            store::drive(&*self.datastore, operation.start()).await.map_err(said)?;
        }
        Ok(())
    }

    async fn ensure_tunnel_address(
        &self,
        tunnel: Tunnel,
        pools: Vec<Pool>,
    ) -> Result<Option<IpAddr>, ipam::Error> {
        let operation = EnsureTunnelAddress {
            host: self.node.clone(),
            tunnel,
            pools,
            config: self.config().await?,
            now: Timestamp::now(),
        };
        store::drive(&*self.datastore, operation.start()).await
    }

    /// Writes an endpoint, and before it the profile of its network if that is missing: without one
    /// all its traffic is denied.
    async fn write_endpoint(&self, endpoint: WorkloadEndpoint) -> Result<(), Error> {
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

    /// Removes the endpoint and releases its addresses, or leaves both in the spool. False where the
    /// datastore does not answer.
    async fn remove(&self, delete: &DeleteWorkload) -> bool {
        let spool = Path::new(SPOOL);
        let mut answers = true;
        let removed = match self.remove_endpoint(delete).await {
            Ok(()) if delete.release_addresses => self.release(delete.id.handles()).await,
            Ok(()) => Ok(()),
            Err(why) => {
                answers = !matches!(why, Error::Unreachable { .. });
                Err(why.to_string())
            }
        };
        match removed {
            Ok(()) => spool::done(spool, delete),
            Err(why) => {
                let container = &delete.id.container_id;
                match spool::leave(spool, delete) {
                    Ok(()) => tracing::warn!("container {container} is removed later: {why}"),
                    Err(lost) => tracing::error!(
                        "container {container} is not removed ({why}), and {SPOOL} takes no note \
                         of it ({lost}); release handle {} by hand",
                        delete.id.handle()
                    ),
                }
            }
        }
        answers
    }

    async fn remove_endpoint(&self, delete: &DeleteWorkload) -> Result<(), Error> {
        let key = delete.id.endpoint_key(&self.node);
        for _ in 0..ATTEMPTS_MAX {
            let Some(entry) = self.datastore.get(&key).await? else { return Ok(()) };
            let stored = WorkloadEndpoint::from_stored(&entry.value, entry.revision);
            if stored.is_ok_and(|endpoint| endpoint.spec.container_id != delete.id.container_id) {
                // The pod runs in a newer container already.
                return Ok(());
            }
            match self.datastore.delete(&key, Some(entry.revision)).await {
                Err(Error::Conflict(_)) => {}
                Err(Error::NotFound(_)) => return Ok(()),
                other => return other,
            }
        }
        Err(Error::Conflict(key))
    }

    /// Gives this node an address on a tunnel, or takes it away, in IPAM and on the Node resource.
    async fn tunnel_address(&self, tunnel: Tunnel, pools: Option<Vec<Pool>>) -> Result<(), String> {
        match pools {
            Some(pools) => {
                let address = self.ensure_tunnel_address(tunnel, pools).await;
                let address = address.map_err(|why| why.to_string())?;
                self.set_tunnel_address(tunnel, address).await.map_err(|why| why.to_string())
            }
            None => {
                self.set_tunnel_address(tunnel, None).await.map_err(|why| why.to_string())?;
                self.release([tunnel.handle(&self.node)]).await
            }
        }
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

//! What is to be done, done: each job asks the API again right before it takes anything away.

use crate::Datastores;
use crate::cluster::{CREATED_BY, CREATOR, Made, Pod, endpoint_key};
use crate::garbage::{GoneHost, Leak, is_held};
use crate::{configuration, host_endpoints, mirror, node_labels};
use anyhow::{Context, Result, anyhow, bail};
use ipam::{ReleaseBlockAffinity, ReleaseHost, ReleaseSeen, ReleaseUnclaimed};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{
    HostEndpointSpec, IpamConfig, Key, Kind, KubeControllersConfiguration, Metadata,
    NetworkPolicySpec, NodeSpec, ProfileSpec, Resource, Spec, Value, WorkloadEndpoint,
    WorkloadEndpointSpec,
};
use std::collections::HashMap;
use std::net::IpAddr;
use store::{Error, drive, typed};

/// Attempts at a compare-and-swap.
const ATTEMPTS_MAX: u32 = 5;

/// Something to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Job {
    /// Frees all that a handle holds.
    Free(Leak),
    /// Takes everything from a node that is gone.
    ReleaseHost(GoneHost),
    /// Takes an empty block from a node.
    ReleaseBlock(String, IpNet),
    /// Deletes an empty block that nobody claims.
    DeleteBlock(IpNet),
    /// Deletes Calico's node, in etcd.
    DeleteNode(String),
    /// Brings the labels of Calico's node up to date, in etcd.
    SyncLabels(String),
    HostEndpoint(host_endpoints::Change),
    Mirror(mirror::Change),
    /// Says in the configuration's status what runs.
    Tell(Box<KubeControllersConfiguration>),
}

/// What became of a job.
#[derive(Debug)]
pub(crate) enum Done {
    /// Addresses were freed.
    Freed(Vec<IpAddr>),
    /// They are live after all.
    Acquitted(Leak),
    /// A host endpoint is like this; `None`: gone.
    HostEndpoint(String, Option<Box<Made>>),
    /// All else.
    Well,
}

/// Carries out the jobs of one round; what it has asked the API it knows until the round's end.
pub(crate) struct Worker<'a> {
    datastores: &'a Datastores,
    config: Option<IpamConfig>,
    gone: HashMap<String, bool>,
}

impl<'a> Worker<'a> {
    pub(crate) fn new(datastores: &'a Datastores) -> Worker<'a> {
        Worker { datastores, config: None, gone: HashMap::new() }
    }

    /// Does it.
    ///
    /// # Errors
    /// What kept it from being done; it is then tried again later.
    pub(crate) async fn carry_out(
        &mut self,
        job: Job,
        environment: &crate::settings::Environment,
    ) -> Result<Done> {
        match job {
            Job::Free(leak) => {
                let what = leak.handle.clone();
                self.free(leak).await.with_context(|| format!("handle {what} is not released"))
            }
            Job::ReleaseHost(host) => {
                let what = host.host.clone();
                let released = self.release_host(host).await;
                released.with_context(|| format!("what node {what} had is not released"))
            }
            Job::ReleaseBlock(host, block) => {
                let operation =
                    ReleaseBlockAffinity { host: host.clone(), block, now: Timestamp::now() };
                if drive(&*self.datastores.calico, operation.start()).await? {
                    tracing::info!("block {block}, which is empty, is taken from node {host}");
                }
                Ok(Done::Well)
            }
            Job::DeleteBlock(block) => {
                let operation = ReleaseUnclaimed { block };
                if drive(&*self.datastores.calico, operation.start()).await? {
                    tracing::info!("block {block}, which is empty and no node's, is deleted");
                }
                Ok(Done::Well)
            }
            Job::DeleteNode(name) => self.delete_node(&name).await,
            Job::SyncLabels(name) => self.sync_labels(&name).await,
            Job::HostEndpoint(change) => self.host_endpoint(change).await,
            Job::Mirror(change) => self.mirror(change).await,
            Job::Tell(stored) => {
                let calico = &*self.datastores.calico;
                configuration::tell(calico, environment, *stored).await?;
                Ok(Done::Well)
            }
        }
    }

    async fn config(&mut self) -> Result<IpamConfig> {
        if self.config.is_none() {
            let stored = match self.datastores.calico.get(&Key::IpamConfig).await {
                // Calico's own role does not allow it; nothing but how long a released address rests
                // is taken from it here.
                Err(Error::Refused { .. }) => None,
                stored => stored?,
            };
            self.config = Some(match stored.as_ref().map(Value::decode).transpose()? {
                Some(Value::IpamConfig(config)) => config,
                _ => IpamConfig::default(),
            });
        }
        Ok(self.config.clone().unwrap_or_default())
    }

    /// Whether the API, too, says that a node is gone.
    async fn is_gone(&mut self, host: &str) -> Result<bool> {
        if let Some(known) = self.gone.get(host) {
            return Ok(*known);
        }
        let node = Key::cluster(Kind::Node, host);
        let mut in_kubernetes = node.clone();
        if !self.datastores.same
            && let Some(entry) = self.datastores.calico.get(&node).await?
        {
            let node = model::Node::from_stored(&entry.value, entry.revision)?;
            let mut references = node.spec.orch_refs.into_iter();
            let reference = references.find(|one| one.orchestrator == "k8s");
            let Some(name) = reference.and_then(|one| one.node_name) else {
                self.gone.insert(host.to_owned(), false);
                return Ok(false);
            };
            in_kubernetes = Key::cluster(Kind::Node, name);
        }
        let gone = self.datastores.kubernetes.get(&in_kubernetes).await?.is_none();
        self.gone.insert(host.to_owned(), gone);
        Ok(gone)
    }

    async fn free(&mut self, leak: Leak) -> Result<Done> {
        for host in &leak.gone {
            if !self.is_gone(host).await? {
                return Ok(Done::Acquitted(leak));
            }
        }
        for (node, namespace, name) in &leak.pods {
            let key = endpoint_key(node, namespace, name);
            let Some(entry) = self.datastores.kubernetes.get(&key).await? else { continue };
            let pod = Pod::of(&WorkloadEndpoint::from_stored(&entry.value, entry.revision)?);
            let mut addresses = leak.addresses.values().flat_map(|of_block| of_block.keys());
            if addresses.any(|address| is_held(Some(&pod), *address, &leak.handle)) {
                return Ok(Done::Acquitted(leak));
            }
        }
        let released = self.release(&leak).await?;
        if !released.is_empty() {
            let pods: Vec<String> = leak
                .pods
                .iter()
                .map(|(node, namespace, name)| format!("pod {namespace}/{name} on node {node}"))
                .collect();
            tracing::info!(
                "freed {}, held under handle {}: there is no {} that has it",
                list(&released),
                leak.handle,
                pods.join(", ")
            );
        }
        Ok(Done::Freed(released))
    }

    async fn release(&mut self, leak: &Leak) -> Result<Vec<IpAddr>> {
        let operation = ReleaseSeen {
            handle: leak.handle.clone(),
            seen: leak.addresses.clone(),
            config: self.config().await?,
            now: Timestamp::now(),
        };
        Ok(drive(&*self.datastores.calico, operation.start()).await?)
    }

    async fn release_host(&mut self, gone: GoneHost) -> Result<Done> {
        if !self.is_gone(&gone.host).await? {
            return Ok(Done::Well);
        }
        let mut freed = Vec::new();
        for tunnel in &gone.tunnels {
            freed.extend(self.release(tunnel).await?);
        }
        let operation = ReleaseHost {
            host: gone.host.clone(),
            config: self.config().await?,
            now: Timestamp::now(),
        };
        let blocks = drive(&*self.datastores.calico, operation.start()).await?;
        tracing::info!(
            "node {} is gone: released its blocks {} and its tunnels' addresses {}",
            gone.host,
            list(&blocks),
            list(&freed)
        );
        Ok(Done::Freed(freed))
    }

    async fn delete_node(&mut self, name: &str) -> Result<Done> {
        if self.is_gone(name).await? {
            match typed::delete::<NodeSpec>(&*self.datastores.calico, None, name).await {
                Ok(()) => tracing::info!("deleted Node({name}), which is gone from Kubernetes"),
                Err(Error::NotFound(_)) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Ok(Done::Well)
    }

    async fn sync_labels(&mut self, name: &str) -> Result<Done> {
        for _ in 0..ATTEMPTS_MAX {
            let calico = &*self.datastores.calico;
            let Some(mut node) = typed::get::<NodeSpec>(calico, None, name).await? else {
                return Ok(Done::Well);
            };
            let mut references = node.spec.orch_refs.iter();
            let reference = references.find(|one| one.orchestrator == "k8s");
            let Some(kubernetes) = reference.and_then(|one| one.node_name.clone()) else {
                return Ok(Done::Well);
            };
            let theirs =
                typed::get::<NodeSpec>(&*self.datastores.kubernetes, None, &kubernetes).await?;
            let Some(theirs) = theirs else { return Ok(Done::Well) };
            if !node_labels::sync(&mut node, &theirs.metadata.labels) {
                return Ok(Done::Well);
            }
            match typed::update(calico, node).await {
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                other => return other.map(|_| Done::Well).map_err(Into::into),
            }
        }
        bail!("Node({name}) was changed by others at every attempt to set its labels")
    }

    async fn host_endpoint(&mut self, change: host_endpoints::Change) -> Result<Done> {
        let calico = &*self.datastores.calico;
        match change {
            host_endpoints::Change::Remove(name) => {
                match typed::delete::<HostEndpointSpec>(calico, None, &name).await {
                    Ok(()) => tracing::info!("removed HostEndpoint({name})"),
                    Err(Error::NotFound(_)) => {}
                    Err(why) => return Err(why.into()),
                }
                Ok(Done::HostEndpoint(name, None))
            }
            host_endpoints::Change::Put(name, made) => {
                self.put_host_endpoint(&name, &made).await?;
                Ok(Done::HostEndpoint(name, Some(made)))
            }
        }
    }

    async fn put_host_endpoint(&self, name: &str, made: &Made) -> Result<()> {
        let calico = &*self.datastores.calico;
        for _ in 0..ATTEMPTS_MAX {
            let stored = typed::get::<HostEndpointSpec>(calico, None, name).await?;
            let written = match stored {
                None => {
                    let metadata = Metadata {
                        labels: made.labels.clone(),
                        annotations: made.annotations.clone(),
                        ..Metadata::named(name)
                    };
                    let endpoint = Resource { metadata, spec: made.spec.clone(), status: None };
                    typed::create(calico, endpoint).await
                }
                Some(mut stored) => {
                    let creator = stored.metadata.labels.get(CREATED_BY);
                    if creator.is_none_or(|creator| creator != CREATOR) {
                        bail!(
                            "HostEndpoint({name}) is not of kube-controllers' making: rename it, \
                             or give it the label {CREATED_BY}={CREATOR}"
                        );
                    }
                    stored.metadata.labels = made.labels.clone();
                    stored.metadata.annotations.extend(made.annotations.clone());
                    let ports = std::mem::take(&mut stored.spec.ports);
                    stored.spec = HostEndpointSpec { ports, ..made.spec.clone() };
                    typed::update(calico, stored).await
                }
            };
            match written {
                Ok(_) => {
                    tracing::info!("wrote HostEndpoint({name})");
                    return Ok(());
                }
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                Err(why) => return Err(why.into()),
            }
        }
        bail!("HostEndpoint({name}) was changed by others at every attempt to write it")
    }

    async fn mirror(&mut self, change: mirror::Change) -> Result<Done> {
        match change {
            mirror::Change::Remove(key) | mirror::Change::Copy(key) => {
                let Key::Resource { kind, namespace, name } = &key else {
                    bail!("{key} is no resource");
                };
                match kind {
                    Kind::Profile => self.copy::<ProfileSpec>(None, name).await,
                    _ => self.copy::<NetworkPolicySpec>(namespace.as_deref(), name).await,
                }
            }
            mirror::Change::Labels { endpoint, pod } => self.copy_labels(&endpoint, &pod).await,
        }
    }

    /// Makes the object in etcd what it is in Kubernetes now, or removes it.
    async fn copy<S: Spec>(&self, namespace: Option<&str>, name: &str) -> Result<Done> {
        let Datastores { calico, kubernetes, .. } = self.datastores;
        for _ in 0..ATTEMPTS_MAX {
            let wanted = typed::get::<S>(&**kubernetes, namespace, name).await?;
            let stored = typed::get::<S>(&**calico, namespace, name).await?;
            let written = match (wanted, stored) {
                (None, None) => return Ok(Done::Well),
                (None, Some(_)) => typed::delete::<S>(&**calico, namespace, name).await,
                (Some(wanted), None) => typed::create(&**calico, written(wanted)).await.map(|_| ()),
                (Some(wanted), Some(mut stored)) => {
                    if stored.spec == wanted.spec
                        && stored.metadata.labels == wanted.metadata.labels
                    {
                        return Ok(Done::Well);
                    }
                    stored.spec = wanted.spec;
                    stored.metadata.labels = wanted.metadata.labels;
                    typed::update(&**calico, stored).await.map(|_| ())
                }
            };
            match written {
                Ok(()) => {
                    tracing::debug!("{} {name} is as Kubernetes has it", S::KIND.name());
                    return Ok(Done::Well);
                }
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                Err(why) => return Err(why.into()),
            }
        }
        bail!("{} {name} was changed by others at every attempt to write it", S::KIND.name())
    }

    async fn copy_labels(&self, endpoint: &Key, pod: &Key) -> Result<Done> {
        let Datastores { calico, kubernetes, .. } = self.datastores;
        let named = |key: &Key| match key {
            Key::Resource { namespace, name, .. } => Ok((namespace.clone(), name.clone())),
            other => Err(anyhow!("{other} is no endpoint")),
        };
        let ((namespace, name), (_, of_pod)) = (named(endpoint)?, named(pod)?);
        let namespace = namespace.as_deref();
        for _ in 0..ATTEMPTS_MAX {
            let wanted =
                typed::get::<WorkloadEndpointSpec>(&**kubernetes, namespace, &of_pod).await?;
            let stored = typed::get::<WorkloadEndpointSpec>(&**calico, namespace, &name).await?;
            let (Some(wanted), Some(mut stored)) = (wanted, stored) else { return Ok(Done::Well) };
            if stored.metadata.labels == wanted.metadata.labels {
                return Ok(Done::Well);
            }
            stored.metadata.labels = wanted.metadata.labels;
            match typed::update(&**calico, stored).await {
                Ok(_) => return Ok(Done::Well),
                Err(Error::Conflict(_) | Error::NotFound(_)) => {}
                Err(why) => return Err(why.into()),
            }
        }
        bail!("{endpoint} was changed by others at every attempt to set its labels")
    }
}

/// A resource of Kubernetes' as a new one in etcd.
fn written<S: Spec>(of_kubernetes: Resource<S>) -> Resource<S> {
    let Metadata { name, namespace, labels, .. } = of_kubernetes.metadata;
    let metadata = Metadata { namespace, labels, ..Metadata::named(name) };
    Resource { metadata, spec: of_kubernetes.spec, status: None }
}

fn list<T: ToString>(items: &[T]) -> String {
    match items {
        [] => "none".to_owned(),
        items => items.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

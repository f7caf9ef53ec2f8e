//! The course of CNI requests: addresses, endpoint, route, answer.
//!
//! ```text
//!  ADD: [in sync? pod told?] ─▶ Assigning ─▶ Settling { stored?, [interface made?] applied? } ─▶ reply
//!                        └── refused ──────┴─▶ Undoing ─▶ reply Failed
//!  DEL: [its ADD's writes over?] ─▶ Removing ─▶ reply
//! ```

mod endpoint;
mod wishes;

pub use endpoint::network_profile;

use crate::api::{AddWorkload, DeleteWorkload, Reply, WorkloadId};
use crate::cluster::Cluster;
use crate::event::{ApplyFailure, Effect, Refusal, RequestId, Written};
use ipnet::IpNet;
use model::kubernetes::cni::Annotation;
use model::{Entry, Key, Kind};
use std::collections::{BTreeMap, VecDeque};
use std::net::IpAddr;
use wishes::{Asked, Source};

/// Requests under way at most; more are told to come again.
const REQUESTS_MAX: usize = 1024;
/// Removals remembered at most, the last ones: runtimes repeat each within minutes.
const REMOVED_MAX: usize = 512;

/// All requests under way.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    adds: BTreeMap<RequestId, Add>,
    removals: BTreeMap<RequestId, Removal>,
    /// What was removed last, so that to remove it again costs the datastore nothing.
    removed: VecDeque<DeleteWorkload>,
    applied: u64,
}

#[derive(Debug)]
struct Add {
    request: AddWorkload,
    stage: Stage,
    /// Its interface is there. Without it nothing can be routed.
    has_interface: bool,
    /// The MAC that the container's interface is to have in place of its own.
    mac: Option<String>,
    /// The annotation that says where its addresses are to come from.
    annotation: Option<Annotation>,
}

#[derive(Debug)]
struct Removal {
    delete: DeleteWorkload,
    /// The answer, where it is not that all went well.
    refusal: Option<Refusal>,
}

#[derive(Debug)]
enum Stage {
    Waiting,
    /// Kubernetes is asked for the pod or its namespace, of which it has told nothing yet.
    Reading(Key),
    Assigning,
    Settling {
        addresses: Vec<IpNet>,
        stored: bool,
        generation: Option<u64>,
        applied: bool,
    },
    /// Nobody wants it any more, but the datastore is still at work for it. Only what comes after that
    /// work removes all of it.
    Abandoned {
        removal: RequestId,
        delete: DeleteWorkload,
    },
}

impl Stage {
    /// Whether an answer of the datastore is still to come.
    fn awaits_datastore(&self) -> bool {
        match self {
            Stage::Waiting | Stage::Reading(_) | Stage::Settling { stored: true, .. } => false,
            Stage::Assigning | Stage::Settling { .. } | Stage::Abandoned { .. } => true,
        }
    }
}

impl Requests {
    /// The newest plan that the kernel has taken.
    pub(crate) fn applied_generation(&self) -> u64 {
        self.applied
    }

    /// Takes an ADD. It starts with the next plan, once the node is in sync.
    pub(crate) fn add(
        &mut self,
        id: RequestId,
        request: AddWorkload,
        cluster: &mut Cluster,
    ) -> Vec<Effect> {
        if self.adds.len() + self.removals.len() >= REQUESTS_MAX {
            let message = format!("{REQUESTS_MAX} requests are under way on this node; try again");
            return vec![failed(id, Refusal { retry: true, message })];
        }
        let has_interface = !request.interface_follows;
        if has_interface {
            cluster.interface_exists(&request.host_interface);
        }
        self.removed.retain(|gone| gone.id != request.id);
        let (stage, mac, annotation) = (Stage::Waiting, None, None);
        self.adds.insert(id, Add { request, stage, has_interface, mac, annotation });
        vec![]
    }

    /// The interface of an ADD under way is there. Of one that was given up, or answered already,
    /// nothing is wanted any more.
    pub(crate) fn interface_made(&mut self, workload: &WorkloadId, cluster: &mut Cluster) {
        let wanted = |add: &&mut Add| {
            add.request.id == *workload && !matches!(add.stage, Stage::Abandoned { .. })
        };
        for add in self.adds.values_mut().filter(wanted) {
            add.has_interface = true;
            cluster.interface_exists(&add.request.host_interface);
        }
    }

    /// Starts what has waited for the node to be in sync.
    pub(crate) fn start_waiting(&mut self, cluster: &mut Cluster) -> Vec<Effect> {
        let waiting = self.adds.iter().filter(|(_, add)| matches!(add.stage, Stage::Waiting));
        let ids: Vec<RequestId> = waiting.map(|(id, _)| *id).collect();
        ids.into_iter().flat_map(|id| self.start(id, cluster)).collect()
    }

    fn start(&mut self, id: RequestId, cluster: &mut Cluster) -> Vec<Effect> {
        let Some(add) = self.adds.get_mut(&id) else { return vec![] };
        if !cluster.datastore_ready() {
            self.adds.remove(&id);
            let message = "Calico is currently not ready to process requests: \
                           ClusterInformation(default) says datastoreReady: false, as during a \
                           migration; `calicoctl datastore migrate unlock` ends one"
                .to_owned();
            return vec![failed(id, Refusal { retry: true, message })];
        }
        if let Some(key) = cluster.awaited(&add.request.id) {
            add.stage = Stage::Reading(key.clone());
            return vec![Effect::Read { id, key }];
        }
        let asked = match wishes::read(&add.request, cluster) {
            Ok(asked) => asked,
            Err(message) => {
                self.adds.remove(&id);
                return vec![failed(id, Refusal { retry: false, message })];
            }
        };
        let Asked { source, mac, annotation } = asked;
        if let Some(mac) = &mac {
            add.request.mac.clone_from(mac);
        }
        (add.mac, add.annotation) = (mac, annotation);
        if let Some(known) = cluster.endpoint(&add.request.id) {
            // The runtime asks again for what it has got already: the same answer, nothing new.
            let addresses: Vec<IpNet> = known.addresses.iter().copied().collect();
            add.stage =
                Stage::Settling { addresses, stored: true, generation: None, applied: false };
            return vec![];
        }
        match source {
            Source::Known(addresses) => self.settle(id, addresses, cluster),
            Source::Assign(assign) => {
                add.stage = Stage::Assigning;
                vec![Effect::Assign { id, assign }]
            }
        }
    }

    /// An object has been read, or not. The ADD starts with the next plan.
    pub(crate) fn on_read(
        &mut self,
        id: RequestId,
        result: Result<Option<Entry>, Refusal>,
        cluster: &mut Cluster,
    ) -> Option<Effect> {
        let add = self.adds.get_mut(&id)?;
        let Stage::Reading(key) = &add.stage else { return None };
        let pod = &add.request.id;
        let refusal = match result {
            Err(refusal) => refusal,
            Ok(found) => {
                let is_awaited = |cluster: &Cluster| cluster.awaited(pod).as_ref() == Some(key);
                // A watch may have told of it meanwhile, and then knows better.
                if let Some(entry) = found.filter(|_| is_awaited(cluster)) {
                    cluster.changed(entry);
                }
                if !is_awaited(cluster) {
                    add.stage = Stage::Waiting;
                    return None;
                }
                let (namespace, pod, node) = (&pod.namespace, &pod.pod, cluster.node());
                let message = match key {
                    Key::Resource { kind: Kind::Profile, .. } => format!(
                        "Kubernetes has no namespace {namespace} for pod {pod} any more: it was \
                         deleted with its pods"
                    ),
                    _ => format!(
                        "Kubernetes has no pod {namespace}/{pod} on node {node}: it was deleted, \
                         or NODENAME of calico-node is not the Node's name in Kubernetes (compare \
                         `kubectl get pod -n {namespace} {pod} -o wide`)"
                    ),
                };
                Refusal { retry: true, message }
            }
        };
        self.adds.remove(&id);
        Some(failed(id, refusal))
    }

    /// Addresses have come, or not.
    pub(crate) fn on_assigned(
        &mut self,
        id: RequestId,
        result: Result<Vec<IpAddr>, Refusal>,
        cluster: &mut Cluster,
    ) -> Vec<Effect> {
        if let Some(removal) = self.abandoned(id) {
            return vec![removal];
        }
        match result {
            Ok(addresses) => {
                self.settle(id, addresses.into_iter().map(IpNet::from).collect(), cluster)
            }
            Err(mut refusal) => match self.adds.remove(&id) {
                Some(add) => {
                    if let Some(annotation) = add.annotation.filter(|_| !refusal.retry) {
                        refusal.message = annotation.wrong(refusal.message).to_string();
                    }
                    vec![failed(id, refusal)]
                }
                None => vec![],
            },
        }
    }

    /// The addresses stand: route them and store the endpoint.
    fn settle(
        &mut self,
        id: RequestId,
        addresses: Vec<IpNet>,
        cluster: &mut Cluster,
    ) -> Vec<Effect> {
        let Some(add) = self.adds.get_mut(&id) else { return vec![] };
        let request = &add.request;
        let endpoint = match cluster.pod(&request.id) {
            Some(pod) => endpoint::of_pod(pod, request, &addresses),
            None => endpoint::of(cluster.node(), request, &addresses),
        };
        cluster.set_endpoint(Box::new(endpoint.clone()));
        add.stage = Stage::Settling { addresses, stored: false, generation: None, applied: false };
        vec![Effect::WriteEndpoint { id, endpoint: Box::new(endpoint) }]
    }

    /// A datastore write is done.
    pub(crate) fn on_written(
        &mut self,
        id: RequestId,
        written: Written,
        cluster: &mut Cluster,
    ) -> Vec<Effect> {
        match written {
            Written::Endpoint(result) => {
                if let Some(removal) = self.abandoned(id) {
                    return vec![removal];
                }
                if let Some(Add { stage: Stage::Settling { stored, .. }, .. }) =
                    self.adds.get_mut(&id)
                {
                    *stored = true;
                }
                match result {
                    Ok(()) => self.finish(),
                    Err(refusal) => self.undo(id, refusal, cluster),
                }
            }
            Written::Removed => {
                let Some(Removal { delete, refusal }) = self.removals.remove(&id) else {
                    return vec![];
                };
                self.removed.truncate(REMOVED_MAX - 1);
                self.removed.push_front(delete);
                vec![match refusal {
                    Some(refusal) => failed(id, refusal),
                    None => Effect::Reply { id, reply: Reply::Done },
                }]
            }
        }
    }

    /// Plans made so far contain every endpoint that is settling, where its interface is there.
    pub(crate) fn settled(&mut self, newest: u64) -> Vec<Effect> {
        for add in self.adds.values_mut().filter(|add| add.has_interface) {
            if let Stage::Settling { generation, applied, .. } = &mut add.stage {
                let generation = *generation.get_or_insert(newest);
                *applied = *applied || generation <= self.applied;
            }
        }
        self.finish()
    }

    /// The kernel has taken a plan.
    pub(crate) fn on_applied(
        &mut self,
        newest: u64,
        failures: &[ApplyFailure],
        cluster: &mut Cluster,
    ) -> Vec<Effect> {
        self.applied = self.applied.max(newest);
        let mut broken = Vec::new();
        for (id, add) in &mut self.adds {
            let Stage::Settling { generation: Some(generation), applied, .. } = &mut add.stage
            else {
                continue;
            };
            if *generation > newest {
                continue;
            }
            let own = |failure: &&ApplyFailure| failure.concerns(&add.request.host_interface);
            match failures.iter().find(own) {
                None => *applied = true,
                Some(failure) => {
                    broken.push((*id, Refusal { retry: true, message: failure.message.clone() }))
                }
            }
        }
        let mut effects: Vec<Effect> =
            broken.into_iter().flat_map(|(id, refusal)| self.undo(id, refusal, cluster)).collect();
        effects.extend(self.finish());
        effects
    }

    /// Answers every ADD that is stored and applied.
    fn finish(&mut self) -> Vec<Effect> {
        let done =
            |add: &Add| matches!(add.stage, Stage::Settling { stored: true, applied: true, .. });
        let finished = self.adds.extract_if(.., |_, add| done(add));
        let answers = finished.filter_map(|(id, add)| match add.stage {
            Stage::Settling { addresses, .. } => {
                Some(Effect::Reply { id, reply: Reply::Added { addresses, mac: add.mac } })
            }
            Stage::Waiting | Stage::Reading(_) | Stage::Assigning | Stage::Abandoned { .. } => None,
        });
        answers.collect()
    }

    /// Takes back what an ADD has done, then answers with the refusal.
    fn undo(&mut self, id: RequestId, refusal: Refusal, cluster: &mut Cluster) -> Vec<Effect> {
        let Some(add) = self.adds.get(&id) else { return vec![] };
        cluster.remove_endpoint(&add.request.id);
        let delete = add.request.removal();
        let removal = Removal { delete: delete.clone(), refusal: Some(refusal) };
        self.removals.insert(id, removal);
        self.abandon(id, id, &delete).into_iter().collect()
    }

    /// Gives an ADD up: the removal, or `None` while it must wait for the datastore's answer.
    fn abandon(
        &mut self,
        id: RequestId,
        removal: RequestId,
        delete: &DeleteWorkload,
    ) -> Option<Effect> {
        let add = self.adds.get_mut(&id)?;
        if add.stage.awaits_datastore() {
            add.stage = Stage::Abandoned { removal, delete: delete.clone() };
            return None;
        }
        self.adds.remove(&id);
        Some(Effect::Remove { id: removal, delete: delete.clone() })
    }

    /// The removal that has waited for the datastore's answer to an ADD.
    fn abandoned(&mut self, id: RequestId) -> Option<Effect> {
        match self.adds.remove(&id)? {
            Add { stage: Stage::Abandoned { removal, delete }, .. } => {
                Some(Effect::Remove { id: removal, delete })
            }
            add => {
                self.adds.insert(id, add);
                None
            }
        }
    }

    /// Takes a DEL: the route goes with the next plan, the rest at once, or as soon as an ADD of the same
    /// container that was under way can add nothing to it.
    pub(crate) fn delete(
        &mut self,
        id: RequestId,
        delete: DeleteWorkload,
        cluster: &mut Cluster,
    ) -> Vec<Effect> {
        cluster.remove_endpoint(&delete.id);
        cluster.interface_gone(&delete.host_interface);
        if self.removed.contains(&delete) {
            return vec![Effect::Reply { id, reply: Reply::Done }];
        }
        self.removals.insert(id, Removal { delete: delete.clone(), refusal: None });
        let same = |add: &Add| {
            add.request.id == delete.id && !matches!(add.stage, Stage::Abandoned { .. })
        };
        let adds: Vec<RequestId> =
            self.adds.iter().filter(|(_, add)| same(add)).map(|(id, _)| *id).collect();
        let mut effects = Vec::new();
        let mut waits = false;
        for add in adds {
            waits |= self.abandon(add, id, &delete).is_none();
            let message = format!(
                "container {} was deleted while it was being added; the runtime adds it again if \
                 it is still wanted",
                delete.id.container_id
            );
            effects.push(failed(add, Refusal { retry: true, message }));
        }
        if !waits {
            effects.push(Effect::Remove { id, delete });
        }
        effects
    }

    /// CHECK: the endpoint is known under this container.
    pub(crate) fn check(&self, check: &DeleteWorkload, cluster: &Cluster) -> Reply {
        match cluster.endpoint(&check.id) {
            Some(endpoint) if endpoint.interface == check.host_interface => Reply::Done,
            Some(endpoint) => Reply::Failed {
                retry: false,
                message: format!(
                    "workload endpoint {} is on {}, not on {}; delete the pod to have it made anew",
                    check.id.endpoint_name(cluster.node()),
                    endpoint.interface,
                    check.host_interface
                ),
            },
            None => Reply::Failed {
                retry: false,
                message: format!(
                    "workload endpoint {} of container {} is not known on this node; \
                     delete the pod to have it made anew",
                    check.id.endpoint_name(cluster.node()),
                    check.id.container_id
                ),
            },
        }
    }
}

fn failed(id: RequestId, refusal: Refusal) -> Effect {
    Effect::Reply { id, reply: Reply::Failed { retry: refusal.retry, message: refusal.message } }
}

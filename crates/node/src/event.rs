//! All that can happen to a node, and all it can ask for.

use crate::api::{DeleteWorkload, Reply, Request};
use crate::connections::{Connection, Listed};
use crate::endpoint_status::EndpointStatuses;
use crate::explain::{KernelHolds, KernelQuestion};
use ipam::Pool;
use ipnet::IpNet;
use model::names::Tunnel;
use model::{Entry, Key, WorkloadEndpoint};
use policy::nflog_prefix::Names;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Names one request on the agent's socket.
pub type RequestId = u64;

/// All that can happen to a node.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Event {
    /// The datastore told something.
    Datastore(model::DatastoreEvent),
    /// The kernel's side that isn't ours has changed.
    Facts(Box<plan::Facts>),
    /// A program of this node asks.
    Request {
        /// Which request; the answer carries it too.
        id: RequestId,
        /// What it asks.
        request: Request,
    },
    /// An [`Effect::Assign`] is done.
    Assigned {
        /// Whose.
        id: RequestId,
        /// The addresses, or why not.
        result: Result<Vec<IpAddr>, Refusal>,
    },
    /// An [`Effect::Read`] is done.
    Read {
        /// For which request.
        id: RequestId,
        /// The object, if there is one; or why that is not known.
        result: Result<Option<Entry>, Refusal>,
    },
    /// An [`Effect::WriteEndpoint`] or [`Effect::Remove`] is done.
    Written {
        /// Whose.
        id: RequestId,
        /// What became of it.
        written: Written,
    },
    /// A plan has been applied, as far as it could be.
    Applied {
        /// Which plan.
        generation: u64,
        /// What the kernel refused.
        failures: Vec<ApplyFailure>,
    },
    /// An [`Effect::TunnelAddress`] is done.
    TunnelAddress {
        /// Of which tunnel.
        tunnel: Tunnel,
        /// Whether an address was wanted.
        wanted: bool,
        /// Why it failed.
        result: Result<(), String>,
    },
    /// The BGP speaker's best routes have changed, or it is in sync now.
    BgpRoutes {
        /// What has changed.
        changes: Vec<bgp::speaker::RouteChange>,
        /// As [`bgp::Speaker::in_sync`].
        in_sync: bool,
    },
    /// The BGP speaker's sessions have changed.
    BgpStatus(Box<bgp::status::SpeakerStatus>),
    /// An [`Effect::ReadKernel`] is done.
    KernelRead {
        /// For which request.
        id: RequestId,
        /// What the kernel holds.
        holds: Box<KernelHolds>,
    },
    /// An [`Effect::ListConnections`] is done.
    Connections(Vec<Connection>),
    /// The inbox is empty: time to plan.
    Idle,
}

/// What the kernel refused of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplyFailure {
    /// The device, route or table concerned, as `ip` or `nft` would name it.
    pub object: String,
    /// The workload interface concerned, if one is.
    pub interface: Option<String>,
    /// The object, the cause and the next step.
    pub message: String,
}

impl ApplyFailure {
    /// Whether a workload's interface may lack something: a route or setting of its own, or policy,
    /// which is in tables that are changed as a whole.
    pub fn concerns(&self, interface: &str) -> bool {
        self.interface.as_deref() == Some(interface) || self.object.starts_with("table ")
    }
}

/// Why a datastore operation for a request failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// Worth trying again later.
    pub retry: bool,
    /// The object, the cause and the next step.
    pub message: String,
}

/// What became of a datastore write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Written {
    /// The endpoint is stored.
    Endpoint(Result<(), Refusal>),
    /// The endpoint is removed and its addresses are released; or both are left in the spool.
    Removed,
}

/// All that a node can ask for.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Make the kernel like this. A newer plan supersedes older ones that wait, but not their
    /// updates of tables.
    Apply {
        /// Counts plans and updates.
        generation: u64,
        /// The whole of it; `None`: as before.
        plan: Option<Arc<plan::Plan>>,
        /// What has changed in the tables, beside the plan's own, since the last time.
        tables: Vec<kernel::nft::Update>,
    },
    /// Assign addresses; answer with [`Event::Assigned`].
    Assign {
        /// For which request.
        id: RequestId,
        /// What is wanted.
        assign: Box<Assign>,
    },
    /// Read a pod of Kubernetes' or its namespace, which has not been told yet; answer with
    /// [`Event::Read`].
    Read {
        /// For which request.
        id: RequestId,
        /// The key of its endpoint or profile.
        key: Key,
    },
    /// Ask another node's agent, and reply what it says.
    AskNode {
        /// For which request.
        id: RequestId,
        /// Its name, which it must prove.
        node: String,
        /// Where it is reached.
        address: Ipv4Addr,
        /// What it is asked.
        request: Request,
    },
    /// Store the endpoint, replacing one of the same name; answer with [`Event::Written`].
    WriteEndpoint {
        /// For which request.
        id: RequestId,
        /// The endpoint.
        endpoint: Box<WorkloadEndpoint>,
    },
    /// Remove the endpoint (if it is still this container's) and release its addresses; what can't
    /// be done now goes to the spool. Answer with [`Event::Written`].
    Remove {
        /// For which request.
        id: RequestId,
        /// Whose.
        delete: DeleteWorkload,
    },
    /// Give (`Some`: from these pools) or release (`None`) this node's address on a tunnel, in the
    /// datastore; answer with [`Event::TunnelAddress`].
    TunnelAddress {
        /// Of which tunnel.
        tunnel: Tunnel,
        /// Pools to take it from.
        pools: Option<Vec<Pool>>,
    },
    /// Make the BGP speaker do this from now on; `None`: run none.
    ConfigureBgp(Option<Box<bgp::Configuration>>),
    /// Tell other programs of the node which endpoints are routed.
    ShowEndpoints {
        /// `endpointStatusPathPrefix`; empty: tell nobody.
        prefix: String,
        /// All of them.
        endpoints: EndpointStatuses,
    },
    /// Read what the kernel holds; answer with [`Event::KernelRead`].
    ReadKernel {
        /// For which request.
        id: RequestId,
        /// Of what.
        question: KernelQuestion,
    },
    /// List connections; answer with [`Event::Connections`].
    ListConnections(Listed),
    /// Forget these of the last list, so that their next packet is judged anew.
    EndConnections(Vec<usize>),
    /// Tell what the prefixes of logged packets don't say themselves.
    NamePrefixes(Arc<Names>),
    /// Answer a request.
    Reply {
        /// Which.
        id: RequestId,
        /// The answer.
        reply: Reply,
    },
}

/// Which addresses [`Effect::Assign`] wants.
#[derive(Clone, Debug, PartialEq)]
pub enum Addresses {
    /// Any: so many of these pools, for each family.
    Any(Vec<(usize, Vec<Pool>)>),
    /// These very ones, each of one of the pools.
    These(Vec<IpAddr>, Vec<Pool>),
}

/// What [`Effect::Assign`] wants.
#[derive(Clone, Debug, PartialEq)]
pub struct Assign {
    /// The IPAM handle, `<network>.<container id>`.
    pub handle: String,
    /// Who will hold the addresses: `pod`, `namespace`, `node`, `timestamp` is added by the agent.
    pub attributes: BTreeMap<String, String>,
    /// Which addresses.
    pub addresses: Addresses,
    /// The handle of the pod's earlier container, which may still hold them: it is released first.
    pub earlier: Option<String>,
    /// Ranges to take none of, unless it is asked for.
    pub reserved: Vec<IpNet>,
    /// The blocks this node holds, as the datastore told them last.
    pub own_blocks: Vec<Entry>,
}

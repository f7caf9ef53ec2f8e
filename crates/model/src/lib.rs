//! Calico's resources as values: names, keys, JSON, defaults, validation, selectors, configuration.
//!
//! ```text
//!  YAML / JSON ──▶ Resource<Spec> ──▶ validate ──▶ Key + bytes ──▶ (store)
//!  (store) ──▶ Key + bytes ──▶ Value ──▶ node, ctl, cni
//! ```
//!
//! Owns: the shape of every v3 resource and of the IPAM objects, how each is named in the datastore
//! ([`Key`]), what a field defaults to and which values it takes, the selector language, the
//! registry of configuration parameters, and a datastore request as a value ([`request`]), so that
//! protocols over the datastore can be written and checked without one.
//!
//! Must not know: I/O, async, the kernel. Everything here is pure.

mod affinity;
mod as_number;
mod block;
pub mod config;
mod defaults;
pub mod definitions;
pub mod duration;
mod handle;
mod ipam_config;
mod key;
mod kind;
pub mod kubernetes;
mod metadata;
pub mod names;
pub mod request;
pub mod resource;
pub mod resources;
pub mod selector;
pub mod validate;
mod value;

pub use affinity::{Affinity, AffinityState};
pub use as_number::AsNumber;
pub use block::{Allocation, Block};
pub use handle::Handle;
pub use ipam_config::IpamConfig;
pub use key::{AffinityKind, Key, Query};
pub use kind::{Kind, Scope};
pub use metadata::Metadata;
pub use request::{DatastoreEvent, Entry, Failure, Protocol, Request, Response, Revision, Step};
pub use resource::{Resource, Spec};
pub use resources::bgp_configuration::{BgpConfiguration, BgpConfigurationSpec, CommunityValue};
pub use resources::bgp_filter::{BgpFilter, BgpFilterSpec};
pub use resources::bgp_peer::{BgpPeer, BgpPeerSpec};
pub use resources::calico_node_status::{CalicoNodeStatus, CalicoNodeStatusSpec};
pub use resources::cluster_information::{ClusterInformation, ClusterInformationSpec};
pub use resources::felix_configuration::{FelixConfiguration, FelixConfigurationSpec};
pub use resources::global_network_policy::{GlobalNetworkPolicy, GlobalNetworkPolicySpec};
pub use resources::global_network_set::{GlobalNetworkSet, GlobalNetworkSetSpec};
pub use resources::host_endpoint::{EndpointPort, HostEndpoint, HostEndpointSpec};
pub use resources::ip_pool::{
    AllowedUse, AssignmentMode, Encapsulation, EncapsulationMode, IpPool, IpPoolSpec,
};
pub use resources::ip_reservation::{IpReservation, IpReservationSpec};
pub use resources::kube_controllers_configuration::{
    KubeControllersConfiguration, KubeControllersConfigurationSpec,
};
pub use resources::network_policy::{NetworkPolicy, NetworkPolicySpec};
pub use resources::network_set::{NetworkSet, NetworkSetSpec};
pub use resources::node::{Node, NodeBgpSpec, NodeSpec};
pub use resources::policy::{PolicyParts, PolicySpec, PolicyType};
pub use resources::profile::{Profile, ProfileSpec};
pub use resources::rule::{
    Action, EntityRule, HttpMatch, HttpPath, IcmpFields, IpProtocol, Port, Rule, RuleMetadata,
    ServiceAccountMatch, ServiceMatch,
};
pub use resources::staged::{
    Staged, StagedAction, StagedGlobalNetworkPolicy, StagedGlobalNetworkPolicySpec,
    StagedKubernetesNetworkPolicy, StagedKubernetesNetworkPolicySpec, StagedNetworkPolicy,
    StagedNetworkPolicySpec,
};
pub use resources::tier::{DefaultAction, Tier, TierSpec};
pub use resources::workload_endpoint::{
    WorkloadEndpoint, WorkloadEndpointPort, WorkloadEndpointSpec,
};
pub use selector::{Labels, Selector, SelectorError};
pub use validate::{Problem, Problems};
pub use value::Value;

/// This program's version, as `calicoctl version` and ClusterInformation show it.
pub const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

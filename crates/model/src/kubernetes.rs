//! Kubernetes' own objects, as far as Calico reads them, and what Calico makes of them.
//!
//! ```text
//!  NetworkPolicy ─────────▶ Calico's NetworkPolicy, order 1000, tier default
//!  ClusterNetworkPolicy ──▶ GlobalNetworkPolicy of tier kube-admin or kube-baseline
//!  Namespace ─────────────▶ Profile kns.NAMESPACE
//!  ServiceAccount ────────▶ Profile ksa.NAMESPACE.NAME
//!  Pod ───────────────────▶ WorkloadEndpoint NODE-k8s-POD-eth0
//!  annotations of both ───▶ cni: what is asked of the pod's CNI ADD
//!  Node ◀────────────────▶ Calico's Node, in annotations
//! ```
//!
//! The types have only the fields that are read; others are skipped. Source: the Kubernetes API
//! reference, and Calico's `libcalico-go/lib/backend/k8s/conversion` (`calico-features.md` §3.3).

pub mod cluster_network_policy;
pub mod cni;
mod conversion;
pub mod ipam;
pub mod label_selector;
pub mod namespace;
pub mod network_policy;
pub mod node;
pub mod pod;
pub mod service;

pub use cluster_network_policy::ClusterNetworkPolicy;
pub use conversion::Converted;
pub use label_selector::LabelSelector;
pub use namespace::{Namespace, ServiceAccount};
pub use network_policy::NetworkPolicy;
pub use node::Node;
pub use pod::Pod;
pub use service::{EndpointSlice, Service};

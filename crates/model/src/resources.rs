//! The specs of the v3 resources, a file each. Field names, defaults and values are Calico's.

pub mod bgp_configuration;
pub mod bgp_filter;
pub mod bgp_peer;
pub mod calico_node_status;
pub mod cluster_information;
pub mod felix_configuration;
pub mod global_network_policy;
pub mod global_network_set;
pub mod host_endpoint;
pub mod ip_pool;
pub mod ip_reservation;
pub mod kube_controllers_configuration;
pub mod network_policy;
pub mod network_set;
pub mod node;
pub mod policy;
pub mod profile;
pub mod rule;
pub mod staged;
pub mod tier;
pub mod workload_endpoint;

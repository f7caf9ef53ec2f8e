//! KubeControllersConfiguration: settings of calico-kube-controllers; `default` is the only one.

use crate::{Kind, Metadata, Problems, Resource, Spec, validate};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A KubeControllersConfiguration resource.
pub type KubeControllersConfiguration = Resource<KubeControllersConfigurationSpec>;

/// The spec of a KubeControllersConfiguration (Calico reference, "Kubernetes controllers
/// configuration").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KubeControllersConfigurationSpec {
    /// What is logged: `Debug`, `Info`, `Warning`, `Error`, `Fatal` or `None`; default Info.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_severity_screen: Option<String>,
    /// `Enabled` or `Disabled`; default Enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_checks: Option<String>,
    /// How often etcd is compacted, a Go duration; default 10m, 0 is never.
    #[serde(rename = "etcdV3CompactionPeriod", skip_serializing_if = "Option::is_none")]
    pub etcd_v3_compaction_period: Option<String>,
    /// The port of the metrics; default 9094, 0 is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prometheus_metrics_port: Option<i32>,
    /// The port of the profiler; unset is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub debug_profile_port: Option<i32>,
    /// The controllers that run, each with its settings.
    pub controllers: ControllersConfiguration,
}

/// The controllers that run, each with its settings.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ControllersConfiguration {
    /// Clean-up after nodes, their labels, their host endpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeControllerConfiguration>,
    /// Policies into etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<ReconcilerConfiguration>,
    /// Labels of endpoints into etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workload_endpoint: Option<ReconcilerConfiguration>,
    /// Service accounts into etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<ReconcilerConfiguration>,
    /// Namespaces into etcd.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<ReconcilerConfiguration>,
    /// Addresses of services.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub load_balancer: Option<LoadBalancerConfiguration>,
    /// Names of policies of older Calico.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub migration: Option<MigrationConfiguration>,
}

/// A controller that compares now and then.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ReconcilerConfiguration {
    /// How often, a Go duration; default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciler_period: Option<String>,
}

/// The controller of nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NodeControllerConfiguration {
    /// How often it compares, a Go duration; default 5m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reconciler_period: Option<String>,
    /// Kubernetes' labels onto Calico's nodes, in etcd: `Enabled` or `Disabled`; default Enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sync_labels: Option<String>,
    /// Host endpoints of its making.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_endpoint: Option<AutoHostEndpoints>,
    /// How long an address may seem lost before it is freed, a Go duration; default 15m.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leak_grace_period: Option<String>,
}

/// Host endpoints that the controller makes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct AutoHostEndpoints {
    /// `Enabled` or `Disabled`; default Disabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auto_create: Option<String>,
    /// One of all interfaces for each node: `Enabled` or `Disabled`; default Enabled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub create_default_host_endpoint: Option<String>,
    /// Further ones.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub templates: Vec<HostEndpointTemplate>,
}

/// What host endpoints are made like.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct HostEndpointTemplate {
    /// Part of their names.
    pub generate_name: String,
    /// Addresses of interfaces that they are made for.
    #[serde(rename = "interfaceCIDRs", skip_serializing_if = "Vec::is_empty")]
    pub interface_cidrs: Vec<String>,
    /// Names of interfaces that they are made for, a regular expression (3.31).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface_pattern: Option<String>,
    /// Their labels, beside the node's.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Their annotations (3.33).
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The nodes that they are made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<String>,
}

/// The controller of services' addresses (3.30).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct LoadBalancerConfiguration {
    /// `AllServices` or `RequestedServicesOnly`; default AllServices.
    #[serde(rename = "assignIPs", skip_serializing_if = "Option::is_none")]
    pub assign_ips: Option<String>,
}

/// The controller of older Calico's names of policies (3.32).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MigrationConfiguration {
    /// `Enabled` or `Disabled`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_name_migrator: Option<String>,
}

impl Spec for KubeControllersConfigurationSpec {
    const KIND: Kind = Kind::KubeControllersConfiguration;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::kube_controllers_configuration::check(self, metadata, problems);
    }
}

//! What a resource must satisfy before it is written: Calico's own checks, each problem with a next
//! step.
//!
//! A file per kind, as in [`crate::resources`]; `fields` has the checks that several kinds share.
//! Source: Calico's `libcalico-go/lib/validator/v3` and its clients (`calico-features.md` §1).

pub(crate) mod bgp_configuration;
pub(crate) mod bgp_filter;
pub(crate) mod bgp_peer;
pub(crate) mod calico_node_status;
pub(crate) mod cluster_information;
pub(crate) mod felix_configuration;
pub(crate) mod fields;
pub(crate) mod global_network_policy;
pub(crate) mod host_endpoint;
pub(crate) mod ip_pool;
pub(crate) mod ip_reservation;
mod ipam_config;
pub(crate) mod kube_controllers_configuration;
pub(crate) mod network_policy;
pub(crate) mod network_set;
pub(crate) mod node;
mod policy;
pub(crate) mod profile;
mod rule;
pub(crate) mod staged;
#[cfg(test)]
mod tests;
pub(crate) mod tier;
pub(crate) mod workload_endpoint;

pub use fields::is_name;
pub use ip_pool::{validate_pool_update, validate_pools};
pub use ipam_config::validate_ipam_config;

use crate::{Kind, Metadata, Resource, Scope, Spec};
use std::fmt::Display;

/// One thing wrong with a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("error with field {field} = '{value}' ({reason})")]
pub struct Problem {
    /// Path of the field in the resource's YAML, e.g. `spec.cidr`.
    pub field: String,
    /// What it says.
    pub value: String,
    /// Why that is wrong and what it takes.
    pub reason: String,
}

/// The problems found so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl Problems {
    /// Adds one.
    pub fn add(
        &mut self,
        field: impl Into<String>,
        value: impl Display,
        reason: impl Into<String>,
    ) {
        let (field, value, reason) = (field.into(), value.to_string(), reason.into());
        self.0.push(Problem { field, value, reason });
    }

    /// Nothing wrong, or everything that is.
    ///
    /// # Errors
    /// There is at least one problem.
    pub fn into_result(self) -> Result<(), Vec<Problem>> {
        if self.0.is_empty() { Ok(()) } else { Err(self.0) }
    }
}

/// Checks one resource by itself.
///
/// # Errors
/// Every problem found: metadata first, then the spec.
pub fn validate<S: Spec>(resource: &Resource<S>) -> Result<(), Vec<Problem>> {
    let mut problems = Problems::default();
    check_metadata(S::KIND, &resource.metadata, &mut problems);
    resource.spec.check(&resource.metadata, &mut problems);
    problems.into_result()
}

/// Kubernetes' and Calico's bound on all annotations of an object, in bytes.
const MAX_ANNOTATIONS: usize = 256 * 1024;

fn check_metadata(kind: Kind, metadata: &Metadata, problems: &mut Problems) {
    if !is_name(&metadata.name) {
        problems.add("metadata.name", &metadata.name, fields::NAME_RULE);
    }
    match (kind.scope(), &metadata.namespace) {
        (Scope::Namespaced, None) => {
            problems.add("metadata.namespace", "", "a namespaced resource needs a namespace");
        }
        (Scope::Namespaced, Some(namespace)) if !fields::is_dns_label(namespace) => {
            problems.add("metadata.namespace", namespace, fields::DNS_LABEL_RULE);
        }
        (Scope::Cluster, Some(namespace)) => {
            let reason = format!("{} has no namespace; leave the field out", kind.name());
            problems.add("metadata.namespace", namespace, reason);
        }
        _ => {}
    }
    fields::labels("metadata.labels", &metadata.labels, problems);
    let mut size = 0;
    for (key, value) in &metadata.annotations {
        fields::label_key("metadata.annotations", key, problems);
        size += key.len() + value.len();
    }
    if size > MAX_ANNOTATIONS {
        let reason = format!("annotations may take {MAX_ANNOTATIONS} bytes in all");
        problems.add("metadata.annotations", format!("{size} bytes"), reason);
    }
}

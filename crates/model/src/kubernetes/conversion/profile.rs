//! Namespaces and service accounts to profiles, whose labels their pods take over.

use crate::kubernetes::cni::ADD_ANNOTATIONS;
use crate::kubernetes::namespace::{Namespace, ServiceAccount};
use crate::resources::profile::{NAME_LABEL, NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX};
use crate::{Metadata, Profile, ProfileSpec, Resource, names};
use std::collections::BTreeMap;

impl Namespace {
    /// Its profile, `kns.NAMESPACE`: allows everything, and hands on the namespace's labels and name
    /// with `pcns.` before them. It keeps the annotations that CNI ADD of its pods acts on.
    pub fn to_profile(&self) -> Profile {
        let name = names::namespace_profile(&self.metadata.name);
        let labels_to_apply = labels(NAMESPACE_PREFIX, &self.metadata);
        let spec = ProfileSpec { labels_to_apply, ..ProfileSpec::allow_all() };
        let mut profile = profile(name, &self.metadata, spec);
        profile.metadata.annotations = super::chosen(&self.metadata.annotations, &ADD_ANNOTATIONS);
        profile
    }
}

impl ServiceAccount {
    /// Its profile, `ksa.NAMESPACE.NAME`: without rules, it hands on the account's labels and name
    /// with `pcsa.` before them.
    pub fn to_profile(&self) -> Profile {
        let namespace = self.metadata.namespace.as_deref().unwrap_or("default");
        let name = names::service_account_profile(namespace, &self.metadata.name);
        let labels_to_apply = labels(SERVICE_ACCOUNT_PREFIX, &self.metadata);
        profile(name, &self.metadata, ProfileSpec { labels_to_apply, ..ProfileSpec::default() })
    }
}

fn labels(prefix: &str, metadata: &Metadata) -> BTreeMap<String, String> {
    let own = metadata.labels.iter().map(|(key, value)| (key.as_str(), value.clone()));
    let all = own.chain([(NAME_LABEL, metadata.name.clone())]);
    all.map(|(key, value)| (format!("{prefix}{key}"), value)).collect()
}

fn profile(name: String, of: &Metadata, spec: ProfileSpec) -> Profile {
    let creation_timestamp = of.creation_timestamp.clone();
    Resource {
        metadata: Metadata { creation_timestamp, ..Metadata::named(name) },
        spec,
        status: None,
    }
}

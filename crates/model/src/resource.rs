//! The one generic envelope of every v3 resource: kind, apiVersion, metadata, spec, status.

use crate::{Key, Kind, Metadata, Problem, Problems, validate};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Debug;

/// The apiVersion of every resource here.
pub const API_VERSION: &str = "projectcalico.org/v3";

/// What makes a type the `spec` of a kind of resource.
pub trait Spec: Clone + Debug + Default + PartialEq + Serialize + DeserializeOwned {
    /// The kind whose spec this is.
    const KIND: Kind;

    /// Reports what Calico would refuse, the common rules of metadata apart.
    fn check(&self, metadata: &Metadata, problems: &mut Problems);

    /// Fills in what Calico fills in on create and update; `metadata` gets the labels the kind
    /// implies.
    fn apply_defaults(&mut self, _metadata: &mut Metadata) {}
}

/// A resource: `spec` is typed, `status` is passed through as it stands.
///
/// Serialises as `{kind, apiVersion, metadata, spec[, status]}`, Calico's v3 JSON form, which is
/// also what etcd holds (there without `metadata.resourceVersion`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resource<S: Spec> {
    /// Name, labels, revision.
    pub metadata: Metadata,
    /// What the user wants.
    pub spec: S,
    /// What the system says, if it says something.
    pub status: Option<serde_json::Value>,
}

impl<S: Spec> Resource<S> {
    /// A resource with a name and a spec.
    pub fn new(name: impl Into<String>, spec: S) -> Resource<S> {
        Resource { metadata: Metadata::named(name), spec, status: None }
    }

    /// Where the datastore keeps it.
    pub fn key(&self) -> Key {
        Key::Resource {
            kind: S::KIND,
            namespace: self.metadata.namespace.clone(),
            name: self.metadata.name.clone(),
        }
    }

    /// Checks the resource as Calico does before it writes one; defaults need not be applied
    /// before.
    ///
    /// # Errors
    /// Every problem found, in field order.
    pub fn validate(&self) -> Result<(), Vec<Problem>> {
        validate::validate(self)
    }

    /// Fills in Calico's defaults, so that readers need not know them. Idempotent.
    pub fn apply_defaults(&mut self) {
        crate::defaults::apply(self);
    }

    /// The bytes the datastore keeps: the JSON form without `resourceVersion`.
    pub fn to_stored(&self) -> Vec<u8> {
        let mut stored = self.clone();
        stored.metadata.resource_version = None;
        serde_json::to_vec(&stored).expect("a resource has string keys only, so it is always JSON")
    }

    /// Reads stored bytes; `revision` becomes `metadata.resourceVersion`.
    ///
    /// # Errors
    /// The bytes are not JSON of this kind.
    pub fn from_stored(bytes: &[u8], revision: crate::Revision) -> Result<Self, serde_json::Error> {
        let mut resource: Self = serde_json::from_slice(bytes)?;
        resource.metadata.resource_version = Some(revision.to_string());
        Ok(resource)
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireOut<'a, S> {
    kind: &'static str,
    api_version: &'static str,
    metadata: &'a Metadata,
    spec: &'a S,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: &'a Option<serde_json::Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", bound = "S: DeserializeOwned + Default")]
struct WireIn<S> {
    #[serde(default)]
    kind: Option<String>,
    #[serde(default)]
    api_version: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: S,
    #[serde(default)]
    status: Option<serde_json::Value>,
}

impl<S: Spec> Serialize for Resource<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        WireOut {
            kind: S::KIND.name(),
            api_version: API_VERSION,
            metadata: &self.metadata,
            spec: &self.spec,
            status: &self.status,
        }
        .serialize(serializer)
    }
}

impl<'de, S: Spec> Deserialize<'de> for Resource<S> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let wire = WireIn::<S>::deserialize(deserializer)?;
        if let Some(kind) = wire.kind.filter(|k| k != S::KIND.name()) {
            return Err(D::Error::custom(format!("kind is {kind}, not {}", S::KIND.name())));
        }
        if let Some(version) = wire.api_version.filter(|v| v != API_VERSION) {
            return Err(D::Error::custom(format!("apiVersion is {version}, not {API_VERSION}")));
        }
        Ok(Resource { metadata: wire.metadata, spec: wire.spec, status: wire.status })
    }
}

//! Leases (`coordination.k8s.io`), by which programs of several replicas agree on one that acts.

use super::client::{Client, Failure, Status};
use super::failed;
use crate::Error;
use crate::settings;
use http::Method;
use model::Metadata;
use serde::{Deserialize, Serialize};

/// A Lease: who holds it, and since when (Kubernetes API reference, "LeaseSpec").
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Lease {
    /// Who holds it; empty where nobody does.
    pub holder_identity: String,
    /// How long it is held after `renew_time`, in seconds.
    pub lease_duration_seconds: u32,
    /// When the holder got it: RFC 3339 with microseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acquire_time: Option<String>,
    /// When the holder last said that it holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub renew_time: Option<String>,
    /// How often it has got another holder.
    pub lease_transitions: u32,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: Lease,
}

/// A lease of one name on the API server.
pub struct Leases {
    client: Client,
    collection: String,
    namespace: String,
    name: String,
}

impl Leases {
    /// The lease `namespace/name`; connects when first asked.
    ///
    /// # Errors
    /// [`Error::Settings`] when the settings cannot be used.
    pub async fn new(
        settings: &settings::Kubernetes,
        namespace: &str,
        name: &str,
    ) -> Result<Leases, Error> {
        Ok(Leases {
            client: Client::new(settings).await?,
            collection: format!("/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"),
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        })
    }

    /// Reads the lease with its `resourceVersion`; `None` where it isn't there.
    ///
    /// # Errors
    /// The API server's.
    pub async fn read(&self) -> Result<Option<(Lease, String)>, Error> {
        let uri = format!("{}/{}", self.collection, self.name);
        match self.client.ask(Method::GET, &uri).await {
            Ok(body) => self.parsed(&body).map(Some),
            Err(Failure::Status(Status { code: 404, .. })) => Ok(None),
            Err(why) => Err(failed(self.client.endpoint(), None, why)),
        }
    }

    /// Writes the lease: creates it, or replaces the one of this `resourceVersion`. Returns the new
    /// one; `None` where somebody else was first.
    ///
    /// # Errors
    /// The API server's.
    pub async fn write(
        &self,
        lease: &Lease,
        version: Option<&str>,
    ) -> Result<Option<String>, Error> {
        let (method, uri) = match version {
            None => (Method::POST, self.collection.clone()),
            Some(_) => (Method::PUT, format!("{}/{}", self.collection, self.name)),
        };
        let metadata = Metadata {
            namespace: Some(self.namespace.clone()),
            resource_version: version.map(str::to_owned),
            ..Metadata::named(&self.name)
        };
        let body = serde_json::json!({
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": lease,
        });
        let body = body.to_string().into_bytes();
        match self.client.send(method, &uri, "application/json", body).await {
            Ok(body) => self.parsed(&body).map(|(_, version)| Some(version)),
            Err(Failure::Status(Status { code: 404 | 409, .. })) => Ok(None),
            Err(why) => Err(failed(self.client.endpoint(), None, why)),
        }
    }

    fn parsed(&self, body: &[u8]) -> Result<(Lease, String), Error> {
        let object: Object = serde_json::from_slice(body).map_err(|why| Error::Unreachable {
            endpoint: self.client.endpoint().to_owned(),
            reason: format!("its answer is no Lease ({why}); is it a Kubernetes API?"),
        })?;
        Ok((object.spec, object.metadata.resource_version.unwrap_or_default()))
    }
}

//! Create, update and delete: custom resources whole, Pods and Nodes by annotations.

use super::Kubernetes;
use super::client::{Failure, Status};
use super::object::{self, Object, Read};
use super::place::{self, Group, Place};
use crate::Error;
use http::Method;
use model::{Key, Revision};
use serde_json::{Value, json};

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

impl Kubernetes {
    pub(super) async fn insert(&self, key: &Key, value: Vec<u8>) -> Result<Revision, Error> {
        let Some((group, place)) = self.place(key).await? else {
            return Err(place::no_place(self.client.endpoint(), key));
        };
        if place.object == Object::Pod {
            return self.annotate_pod(key, &place, &value, None).await;
        }
        let body = self.written(group, &place, key, &value, None)?;
        for attempt in 0.. {
            let uri = place.collection();
            match self.client.send(Method::POST, uri, JSON, body.clone()).await {
                Ok(stored) => return self.finish(key, &place, &value, &stored).await,
                Err(Failure::Status(Status { code: 409, .. })) => {
                    // It may be one that somebody is deleting: finish that, then it is free.
                    let marked = place.object.is_marked() && attempt == 0;
                    if !marked || self.entry(key).await?.is_some() {
                        return Err(Error::Conflict(key.clone()));
                    }
                }
                Err(why) => return Err(self.error(Some(key), why)),
            }
        }
        Err(Error::Conflict(key.clone()))
    }

    pub(super) async fn replace(
        &self,
        key: &Key,
        value: Vec<u8>,
        revision: Revision,
    ) -> Result<Revision, Error> {
        let Some((group, mut place)) = self.place(key).await? else {
            return Err(place::no_place(self.client.endpoint(), key));
        };
        if revision == Revision(0) {
            // Kubernetes takes it for "whatever there is".
            let there = self.entry(key).await?.is_some();
            return Err(if there {
                Error::Conflict(key.clone())
            } else {
                Error::NotFound(key.clone())
            });
        }
        match place.object {
            Object::Pod => return self.annotate_pod(key, &place, &value, Some(revision)).await,
            Object::Node => return self.annotate_node(key, &place, &value, revision).await,
            _ => {}
        }
        loop {
            let body = self.written(group, &place, key, &value, Some(revision))?;
            match self.client.send(Method::PUT, &place.path(), JSON, body).await {
                Ok(stored) => return self.finish(key, &place, &value, &stored).await,
                Err(Failure::Status(Status { code: 404, .. })) if place.older_name.is_some() => {
                    place.name = place.older_name.take().unwrap_or_default();
                }
                Err(why) => return Err(self.error(Some(key), why)),
            }
        }
    }

    fn written(
        &self,
        group: Group,
        place: &Place,
        key: &Key,
        value: &[u8],
        revision: Option<Revision>,
    ) -> Result<Vec<u8>, Error> {
        let body = place.object.write(group, &place.name, key, value, revision);
        body.map_err(|reason| Error::Refused {
            endpoint: self.client.endpoint().to_owned(),
            reason: format!("{key} cannot be stored: {reason}"),
        })
    }

    /// Writes the status too, where the cluster keeps that apart. Returns the revision.
    async fn finish(
        &self,
        key: &Key,
        place: &Place,
        value: &[u8],
        stored: &[u8],
    ) -> Result<Revision, Error> {
        let unreadable = || self.unreadable(&format!("the answer about {key}"));
        let revision = object::revision_of(stored).ok_or_else(unreadable)?;
        if !matches!(place.object, Object::Custom(_)) {
            return Ok(revision);
        }
        let status = |bytes: &[u8]| {
            let mut object = serde_json::from_slice::<Value>(bytes).ok()?;
            Some(object.get_mut("status")?.take()).filter(|status| !status.is_null())
        };
        let wanted = status(value);
        if wanted.is_none() || wanted == status(stored) {
            return Ok(revision);
        }
        let mut object: Value = serde_json::from_slice(stored).map_err(|_| unreadable())?;
        object["status"] = wanted.unwrap_or_default();
        let uri = format!("{}/status", place.path());
        let body = object.to_string().into_bytes();
        let answer = self.client.send(Method::PUT, &uri, JSON, body).await;
        let answer = answer.map_err(|why| self.error(Some(key), why))?;
        object::revision_of(&answer).ok_or_else(unreadable)
    }

    /// A pod's endpoint is Kubernetes' to make; Calico adds the addresses and the sandbox.
    async fn annotate_pod(
        &self,
        key: &Key,
        place: &Place,
        value: &[u8],
        revision: Option<Revision>,
    ) -> Result<Revision, Error> {
        use model::kubernetes::pod;
        let endpoint = model::WorkloadEndpoint::from_stored(value, Revision(0))
            .map_err(|why| Error::Corrupt { key: key.clone(), reason: why.to_string() })?;
        let mut annotations = json!({});
        if let Some(first) = endpoint.spec.ip_networks.first() {
            annotations[pod::POD_IP_ANNOTATION] = json!(first);
            annotations[pod::POD_IPS_ANNOTATION] = json!(endpoint.spec.ip_networks.join(","));
            if !endpoint.spec.container_id.is_empty() {
                annotations[pod::CONTAINER_ID_ANNOTATION] = json!(endpoint.spec.container_id);
            }
        }
        self.annotate(key, place, &annotations, revision).await
    }

    /// A Node is kubelet's to make; Calico's part of it stands in annotations.
    async fn annotate_node(
        &self,
        key: &Key,
        place: &Place,
        value: &[u8],
        revision: Revision,
    ) -> Result<Revision, Error> {
        let node = model::Node::from_stored(value, Revision(0))
            .map_err(|why| Error::Corrupt { key: key.clone(), reason: why.to_string() })?;
        let annotations = json!(node.to_kubernetes_annotations());
        self.annotate(key, place, &annotations, Some(revision)).await
    }

    /// By way of the status, which Calico's roles may change.
    async fn annotate(
        &self,
        key: &Key,
        place: &Place,
        annotations: &Value,
        revision: Option<Revision>,
    ) -> Result<Revision, Error> {
        let mut patch = json!({"metadata": {"annotations": annotations}});
        if let Some(revision) = revision {
            patch["metadata"]["resourceVersion"] = json!(revision.to_string());
        }
        let uri = format!("{}/status", place.path());
        let body = patch.to_string().into_bytes();
        let answer = self.client.send(Method::PATCH, &uri, MERGE_PATCH, body).await;
        let answer = answer.map_err(|why| self.error(Some(key), why))?;
        let unreadable = || self.unreadable(&format!("the answer about {key}"));
        object::revision_of(&answer).ok_or_else(unreadable)
    }

    pub(super) async fn erase(&self, key: &Key, revision: Option<Revision>) -> Result<(), Error> {
        let Some((mut read, place)) = self.find(key).await? else {
            return Err(Error::NotFound(key.clone()));
        };
        if read.marked {
            self.remove(key, &place, &read).await?;
            return Err(Error::NotFound(key.clone()));
        }
        if let Some(revision) = revision
            && read.revision != revision
        {
            return Err(Error::Conflict(key.clone()));
        }
        match place.object {
            Object::Pod => {
                // Its addresses are gone; the pod is Kubernetes' to delete.
                use model::kubernetes::pod;
                let released = json!({pod::POD_IP_ANNOTATION: "", pod::POD_IPS_ANNOTATION: ""});
                return self.annotate(key, &place, &released, revision).await.map(|_| ());
            }
            object if object.is_marked() => {
                let marked = object.marked(&read.value).ok_or_else(|| Error::Corrupt {
                    key: key.clone(),
                    reason: "it cannot be marked as deleted".to_owned(),
                })?;
                read.revision = self.replace(key, marked, read.revision).await?;
            }
            Object::Custom(_) | Object::IpamConfig => {}
            _ => return Err(place::no_place(self.client.endpoint(), key)),
        }
        self.remove(key, &place, &read).await
    }

    /// Removes the object as it was read.
    pub(super) async fn remove(&self, key: &Key, place: &Place, read: &Read) -> Result<(), Error> {
        let version = read.revision.to_string();
        let body = json!({
            "kind": "DeleteOptions", "apiVersion": "v1",
            "preconditions": {"uid": read.uid, "resourceVersion": version},
        });
        let body = body.to_string().into_bytes();
        let answer = self.client.send(Method::DELETE, &place.path(), JSON, body).await;
        answer.map(|_| ()).map_err(|why| self.error(Some(key), why))
    }
}

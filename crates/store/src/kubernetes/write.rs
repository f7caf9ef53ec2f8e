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
const JSON_PATCH: &str = "application/json-patch+json";
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
        match self.client.send(Method::PUT, &uri, JSON, body).await {
            Ok(answer) => object::revision_of(&answer).ok_or_else(unreadable),
            // Older Calico does not keep it apart, and has taken of it what it knows.
            Err(Failure::Status(Status { code: 404, .. })) => Ok(revision),
            Err(why) => Err(self.error(Some(key), why)),
        }
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
        // A pod of the same name that has come since has another uid.
        let uid = endpoint.metadata.uid.as_deref();
        self.annotate(key, place, &annotations, uid, revision).await
    }

    /// Says of a pod that its addresses are its own no more, in one request: the server itself
    /// compares the container.
    pub(super) async fn release_pod(&self, key: &Key, container_id: &str) -> Result<(), Error> {
        use model::kubernetes::pod;
        let Some((_, place)) = self.place(key).await? else { return Ok(()) };
        let pointer = |annotation: &str| {
            format!("/metadata/annotations/{}", annotation.replace('~', "~0").replace('/', "~1"))
        };
        let emptied = |annotation| json!({"op": "add", "path": pointer(annotation), "value": ""});
        let container = pointer(pod::CONTAINER_ID_ANNOTATION);
        let patch = json!([
            {"op": "test", "path": container, "value": container_id},
            emptied(pod::POD_IP_ANNOTATION),
            emptied(pod::POD_IPS_ANNOTATION),
        ]);
        let uri = format!("{}/status", place.path());
        let body = patch.to_string().into_bytes();
        match self.client.send(Method::PATCH, &uri, JSON_PATCH, body).await {
            // The pod is gone, or has another container: 422 is the failed test.
            Ok(_) | Err(Failure::Status(Status { code: 404 | 422, .. })) => Ok(()),
            Err(why) => Err(self.error(Some(key), why)),
        }
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
        self.annotate(key, place, &annotations, None, Some(revision)).await
    }

    /// By way of the status, which Calico's roles may change.
    async fn annotate(
        &self,
        key: &Key,
        place: &Place,
        annotations: &Value,
        uid: Option<&str>,
        revision: Option<Revision>,
    ) -> Result<Revision, Error> {
        let mut patch = json!({"metadata": {"annotations": annotations}});
        if let Some(uid) = uid {
            patch["metadata"]["uid"] = json!(uid);
        }
        if let Some(revision) = revision {
            patch["metadata"]["resourceVersion"] = json!(revision.to_string());
        }
        let uri = format!("{}/status", place.path());
        let body = patch.to_string().into_bytes();
        let answer = self.client.send(Method::PATCH, &uri, MERGE_PATCH, body).await;
        let answer = answer.map_err(|why| match why {
            // The object of this name is another by now.
            Failure::Status(Status { code: 422, message, .. })
                if uid.is_some() && message.contains("metadata.uid") =>
            {
                Error::Conflict(key.clone())
            }
            why => self.error(Some(key), why),
        })?;
        let unreadable = || self.unreadable(&format!("the answer about {key}"));
        object::revision_of(&answer).ok_or_else(unreadable)
    }

    /// With a revision, one request: the server compares it. Calico marks IPAM's objects first, and
    /// whoever reads a marked one takes it for gone; comparing needs no such step.
    pub(super) async fn erase(&self, key: &Key, revision: Option<Revision>) -> Result<(), Error> {
        if let Some(revision) = revision
            && let Some((_, place)) = self.place(key).await?
            && place.object.is_deletable()
        {
            return self.erase_at(key, place, revision).await;
        }
        let Some((read, place)) = self.find(key).await? else {
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
                self.annotate(key, &place, &released, None, revision).await.map(|_| ())
            }
            object if object.is_deletable() => self.remove(key, &place, &read).await,
            _ => Err(place::no_place(self.client.endpoint(), key)),
        }
    }

    /// Deletes an object that must still be at a revision, under whichever of its names.
    async fn erase_at(&self, key: &Key, mut place: Place, revision: Revision) -> Result<(), Error> {
        loop {
            let condition = json!({"resourceVersion": revision.to_string()});
            match self.delete_if(&place, &condition).await {
                Err(Failure::Status(Status { code: 404, .. })) if place.older_name.is_some() => {
                    place.name = place.older_name.take().unwrap_or_default();
                }
                answer => return answer.map_err(|why| self.error(Some(key), why)),
            }
        }
    }

    /// Removes the object as it was read.
    pub(super) async fn remove(&self, key: &Key, place: &Place, read: &Read) -> Result<(), Error> {
        let condition = json!({"uid": read.uid, "resourceVersion": read.revision.to_string()});
        let answer = self.delete_if(place, &condition).await;
        answer.map_err(|why| self.error(Some(key), why))
    }

    async fn delete_if(&self, place: &Place, condition: &Value) -> Result<(), Failure> {
        let body = json!({"kind": "DeleteOptions", "apiVersion": "v1", "preconditions": condition});
        let body = body.to_string().into_bytes();
        self.client.send(Method::DELETE, &place.path(), JSON, body).await.map(|_| ())
    }
}

//! Resources by name and type: what `ctl`, `cni` and `agent` read and write.

use crate::{Datastore, Error};
use model::{Entry, Key, Kind, Query, Resource, Revision, Spec};

/// Reads a resource; `namespace` is `None` for kinds without one.
///
/// # Errors
/// The datastore's, and [`Error::Corrupt`] when what is stored is no `S`.
pub async fn get<S: Spec>(
    datastore: &dyn Datastore,
    namespace: Option<&str>,
    name: &str,
) -> Result<Option<Resource<S>>, Error> {
    let key = key::<S>(namespace, name);
    datastore.get(&key).await?.map(read).transpose()
}

/// All resources of a kind, in one namespace or (`None`) everywhere, in order of name.
///
/// # Errors
/// The datastore's, and [`Error::Corrupt`] when one of them is no `S`.
pub async fn list<S: Spec>(
    datastore: &dyn Datastore,
    namespace: Option<&str>,
) -> Result<Vec<Resource<S>>, Error> {
    let query = Query::Resources { kind: S::KIND, namespace: namespace.map(str::to_owned) };
    datastore.list(&query).await?.entries.into_iter().map(read).collect()
}

/// Writes a resource that must not exist, with a new `uid` and `creationTimestamp`; of an endpoint
/// that has a `uid`, that of Kubernetes' pod, it stays. Returns it with its `resourceVersion`; where
/// Kubernetes holds it, its `uid` is the server's to say.
///
/// # Errors
/// [`Error::Conflict`] when it exists, and the datastore's.
pub async fn create<S: Spec>(
    datastore: &dyn Datastore,
    mut resource: Resource<S>,
) -> Result<Resource<S>, Error> {
    if S::KIND != Kind::WorkloadEndpoint || resource.metadata.uid.is_none() {
        resource.metadata.uid = Some(uuid::Uuid::new_v4().to_string());
    }
    let now = jiff::Timestamp::now();
    resource.metadata.creation_timestamp = Some(now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
    let revision = datastore.create(&resource.key(), resource.to_stored()).await?;
    resource.metadata.resource_version = Some(revision.to_string());
    Ok(resource)
}

/// Replaces the resource that was read: it must still be at its `metadata.resourceVersion`.
/// Returns it with its new `resourceVersion`.
///
/// # Errors
/// [`Error::Conflict`] when it has changed or carries no usable `resourceVersion`,
/// [`Error::NotFound`] when it is gone, and the datastore's.
pub async fn update<S: Spec>(
    datastore: &dyn Datastore,
    mut resource: Resource<S>,
) -> Result<Resource<S>, Error> {
    let key = resource.key();
    let read = read_at(&resource).ok_or_else(|| Error::Conflict(key.clone()))?;
    let revision = datastore.update(&key, resource.to_stored(), read).await?;
    resource.metadata.resource_version = Some(revision.to_string());
    Ok(resource)
}

/// Removes a resource, whatever its revision.
///
/// # Errors
/// [`Error::NotFound`] when it isn't there, and the datastore's.
pub async fn delete<S: Spec>(
    datastore: &dyn Datastore,
    namespace: Option<&str>,
    name: &str,
) -> Result<(), Error> {
    datastore.delete(&key::<S>(namespace, name), None).await
}

fn key<S: Spec>(namespace: Option<&str>, name: &str) -> Key {
    Key::Resource { kind: S::KIND, namespace: namespace.map(str::to_owned), name: name.to_owned() }
}

fn read_at<S: Spec>(resource: &Resource<S>) -> Option<Revision> {
    resource.metadata.resource_version.as_deref()?.parse().ok().map(Revision)
}

fn read<S: Spec>(entry: Entry) -> Result<Resource<S>, Error> {
    Resource::from_stored(&entry.value, entry.revision)
        .map_err(|error| Error::Corrupt { key: entry.key, reason: error.to_string() })
}

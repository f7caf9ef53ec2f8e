//! Operations on resources of any kind: typed, checked, then stored.

use crate::Error;
use crate::documents::Document;
use crate::ipam_objects;
use model::{
    BgpConfigurationSpec, BgpPeerSpec, ClusterInformationSpec, FelixConfigurationSpec, IpPool,
    IpPoolSpec, Key, Kind, NodeSpec, Problem, ProfileSpec, Resource, Scope, Spec,
    WorkloadEndpointSpec,
};
use serde_json::Value;
use store::{Datastore, typed};

/// Attempts at a change that others may be making too.
const ATTEMPTS_MAX: u32 = 20;

/// Calls a function generic over the spec with the spec of a kind; IPAM's own objects have none.
macro_rules! with_spec {
    ($kind:expr, $function:ident ( $($argument:expr),* )) => {
        match $kind {
            Kind::BgpConfiguration => $function::<BgpConfigurationSpec>($($argument),*).await,
            Kind::BgpPeer => $function::<BgpPeerSpec>($($argument),*).await,
            Kind::ClusterInformation => $function::<ClusterInformationSpec>($($argument),*).await,
            Kind::FelixConfiguration => $function::<FelixConfigurationSpec>($($argument),*).await,
            Kind::IpPool => $function::<IpPoolSpec>($($argument),*).await,
            Kind::Node => $function::<NodeSpec>($($argument),*).await,
            Kind::Profile => $function::<ProfileSpec>($($argument),*).await,
            Kind::WorkloadEndpoint => $function::<WorkloadEndpointSpec>($($argument),*).await,
            kind @ (Kind::BlockAffinity | Kind::IpamBlock | Kind::IpamConfig | Kind::IpamHandle) => {
                Err(ipam_objects::not_changed_here(kind))
            }
        }
    };
}

/// How a document is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    Create,
    Apply,
    Replace,
}

/// Checks a document without writing it: types, unknown fields, values.
pub(crate) async fn check(document: &Document) -> Result<(), Error> {
    with_spec!(document.kind, check_as(&document.value))
}

async fn check_as<S: Spec>(value: &Value) -> Result<(), Error> {
    typed::<S>(value).map(|_| ())
}

/// Writes a document.
pub(crate) async fn write(
    datastore: &dyn Datastore,
    document: &Document,
    how: Write,
) -> Result<(), Error> {
    with_spec!(document.kind, write_as(datastore, &document.value, how))
}

async fn write_as<S: Spec>(
    datastore: &dyn Datastore,
    value: &Value,
    how: Write,
) -> Result<(), Error> {
    let resource = typed::<S>(value)?;
    let key = resource.key();
    let stated_revision = resource.metadata.resource_version.is_some();
    for _ in 0..ATTEMPTS_MAX {
        let namespace = resource.metadata.namespace.as_deref();
        let stored = typed::get::<S>(datastore, namespace, &resource.metadata.name).await?;
        let written = match (how, stored) {
            (Write::Create, Some(_)) => return Err(Error::Exists(key)),
            (Write::Replace, None) => return Err(Error::Missing(key)),
            (Write::Create | Write::Apply, None) => create(datastore, resource.clone()).await,
            (Write::Apply | Write::Replace, Some(stored)) => {
                update(datastore, resource.clone(), &stored).await
            }
        };
        match written {
            Err(Error::Datastore(store::Error::Conflict(_))) if stated_revision => {
                return Err(Error::Changed(key));
            }
            // Somebody else wrote it between our read and our write: look again.
            Err(Error::Datastore(store::Error::Conflict(_) | store::Error::NotFound(_))) => {}
            other => return other,
        }
    }
    Err(store::Error::Conflict(key).into())
}

async fn create<S: Spec>(
    datastore: &dyn Datastore,
    mut resource: Resource<S>,
) -> Result<(), Error> {
    resource.apply_defaults();
    check_pools(datastore, &resource).await?;
    resource.metadata.resource_version = None;
    resource.metadata.uid = None;
    resource.metadata.creation_timestamp = None;
    typed::create(datastore, resource).await?;
    Ok(())
}

async fn update<S: Spec>(
    datastore: &dyn Datastore,
    mut resource: Resource<S>,
    stored: &Resource<S>,
) -> Result<(), Error> {
    resource.apply_defaults();
    if let (Some(old), Some(new)) = (pool(stored), pool(&resource)) {
        refuse(&new.metadata.name, model::validate::validate_pool_update(&old, &new))?;
    }
    let stated = resource.metadata.resource_version.take();
    resource.metadata.resource_version = stated.or(stored.metadata.resource_version.clone());
    resource.metadata.uid = stored.metadata.uid.clone();
    resource.metadata.creation_timestamp = stored.metadata.creation_timestamp.clone();
    if resource.status.is_none() {
        resource.status = stored.status.clone();
    }
    typed::update(datastore, resource).await?;
    Ok(())
}

/// A pool must not overlap another.
async fn check_pools<S: Spec>(
    datastore: &dyn Datastore,
    resource: &Resource<S>,
) -> Result<(), Error> {
    let Some(new) = pool(resource) else { return Ok(()) };
    let existing: Vec<IpPool> = typed::list(datastore, None).await?;
    refuse(&new.metadata.name, model::validate::validate_pools(&new, &existing))
}

fn refuse(name: &str, checked: Result<(), Vec<Problem>>) -> Result<(), Error> {
    checked.map_err(|problems| problems_of(Kind::IpPool, name, &problems))
}

fn pool<S: Spec>(resource: &Resource<S>) -> Option<IpPool> {
    if S::KIND != Kind::IpPool {
        return None;
    }
    serde_json::from_value(serde_json::to_value(resource).ok()?).ok()
}

fn problems_of(kind: Kind, name: &str, problems: &[Problem]) -> Error {
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    Error::Invalid(format!("{}({name}): {}", kind.name(), problems.join("; ")))
}

/// A document as its kind's type: no unknown field, no wrong type, no wrong value.
fn typed<S: Spec>(value: &Value) -> Result<Resource<S>, Error> {
    let name = value["metadata"]["name"].as_str().unwrap_or("(no name)");
    let what = format!("{}({name})", S::KIND.name());
    let mut unknown = Vec::new();
    let resource: Resource<S> =
        serde_ignored::deserialize(value, |path| unknown.push(path.to_string())).map_err(|_| {
            let exact = serde_path_to_error::deserialize::<_, Resource<S>>(value);
            let why = exact.err().map(|why| format!("{}: {}", why.path(), why.inner()));
            Error::Invalid(format!("{what}: error with field {}", why.unwrap_or_default()))
        })?;
    if !unknown.is_empty() {
        return Err(Error::Invalid(format!(
            "{what}: unknown field {}; remove it, or correct its spelling",
            unknown.join(", ")
        )));
    }
    resource
        .validate()
        .map_err(|problems| problems_of(S::KIND, &resource.metadata.name, &problems))?;
    Ok(resource)
}

/// Resources as JSON, by name or all, in order of namespace and name.
pub(crate) async fn get(
    datastore: &dyn Datastore,
    kind: Kind,
    namespace: Option<&str>,
    names: &[String],
) -> Result<Vec<Value>, Error> {
    if ipam_objects::is_one(kind) {
        return ipam_objects::get(datastore, kind, names).await;
    }
    with_spec!(kind, get_as(datastore, namespace, names))
}

async fn get_as<S: Spec>(
    datastore: &dyn Datastore,
    namespace: Option<&str>,
    names: &[String],
) -> Result<Vec<Value>, Error> {
    let mut found: Vec<Resource<S>> = Vec::new();
    if names.is_empty() {
        found = typed::list(datastore, namespace).await?;
    }
    for name in names {
        let namespace = (S::KIND.scope() == Scope::Namespaced)
            .then(|| namespace.unwrap_or("default").to_owned());
        let stored = typed::get(datastore, namespace.as_deref(), name).await?;
        let key = Key::Resource { kind: S::KIND, namespace, name: name.clone() };
        found.push(stored.ok_or(Error::Missing(key))?);
    }
    let json = |resource: Resource<S>| {
        serde_json::to_value(resource).map_err(|why| Error::Other(why.to_string()))
    };
    found.into_iter().map(json).collect()
}

/// Changes one stored resource by a function on its JSON, again if somebody else changes it meanwhile.
pub(crate) async fn change(
    datastore: &dyn Datastore,
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
    edit: &dyn Fn(&mut Value) -> Result<(), Error>,
) -> Result<(), Error> {
    with_spec!(kind, change_as(datastore, namespace, name, edit))
}

async fn change_as<S: Spec>(
    datastore: &dyn Datastore,
    namespace: Option<&str>,
    name: &str,
    edit: &dyn Fn(&mut Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let namespace =
        (S::KIND.scope() == Scope::Namespaced).then(|| namespace.unwrap_or("default").to_owned());
    let key = Key::Resource { kind: S::KIND, namespace: namespace.clone(), name: name.to_owned() };
    for _ in 0..ATTEMPTS_MAX {
        let stored = typed::get::<S>(datastore, namespace.as_deref(), name).await?;
        let stored = stored.ok_or_else(|| Error::Missing(key.clone()))?;
        let mut value =
            serde_json::to_value(&stored).map_err(|why| Error::Other(why.to_string()))?;
        edit(&mut value)?;
        let changed = typed::<S>(&value)?;
        if changed.metadata.name != name || changed.metadata.namespace != namespace {
            return Err(Error::Invalid(format!(
                "{key}: a resource's name and namespace cannot be changed; create a new one"
            )));
        }
        match update(datastore, changed, &stored).await {
            Err(Error::Datastore(store::Error::Conflict(_))) => {}
            other => return other,
        }
    }
    Err(store::Error::Conflict(key).into())
}

/// Removes a resource and what depends on it.
pub(crate) async fn delete(
    datastore: &dyn Datastore,
    kind: Kind,
    namespace: Option<&str>,
    name: &str,
) -> Result<(), Error> {
    let namespace =
        (kind.scope() == Scope::Namespaced).then(|| namespace.unwrap_or("default").to_owned());
    if ipam_objects::is_one(kind) {
        return Err(ipam_objects::not_changed_here(kind));
    }
    let key = Key::Resource { kind, namespace, name: name.to_owned() };
    if datastore.get(&key).await?.is_none() {
        return Err(Error::Missing(key));
    }
    match kind {
        Kind::IpPool => ipam_objects::empty_pool(datastore, name).await?,
        Kind::Node => ipam_objects::release_node(datastore, name).await?,
        _ => {}
    }
    match datastore.delete(&key, None).await {
        Ok(()) => Ok(()),
        Err(store::Error::NotFound(key)) => Err(Error::Missing(key)),
        Err(error) => Err(error.into()),
    }
}

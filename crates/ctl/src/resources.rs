//! Operations on resources of any kind: typed, checked, then stored.

use crate::documents::{self, Document};
use crate::ipam_config::{self, IpamConfigSpec};
use crate::{Error, ipam_objects, policies, pools, teardown};
use model::{
    BgpConfigurationSpec, BgpFilterSpec, BgpPeerSpec, CalicoNodeStatusSpec, ClusterInformationSpec,
    Entry, FelixConfigurationSpec, GlobalNetworkPolicySpec, GlobalNetworkSetSpec, HostEndpointSpec,
    IpPool, IpPoolSpec, IpReservationSpec, Key, Kind, KubeControllersConfigurationSpec,
    NetworkPolicySpec, NetworkSetSpec, NodeSpec, ProfileSpec, Resource, Revision, Scope, Spec,
    StagedGlobalNetworkPolicySpec, StagedKubernetesNetworkPolicySpec, StagedNetworkPolicySpec,
    TierSpec, WorkloadEndpointSpec,
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
            Kind::BgpFilter => $function::<BgpFilterSpec>($($argument),*).await,
            Kind::BgpPeer => $function::<BgpPeerSpec>($($argument),*).await,
            Kind::CalicoNodeStatus => $function::<CalicoNodeStatusSpec>($($argument),*).await,
            Kind::ClusterInformation => $function::<ClusterInformationSpec>($($argument),*).await,
            Kind::FelixConfiguration => $function::<FelixConfigurationSpec>($($argument),*).await,
            Kind::GlobalNetworkPolicy => $function::<GlobalNetworkPolicySpec>($($argument),*).await,
            Kind::GlobalNetworkSet => $function::<GlobalNetworkSetSpec>($($argument),*).await,
            Kind::HostEndpoint => $function::<HostEndpointSpec>($($argument),*).await,
            Kind::IpPool => $function::<IpPoolSpec>($($argument),*).await,
            Kind::IpReservation => $function::<IpReservationSpec>($($argument),*).await,
            Kind::KubeControllersConfiguration => {
                $function::<KubeControllersConfigurationSpec>($($argument),*).await
            }
            Kind::NetworkPolicy => $function::<NetworkPolicySpec>($($argument),*).await,
            Kind::NetworkSet => $function::<NetworkSetSpec>($($argument),*).await,
            Kind::Node => $function::<NodeSpec>($($argument),*).await,
            Kind::Profile => $function::<ProfileSpec>($($argument),*).await,
            Kind::StagedGlobalNetworkPolicy => {
                $function::<StagedGlobalNetworkPolicySpec>($($argument),*).await
            }
            Kind::StagedKubernetesNetworkPolicy => {
                $function::<StagedKubernetesNetworkPolicySpec>($($argument),*).await
            }
            Kind::StagedNetworkPolicy => $function::<StagedNetworkPolicySpec>($($argument),*).await,
            Kind::Tier => $function::<TierSpec>($($argument),*).await,
            Kind::WorkloadEndpoint => $function::<WorkloadEndpointSpec>($($argument),*).await,
            Kind::IpamConfig => $function::<IpamConfigSpec>($($argument),*).await,
            kind @ (Kind::BlockAffinity | Kind::IpamBlock | Kind::IpamHandle) => {
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

/// What the documents before one in its file create, which it may build on.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    pools: Vec<IpPool>,
    tiers: Vec<String>,
}

/// The place of a kind's resource; `default` where a namespaced one is given no namespace.
pub(crate) fn key(kind: Kind, namespace: Option<&str>, name: &str) -> Key {
    match kind.scope() {
        _ if kind == Kind::IpamConfig && name == "default" => Key::IpamConfig,
        Scope::Namespaced => Key::namespaced(kind, namespace.unwrap_or("default"), name),
        Scope::Cluster => Key::cluster(kind, name),
    }
}

/// Whether users may write what has this key, or its kind, at all.
pub(crate) fn changeable(key: &Key) -> Result<(), Error> {
    let Key::Resource { kind, .. } = key else { return Ok(()) };
    match *kind {
        Kind::ClusterInformation => Err(Error::Invalid(
            "ClusterInformation is written by calico-node alone; `get` shows it".to_owned(),
        )),
        kind @ (Kind::BlockAffinity | Kind::IpamBlock | Kind::IpamHandle) => {
            Err(ipam_objects::not_changed_here(kind))
        }
        _ => policies::changeable(key),
    }
}

/// Checks a document by itself: kind, types, unknown fields, values.
pub(crate) async fn check(document: &Document) -> Result<(), Error> {
    changeable(&document.key())?;
    with_spec!(document.kind, check_as(&document.value))
}

/// A document as the datastore would keep it, with defaults.
pub(crate) async fn as_stored(document: &Document) -> Result<Entry, Error> {
    let value = with_spec!(document.kind, stored_bytes(&document.value))?;
    Ok(Entry::new(document.key(), value, Revision::default()))
}

async fn stored_bytes<S: Spec>(value: &Value) -> Result<Vec<u8>, Error> {
    let mut resource = documents::typed::<S>(value)?;
    resource.spec.apply_defaults(&mut resource.metadata);
    Ok(resource.to_stored())
}

async fn check_as<S: Spec>(value: &Value) -> Result<(), Error> {
    documents::typed::<S>(value).map(drop)
}

/// Checks a document against what is stored, and against what is before it in its file.
pub(crate) async fn check_stored(
    datastore: &dyn Datastore,
    document: &Document,
    how: Write,
    earlier: &mut Earlier,
) -> Result<(), Error> {
    if document.kind == Kind::IpamConfig {
        let resource = documents::typed(&document.value)?;
        return ipam_config::admit(datastore, &resource, how).await.map(drop);
    }
    with_spec!(document.kind, check_stored_as(datastore, &document.value, how, earlier))
}

async fn check_stored_as<S: Spec>(
    datastore: &dyn Datastore,
    value: &Value,
    how: Write,
    earlier: &mut Earlier,
) -> Result<(), Error> {
    let mut resource = documents::typed::<S>(value)?;
    policies::take_stored_name(datastore, &mut resource).await?;
    admit(datastore, &resource, how, earlier).await?;
    earlier.pools.extend(pools::of(&resource));
    if S::KIND == Kind::Tier {
        earlier.tiers.push(resource.metadata.name);
    }
    Ok(())
}

/// What is stored under the resource's name, if the resource may take its place.
async fn admit<S: Spec>(
    datastore: &dyn Datastore,
    resource: &Resource<S>,
    how: Write,
    earlier: &Earlier,
) -> Result<Option<Resource<S>>, Error> {
    policies::check_tier(datastore, resource, &earlier.tiers).await?;
    let metadata = &resource.metadata;
    let stored = typed::get(datastore, metadata.namespace.as_deref(), &metadata.name).await?;
    match (how, &stored) {
        (Write::Create, Some(_)) => return Err(Error::Exists(resource.key())),
        (Write::Replace, None) => return Err(Error::Missing(resource.key())),
        (_, None) => pools::check_new(datastore, resource, &earlier.pools).await?,
        (_, Some(stored)) => check_update(resource, stored)?,
    }
    Ok(stored)
}

fn check_update<S: Spec>(resource: &Resource<S>, stored: &Resource<S>) -> Result<(), Error> {
    let stated = &resource.metadata.resource_version;
    if stated.is_some() && *stated != stored.metadata.resource_version {
        return Err(Error::Changed(resource.key()));
    }
    pools::check_update(stored, resource)
}

/// Writes a document that was checked.
pub(crate) async fn write(
    datastore: &dyn Datastore,
    document: &Document,
    how: Write,
) -> Result<(), Error> {
    if document.kind == Kind::IpamConfig {
        return ipam_config::write(datastore, &document.value, how).await;
    }
    with_spec!(document.kind, write_as(datastore, &document.value, how))
}

async fn write_as<S: Spec>(
    datastore: &dyn Datastore,
    value: &Value,
    how: Write,
) -> Result<(), Error> {
    let mut resource = documents::typed::<S>(value)?;
    policies::take_stored_name(datastore, &mut resource).await?;
    for _ in 0..ATTEMPTS_MAX {
        let written = match admit(datastore, &resource, how, &Earlier::default()).await? {
            None => create(datastore, resource.clone()).await,
            Some(stored) => update(datastore, resource.clone(), &stored).await,
        };
        match written {
            // Somebody else wrote it between our read and our write: look again.
            Err(store::Error::Conflict(_) | store::Error::NotFound(_)) => {}
            other => return Ok(other?),
        }
    }
    Err(store::Error::Conflict(resource.key()).into())
}

async fn create<S: Spec>(
    datastore: &dyn Datastore,
    mut resource: Resource<S>,
) -> Result<(), store::Error> {
    resource.apply_defaults();
    resource.metadata.resource_version = None;
    resource.metadata.uid = None;
    typed::create(datastore, resource).await.map(drop)
}

/// Identity stays the stored one's, and so does the status where the resource says none.
async fn update<S: Spec>(
    datastore: &dyn Datastore,
    mut resource: Resource<S>,
    stored: &Resource<S>,
) -> Result<(), store::Error> {
    resource.apply_defaults();
    let (new, old) = (&mut resource.metadata, &stored.metadata);
    new.resource_version.clone_from(&old.resource_version);
    new.uid.clone_from(&old.uid);
    new.creation_timestamp.clone_from(&old.creation_timestamp);
    if resource.status.is_none() {
        resource.status.clone_from(&stored.status);
    }
    typed::update(datastore, resource).await.map(drop)
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
    let mut found = Vec::new();
    if names.is_empty() {
        for resource in typed::list::<S>(datastore, namespace).await? {
            found.push(json(&resource)?);
        }
    }
    for name in names {
        let key = policies::stored_key(datastore, &key(S::KIND, namespace, name)).await?;
        found.push(json(&stored_at::<S>(datastore, &key).await?)?);
    }
    found.iter_mut().for_each(|resource| policies::show_name(S::KIND, resource));
    if S::KIND == Kind::Tier {
        policies::sort_tiers(&mut found);
    }
    Ok(found)
}

fn json<S: Spec>(resource: &Resource<S>) -> Result<Value, Error> {
    serde_json::to_value(resource).map_err(|why| Error::Other(why.to_string()))
}

async fn stored_at<S: Spec>(datastore: &dyn Datastore, key: &Key) -> Result<Resource<S>, Error> {
    let entry = datastore.get(key).await?.ok_or_else(|| Error::Missing(key.clone()))?;
    Resource::from_stored(&entry.value, entry.revision)
        .map_err(|why| store::Error::Corrupt { key: key.clone(), reason: why.to_string() }.into())
}

/// Changes one stored resource by a function on its JSON, again if somebody else changes it
/// meanwhile.
pub(crate) async fn change(
    datastore: &dyn Datastore,
    key: &Key,
    edit: &dyn Fn(&mut Value) -> Result<(), Error>,
) -> Result<(), Error> {
    let Key::Resource { kind, .. } = key else {
        let entry = datastore.get(key).await?.ok_or_else(|| Error::Missing(key.clone()))?;
        let mut value = ipam_objects::resource(&entry)?;
        edit(&mut value)?;
        return ipam_config::write(datastore, &value, Write::Replace).await;
    };
    changeable(key)?;
    let key = &policies::stored_key(datastore, key).await?;
    with_spec!(*kind, change_as(datastore, key, edit))
}

async fn change_as<S: Spec>(
    datastore: &dyn Datastore,
    key: &Key,
    edit: &dyn Fn(&mut Value) -> Result<(), Error>,
) -> Result<(), Error> {
    for _ in 0..ATTEMPTS_MAX {
        let stored = stored_at::<S>(datastore, key).await?;
        let mut value = json(&stored)?;
        edit(&mut value)?;
        let changed = documents::typed::<S>(&value)?;
        if changed.key() != *key {
            return Err(Error::Invalid(format!(
                "{key}: a resource's name and namespace stay as they are; create another resource"
            )));
        }
        policies::check_tier(datastore, &changed, &[]).await?;
        check_update(&changed, &stored)?;
        match update(datastore, changed, &stored).await {
            Err(store::Error::Conflict(_)) => {}
            other => return Ok(other?),
        }
    }
    Err(store::Error::Conflict(key.clone()).into())
}

/// Removes a resource, which must still be at `stated_revision` where one is given, and what
/// depends on it.
pub(crate) async fn delete(
    datastore: &dyn Datastore,
    key: &Key,
    stated_revision: Option<&str>,
) -> Result<(), Error> {
    let key = &policies::stored_key(datastore, key).await?;
    policies::check_deletion(datastore, key).await?;
    let Some(stored) = datastore.get(key).await? else { return Err(Error::Missing(key.clone())) };
    if stated_revision.is_some_and(|stated| stated != stored.revision.to_string()) {
        return Err(Error::Changed(key.clone()));
    }
    match key {
        Key::Resource { kind: Kind::IpPool, name, .. } => {
            teardown::empty_pool(datastore, name).await?;
        }
        Key::Resource { kind: Kind::Node, name, .. } => {
            teardown::release_node(datastore, name).await?;
        }
        _ => {}
    }
    datastore.delete(key, None).await.map_err(|error| match error {
        store::Error::NotFound(key) => Error::Missing(key),
        other => other.into(),
    })
}

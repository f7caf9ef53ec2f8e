//! IPAMConfig as users write it: a resource named `default`. It is stored under a key and in a form
//! of its own, without metadata.

use crate::resources::Write;
use crate::{Error, documents};
use model::{Entry, IpamConfig, Key, Kind, Metadata, Problems, Resource, Spec};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use store::Datastore;

/// The spec of IPAMConfig (Calico reference, "IPAM configuration").
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct IpamConfigSpec {
    strict_affinity: bool,
    auto_allocate_blocks: bool,
    max_blocks_per_host: u32,
    #[serde(rename = "kubeVirtVMAddressPersistence", skip_serializing_if = "Option::is_none")]
    kube_virt_vm_address_persistence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_cooldown_seconds: Option<u32>,
}

impl From<IpamConfig> for IpamConfigSpec {
    fn from(stored: IpamConfig) -> IpamConfigSpec {
        IpamConfigSpec {
            strict_affinity: stored.strict_affinity,
            auto_allocate_blocks: stored.auto_allocate_blocks,
            max_blocks_per_host: stored.max_blocks_per_host,
            kube_virt_vm_address_persistence: stored.kube_virt_vm_address_persistence,
            ip_cooldown_seconds: Some(stored.ip_cooldown_seconds).filter(|seconds| *seconds > 0),
        }
    }
}

impl From<IpamConfigSpec> for IpamConfig {
    fn from(spec: IpamConfigSpec) -> IpamConfig {
        IpamConfig {
            strict_affinity: spec.strict_affinity,
            auto_allocate_blocks: spec.auto_allocate_blocks,
            max_blocks_per_host: spec.max_blocks_per_host,
            kube_virt_vm_address_persistence: spec.kube_virt_vm_address_persistence,
            ip_cooldown_seconds: spec.ip_cooldown_seconds.unwrap_or_default(),
        }
    }
}

impl Default for IpamConfigSpec {
    fn default() -> IpamConfigSpec {
        IpamConfig::default().into()
    }
}

impl Spec for IpamConfigSpec {
    const KIND: Kind = Kind::IpamConfig;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        if metadata.name != "default" {
            let reason = "the cluster has one IPAMConfig; name it default";
            problems.add("metadata.name", &metadata.name, reason);
        }
        for label in metadata.labels.keys().chain(metadata.annotations.keys()) {
            problems.add("metadata", label, "IPAMConfig keeps no labels and annotations");
        }
        let checked = model::validate::validate_ipam_config(&self.clone().into());
        problems.0.extend(checked.err().unwrap_or_default());
    }
}

/// What is stored, if the document may take its place.
pub(crate) async fn admit(
    datastore: &dyn Datastore,
    resource: &Resource<IpamConfigSpec>,
    how: Write,
) -> Result<Option<Entry>, Error> {
    let key = Key::IpamConfig;
    let stored = datastore.get(&key).await?;
    let stated = resource.metadata.resource_version.as_ref();
    match (how, &stored) {
        (Write::Create, Some(_)) => Err(Error::Exists(key)),
        (Write::Replace, None) => Err(Error::Missing(key)),
        (_, Some(entry)) if stated.is_some_and(|stated| *stated != entry.revision.to_string()) => {
            Err(Error::Changed(key))
        }
        _ => Ok(stored),
    }
}

/// Writes a document that was checked.
pub(crate) async fn write(
    datastore: &dyn Datastore,
    value: &Value,
    how: Write,
) -> Result<(), Error> {
    let resource = documents::typed::<IpamConfigSpec>(value)?;
    let stored = admit(datastore, &resource, how).await?;
    put(datastore, resource.spec.into(), stored).await
}

/// Writes the settings over what was read.
pub(crate) async fn put(
    datastore: &dyn Datastore,
    config: IpamConfig,
    stored: Option<Entry>,
) -> Result<(), Error> {
    let value = model::Value::IpamConfig(config).encode();
    match stored {
        Some(entry) => datastore.update(&Key::IpamConfig, value, entry.revision).await?,
        None => datastore.create(&Key::IpamConfig, value).await?,
    };
    Ok(())
}

//! Objects as the Kubernetes API has them, and as Calico's datastore has them.

use super::own;
use super::place::{self, DEFAULT_TIER_PREFIX, Group, has_tier};
use super::uid;
use ipnet::IpNet;
use model::kubernetes::ipam::{
    BlockAffinitySpec, Flag, IpamBlockSpec, IpamConfigurationSpec, IpamHandleSpec,
};
use model::{Affinity, Block, Entry, Handle, IpamConfig, Key, Kind, Metadata, Revision};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// Where the first group's resources keep the metadata that users see.
const METADATA: &str = "projectcalico.org/metadata";

/// What an object of Kubernetes' is to Calico.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Object {
    /// A resource of Calico's own.
    Custom(Kind),
    /// An IPAM block.
    Block,
    /// A block affinity.
    Affinity,
    /// An IPAM handle.
    Handle,
    /// The IPAM settings.
    IpamConfig,
    /// A Node, in part in annotations.
    Node,
    /// A workload endpoint.
    Pod,
    /// A profile.
    Namespace,
    /// A profile.
    ServiceAccount,
    /// A policy.
    NetworkPolicy,
    /// A global policy.
    ClusterNetworkPolicy,
    /// Addresses and ports behind a service.
    EndpointSlice,
}

impl Object {
    /// Whether Calico deletes it in two steps, first marking it: nobody then takes what is about to
    /// go for what is there.
    pub(super) fn is_marked(self) -> bool {
        matches!(self, Object::Block | Object::Affinity | Object::Handle)
    }

    /// Whether it is Calico's to delete.
    pub(super) fn is_deletable(self) -> bool {
        self.is_marked() || matches!(self, Object::Custom(_) | Object::IpamConfig)
    }
}

/// An object as it was read.
pub(super) struct Read {
    /// Calico's key.
    pub(super) key: Key,
    /// When it last changed.
    pub(super) revision: Revision,
    /// Kubernetes' identity of it.
    pub(super) uid: String,
    /// Its value as Calico's datastore has it.
    pub(super) value: Vec<u8>,
    /// Whether it is marked as deleted.
    pub(super) marked: bool,
    /// What of the object cannot be read.
    pub(super) problems: Vec<String>,
}

impl Read {
    /// The object as the datastore has it.
    pub(super) fn into_entry(self) -> Entry {
        let Read { key, value, revision, problems, .. } = self;
        Entry { key, value, revision, problems }
    }
}

/// An object's outermost fields.
#[derive(Deserialize)]
struct Outer<'a> {
    #[serde(default)]
    metadata: Metadata,
    #[serde(borrow, default)]
    spec: Option<&'a RawValue>,
    #[serde(borrow, default)]
    status: Option<&'a RawValue>,
}

/// A resource as users see it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: &'a Metadata,
    #[serde(skip_serializing_if = "Option::is_none")]
    spec: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<&'a RawValue>,
}

/// The metadata that tells an object's revision, whatever the rest is.
#[derive(Deserialize)]
struct Identified {
    #[serde(default)]
    metadata: Metadata,
}

/// An object's revision.
pub(super) fn revision(metadata: &Metadata) -> Option<Revision> {
    metadata.resource_version.as_deref()?.parse().ok().map(Revision)
}

/// The revision of what may be nothing but that, e.g. a bookmark.
pub(super) fn revision_of(object: &[u8]) -> Option<Revision> {
    revision(&serde_json::from_slice::<Identified>(object).ok()?.metadata)
}

impl Object {
    /// Reads an object; `None` where it is none of Calico's business, e.g. a pod of the host's
    /// network or a block with a prefix that cannot be read.
    pub(super) fn read(self, group: Group, prefix: &str, object: &str) -> Option<Read> {
        let outer: Outer<'_> = serde_json::from_str(object).ok()?;
        let revision = revision(&outer.metadata)?;
        let uid = outer.metadata.uid.clone().unwrap_or_default();
        let mut problems = Vec::new();
        let (key, value, marked) = match self {
            Object::Custom(kind) => {
                let (key, value) = custom(group, kind, outer);
                return Some(Read { key, revision, uid, value, marked: false, problems });
            }
            Object::Block => block(outer.spec?.get())?,
            Object::Affinity => {
                let spec: BlockAffinitySpec = spec(&outer)?;
                let (kind, host, block) = spec.of()?;
                let key = Key::Affinity { kind, host: host.to_owned(), block };
                (key, json(&spec.to_affinity()), spec.deleted.is_set())
            }
            Object::Handle => {
                let spec: IpamHandleSpec = spec(&outer)?;
                (Key::Handle(spec.handle_id.clone()), json(&spec.to_handle()), spec.deleted)
            }
            Object::IpamConfig if outer.metadata.name != "default" => return None,
            Object::IpamConfig => {
                let spec: IpamConfigurationSpec = spec(&outer)?;
                (Key::IpamConfig, json(&IpamConfig::from(spec)), false)
            }
            _ => {
                let read = own::read(self, &outer.metadata, prefix, object)?;
                let told = |one| own::told(self, &outer.metadata, one);
                problems = read.problems.iter().map(told).collect();
                (read.key, read.value, false)
            }
        };
        Some(Read { key, revision, uid, value, marked, problems })
    }

    /// Calico's value as the API takes it.
    ///
    /// # Errors
    /// Why the value cannot be stored.
    pub(super) fn write(
        self,
        group: Group,
        name: &str,
        key: &Key,
        value: &[u8],
        read: Option<Revision>,
    ) -> Result<Vec<u8>, String> {
        let text = |why: serde_json::Error| why.to_string();
        let plain = || Metadata {
            resource_version: read.map(|revision| revision.to_string()),
            ..Metadata::named(name)
        };
        let (kind, metadata, spec) = match (self, key) {
            (Object::Custom(kind), _) => {
                let outer: Outer<'_> = serde_json::from_slice(value).map_err(text)?;
                let metadata = stored_metadata(group, kind, &outer.metadata, plain())?;
                return Ok(shown(group, kind, &metadata, outer.spec, outer.status));
            }
            (Object::Block, _) => {
                let block: Block = serde_json::from_slice(value).map_err(text)?;
                let spec = IpamBlockSpec::from_block(&block).map_err(text)?;
                (Kind::IpamBlock, plain(), raw(&spec))
            }
            (Object::Affinity, Key::Affinity { kind, host, block }) => {
                let affinity = Affinity::from_stored(value).map_err(text)?;
                let deleted = match group {
                    Group::Crd => Flag::Text(affinity.deleted),
                    Group::Native => Flag::Bool(affinity.deleted == "true"),
                };
                let spec = BlockAffinitySpec {
                    state: affinity.state,
                    node: host.clone(),
                    kind: kind.as_str().to_owned(),
                    cidr: block.to_string(),
                    deleted,
                };
                let labels = place::affinity_labels(*kind, host, block);
                (Kind::BlockAffinity, Metadata { labels, ..plain() }, raw(&spec))
            }
            (Object::Handle, Key::Handle(id)) => {
                let handle: Handle = serde_json::from_slice(value).map_err(text)?;
                (Kind::IpamHandle, plain(), raw(&IpamHandleSpec::from_handle(id, handle)))
            }
            (Object::IpamConfig, _) => {
                let config: IpamConfig = serde_json::from_slice(value).map_err(text)?;
                (Kind::IpamConfig, plain(), raw(&IpamConfigurationSpec::from(config)))
            }
            _ => return Err("it is made from an object of Kubernetes': change that".to_owned()),
        };
        Ok(shown(group, kind, &metadata, Some(&spec), None))
    }
}

/// Key, value and whether it is marked; `None` for a block with a prefix that cannot be read. One of
/// another form has a value that is none, so that whoever reads it takes no address of it and says why.
fn block(spec: &str) -> Option<(Key, Vec<u8>, bool)> {
    #[derive(Deserialize)]
    struct Prefix {
        cidr: IpNet,
    }
    Some(match IpamBlockSpec::block(spec) {
        Ok(block) => (Key::Block(block.cidr), json(&block), block.deleted),
        Err(_) => (Key::Block(parsed::<Prefix>(spec)?.cidr), spec.as_bytes().to_vec(), false),
    })
}

fn custom(group: Group, kind: Kind, outer: Outer<'_>) -> (Key, Vec<u8>) {
    let mut metadata = match group {
        Group::Crd => shown_metadata(kind, outer.metadata),
        Group::Native => outer.metadata,
    };
    metadata.resource_version = None;
    let (namespace, name) = (metadata.namespace.clone(), metadata.name.clone());
    let key = Key::Resource { kind, namespace, name };
    let (kind, api_version) = (kind.name(), model::resource::API_VERSION);
    let (spec, status) = (outer.spec, outer.status);
    (key, json(&Shown { kind, api_version, metadata: &metadata, spec, status }))
}

fn shown(
    group: Group,
    kind: Kind,
    metadata: &Metadata,
    spec: Option<&RawValue>,
    status: Option<&RawValue>,
) -> Vec<u8> {
    let (kind, api_version) = (group.kind(kind), group.api_version());
    json(&Shown { kind, api_version, metadata, spec, status })
}

/// The metadata that users see of a resource of the first group: those of the annotation, with what
/// only Kubernetes knows.
fn shown_metadata(kind: Kind, mut own: Metadata) -> Metadata {
    own.uid = own.uid.map(|text| uid::converted(&text));
    let annotated = own.annotations.remove(METADATA);
    let given = annotated.and_then(|text| serde_json::from_str::<Metadata>(&text).ok());
    let is_older = has_tier(kind) && given.is_none();
    let Some(mut shown) = given else {
        if is_older && let Some(name) = own.name.strip_prefix(DEFAULT_TIER_PREFIX) {
            own.name = name.to_owned();
        }
        return own;
    };
    if shown.name.is_empty() {
        shown.name = own.name;
    }
    // Older Calico kept labels and annotations outside; the annotation's win.
    let merged = |mut outside: BTreeMap<String, String>, inside| {
        outside.extend(inside);
        outside
    };
    shown.labels = merged(own.labels, shown.labels);
    shown.annotations = merged(own.annotations, shown.annotations);
    shown.creation_timestamp = shown.creation_timestamp.or(own.creation_timestamp);
    Metadata { namespace: own.namespace, uid: own.uid, ..shown }
}

/// A resource's metadata as its group keeps them; `plain` has the object's name and revision.
fn stored_metadata(
    group: Group,
    kind: Kind,
    given: &Metadata,
    plain: Metadata,
) -> Result<Metadata, String> {
    let placed = Metadata { namespace: given.namespace.clone(), ..plain };
    let hidden = Metadata { namespace: None, resource_version: None, uid: None, ..given.clone() };
    if group == Group::Native {
        let Metadata { name, namespace, resource_version, .. } = placed;
        return Ok(Metadata { name, namespace, resource_version, ..hidden });
    }
    let mut hidden = serde_json::to_value(hidden).map_err(|why| why.to_string())?;
    if !has_tier(kind)
        && let Some(fields) = hidden.as_object_mut()
    {
        fields.remove("name");
    }
    let ours = |map: &BTreeMap<String, String>| -> BTreeMap<String, String> {
        let is_ours = |name: &str| {
            name.contains("projectcalico.org/") || name.contains("operator.tigera.io/")
        };
        map.clone().into_iter().filter(|(name, _)| is_ours(name)).collect()
    };
    let mut annotations = ours(&given.annotations);
    annotations.insert(METADATA.to_owned(), hidden.to_string());
    Ok(Metadata { labels: ours(&given.labels), annotations, ..placed })
}

fn spec<T: DeserializeOwned>(outer: &Outer<'_>) -> Option<T> {
    parsed(outer.spec?.get())
}

fn parsed<T: DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_str(text).ok()
}

fn json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("it has string keys only, so it is always JSON")
}

fn raw(value: &impl Serialize) -> Box<RawValue> {
    serde_json::value::to_raw_value(value).expect("it has string keys only, so it is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Value;

    #[test]
    fn a_block_of_another_form_is_there_and_cannot_be_read() {
        let read = |spec: &str| {
            let text = format!(
                r#"{{"metadata": {{"name": "b", "uid": "u", "resourceVersion": "7"}}, "spec": {spec}}}"#
            );
            Object::Block.read(Group::Crd, "cali", &text).map(Read::into_entry)
        };
        let sound = r#"{"cidr": "10.0.0.0/30", "allocations": [null, null, null, null],
            "unallocated": [0, 1, 2, 3], "attributes": []}"#;
        let entry = read(sound).expect("a block");
        assert!(Value::decode(&entry).is_ok());
        for (right, wrong) in [
            ("[null, null, null, null]", "\"many\""),
            (r#""attributes": []"#, r#""attributes": [5]"#),
            ("[0, 1, 2, 3]", "{}"),
        ] {
            let broken = read(&sound.replace(right, wrong)).expect("a block");
            assert_eq!((&broken.key, broken.revision), (&entry.key, Revision(7)));
            assert!(Value::decode(&broken).is_err(), "{wrong}");
        }
        assert!(read(r#"{"cidr": "10.0.0.0/33", "allocations": "many"}"#).is_none());
    }
}

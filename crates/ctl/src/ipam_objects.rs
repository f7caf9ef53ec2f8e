//! IPAM's own objects, shown as the resources Calico presents them as. They change by assigning and
//! releasing addresses, not by `apply`.

use crate::Error;
use crate::ipam_config::IpamConfigSpec;
use model::{AffinityKind, Block, Entry, Handle, Key, Kind, Query, Value as Stored};
use serde_json::{Value, json};
use store::Datastore;

/// Whether a kind is one of IPAM's own.
pub(crate) fn is_one(kind: Kind) -> bool {
    matches!(kind, Kind::BlockAffinity | Kind::IpamBlock | Kind::IpamConfig | Kind::IpamHandle)
}

/// Why a document of such a kind is refused.
pub(crate) fn not_changed_here(kind: Kind) -> Error {
    Error::Invalid(format!(
        "{} objects are IPAM's own bookkeeping and are not written by hand; \
         `calicoctl ipam` has the operations on addresses and blocks",
        kind.name()
    ))
}

/// All objects of a kind as resources, or those named.
pub(crate) async fn get(
    datastore: &dyn Datastore,
    kind: Kind,
    names: &[String],
) -> Result<Vec<Value>, Error> {
    let mut rows = Vec::new();
    for query in queries(kind) {
        for entry in datastore.list(&query).await?.entries {
            rows.push(resource(&entry)?);
        }
    }
    if names.is_empty() {
        return Ok(rows);
    }
    let by_name = |name: &String| {
        let found = rows.iter().find(|row| row["metadata"]["name"] == name.as_str());
        found.cloned().ok_or_else(|| Error::Missing(Key::cluster(kind, name)))
    };
    names.iter().map(by_name).collect()
}

fn queries(kind: Kind) -> Vec<Query> {
    match kind {
        Kind::BlockAffinity => [AffinityKind::Host, AffinityKind::Virtual]
            .map(|kind| Query::Affinities { kind, host: None })
            .to_vec(),
        Kind::IpamBlock => vec![Query::Blocks],
        Kind::IpamConfig => vec![Query::IpamConfig],
        Kind::IpamHandle => vec![Query::Handles],
        _ => vec![],
    }
}

/// The object as a resource.
pub(crate) fn resource(entry: &Entry) -> Result<Value, Error> {
    let key = &entry.key;
    let unreadable = |why: serde_json::Error| {
        Error::Other(format!("{key} cannot be read: {why}; was it written by another program?"))
    };
    let stored = Stored::decode(entry).map_err(unreadable)?;
    let (kind, name, spec) = match (key, &stored) {
        (Key::Affinity { kind, host, block }, Stored::Affinity(affinity)) => {
            let name = format!("{host}-{}", dashed(&block.to_string()));
            let spec = json!({
                "cidr": block, "node": host, "type": kind.as_str(), "state": affinity.state,
                "deleted": affinity.deleted == "true",
            });
            (Kind::BlockAffinity, name, spec)
        }
        (Key::Block(cidr), Stored::Block(block)) => {
            (Kind::IpamBlock, dashed(&cidr.to_string()), block_spec(block))
        }
        (Key::Handle(id), Stored::Handle(handle)) => {
            (Kind::IpamHandle, id.clone(), handle_spec(id, handle))
        }
        (Key::IpamConfig, Stored::IpamConfig(config)) => {
            let spec = json!(IpamConfigSpec::from(config.clone()));
            (Kind::IpamConfig, "default".to_owned(), spec)
        }
        _ => return Err(Error::Other(format!("{key} is not what its key says"))),
    };
    Ok(json!({
        "apiVersion": model::resource::API_VERSION,
        "kind": kind.name(),
        "metadata": {"name": name, "resourceVersion": entry.revision.to_string()},
        "spec": spec,
    }))
}

fn dashed(text: &str) -> String {
    text.replace(['.', ':', '/'], "-")
}

fn block_spec(block: &Block) -> Value {
    json!({
        "cidr": block.cidr,
        "affinity": block.affinity,
        "allocations": block.allocations,
        "unallocated": block.unallocated,
        "attributes": block.attributes,
        "sequenceNumber": block.sequence_number,
        "sequenceNumberForAllocation": block.sequence_number_for_allocation,
        "deleted": block.deleted,
    })
}

fn handle_spec(id: &str, handle: &Handle) -> Value {
    json!({"handleID": id, "block": handle.block, "deleted": handle.deleted})
}

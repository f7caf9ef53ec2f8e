//! `calicoctl get`.

use crate::cli::Get;
use crate::output::{self, Format};
use crate::{Error, documents, resources};
use model::{Kind, Scope};
use serde_json::Value;
use store::Datastore;

/// Fields that only this cluster knows.
const CLUSTER_FIELDS: &[&str] =
    &["creationTimestamp", "generation", "resourceVersion", "uid", "deletionTimestamp"];

pub(super) async fn run(datastore: &dyn Datastore, get: &Get) -> Result<(), Error> {
    let format = Format::parse(&get.output)?;
    if let Some(file) = &get.filename {
        let namespace = get.namespace.namespace.as_deref();
        for document in documents::read(file, false, namespace)? {
            let names = [document.name().to_owned()];
            let namespace = document.namespace();
            let rows =
                resources::get(datastore, document.kind, namespace.as_deref(), &names).await?;
            show(document.kind, rows, &format, get, true)?;
        }
        return Ok(());
    }
    let kind = super::kind(get.kind.as_deref().unwrap_or_default())?;
    let namespace = match (kind.scope(), get.namespace.all_namespaces) {
        (Scope::Namespaced, false) => {
            Some(get.namespace.namespace.as_deref().unwrap_or("default"))
        }
        (Scope::Namespaced, true) | (Scope::Cluster, _) => None,
    };
    let rows = resources::get(datastore, kind, namespace, &get.names).await?;
    show(kind, rows, &format, get, get.names.len() == 1)
}

fn show(
    kind: Kind,
    mut rows: Vec<Value>,
    format: &Format,
    get: &Get,
    single: bool,
) -> Result<(), Error> {
    if get.export {
        for metadata in rows.iter_mut().filter_map(|row| row["metadata"].as_object_mut()) {
            metadata.retain(|field, _| !CLUSTER_FIELDS.contains(&field.as_str()));
        }
    }
    let asked = get.namespace.all_namespaces || get.namespace.namespace.is_some();
    let with_namespace = asked && kind.scope() == Scope::Namespaced;
    output::print(kind, &rows, format, with_namespace, single)
}

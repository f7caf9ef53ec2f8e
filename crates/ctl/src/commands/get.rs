//! `calicoctl get`.

use crate::cli::Get;
use crate::terminal::Terminal;
use crate::{Error, documents, output, resources};
use model::{Key, Kind, Scope};
use serde_json::Value;
use store::Datastore;

/// Fields that only this cluster knows.
const CLUSTER_FIELDS: &[&str] =
    &["creationTimestamp", "generation", "resourceVersion", "uid", "deletionTimestamp"];

pub(super) async fn run(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    get: &Get,
) -> Result<(), Error> {
    let wanted = get.namespace.namespace.as_deref();
    if let Some(file) = &get.filename {
        for document in documents::read(terminal, file, get.recursive, wanted)? {
            if let Key::Resource { kind, namespace, name } = document.key() {
                let rows = resources::get(datastore, kind, namespace.as_deref(), &[name]).await?;
                show(terminal, kind, rows, get, true)?;
            }
        }
        return Ok(());
    }
    let kind = super::kind(get.kind.as_deref().unwrap_or_default())?;
    let everywhere = get.namespace.all_namespaces || kind.scope() == Scope::Cluster;
    let namespace = (!everywhere).then(|| wanted.unwrap_or("default"));
    let rows = resources::get(datastore, kind, namespace, &get.names).await?;
    show(terminal, kind, rows, get, get.names.len() == 1)
}

fn show(
    terminal: &mut Terminal<'_>,
    kind: Kind,
    mut rows: Vec<Value>,
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
    terminal.print(&output::render(kind, &rows, &get.output, with_namespace, single)?)
}

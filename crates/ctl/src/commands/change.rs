//! `calicoctl create`, `apply`, `replace`, `patch`, `delete`, `label`.

use crate::cli::{Apply, Delete, Label, Patch, PatchType};
use crate::documents::{self, Document};
use crate::resources::{self, Write};
use crate::{Error, output};
use serde_json::Value;
use store::Datastore;

/// Writes every document of the files. All are checked before the first is written.
pub(super) async fn write(
    datastore: &dyn Datastore,
    apply: &Apply,
    how: Write,
    skip_exists: bool,
) -> Result<(), Error> {
    let (verb, done) = match how {
        Write::Create => ("create", "created"),
        Write::Apply => ("apply", "applied"),
        Write::Replace => ("replace", "replaced"),
    };
    let documents =
        documents::read(&apply.filename, apply.recursive, apply.namespace.as_deref())?;
    if documents.is_empty() {
        return nothing(&apply.filename, apply.skip_empty);
    }
    for document in &documents {
        resources::check(document).await.map_err(|why| failure(verb, document, &why))?;
    }
    for (written, document) in documents.iter().enumerate() {
        match resources::write(datastore, document, how).await {
            Ok(()) => {}
            Err(Error::Exists(_)) if skip_exists => {}
            Err(why) => return Err(partial(verb, done, &documents, written, &why)),
        }
    }
    say(done, &documents)
}

fn nothing(file: &str, allowed: bool) -> Result<(), Error> {
    let message = format!("No resources specified in {file}");
    if allowed { output::write_out(&format!("{message}\n")) } else { Err(Error::Invalid(message)) }
}

fn say(done: &str, documents: &[Document]) -> Result<(), Error> {
    output::write_out(&format!("Successfully {done} {}\n", count(documents)))
}

/// `1 'IPPool' resource(s)`, or without the kind where there are several.
fn count(documents: &[Document]) -> String {
    let (number, first) = (documents.len(), documents.first().map(|d| d.kind));
    match first {
        Some(kind) if documents.iter().all(|document| document.kind == kind) => {
            format!("{number} '{}' resource(s)", kind.name())
        }
        _ => format!("{number} resource(s)"),
    }
}

fn failure(verb: &str, document: &Document, why: &Error) -> Error {
    Error::Other(format!("Failed to {verb} '{}' resource: [{why}]", document.kind.name()))
}

fn partial(
    verb: &str,
    done: &str,
    documents: &[Document],
    written: usize,
    why: &Error,
) -> Error {
    let failed = &documents[written];
    if written == 0 {
        return failure(verb, failed, why);
    }
    Error::Other(format!(
        "Partial success: {done} the first {written} out of {} resources:\nHit error: {}: {why}",
        documents.len(),
        failed.kind.name()
    ))
}

pub(super) async fn patch(datastore: &dyn Datastore, patch: &Patch) -> Result<(), Error> {
    let kind = super::kind(&patch.kind)?;
    let change: Value = serde_saphyr::from_str(&patch.patch)
        .map_err(|why| Error::Invalid(format!("the patch is neither JSON nor YAML: {why}")))?;
    let edit = |value: &mut Value| match patch.patch_type {
        // Calico's resources have no merge keys, so strategic merge is RFC 7386's.
        PatchType::Strategic | PatchType::Merge => {
            json_patch::merge(value, &change);
            Ok(())
        }
        PatchType::Json => {
            let operations: json_patch::Patch = serde_json::from_value(change.clone())
                .map_err(|why| Error::Invalid(format!("the patch is no RFC 6902 list: {why}")))?;
            json_patch::patch(value, &operations)
                .map_err(|why| Error::Invalid(format!("the patch does not fit: {why}")))
        }
    };
    let namespace = patch.namespace.as_deref();
    let changed = resources::change(datastore, kind, namespace, &patch.name, &edit).await;
    changed.map_err(|why| {
        Error::Other(format!("Failed to patch '{}' resource: [{why}]", kind.name()))
    })?;
    output::write_out(&format!("Successfully patched 1 '{}' resource\n", kind.name()))
}

pub(super) async fn delete(datastore: &dyn Datastore, delete: &Delete) -> Result<(), Error> {
    let documents = match &delete.filename {
        Some(file) => documents::read(file, false, delete.namespace.as_deref())?,
        None => named(delete)?,
    };
    if documents.is_empty() {
        return nothing(delete.filename.as_deref().unwrap_or_default(), false);
    }
    for (deleted, document) in documents.iter().enumerate() {
        let namespace = document.namespace();
        let gone =
            resources::delete(datastore, document.kind, namespace.as_deref(), document.name());
        match gone.await {
            Ok(()) => {}
            Err(Error::Missing(_)) if delete.skip_not_exists => {}
            Err(why) => return Err(partial("delete", "deleted", &documents, deleted, &why)),
        }
    }
    say("deleted", &documents)
}

fn named(delete: &Delete) -> Result<Vec<Document>, Error> {
    let kind = super::kind(delete.kind.as_deref().unwrap_or_default())?;
    let document = |name: &String| {
        let namespace = delete.namespace.as_deref().unwrap_or("default");
        let value = serde_json::json!({"metadata": {"name": name, "namespace": namespace}});
        Document { kind, value }
    };
    Ok(delete.names.iter().map(document).collect())
}

pub(super) async fn label(datastore: &dyn Datastore, label: &Label) -> Result<(), Error> {
    let kind = super::kind(&label.kind)?;
    let (key, value) = match label.label.split_once('=') {
        Some((key, value)) if !label.remove => (key, Some(value)),
        None if label.remove => (label.label.as_str(), None),
        _ => {
            return Err(Error::Invalid(format!(
                "'{}' is no label: write KEY=VALUE, or KEY with --remove",
                label.label
            )));
        }
    };
    let edit = |resource: &mut Value| {
        let labels = &mut resource["metadata"]["labels"];
        let stored = labels[key].as_str();
        match (value, stored) {
            (Some(new), Some(old)) if new != old && !label.overwrite => {
                Err(Error::Invalid(format!(
                    "label {key} has the value {old} already; --overwrite changes it"
                )))
            }
            (Some(new), _) => {
                labels[key] = Value::String(new.to_owned());
                Ok(())
            }
            (None, None) => Err(Error::Invalid(format!("there is no label {key} to remove"))),
            (None, Some(_)) => {
                if let Some(labels) = labels.as_object_mut() {
                    labels.remove(key);
                }
                Ok(())
            }
        }
    };
    let namespace = label.namespace.as_deref();
    resources::change(datastore, kind, namespace, &label.name, &edit).await?;
    let (name, kind) = (&label.name, kind.name());
    output::write_out(&match value {
        Some(_) => format!("Successfully set label {key} on {kind} {name}\n"),
        None => format!("Successfully removed label {key} from {kind} {name}.\n"),
    })
}

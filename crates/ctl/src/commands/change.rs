//! `calicoctl create`, `apply`, `replace`, `patch`, `delete`, `label`.

use crate::cli::{Apply, Delete, Label, Patch, PatchType};
use crate::documents::{self, Document};
use crate::resources::{self, Earlier, Write};
use crate::terminal::Terminal;
use crate::{Error, commands};
use serde_json::Value;
use std::cell::Cell;
use store::Datastore;

/// Writes every document of the files. All are checked before the first is written.
pub(super) async fn write(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    apply: &Apply,
    how: Write,
    skip_exists: bool,
) -> Result<(), Error> {
    let words = match how {
        Write::Create => ("create", "created"),
        Write::Apply => ("apply", "applied"),
        Write::Replace => ("replace", "replaced"),
    };
    let namespace = apply.namespace.as_deref();
    let documents = documents::read(terminal, &apply.filename, apply.recursive, namespace)?;
    if documents.is_empty() {
        return nothing(terminal, &apply.filename, apply.skip_empty);
    }
    for document in &documents {
        resources::check(document).await.map_err(|why| failure(words.0, document, &why))?;
    }
    let mut earlier = Earlier::default();
    for document in &documents {
        match resources::check_stored(datastore, document, how, &mut earlier).await {
            Err(Error::Exists(_)) if skip_exists => {}
            checked => checked.map_err(|why| failure(words.0, document, &why))?,
        }
    }
    let mut written = 0;
    for (place, document) in documents.iter().enumerate() {
        match resources::write(datastore, document, how).await {
            Ok(()) => written += 1,
            Err(Error::Exists(_)) if skip_exists => {}
            Err(why) => return Err(partial(words, &documents, place, &why)),
        }
    }
    terminal.print(&format!("Successfully {} {}\n", words.1, count(written, &documents)))
}

/// Checks every document of the files by itself; asks no datastore.
pub(super) async fn validate(terminal: &mut Terminal<'_>, validate: &Apply) -> Result<(), Error> {
    let namespace = validate.namespace.as_deref();
    let documents = documents::read(terminal, &validate.filename, validate.recursive, namespace)?;
    if documents.is_empty() {
        return nothing(terminal, &validate.filename, validate.skip_empty);
    }
    for document in &documents {
        resources::check(document).await.map_err(|why| failure("validate", document, &why))?;
    }
    terminal.print(&format!("Successfully validated {}\n", count(documents.len(), &documents)))
}

fn nothing(terminal: &mut Terminal<'_>, file: &str, allowed: bool) -> Result<(), Error> {
    let message = format!("No resources specified in {file}");
    if allowed { terminal.print(&format!("{message}\n")) } else { Err(Error::Invalid(message)) }
}

/// `1 'IPPool' resource(s)`, without the kind where there are several.
fn count(number: usize, documents: &[Document]) -> String {
    match documents {
        [first, others @ ..] if others.iter().all(|other| other.kind == first.kind) => {
            format!("{number} '{}' resource(s)", first.kind.name())
        }
        _ => format!("{number} resource(s)"),
    }
}

/// Nothing was changed: says what could not be done to which resource.
fn failure(verb: &str, document: &Document, why: &Error) -> Error {
    let (kind, why) = (document.kind.name(), of(document, why));
    Error::Other(format!("Failed to {verb} '{kind}' resource: [{why}]"))
}

/// The reason with the resource's name, which the datastore's reasons lack.
fn of(document: &Document, why: &Error) -> String {
    let (key, why) = (document.key().to_string(), why.to_string());
    if why.contains(&key) { why } else { format!("{key}: {why}") }
}

/// The documents before `failed` were written, this one wasn't.
fn partial(words: (&str, &str), documents: &[Document], failed: usize, why: &Error) -> Error {
    if failed == 0 {
        return failure(words.0, &documents[failed], why);
    }
    Error::Other(format!(
        "Partial success: {} the first {failed} out of {}:\nHit error: {}",
        words.1,
        count(documents.len(), documents),
        of(&documents[failed], why)
    ))
}

pub(super) async fn patch(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    patch: &Patch,
) -> Result<(), Error> {
    let document = named(&patch.kind, patch.namespace.as_deref(), &patch.name)?;
    let edit = editor(patch.patch_type, &patch.patch)?;
    let changed = resources::change(datastore, &document.key(), &*edit).await;
    changed.map_err(|why| failure("patch", &document, &why))?;
    terminal.print(&format!("Successfully patched 1 '{}' resource\n", document.kind.name()))
}

type Edit = dyn Fn(&mut Value) -> Result<(), Error>;

fn editor(patch_type: PatchType, text: &str) -> Result<Box<Edit>, Error> {
    let no_patch = |why: String| Error::Invalid(format!("the patch {text:?} {why}"));
    let change: Value = serde_saphyr::from_str(text)
        .map_err(|why| no_patch(format!("is neither JSON nor YAML: {why}")))?;
    match patch_type {
        PatchType::Json => {
            let operations: json_patch::Patch = serde_json::from_value(change)
                .map_err(|why| no_patch(format!("is no list of RFC 6902 operations: {why}")))?;
            Ok(Box::new(move |value| {
                json_patch::patch(value, &operations)
                    .map_err(|why| Error::Invalid(format!("the patch does not fit: {why}")))
            }))
        }
        PatchType::Strategic | PatchType::Merge if !change.is_object() => {
            Err(no_patch(r#"has no fields; write it like {"spec":{"ipipMode":"Never"}}"#.into()))
        }
        // Calico's resources have no merge keys, so strategic merge is RFC 7386's.
        PatchType::Strategic | PatchType::Merge => Ok(Box::new(move |value| {
            json_patch::merge(value, &change);
            Ok(())
        })),
    }
}

pub(super) async fn delete(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    delete: &Delete,
) -> Result<(), Error> {
    let namespace = delete.namespace.as_deref();
    let documents = match (&delete.filename, &delete.kind) {
        (Some(file), _) => documents::read(terminal, file, delete.recursive, namespace)?,
        (None, kind) => {
            let kind = kind.as_deref().unwrap_or_default();
            let document = |name: &String| named(kind, namespace, name);
            delete.names.iter().map(document).collect::<Result<_, _>>()?
        }
    };
    if documents.is_empty() {
        return nothing(terminal, delete.filename.as_deref().unwrap_or_default(), false);
    }
    for document in &documents {
        resources::changeable(&document.key()).map_err(|why| failure("delete", document, &why))?;
    }
    let mut deleted = 0;
    for (place, document) in documents.iter().enumerate() {
        let stated = document.value["metadata"]["resourceVersion"].as_str();
        match resources::delete(datastore, &document.key(), stated).await {
            Ok(()) => deleted += 1,
            Err(Error::Missing(_)) if delete.skip_not_exists => {}
            Err(why) => return Err(partial(("delete", "deleted"), &documents, place, &why)),
        }
    }
    terminal.print(&format!("Successfully deleted {}\n", count(deleted, &documents)))
}

/// What the arguments name, as a document.
fn named(kind: &str, namespace: Option<&str>, name: &str) -> Result<Document, Error> {
    let value = serde_json::json!({"metadata": {"name": name, "namespace": namespace}});
    Ok(Document { kind: commands::kind(kind)?, value })
}

pub(super) async fn label(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    label: &Label,
) -> Result<(), Error> {
    let document = named(&label.kind, label.namespace.as_deref(), &label.name)?;
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
    let updated = Cell::new(false);
    let edit = |resource: &mut Value| {
        let labels = &mut resource["metadata"]["labels"];
        match (value, labels[key].as_str()) {
            (Some(new), Some(old)) if new != old && !label.overwrite => {
                return Err(Error::Invalid(format!(
                    "label {key} has the value {old} already; --overwrite changes it"
                )));
            }
            (Some(new), old) => {
                updated.set(old.is_some_and(|old| old != new));
                labels[key] = Value::from(new);
            }
            (None, None) => {
                return Err(Error::Invalid(format!("there is no label {key} to remove")));
            }
            (None, Some(_)) => drop(labels.as_object_mut().and_then(|labels| labels.remove(key))),
        }
        Ok(())
    };
    let changed = resources::change(datastore, &document.key(), &edit).await;
    changed.map_err(|why| failure("label", &document, &why))?;
    let (name, kind) = (&label.name, document.kind.name());
    terminal.print(&match value {
        Some(_) if updated.get() => {
            format!("Successfully updated label {key} on {kind} {name}\n")
        }
        Some(_) => format!("Successfully set label {key} on {kind} {name}\n"),
        None => format!("Successfully removed label {key} from {kind} {name}.\n"),
    })
}

//! Files of documents: YAML or JSON, many in one, lists, directories, standard input.

use crate::terminal::Terminal;
use crate::{Error, resources};
use model::{Key, Kind, Resource, Scope, Spec};
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// One document: what kind it says it is, and all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) kind: Kind,
    pub(crate) value: Value,
}

impl Document {
    /// Where the datastore keeps what it names.
    pub(crate) fn key(&self) -> Key {
        let text = |field: &str| self.value["metadata"][field].as_str();
        resources::key(self.kind, text("namespace"), text("name").unwrap_or_default())
    }
}

/// Reads all documents of a file, of a directory's files (`.yaml`, `.yml`, `.json`), or of standard
/// input. Namespaced resources that name no namespace get `namespace`.
pub(crate) fn read(
    terminal: &mut Terminal<'_>,
    path: &str,
    recursive: bool,
    namespace: Option<&str>,
) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    for (file, text) in texts(terminal, path, recursive)? {
        documents.extend(parse(&text, &file)?);
    }
    for document in &mut documents {
        if document.kind.scope() == Scope::Namespaced && document.value["metadata"].is_object() {
            let stated = &mut document.value["metadata"]["namespace"];
            if stated.is_null() {
                *stated = Value::String(namespace.unwrap_or("default").to_owned());
            }
        }
    }
    Ok(documents)
}

fn texts(
    terminal: &mut Terminal<'_>,
    path: &str,
    recursive: bool,
) -> Result<Vec<(String, String)>, Error> {
    let failed = |file: &str, reason: &dyn std::fmt::Display| Error::File {
        file: file.to_owned(),
        reason: reason.to_string(),
    };
    if path == "-" {
        let name = "standard input";
        let text = terminal.read().map_err(|why| failed(name, &why))?;
        return Ok(vec![(name.to_owned(), text)]);
    }
    let mut found = Vec::new();
    files(Path::new(path), recursive, true, &mut found).map_err(|why| failed(path, &why))?;
    let read = |file: PathBuf| {
        let name = file.display().to_string();
        let text = std::fs::read_to_string(&file).map_err(|why| failed(&name, &why))?;
        Ok((name, text))
    };
    found.into_iter().map(read).collect()
}

fn files(
    path: &Path,
    recursive: bool,
    named: bool,
    found: &mut Vec<PathBuf>,
) -> std::io::Result<()> {
    if !path.is_dir() {
        let extension = path.extension().and_then(|e| e.to_str()).unwrap_or_default();
        if named || matches!(extension, "yaml" | "yml" | "json") {
            std::fs::metadata(path)?;
            found.push(path.to_owned());
        }
        return Ok(());
    }
    if !named && !recursive {
        return Ok(());
    }
    let mut entries: Vec<PathBuf> =
        std::fs::read_dir(path)?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    entries.sort();
    entries.iter().try_for_each(|entry| files(entry, recursive, false, found))
}

/// All documents of a text. JSON comes first: of its strings and blanks, YAML lacks some.
pub(crate) fn parse(text: &str, file: &str) -> Result<Vec<Document>, Error> {
    let json: Result<Vec<Value>, _> =
        serde_json::Deserializer::from_str(text).into_iter().collect();
    let values = match json {
        Ok(values) => values,
        Err(_) => serde_saphyr::from_multiple(text)
            .map_err(|why| Error::Invalid(format!("{file} is neither YAML nor JSON: {why}")))?,
    };
    let mut documents = Vec::new();
    for value in values.into_iter().filter(|value| !value.is_null()) {
        let elements = match value {
            Value::Array(elements) => elements,
            other => vec![other],
        };
        for element in elements {
            flatten(element, file, &mut documents)?;
        }
    }
    Ok(documents)
}

/// A `…List` is its items.
fn flatten(mut value: Value, file: &str, documents: &mut Vec<Document>) -> Result<(), Error> {
    let kind = value["kind"].as_str().ok_or_else(|| {
        Error::Invalid(format!("{file}: a document has no `kind`; say one, such as kind: IPPool"))
    })?;
    if kind.ends_with("List") && value["items"].is_array() {
        let Value::Array(items) = value["items"].clone() else { return Ok(()) };
        return items.into_iter().try_for_each(|item| flatten(item, file, documents));
    }
    // Calico's newer name.
    let kind = if kind == "IPAMConfiguration" { Kind::IpamConfig.name() } else { kind };
    let found = Kind::ALL.iter().copied().find(|known| known.name() == kind);
    let kind = found.ok_or_else(|| {
        let close = Kind::parse(kind).map(|k| format!("; did you mean {}?", k.name()));
        let known: Vec<&str> = Kind::ALL.iter().map(|k| k.name()).collect();
        Error::Invalid(format!(
            "{file}: unknown kind {kind}{}; known are {}",
            close.unwrap_or_default(),
            known.join(", ")
        ))
    })?;
    value["kind"] = kind.name().into();
    documents.push(Document { kind, value });
    Ok(())
}

/// A document as its kind's type: no unknown field, no wrong type, no wrong value.
pub(crate) fn typed<S: Spec>(value: &Value) -> Result<Resource<S>, Error> {
    let value = &without_nulls(value);
    let metadata = &value["metadata"];
    let name = metadata["name"].as_str().unwrap_or("(no name)");
    let key = resources::key(S::KIND, metadata["namespace"].as_str(), name);
    let invalid = |why: String| Error::Invalid(format!("{key}: {why}"));
    if value["apiVersion"].is_null() {
        let version = model::resource::API_VERSION;
        return Err(invalid(format!("apiVersion is missing; write apiVersion: {version}")));
    }
    let resource: Resource<S> = exactly(value).map_err(invalid)?;
    resource.validate().map_err(|problems| Error::problems(&key, &problems))?;
    Ok(resource)
}

/// A value as a type: no unknown field, no wrong type; else what is wrong, and where.
fn exactly<T: DeserializeOwned>(value: &Value) -> Result<T, String> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let placed = serde_path_to_error::Deserializer::new(value, &mut track);
    let mut note = |path: serde_ignored::Path<'_>| unknown.push(path.to_string());
    // Erased: serde's code for a type is made anew for each type of callback.
    let mut note: &mut dyn FnMut(serde_ignored::Path<'_>) = &mut note;
    let read = T::deserialize(serde_ignored::Deserializer::new(placed, &mut note));
    let read = read.map_err(|error| {
        format!("error with field {}: {}", track.path(), in_words(&error.to_string()))
    })?;
    if unknown.is_empty() {
        return Ok(read);
    }
    let unknown = unknown.join(", ");
    Err(format!("unknown field {unknown}; remove it, or correct its spelling"))
}

/// A field that is null counts as left out, as in Go: `spec:` with nothing after it.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let set = fields.iter().filter(|(_, value)| !value.is_null());
            Value::Object(set.map(|(name, value)| (name.clone(), without_nulls(value))).collect())
        }
        Value::Array(elements) => elements.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

/// What a field takes, for people who don't write Rust.
fn in_words(error: &str) -> String {
    let Some((found, expected)) = error.split_once(", expected ") else { return error.to_owned() };
    let expected = match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" | "u64" => "a whole number, not negative",
        "i32" | "i64" => "a whole number",
        "a string" => "a text; put it in quotes",
        "a boolean" => "true or false, without quotes",
        "a sequence" => "a list",
        "a map" => "fields with values",
        structure if structure.starts_with("struct ") => "fields with values",
        other => other,
    };
    format!("{found}, expected {expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_documents_lists_and_json_are_all_read() {
        let text = "---\nkind: IPPool\nmetadata: {name: a}\n---\n---\n\
                    kind: NodeList\nitems: [{kind: Node, metadata: {name: node}}]\n---\n\
                    [{\"kind\": \"BGPPeer\", \"metadata\": {\"name\": \"p\"}}]\n";
        let documents = parse(text, "f").expect("documents");
        let read: Vec<_> = documents.iter().map(|document| document.key().to_string()).collect();
        assert_eq!(read, ["IPPool(a)", "Node(node)", "BGPPeer(p)"]);
    }

    #[test]
    fn json_is_read_as_json() {
        let text = r#"{"kind": "Node", "metadata": {"name": "\ud83d\ude00"}} {"kind": "Node"}"#;
        let text = text.replace(' ', "\n\t");
        let documents = parse(&text, "f").expect("documents");
        assert_eq!(documents[0].key().to_string(), "Node(😀)");
        assert_eq!(documents.len(), 2);
    }

    #[test]
    fn a_null_is_a_field_left_out() {
        let text = "apiVersion: projectcalico.org/v3\nkind: Node\nspec:\n\
                    metadata: {name: node, labels: null, creationTimestamp: null}\n";
        let document = &parse(text, "f").expect("a document")[0];
        let node = typed::<model::NodeSpec>(&document.value).expect("a node");
        assert_eq!(node, model::Node::new("node", model::NodeSpec::default()));
    }

    #[test]
    fn wrong_documents_say_what_is_wrong() {
        for (text, said) in [
            ("kind: Pool", "did you mean IPPool?"),
            ("kind: Potato", "unknown kind Potato"),
            ("metadata: {}", "has no `kind`"),
            ("a: [", "neither YAML nor JSON"),
        ] {
            let error = parse(text, "pool.yaml").expect_err(text).to_string();
            assert!(error.contains(said) && error.contains("pool.yaml"), "{error}");
        }
    }
}

//! Files of documents: YAML or JSON, many in one, lists, directories, standard input.

use crate::Error;
use model::{Kind, Scope};
use serde_json::Value;
use std::io::Read;
use std::path::{Path, PathBuf};

/// One document: what kind it says it is, and all of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Document {
    pub(crate) kind: Kind,
    pub(crate) value: Value,
}

impl Document {
    /// `metadata.name`, or nothing.
    pub(crate) fn name(&self) -> &str {
        self.value["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// `metadata.namespace` of namespaced kinds; `default` where the document names none.
    pub(crate) fn namespace(&self) -> Option<String> {
        let stated = self.value["metadata"]["namespace"].as_str();
        (self.kind.scope() == Scope::Namespaced).then(|| stated.unwrap_or("default").to_owned())
    }
}

/// Reads all documents of a file, of a directory's files (`.yaml`, `.yml`, `.json`), or of standard input.
/// Namespaced resources that name no namespace get `namespace`.
pub(crate) fn read(
    path: &str,
    recursive: bool,
    namespace: Option<&str>,
) -> Result<Vec<Document>, Error> {
    let mut documents = Vec::new();
    for (file, text) in texts(path, recursive)? {
        let parsed = parse(&text, &file)?;
        documents.extend(parsed);
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

fn texts(path: &str, recursive: bool) -> Result<Vec<(String, String)>, Error> {
    let failed = |file: &str, reason: &dyn std::fmt::Display| Error::File {
        file: file.to_owned(),
        reason: reason.to_string(),
    };
    if path == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(|why| failed(path, &why))?;
        return Ok(vec![("standard input".to_owned(), text)]);
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

/// All documents of a text. JSON is YAML, so one parser reads both.
pub(crate) fn parse(text: &str, file: &str) -> Result<Vec<Document>, Error> {
    let values: Vec<Value> = serde_saphyr::from_multiple(text)
        .map_err(|why| Error::Invalid(format!("{file} is neither YAML nor JSON: {why}")))?;
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
fn flatten(value: Value, file: &str, documents: &mut Vec<Document>) -> Result<(), Error> {
    let kind = value["kind"].as_str().ok_or_else(|| {
        Error::Invalid(format!("{file}: a document has no `kind`; say one, such as kind: IPPool"))
    })?;
    if kind.ends_with("List") && value["items"].is_array() {
        let Value::Array(items) = value["items"].clone() else { return Ok(()) };
        return items.into_iter().try_for_each(|item| flatten(item, file, documents));
    }
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
    documents.push(Document { kind, value });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_documents_lists_and_json_are_all_read() {
        let text = "---\nkind: IPPool\nmetadata: {name: a}\n---\n---\n\
                    kind: NodeList\nitems: [{kind: Node, metadata: {name: n}}]\n---\n\
                    [{\"kind\": \"BGPPeer\", \"metadata\": {\"name\": \"p\"}}]\n";
        let documents = parse(text, "f").expect("documents");
        let read: Vec<_> = documents.iter().map(|d| (d.kind, d.name())).collect();
        assert_eq!(read, [(Kind::IpPool, "a"), (Kind::Node, "n"), (Kind::BgpPeer, "p")]);
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

//! Container images of one layer, written without a container engine, as an archive that
//! `docker load`, `podman load` and `ctr images import` take.
//!
//! The format is `docker save`'s: `manifest.json` names each image's configuration and layers, both
//! of which are called by their SHA-256 sums
//! (<https://github.com/moby/docker-image-spec/blob/main/spec.md>). The same content gives the same
//! bytes: there are no dates, and everything is root's.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind, Result, Write};
use std::path::{Component, Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Permissions of directories that are not named.
const DIRECTORY_MODE: u32 = 0o755;
/// 1970, for there is no date of an image.
const CREATED: &str = "1970-01-01T00:00:00Z";

/// The files of an image, by their paths from its root.
#[derive(Clone, Debug, Default)]
pub struct Layer {
    entries: BTreeMap<PathBuf, Entry>,
}

#[derive(Clone, Debug)]
enum Entry {
    Directory { mode: u32 },
    File { mode: u32, content: Vec<u8> },
    Link { target: String },
}

/// One image of an archive; all of an archive have the same files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// By which it is pulled: `quay.io/calico/node:v3.30.0`. An archive without a registry's name
    /// is taken for Docker Hub's.
    pub name: String,
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// Further arguments, which a pod's `args` replace.
    pub command: Vec<String>,
    /// The number of the user it runs as; empty: root.
    pub user: String,
    /// Environment, besides a `PATH` of the usual directories.
    pub environment: BTreeMap<String, String>,
}

impl Layer {
    /// No files.
    pub fn new() -> Layer {
        Layer::default()
    }

    /// Adds a directory. Those that files are in need not be added.
    pub fn directory(&mut self, path: impl AsRef<Path>, mode: u32) -> &mut Layer {
        self.add(path.as_ref(), Entry::Directory { mode })
    }

    /// Adds a file.
    pub fn file(&mut self, path: impl AsRef<Path>, mode: u32, content: Vec<u8>) -> &mut Layer {
        self.add(path.as_ref(), Entry::File { mode, content })
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, path: impl AsRef<Path>, target: &str) -> &mut Layer {
        self.add(path.as_ref(), Entry::Link { target: target.to_owned() })
    }

    fn add(&mut self, path: &Path, entry: Entry) -> &mut Layer {
        let within = path.components().filter(|part| matches!(part, Component::Normal(_)));
        self.entries.insert(within.collect(), entry);
        self
    }

    /// The layer as tar.
    fn to_tar(&self) -> Result<Vec<u8>> {
        let parent = Entry::Directory { mode: DIRECTORY_MODE };
        let mut entries: BTreeMap<&Path, &Entry> = BTreeMap::new();
        for (path, entry) in &self.entries {
            let parents = path.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty());
            for directory in parents {
                match self.entries.get(directory).unwrap_or(&parent) {
                    known @ Entry::Directory { .. } => entries.insert(directory, known),
                    _ => return Err(not_a_directory(path, directory)),
                };
            }
            entries.insert(path, entry);
        }
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in entries {
            match entry {
                Entry::Directory { mode } => {
                    append(&mut tar, EntryType::Directory, path, *mode, &[])?;
                }
                Entry::File { mode, content } => {
                    append(&mut tar, EntryType::Regular, path, *mode, content)?;
                }
                Entry::Link { target } => {
                    let mut header = header(EntryType::Symlink, 0o777, 0);
                    tar.append_link(&mut header, path, target)?;
                }
            }
        }
        tar.into_inner()
    }
}

fn not_a_directory(path: &Path, parent: &Path) -> Error {
    let (path, parent) = (path.display(), parent.display());
    let text = format!("{path} is in {parent}, which is a file or a link in the same image");
    Error::new(ErrorKind::InvalidInput, text)
}

fn header(kind: EntryType, mode: u32, bytes: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(bytes as u64);
    header
}

fn append(
    tar: &mut Builder<impl Write>,
    kind: EntryType,
    path: &Path,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    tar.append_data(&mut header(kind, mode, content.len()), path, content)
}

/// Writes an archive of `images`, all of which are made of `layer`.
///
/// # Errors
/// What `output` says, or a file of the layer is in something that is no directory.
pub fn write_archive(output: impl Write, layer: &Layer, images: &[Image]) -> Result<()> {
    let layer = layer.to_tar()?;
    let layer_digest = hex(&layer);
    let layer_path = format!("{layer_digest}/layer.tar");
    let mut archive = Builder::new(output);
    append(&mut archive, EntryType::Regular, Path::new(&layer_path), 0o644, &layer)?;
    let mut manifest = Vec::new();
    let mut texts: Vec<(String, String)> = Vec::new();
    for image in images {
        let configuration = configuration(image, &layer_digest).to_string();
        let path = format!("{}.json", hex(configuration.as_bytes()));
        manifest.push(json!({"Config": path, "RepoTags": [image.name], "Layers": [layer_path]}));
        // Two names of the same have it once.
        if texts.iter().all(|(other, _)| *other != path) {
            texts.push((path, configuration));
        }
    }
    texts.push(("manifest.json".to_owned(), Value::from(manifest).to_string()));
    for (path, text) in texts {
        append(&mut archive, EntryType::Regular, Path::new(&path), 0o644, text.as_bytes())?;
    }
    archive.into_inner()?.flush()
}

fn configuration(image: &Image, layer_digest: &str) -> Value {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    let mut environment = BTreeMap::from([("PATH".to_owned(), path.to_owned())]);
    environment.extend(image.environment.clone());
    let environment: Vec<String> =
        environment.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    json!({
        "architecture": architecture(),
        "os": "linux",
        "created": CREATED,
        "config": {
            "User": image.user,
            "Entrypoint": image.entrypoint,
            "Cmd": image.command,
            "Env": environment,
            "WorkingDir": "/",
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{layer_digest}")]},
        "history": [{"created": CREATED}],
    })
}

/// Go's word for this machine's architecture.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;

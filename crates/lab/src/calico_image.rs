//! Calico's images: one layer under four names, with the paths and entry points that manifests of
//! Calico's use. `images/Containerfile` makes the same with a container engine.

use crate::image::{Image, Layer, write_archive};
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};

/// Before the images' names in our manifests.
pub const REGISTRY: &str = "docker.io/calico-rs";
/// The program.
const PROGRAM: &str = "/usr/bin/calico";
/// Its other names.
const LINKS: &str = include_str!("../../../images/links");
/// Where the reference plugins are, beside ours.
const PLUGINS: &str = "/opt/cni/bin";
const EXECUTABLE: u32 = 0o755;
/// The user of what needs no privileges, as in Calico's image.
const UNPRIVILEGED: &str = "999";

/// Writes the archive of the images.
///
/// # Errors
/// The program or the plugins cannot be read, or the archive not be written.
pub(crate) fn write(archive: &Path, program: &Path, plugins: &Path, registry: &str) -> Result<()> {
    let layer = layer(program, plugins)?;
    let writing = || format!("writing {}", archive.display());
    let file = File::create(archive).with_context(writing)?;
    write_archive(BufWriter::new(file), &layer, &images(registry)).with_context(writing)
}

/// The images, by what they start.
pub fn images(registry: &str) -> Vec<Image> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let image = |name: &str, entrypoint: &[&str], command: &[&str]| Image {
        name: format!("{registry}/{name}:{}", model::VERSION),
        entrypoint: words(entrypoint),
        command: words(command),
        ..Image::default()
    };
    vec![
        image("node", &[], &["/bin/calico-node"]),
        // Since 3.33 manifests have `args: [component, cni, install]`, before `command`.
        image("cni", &[PROGRAM], &["component", "cni", "install"]),
        Image {
            // Manifests of Calico's have it run as anybody but root.
            user: UNPRIVILEGED.to_owned(),
            ..image("kube-controllers", &["/usr/bin/kube-controllers"], &[])
        },
        image("pod2daemon-flexvol", &["/usr/local/bin/flexvol.sh"], &[]),
    ]
}

/// The files: the program under all its names, and the reference CNI plugins.
///
/// # Errors
/// The program or the plugins cannot be read, or there are no plugins.
pub fn layer(program: &Path, plugins: &Path) -> Result<Layer> {
    let read = |path: &Path| fs::read(path).with_context(|| format!("reading {}", path.display()));
    let mut layer = Layer::new();
    layer.file(PROGRAM, EXECUTABLE, read(program)?);
    for link in links() {
        layer.link(link, PROGRAM);
    }
    // Whoever kube-controllers runs as writes its readiness to the second.
    layer.directory("/tmp", 0o1777).directory("/status", 0o1777);
    let missing =
        || format!("there are no CNI plugins in {}: run scripts/plugins", plugins.display());
    let entries = fs::read_dir(plugins).with_context(missing)?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let paths: Vec<&PathBuf> = paths.iter().filter(|path| !name(path).starts_with('.')).collect();
    if paths.is_empty() {
        bail!(missing());
    }
    for path in paths {
        layer.file(format!("{PLUGINS}/{}", name(path)), EXECUTABLE, read(path)?);
    }
    Ok(layer)
}

fn links() -> impl Iterator<Item = &'static str> {
    LINKS.lines().filter(|line| line.starts_with('/'))
}

#[cfg(test)]
mod tests;

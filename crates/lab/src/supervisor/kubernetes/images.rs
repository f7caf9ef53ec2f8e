//! The images that every node has: busybox, and as an image of its own its `sleep` as the container
//! that holds a pod's namespaces.

use crate::image::{Image, Layer, write_archive};
use crate::preflight::BUSYBOX;
use anyhow::{Context, Result, bail};
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

/// The container that holds a pod's namespaces.
pub(super) const PAUSE: &str = "calico.lab/pause:1";
/// A shell and small programs.
const TOOLS: &str = "calico.lab/busybox:1";
/// 68 years; its largest.
const FOR_EVER: &str = "2147483647";

/// Writes the archive of these images.
///
/// # Errors
/// There is no busybox, or the file cannot be written.
pub(super) fn write(path: &Path) -> Result<()> {
    let writing = || format!("writing {}", path.display());
    let file = File::create(path).with_context(writing)?;
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
    let pause = Image {
        name: PAUSE.into(),
        entrypoint: words(&["/bin/busybox", "sleep", FOR_EVER]),
        ..Image::default()
    };
    let tools = Image { name: TOOLS.into(), command: words(&["/bin/sh"]), ..Image::default() };
    write_archive(BufWriter::new(file), &busybox()?, &[pause, tools]).with_context(writing)
}

fn busybox() -> Result<Layer> {
    let content = fs::read(BUSYBOX).with_context(|| format!("reading {BUSYBOX}"))?;
    let listed = Command::new(BUSYBOX).arg("--list").output();
    let listed = listed.with_context(|| format!("running {BUSYBOX}"))?;
    if !listed.status.success() {
        bail!("{BUSYBOX} --list: {}", listed.status);
    }
    let names = String::from_utf8(listed.stdout).context("busybox's names of itself")?;
    let mut layer = Layer::new();
    layer.file("bin/busybox", 0o755, content);
    for name in names.lines().filter(|name| *name != "busybox") {
        layer.link(format!("bin/{name}"), "busybox");
    }
    for directory in ["dev", "etc", "proc", "root", "run", "sys", "usr/bin", "var"] {
        layer.directory(directory, 0o755);
    }
    layer.directory("tmp", 0o1777).link("var/run", "/run");
    layer.file("etc/passwd", 0o644, b"root:x:0:0:root:/root:/bin/sh\n".to_vec());
    layer.file("etc/group", 0o644, b"root:x:0:\n".to_vec());
    Ok(layer)
}

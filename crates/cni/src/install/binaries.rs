//! The plugins: ours under their two names, and the reference ones that the image carries.

use super::settings::Settings;
use super::{InstallError, shown};
use std::io;
use std::path::{Path, PathBuf};

/// Where the image has them.
const IMAGE: &str = "opt/cni/bin";
/// Where the host is to have them; the second is for hosts whose runtime looks elsewhere.
const HOST: [&str; 2] = ["host/opt/cni/bin", "host/secondary-bin-dir"];
/// Of the image's files, the one that is no plugin.
const INSTALLER: &str = "install";
/// Without these there is no network.
const NEEDED: [&str; 2] = ["calico", "calico-ipam"];
const EXECUTABLE: u32 = 0o755;

/// Copies the plugins to each directory of the host that is there and writable.
///
/// # Errors
/// None is, or a plugin cannot be read or written. A directory that cannot be written does where
/// nothing is to be updated and everything needed is there.
pub(super) fn install(
    settings: &Settings,
    root: &Path,
    say: &mut dyn FnMut(String),
) -> Result<(), InstallError> {
    let plugins = plugins(settings, &root.join(IMAGE))?;
    let (mut served, mut unfit) = (false, Vec::new());
    for directory in HOST.map(|directory| root.join(directory)) {
        match writable(&directory) {
            Ok(()) => {
                for plugin in &plugins {
                    put(settings, plugin, &directory, root, say)?;
                }
                served = true;
            }
            Err(why) => {
                let shown = shown(&directory, root);
                let has_all = NEEDED.iter().all(|name| directory.join(name).is_file());
                if !settings.update && has_all {
                    say(format!("{shown} is not writable ({why}), and has the plugins"));
                    served = true;
                } else {
                    unfit.push(format!("{shown} ({why})"));
                }
            }
        }
    }
    if served {
        return Ok(());
    }
    Err(InstallError::NoDirectory { directories: unfit.join(" and ") })
}

/// The image's plugins, in order of their names.
fn plugins(settings: &Settings, directory: &Path) -> Result<Vec<PathBuf>, InstallError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            found.push(entry?.path());
        }
        Ok(found)
    };
    let mut found = read().map_err(|source| InstallError::File {
        action: "reading",
        path: directory.to_owned(),
        source,
        next_step: "install-cni runs in Calico's image, which has the plugins there",
    })?;
    found.retain(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name != INSTALLER && !settings.skipped.iter().any(|skipped| *skipped == name)
    });
    found.sort();
    Ok(found)
}

/// Whether files can be made in a directory: it may be missing, or mounted read-only.
fn writable(directory: &Path) -> io::Result<()> {
    let probe = directory.join(format!(".calico-{}", std::process::id()));
    std::fs::File::create(&probe)?;
    std::fs::remove_file(&probe)
}

fn put(
    settings: &Settings,
    plugin: &Path,
    directory: &Path,
    root: &Path,
    say: &mut dyn FnMut(String),
) -> Result<(), InstallError> {
    let target = directory.join(plugin.file_name().unwrap_or_default());
    let name = shown(&target, root);
    if target.exists() && !settings.update {
        say(format!("kept {name}"));
        return Ok(());
    }
    let failed = |source| InstallError::File {
        action: "installing",
        path: target.clone(),
        source,
        next_step: "is the host's disk full?",
    };
    if is_same(plugin, &target).map_err(failed)? {
        say(format!("{name} is up to date"));
        return Ok(());
    }
    linux::file::replace_by_copy(&target, plugin, EXECUTABLE).map_err(failed)?;
    say(format!("installed {name}"));
    Ok(())
}

/// Whether the host has the very file, with its permissions.
fn is_same(plugin: &Path, target: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt;
    let there = match std::fs::symlink_metadata(target) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let alike = there.is_file()
        && there.permissions().mode() & 0o7777 == EXECUTABLE
        && there.len() == std::fs::metadata(plugin)?.len();
    Ok(alike && std::fs::read(plugin)? == std::fs::read(target)?)
}

//! Certificates towards etcd, for plugins that reach it themselves.

use super::InstallError;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Their directory, below that of network configurations.
pub(super) const DIRECTORY: &str = "calico-tls";
/// The variable of the network configuration that each file is the value of.
pub(super) const FILES: [(&str, &str); 3] = [
    ("etcd-ca", "__ETCD_CA_CERT_FILE__"),
    ("etcd-cert", "__ETCD_CERT_FILE__"),
    ("etcd-key", "__ETCD_KEY_FILE__"),
];
const PRIVATE: u32 = 0o600;

/// Brings the host's copies up to date; returns which there are.
///
/// # Errors
/// One cannot be read or written.
pub(super) fn copy(
    from: &Path,
    configurations: &Path,
    say: &mut dyn FnMut(String),
) -> Result<Vec<&'static str>, InstallError> {
    let directory = configurations.join(DIRECTORY);
    let mut present = Vec::new();
    for (name, _) in FILES {
        let target = directory.join(name);
        match read(&from.join(name))? {
            Some(content) => {
                present.push(name);
                if read(&target)?.as_ref() != Some(&content) || !is_private(&target) {
                    linux::file::replace_with_mode(&target, &content, PRIVATE)
                        .map_err(|source| failed("writing", &target, source))?;
                    say(format!("wrote {DIRECTORY}/{name}"));
                }
            }
            None => match std::fs::remove_file(&target) {
                Err(source) if source.kind() != io::ErrorKind::NotFound => {
                    return Err(failed("removing", &target, source));
                }
                _ => {}
            },
        }
    }
    Ok(present)
}

/// Older Calico lets everybody read them.
fn is_private(path: &Path) -> bool {
    let mode = std::fs::metadata(path).map(|file| file.permissions().mode());
    mode.is_ok_and(|mode| mode & 0o777 == PRIVATE)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, InstallError> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed("reading", path, source)),
    }
}

fn failed(action: &'static str, path: &Path, source: io::Error) -> InstallError {
    let next_step = "certificates towards etcd are copied from TLS_ASSETS_DIR to the host's \
                     /etc/cni/net.d: are both mounted as they should be?";
    InstallError::File { action, path: path.to_owned(), source, next_step }
}

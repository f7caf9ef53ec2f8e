//! What CNI DEL could not tell an agent that was down: read here, carried out by the worker.

use node::api::DeleteWorkload;
use std::path::{Path, PathBuf};

/// The file of a removal that waits.
pub(crate) fn path(directory: &Path, delete: &DeleteWorkload) -> PathBuf {
    directory.join(delete.spool_file())
}

/// Everything in the spool. A file that cannot be read is said, and left for an operator to look
/// at.
pub(crate) fn read(directory: &Path) -> Vec<DeleteWorkload> {
    let Ok(entries) = std::fs::read_dir(directory) else { return vec![] };
    let mut waiting = Vec::new();
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path);
        match text.map(|text| serde_json::from_str(&text)) {
            Ok(Ok(delete)) => waiting.push(delete),
            Ok(Err(why)) => tracing::warn!(
                "{} is no removal that CNI DEL left ({why}): release its address by hand \
                 (calicoctl ipam release --ip) and remove the file",
                path.display()
            ),
            Err(why) => tracing::warn!("{} cannot be read: {why}", path.display()),
        }
    }
    waiting
}

/// Leaves a removal for later.
///
/// # Errors
/// The file cannot be written.
pub(crate) fn leave(directory: &Path, delete: &DeleteWorkload) -> std::io::Result<()> {
    let content = serde_json::to_vec(delete)?;
    linux::file::replace(&path(directory, delete), &content)
}

/// The removal has been carried out.
pub(crate) fn done(directory: &Path, delete: &DeleteWorkload) {
    match std::fs::remove_file(path(directory, delete)) {
        Err(why) if why.kind() != std::io::ErrorKind::NotFound => {
            tracing::warn!("{} stays behind: {why}", path(directory, delete).display());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::tests::pod;

    #[test]
    fn what_is_left_is_found_until_it_is_done() {
        let directory = tempfile::tempdir().expect("a directory");
        let spool = directory.path().join("spool");
        assert!(read(&spool).is_empty());
        let delete = DeleteWorkload {
            id: pod(),
            host_interface: "cali1".to_owned(),
            release_addresses: true,
        };
        leave(&spool, &delete).expect("left");
        leave(&spool, &delete).expect("left twice is left once");
        std::fs::write(spool.join("broken.json"), "{").expect("written");
        std::fs::write(spool.join("half.json.tmp"), "{").expect("written");
        assert_eq!(read(&spool), std::slice::from_ref(&delete));
        done(&spool, &delete);
        done(&spool, &delete);
        assert!(read(&spool).is_empty());
    }
}

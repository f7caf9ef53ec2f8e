//! `calico-node hostpath-init`: the host's directories, for a calico-node that is not to be root
//! (`calico-features.md` §8). The agent itself must be; such a manifest's init container still works.

use anyhow::{Context, Result};
use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, lchown};
use std::path::Path;

const DIRECTORIES: [&str; 3] = ["var/lib/calico", "var/run/calico", "var/log/calico"];
/// The plugin's logs, which may be there already.
const LOGS: &str = "var/log/calico/cni";
const PRIVATE: u32 = 0o700;

/// Makes the directories below `root` and gives them, and the CNI plugin's logs, to a user.
///
/// # Errors
/// Not root, or a directory cannot be made.
pub(crate) fn make(root: &Path, user: u32) -> Result<()> {
    let give = |path: &Path| {
        lchown(path, Some(user), Some(0))
            .with_context(|| format!("giving {} to user {user}: is this root?", path.display()))
    };
    for directory in DIRECTORIES.into_iter().chain([LOGS]) {
        let path = root.join(directory);
        let made = DirBuilder::new().recursive(true).mode(PRIVATE).create(&path);
        made.with_context(|| format!("making {}", path.display()))?;
        give(&path)?;
    }
    let logs = root.join(LOGS);
    for entry in std::fs::read_dir(&logs).with_context(|| format!("reading {}", logs.display()))? {
        give(&entry?.path())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn the_directories_and_logs_are_the_users() {
        let root = tempfile::tempdir().expect("a directory");
        let logs = root.path().join(LOGS);
        std::fs::create_dir_all(&logs).expect("a directory");
        std::fs::write(logs.join("cni.log"), "").expect("a file");
        for _ in 0..2 {
            make(root.path(), 1000).expect("this test needs root");
        }
        for path in DIRECTORIES.into_iter().chain([LOGS, "var/log/calico/cni/cni.log"]) {
            let owner = std::fs::metadata(root.path().join(path)).expect(path).uid();
            assert_eq!(owner, 1000, "{path}");
        }
    }
}

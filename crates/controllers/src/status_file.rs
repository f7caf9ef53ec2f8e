//! The file that says whether kube-controllers is ready, which check-status reads: a condition for
//! each thing it needs, as Calico writes it.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};

/// The condition of having begun.
pub(crate) const STARTUP: &str = "Startup";
/// The condition that Calico's datastore answers.
pub(crate) const CALICO_DATASTORE: &str = "CalicoDatastore";
/// The condition that Kubernetes' API answers.
pub(crate) const KUBERNETES_API: &str = "KubeAPIServer";

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Status {
    #[serde(rename = "Readiness", default)]
    readiness: BTreeMap<String, Condition>,
}

#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Condition {
    ready: bool,
    reason: String,
}

/// The file, and what it says.
pub(crate) struct StatusFile {
    path: PathBuf,
    status: Mutex<Status>,
}

impl StatusFile {
    /// A file that isn't written before the first condition.
    pub(crate) fn new(path: &Path) -> StatusFile {
        StatusFile { path: path.to_owned(), status: Mutex::default() }
    }

    /// Says whether a condition is met, or why it isn't.
    pub(crate) fn set(&self, condition: &str, met: Result<(), &str>) {
        let reason = met.err().unwrap_or_default().to_owned();
        let now = Condition { ready: met.is_ok(), reason };
        self.change(|readiness| readiness.insert(condition.to_owned(), now));
    }

    /// A condition counts no more.
    pub(crate) fn forget(&self, condition: &str) {
        self.change(|readiness| readiness.remove(condition));
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<String, Condition>) -> T) {
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut status.readiness);
        let text = serde_json::to_vec(&*status).expect("names and texts are always JSON");
        if let Err(why) = linux::file::replace(&self.path, &text) {
            let path = self.path.display();
            tracing::warn!(
                "{path} cannot be written: {why}; probes will fail: make its directory writable, \
                 or name another file by --status-file"
            );
        }
    }
}

/// Says whether the file's conditions are all met (`check-status -r`). Without `ready` (`-l`, which is
/// the same to Calico) it is enough that there are any: to start this program anew does not change
/// what a datastore says, and kubelet would wait ever longer before it does.
pub(crate) fn check(path: &Path, ready: bool) -> ExitCode {
    match read(path) {
        Ok(status) if !ready && !status.readiness.is_empty() => {
            println!("Live");
            ExitCode::SUCCESS
        }
        Ok(status) => match not_ready(&status) {
            None => {
                println!("Ready");
                ExitCode::SUCCESS
            }
            Some(reasons) => {
                println!("{reasons}");
                ExitCode::FAILURE
            }
        },
        Err(why) => {
            println!("Failed to read status file {}: {why}", path.display());
            ExitCode::FAILURE
        }
    }
}

fn read(path: &Path) -> io::Result<Status> {
    serde_json::from_slice(&std::fs::read(path)?).map_err(io::Error::from)
}

fn not_ready(status: &Status) -> Option<String> {
    let not_met = status.readiness.values().filter(|condition| !condition.ready);
    let reasons: Vec<&str> = not_met.map(|condition| condition.reason.as_str()).collect();
    match (status.readiness.is_empty(), reasons.as_slice()) {
        (true, _) => Some("kube-controllers has said nothing yet".to_owned()),
        (false, []) => None,
        (false, reasons) => Some(reasons.join("; ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_calicos_and_all_conditions_count() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("status/status.json");
        let file = StatusFile::new(&path);
        file.set(STARTUP, Ok(()));
        file.set(CALICO_DATASTORE, Err("no answer"));
        let text = std::fs::read_to_string(&path).expect("a file");
        expect_test::expect![[
            r#"{"Readiness":{"CalicoDatastore":{"Ready":false,"Reason":"no answer"},"Startup":{"Ready":true,"Reason":""}}}"#
        ]]
        .assert_eq(&text);
        let said = || not_ready(&read(&path).expect("a status"));
        assert_eq!(said().as_deref(), Some("no answer"));
        file.set(KUBERNETES_API, Err("no route"));
        assert_eq!(said().as_deref(), Some("no answer; no route"));
        file.set(CALICO_DATASTORE, Ok(()));
        file.forget(KUBERNETES_API);
        assert_eq!(said(), None);
        assert!(not_ready(&Status::default()).is_some());
    }
}

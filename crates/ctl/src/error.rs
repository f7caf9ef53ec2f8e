//! What can go wrong in a command, said for the person who typed it.

use model::{Key, Problem};

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The datastore's answer.
    #[error("{}", datastore(.0))]
    Datastore(#[from] store::Error),
    /// IPAM's answer.
    #[error(transparent)]
    Ipam(#[from] ipam::Error),
    /// A document or argument that cannot be used: names it and says what it takes.
    #[error("{0}")]
    Invalid(String),
    /// A resource that should be there isn't.
    #[error("resource does not exist: {0}; `calicoctl get` lists those that do")]
    Missing(Key),
    /// A resource that should not be there is.
    #[error("resource already exists: {0}; use `calicoctl apply` or `replace` to change it")]
    Exists(Key),
    /// The resource has changed since the file was written.
    #[error(
        "update conflict: {0} has changed since the resourceVersion in the file: get it again and \
         repeat the change, or leave metadata.resourceVersion out to overwrite"
    )]
    Changed(Key),
    /// A file cannot be read.
    #[error("cannot read {file}: {reason}")]
    File {
        /// Its path, or `standard input`.
        file: String,
        /// Why.
        reason: String,
    },
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Error {
    /// All that is wrong with a resource.
    pub(crate) fn problems(key: &Key, problems: &[Problem]) -> Error {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Error::Invalid(format!("{key}: {}", problems.join("; ")))
    }
}

fn datastore(error: &store::Error) -> String {
    match error {
        store::Error::Conflict(key) => {
            format!("update conflict: {key} was changed by somebody else meanwhile; try again")
        }
        store::Error::NotFound(key) => format!("resource does not exist: {key}"),
        store::Error::Unreachable { .. } => format!(
            "{error}; ETCD_ENDPOINTS, or etcdEndpoints in {}, says where it is (of Kubernetes: \
             KUBECONFIG, or kubeconfig there)",
            store::settings::DEFAULT_FILE
        ),
        other => other.to_string(),
    }
}

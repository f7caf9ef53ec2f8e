//! `calicoctl version`.

use crate::Error;
use model::ClusterInformation;
use store::{Datastore, typed};

/// This program's lines.
pub(super) fn client() -> String {
    let commit = option_env!("CALICO_GIT_COMMIT").unwrap_or("unknown");
    format!("Client Version:    {}\nGit commit:        {commit}\n", model::VERSION)
}

/// What the cluster says of itself.
pub(super) async fn information(datastore: &dyn Datastore) -> Result<ClusterInformation, Error> {
    typed::get(datastore, None, "default").await?.ok_or_else(|| {
        Error::Other(
            "Unable to retrieve Cluster Version or Type: ClusterInformation(default) does not \
             exist; the first calico-node to start makes it"
                .to_owned(),
        )
    })
}

/// The cluster's lines, from ClusterInformation.
pub(super) async fn cluster(datastore: &dyn Datastore) -> Result<String, Error> {
    let spec = information(datastore).await?.spec;
    Ok(format!(
        "Cluster Version:   {}\nCluster Type:      {}\n",
        spec.calico_version, spec.cluster_type
    ))
}

//! `calicoctl datastore migrate`: ClusterInformation's `datastoreReady`, without which no pod starts.

use super::version::information;
use crate::Error;
use crate::cli::Migrate;
use store::{Datastore, typed};

/// Locks or unlocks; what Calico prints of it.
pub(super) async fn migrate(
    datastore: &dyn Datastore,
    migrate: Migrate,
) -> Result<&'static str, Error> {
    let (ready, said) = match migrate {
        Migrate::Lock => (false, "Datastore locked.\n"),
        Migrate::Unlock => (true, "Datastore unlocked.\n"),
    };
    let mut information = information(datastore).await?;
    information.spec.datastore_ready = Some(ready);
    typed::update(datastore, information).await?;
    Ok(said)
}

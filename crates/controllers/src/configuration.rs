//! The KubeControllersConfiguration: made where it is missing, read, and told what runs.

use crate::settings::{Environment, Settings, default_configuration};
use model::{KubeControllersConfiguration, KubeControllersConfigurationSpec, Resource};
use store::{Datastore, Error, typed};

/// The name of the only one.
pub(crate) const NAME: &str = "default";

/// What runs, by the environment and the configuration, which is made where it isn't there; its
/// status is brought up to date.
///
/// # Errors
/// The datastore's.
pub(crate) async fn read(
    datastore: &dyn Datastore,
    environment: &Environment,
) -> Result<Settings, Error> {
    let stored = typed::get::<KubeControllersConfigurationSpec>(datastore, None, NAME).await?;
    let stored = match stored {
        Some(stored) => stored,
        None => typed::create(datastore, Resource::new(NAME, default_configuration())).await?,
    };
    let (settings, _, warnings) = environment.over(&stored.spec);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    tell(datastore, environment, stored).await?;
    Ok(settings)
}

/// Writes what runs into the configuration's status, unless it says so.
///
/// # Errors
/// The datastore's; that somebody else has changed the configuration is none.
pub(crate) async fn tell(
    datastore: &dyn Datastore,
    environment: &Environment,
    mut stored: KubeControllersConfiguration,
) -> Result<(), Error> {
    let (_, status, _) = environment.over(&stored.spec);
    if stored.status.as_ref() == Some(&status) {
        return Ok(());
    }
    stored.status = Some(status);
    match typed::update(datastore, stored).await {
        // Its change comes by the watch.
        Ok(_) | Err(Error::Conflict(_) | Error::NotFound(_)) => Ok(()),
        Err(why) => Err(why),
    }
}

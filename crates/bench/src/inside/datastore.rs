//! Resources written to the cluster's datastore, as calicoctl writes them but in this process.

use anyhow::{Context, Result, bail};
use model::{Resource, Spec};
use std::sync::Arc;
use store::{Settings, typed};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

/// Writes under way at the same time, where there are many.
const WRITERS: usize = 64;

/// The cluster's datastore.
pub(crate) struct Datastore {
    runtime: Runtime,
    store: Arc<dyn store::Datastore>,
}

impl Datastore {
    /// The one that calicoctl uses on this node.
    ///
    /// # Errors
    /// The node doesn't say which, or says it wrongly.
    pub(crate) fn of_node() -> Result<Datastore> {
        let runtime = Builder::new_current_thread().enable_all().build();
        let runtime = runtime.context("starting to wait for the datastore")?;
        let settings = Settings::load(None, std::env::vars())?;
        let store = runtime.block_on(store::connect(&settings))?;
        Ok(Datastore { runtime, store })
    }

    /// Writes a resource that must not exist; returns when the datastore has accepted it.
    ///
    /// # Errors
    /// It isn't valid, or the datastore refuses.
    pub(crate) fn create<S: Spec>(&self, resource: Resource<S>) -> Result<()> {
        let resource = complete(resource)?;
        self.runtime.block_on(typed::create(&*self.store, resource))?;
        Ok(())
    }

    /// Writes many of them, in no order.
    ///
    /// # Errors
    /// As [`Datastore::create`].
    pub(crate) fn create_all<S>(&self, resources: Vec<Resource<S>>) -> Result<()>
    where
        S: Spec + Send + Sync + 'static,
    {
        let mut shares: Vec<Vec<Resource<S>>> = Vec::new();
        shares.resize_with(WRITERS, Vec::new);
        for (number, resource) in resources.into_iter().enumerate() {
            shares[number % WRITERS].push(complete(resource)?);
        }
        self.runtime.block_on(async {
            let mut writers = JoinSet::new();
            for share in shares {
                let store = self.store.clone();
                writers.spawn(async move {
                    for resource in share {
                        typed::create(&*store, resource).await?;
                    }
                    Ok::<(), store::Error>(())
                });
            }
            while let Some(written) = writers.join_next().await {
                written.context("a writer has ended")??;
            }
            Ok(())
        })
    }

    /// Removes a resource of a kind without namespaces.
    ///
    /// # Errors
    /// It isn't there, or the datastore refuses.
    pub(crate) fn delete<S: Spec>(&self, name: &str) -> Result<()> {
        Ok(self.runtime.block_on(typed::delete::<S>(&*self.store, None, name))?)
    }
}

/// With its defaults, and valid.
fn complete<S: Spec>(mut resource: Resource<S>) -> Result<Resource<S>> {
    if let Err(problems) = resource.validate() {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        bail!("{}: {}", resource.key(), problems.join("; "));
    }
    resource.apply_defaults();
    Ok(resource)
}

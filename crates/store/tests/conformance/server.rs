//! What the suite asks of a server.

use model::{Key, Kind, Revision};
use std::sync::Arc;
use std::time::Duration;
use store::{Datastore, Settings};

/// How a server is brought down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// As its operator does it: SIGTERM.
    Orderly,
    /// As the kernel does it: SIGKILL.
    Kill,
}

/// A server with a store of its own, on this machine, gone when dropped.
pub(crate) trait Server: Sized + Send {
    /// Objects that are many to it.
    const MANY: usize = 10_000;
    /// Starts one with an empty store and waits until it answers.
    fn start() -> impl Future<Output = Self>;
    /// How to reach it.
    fn settings(&self) -> Settings;
    /// Brings it down; its store stays.
    fn stop(&mut self, how: Stop) -> impl Future<Output = ()>;
    /// Starts it again at the same address on the same store, and waits until it answers.
    fn resume(&mut self) -> impl Future<Output = ()>;
    /// Makes it forget its history before a revision.
    fn compact(&mut self, before: Revision) -> impl Future<Output = ()>;
    /// The address it is reached at.
    fn endpoint(&self) -> String {
        self.settings().endpoints[0].to_string()
    }
    /// Makes a namespace, where there must be one before there are objects in it.
    fn make_namespace(&self, _name: &str) {}

    /// A new connection to it.
    fn datastore(&self) -> impl Future<Output = Arc<dyn Datastore>> {
        async { store::connect(&self.settings()).await.expect("usable settings") }
    }

    /// Waits until it answers, for as long as a server takes on a busy machine.
    fn answers(&self) -> impl Future<Output = ()> {
        async {
            let datastore = self.datastore().await;
            let probe = Key::cluster(Kind::ClusterInformation, "default");
            let begun = std::time::Instant::now();
            while let Err(error) = datastore.get(&probe).await {
                assert!(begun.elapsed() < Duration::from_secs(60), "it does not start: {error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

/// A server that the suite can write to behind the driver's back.
pub(crate) trait Foreign: Server {
    /// Writes an object of somebody else's among those of a kind.
    fn write_foreign(&self, kind: Kind) -> impl Future<Output = ()>;
}

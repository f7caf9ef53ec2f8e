//! BGP's sockets and timers around [`bgp::Speaker`], on a thread of its own, so that a slow plan
//! delays no keepalive.
//!
//! ```text
//!  configuration ─▶ ┌────────┐ ─▶ BgpRoutes, BgpStatus ─▶ the agent's inbox
//!  (newest wins)    │ driver │
//!   listener ─────▶ │  owns  │ ─▶ connect, accept, read, write
//!   sockets ready ─▶│Speaker │
//!   deadline ─────▶ └────────┘
//! ```
//!
//! Tasks beside the driver only wait: for a connection to be made, for a socket to be readable or
//! writable. The driver does all reading and writing itself, a bounded piece for each connection in
//! turn; so nothing is buffered but one piece for each connection whose peer reads slowly.

mod connection;
mod driver;
mod listener;
mod reason;
mod report;
#[cfg(test)]
mod tests;

use crate::health::{Heartbeats, Part};
use ::bgp::Configuration;
use anyhow::{Context, Result};
use driver::Driver;
use node::Event;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// How often the thread shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Events of [`run_alone`] that wait at most.
const ALONE_EVENTS_MAX: usize = 16;

/// What the speaker should do; `None`: nothing.
type Wanted = Option<Arc<Configuration>>;

/// Where the speaker's thread is told what to do. Dropped, the thread ends and closes its sockets
/// without a NOTIFICATION, so that peers keep our routes until we are back (RFC 4724, 4.2).
pub(crate) struct Handle {
    wanted: watch::Sender<Wanted>,
}

impl Handle {
    /// Do this from now on; what has not been looked at yet is superseded. `None`: tell the peers
    /// that we cease, and close.
    pub(crate) fn configure(&self, configuration: Option<Box<Configuration>>) {
        self.wanted.send_replace(configuration.map(Arc::from));
    }
}

/// Starts the thread. It sends [`Event::BgpRoutes`] and [`Event::BgpStatus`] to `inbox`, and waits
/// while that is full.
///
/// # Errors
/// No thread or no runtime can be started.
pub(crate) fn start(inbox: mpsc::Sender<Event>, heartbeats: Arc<Heartbeats>) -> Result<Handle> {
    let (wanted, configuration) = watch::channel(None);
    let runtime = runtime()?;
    std::thread::Builder::new().name("bgp".to_owned()).spawn(move || {
        runtime.block_on(async {
            tokio::spawn(beat(heartbeats));
            Driver::new(configuration, inbox).run().await;
        });
    })?;
    Ok(Handle { wanted })
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("BGP's runtime cannot be started")
}

async fn beat(heartbeats: Arc<Heartbeats>) {
    let mut interval = tokio::time::interval(HEARTBEAT);
    loop {
        interval.tick().await;
        heartbeats.beat(Part::Bgp);
    }
}

/// Runs a speaker by itself, as benchmarks do, until `told` returns false; `told` is given what the
/// agent's core would be.
///
/// # Errors
/// No runtime can be started.
pub fn run_alone(configuration: Configuration, mut told: impl FnMut(Event) -> bool) -> Result<()> {
    let (_wanted, configuration) = watch::channel(Some(Arc::new(configuration)));
    let (inbox, mut events) = mpsc::channel(ALONE_EVENTS_MAX);
    runtime()?.block_on(async {
        let driver = Driver::new(configuration, inbox).run();
        let events = async {
            while let Some(event) = events.recv().await {
                if !told(event) {
                    return;
                }
            }
        };
        tokio::select! {
            () = driver => {}
            () = events => {}
        }
    });
    Ok(())
}

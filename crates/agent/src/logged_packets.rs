//! Packets that policies deny or log, as lines of the agent's log.
//!
//! ```text
//!  kernel ──NFLOG──▶ thread ──▶ Lines (so many a second of each rule) ──▶ log
//!                       └─────▶ Counts ──▶ metrics
//! ```

mod lines;

use lines::Lines;
use linux::nflog::{LoggedPacket, NflogReader};
use policy::nflog_prefix::Names;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// Felix's groups: what comes to endpoints, and what they send.
pub(crate) const GROUPS: [u16; 2] = [1, 2];
/// How long the thread waits for packets before it looks after its summaries.
const WAIT: Duration = Duration::from_millis(500);
/// How long after a failure the groups are taken up again.
const PAUSE: Duration = Duration::from_secs(10);

/// What was read of NFLOG since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Packets of each of [`GROUPS`].
    received: [AtomicU64; GROUPS.len()],
    /// Packets and times as [`linux::nflog::Lost`] has them.
    lost: AtomicU64,
    overruns: AtomicU64,
}

impl Counts {
    /// Packets read, by group.
    pub(crate) fn received(&self) -> [(u16, u64); GROUPS.len()] {
        std::array::from_fn(|at| (GROUPS[at], self.received[at].load(Ordering::Relaxed)))
    }

    /// Packets that came too fast to be read.
    pub(crate) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Times that the socket was full.
    pub(crate) fn overruns(&self) -> u64 {
        self.overruns.load(Ordering::Relaxed)
    }

    fn receive(&self, group: u16) {
        let groups = GROUPS.iter().zip(&self.received);
        for (_, count) in groups.filter(|(of, _)| **of == group) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Starts the thread. `names` tells what the prefixes don't say themselves; who renders the rules
/// keeps it up to date.
///
/// # Errors
/// No thread can be started. That the groups cannot be read is only logged: policy holds without.
pub(crate) fn start(names: watch::Receiver<Arc<Names>>, counts: Arc<Counts>) -> io::Result<()> {
    let thread = move || {
        let mut told = String::new();
        loop {
            let error = match NflogReader::open(&GROUPS) {
                Ok(reader) => read(reader, &names, &counts),
                Err(error) => error,
            };
            let error = error.to_string();
            if error != told {
                tracing::warn!("packets that policies deny or log are not shown here: {error}");
                told = error;
            }
            std::thread::sleep(PAUSE);
        }
    };
    std::thread::Builder::new().name("nflog".to_owned()).spawn(thread).map(drop)
}

/// Logs until the socket fails.
fn read(
    mut reader: NflogReader,
    all_names: &watch::Receiver<Arc<Names>>,
    counts: &Counts,
) -> linux::Error {
    let started = Instant::now();
    let mut lines = Lines::default();
    let mut before = reader.lost();
    loop {
        // Borrowed for no longer than it takes to copy the pointer, so that whoever renders never waits
        // for this thread; and only when there is a packet, whose rule may be of a moment ago.
        let newest = || all_names.borrow().clone();
        let outcome = reader.read(WAIT, |packet| {
            counts.receive(packet.group);
            let names = newest();
            if let Some(line) = lines.take(started.elapsed(), &packet, &names, &interface) {
                tracing::info!("{line}");
            }
        });
        if let Err(error) = outcome {
            return error;
        }
        let lost = reader.lost();
        counts.lost.fetch_add(lost.packets - before.packets, Ordering::Relaxed);
        counts.overruns.fetch_add(lost.overruns - before.overruns, Ordering::Relaxed);
        before = lost;
        for line in lines.summaries(started.elapsed(), &newest()) {
            tracing::info!("{line}");
        }
    }
}

/// An interface's name, or its index where it is gone already.
fn interface(index: u32) -> String {
    linux::nflog::interface_name(index).unwrap_or_else(|| format!("interface {index}"))
}

//! Liveness and readiness over HTTP, as Felix serves them (`calico-features.md` §8: port 9099).

use axum::Router;
use axum::http::StatusCode;
use axum::routing::get;
use bgp::status::SpeakerStatus;
use node::status::NodeStatus;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long the agent's loop or its kernel thread may be silent (`dataplaneWatchdogTimeout`).
const SILENCE_MAX: Duration = Duration::from_secs(90);

/// When each part of the agent was last seen at work.
#[derive(Debug)]
pub(crate) struct Heartbeats {
    start: Instant,
    inbox_ms: AtomicU64,
    kernel_ms: AtomicU64,
    bgp_ms: AtomicU64,
}

/// A part of the agent that shows it is alive.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Part {
    /// The loop around the core.
    Inbox,
    /// The thread that talks to the kernel.
    Kernel,
    /// The thread that talks BGP.
    Bgp,
}

/// What `/bgp` answers, for the probes of BIRD that manifests have.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct BgpHealth {
    /// The thread that talks BGP is at work.
    pub(crate) live: bool,
    /// What the speaker says; absent where none runs, or not yet.
    pub(crate) speaker: Option<SpeakerStatus>,
}

impl Heartbeats {
    pub(crate) fn new() -> Arc<Heartbeats> {
        let never = || AtomicU64::new(0);
        let (inbox_ms, kernel_ms, bgp_ms) = (never(), never(), never());
        Arc::new(Heartbeats { start: Instant::now(), inbox_ms, kernel_ms, bgp_ms })
    }

    /// The part is at work now.
    pub(crate) fn beat(&self, part: Part) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.of(part).store(now, Ordering::Relaxed);
    }

    fn of(&self, part: Part) -> &AtomicU64 {
        match part {
            Part::Inbox => &self.inbox_ms,
            Part::Kernel => &self.kernel_ms,
            Part::Bgp => &self.bgp_ms,
        }
    }

    /// Of the parts that Felix's liveness is about.
    fn silent(&self) -> Option<Part> {
        [Part::Inbox, Part::Kernel].into_iter().find(|part| self.is_silent(*part))
    }

    fn is_silent(&self, part: Part) -> bool {
        let beat = Duration::from_millis(self.of(part).load(Ordering::Relaxed));
        self.start.elapsed().saturating_sub(beat) > SILENCE_MAX
    }
}

/// Serves `/liveness`, `/readiness` and `/bgp` at `address` (`host:port`) for ever.
///
/// # Errors
/// The address cannot be listened at.
pub(crate) async fn serve(
    address: String,
    status: watch::Receiver<NodeStatus>,
    heartbeats: Arc<Heartbeats>,
) -> std::io::Result<()> {
    let listener = tokio::net::TcpListener::bind(&address).await?;
    let (of_bgp, bgp_beats) = (status.clone(), heartbeats.clone());
    let bgp = move || {
        let speaker = of_bgp.borrow().bgp.clone();
        let health = BgpHealth { live: !bgp_beats.is_silent(Part::Bgp), speaker };
        async move { serde_json::to_string(&health).unwrap_or_default() }
    };
    let readiness = move || {
        let status = status.borrow().clone();
        async move { readiness(&status) }
    };
    let liveness = move || {
        let silent = heartbeats.silent();
        async move { liveness(silent) }
    };
    let router = Router::new()
        .route("/readiness", get(readiness))
        .route("/liveness", get(liveness))
        .route("/bgp", get(bgp));
    axum::serve(listener, router).await
}

fn readiness(status: &NodeStatus) -> (StatusCode, String) {
    if status.in_sync && status.not_ready.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", status.not_ready.join("\n")))
}

fn liveness(silent: Option<Part>) -> (StatusCode, String) {
    match silent {
        None => (StatusCode::OK, "live\n".to_owned()),
        Some(part) => {
            let seconds = SILENCE_MAX.as_secs();
            let text = format!("{part:?} has not answered for {seconds} s\n");
            (StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

//! What the core is told of the speaker: gathered a little, in bounded pieces.

use bgp::Speaker;
use node::Event;
use std::time::Duration;
use tokio::time::Instant;

/// Changes of routes in one event.
const CHANGES_MAX: usize = 1024;
/// How long changes of routes are gathered: one plan for a burst, not one for each message.
const ROUTES_GATHER: Duration = Duration::from_millis(10);
/// The status is told at most so often.
const STATUS_INTERVAL: Duration = Duration::from_millis(50);
/// How long after changes of routes the status is told for its numbers of prefixes alone.
const PREFIXES_AFTER: Duration = Duration::from_secs(1);

/// What is to be told, and when.
#[derive(Debug, Default)]
pub(super) struct Report {
    routes: Option<Instant>,
    status: Option<Instant>,
    status_told: Option<Instant>,
    /// What the core was told last of [`Speaker::in_sync`].
    in_sync: bool,
}

impl Report {
    /// There are changes of routes.
    pub(super) fn routes_changed(&mut self) {
        self.routes.get_or_insert_with(|| Instant::now() + ROUTES_GATHER);
    }

    /// There is a change of the status.
    pub(super) fn status_changed(&mut self) {
        let earliest = self.status_told.map(|told| told + STATUS_INTERVAL);
        let now = Instant::now();
        let due = earliest.map_or(now, |earliest| earliest.max(now));
        self.status = Some(self.status.map_or(due, |status| status.min(due)));
    }

    /// The speaker may have come into sync without a change of routes.
    pub(super) fn look(&mut self, speaker: &Speaker) {
        if speaker.in_sync() != self.in_sync {
            self.routes_changed();
        }
    }

    /// When the next event is due.
    pub(super) fn due(&self) -> Option<Instant> {
        self.routes.into_iter().chain(self.status).min()
    }

    /// The next event that is due, if one is.
    pub(super) fn event(&mut self, speaker: &mut Speaker) -> Option<Event> {
        let now = Instant::now();
        if self.status.is_some_and(|at| at <= now) {
            (self.status, self.status_told) = (None, Some(now));
            return speaker.status().map(|status| Event::BgpStatus(Box::new(status)));
        }
        if self.routes.is_none_or(|at| at > now) {
            return None;
        }
        let changes = speaker.take_routes(CHANGES_MAX);
        // Sync with changes left would have the core remove routes that are still to be told; and
        // only an empty answer says that none is left.
        let is_last = changes.is_empty();
        self.routes = (!is_last).then_some(now);
        let in_sync = speaker.in_sync() && (is_last || self.in_sync);
        if changes.is_empty() && in_sync == self.in_sync {
            return None;
        }
        self.in_sync = in_sync;
        self.status.get_or_insert(now + PREFIXES_AFTER);
        Some(Event::BgpRoutes { changes, in_sync })
    }
}

//! Which of several instances acts: the holder of a Lease. Calico has no such thing: its Deployment
//! has one replica and the strategy Recreate, which two instances can outlive where a node is cut
//! off. Where the account may not have leases, as with Calico's own manifests, it is as there.
//!
//! A lease is taken over once it has not been renewed for its duration as this process has seen it,
//! so that clocks may differ.

use crate::status_file::{STARTUP, StatusFile};
use anyhow::Result;
use jiff::Timestamp;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use store::Error;
use store::kubernetes::{Lease, Leases};
use store::settings::Kubernetes;
use tokio::sync::{Mutex, watch};
use tokio::time::{Instant, sleep, sleep_until};

/// The lease's name, in the namespace of this program's pod.
const NAME: &str = "calico-kube-controllers";
/// The namespace where this program is no pod.
const NAMESPACE: &str = "kube-system";
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// How long others take the lease for held after it was renewed.
const DURATION: Duration = Duration::from_secs(30);
/// How long the holder itself does: it stops acting before anybody else begins.
const HELD: Duration = Duration::from_secs(20);
/// How often it is renewed, and looked at by those who wait.
const RENEWAL: Duration = Duration::from_secs(8);
/// How often it is seen whether there can be an election by now, where there was none.
const ELECTION_PAUSE: Duration = Duration::from_secs(5 * 60);
/// Longer than any process runs.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);
/// The pause after the API server did not answer.
const PAUSE: Duration = Duration::from_secs(2);
/// How long giving it back may take, as the process ends meanwhile.
const RESIGNATION_MAX: Duration = Duration::from_secs(3);

/// What is given back when the process is told to stop.
static HOLDS: OnceLock<Mutex<Option<Held>>> = OnceLock::new();

/// The lease that instances compete for.
pub(crate) struct Election {
    leases: Arc<Leases>,
    identity: String,
}

/// That this process may act, for as long as it holds the lease.
pub(crate) struct Leadership {
    /// Until when.
    until: watch::Receiver<Instant>,
}

/// A lease that this process has.
struct Held {
    leases: Arc<Leases>,
    lease: Lease,
    version: String,
}

/// What became of an attempt.
enum Attempt {
    Won(Box<Held>),
    /// Somebody else holds it.
    Waiting,
    /// There can be no election.
    Impossible(Error),
}

/// The lease as it was last seen unchanged since.
struct Seen {
    version: String,
    since: Instant,
}

impl Election {
    pub(crate) async fn new(settings: &Kubernetes) -> Result<Election, Error> {
        let namespace = std::fs::read_to_string(Path::new(NAMESPACE_FILE));
        let namespace = namespace.unwrap_or_else(|_| NAMESPACE.to_owned());
        let leases = Leases::new(settings, namespace.trim(), NAME).await?;
        // The pod's name: a container that starts again in it has the lease at once.
        let name = nix::unistd::gethostname().ok().and_then(|name| name.into_string().ok());
        let identity = name.unwrap_or_else(|| NAME.to_owned());
        Ok(Election { leases: Arc::new(leases), identity })
    }

    /// Waits until this process leads.
    pub(crate) async fn win(&self, status: &StatusFile) -> Leadership {
        let mut seen = None;
        loop {
            match self.attempt(&mut seen).await {
                Ok(Attempt::Won(held)) => {
                    tracing::info!("{} leads", self.identity);
                    return Leadership::renewed(*held).await;
                }
                Ok(Attempt::Waiting) => {
                    // One that waits its turn is ready for it.
                    status.set(STARTUP, Ok(()));
                    sleep(RENEWAL).await;
                }
                Ok(Attempt::Impossible(why)) => {
                    tracing::warn!(
                        "no election: {why}. This instance acts, as Calico's does; there must not \
                         be another"
                    );
                    return Leadership::unelected(self.leases.clone());
                }
                Err(why) => {
                    status.set(STARTUP, Err(&why.to_string()));
                    tracing::warn!("{why}");
                    sleep(PAUSE).await;
                }
            }
        }
    }

    async fn attempt(&self, seen: &mut Option<Seen>) -> Result<Attempt, Error> {
        let found = match self.leases.read().await {
            Err(why @ Error::Refused { .. }) => return Ok(Attempt::Impossible(why)),
            found => found?,
        };
        let (before, version) = match found {
            None => (Lease::default(), None),
            Some((lease, version)) => {
                if !self.is_free(&lease, &version, seen) {
                    return Ok(Attempt::Waiting);
                }
                (lease, Some(version))
            }
        };
        let lease = taken(before, &self.identity, Timestamp::now());
        match self.leases.write(&lease, version.as_deref()).await {
            Ok(Some(version)) => {
                let leases = self.leases.clone();
                Ok(Attempt::Won(Box::new(Held { leases, lease, version })))
            }
            Ok(None) => Ok(Attempt::Waiting),
            Err(why @ Error::Refused { .. }) => Ok(Attempt::Impossible(why)),
            Err(why) => Err(why),
        }
    }

    fn is_free(&self, lease: &Lease, version: &str, seen: &mut Option<Seen>) -> bool {
        if lease.holder_identity.is_empty() || lease.holder_identity == self.identity {
            return true;
        }
        let unchanged = seen.as_ref().filter(|seen| seen.version == version);
        let since = unchanged.map_or_else(Instant::now, |seen| seen.since);
        *seen = Some(Seen { version: version.to_owned(), since });
        since.elapsed() >= Duration::from_secs(lease.lease_duration_seconds.into())
    }
}

/// The lease as its new holder, or the same again, writes it.
fn taken(before: Lease, identity: &str, now: Timestamp) -> Lease {
    let now = now.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let same = before.holder_identity == identity;
    Lease {
        holder_identity: identity.to_owned(),
        lease_duration_seconds: DURATION.as_secs() as u32,
        acquire_time: if same { before.acquire_time } else { Some(now.clone()) },
        renew_time: Some(now),
        lease_transitions: before.lease_transitions + u32::from(!same),
    }
}

impl Leadership {
    /// Leads by a lease, which a task renews.
    async fn renewed(held: Held) -> Leadership {
        let (valid, until) = watch::channel(Instant::now() + HELD);
        let holds = HOLDS.get_or_init(Mutex::default);
        *holds.lock().await = Some(held);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(RENEWAL) => {}
                    () = valid.closed() => return,
                }
                let mut holds = holds.lock().await;
                let Some(held) = holds.as_mut() else { return };
                let asked = Instant::now();
                let identity = held.lease.holder_identity.clone();
                let lease = taken(held.lease.clone(), &identity, Timestamp::now());
                match held.leases.write(&lease, Some(&held.version)).await {
                    Ok(Some(version)) => {
                        (held.lease, held.version) = (lease, version);
                        let _nobody_asks = valid.send(asked + HELD);
                    }
                    Ok(None) => {
                        // Somebody has changed it. The name may still be ours; win again.
                        *holds = None;
                        let _nobody_asks = valid.send(asked);
                        return;
                    }
                    Err(why) => tracing::warn!("the lease is not renewed: {why}"),
                }
            }
        });
        Leadership { until }
    }

    /// Leads without a lease, until the account may have one: others may lead by it then.
    fn unelected(leases: Arc<Leases>) -> Leadership {
        let (valid, until) = watch::channel(Instant::now() + FOR_EVER);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    () = sleep(ELECTION_PAUSE) => {}
                    () = valid.closed() => return,
                }
                if leases.read().await.is_ok() {
                    let _nobody_asks = valid.send(Instant::now());
                    return;
                }
            }
        });
        Leadership { until }
    }

    /// Whether this process may act now.
    pub(crate) fn holds(&self) -> bool {
        Instant::now() < *self.until.borrow()
    }

    /// Resolves once it may not.
    pub(crate) async fn lost(&mut self) {
        loop {
            let end = *self.until.borrow_and_update();
            tokio::select! {
                () = sleep_until(end) => return,
                changed = self.until.changed() => if changed.is_err() {
                    return sleep_until(end).await;
                },
            }
        }
    }

    /// Gives the lease back, so that the next instance need not wait.
    pub(crate) async fn resign() {
        let Some(holds) = HOLDS.get() else { return };
        let resignation = async {
            let Some(held) = holds.lock().await.take() else { return };
            let lease = Lease { holder_identity: String::new(), ..held.lease };
            if let Err(why) = held.leases.write(&lease, Some(&held.version)).await {
                tracing::warn!("the lease is not given back: {why}");
            }
        };
        let _too_slow = tokio::time::timeout(RESIGNATION_MAX, resignation).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_says_since_when_it_is_held() {
        let at = |text: &str| text.parse::<Timestamp>().expect("a time");
        let first = taken(Lease::default(), "a", at("2026-01-01T00:00:00.5Z"));
        expect_test::expect![[r#"{"holderIdentity":"a","leaseDurationSeconds":30,"acquireTime":"2026-01-01T00:00:00.500000Z","renewTime":"2026-01-01T00:00:00.500000Z","leaseTransitions":1}"#]]
            .assert_eq(&serde_json::to_string(&first).expect("JSON"));
        let again = taken(first.clone(), "a", at("2026-01-01T00:00:10Z"));
        assert_eq!((&again.acquire_time, again.lease_transitions), (&first.acquire_time, 1));
        assert_ne!(again.renew_time, first.renew_time);
        let other = taken(again, "b", at("2026-01-01T00:01:00Z"));
        assert_eq!(other.acquire_time, other.renew_time);
        assert_eq!(other.lease_transitions, 2);
    }
}

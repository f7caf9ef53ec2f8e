//! The CNI plugin's credentials, kept fresh (`calico-features.md` §5.5): on Kubernetes the file
//! `calico-kubeconfig`, which install-cni wrote first.

use anyhow::{Result, bail};
use cni::credentials::{Credentials, CredentialsError, HOST_CONFIGURATIONS, KUBECONFIG};
use model::config::{self, Resolved};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// The part of a token's validity after which it is replaced, at the earliest.
const PART_OF_VALIDITY: u32 = 4;
/// The pause after a token could not be had; it doubles with each time, up to the longest.
const RETRY_MIN: Duration = Duration::from_secs(5);
const RETRY_MAX: Duration = Duration::from_secs(300);
/// How soon it is noticed that the pod's own token has been replaced, or the plugin's file: a reason for
/// a new one.
const ROTATION_INTERVAL: Duration = Duration::from_secs(10);

/// Starts to keep them fresh, where this is a pod of Kubernetes and the plugin is its to manage.
///
/// # Errors
/// The pod lacks what it takes.
pub(crate) fn start(environment: &[(String, String)], resolved: &Resolved) -> Result<()> {
    let root = Path::new("/");
    let variables = environment.iter().cloned().collect();
    if !resolved.get(&config::MANAGE_CNI) {
        return Ok(());
    }
    let Some(credentials) = Credentials::of_pod(&variables, root)? else { return Ok(()) };
    let directory = root.join(HOST_CONFIGURATIONS);
    if !directory.is_dir() {
        bail!(
            "the CNI plugin's credentials are not renewed: mount the host's /etc/cni/net.d at {}, or \
             set CALICO_MANAGE_CNI=false",
            directory.display()
        );
    }
    let interval = resolved.get(&config::CNI_TOKEN_REFRESH_INTERVAL);
    let refresher = Refresher { credentials, path: directory.join(KUBECONFIG), interval };
    tokio::spawn(refresher.run());
    Ok(())
}

struct Refresher {
    credentials: Credentials,
    path: PathBuf,
    interval: Option<Duration>,
}

/// What came of asking for a token.
#[derive(Debug)]
enum Outcome {
    /// The plugin has one of its own account's, valid so long.
    Renewed(Duration),
    /// It has none; in words why, and what it has instead.
    Failed(String),
}

impl Refresher {
    async fn run(self) {
        let (mut failures, mut told) = (0, String::new());
        loop {
            let mounted = self.credentials.mounted_at();
            let outcome = self.renew().await;
            match &outcome {
                Outcome::Renewed(validity) => {
                    tracing::debug!("the CNI plugin has a new token, valid for {validity:?}");
                    (failures, told) = (0, String::new());
                }
                Outcome::Failed(why) => {
                    failures += 1;
                    if *why != told {
                        tracing::warn!("{why}");
                        told.clone_from(why);
                    }
                }
            }
            let pause = pause(&outcome, self.interval, failures, random());
            self.wait(pause, (mounted, self.written_at())).await;
        }
    }

    /// Puts a new token in place. Where the API refuses one, the pod's own serves, as with the
    /// manifests of older Calico, which have no account for the plugin; where it does not answer, what
    /// is there stays.
    async fn renew(&self) -> Outcome {
        let (credentials, account) = (&self.credentials, self.credentials.plugin_account());
        let written = |done: Result<(), CredentialsError>, outcome| match done {
            Ok(()) => outcome,
            Err(why) => Outcome::Failed(why.to_string()),
        };
        match credentials.request_token().await {
            Ok(token) => {
                let done = credentials.write(&self.path, &token.text);
                written(done, Outcome::Renewed(token.validity))
            }
            Err(why @ store::Error::Refused { .. }) => {
                let own = credentials.mounted_token();
                let done = own.and_then(|token| credentials.write(&self.path, &token));
                let why = format!(
                    "no token of the service account {account}, so the CNI plugin has this pod's: {why}"
                );
                written(done, Outcome::Failed(why))
            }
            Err(why) => Outcome::Failed(format!(
                "no new token of the service account {account} for the CNI plugin, which keeps what \
                 it has: {why}"
            )),
        }
    }

    /// When the plugin's file was put there.
    fn written_at(&self) -> Option<SystemTime> {
        std::fs::metadata(&self.path).and_then(|file| file.modified()).ok()
    }

    /// Waits, but no longer than until the pod's own token or the plugin's file is another than it was.
    async fn wait(&self, pause: Duration, known: (Option<SystemTime>, Option<SystemTime>)) {
        let end = tokio::time::Instant::now() + pause;
        while (self.credentials.mounted_at(), self.written_at()) == known {
            let next = tokio::time::Instant::now() + ROTATION_INTERVAL;
            tokio::time::sleep_until(next.min(end)).await;
            if next >= end {
                return;
            }
        }
    }
}

/// How long until the next token is asked for; `random` is from 0 to 1, and keeps nodes from asking
/// all at once.
fn pause(outcome: &Outcome, interval: Option<Duration>, failures: u32, random: f64) -> Duration {
    match outcome {
        Outcome::Renewed(validity) => {
            let least = interval.unwrap_or(*validity / PART_OF_VALIDITY).max(RETRY_MIN);
            if interval.is_some() { least } else { least.mul_f64(1.0 + random) }
        }
        Outcome::Failed(_) => {
            let doubled = 2_u32.saturating_pow(failures.saturating_sub(1));
            RETRY_MIN.saturating_mul(doubled).min(RETRY_MAX)
        }
    }
}

/// A number from 0 to 1.
fn random() -> f64 {
    let bits = RandomState::new().hash_one(());
    f64::from(u32::try_from(bits >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests;

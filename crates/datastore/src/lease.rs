//! Service Lease, and the task that ends leases whose owners are silent.
//!
//! Which leases there are, and their keys, is in the database; when each ends is here only, so
//! after a restart every lease has its full time again, as in etcd.

use crate::file::random;
use crate::limits::{
    LEASE_TTL_SECONDS_MAX, LEASE_TTL_SECONDS_MIN, LEASES_MAX, RETRY_INTERVAL, WATCH_BACKLOG_MAX,
};
use crate::refused::Refused;
use crate::store::Store;
use etcd::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
    LeaseLeasesRequest, LeaseLeasesResponse, LeaseRevokeRequest, LeaseRevokeResponse, LeaseStatus,
    LeaseTimeToLiveRequest, LeaseTimeToLiveResponse,
};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

/// A lease that lives.
#[derive(Clone, Copy)]
struct Lease {
    ttl_seconds: i64,
    end: Instant,
}

impl Lease {
    fn new(ttl_seconds: i64) -> Self {
        let ttl = Duration::from_secs(ttl_seconds.max(0).unsigned_abs());
        Self { ttl_seconds, end: Instant::now() + ttl }
    }
}

/// The ends of all leases.
pub(crate) struct Leases {
    store: Arc<Store>,
    ends: Mutex<HashMap<i64, Lease>>,
    /// The earliest end may have moved forward.
    granted: Notify,
}

impl Leases {
    /// Gives every stored lease its full time.
    pub(crate) fn open(store: Arc<Store>) -> Result<Self, Refused> {
        let ends = store.leases()?.into_iter().map(|(id, ttl)| (id, Lease::new(ttl))).collect();
        Ok(Self { store, ends: Mutex::new(ends), granted: Notify::new() })
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<i64, Lease>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, id: i64) -> Option<Lease> {
        self.ends().get(&id).copied()
    }

    /// Ends leases when their time has come, until dropped.
    pub(crate) async fn expire(&self) {
        loop {
            let granted = self.granted.notified();
            let earliest = self.ends().values().map(|lease| lease.end).min();
            match earliest {
                Some(end) => tokio::select! {
                    () = sleep_until(end) => self.end_silent().await,
                    () = granted => {}
                },
                None => granted.await,
            }
        }
    }

    async fn end_silent(&self) {
        let now = Instant::now();
        let silent: Vec<(i64, Lease)> =
            self.ends().extract_if(|_, lease| lease.end <= now).collect();
        for (id, mut lease) in silent {
            match self.store.submit(move |changes| changes.revoke(id)).await {
                Ok(()) | Err(Refused::LeaseNotFound) => {}
                // The file cannot be written: the lease lives until it can.
                Err(_) => {
                    lease.end = Instant::now() + RETRY_INTERVAL;
                    self.ends().insert(id, lease);
                }
            }
        }
    }

    fn keep_alive(&self, id: i64) -> LeaseKeepAliveResponse {
        let mut ends = self.ends();
        let ttl = match ends.get_mut(&id) {
            Some(lease) => {
                *lease = Lease::new(lease.ttl_seconds);
                lease.ttl_seconds
            }
            None => 0,
        };
        LeaseKeepAliveResponse { header: self.store.header(self.store.revision()), id, ttl }
    }
}

/// The service.
pub(crate) struct LeaseService {
    pub(crate) leases: Arc<Leases>,
    /// Turns true when the server stops.
    pub(crate) stopping: watch::Receiver<bool>,
}

#[tonic::async_trait]
impl etcd::server::Lease for LeaseService {
    async fn lease_grant(
        &self,
        request: Request<LeaseGrantRequest>,
    ) -> Result<Response<LeaseGrantResponse>, Status> {
        let LeaseGrantRequest { ttl, id } = request.into_inner();
        if ttl > LEASE_TTL_SECONDS_MAX {
            return Err(Refused::LeaseTtlTooLarge.into());
        }
        if self.leases.ends().len() >= LEASES_MAX {
            return Err(Refused::TooManyLeases(LEASES_MAX).into());
        }
        let ttl = ttl.max(LEASE_TTL_SECONDS_MIN);
        let id = if id == 0 { random() } else { id };
        let store = &self.leases.store;
        store.submit(move |changes| changes.grant(id, ttl)).await?;
        self.leases.ends().insert(id, Lease::new(ttl));
        self.leases.granted.notify_one();
        let header = store.header(store.revision());
        Ok(Response::new(LeaseGrantResponse { header, id, ttl, error: String::new() }))
    }

    async fn lease_revoke(
        &self,
        request: Request<LeaseRevokeRequest>,
    ) -> Result<Response<LeaseRevokeResponse>, Status> {
        let id = request.into_inner().id;
        let store = &self.leases.store;
        let revoke = move |changes: &mut crate::mvcc::Changes<'_>| {
            changes.revoke(id)?;
            Ok(changes.revision())
        };
        let revision = store.submit(revoke).await?;
        self.leases.ends().remove(&id);
        Ok(Response::new(LeaseRevokeResponse { header: store.header(revision) }))
    }

    type LeaseKeepAliveStream = ReceiverStream<Result<LeaseKeepAliveResponse, Status>>;

    async fn lease_keep_alive(
        &self,
        request: Request<Streaming<LeaseKeepAliveRequest>>,
    ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
        let (answers, receiver) = mpsc::channel(WATCH_BACKLOG_MAX);
        let (leases, mut stopping) = (self.leases.clone(), self.stopping.clone());
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            let answer_all = async {
                while let Ok(Some(request)) = requests.message().await {
                    if answers.send(Ok(leases.keep_alive(request.id))).await.is_err() {
                        break;
                    }
                }
            };
            tokio::select! {
                () = answer_all => {}
                _ = stopping.wait_for(|stopping| *stopping) => {
                    // No room means a client that doesn't read: it finds the stream closed.
                    drop(answers.try_send(Err(Refused::Stopped.into())));
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn lease_time_to_live(
        &self,
        request: Request<LeaseTimeToLiveRequest>,
    ) -> Result<Response<LeaseTimeToLiveResponse>, Status> {
        let LeaseTimeToLiveRequest { id, keys } = request.into_inner();
        let store = &self.leases.store;
        let header = store.header(store.revision());
        let mut response = LeaseTimeToLiveResponse { header, id, ttl: -1, ..Default::default() };
        if let Some(lease) = self.leases.find(id) {
            let left = lease.end.saturating_duration_since(Instant::now()).as_secs();
            response.ttl = i64::try_from(left).unwrap_or(i64::MAX);
            response.granted_ttl = lease.ttl_seconds;
            if keys {
                response.keys = store.lease_keys(id)?;
            }
        }
        Ok(Response::new(response))
    }

    async fn lease_leases(
        &self,
        _request: Request<LeaseLeasesRequest>,
    ) -> Result<Response<LeaseLeasesResponse>, Status> {
        let store = &self.leases.store;
        let mut ids: Vec<i64> = self.leases.ends().keys().copied().collect();
        ids.sort_unstable();
        let leases = ids.into_iter().map(|id| LeaseStatus { id }).collect();
        let header = store.header(store.revision());
        Ok(Response::new(LeaseLeasesResponse { header, leases }))
    }
}

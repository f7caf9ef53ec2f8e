//! Which member is asked, as which user, and for how long.
//!
//! One connection serves all requests. When it fails, the next request dials the members in turn,
//! beginning with the one after it.

use super::dial::Dialer;
use super::refusal::{self, Verdict};
use crate::Error;
use crate::settings::{Settings, User};
use ::etcd::AuthenticateRequest;
use ::etcd::client::AuthClient;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Response, Status};

/// How long a member may take to answer one request.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Whether a request may be sent again when it is not known if it was carried out.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Repeat {
    /// A read.
    Allowed,
    /// A write.
    Forbidden,
}

/// A live connection to one member.
#[derive(Clone)]
pub(super) struct Link {
    pub(super) channel: Channel,
    /// The member's address, for messages.
    pub(super) endpoint: String,
    token: Option<AsciiMetadataValue>,
    member: usize,
    serial: u64,
}

impl Link {
    /// The message as a request of the logged-in user.
    pub(super) fn request<M>(&self, message: M) -> tonic::Request<M> {
        let mut request = tonic::Request::new(message);
        if let Some(token) = &self.token {
            request.metadata_mut().insert("token", token.clone());
        }
        request
    }
}

#[derive(Default)]
struct Connection {
    link: Option<Link>,
    /// The member to dial first.
    next: usize,
    /// Number of connections so far.
    serial: u64,
    /// When and how the last attempt failed.
    failed: Option<(Instant, Error)>,
}

pub(super) struct Cluster {
    dialers: Vec<Dialer>,
    user: Option<User>,
    connection: Mutex<Connection>,
}

impl Cluster {
    pub(super) fn new(settings: &Settings) -> Result<Cluster, Error> {
        let dial = |endpoint| Dialer::new(endpoint, &settings.tls);
        let dialers = settings.endpoints.iter().map(dial).collect::<Result<Vec<_>, _>>()?;
        let user = settings.user.clone();
        Ok(Cluster { dialers, user, connection: Mutex::default() })
    }

    /// Sends one request, to further members where that is safe.
    pub(super) async fn call<T, F, Sent>(&self, repeat: Repeat, send: F) -> Result<T, Error>
    where
        F: Fn(Link) -> Sent,
        Sent: Future<Output = Result<Response<T>, Status>>,
    {
        let mut reauthenticated = false;
        let mut attempts_left = self.dialers.len();
        loop {
            let link = self.link().await?;
            let verdict = match timeout(REQUEST_TIMEOUT, send(link.clone())).await {
                Ok(Ok(answer)) => return Ok(answer.into_inner()),
                Ok(Err(status)) => refusal::judge(&link.endpoint, &status),
                Err(_) => {
                    // Only another member can be hoped to do better.
                    attempts_left = attempts_left.min(self.dialers.len() - 1);
                    Verdict::Lost(no_answer(&link.endpoint))
                }
            };
            match verdict {
                Verdict::Final(_) => {}
                Verdict::TokenExpired(_) => self.forget(&link, link.member).await,
                Verdict::Unsent(_) | Verdict::Lost(_) => self.forget(&link, link.member + 1).await,
            }
            let error = match verdict {
                Verdict::Final(error) => return Err(error),
                Verdict::TokenExpired(error) if reauthenticated || self.user.is_none() => {
                    return Err(error);
                }
                Verdict::TokenExpired(_) => {
                    reauthenticated = true;
                    continue;
                }
                Verdict::Unsent(error) => error,
                Verdict::Lost(error) if repeat == Repeat::Forbidden => return Err(in_doubt(error)),
                Verdict::Lost(error) => error,
            };
            if attempts_left == 0 {
                return Err(error);
            }
            attempts_left -= 1;
        }
    }

    /// The connection, made if there is none.
    async fn link(&self) -> Result<Link, Error> {
        let asked = Instant::now();
        let mut connection = self.connection.lock().await;
        if let Some(link) = &connection.link {
            return Ok(link.clone());
        }
        // Whoever waited while an attempt failed shares its outcome rather than making another.
        if let Some((when, error)) = &connection.failed
            && *when > asked
        {
            return Err(error.clone());
        }
        let made = self.connect(&mut connection).await;
        connection.failed = made.as_ref().err().map(|error| (Instant::now(), error.clone()));
        made
    }

    async fn connect(&self, connection: &mut Connection) -> Result<Link, Error> {
        let mut failures = Vec::new();
        for turn in 0..self.dialers.len() {
            let member = (connection.next + turn) % self.dialers.len();
            let dialer = &self.dialers[member];
            let endpoint = dialer.name().to_owned();
            connection.serial += 1;
            let attempt = async {
                let channel = dialer.dial().await?;
                let token = self.log_in(&channel, &endpoint).await?;
                let serial = connection.serial;
                Ok(Link { channel, endpoint: endpoint.clone(), token, member, serial })
            };
            match attempt.await {
                Ok(link) => {
                    connection.next = member;
                    connection.link = Some(link.clone());
                    return Ok(link);
                }
                Err(Error::Unreachable { endpoint, reason }) => failures.push((endpoint, reason)),
                // The other members share users and settings.
                Err(other) => return Err(other),
            }
        }
        Err(all_failed(failures))
    }

    async fn log_in(
        &self,
        channel: &Channel,
        endpoint: &str,
    ) -> Result<Option<AsciiMetadataValue>, Error> {
        let Some(User { name, password }) = &self.user else { return Ok(None) };
        let mut client = AuthClient::new(channel.clone());
        let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
        let status = match timeout(REQUEST_TIMEOUT, client.authenticate(request)).await {
            Ok(Ok(answer)) => {
                let token = AsciiMetadataValue::try_from(answer.into_inner().token);
                return token.map(Some).map_err(|_| Error::Refused {
                    endpoint: endpoint.to_owned(),
                    reason: "its token is not text: is it an etcd v3 server?".into(),
                });
            }
            Ok(Err(status)) => status,
            Err(_) => return Err(no_answer(endpoint)),
        };
        if refusal::authentication_is_off(&status) {
            return Ok(None);
        }
        match refusal::judge(endpoint, &status) {
            Verdict::Final(error)
            | Verdict::TokenExpired(error)
            | Verdict::Unsent(error)
            | Verdict::Lost(error) => Err(error),
        }
    }

    /// Whether a refusal may be due to an expired token; then the next request logs in again.
    pub(super) async fn log_in_again(&self, refused: &Link) -> bool {
        if refused.token.is_some() {
            self.forget(refused, refused.member).await;
        }
        refused.token.is_some()
    }

    /// Drops the connection a request failed on, unless another has taken its place already.
    async fn forget(&self, failed: &Link, next: usize) {
        let mut connection = self.connection.lock().await;
        if connection.link.as_ref().is_some_and(|link| link.serial == failed.serial) {
            connection.link = None;
            connection.next = next % self.dialers.len();
        }
    }
}

fn no_answer(endpoint: &str) -> Error {
    Error::Unreachable {
        endpoint: endpoint.to_owned(),
        reason: format!(
            "connected, but no answer within {} s: the server hangs, has lost its quorum, or \
             something between drops packets; see its log",
            REQUEST_TIMEOUT.as_secs()
        ),
    }
}

/// A write without an answer.
fn in_doubt(error: Error) -> Error {
    match error {
        Error::Unreachable { endpoint, reason } => {
            let reason = format!("{reason}; the write may have been carried out all the same");
            Error::Unreachable { endpoint, reason }
        }
        other => other,
    }
}

fn all_failed(mut failures: Vec<(String, String)>) -> Error {
    if failures.len() == 1
        && let Some((endpoint, reason)) = failures.pop()
    {
        return Error::Unreachable { endpoint, reason };
    }
    let endpoints: Vec<&str> = failures.iter().map(|(endpoint, _)| endpoint.as_str()).collect();
    let each: Vec<String> = failures.iter().map(|(at, why)| format!("{at}: {why}")).collect();
    Error::Unreachable { endpoint: endpoints.join(","), reason: each.join("; ") }
}

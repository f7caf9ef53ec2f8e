//! What an etcd error means for the caller, and what a person can do about it.
//!
//! Source: etcd's `rpctypes` texts (the part after `etcdserver: `) and gRPC's codes.

use crate::Error;
use crate::text::chain;
use model::Revision;
use tonic::{Code, Status};

/// What to do about a failed request.
pub(super) enum Verdict {
    /// Nothing: tell the caller.
    Final(Error),
    /// Not carried out because the token is no longer known: log in again.
    TokenExpired(Error),
    /// Never sent: another member may be asked.
    Unsent(Error),
    /// Perhaps carried out: another member may be asked for a read.
    Lost(Error),
}

/// Texts of a refusal and the next step to tell.
const NEXT_STEPS: &[(&str, &str)] = &[
    ("invalid user ID or password", "check ETCD_USERNAME and ETCD_PASSWORD"),
    ("user name is empty", "it wants a user: set ETCD_USERNAME and ETCD_PASSWORD"),
    (
        "permission denied",
        "the user may not do this: set ETCD_USERNAME and ETCD_PASSWORD to one with a role for the \
         keys under /calico/",
    ),
    (
        "database space exceeded",
        "the datastore is full and read-only: compact and defragment it, then clear the alarm with \
         `etcdctl alarm disarm`",
    ),
    ("request is too large", "the object exceeds the server's --max-request-bytes"),
];

/// Reads a status of the server or of the transport.
pub(super) fn judge(endpoint: &str, status: &Status) -> Verdict {
    let text = status.message();
    let lost = |reason: String| Error::Unreachable { endpoint: endpoint.to_owned(), reason };
    if never_sent(status) {
        return Verdict::Unsent(lost(format!("{}; is the server running?", causes(status))));
    }
    if text.contains("invalid auth token") || text.contains("revision of auth store is old") {
        return Verdict::TokenExpired(refused(endpoint, text));
    }
    if status.code() == Code::OutOfRange && text.contains("compacted") {
        return Verdict::Final(Error::Compacted(Revision(0)));
    }
    match status.code() {
        Code::InvalidArgument
        | Code::PermissionDenied
        | Code::Unauthenticated
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented => Verdict::Final(refused(endpoint, text)),
        Code::ResourceExhausted if !text.contains("too many requests") => {
            Verdict::Final(refused(endpoint, text))
        }
        _ => Verdict::Lost(lost(causes(status))),
    }
}

/// A refusal with its next step.
pub(super) fn refused(endpoint: &str, text: &str) -> Error {
    let step = NEXT_STEPS.iter().find(|(part, _)| text.contains(part)).map(|(_, step)| *step);
    let step = step.unwrap_or("is it an etcd v3 server? see its log");
    let text = text.strip_prefix("etcdserver: ").unwrap_or(text);
    Error::Refused { endpoint: endpoint.to_owned(), reason: format!("{text}: {step}") }
}

/// The answer to a log-in at a cluster without users; etcd's own client goes on without, too. The
/// embedded server hasn't the service at all.
pub(super) fn authentication_is_off(status: &Status) -> bool {
    status.message().contains("authentication is not enabled")
        || status.code() == Code::Unimplemented
}

/// Whether connecting failed, so that the request cannot have got anywhere.
fn never_sent(status: &Status) -> bool {
    let mut cause = std::error::Error::source(status);
    while let Some(error) = cause {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// The text and what lies beneath it.
fn causes(status: &Status) -> String {
    let below = std::error::Error::source(status).map(chain).unwrap_or_default();
    match (status.message(), below) {
        (text, below) if below.is_empty() => text.to_owned(),
        ("", below) => below,
        (text, below) if below.contains(text) => below,
        (text, below) => format!("{text}: {below}"),
    }
}

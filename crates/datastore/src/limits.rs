//! Every bound of the server, in one place. Where etcd has the same bound, the value is etcd's.

use std::time::Duration;

/// Operations or conditions in one transaction (etcd's `--max-txn-ops`).
pub(crate) const TXN_OPS_MAX: usize = 128;
/// Encoded size of one request (etcd's `--max-request-bytes`).
pub(crate) const REQUEST_BYTES_MAX: usize = 1536 * 1024;
/// Room for what is not the request itself in a gRPC message.
pub(crate) const MESSAGE_OVERHEAD_BYTES_MAX: usize = 512 * 1024;
/// Watches on one stream.
pub(crate) const WATCHES_PER_STREAM_MAX: usize = 10_000;
/// Answers of a watch stream waiting for its client; what happens meanwhile waits in the log.
pub(crate) const WATCH_BACKLOG_MAX: usize = 8;
/// Events read from the log at once for a watch stream; a revision is never split.
pub(crate) const WATCH_CHUNK_EVENTS_MAX: usize = 1_000;
/// Bytes read from the log at once for a watch stream; a revision is never split.
pub(crate) const WATCH_CHUNK_BYTES_MAX: usize = 1024 * 1024;
/// Without an event for so long, a watch that asked for it is told how far the store has come.
pub(crate) const WATCH_PROGRESS_INTERVAL: Duration = Duration::from_secs(600);
/// Writes waiting for the writer; senders wait beyond it.
pub(crate) const WRITE_QUEUE_MAX: usize = 1_024;
/// Writes that share one commit.
pub(crate) const BATCH_WRITES_MAX: usize = 256;
/// Keys of a commit by which watch streams see that it is none of their business; after a commit of
/// more keys, all of them read the log.
pub(crate) const CHANGED_KEYS_MAX: usize = 1_000;
/// Log entries looked at per step of clearing compacted history away.
pub(crate) const CLEAR_STEP_ENTRIES_MAX: usize = 1_000;
/// Memory redb may use to cache pages.
pub(crate) const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Shortest life of a lease, in seconds.
pub(crate) const LEASE_TTL_SECONDS_MIN: i64 = 2;
/// Longest life of a lease, in seconds.
pub(crate) const LEASE_TTL_SECONDS_MAX: i64 = 9_000_000_000;
/// Leases at once.
pub(crate) const LEASES_MAX: usize = 100_000;
/// After a failed write, the file is tried again at most this often.
pub(crate) const RETRY_INTERVAL: Duration = Duration::from_secs(1);
/// How long stopping waits for requests under way.
pub(crate) const STOP_GRACE: Duration = Duration::from_secs(5);

//! The embedded datastore: the etcd v3 gRPC API over one redb file.
//!
//! ```text
//!  etcdctl, our etcd driver ──gRPC──▶ kv · watch · lease · maintenance
//!                                      │ submit      ▲ answers, events
//!                                      ▼             │ read
//!                                    store ── one writer thread, group commit; snapshots for readers
//!                                      │
//!                              mvcc, txn (etcd's semantics) ── log (the tables) ── file, overlay (redb)
//! ```
//!
//! Owns: revisions, history and its compaction, transactions, watches without gap or duplicate,
//! leases; that an answered write survives any kill; that a damaged, foreign or locked file is
//! reported and never replaced; that reading goes on when writing cannot.
//!
//! Must not know: resources, or what keys and values mean.
//!
//! Not here: clusters of servers, users, Lock and Election (UNIMPLEMENTED), snapshots over the
//! wire. Behaviour follows etcd 3.4, held against Debian's etcd by `tests/same_as_etcd.rs`.

mod compaction;
mod error;
mod file;
mod interval;
mod kv;
mod lease;
mod limits;
mod listen;
mod log;
mod maintenance;
mod mvcc;
mod options;
mod overlay;
mod refused;
mod server;
mod store;
mod tls;
mod txn;
mod watch;

pub use error::Error;
pub use options::{Options, Retention};
pub use server::{Server, run, serve};

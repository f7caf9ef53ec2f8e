//! Calico's block-based IPAM as protocols without I/O.
//!
//! ```text
//!  AutoAssign { host, pools, … }.start() ─▶ Operation ─ step ─▶ Request ─▶ (store, or a test's map)
//!                                               ▲                   │
//!                                               └──── Response ◀────┘
//! ```
//! Each operation is a struct of its inputs; `start()` makes an [`Operation`], a
//! [`model::Protocol`]. Time and settings are inputs, nothing is ambient.
//!
//! Owns: how addresses are given from blocks, how blocks belong to hosts, what handles say, and
//! that under any interleaving, conflict, failure or kill no address has two holders and all that
//! is held is found by its handle (`handles.rs`, `claim.rs` say why).
//!
//! Must not know: async runtimes, the kernel, CNI, which datastore it is. A write with an unchanged
//! value must move the key's revision (etcd does; the Kubernetes driver has to).
//!
//! Source: `calico-features.md` §3.1 and §4. Stored objects are Calico's field by field.

mod assign;
mod claim;
pub mod contents;
mod error;
mod handles;
pub mod lookup;
mod operation;
mod pool;
mod release;
mod selection;
mod tunnel;

pub use assign::{AssignAddress, AutoAssign, timestamp};
pub use error::Error;
pub use lookup::{AddressesByHandle, BlockUsage, CheckIp, Held, PoolUsage, ReadConfig, Usage};
pub use operation::Operation;
pub use pool::Pool;
pub use release::{
    ReleaseAddresses, ReleaseBlockAffinity, ReleaseByHandle, ReleaseHost, ReleaseOne, ReleaseSeen,
    ReleaseUnclaimed,
};
pub use selection::{Demand, pools_of_requested, select_pools};
pub use tunnel::EnsureTunnelAddress;

/// How often a compare-and-swap is tried (Calico: datastoreRetries).
pub const RETRIES_MAX: usize = 100;

/// Blocks a host may hold where nothing else is configured.
pub const BLOCKS_PER_HOST: u32 = 20;

/// How long an empty block stays with its host before another may take it, in seconds.
pub const RECLAIM_AGE_SECONDS: i64 = 60;

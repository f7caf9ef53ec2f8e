//! The kernel's objects as values: what a node wants there, what is there, and the way between.
//!
//! ```text
//!  desired: State ─┐
//!                  ├─▶ diff ──▶ Vec<Change>, in an order that is safe at every step ──▶ (linux)
//!  actual:  State ─┘
//! ```
//!
//! Owns: links, addresses, routes, neighbours, FDB entries, sysctls and nf_tables objects as plain
//! data; who owns which of them ([`Ownership`]); their difference and the order of applying it.
//!
//! Must not know: syscalls, Calico's resources.

mod change;
mod diff;
mod fake;
pub mod nft;
mod ownership;
mod route_text;
mod state;

pub use change::Change;
pub use diff::diff;
pub use fake::Refused;
pub use state::*;

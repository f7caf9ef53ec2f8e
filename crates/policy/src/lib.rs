//! Who may talk to whom: policies, endpoints and labels in; per-endpoint policy and set members out.
//!
//! ```text
//!  model::Value ──convert──▶ Update ──▶ Graph::on ──┐  (only records)
//!                                                   ▼
//!                            Output ◀── Graph::flush   sets, policies, profiles, endpoints:
//!                              │                       only what this node's endpoints need
//!                 ┌────────────┼─────────────┐
//!                 ▼            ▼             ▼
//!            plan::nft     Told (all      evaluate(rules, packet) ──▶ Decision with its reasons
//!                          outputs, kept)
//! ```
//!
//! Owns: the input as it is kept ([`input`]), the calculation graph, what it tells ([`output`]), and
//! the packet evaluator ([`evaluate`]), which says what the kernel must do. Whatever the order of
//! updates, the sum of what was told equals what a fresh graph would tell.
//!
//! Must not know: nf_tables, tokio, sockets, the kernel.

pub mod connectivity;
pub mod convert;
pub mod evaluate;
mod graph;
pub mod input;
pub mod nflog_prefix;
pub mod output;
mod policy_id;
#[cfg(test)]
mod strategy;
mod told;

pub use graph::{Graph, Problem};
pub use input::Update;
pub use output::Output;
pub use policy_id::NotAPolicyId;
pub use told::{Contradiction, Set, Told};

//! BGP-4 without sockets: what a Calico node says to its peers and believes of what they say.
//!
//! ```text
//!  resources ─▶ intent ─▶ Configuration ─┐
//!                                        ▼
//!  bytes, connections, time ──▶ Speaker::on(Input) ──▶ Outputs: connect, close, output is due
//!                                 │  session: one state machine per peer   (RFC 4271, 8)
//!                                 │  rib:     routes in, the best of them  (RFC 4271, 9)
//!                                 │  filter:  what passes in and out       (BGPFilter)
//!                                 └──▶ best routes, peers' states: for `node`
//!  wire: messages as values ⇄ bytes (RFC 4271, 4; errors as RFC 7606)
//! ```
//!
//! Owns: the codec, the session's state machine, the table of routes, filters, and `intent`, which
//! turns Calico's resources into what the speaker should do. Time arrives as an argument.
//!
//! Must not know: sockets, clocks, nf_tables, the kernel.

pub mod configuration;
pub mod filter;
pub mod intent;
pub mod rib;
pub mod session;
pub mod speaker;
pub mod status;
pub mod wire;

pub use configuration::Configuration;
pub use speaker::{Input, Output, Speaker};

//! `calico bench`: what it costs, measured on labs of this machine.
//!
//! ```text
//! calico bench cni ──┬─ calico lab up / down            scenario: builds a lab, asks, takes it down
//!                    ├─ calico lab exec worker-1 -- calico bench inside cni …
//!                    │      inside: measures where the work is done, answers JSON
//!                    └─ Samples ─▶ Figure (target, peer) ─▶ Report: table, JSON, Markdown
//! ```
//!
//! A figure is what was measured, met or missed. Peers (a hand-made VXLAN, the reference plugins,
//! BIRD) are measured in the same lab, alternating with ours, so that the machine's moods hit both.
//! Calico's own figures were measured separately and say so.
//!
//! Scenarios without a lab (`calico bench nft`) run in a process of their own, which counts what it
//! allocates.
//!
//! Owns: scenarios, statistics, the report.
//!
//! Must not know: how Calico works inside. It drives the programs as their users do, and reads the
//! kernel and `/proc`. The policy graph is a pure function, so it is called as the node calls it.

mod cluster;
mod command;
mod figure;
mod inside;
mod iperf3;
mod machine;
mod pool;
mod program;
mod report;
mod samples;
mod scenario;

pub use command::{Command, Format, Options, run};
pub use figure::{Figure, Peer, Target, Unit};
pub use machine::Machine;
pub use report::Report;

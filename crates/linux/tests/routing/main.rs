//! The routing side against the real kernel, each test in namespaces of its own. Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod errors;
mod machine;
mod monitor;
mod namespaces;
mod speed;
mod state;
mod vxlan;

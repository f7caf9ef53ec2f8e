//! IP-in-IP by BPF: real packets between two nodes, each with a pod, in namespaces of their own.
//! Needs root.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod carries;
mod headers;
mod lives;
mod node;
mod path_mtu;
mod refuses;
mod wire;

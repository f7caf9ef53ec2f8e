//! Policy as the kernel enforces it against what the evaluator says of it: real packets through real
//! tables, in a namespace of its own. Needs root and `/dev/net/tun`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../plan/tests/policy/inputs.rs"]
mod inputs;
#[path = "../../../plan/tests/policy/kept.rs"]
mod kept;
mod machine;
mod proof;
#[path = "../../../plan/tests/policy/random.rs"]
mod random;
#[path = "../../../policy/tests/truth_tables/table.rs"]
mod table;
mod wire;

//! Policy as the kernel enforces it against what the evaluator says of it: real packets through
//! real tables, in a namespace of its own. Needs root and `/dev/net/tun`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../../../plan/tests/policy/difference.rs"]
mod difference;
mod enforced;
#[path = "../../../plan/tests/policy/inputs.rs"]
mod inputs;
mod machine;
mod packets;
mod proof;
#[path = "../../../plan/tests/policy/random.rs"]
mod random;
mod reasons;
mod situations;
#[path = "../../../policy/tests/truth_tables/table.rs"]
#[expect(dead_code, reason = "the evaluator's own test uses the rest")]
mod table;
mod wire;

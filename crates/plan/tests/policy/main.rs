//! Policy in the kernel: texts of the tables, and the tables against the evaluator's word.

mod cost;
mod difference;
mod golden;
mod hostile;
mod incremental;
mod inputs;
mod random;
#[path = "../../../policy/tests/truth_tables/table.rs"]
#[expect(dead_code, reason = "the evaluator's own test uses the rest")]
mod table;

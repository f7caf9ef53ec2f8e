//! The evaluator against hand-written truth tables; `plan` holds the kernel against the same ones.

mod table;

use policy::Told;
use table::{parse, short};

const TABLES: [&str; 3] =
    [include_str!("rules.txt"), include_str!("tiers.txt"), include_str!("hosts.txt")];

#[test]
fn every_row_of_every_case_is_decided_as_written() {
    let mut rows = 0;
    for case in TABLES.iter().flat_map(|text| parse(text)) {
        let mut told = Told::default();
        for output in &case.outputs {
            told.apply(output.clone()).unwrap();
        }
        told.check_references().unwrap_or_else(|wrong| panic!("{}: {wrong}", case.name));
        for row in &case.rows {
            let decision = case.decide(&told, &row.packet);
            assert_eq!(short(&decision), row.expected, "case {}\n{}", case.name, row.text);
            rows += 1;
        }
    }
    assert!(rows > 200, "only {rows} rows were read");
}

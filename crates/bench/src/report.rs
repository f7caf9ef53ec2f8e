//! A report: the machine and the figures, as a table, JSON or a Markdown page.

use crate::figure::{Figure, Peer};
use crate::machine::Machine;
use anyhow::{Context, Result};
use serde::Serialize;
use std::fmt::Write;

/// What was measured, and where.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The machine.
    pub machine: Machine,
    /// The figures, in order of measurement.
    pub figures: Vec<Figure>,
    /// Scenarios that could not be measured, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub failures: Vec<String>,
}

/// The page around the figures; `{machine}`, `{figures}` and `{failures}` are filled in.
const PAGE: &str = include_str!("report.md");
const MISSED: &str = "missed";
const HEADER: [&str; 6] = ["what", "target", "ours", "", "others", "n"];

impl Report {
    /// For a terminal.
    pub fn to_table(&self) -> String {
        let rows: Vec<[String; 6]> =
            [HEADER.map(str::to_owned)].into_iter().chain(self.figures.iter().map(row)).collect();
        let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
        let mut text = self.machine_line() + "\n\n";
        for row in &rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                // Writing to a String cannot fail.
                let _ = write!(line, "{cell:0$}   ", width(column).unwrap_or(0));
            }
            text += line.trim_end();
            text.push('\n');
        }
        for failure in &self.failures {
            // Nor can this.
            let _ = writeln!(text, "FAILED {failure}");
        }
        text
    }

    /// For programs.
    ///
    /// # Errors
    /// A figure isn't a number.
    pub fn to_json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).context("encoding the report")?;
        Ok(text + "\n")
    }

    /// For `docs/benchmarks.md`.
    pub fn to_markdown(&self) -> String {
        let mut figures = format!("| {} |\n|---|---|---|---|---|---|\n", HEADER.join(" | "));
        for figure in &self.figures {
            let cells = row(figure);
            let emphasized =
                cells.map(|cell| if cell == MISSED { format!("**{cell}**") } else { cell });
            figures += &format!("| {} |\n", emphasized.join(" | "));
        }
        let mut failures = String::new();
        for failure in &self.failures {
            let text = failure.replace('\n', "\n    ");
            failures += &format!("\nNot measured, as it failed:\n\n    {text}\n");
        }
        PAGE.replace("{machine}", &self.machine_line())
            .replace("{figures}\n", &figures)
            .replace("{failures}\n", &(failures + "\n"))
    }

    fn machine_line(&self) -> String {
        let machine = &self.machine;
        format!(
            "{}, {} processors, {:.0} GiB of memory, Linux {}, {}; calico {}, {} build",
            machine.processor,
            machine.processors,
            f64::from(u32::try_from(machine.memory_mebibytes).unwrap_or(u32::MAX)) / 1024.0,
            machine.kernel,
            machine.date,
            machine.version,
            machine.build
        )
    }
}

fn row(figure: &Figure) -> [String; 6] {
    let verdict = match figure.met {
        Some(true) => "met",
        Some(false) => MISSED,
        None => "",
    };
    let peers: Vec<String> = figure.peers.iter().map(peer).collect();
    [
        figure.what.clone(),
        figure.target.map(|target| target.show(figure.unit)).unwrap_or_default(),
        figure.unit.show(figure.value),
        verdict.to_owned(),
        peers.join("; "),
        figure.count.to_string(),
    ]
}

fn peer(peer: &Peer) -> String {
    let elsewhere = if peer.same_run { "" } else { ", measured separately" };
    format!("{} {}{elsewhere}", peer.name, peer.value)
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::figure::{Figure, Target, Unit};
    use crate::machine::Machine;
    use expect_test::expect;

    fn report() -> Report {
        let machine = Machine {
            processor: "Some CPU".into(),
            processors: 2,
            memory_mebibytes: 24105,
            kernel: "6.18".into(),
            date: "2026-11-23".into(),
            version: "v0.1.0 (abcdef12)".into(),
            build: "release",
        };
        let figures = vec![
            Figure::new("CNI ADD, median", 12.34, Unit::Milliseconds, 200)
                .wanted(Target::AtMost(20.0))
                .beside("bridge", 8.76)
                .beside_calico("87 ms"),
            Figure::new("VXLAN, of by hand", 0.9, Unit::Ratio, 10).wanted(Target::AtLeast(0.95)),
            Figure::new("lab down", 0.44, Unit::Seconds, 5),
        ];
        Report { machine, figures, failures: vec!["cni: lab up: no\netcd".into()] }
    }

    #[test]
    fn a_terminal_gets_a_table() {
        expect![[r#"
            Some CPU, 2 processors, 24 GiB of memory, Linux 6.18, 2026-11-23; calico v0.1.0 (abcdef12), release build

            what                target    ours               others                                             n
            CNI ADD, median     ≤ 20 ms   12.3 ms   met      bridge 8.8 ms; Calico 87 ms, measured separately   200
            VXLAN, of by hand   ≥ 95 %    90.0 %    missed                                                      10
            lab down                      0.44 s                                                                5
            FAILED cni: lab up: no
            etcd
        "#]].assert_eq(&report().to_table());
    }

    #[test]
    fn the_page_holds_machine_figures_and_failures() {
        let page = report().to_markdown();
        assert!(!page.contains('{'), "a place of the page was not filled:\n{page}");
        let (top, _) = page.split_once("## How").unwrap();
        let lines: Vec<&str> = top.lines().filter(|line| line.starts_with(['|', ' '])).collect();
        expect![[r#"
            | what | target | ours |  | others | n |
            |---|---|---|---|---|---|
            | CNI ADD, median | ≤ 20 ms | 12.3 ms | met | bridge 8.8 ms; Calico 87 ms, measured separately | 200 |
            | VXLAN, of by hand | ≥ 95 % | 90.0 % | **missed** |  | 10 |
            | lab down |  | 0.44 s |  |  | 5 |
                cni: lab up: no
                etcd
        "#]].assert_eq(&(lines.join("\n") + "\n"));
    }

    #[test]
    fn programs_get_numbers() {
        let value: serde_json::Value = serde_json::from_str(&report().to_json().unwrap()).unwrap();
        let figure = serde_json::json!({
            "what": "VXLAN, of by hand", "value": 0.9, "unit": "ratio",
            "target": {"atLeast": 0.95}, "met": false, "count": 10,
        });
        assert_eq!(value["figures"][1], figure);
        assert_eq!(value["machine"]["memoryMebibytes"], 24105);
    }
}

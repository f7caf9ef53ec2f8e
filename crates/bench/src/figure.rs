//! One number of a report: what was measured, what was wanted, what others do.

use crate::samples::Samples;
use serde::Serialize;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// Thousandths of a second.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Millionths of a second.
    #[serde(rename = "µs")]
    Microseconds,
    /// 2²⁰ bytes.
    #[serde(rename = "MiB")]
    Mebibytes,
    /// 10⁶ bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// 10⁹ bits per second.
    #[serde(rename = "Gbit/s")]
    GigabitsPerSecond,
    /// Ours by the peer's.
    #[serde(rename = "ratio")]
    Ratio,
}

/// What was wanted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum Target {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// What something else does at the same task.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Peer {
    /// Who.
    pub name: String,
    /// Its number, in the figure's unit, or a range; as text, unit included.
    pub value: String,
    /// Measured in the same run, on the same machine.
    pub same_run: bool,
}

/// One number of a report.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figure {
    /// What was measured.
    pub what: String,
    /// The number.
    pub value: f64,
    /// What it counts.
    pub unit: Unit,
    /// What was wanted, if anything was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// Whether it was met.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub met: Option<bool>,
    /// What others do.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub peers: Vec<Peer>,
    /// Measurements that the number sums up.
    pub count: usize,
}

impl Unit {
    /// A number with its unit, at the precision that such measurements have.
    pub fn show(self, value: f64) -> String {
        match self {
            Unit::Seconds if value < 0.995 => format!("{value:.2} s"),
            Unit::Seconds => format!("{value:.1} s"),
            Unit::Milliseconds if value < 99.95 => format!("{value:.1} ms"),
            Unit::Milliseconds => format!("{value:.0} ms"),
            Unit::Microseconds => format!("{value:.1} µs"),
            Unit::Mebibytes => format!("{value:.1} MiB"),
            Unit::Megabytes => format!("{value:.1} MB"),
            Unit::GigabitsPerSecond => format!("{value:.2} Gbit/s"),
            Unit::Ratio => format!("{:.1} %", value * 100.0),
        }
    }
}

impl Target {
    fn is_met_by(self, value: f64) -> bool {
        match self {
            Target::AtMost(limit) => value <= limit,
            Target::AtLeast(limit) => value >= limit,
        }
    }

    /// As `≤ 20 ms`.
    pub fn show(self, unit: Unit) -> String {
        let (sign, limit) = match self {
            Target::AtMost(limit) => ('≤', limit),
            Target::AtLeast(limit) => ('≥', limit),
        };
        match unit {
            Unit::Ratio => format!("{sign} {:.0} %", limit * 100.0),
            unit => {
                let text = unit.show(limit);
                format!("{sign} {}", text.replacen(".0 ", " ", 1))
            }
        }
    }
}

impl Figure {
    /// A number of `count` measurements, without target or peers.
    pub(crate) fn new(what: impl Into<String>, value: f64, unit: Unit, count: usize) -> Figure {
        let (target, met, peers) = (None, None, Vec::new());
        Figure { what: what.into(), value, unit, target, met, peers, count }
    }

    /// The median of measurements.
    pub(crate) fn median(what: &str, samples: &Samples, unit: Unit) -> Figure {
        Figure::new(format!("{what}, median"), samples.median(), unit, samples.count())
    }

    /// The 99th percentile of measurements.
    pub(crate) fn p99(what: &str, samples: &Samples, unit: Unit) -> Figure {
        Figure::new(format!("{what}, p99"), samples.percentile(99), unit, samples.count())
    }

    /// The largest of measurements.
    pub(crate) fn max(what: &str, samples: &Samples, unit: Unit) -> Figure {
        Figure::new(format!("{what}, max"), samples.max(), unit, samples.count())
    }

    /// Judged by a target.
    pub(crate) fn wanted(mut self, target: Target) -> Figure {
        self.met = Some(target.is_met_by(self.value));
        self.target = Some(target);
        self
    }

    /// Beside a peer measured in the same run.
    pub(crate) fn beside(mut self, name: &str, value: f64) -> Figure {
        let value = self.unit.show(value);
        self.peers.push(Peer { name: name.into(), value, same_run: true });
        self
    }

    /// Beside Calico v3.34-dev as measured on another day (`baseline-calico.md` of this project).
    pub(crate) fn beside_calico(self, value: &str) -> Figure {
        self.beside_elsewhere("Calico", value)
    }

    /// Beside a peer measured on another day, or by others.
    pub(crate) fn beside_elsewhere(mut self, name: &str, value: &str) -> Figure {
        self.peers.push(Peer { name: name.into(), value: value.into(), same_run: false });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Target, Unit};

    #[test]
    fn targets_include_their_limit() {
        for (target, value, met) in [
            (Target::AtMost(20.0), 20.0, true),
            (Target::AtMost(20.0), 20.1, false),
            (Target::AtLeast(0.95), 0.95, true),
            (Target::AtLeast(0.95), 0.94, false),
        ] {
            let figure = Figure::new("x", value, Unit::Milliseconds, 1).wanted(target);
            assert_eq!(figure.met, Some(met), "{target:?} of {value}");
        }
    }

    #[test]
    fn numbers_have_the_precision_of_their_unit() {
        let shown = [
            (Unit::Seconds, 4.26),
            (Unit::Milliseconds, 4.26),
            (Unit::Milliseconds, 87.4),
            (Unit::Megabytes, 11.62),
            (Unit::Ratio, 0.9876),
        ]
        .map(|(unit, value)| unit.show(value));
        assert_eq!(shown, ["4.3 s", "4.3 ms", "87.4 ms", "11.6 MB", "98.8 %"]);
        assert_eq!(Target::AtMost(25.0).show(Unit::Megabytes), "≤ 25 MB");
        assert_eq!(Target::AtLeast(0.95).show(Unit::Ratio), "≥ 95 %");
    }
}

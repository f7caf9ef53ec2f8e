//! The policy graph's time and memory.

use super::cost;
use crate::figure::{Figure, Target, Unit};
use crate::inside::policy::Scenario;
use anyhow::Result;

const MEGA: f64 = 1e6;

/// What is wanted of a scenario, and what others need for the same.
struct Wanted {
    seconds: f64,
    /// Megabytes live; of `namespaces-25k`, as of Antrea's figures, at the peak.
    megabytes: f64,
    other: &'static str,
    others_seconds: &'static str,
    others_megabytes: &'static str,
}

fn wanted(scenario: Scenario) -> Wanted {
    let felix = |seconds, megabytes, others_seconds, others_megabytes| Wanted {
        seconds,
        megabytes,
        other: "Calico",
        others_seconds,
        others_megabytes,
    };
    match scenario {
        Scenario::Snapshot => felix(1.5, 150.0, "6.39 s", "283 MB"),
        Scenario::Isolated => felix(1.5, 150.0, "8.5–8.9 s", "314 MB"),
        Scenario::NetworkSets => felix(2.0, 200.0, "12–14 s", "792 MB"),
        Scenario::SnapshotThenDelete => felix(1.8, 120.0, "8.4 s", "200 MB"),
        Scenario::Namespaces => Wanted {
            seconds: 2.0,
            megabytes: 600.0,
            other: "Antrea",
            others_seconds: "5.8–6.4 s",
            others_megabytes: "1.5–1.7 GB",
        },
        Scenario::LabelChange => felix(0.000_1, 0.0, "2.3 ms", ""),
    }
}

/// A scenario's time and memory.
///
/// # Errors
/// It fails, or takes too long.
pub(crate) fn measure(scenario: Scenario) -> Result<Vec<Figure>> {
    let cost = cost("policy", &scenario.name())?;
    let wanted = wanted(scenario);
    let figure = |what: &str, value, unit| {
        Figure::new(format!("policy {}, {what}", cost.scenario), value, unit, 1)
    };
    if scenario == Scenario::LabelChange {
        let seconds = figure("median", cost.seconds * 1e3, Unit::Milliseconds);
        let seconds = seconds.wanted(Target::AtMost(wanted.seconds * 1e3));
        return Ok(vec![seconds.beside_elsewhere(wanted.other, wanted.others_seconds)]);
    }
    let (memory, bytes) = match scenario {
        Scenario::Namespaces => ("allocated at most", cost.peak_bytes),
        _ => ("allocated after it", cost.live_bytes),
    };
    #[expect(clippy::cast_precision_loss, reason = "bytes, shown as megabytes")]
    let megabytes = bytes as f64 / MEGA;
    Ok(vec![
        figure("time", cost.seconds, Unit::Seconds)
            .wanted(Target::AtMost(wanted.seconds))
            .beside_elsewhere(wanted.other, wanted.others_seconds),
        figure("processor time", cost.cpu_seconds, Unit::Seconds),
        figure(memory, megabytes, Unit::Megabytes)
            .wanted(Target::AtMost(wanted.megabytes))
            .beside_elsewhere(wanted.other, wanted.others_megabytes),
    ])
}

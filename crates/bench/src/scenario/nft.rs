//! nf_tables: from an update to the kernel, and a whole table read and compared.

use super::cost;
use crate::figure::{Figure, Target, Unit};
use crate::inside::nft::Scenario;
use anyhow::Result;

/// A scenario's time and memory.
///
/// # Errors
/// It fails, or takes too long.
pub(crate) fn measure(scenario: Scenario) -> Result<Vec<Figure>> {
    let wanted = match scenario {
        Scenario::Member => Some((0.5, "18 ms")),
        Scenario::MemberOf100 => Some((0.5, "8.4 ms")),
        Scenario::Rule => Some((1.0, "24 ms")),
        Scenario::RuleReached => None,
        Scenario::Resync => Some((500.0, "6.15 s")),
    };
    let cost = cost("nft", &scenario.name())?;
    let name = &cost.scenario;
    #[expect(clippy::cast_precision_loss, reason = "bytes, shown as megabytes")]
    let megabytes = cost.live_bytes as f64 / 1e6;
    let time = Figure::new(format!("nft {name}, time"), cost.seconds * 1e3, Unit::Milliseconds, 1);
    let time = match wanted {
        Some((limit, felix)) => time.wanted(Target::AtMost(limit)).beside_calico(felix),
        None => time,
    };
    Ok(vec![time, Figure::new(format!("nft {name}, allocated"), megabytes, Unit::Megabytes, 1)])
}

//! TCP streams measured by iperf3.

use anyhow::{Context, Result};
use serde_json::Value;

/// The words that start a server.
pub(crate) const SERVER: [&str; 2] = ["iperf3", "-s"];

/// What the receiver got, in Gbit/s, from a client's report (`iperf3 -J`).
///
/// # Errors
/// It isn't JSON, or of a client that failed.
pub(crate) fn gigabits(report: &str) -> Result<f64> {
    let report: Value = serde_json::from_str(report).context("iperf3's report isn't JSON")?;
    let bits = report["end"]["sum_received"]["bits_per_second"].as_f64();
    bits.map(|bits| bits / 1e9).context("iperf3's report says nothing of what was received")
}

#[cfg(test)]
mod tests {
    use super::gigabits;

    #[test]
    fn what_the_receiver_got_counts() {
        let report = r#"{"end": {"sum_sent": {"bits_per_second": 9e9},
                                 "sum_received": {"bits_per_second": 8.5e9}}}"#;
        assert_eq!(gigabits(report).unwrap(), 8.5);
        let error = gigabits(r#"{"error": "unable to connect"}"#).unwrap_err();
        assert!(error.to_string().contains("nothing of what was received"), "{error}");
    }
}

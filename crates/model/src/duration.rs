//! Durations as Calico writes them: Go's `1h30m` in resources, seconds in the environment.

use std::time::Duration;

/// The units of Go's `time.ParseDuration`, in nanoseconds.
const UNITS: [(&str, f64); 8] = [
    ("ns", 1.0),
    ("us", 1e3),
    ("µs", 1e3),
    ("μs", 1e3),
    ("ms", 1e6),
    ("h", 3.6e12),
    ("m", 6e10),
    ("s", 1e9),
];

/// Reads a Go duration such as `90s`, `1h30m` or `1.5s`; `None` for anything else, and for a
/// negative one.
pub fn parse(text: &str) -> Option<Duration> {
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut total = Duration::ZERO;
    loop {
        let number = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let value: f64 = rest[..number].parse().ok()?;
        rest = &rest[number..];
        let (unit, nanoseconds) = UNITS.iter().find(|(unit, _)| rest.starts_with(unit))?;
        let part = Duration::try_from_secs_f64(value * nanoseconds / 1e9).ok()?;
        total = total.checked_add(part)?;
        rest = &rest[unit.len()..];
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// Reads seconds, whole or with a fraction; `None` for anything else, and for a negative number.
pub(crate) fn parse_seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.trim().parse().ok()?).ok()
}

/// Writes a duration as Go does: `1m30s`, `1.5s`, `0s`.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let fraction = duration.subsec_nanos();
    if hours == 0 && minutes == 0 && seconds == 0 && fraction > 0 {
        let (unit, digits) = match fraction {
            1_000_000.. => ("ms", 6),
            1_000.. => ("µs", 3),
            _ => ("ns", 0),
        };
        return format!("{}{unit}", decimal(u64::from(fraction), digits));
    }
    let seconds = decimal(seconds * 1_000_000_000 + u64::from(fraction), 9);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

// `value` with its last `digits` digits behind the point, without trailing zeros.
fn decimal(value: u64, digits: usize) -> String {
    let scale = 10u64.pow(digits as u32);
    let fraction = format!("{:0digits$}", value % scale);
    let fraction = if digits == 0 { "" } else { fraction.trim_end_matches('0') };
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}", value / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_what_go_does() {
        for (text, nanoseconds, canonical) in [
            ("0", 0u64, "0s"),
            ("0s", 0, "0s"),
            ("90s", 90_000_000_000, "1m30s"),
            ("1h30m", 5_400_000_000_000, "1h30m0s"),
            ("1.5s", 1_500_000_000, "1.5s"),
            ("+1m0.25s", 60_250_000_000, "1m0.25s"),
            ("300ms", 300_000_000, "300ms"),
            ("1500us", 1_500_000, "1.5ms"),
            ("7µs", 7_000, "7µs"),
            ("12ns", 12, "12ns"),
        ] {
            let parsed = parse(text).unwrap();
            assert_eq!(parsed, Duration::from_nanos(nanoseconds), "{text}");
            assert_eq!(format(parsed), canonical);
        }
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "5", "-1s", "s", "1x", "1.2.3s", "1s ", "0s5", "99999999999999999999h"] {
            assert_eq!(parse(text), None, "{text}");
        }
        for text in ["", "-1", "nan", "inf", "1s"] {
            assert_eq!(parse_seconds(text), None, "{text}");
        }
        assert_eq!(parse_seconds("0.5"), Some(Duration::from_millis(500)));
    }

    proptest::proptest! {
        #[test]
        fn written_durations_read_back(millis in 0u64..1_000_000_000) {
            let duration = Duration::from_millis(millis);
            proptest::prop_assert_eq!(parse(&format(duration)), Some(duration));
        }
    }
}

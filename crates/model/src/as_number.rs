//! Autonomous system numbers.

use serde::{Deserialize, Deserializer, Serialize};

/// A 32-bit AS number (RFC 6793). Written as a plain decimal; read as decimal or `high.low`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct AsNumber(pub u32);

/// The text is no AS number.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an AS number: write 0–4294967295, or two numbers 0–65535 as in 1.10")]
pub struct AsNumberError(String);

impl std::str::FromStr for AsNumber {
    type Err = AsNumberError;

    fn from_str(text: &str) -> Result<AsNumber, AsNumberError> {
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        let number = match text.split_once('.') {
            Some((high, low)) if digits(high) && digits(low) => {
                let parts = (high.parse::<u16>().ok(), low.parse::<u16>().ok());
                parts.0.zip(parts.1).map(|(high, low)| u32::from(high) << 16 | u32::from(low))
            }
            None if digits(text) => text.parse().ok(),
            _ => None,
        };
        number.map(AsNumber).ok_or_else(|| AsNumberError(text.to_owned()))
    }
}

impl std::fmt::Display for AsNumber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

impl schemars::JsonSchema for AsNumber {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "AsNumber".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        crate::definitions::number_or_text("An AS number, decimal or dotted.")
    }
}

impl<'de> Deserialize<'de> for AsNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<AsNumber, D::Error> {
        use serde::de::Error;
        // YAML reads `1.10` as the number 1.1, so a dotted one must be quoted, as for Calico.
        match serde_json::Value::deserialize(deserializer)? {
            serde_json::Value::String(text) => text.parse().map_err(D::Error::custom),
            serde_json::Value::Number(number) if number.is_f64() => {
                let error = AsNumberError(number.to_string());
                Err(D::Error::custom(format!("{error}; put a dotted one in quotes")))
            }
            other => other.to_string().parse().map_err(D::Error::custom),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms_and_writes_one() {
        for (text, number) in [
            ("0", 0),
            ("64512", 64512),
            ("4294967295", u32::MAX),
            ("1.10", 65546),
            ("65535.65535", u32::MAX),
        ] {
            let parsed: AsNumber = text.parse().unwrap();
            assert_eq!(parsed, AsNumber(number));
            assert_eq!(parsed.to_string(), number.to_string());
            let json: AsNumber = serde_json::from_str(&format!("\"{text}\"")).unwrap();
            assert_eq!(serde_json::to_string(&json).unwrap(), number.to_string());
        }
        assert_eq!(serde_json::from_str::<AsNumber>("64513").unwrap(), AsNumber(64513));
    }

    #[test]
    fn refuses_the_rest() {
        for text in ["", "-1", "+1", "4294967296", "1.65536", "65536.1", "1.", ".1", "1.2.3", "a"] {
            assert!(text.parse::<AsNumber>().is_err(), "{text}");
        }
        let error = serde_json::from_str::<AsNumber>("1.5").unwrap_err().to_string();
        assert!(error.contains("quotes"), "{error}");
    }
}

//! What parameters take, and a value as read.

use super::failsafe;
use crate::{AsNumber, EncapsulationMode, Selector, duration};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// How many bits of packets' marks the dataplane needs at least.
const MARK_BITS_MIN: u32 = 8;

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueType {
    /// true or false, in any case.
    Bool,
    /// A whole number within bounds, both included.
    Integer(i64, i64),
    /// Seconds, perhaps with a fraction; a Go duration in FelixConfiguration.
    Seconds,
    /// Milliseconds; a Go duration in FelixConfiguration.
    Milliseconds,
    /// A Go duration.
    GoDuration,
    /// One of some words, in any case.
    Choice(&'static [&'static str]),
    /// Any text.
    Text,
    /// A regular expression.
    Pattern,
    /// An IPv4 address.
    Ipv4,
    /// An IPv6 address.
    Ipv6,
    /// Starts of interface names, comma-separated.
    InterfacePrefixes,
    /// A selector.
    Selector,
    /// An AS number, decimal or dotted.
    AsNumber,
    /// Protocols and ports, comma-separated; a list of objects in FelixConfiguration.
    FailsafePorts,
    /// A mask of at least 8 bits of 32, decimal or hexadecimal.
    MarkMask,
    /// A list or an object of its own form, which is kept as it stands.
    Structured,
}

/// A value as read, not yet of the parameter's Rust type.
#[derive(Clone, Debug, PartialEq)]
pub enum Setting {
    /// Nobody set it and it has no default.
    Unset,
    /// A truth value.
    Bool(bool),
    /// A number within the parameter's bounds.
    Integer(i64),
    /// A length of time.
    Duration(Duration),
    /// Words, addresses, patterns.
    Text(String),
}

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Setting::Unset => f.write_str("unset"),
            Setting::Bool(value) => value.fmt(f),
            Setting::Integer(value) => value.fmt(f),
            Setting::Duration(value) => f.write_str(&duration::format(*value)),
            Setting::Text(value) => f.write_str(value),
        }
    }
}

impl ValueType {
    /// What it takes, to end the sentence "it takes …".
    pub fn describe(&self) -> String {
        match self {
            ValueType::Bool => "true or false".to_owned(),
            ValueType::Integer(i64::MIN, i64::MAX) => "a whole number".to_owned(),
            ValueType::Integer(min, i64::MAX) => format!("a whole number of at least {min}"),
            ValueType::Integer(min, max) => format!("a whole number from {min} to {max}"),
            ValueType::Seconds => "seconds, or a duration such as 90s in YAML".to_owned(),
            ValueType::Milliseconds => {
                "milliseconds, or a duration such as 50ms in YAML".to_owned()
            }
            ValueType::GoDuration => "a duration such as 90s".to_owned(),
            ValueType::Choice(words) => crate::validate::fields::one_of(words),
            ValueType::Text => "a text".to_owned(),
            ValueType::Pattern => "a regular expression".to_owned(),
            ValueType::Ipv4 => "an IPv4 address".to_owned(),
            ValueType::Ipv6 => "an IPv6 address".to_owned(),
            ValueType::InterfacePrefixes => {
                "starts of interface names (1–15 letters, digits, `_`, `-`), comma-separated"
                    .to_owned()
            }
            ValueType::Selector => "a selector".to_owned(),
            ValueType::AsNumber => "an AS number such as 64512 or 1.10".to_owned(),
            ValueType::FailsafePorts => {
                "ports such as tcp:22,udp:10.0.0.0/8:68; in YAML a list of {protocol, port, net}"
                    .to_owned()
            }
            ValueType::MarkMask => format!("a 32-bit mask of at least {MARK_BITS_MIN} bits"),
            ValueType::Structured => "a list or an object".to_owned(),
        }
    }

    /// What `none` stands for.
    pub(super) fn zero(&self) -> Setting {
        match self {
            ValueType::Bool => Setting::Bool(false),
            ValueType::Integer(..) | ValueType::MarkMask => Setting::Integer(0),
            ValueType::Seconds | ValueType::Milliseconds | ValueType::GoDuration => {
                Setting::Duration(Duration::ZERO)
            }
            _ => Setting::Unset,
        }
    }

    /// Reads the environment's form.
    pub(super) fn parse_text(&self, text: &str) -> Result<Setting, String> {
        let text_if = |right: bool| right.then(|| Setting::Text(text.to_owned()));
        let read = match self {
            ValueType::Bool => parse_bool(text).map(Setting::Bool),
            ValueType::Integer(min, max) => {
                parse_integer(text).filter(|n| (min..=max).contains(&n)).map(Setting::Integer)
            }
            ValueType::Seconds => duration::parse_seconds(text).map(Setting::Duration),
            ValueType::Milliseconds => {
                duration::parse_seconds(text).map(|millis| Setting::Duration(millis / 1000))
            }
            ValueType::GoDuration => duration::parse(text).map(Setting::Duration),
            ValueType::Choice(words) => words
                .iter()
                .find(|word| word.eq_ignore_ascii_case(text))
                .map(|word| Setting::Text((*word).to_owned())),
            ValueType::Text | ValueType::Structured => text_if(true),
            ValueType::Pattern => text_if(regex::Regex::new(text).is_ok()),
            ValueType::Ipv4 => text_if(text.parse::<Ipv4Addr>().is_ok()),
            ValueType::Ipv6 => text_if(text.parse::<Ipv6Addr>().is_ok()),
            ValueType::AsNumber => text_if(text.parse::<AsNumber>().is_ok()),
            ValueType::InterfacePrefixes => text_if(text.split(',').all(is_interface_prefix)),
            ValueType::FailsafePorts => text_if(failsafe::parse_list(text).is_some()),
            ValueType::MarkMask => parse_integer(text).filter(is_mark_mask).map(Setting::Integer),
            ValueType::Selector => match Selector::parse(text) {
                Ok(_) => text_if(true),
                Err(error) => return Err(error.to_string()),
            },
        };
        read.ok_or_else(|| format!("it takes {}", self.describe()))
    }

    /// Reads a resource's form; null is unset.
    pub(super) fn parse_json(&self, value: &serde_json::Value) -> Result<Setting, String> {
        use serde_json::Value as Json;
        let wrong = || format!("it takes {}", self.describe());
        match (self, value) {
            (_, Json::Null) => Ok(Setting::Unset),
            (ValueType::Bool, Json::Bool(value)) => Ok(Setting::Bool(*value)),
            (ValueType::Integer(..) | ValueType::MarkMask, Json::Number(number)) => {
                self.parse_text(&number.to_string())
            }
            (ValueType::Bool | ValueType::Integer(..) | ValueType::MarkMask, _) => Err(wrong()),
            (ValueType::FailsafePorts, list) => {
                failsafe::list_to_text(list).map(Setting::Text).ok_or_else(wrong)
            }
            (ValueType::Seconds | ValueType::Milliseconds, Json::String(text)) => {
                ValueType::GoDuration.parse_text(text)
            }
            (ValueType::Structured, value) => Ok(Setting::Text(match value {
                Json::String(text) => text.clone(),
                other => other.to_string(),
            })),
            (_, Json::String(text)) => self.parse_text(text),
            _ => Err(wrong()),
        }
    }
}

// Felix's own reading: these words, in any case.
fn parse_bool(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "y" | "t" => Some(true),
        "false" | "0" | "no" | "n" | "f" => Some(false),
        _ => None,
    }
}

fn parse_integer(text: &str) -> Option<i64> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    match digits.strip_prefix("0x").or(digits.strip_prefix("0X")) {
        Some(hex) if !hex.starts_with(['+', '-']) => {
            i64::from_str_radix(hex, 16).ok().map(|n| sign * n)
        }
        Some(_) => None,
        None => text.parse().ok(),
    }
}

fn is_mark_mask(mask: &i64) -> bool {
    u32::try_from(*mask).is_ok_and(|mask| mask.count_ones() >= MARK_BITS_MIN)
}

fn is_interface_prefix(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
}

/// A type that a parameter's value can have.
pub trait FromSetting: Sized {
    /// The value, or `None` where the setting is of another kind.
    fn from_setting(setting: &Setting) -> Option<Self>;
}

impl FromSetting for bool {
    fn from_setting(setting: &Setting) -> Option<bool> {
        if let Setting::Bool(value) = setting { Some(*value) } else { None }
    }
}

macro_rules! from_integer {
    ($($integer:ty),*) => {$(
        impl FromSetting for $integer {
            fn from_setting(setting: &Setting) -> Option<$integer> {
                if let Setting::Integer(value) = setting { (*value).try_into().ok() } else { None }
            }
        }
    )*};
}
from_integer!(u8, u16, u32, i32, i64);

macro_rules! from_text {
    ($($parsed:ty),*) => {$(
        impl FromSetting for $parsed {
            fn from_setting(setting: &Setting) -> Option<$parsed> {
                if let Setting::Text(text) = setting { text.parse().ok() } else { None }
            }
        }
    )*};
}
from_text!(AsNumber, IpAddr, Ipv4Addr, Ipv6Addr, regex::Regex, Selector);

impl FromSetting for Duration {
    fn from_setting(setting: &Setting) -> Option<Duration> {
        if let Setting::Duration(value) = setting { Some(*value) } else { None }
    }
}

/// Unset is the empty text.
impl FromSetting for String {
    fn from_setting(setting: &Setting) -> Option<String> {
        match setting {
            Setting::Text(text) => Some(text.clone()),
            Setting::Unset => Some(String::new()),
            _ => None,
        }
    }
}

/// Comma-separated; unset is the empty list.
impl FromSetting for Vec<String> {
    fn from_setting(setting: &Setting) -> Option<Vec<String>> {
        let text = String::from_setting(setting)?;
        Some(text.split(',').map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned).collect())
    }
}

/// Unset is `None`.
impl<T: FromSetting> FromSetting for Option<T> {
    fn from_setting(setting: &Setting) -> Option<Option<T>> {
        if *setting == Setting::Unset { Some(None) } else { T::from_setting(setting).map(Some) }
    }
}

impl FromSetting for EncapsulationMode {
    fn from_setting(setting: &Setting) -> Option<EncapsulationMode> {
        match String::from_setting(setting)?.as_str() {
            "Always" => Some(EncapsulationMode::Always),
            "CrossSubnet" | "cross-subnet" => Some(EncapsulationMode::CrossSubnet),
            "Never" | "Off" => Some(EncapsulationMode::Never),
            _ => None,
        }
    }
}

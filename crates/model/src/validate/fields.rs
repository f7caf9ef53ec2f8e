//! Checks that several kinds share: names, labels, addresses, selectors, durations, choices.

use crate::{Problems, Selector, duration};
use std::collections::BTreeMap;
use std::net::IpAddr;

pub(crate) const NAME_RULE: &str = "a name takes lower-case letters, digits, `-` and `.`, begins \
    and ends with a letter or digit, and has at most 253 characters";
pub(crate) const DNS_LABEL_RULE: &str = "a namespace takes lower-case letters, digits and `-`, \
    begins and ends with a letter or digit, and has at most 63 characters";
pub(crate) const INTERFACE_RULE: &str =
    "an interface name takes 1–15 letters, digits, `_`, `.` and `-`";

/// Whether a text is a DNS-1123 subdomain, as the names of most resources must be.
pub fn is_name(text: &str) -> bool {
    text.len() <= 253 && !text.is_empty() && text.split('.').all(is_subdomain_part)
}

pub(crate) fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_subdomain_part(text)
}

fn is_subdomain_part(part: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|b| b != b'-');
    part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && edge(part.bytes().next())
        && edge(part.bytes().last())
}

pub(crate) fn is_interface(text: &str) -> bool {
    (1..=15).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b))
}

/// Kubernetes' rule for a label's or annotation's key: `[<subdomain>/]<name of at most 63>`.
pub(crate) fn label_key(field: &str, key: &str, problems: &mut Problems) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let prefix_fits = prefix.is_none_or(|p| is_name(&p.to_ascii_lowercase()));
    if !prefix_fits || name.is_empty() || !is_label_text(name) {
        problems.add(
            field,
            key,
            "a key is a name of at most 63 letters, digits, `-`, `_` and `.`, \
             perhaps after a domain and `/`",
        );
    }
}

pub(crate) fn labels(field: &str, labels: &BTreeMap<String, String>, problems: &mut Problems) {
    for (key, value) in labels {
        label_key(field, key, problems);
        if !is_label_text(value) {
            problems.add(
                format!("{field}.{key}"),
                value,
                "a value takes at most 63 letters, digits, `-`, `_` and `.`, and begins and ends \
                 with a letter or digit",
            );
        }
    }
}

// A label's value, which may be empty, or the name of its key.
fn is_label_text(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| c.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        && edge(text.chars().next())
        && edge(text.chars().last())
}

/// Reads a selector that is given; reports one that is none.
pub(crate) fn selector(field: &str, text: &str, problems: &mut Problems) -> Option<Selector> {
    Selector::parse(text).map_err(|error| problems.add(field, text, error.to_string())).ok()
}

pub(crate) fn address(field: &str, text: &str, problems: &mut Problems) -> Option<IpAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        problems.add(field, text, "write an IPv4 or IPv6 address without a prefix length");
    }
    address
}

pub(crate) fn go_duration(field: &str, text: Option<&String>, problems: &mut Problems) {
    if let Some(text) = text.filter(|text| duration::parse(text).is_none()) {
        problems.add(field, text, "write a duration such as 90s, 5m or 1h30m");
    }
}

/// One of several words, exactly.
pub(crate) fn choice(field: &str, text: Option<&String>, of: &[&str], problems: &mut Problems) {
    if let Some(text) = text.filter(|text| !of.contains(&text.as_str())) {
        problems.add(field, text, format!("it takes {}", one_of(of)));
    }
}

/// `a, b or c`.
pub(crate) fn one_of(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// `{secretKeyRef: {name, key}}`, both given.
pub(crate) fn secret(field: &str, value: Option<&serde_json::Value>, problems: &mut Problems) {
    let Some(value) = value else { return };
    let text = |key: &str| {
        value.get("secretKeyRef").and_then(|r| r.get(key)).and_then(serde_json::Value::as_str)
    };
    if text("name").is_none_or(str::is_empty) || text("key").is_none_or(str::is_empty) {
        problems.add(field, value, "write secretKeyRef: {name: <Secret>, key: <key in it>}");
    }
}

/// Reads a MAC of six hexadecimal octets.
pub(crate) fn parse_mac(text: &str) -> Option<[u8; 6]> {
    let mut mac = [0; 6];
    let mut octets = text.split([':', '-']);
    for byte in &mut mac {
        let octet = octets.next().filter(|o| o.len() == 2 && !o.starts_with('+'))?;
        *byte = u8::from_str_radix(octet, 16).ok()?;
    }
    octets.next().is_none().then_some(mac)
}

pub(crate) fn mac(field: &str, text: &str, problems: &mut Problems) {
    if parse_mac(text).is_none() {
        problems.add(field, text, "write a MAC address such as ee:ee:ee:ee:ee:ee");
    }
}

/// An address or prefix with the address's host bits allowed, as a node's own address has.
pub(crate) fn network_address(text: &str) -> Option<ipnet::IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(ipnet::IpNet::from))
}

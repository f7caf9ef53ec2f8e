//! `usePodCidr`: what host-local's configuration says in place of the ranges that Kubernetes has given
//! the node's pods (`calico-features.md` §5.3).

use crate::configuration::{Configuration, HOST_LOCAL};
use crate::error::{Code, Error};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde_json::Value;

/// The words for the IPv4 and the IPv6 range, in any case.
const WORDS: [(&str, bool); 2] = [("usePodCidr", true), ("usePodCidrIPv6", false)];

/// Whether a configuration has these words where host-local has ranges.
pub(crate) fn is_wanted(configuration: &Configuration) -> bool {
    let mut ipam = configuration.object.get("ipam").cloned().unwrap_or_default();
    let mut wanted = false;
    let host_local = ipam["type"] == HOST_LOCAL;
    subnets(&mut ipam, |subnet| {
        wanted |= family(subnet).is_some();
        Ok(())
    })
    .is_ok()
        && host_local
        && wanted
}

/// The configuration with the ranges in place of the words.
///
/// # Errors
/// Code 7 where the node has no range of a family.
pub(crate) fn filled_in(
    configuration: &Configuration,
    ranges: &[IpNet],
) -> Result<Configuration, Error> {
    let mut filled = configuration.clone();
    if let Some(ipam) = filled.object.get_mut("ipam") {
        subnets(ipam, |subnet| {
            let Some(ipv4) = family(subnet) else { return Ok(()) };
            let range = ranges.iter().find(|range| range.addr().is_ipv4() == ipv4);
            let range = range.ok_or_else(|| missing(&configuration.name, ipv4, ranges))?;
            *subnet = range.to_string().into();
            Ok(())
        })?;
    }
    filled.text = Value::Object(filled.object.clone()).to_string().into_bytes();
    Ok(filled)
}

/// The same where it does not matter which ranges: host-local takes addresses back by container.
///
/// # Errors
/// None.
pub(crate) fn with_any(configuration: &Configuration) -> Result<Configuration, Error> {
    filled_in(configuration, &[Ipv4Net::default().into(), Ipv6Net::default().into()])
}

fn missing(network: &str, ipv4: bool, ranges: &[IpNet]) -> Error {
    let family = if ipv4 { "IPv4" } else { "IPv6" };
    let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
    let message = format!(
        "network {network}: usePodCidr stands for the node's {family} range, and of spec.podCIDRs \
         of the Node ({}) none is: give kube-controller-manager one by --cluster-cidr, or take the \
         subnet out of the file below /etc/cni/net.d",
        ranges.join(", ")
    );
    Error::new(Code::Configuration, message)
}

/// The family whose range a subnet stands for, if it is one of the words.
fn family(subnet: &Value) -> Option<bool> {
    let text = subnet.as_str()?;
    WORDS.iter().find(|(word, _)| word.eq_ignore_ascii_case(text)).map(|(_, ipv4)| *ipv4)
}

/// Visits `subnet` and each `ranges[][].subnet` of the key `ipam`.
fn subnets(
    ipam: &mut Value,
    mut visit: impl FnMut(&mut Value) -> Result<(), Error>,
) -> Result<(), Error> {
    if let Some(subnet) = ipam.get_mut("subnet") {
        visit(subnet)?;
    }
    let sets = ipam.get_mut("ranges").and_then(Value::as_array_mut).into_iter().flatten();
    for range in sets.filter_map(Value::as_array_mut).flatten() {
        if let Some(subnet) = range.get_mut("subnet") {
            visit(subnet)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(ipam: Value) -> Configuration {
        let text = json!({"cniVersion": "1.0.0", "name": "n", "type": "calico", "ipam": ipam});
        Configuration::parse(text.to_string().as_bytes()).expect("a configuration")
    }

    fn filled(ipam: Value, ranges: &[&str]) -> Result<Value, String> {
        let ranges: Vec<IpNet> = ranges.iter().map(|range| range.parse().expect("one")).collect();
        let filled = filled_in(&configuration(ipam), &ranges);
        let filled = filled.map_err(|error| error.to_string())?;
        let text: Value = serde_json::from_slice(&filled.text).expect("JSON");
        assert_eq!(text["ipam"], filled.object["ipam"]);
        Ok(text["ipam"].clone())
    }

    #[test]
    fn the_words_are_replaced_wherever_host_local_has_ranges() {
        let both = ["10.244.1.0/24", "fd00:244:0:1::/64"];
        let subnet = json!({"type": "host-local", "subnet": "usePodCIDR", "other": "usePodCidr"});
        let expected =
            json!({"type": "host-local", "subnet": "10.244.1.0/24", "other": "usePodCidr"});
        assert_eq!(filled(subnet, &both), Ok(expected));
        let ranges = json!({"type": "host-local", "ranges": [
            [{"subnet": "usepodcidr"}], [{"subnet": "usePodCidrIPv6"}, {"subnet": "fd00::/64"}],
        ]});
        let expected = json!({"type": "host-local", "ranges": [
            [{"subnet": "10.244.1.0/24"}], [{"subnet": "fd00:244:0:1::/64"}, {"subnet": "fd00::/64"}],
        ]});
        assert_eq!(filled(ranges, &both), Ok(expected));
    }

    #[test]
    fn a_family_without_a_range_is_named() {
        let wanted = json!({"type": "host-local", "ranges": [[{"subnet": "usePodCidrIPv6"}]]});
        let error = filled(wanted, &["10.244.1.0/24"]).expect_err("no range");
        for part in ["IPv6", "10.244.1.0/24", "--cluster-cidr"] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn nothing_is_asked_for_without_the_words() {
        for (ipam, wanted) in [
            (json!({"type": "host-local", "subnet": "usePodCidr"}), true),
            (json!({"type": "host-local", "ranges": [[{"subnet": "usePodCidr"}]]}), true),
            (json!({"type": "host-local", "subnet": "10.0.0.0/8", "ranges": [7, [8]]}), false),
            (json!({"type": "calico-ipam", "subnet": "usePodCidr"}), false),
            (json!({"type": "host-local"}), false),
        ] {
            assert_eq!(is_wanted(&configuration(ipam.clone())), wanted, "{ipam}");
        }
    }
}

//! Which of the machine's addresses is the node's: IP_AUTODETECTION_METHOD.
//!
//! Source: Calico reference, "Configure calico/node", IP autodetection; `calico-features.md` §8.

use ipnet::IpNet;
use regex::Regex;
use std::net::IpAddr;

/// An interface as the kernel shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    /// The kernel's number; younger interfaces have larger ones.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Administratively up.
    pub up: bool,
    /// Its addresses with their subnets' prefix lengths.
    pub addresses: Vec<IpNet>,
}

/// Interfaces that are never a node's uplink unless asked for by name.
const EXCLUDED: &[&str] = &[
    "^docker.*",
    "^cbr.*",
    "^dummy.*",
    "^podman.*",
    "^virbr.*",
    "^lxcbr.*",
    "^veth.*",
    "^lo",
    "^br-.*",
    "^cali.*",
    "^tunl.*",
    "^flannel.*",
    "^kube-ipvs.*",
    "^cni.*",
    r"^vxlan\.calico.*",
    r"^vxlan-v6\.calico.*",
    r"^wireguard\.cali.*",
    r"^wg-v6\.cali.*",
    "^nodelocaldns.*",
];

/// A parsed IP_AUTODETECTION_METHOD.
#[derive(Clone, Debug)]
pub(crate) enum Method {
    /// The first suitable address.
    FirstFound,
    /// The address the kernel would send from to this destination.
    CanReach(String),
    /// The first suitable address of the interfaces whose names match.
    Interface(Vec<Regex>),
    /// The first suitable address of the interfaces whose names don't match.
    SkipInterface(Vec<Regex>),
    /// The first address within one of these prefixes.
    Cidr(Vec<IpNet>),
    /// The Kubernetes node's InternalIP.
    KubernetesInternalIp,
}

/// Why no address was found; the text names the method and what was looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct NotFound(String);

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Family {
    V4,
    V6,
}

impl Family {
    /// The variable that says which address is the node's.
    pub(crate) fn variable(self) -> &'static str {
        match self {
            Family::V4 => "IP",
            Family::V6 => "IP6",
        }
    }

    /// IP's version.
    pub(crate) fn version(self) -> u8 {
        match self {
            Family::V4 => 4,
            Family::V6 => 6,
        }
    }

    /// Whether an address is of it.
    pub(crate) fn has(self, address: IpAddr) -> bool {
        address.is_ipv6() == (self == Family::V6)
    }
}

impl Method {
    /// Reads the variable's value; empty means first-found.
    ///
    /// # Errors
    /// The text is no method, or a part of it is no regular expression or prefix.
    pub(crate) fn parse(family: Family, text: &str) -> Result<Method, NotFound> {
        let wrong = |text: &str, why: &str| wrong(family, text, why);
        let regexes = |list: &str| -> Result<Vec<Regex>, NotFound> {
            let parse = |part: &str| {
                if part.trim().is_empty() {
                    return Err(wrong(text, "it takes regular expressions, and one is empty"));
                }
                Regex::new(part).map_err(|why| wrong(text, &format!("{part} is no regex: {why}")))
            };
            list.split(',').map(parse).collect()
        };
        match text.split_once('=') {
            None if text.is_empty() || text == "first-found" => Ok(Method::FirstFound),
            None if text == "kubernetes-internal-ip" => Ok(Method::KubernetesInternalIp),
            Some(("can-reach", target)) if !target.is_empty() => {
                Ok(Method::CanReach(target.to_owned()))
            }
            Some(("interface", list)) => Ok(Method::Interface(regexes(list)?)),
            Some(("skip-interface", list)) => Ok(Method::SkipInterface(regexes(list)?)),
            Some(("cidr", list)) => {
                let parse = |part: &str| {
                    part.trim().parse().map_err(|_| wrong(text, &format!("{part} is no prefix")))
                };
                Ok(Method::Cidr(list.split(',').map(parse).collect::<Result<_, _>>()?))
            }
            _ => Err(wrong(
                text,
                "it takes first-found, can-reach=ADDRESS, interface=REGEX,…, \
                 skip-interface=REGEX,…, cidr=PREFIX,… or kubernetes-internal-ip",
            )),
        }
    }

    /// Whether the method excludes an interface by its name.
    fn admits(&self, name: &str) -> bool {
        let matches = |regexes: &[Regex]| regexes.iter().any(|regex| regex.is_match(name));
        match self {
            Method::Interface(wanted) => matches(wanted),
            Method::SkipInterface(skipped) => !excluded(name) && !matches(skipped),
            Method::Cidr(_) => true,
            Method::FirstFound | Method::CanReach(_) | Method::KubernetesInternalIp => {
                !excluded(name)
            }
        }
    }
}

fn wrong(family: Family, method: &str, why: &str) -> NotFound {
    NotFound(format!("{}_AUTODETECTION_METHOD={method}: {why}", family.variable()))
}

fn excluded(name: &str) -> bool {
    EXCLUDED.iter().any(|pattern| {
        Regex::new(pattern).expect("the excluded patterns are regular expressions").is_match(name)
    })
}

/// The address a method picks from what the machine has, with its subnet's prefix length.
/// Interfaces are looked at youngest first. `can-reach` and `kubernetes-internal-ip` are asked
/// elsewhere: they come here as the address they gave, in `given`.
///
/// # Errors
/// No address fits; the text says what was looked at.
pub(crate) fn pick(
    method: &Method,
    family: Family,
    interfaces: &[Interface],
    given: Option<IpAddr>,
) -> Result<(String, IpNet), NotFound> {
    let variable = family.variable();
    let mut youngest_first: Vec<&Interface> = interfaces.iter().filter(|i| i.up).collect();
    youngest_first.sort_by_key(|interface| std::cmp::Reverse(interface.index));
    let suits = |net: &IpNet| {
        family.has(net.addr())
            && is_global(net.addr())
            && match method {
                Method::Cidr(prefixes) => prefixes.iter().any(|p| p.contains(&net.addr())),
                Method::CanReach(_) | Method::KubernetesInternalIp => given == Some(net.addr()),
                Method::FirstFound | Method::Interface(_) | Method::SkipInterface(_) => true,
            }
    };
    let by_name = given.is_none();
    for interface in &youngest_first {
        if (!by_name || method.admits(&interface.name))
            && let Some(net) = interface.addresses.iter().find(|net| suits(net))
        {
            return Ok((interface.name.clone(), *net));
        }
    }
    let seen: Vec<String> = youngest_first
        .iter()
        .flat_map(|i| i.addresses.iter().map(move |net| format!("{} {net}", i.name)))
        .collect();
    Err(NotFound(format!(
        "no address of this node fits {}: looked at {}; set {variable} to the node's address, or \
         another {variable}_AUTODETECTION_METHOD",
        match given {
            Some(address) => format!("{} ({address})", describe(method)),
            None => describe(method),
        },
        if seen.is_empty() { "no interface that is up".to_owned() } else { seen.join(", ") }
    )))
}

/// Why `kubernetes-internal-ip` gives nothing. `node`: the name of the Node in Kubernetes, where that is
/// the datastore.
pub(crate) fn no_internal_address(family: Family, node: Option<&str>) -> NotFound {
    let (variable, version) = (family.variable(), family.version());
    let method = format!("{variable}_AUTODETECTION_METHOD=kubernetes-internal-ip");
    NotFound(match node {
        Some(node) => format!(
            "{method}: Node {node} of Kubernetes has no InternalIP of IPv{version} in its \
             status.addresses: give kubelet there --node-ip, or set {variable}, or another method"
        ),
        None => format!(
            "{method} asks Kubernetes for the Node's InternalIP, and this node's datastore is etcd: \
             set {variable}, or can-reach=ADDRESS or interface=REGEX instead"
        ),
    })
}

fn describe(method: &Method) -> String {
    let joined =
        |regexes: &[Regex]| regexes.iter().map(Regex::as_str).collect::<Vec<_>>().join(",");
    match method {
        Method::FirstFound => "first-found".to_owned(),
        Method::CanReach(target) => format!("can-reach={target}"),
        Method::Interface(regexes) => format!("interface={}", joined(regexes)),
        Method::SkipInterface(regexes) => format!("skip-interface={}", joined(regexes)),
        Method::Cidr(prefixes) => {
            let prefixes: Vec<String> = prefixes.iter().map(ToString::to_string).collect();
            format!("cidr={}", prefixes.join(","))
        }
        Method::KubernetesInternalIp => "kubernetes-internal-ip".to_owned(),
    }
}

/// Global unicast as Go's `net.IP.IsGlobalUnicast` has it: private ranges included.
fn is_global(address: IpAddr) -> bool {
    let special = address.is_loopback() || address.is_multicast() || address.is_unspecified();
    match address {
        IpAddr::V4(v4) => !special && !v4.is_link_local() && !v4.is_broadcast(),
        IpAddr::V6(v6) => !special && !v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(index: u32, name: &str, addresses: &[&str]) -> Interface {
        let addresses = addresses.iter().map(|text| text.parse().expect("a prefix")).collect();
        Interface { index, name: name.to_owned(), up: true, addresses }
    }

    fn machine() -> Vec<Interface> {
        let mut down = interface(9, "ens9", &["10.9.0.1/24"]);
        down.up = false;
        vec![
            interface(1, "lo", &["127.0.0.1/8", "::1/128"]),
            interface(2, "ens4", &["10.0.0.11/16", "fe80::1/64", "fd00::11/64"]),
            interface(3, "ens5", &["169.254.7.7/16", "10.30.0.206/24"]),
            interface(4, "docker0", &["172.17.0.1/16"]),
            interface(5, "cali4d001776093", &["192.168.1.1/32"]),
            interface(6, "tunl0", &["192.168.1.0/32"]),
            interface(7, "eth0", &[]),
            down,
        ]
    }

    /// method, family, what can-reach or Kubernetes gave, expected
    #[test]
    fn methods_pick_what_calico_picks() {
        use Family::{V4, V6};
        for (method, family, given, expected) in [
            ("first-found", V4, None, Some("ens5 10.30.0.206/24")),
            ("", V6, None, Some("ens4 fd00::11/64")),
            ("interface=ens4", V4, None, Some("ens4 10.0.0.11/16")),
            ("interface=eth.*,ens4", V4, None, Some("ens4 10.0.0.11/16")),
            ("interface=docker0", V4, None, Some("docker0 172.17.0.1/16")),
            ("interface=ens9", V4, None, None),
            ("skip-interface=ens5", V4, None, Some("ens4 10.0.0.11/16")),
            ("skip-interface=ens.*", V4, None, None),
            ("cidr=10.0.0.0/16", V4, None, Some("ens4 10.0.0.11/16")),
            ("cidr=1.2.3.0/24,172.17.0.0/16", V4, None, Some("docker0 172.17.0.1/16")),
            ("can-reach=8.8.8.8", V4, Some("10.0.0.11"), Some("ens4 10.0.0.11/16")),
            ("kubernetes-internal-ip", V4, Some("10.30.0.206"), Some("ens5 10.30.0.206/24")),
            ("kubernetes-internal-ip", V4, Some("1.1.1.1"), None),
        ] {
            let parsed = Method::parse(family, method).expect("a method");
            let given = given.map(|text| text.parse().expect("an address"));
            let picked = pick(&parsed, family, &machine(), given);
            let picked = picked.ok().map(|(name, net)| format!("{name} {net}"));
            assert_eq!(picked.as_deref(), expected, "{method}");
        }
    }

    #[test]
    fn wrong_methods_say_what_is_wrong() {
        for (method, said) in [
            ("first", "it takes first-found"),
            ("can-reach=", "it takes first-found"),
            ("interface=(", "( is no regex"),
            ("interface=", "one is empty"),
            ("cidr=10.0.0.0", "10.0.0.0 is no prefix"),
        ] {
            let error = Method::parse(Family::V4, method).expect_err(method).to_string();
            assert!(error.contains(said) && error.contains(method), "{error}");
        }
    }

    #[test]
    fn nothing_found_names_what_was_looked_at() {
        let error = no_internal_address(Family::V4, None).to_string();
        assert!(error.contains("this node's datastore is etcd"), "{error}");
        let error = no_internal_address(Family::V6, Some("n1")).to_string();
        assert!(error.contains("Node n1") && error.contains("InternalIP of IPv6"), "{error}");
        let kubernetes = Method::parse(Family::V4, "kubernetes-internal-ip").expect("a method");
        let elsewhere = Some("1.1.1.1".parse().expect("an address"));
        let error = pick(&kubernetes, Family::V4, &machine(), elsewhere).expect_err("none");
        assert!(error.to_string().contains("kubernetes-internal-ip (1.1.1.1)"), "{error}");
        let method = Method::parse(Family::V4, "cidr=1.0.0.0/8").expect("a method");
        let error = pick(&method, Family::V4, &machine(), None).expect_err("none").to_string();
        assert!(error.contains("cidr=1.0.0.0/8") && error.contains("ens5 10.30.0.206/24"));
        let error = pick(&method, Family::V6, &machine(), None).expect_err("none").to_string();
        assert!(error.contains("set IP6 to"), "{error}");
    }
}

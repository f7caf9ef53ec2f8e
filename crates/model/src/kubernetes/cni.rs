//! What annotations of a pod and of its namespace ask of CNI ADD.
//!
//! Source: Calico's reference, "Configure the Calico CNI plugins", and `calico-features.md` §5.3.

use super::pod::{
    CONTAINER_ID_ANNOTATION, FLOATING_IPS_ANNOTATION, POD_IP_ANNOTATION, POD_IPS_ANNOTATION,
    SOURCE_PREFIXES_ANNOTATION,
};
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// The annotation of IPv4 pools, a JSON list of names or ranges; a pod's goes before its namespace's.
pub const IPV4_POOLS_ANNOTATION: &str = "cni.projectcalico.org/ipv4pools";
/// The same of IPv6 pools.
pub const IPV6_POOLS_ANNOTATION: &str = "cni.projectcalico.org/ipv6pools";
/// The annotation of the families a pod has addresses of, a JSON list of `IPv4` and `IPv6`; a pod's
/// goes before its namespace's.
pub const FAMILIES_ANNOTATION: &str = "cni.projectcalico.org/ipFamilies";
/// The annotation of the very addresses a pod is to have, a JSON list, of pools.
pub const ADDRESSES_ANNOTATION: &str = "cni.projectcalico.org/ipAddrs";
/// The annotation of addresses, a JSON list, that are nobody's to give.
pub const ADDRESSES_NO_IPAM_ANNOTATION: &str = "cni.projectcalico.org/ipAddrsNoIpam";
/// The annotation of the MAC of a pod's interface.
pub const MAC_ANNOTATION: &str = "cni.projectcalico.org/hwAddr";

/// All that CNI ADD acts on.
pub const ADD_ANNOTATIONS: [&str; 8] = [
    IPV4_POOLS_ANNOTATION,
    IPV6_POOLS_ANNOTATION,
    FAMILIES_ANNOTATION,
    ADDRESSES_ANNOTATION,
    ADDRESSES_NO_IPAM_ANNOTATION,
    MAC_ANNOTATION,
    FLOATING_IPS_ANNOTATION,
    SOURCE_PREFIXES_ANNOTATION,
];

/// What annotations of Calico's CNI begin with.
const PREFIX: &str = "cni.projectcalico.org/";

/// Whether an annotation has a name as Calico's have, and is none of them: a slip of the pen.
pub(super) fn is_unknown(name: &str) -> bool {
    let written = [POD_IP_ANNOTATION, POD_IPS_ANNOTATION, CONTAINER_ID_ANNOTATION];
    let known = || ADD_ANNOTATIONS.iter().chain(&written).any(|known| *known == name);
    name.starts_with(PREFIX) && !known()
}

/// An annotation as an error names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Annotation {
    name: &'static str,
    pod: String,
    /// Whose it is, where it is not the pod's own.
    namespace: Option<String>,
    value: String,
}

impl fmt::Display for Annotation {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Annotation { name, pod, namespace, value } = self;
        write!(out, "pod {pod}: annotation {name}")?;
        if let Some(namespace) = namespace {
            write!(out, " of its namespace {namespace}")?;
        }
        write!(out, " is {value:?}")
    }
}

impl Annotation {
    /// It cannot be done, for this reason.
    pub fn wrong(&self, reason: impl Into<String>) -> WrongAnnotation {
        WrongAnnotation { annotation: self.clone(), reason: reason.into() }
    }

    /// A list of texts that are each read as something; `form` says what to write.
    fn list<T>(
        &self,
        form: &str,
        read: impl Fn(&str) -> Option<T>,
    ) -> Result<Vec<T>, WrongAnnotation> {
        let texts: Vec<String> = serde_json::from_str(&self.value).map_err(|why| {
            self.wrong(format!("it cannot be read ({why}): write a JSON list of {form}"))
        })?;
        let one = |text: &String| {
            let wrong = || self.wrong(format!("{text:?} is none: write a JSON list of {form}"));
            read(text).ok_or_else(wrong)
        };
        texts.iter().map(one).collect()
    }

    /// Addresses, of each family one at most.
    fn addresses(&self) -> Result<Vec<IpAddr>, WrongAnnotation> {
        let addresses =
            self.list(r#"addresses such as ["192.168.0.5"]"#, |text| text.parse().ok())?;
        for (family, is_family) in
            [("IPv4", IpAddr::is_ipv4 as fn(&IpAddr) -> bool), ("IPv6", IpAddr::is_ipv6)]
        {
            if addresses.iter().filter(|address| is_family(address)).count() > 1 {
                return Err(self.wrong(format!("a pod has one {family} address at most")));
            }
        }
        Ok(addresses)
    }

    fn families(&self) -> Result<Families, WrongAnnotation> {
        let named = self.list(r#"families such as ["IPv4", "IPv6"]"#, |text| match text {
            "IPv4" => Some(true),
            "IPv6" => Some(false),
            _ => None,
        })?;
        let families = Families { ipv4: named.contains(&true), ipv6: named.contains(&false) };
        if named.is_empty() {
            return Err(self.wrong("a pod needs an address of one family at least"));
        }
        Ok(families)
    }

    fn mac(&self) -> Result<[u8; 6], WrongAnnotation> {
        let parsed = mac(&self.value);
        let parsed =
            parsed.ok_or_else(|| self.wrong("write six bytes such as 02:00:0a:00:00:05"))?;
        if parsed[0] & 1 == 1 || parsed == [0; 6] {
            return Err(self.wrong("no interface can have it: it is a group's, or nothing but 0"));
        }
        Ok(parsed)
    }
}

/// An annotation that cannot be done as it says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{annotation}: {reason}; correct it with kubectl annotate --overwrite")]
pub struct WrongAnnotation {
    annotation: Annotation,
    reason: String,
}

/// Of which families a pod has an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Families {
    /// An IPv4 address.
    pub ipv4: bool,
    /// An IPv6 address.
    pub ipv6: bool,
}

/// What is wished, and by which annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish<T> {
    /// What is wished.
    pub wish: T,
    /// Who wishes it.
    pub annotation: Annotation,
}

/// What a pod and its namespace ask of the pod's CNI ADD. `None`: nothing is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wishes {
    /// IPv4 pools, by name or range; none: all that select node and namespace.
    pub ipv4_pools: Option<Wish<Vec<String>>>,
    /// IPv6 pools, by name or range; none: all that select node and namespace.
    pub ipv6_pools: Option<Wish<Vec<String>>>,
    /// Which families.
    pub families: Option<Wish<Families>>,
    /// These very addresses, of pools.
    pub addresses: Option<Wish<Vec<IpAddr>>>,
    /// These very addresses, which IPAM has no part in.
    pub addresses_no_ipam: Option<Wish<Vec<IpAddr>>>,
    /// The MAC of the pod's interface.
    pub mac: Option<Wish<[u8; 6]>>,
    /// Addresses outside that lead to the pod.
    pub floating_addresses: Option<Wish<Vec<IpAddr>>>,
    /// Ranges that it may also send from.
    pub source_prefixes: Option<Wish<Vec<IpNet>>>,
}

/// Annotations by name.
pub type Annotations = BTreeMap<String, String>;

impl Wishes {
    /// Reads the annotations of a pod and of its namespace. An empty one says nothing.
    ///
    /// # Errors
    /// The first that cannot be read, and both kinds of addresses at once.
    pub fn read(
        namespace: &str,
        pod: &str,
        of_pod: &Annotations,
        of_namespace: &Annotations,
    ) -> Result<Wishes, WrongAnnotation> {
        let pod = format!("{namespace}/{pod}");
        let of = |from: &Annotations, name: &'static str, namespace: Option<&str>| {
            let value = from.get(name).filter(|value| !value.is_empty())?.clone();
            let namespace = namespace.map(str::to_owned);
            Some(Annotation { name, pod: pod.clone(), namespace, value })
        };
        let own = |name| of(of_pod, name, None);
        let either = |name| own(name).or_else(|| of(of_namespace, name, Some(namespace)));
        let pools = |annotation: &Annotation| {
            annotation.list(r#"pools such as ["pool-1", "10.0.0.0/16"]"#, |text| {
                Some(text.to_owned()).filter(|text| !text.is_empty())
            })
        };
        let addresses = wish(own(ADDRESSES_ANNOTATION), Annotation::addresses)?;
        let addresses_no_ipam = wish(own(ADDRESSES_NO_IPAM_ANNOTATION), Annotation::addresses)?;
        if let (Some(_), Some(other)) = (&addresses, &addresses_no_ipam) {
            return Err(other.annotation.wrong(
                "can't have both annotations: 'ipAddrs' and 'ipAddrsNoIpam' in use at the same time",
            ));
        }
        Ok(Wishes {
            ipv4_pools: wish(either(IPV4_POOLS_ANNOTATION), pools)?,
            ipv6_pools: wish(either(IPV6_POOLS_ANNOTATION), pools)?,
            families: wish(either(FAMILIES_ANNOTATION), Annotation::families)?,
            addresses: addresses.filter(|one| !one.wish.is_empty()),
            addresses_no_ipam: addresses_no_ipam.filter(|one| !one.wish.is_empty()),
            mac: wish(own(MAC_ANNOTATION), Annotation::mac)?,
            floating_addresses: wish(own(FLOATING_IPS_ANNOTATION), |annotation| {
                annotation.list(r#"addresses such as ["198.51.100.7"]"#, |text| text.parse().ok())
            })?,
            source_prefixes: wish(own(SOURCE_PREFIXES_ANNOTATION), |annotation| {
                annotation.list(r#"ranges such as ["10.0.0.0/8"]"#, |text| text.parse().ok())
            })?,
        })
    }
}

fn wish<T>(
    annotation: Option<Annotation>,
    read: impl Fn(&Annotation) -> Result<T, WrongAnnotation>,
) -> Result<Option<Wish<T>>, WrongAnnotation> {
    let Some(annotation) = annotation else { return Ok(None) };
    let wish = read(&annotation)?;
    Ok(Some(Wish { wish, annotation }))
}

/// Six bytes as people write them: `02:00:0a:00:00:05`, with `-` instead, or `0200.0a00.0005`.
fn mac(text: &str) -> Option<[u8; 6]> {
    let separator = text.chars().find(|c| !c.is_ascii_hexdigit())?;
    let (parts, digits) = match separator {
        ':' | '-' => (6, 2),
        '.' => (3, 4),
        _ => return None,
    };
    let words: Vec<&str> = text.split(separator).collect();
    let fits = |word: &str| word.len() == digits && word.bytes().all(|b| b.is_ascii_hexdigit());
    if words.len() != parts || !words.iter().all(|word| fits(word)) {
        return None;
    }
    let all = words.concat();
    let mut bytes = [0; 6];
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(all.get(index * 2..index * 2 + 2)?, 16).ok()?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests;

//! Names that are derived, not chosen: endpoints, interfaces, handles, profiles, hashed ids.
//!
//! Other Calico components compute the same names, so each is Calico's byte for byte
//! (`calico-features.md` §2, §3.3, §4, §6.2).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256};
use std::net::Ipv4Addr;

/// Default start of a workload interface's name on the host.
pub const INTERFACE_PREFIX: &str = "cali";

/// The name of the default IPv4 pool.
pub const DEFAULT_IPV4_POOL: &str = "default-ipv4-ippool";

/// The name of the default IPv6 pool.
pub const DEFAULT_IPV6_POOL: &str = "default-ipv6-ippool";

/// The name of a Kubernetes pod's WorkloadEndpoint: `<node>-k8s-<pod>-<interface>`, `-` doubled in
/// each.
pub fn kubernetes_endpoint(node: &str, pod: &str, interface: &str) -> String {
    endpoint(node, "k8s", pod, interface)
}

/// The name of the WorkloadEndpoint of a container that no orchestrator names.
pub fn cni_endpoint(node: &str, container_id: &str, interface: &str) -> String {
    endpoint(node, "cni", container_id, interface)
}

pub(crate) fn endpoint(node: &str, orchestrator: &str, workload: &str, interface: &str) -> String {
    [node, orchestrator, workload, interface].map(|part| part.replace('-', "--")).join("-")
}

/// The host's end of a Kubernetes pod's veth pair: the prefix and 11 hex digits of
/// SHA-1(`<namespace>.<pod>`).
pub fn host_interface(prefix: &str, namespace: &str, pod: &str) -> String {
    let digest = Sha1::digest(format!("{namespace}.{pod}"));
    let hex: String = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("{prefix}{}", &hex[..11])
}

/// The host's end of the veth pair of a container that no orchestrator names: the prefix and the
/// first 11 characters of the container's id.
pub fn container_interface(prefix: &str, container_id: &str) -> String {
    format!("{prefix}{}", container_id.chars().take(11).collect::<String>())
}

/// A tunnel device that has an address of its own.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Tunnel {
    Ipip,
    Vxlan,
    VxlanV6,
    Wireguard,
    WireguardV6,
}

impl Tunnel {
    /// The IPAM handle that holds the tunnel's address on a node, e.g.
    /// `vxlan-tunnel-addr-worker-1`.
    pub fn handle(self, node: &str) -> String {
        let start = match self {
            Tunnel::Ipip => "ipip",
            Tunnel::Vxlan => "vxlan",
            Tunnel::VxlanV6 => "vxlan-v6",
            Tunnel::Wireguard => "wireguard",
            Tunnel::WireguardV6 => "wireguard-v6",
        };
        format!("{start}-tunnel-addr-{node}")
    }

    /// The attribute `type` of the tunnel's address in its block.
    pub const fn attribute(self) -> &'static str {
        match self {
            Tunnel::Ipip => "ipipTunnelAddress",
            Tunnel::Vxlan => "vxlanTunnelAddress",
            Tunnel::VxlanV6 => "vxlanV6TunnelAddress",
            Tunnel::Wireguard => "wireguardTunnelAddress",
            Tunnel::WireguardV6 => "wireguardV6TunnelAddress",
        }
    }
}

/// The IPAM handle of a container's addresses: `<network>.<container id>`.
pub fn container_handle(network: &str, container_id: &str) -> String {
    format!("{network}.{container_id}")
}

/// The MAC of `vxlan.calico` on a node that sets none: 0x66 and 5 bytes of SHA-1(node name).
pub fn vxlan_mac(node: &str) -> [u8; 6] {
    derived_mac(Sha1::digest(node).as_slice())
}

/// The MAC of `vxlan-v6.calico` on a node that sets none.
pub fn vxlan_mac_v6(node: &str) -> [u8; 6] {
    derived_mac(Sha1::digest(format!("{node}-v6")).as_slice())
}

fn derived_mac(digest: &[u8]) -> [u8; 6] {
    let mut mac = [0x66; 6];
    mac[1..].copy_from_slice(&digest[..5]);
    mac
}

/// The BGP identifier of a node where CALICO_ROUTER_ID is `hash`: 4 bytes of SHA-256(node name),
/// moved below the multicast addresses.
pub fn router_id(node: &str) -> Ipv4Addr {
    let digest = Sha256::digest(node);
    let first = if digest[0] > 223 { digest[0] - 32 } else { digest[0] };
    Ipv4Addr::new(first, digest[1], digest[2], digest[3])
}

/// Before a Kubernetes namespace's name, in the name of its profile.
const NAMESPACE_PROFILE: &str = "kns.";

/// The profile of a Kubernetes namespace.
pub fn namespace_profile(namespace: &str) -> String {
    format!("{NAMESPACE_PROFILE}{namespace}")
}

/// The Kubernetes namespace whose profile this is, if it is one's.
pub fn namespace_of_profile(profile: &str) -> Option<&str> {
    profile.strip_prefix(NAMESPACE_PROFILE)
}

/// The profile of a Kubernetes service account.
pub fn service_account_profile(namespace: &str, account: &str) -> String {
    format!("ksa.{namespace}.{account}")
}

/// `<prefix>:` and the base64url form, unpadded, of SHA-224(`<prefix>:<content>`) (`MakeUniqueID`).
pub fn unique_id(prefix: &str, content: &str) -> String {
    let digest = [prefix, ":", content].into_iter().fold(Sha224::new(), Sha224::chain_update);
    let mut id = String::with_capacity(prefix.len() + 1 + 38);
    id.extend([prefix, ":"]);
    URL_SAFE_NO_PAD.encode_string(digest.finalize(), &mut id);
    id
}

/// `<prefix><suffix>` where it fits in `length_max` bytes, else the prefix, `_` and as much of the
/// suffix's hash as fits (`GetLengthLimitedID`). A suffix that starts with `_` and fills the space
/// exactly is hashed too, so that no short name equals a hashed one.
pub fn length_limited_id(prefix: &str, suffix: &str, length_max: usize) -> String {
    if suffix.is_empty() {
        return format!("{prefix}_");
    }
    let length = prefix.len() + suffix.len();
    if length < length_max || (length == length_max && !suffix.starts_with('_')) {
        return format!("{prefix}{suffix}");
    }
    let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(suffix));
    let left = length_max.saturating_sub(prefix.len() + 1).min(hash.len());
    format!("{prefix}_{}", &hash[..left])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_double_their_hyphens() {
        assert_eq!(kubernetes_endpoint("worker-1", "pod-1", "eth0"), "worker--1-k8s-pod--1-eth0");
        assert_eq!(cni_endpoint("n", "0a-1", "eth0"), "n-cni-0a--1-eth0");
    }

    // Interfaces seen in a real cluster, with the pods they belong to.
    #[test]
    fn interfaces_are_hashes_of_the_pod() {
        for (pod, name) in
            [("pod1", "calice0906292e2"), ("pod2", "calibd2348b4f67"), ("pod3", "cali49778cadcf1")]
        {
            assert_eq!(host_interface(INTERFACE_PREFIX, "default", pod), name);
        }
        assert_eq!(container_interface("cali", "0123456789abcdef"), "cali0123456789a");
        assert_eq!(container_interface("cali", "01"), "cali01");
    }

    #[test]
    fn ids_fit_their_limit() {
        for (suffix, length_max, expected) in [
            ("_2345", 10, "felix_kMQI"),
            ("12345678910", 13, "felix_Y2QCZIS"),
            ("12345", 10, "felix12345"),
            ("", 10, "felix_"),
        ] {
            assert_eq!(length_limited_id("felix", suffix, length_max), expected, "{suffix}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_id_fits_its_limit(suffix in "\\PC{1,80}", length_max in 10usize..60) {
            let id = length_limited_id("cali-", &suffix, length_max);
            proptest::prop_assert!(id.len() <= length_max);
            proptest::prop_assert!(id.starts_with("cali-"));
        }
    }

    #[test]
    fn router_ids_are_unicast() {
        // `printf worker-1 | sha256sum` begins 13029f9e.
        assert_eq!(router_id("worker-1"), Ipv4Addr::new(19, 2, 159, 158));
        // That of node-18 begins f5c28be3.
        assert_eq!(router_id("node-18"), Ipv4Addr::new(213, 194, 139, 227));
    }

    #[test]
    fn tunnels_and_macs() {
        assert_eq!(Tunnel::VxlanV6.handle("worker-1"), "vxlan-v6-tunnel-addr-worker-1");
        // `printf worker-1 | sha1sum` begins 937f54d553.
        assert_eq!(vxlan_mac("worker-1"), [0x66, 0x93, 0x7f, 0x54, 0xd5, 0x53]);
        assert_ne!(vxlan_mac("worker-1"), vxlan_mac_v6("worker-1"));
        assert_eq!(vxlan_mac("worker-1-v6"), vxlan_mac_v6("worker-1"));
        assert_eq!(container_handle("k8s-pod-network", "abc"), "k8s-pod-network.abc");
        assert_eq!(service_account_profile("ns", "sa"), "ksa.ns.sa");
        assert_eq!(namespace_profile("ns"), "kns.ns");
        assert_eq!(namespace_of_profile("kns.ns"), Some("ns"));
        assert_eq!(namespace_of_profile("ksa.ns.a"), None);
    }
}

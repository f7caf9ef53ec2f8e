//! Node: its addresses, tunnel addresses and MACs.

use super::fields;
use crate::resources::node::{NodeBgpSpec, NodeSpec};
use crate::{Metadata, Problems};
use std::net::IpAddr;

pub(crate) fn check(spec: &NodeSpec, _metadata: &Metadata, problems: &mut Problems) {
    if let Some(bgp) = &spec.bgp {
        check_bgp(bgp, problems);
    }
    for (field, text, v6) in [
        ("spec.ipv4VXLANTunnelAddr", &spec.ipv4_vxlan_tunnel_addr, false),
        ("spec.ipv6VXLANTunnelAddr", &spec.ipv6_vxlan_tunnel_addr, true),
    ] {
        tunnel_address(field, text.as_deref(), v6, problems);
    }
    for (field, text) in [
        ("spec.vxlanTunnelMACAddr", &spec.vxlan_tunnel_mac_addr),
        ("spec.vxlanTunnelMACAddrV6", &spec.vxlan_tunnel_mac_addr_v6),
    ] {
        if let Some(text) = text {
            fields::mac(field, text, problems);
        }
    }
    for (i, address) in spec.addresses.iter().enumerate() {
        let text = &address.address;
        let internal = address.kind.as_deref() != Some("CalicoNodeIP");
        if !internal && fields::network_address(text).is_none() {
            let field = format!("spec.addresses[{i}].address");
            problems.add(field, text, "write an address such as 10.30.0.206 or 10.30.0.206/24");
        }
    }
}

fn check_bgp(bgp: &NodeBgpSpec, problems: &mut Problems) {
    if *bgp == NodeBgpSpec::default() {
        problems.add(
            "spec.bgp",
            "{}",
            "an empty bgp means nothing; leave it out or give an address",
        );
    }
    for (field, text, v6) in [
        ("spec.bgp.ipv4Address", &bgp.ipv4_address, false),
        ("spec.bgp.ipv6Address", &bgp.ipv6_address, true),
    ] {
        let Some(text) = text else { continue };
        let fits = fields::network_address(text).is_some_and(|net| net.addr().is_ipv6() == v6);
        if !fits {
            let example = if v6 { "2001:db8::1/64" } else { "10.30.0.206/24" };
            problems.add(field, text, format!("write an address with its subnet, as {example}"));
        }
    }
    tunnel_address(
        "spec.bgp.ipv4IPIPTunnelAddr",
        bgp.ipv4_ipip_tunnel_addr.as_deref(),
        false,
        problems,
    );
    if let Some(id) = &bgp.route_reflector_cluster_id
        && id.parse::<std::net::Ipv4Addr>().is_err()
    {
        let reason = "a cluster id is written as an IPv4 address, e.g. 244.0.0.1";
        problems.add("spec.bgp.routeReflectorClusterID", id, reason);
    }
}

fn tunnel_address(field: &str, text: Option<&str>, v6: bool, problems: &mut Problems) {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return };
    if text.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6() == v6) {
        return;
    }
    let family = if v6 { "IPv6" } else { "IPv4" };
    problems.add(field, text, format!("write an {family} address without a prefix length"));
}

//! What an administrator would type to connect two namespaces of two nodes.

use super::{NODES, PODS, serve};
use crate::cluster::{Background, Cluster};
use anyhow::{Context, Result};
use lab::LabStatus;
use std::net::IpAddr;

/// How packets cross between the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// A VXLAN of its own, on a port of its own.
    Vxlan,
    /// Routes by the other node's address.
    Routes,
}

/// Bytes of the outer IPv4, UDP and VXLAN headers and the inner Ethernet header (RFC 7348, 5).
const VXLAN_HEADERS: u32 = 50;

/// A namespace on each of two nodes, joined; an iperf3 server in the second.
pub(super) struct Handmade {
    /// Where the server listens.
    pub(super) server: IpAddr,
    _server: Background,
}

/// The words that run a command in this side's namespace.
pub(super) fn enter(way: Way) -> Vec<&'static str> {
    vec!["ip", "netns", "exec", way.namespace()]
}

impl Way {
    fn namespace(self) -> &'static str {
        match self {
            Way::Vxlan => "hand-vxlan",
            Way::Routes => "hand-routes",
        }
    }

    /// Third byte of the pods' addresses.
    fn number(self) -> u8 {
        match self {
            Way::Vxlan => 1,
            Way::Routes => 2,
        }
    }

    /// The pods' MTU, or what fits between the nodes.
    fn mtu(self, pods: u32, uplinks: u32) -> u32 {
        match self {
            Way::Vxlan => pods.min(uplinks.saturating_sub(VXLAN_HEADERS)),
            Way::Routes => pods,
        }
    }

    /// A node's pod: 172.31.NUMBER.1 and .2.
    fn pod(self, node: usize) -> String {
        format!("172.31.{}.{}", self.number(), node + 1)
    }

    /// What to type on `node`, whose counterpart is `1 - node`.
    fn script(self, node: usize, uplinks: &[String; 2], mtu: &str) -> String {
        let (own, other, number) = (self.pod(node), self.pod(1 - node), self.number());
        let namespace = self.namespace();
        let mut script = format!(
            "ip netns add {namespace}
             ip link add hand{number} mtu {mtu} type veth peer name eth0 mtu {mtu} netns {namespace}
             ip link set hand{number} address ee:ee:ee:ee:ee:ee up
             ip route add {own}/32 dev hand{number}
             ip -n {namespace} link set eth0 up
             ip -n {namespace} address add {own}/32 dev eth0
             ip -n {namespace} route add 169.254.1.1 dev eth0
             ip -n {namespace} route add default via 169.254.1.1
             ip -n {namespace} neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0\n"
        );
        let (local, remote) = (&uplinks[node], &uplinks[1 - node]);
        script += &match self {
            Way::Routes => format!("ip route add {other}/32 via {remote} dev ens5\n"),
            Way::Vxlan => {
                let (own_mac, other_mac) = (mac(node), mac(1 - node));
                let [own_end, other_end] = [node, 1 - node].map(|n| format!("172.31.0.{}", n + 1));
                format!(
                    "ip link add hand.vxlan address {own_mac} mtu {mtu} type vxlan id 77 \
                     dstport 4790 local {local} dev ens5 nolearning
                     ip address add {own_end}/32 dev hand.vxlan
                     ip link set hand.vxlan up
                     ip neigh add {other_end} lladdr {other_mac} dev hand.vxlan nud permanent
                     bridge fdb append {other_mac} dev hand.vxlan dst {remote}
                     ip route add {other}/32 via {other_end} dev hand.vxlan onlink\n"
                )
            }
        };
        script
    }
}

fn mtu_of(cluster: &Cluster, place: &str, device: &str) -> Result<u32> {
    let text = cluster.shell(place, &format!("cat /sys/class/net/{device}/mtu"))?;
    text.trim().parse().with_context(|| format!("{place}: the MTU of {device} is {text:?}"))
}

fn mac(node: usize) -> String {
    format!("66:00:00:00:00:0{}", node + 1)
}

impl Handmade {
    /// Joins a namespace of each node, with the MTU of our pods, or the largest that fits.
    pub(super) fn build(cluster: &Cluster, status: &LabStatus, way: Way) -> Result<Handmade> {
        let uplink = |name: &str| {
            let node = status.nodes.iter().find(|node| node.name == name);
            let address = node.and_then(|node| node.addresses.first());
            address.map(IpAddr::to_string).with_context(|| format!("node {name} has no address"))
        };
        let uplinks = [uplink(NODES[0])?, uplink(NODES[1])?];
        let mtu = way.mtu(mtu_of(cluster, PODS[0], "eth0")?, mtu_of(cluster, NODES[0], "ens5")?);
        let mtu = mtu.to_string();
        for (number, node) in NODES.into_iter().enumerate() {
            cluster.shell(node, &way.script(number, &uplinks, &mtu))?;
        }
        let server = serve(cluster, NODES[1], &enter(way))?;
        let address = way.pod(1).parse().context("an address made here")?;
        Ok(Handmade { server: address, _server: server })
    }
}

#[cfg(test)]
mod tests {
    use super::Way;

    #[test]
    fn a_vxlan_by_hand_fits_between_the_nodes() {
        assert_eq!(Way::Vxlan.mtu(1450, 1500), 1450);
        assert_eq!(Way::Vxlan.mtu(1480, 1500), 1450);
        assert_eq!(Way::Routes.mtu(1500, 1500), 1500);
    }
}

//! Tables `ip calico` and `ip6 calico`: masquerade for what leaves the pools, and tunnels open to
//! cluster nodes only.
//!
//! Names of table, chains and sets are Felix's nftables mode's, so that either takes over from the
//! other.

use crate::policy::layout;
use crate::topology::Topology;
use crate::{ipip, vxlan};
use ipnet::{IpNet, Ipv4Net};
use kernel::nft::{
    BaseChain, Chain, ChainKind, Element, Family, Hook, Match, Rule, Set, SetKey, Table, Verdict,
};

/// Names of sets of each family, by the starts that Felix gives them.
const ALL_POOLS: &str = "network-ip-pools";
const MASQUERADED_POOLS: &str = "masq-ipam-pools";
const VXLAN_NODES: &str = "cali40all-vxlan-net";
const IPIP_NODES: &str = "cali40all-hosts-net";
const IP_IN_IP: u8 = 4;
const UDP: u8 = 17;
/// Felix's `srcnat + 10`: after other programs' source NAT, of services for instance.
const NAT_POSTROUTING: i32 = 110;

/// The tables of the plan. With policy they are complete only together with what
/// [`crate::policy::Renderer::start`] adds.
pub(crate) fn tables(topology: &Topology) -> Vec<Table> {
    let mut tables = match &topology.settings.policy {
        Some(settings) => layout::tables(settings).into(),
        None => vec![Table::new(Family::Ip, "calico")],
    };
    for table in &mut tables {
        match table.family {
            Family::Ip => {
                add_masquerade(topology, table, "cali40");
                add_tunnel_protection(topology, table);
            }
            // Rarely wanted of IPv6; a kernel may be without it.
            Family::Ip6 if masquerades_ipv6(topology) => add_masquerade(topology, table, "cali60"),
            Family::Ip6 | Family::Netdev => {}
        }
    }
    tables
}

fn masquerades_ipv6(topology: &Topology) -> bool {
    topology.pools.iter().any(|pool| pool.cidr.addr().is_ipv6() && pool.nat_outgoing)
}

fn add_masquerade(topology: &Topology, table: &mut Table, start: &str) {
    let v6 = table.family == Family::Ip6;
    let pools = || topology.pools.iter().filter(|pool| pool.cidr.addr().is_ipv6() == v6);
    let (all, masqueraded) = ([start, ALL_POOLS].concat(), [start, MASQUERADED_POOLS].concat());
    set(table, &all, true, pools().map(|pool| pool.cidr));
    let of_masqueraded = pools().filter(|pool| pool.nat_outgoing);
    set(table, &masqueraded, true, of_masqueraded.map(|pool| pool.cidr));
    let (kind, hook) = (ChainKind::Nat, Hook::Postrouting);
    base(table, "nat-POSTROUTING", kind, hook, NAT_POSTROUTING, "nat-cali-POSTROUTING");
    chain(
        table,
        "nat-cali-POSTROUTING",
        vec![rule(vec![], Verdict::Jump("nat-cali-nat-outgoing".to_owned()), "")],
    );
    chain(
        table,
        "nat-cali-nat-outgoing",
        vec![rule(
            vec![
                Match::SourceInSet { set: masqueraded, not: false },
                Match::DestinationInSet { set: all, not: true },
            ],
            Verdict::Masquerade,
            "NAT for packets that leave the pools",
        )],
    );
}

/// Before all policy: tunnels are open to cluster nodes, and to no others.
fn add_tunnel_protection(topology: &Topology, table: &mut Table) {
    let nodes = || {
        let addresses = topology.nodes.values().filter_map(|node| node.address);
        addresses.map(|address| IpNet::V4(Ipv4Net::from(address)))
    };
    let (mut inbound, mut outbound) = (Vec::new(), Vec::new());
    set(table, VXLAN_NODES, false, nodes());
    if vxlan::in_use(topology) {
        let port = Match::destination_port(topology.settings.vxlan_port);
        let packets = [Match::Protocol(UDP), port];
        inbound.extend(only_from(VXLAN_NODES, "VXLAN", &packets));
        outbound.push(to_nodes(VXLAN_NODES, "VXLAN", &packets));
    }
    // A device by BPF takes its packets before these rules, from the same nodes only; what it
    // leaves comes here.
    if ipip::in_use(topology) {
        set(table, IPIP_NODES, false, nodes());
        inbound.extend(only_from(IPIP_NODES, "IP-in-IP", &[Match::Protocol(IP_IN_IP)]));
        outbound.push(to_nodes(IPIP_NODES, "IP-in-IP", &[Match::Protocol(IP_IN_IP)]));
    }
    if topology.settings.policy.is_none() {
        base(table, "filter-INPUT", ChainKind::Filter, Hook::Input, 0, layout::INPUT);
    }
    table.chains.entry(layout::INPUT.to_owned()).or_default().rules.splice(0..0, inbound);
    if let Some(output) = table.chains.get_mut(layout::OUTPUT) {
        output.rules.splice(0..0, outbound);
    }
}

/// Packets of a tunnel from this node to the set's addresses, which no policy of a host endpoint
/// may stop.
fn to_nodes(set: &str, tunnel: &str, packets: &[Match]) -> Rule {
    let mut matches = packets.to_vec();
    matches.push(Match::SourceIsLocal { not: false });
    matches.push(Match::DestinationInSet { set: set.to_owned(), not: false });
    rule(matches, Verdict::Accept, &format!("{tunnel} to cluster nodes"))
}

/// Packets of a tunnel to this node: accepted from the set's addresses, dropped from all others.
fn only_from(set: &str, tunnel: &str, packets: &[Match]) -> [Rule; 2] {
    let mut to_node = packets.to_vec();
    to_node.push(Match::DestinationIsLocal { not: false });
    let mut from_nodes = to_node.clone();
    from_nodes.push(Match::SourceInSet { set: set.to_owned(), not: false });
    [
        rule(from_nodes, Verdict::Accept, &format!("{tunnel} from cluster nodes")),
        rule(to_node, Verdict::Drop, &format!("{tunnel} from anybody else")),
    ]
}

fn set(table: &mut Table, name: &str, interval: bool, elements: impl Iterator<Item = IpNet>) {
    let elements = elements.map(Element::Net).collect();
    table.sets.insert(name.to_owned(), Set { key: SetKey::Address, interval, elements });
}

fn base(table: &mut Table, name: &str, kind: ChainKind, hook: Hook, priority: i32, to: &str) {
    let rules = vec![rule(vec![], Verdict::Jump(to.to_owned()), "")];
    let base = Some(BaseChain { kind, hook, priority });
    table.chains.insert(name.to_owned(), Chain { base, rules });
}

fn chain(table: &mut Table, name: &str, rules: Vec<Rule>) {
    table.chains.insert(name.to_owned(), Chain { base: None, rules });
}

fn rule(matches: Vec<Match>, verdict: Verdict, comment: &str) -> Rule {
    Rule { comment: comment.to_owned(), ..Rule::new(matches, verdict) }
}

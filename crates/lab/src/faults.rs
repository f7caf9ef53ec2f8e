//! What goes wrong in the cloud between the machines: faults as values, and as nf_tables rules at
//! the nodes' ports.
//!
//! ```text
//!   [br1]──p1-worker-1 ═══ ens5        ingress of p1-worker-1: what the node sends
//!                                      egress of p1-worker-1:  what it is sent
//! ```
//! Each fault has chains of its own, so that setting one leaves the others' counters alone, and
//! what one of them accepts the others still see.

use ipnet::IpNet;
use kernel::Mac;
use kernel::nft::{
    BaseChain, Chain, ChainKind, Device, Family, Hook, Match, PacketType, Rule, Table, Verdict,
    Version,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt::{self, Display, Formatter};
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

/// The table of all faults, in the fabric's network namespace.
pub(crate) const TABLE: &str = "lab-faults";
/// BGP's TCP port (RFC 4271, 8.2.1).
pub(crate) const BGP_PORT: u16 = 179;

const TCP: u8 = 6;
const UDP: u8 = 17;
/// IP-in-IP (RFC 2003).
const IPIP: u8 = 4;
/// What the smallest network takes (RFC 791).
const MTU_MIN: u16 = 68;
const IPV6_HEADER_BYTES: u16 = 40;
/// Loss is counted in hundredths of a percent.
const WHOLE: u32 = 10_000;

/// Something that is wrong with the cloud.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Fault {
    /// A packet from a node must have the node's source address, one to a node its destination
    /// address; others are dropped. Broadcast, multicast and what isn't IP pass.
    SrcDstCheck,
    /// No such packets, from and to nodes.
    Block(Traffic),
    /// Nothing from and to this node.
    Partition(String),
    /// No packets of more bytes than these, from and to nodes; nobody is told.
    Mtu(u16),
    /// So many hundredths of a percent of the frames to each node.
    Loss(u32),
}

/// What a security group may block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Traffic {
    /// IP protocol 4.
    Ipip,
    /// UDP to VXLAN's port.
    Vxlan,
    /// TCP with port 179 at either end.
    Bgp,
}

/// A fault to bring about, or to end, as written on the command line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Setting {
    /// To bring about, in place of others of its kind if there can be one only.
    On(Fault),
    /// To end.
    Off(Fault),
}

/// A node's end of a cable in the fabric.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    /// The device in the fabric.
    pub(crate) name: String,
    /// The machine at the other end.
    pub(crate) machine: String,
    /// The interface there.
    pub(crate) interface: String,
    /// Its addresses.
    pub(crate) addresses: Vec<IpNet>,
    /// Its Ethernet address, from which its IPv6 link-local address is made.
    pub(crate) mac: Option<Mac>,
}

impl Display for Traffic {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Traffic::Ipip => "ipip",
            Traffic::Vxlan => "vxlan",
            Traffic::Bgp => "bgp",
        })
    }
}

impl Fault {
    /// The word before `=`.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Fault::SrcDstCheck => "src-dst-check",
            Fault::Block(_) => "block",
            Fault::Partition(_) => "partition",
            Fault::Mtu(_) => "mtu",
            Fault::Loss(_) => "loss",
        }
    }

    /// The word after it.
    pub(crate) fn value(&self) -> String {
        match self {
            Fault::SrcDstCheck => "on".into(),
            Fault::Block(traffic) => traffic.to_string(),
            Fault::Partition(node) => node.clone(),
            Fault::Mtu(bytes) => bytes.to_string(),
            Fault::Loss(share) => {
                let fraction = format!(".{:02}", share % 100);
                format!("{}{}%", share / 100, fraction.trim_end_matches('0').trim_end_matches('.'))
            }
        }
    }

    /// Whether there can be several of its kind.
    fn is_repeatable(&self) -> bool {
        matches!(self, Fault::Block(_) | Fault::Partition(_))
    }

    /// Whether `text` names it: by its kind, or wholly.
    fn is_called(&self, text: &str) -> bool {
        text == self.name() || text == self.to_string()
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.name(), self.value())
    }
}

impl FromStr for Setting {
    type Err = String;

    fn from_str(text: &str) -> Result<Setting, String> {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        let wants = |what: &str| format!("{name} wants {what}, not {value:?}");
        Ok(Setting::On(match (name, value) {
            ("src-dst-check", "on") => Fault::SrcDstCheck,
            ("src-dst-check", "off") => return Ok(Setting::Off(Fault::SrcDstCheck)),
            ("src-dst-check", _) => return Err(wants("on or off")),
            ("block", "ipip") => Fault::Block(Traffic::Ipip),
            ("block", "vxlan") => Fault::Block(Traffic::Vxlan),
            ("block", "bgp") => Fault::Block(Traffic::Bgp),
            ("block", _) => return Err(wants("ipip, vxlan or bgp")),
            ("partition", "") => return Err(wants("a node's name")),
            ("partition", node) => Fault::Partition(node.into()),
            ("mtu", bytes) => match bytes.parse() {
                Ok(bytes) if bytes >= MTU_MIN => Fault::Mtu(bytes),
                _ => return Err(wants(&format!("{MTU_MIN}–{} bytes", u16::MAX))),
            },
            ("loss", share) => Fault::Loss(
                parse_share(share)
                    .ok_or_else(|| wants("a share above 0% and below 100%, such as 5% or 0.25%"))?,
            ),
            _ => {
                let known = "src-dst-check, block, partition, mtu and loss";
                return Err(format!("there is no fault {name:?}; there are {known}"));
            }
        }))
    }
}

/// Hundredths of a percent.
fn parse_share(text: &str) -> Option<u32> {
    let (whole, fraction) =
        text.strip_suffix('%')?.split_once('.').unwrap_or((text.strip_suffix('%')?, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) || fraction.len() > 2 {
        return None;
    }
    let hundredths: u32 = format!("{fraction:0<2}").parse().ok()?;
    let share = whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths)?;
    (1..WHOLE).contains(&share).then_some(share)
}

/// The faults after `settings`.
pub(crate) fn with(faults: &BTreeSet<Fault>, settings: Vec<Setting>) -> BTreeSet<Fault> {
    let mut faults = faults.clone();
    for setting in settings {
        match setting {
            Setting::On(fault) => {
                faults.retain(|old| fault.is_repeatable() || old.name() != fault.name());
                faults.insert(fault);
            }
            Setting::Off(fault) => {
                faults.remove(&fault);
            }
        }
    }
    faults
}

/// The faults without those named, all without a name.
///
/// # Errors
/// The first name that no fault has.
pub(crate) fn without<'a>(
    faults: &BTreeSet<Fault>,
    names: &'a [String],
) -> Result<BTreeSet<Fault>, &'a str> {
    let mut left = faults.clone();
    for name in names {
        if !faults.iter().any(|fault| fault.is_called(name)) {
            return Err(name);
        }
        left.retain(|fault| !fault.is_called(name));
    }
    Ok(if names.is_empty() { BTreeSet::new() } else { left })
}

/// The rules of all faults at the nodes' ports; none without faults.
pub(crate) fn tables(
    faults: &BTreeSet<Fault>,
    ports: &[Port],
    vxlan_ports: &BTreeSet<u16>,
) -> Vec<Table> {
    let mut table = Table::new(Family::Netdev, TABLE);
    for port in ports {
        let Some(device) = Device::new(&port.name) else { continue };
        for fault in faults {
            for (direction, hook) in [("in", Hook::Ingress(device)), ("out", Hook::Egress(device))]
            {
                let from_node = direction == "in";
                let rules = rules(fault, port, from_node, vxlan_ports);
                if rules.is_empty() {
                    continue;
                }
                let kind = match fault {
                    Fault::Block(traffic) => format!("block-{traffic}"),
                    fault => fault.name().to_owned(),
                };
                let base = Some(BaseChain { kind: ChainKind::Filter, hook, priority: 0 });
                let name = format!("{}.{direction}.{kind}", port.name);
                table.chains.insert(name, Chain { base, rules });
            }
        }
    }
    if table.chains.is_empty() { Vec::new() } else { vec![table] }
}

/// The rules of one fault for frames that come from the node, or go to it.
fn rules(fault: &Fault, port: &Port, from_node: bool, vxlan_ports: &BTreeSet<u16>) -> Vec<Rule> {
    let drop = |matches| Rule { comment: fault.to_string(), ..Rule::new(matches, Verdict::Drop) };
    match fault {
        Fault::SrcDstCheck => address_check(port, from_node, drop),
        Fault::Block(Traffic::Ipip) => vec![drop(vec![Match::Protocol(IPIP)])],
        Fault::Block(Traffic::Vxlan) => {
            let to = |port: &u16| drop(vec![Match::Protocol(UDP), Match::destination_port(*port)]);
            vxlan_ports.iter().map(to).collect()
        }
        Fault::Block(Traffic::Bgp) => {
            [Match::destination_port(BGP_PORT), Match::source_port(BGP_PORT)]
                .map(|port| drop(vec![Match::Protocol(TCP), port]))
                .into()
        }
        Fault::Partition(node) if *node == port.machine => vec![drop(vec![])],
        Fault::Partition(_) => vec![],
        Fault::Mtu(bytes) => {
            // IPv6's length leaves out the header.
            let above =
                [(Version::V4, *bytes), (Version::V6, bytes.saturating_sub(IPV6_HEADER_BYTES))];
            above
                .map(|(version, bytes)| {
                    drop(vec![Match::Version(version), Match::LengthAbove { version, bytes }])
                })
                .into()
        }
        // Each frame between two nodes leaves one port for a node: it is at stake once.
        Fault::Loss(_) if from_node => vec![],
        Fault::Loss(share) => vec![drop(vec![Match::Random { below: *share, of: WHOLE }])],
    }
}

fn address_check(port: &Port, from_node: bool, drop: impl Fn(Vec<Match>) -> Rule) -> Vec<Rule> {
    let pass = |kind| Rule::new(vec![Match::PacketType(kind)], Verdict::Accept);
    let mut rules = vec![pass(PacketType::Broadcast), pass(PacketType::Multicast)];
    let own = port.addresses.iter().map(IpNet::addr);
    let own: Vec<IpAddr> = own.chain(port.mac.map(link_local)).collect();
    for version in [Version::V4, Version::V6] {
        let mut matches = vec![Match::Version(version)];
        for address in own.iter().copied().filter(|own| Version::of(*own) == version) {
            matches.push(match from_node {
                true => Match::SourcePrefix { net: address.into(), not: true },
                false => Match::DestinationPrefix { net: address.into(), not: true },
            });
        }
        rules.push(drop(matches));
    }
    rules
}

/// The link-local address that the kernel makes of an Ethernet address (RFC 4291, appendix A).
fn link_local(mac: Mac) -> IpAddr {
    let [a, b, c, d, e, f] = mac.0;
    let bytes = [0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f];
    IpAddr::V6(Ipv6Addr::from(bytes))
}

#[cfg(test)]
mod tests;

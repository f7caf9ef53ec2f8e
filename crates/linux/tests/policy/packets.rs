//! Random packets, and the evaluator's word on each.

use crate::enforced::{Enforced, Trial};
use crate::machine::{DEVICES, Spot};
use crate::random::{
    GRE, INTERFACES, OF_HOST, OF_INTERFACES, OF_WORKLOADS, PORTS, Random, WITH_PORTS, WORKLOADS,
};
use plan::policy::Settings;
use policy::Told;
use policy::evaluate::{At, Decision, Node, Packet, Place, Verdict, through_node};
use policy::input::WorkloadId;
use std::collections::BTreeSet;
use std::net::IpAddr;

const PACKETS: usize = 32;
const IP_IN_IP: u8 = 4;
/// UDP port of VXLAN.
const VXLAN: u16 = 4789;

fn allowed(decisions: &[(At, Decision)]) -> bool {
    decisions.last().is_none_or(|(_, decision)| decision.verdict == Verdict::Allow)
}

fn told_of(decisions: &[(At, Decision)]) -> String {
    decisions.iter().map(|(at, decision)| format!("{at:?}: {decision}\n")).collect()
}

fn place(told: &Told, spot: Spot) -> Place<'_> {
    let Spot::Device(index) = spot else { return Place::Host };
    let host = |name: &str| Place::Interface(told.host_endpoints.get(name).map(|e| &**e));
    match DEVICES[index] {
        name if WORKLOADS.contains(&name) => {
            let id = WorkloadId { namespace: "shop".into(), name: name.into() };
            Place::Workload(&told.workloads[&id])
        }
        // By name, and by address: see [`Enforced::new`].
        name if name == INTERFACES[0] => host("nodeext0"),
        _ => host("node"),
    }
}

fn node<'a>(told: &'a Told, settings: &'a Settings) -> Node<'a> {
    Node {
        failsafe: &settings.failsafe,
        all_interfaces: told.host_endpoints.get("node*").map(|endpoint| &**endpoint),
        workload_to_host: false,
        vxlan_port: Some(settings.vxlan_port),
        no_ipip: true,
    }
}

impl Random {
    /// A packet between these addresses, which are of one version.
    fn packet(&mut self, source: IpAddr, destination: IpAddr) -> Packet {
        let icmp = if source.is_ipv4() { 1 } else { 58 };
        let protocol = self.one(&[6, 6, 6, 17, 17, 17, 132, icmp, icmp, GRE, IP_IN_IP]);
        let mut packet = Packet { source, destination, protocol, ports: None, icmp: None };
        if WITH_PORTS.contains(&protocol) {
            let near = |port: u16, random: &mut Random| port + u16::from(random.percent(20));
            let from = self.one(&PORTS);
            let (from, to) = (near(from, self), self.one(&PORTS));
            let to = if self.percent(3) { VXLAN } else { near(to, self) };
            packet.ports = Some((from, to));
        } else if protocol == icmp {
            // Others begin no connection, and are dropped as invalid.
            let kinds: [u8; 2] = if source.is_ipv4() { [8, 13] } else { [128, 139] };
            packet.icmp = Some((self.one(&kinds), self.one(&[0, 1])));
        }
        packet
    }

    fn address_at(&mut self, spot: Spot, v6: bool) -> IpAddr {
        let all: &[&str] = match spot {
            Spot::Host => &OF_HOST,
            Spot::Device(index @ (0 | 1)) => &OF_WORKLOADS[index],
            Spot::Device(index) => &OF_INTERFACES[index - 2],
        };
        let all: Vec<IpAddr> = all.iter().map(|address| address.parse().unwrap()).collect();
        let of_version: Vec<_> = all.into_iter().filter(|a| a.is_ipv6() == v6).collect();
        self.one(&of_version)
    }

    /// Packets that all begin connections of their own.
    pub(crate) fn trials(&mut self, enforced: &mut Enforced, settings: &Settings) -> Vec<Trial> {
        let spots = [
            Spot::Device(0),
            Spot::Device(0),
            Spot::Device(1),
            Spot::Device(1),
            Spot::Device(2),
            Spot::Device(2),
            Spot::Device(3),
            Spot::Host,
        ];
        let mut connections = BTreeSet::new();
        let mut trials = Vec::new();
        for _ in 0..PACKETS {
            let (from, to, v6) = (self.one(&spots), self.one(&spots), self.percent(50));
            let (source, destination) = (self.address_at(from, v6), self.address_at(to, v6));
            let packet = self.packet(source, destination);
            let (source_port, destination_port) = packet.ports.unwrap_or_default();
            let mut ends = [(source, source_port), (destination, destination_port)];
            ends.sort();
            let is_new = packet.icmp.is_some() || connections.insert((packet.protocol, ends));
            if from == to || !is_new {
                continue;
            }
            let number = enforced.next_number();
            let told = &enforced.told;
            let (node, from_place) = (node(told, settings), place(told, from));
            let decisions = through_node(told, &node, from_place, place(told, to), &packet);
            let (allowed, why) = (allowed(&decisions), told_of(&decisions));
            trials.push(Trial { number, from, to, packet, allowed, why, decisions });
        }
        trials
    }
}

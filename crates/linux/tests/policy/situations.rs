//! What no policy decides: who a workload says it is, tunnels, neighbours, the node itself; how
//! packets are refused, and who sees those that are allowed.

use crate::enforced::{Enforced, Trial};
use crate::machine::Spot;
use crate::random::WORKLOADS;
use kernel::nft::{
    BaseChain, Chain, ChainKind, Family, Hook, Match, Rule as NftRule, Table, Tables,
};
use model::config::{AllowAction, DenyAction, EndpointToHostAction};
use plan::policy::Settings;
use policy::Told;
use policy::evaluate::Packet;
use policy::input::{Action, WorkloadId};
use policy::output::{Entity, HostEndpoint, Profile, Rule, Workload};
use std::time::Duration;

const A: Spot = Spot::Device(0);
const B: Spot = Spot::Device(1);
const OUTSIDE: Spot = Spot::Device(2);
const UDP: u8 = 17;
/// Type and code of port unreachable (RFC 792, RFC 4443).
const PORT_UNREACHABLE: (u8, u8) = (3, 3);
const PORT_UNREACHABLE_V6: (u8, u8) = (1, 4);
const SOON: Duration = Duration::from_secs(2);

fn udp(source: &str, destination: &str) -> Packet {
    let ports = Some((4000, 5000));
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Packet { source, destination, protocol: UDP, ports, icmp: None }
}

/// A packet of no connection.
fn echo_reply(source: &str, destination: &str) -> Packet {
    Packet { protocol: 1, ports: None, icmp: Some((0, 0)), ..udp(source, destination) }
}

/// Workloads whose profile has this one rule in both directions.
fn told(workloads: &[&str], action: Action) -> Told {
    let rule = Rule {
        action,
        ip_version: None,
        protocol: None,
        not_protocol: None,
        icmp: None,
        not_icmp: None,
        source: Entity::default(),
        destination: Entity::default(),
        name: "".into(),
    };
    let mut told = Told::default();
    let profile = Profile { ingress: vec![rule.clone()], egress: vec![rule] };
    told.profiles.insert("all".into(), profile.into());
    for interface in workloads {
        let id = WorkloadId { namespace: "shop".into(), name: (*interface).into() };
        let profiles = vec!["all".into()];
        let allowed_sources = vec!["10.99.0.0/16".parse().unwrap()];
        let interface = (*interface).into();
        let endpoint = Workload { interface, profiles, allowed_sources, ..Workload::default() };
        told.workloads.insert(id, endpoint.into());
    }
    told
}

impl Enforced {
    fn expect(&mut self, allowed: bool, from: Spot, to: Spot, packet: Packet, why: &str) {
        let (number, why) = (self.next_number(), why.to_owned());
        let decisions = Vec::new();
        let trial = Trial { number, from, to, packet, allowed, why, decisions };
        self.try_out(&[trial]).unwrap_or_else(|account| panic!("{account}"));
    }

    /// A packet starts out, and somebody else looks what comes of it.
    fn send_again(&mut self, from: Spot, packet: Packet) {
        let bytes = crate::wire::bytes(&packet, self.next_number());
        self.machine.send(from, &bytes, packet.destination);
    }
}

#[test]
fn a_workload_sends_from_its_own_addresses_only() {
    let mut settings = Settings::default();
    let mut node = Enforced::new(&settings);
    node.tell(told(&WORKLOADS, Action::Allow));
    node.expect(true, A, OUTSIDE, udp("10.65.1.1", "10.1.0.1"), "its own");
    node.expect(true, A, OUTSIDE, udp("fd00:65:1::1", "fd00:1::1"), "its own");
    node.expect(false, A, OUTSIDE, udp("10.65.2.1", "10.1.0.1"), "another workload's");
    node.expect(false, A, OUTSIDE, udp("fd00:65:2::1", "fd00:1::1"), "another workload's");
    node.expect(false, A, OUTSIDE, udp("10.99.0.1", "10.1.0.1"), "spoofing isn't allowed");
    settings.source_spoofing = true;
    node.configure(&settings);
    node.tell(told(&WORKLOADS, Action::Allow));
    node.expect(true, A, OUTSIDE, udp("10.99.0.1", "10.1.0.1"), "its allowed source");
    node.expect(false, A, OUTSIDE, udp("10.65.2.1", "10.1.0.1"), "still another's");
}

#[test]
fn a_workload_that_was_not_told_of_is_cut_off() {
    let mut node = Enforced::new(&Settings::default());
    node.tell(told(&[WORKLOADS[0]], Action::Allow));
    node.expect(false, A, B, udp("10.65.1.1", "10.65.2.1"), "no chain for it yet");
    node.expect(false, B, A, udp("10.65.2.1", "10.65.1.1"), "no chain for it yet");
    node.tell(told(&WORKLOADS, Action::Allow));
    node.expect(true, A, B, udp("10.65.1.1", "10.65.2.1"), "now it has one");
    node.tell(told(&[WORKLOADS[0]], Action::Allow));
    node.expect(false, A, B, udp("10.65.1.1", "10.65.2.1"), "it is gone");
}

#[test]
fn connections_go_on_and_answers_pass() {
    let mut node = Enforced::new(&Settings::default());
    node.tell(told(&WORKLOADS, Action::Allow));
    let request = udp("10.65.1.1", "10.65.2.1");
    let answer = Packet {
        source: request.destination,
        destination: request.source,
        ports: Some((5000, 4000)),
        ..request
    };
    node.expect(true, A, B, request, "allowed");
    node.expect(true, B, A, answer, "an answer");
    // A table without a word of conntrack: the connection itself is known still.
    node.retell(told(&WORKLOADS, Action::Deny));
    node.expect(true, A, B, request, "of a connection that was allowed");
    node.expect(true, B, A, answer, "of a connection that was allowed");
    node.machine.forget_connections();
    node.expect(false, B, A, answer, "the connection is forgotten");
}

#[test]
fn what_a_workload_sends_to_its_node_passes_by_the_setting() {
    for (action, passes) in [
        (EndpointToHostAction::Drop, false),
        (EndpointToHostAction::Accept, true),
        (EndpointToHostAction::Return, true),
    ] {
        let settings = Settings { endpoint_to_host: action, ..Settings::default() };
        let mut node = Enforced::new(&settings);
        let why = format!("{action:?}");
        node.tell(told(&WORKLOADS, Action::Allow));
        node.expect(passes, A, Spot::Host, udp("10.65.1.1", "10.64.0.1"), &why);
        node.expect(passes, A, Spot::Host, udp("fd00:65:1::1", "fd00:64::1"), &why);
        node.tell(told(&WORKLOADS, Action::Deny));
        node.expect(false, A, Spot::Host, udp("10.65.1.1", "10.64.0.1"), "its own policy");
    }
}

#[test]
fn neighbour_discovery_passes_to_the_node_whatever_policy_says() {
    let mut node = Enforced::new(&Settings::default());
    node.tell(told(&WORKLOADS, Action::Deny));
    for (kind, passes) in [(130, true), (133, true), (135, true), (136, true), (128, false)] {
        let icmp = Some((kind, 0));
        let packet =
            Packet { protocol: 58, ports: None, icmp, ..udp("fd00:65:1::1", "fd00:64::1") };
        node.expect(passes, A, Spot::Host, packet, "ICMPv6");
    }
}

#[test]
fn a_workload_opens_no_tunnels_unless_it_may() {
    let vxlan = |packet: Packet| Packet { ports: Some((4000, 4789)), ..packet };
    let ipip = |packet: Packet| Packet { ports: None, protocol: 4, ..packet };
    for allowed in [false, true] {
        let (vxlan_from_workloads, ipip_from_workloads) = (allowed, allowed);
        let settings =
            Settings { vxlan_from_workloads, ipip_from_workloads, ..Settings::default() };
        let mut node = Enforced::new(&settings);
        node.tell(told(&WORKLOADS, Action::Allow));
        let (out, back) = (udp("10.65.1.1", "10.1.0.1"), udp("10.1.0.1", "10.65.1.1"));
        node.expect(allowed, A, OUTSIDE, vxlan(out), "VXLAN from a workload");
        node.expect(allowed, A, OUTSIDE, ipip(out), "IP-in-IP from a workload");
        node.expect(true, A, OUTSIDE, out, "no tunnel");
        // Conntrack sees the other way as answers of what was allowed.
        node.machine.forget_connections();
        node.expect(true, OUTSIDE, A, vxlan(back), "VXLAN to a workload");
    }
}

#[test]
fn what_policy_denies_is_rejected_where_that_is_asked_for() {
    let settings = Settings { deny: DenyAction::Reject, ..Settings::default() };
    let mut node = Enforced::new(&settings);
    // Every packet through the node, and every one of its own, is somebody's to deny.
    let mut denied = told(&WORKLOADS, Action::Deny);
    let profiles = vec!["all".into()];
    let endpoint = HostEndpoint { interface: "*".into(), profiles, ..HostEndpoint::default() };
    denied.host_endpoints.insert("node*".to_owned(), endpoint.into());
    let tcp = |packet: Packet| Packet { protocol: 6, ..packet };
    let (v4, v6) = (udp("10.65.1.1", "10.1.0.1"), udp("fd00:65:1::1", "fd00:1::1"));
    let to_host = udp("10.1.0.1", "10.64.0.1");
    node.tell(denied);
    for (from, to, packet, answer) in [
        (A, OUTSIDE, v4, PORT_UNREACHABLE),
        (A, OUTSIDE, tcp(v4), PORT_UNREACHABLE),
        (A, OUTSIDE, v6, PORT_UNREACHABLE_V6),
    ] {
        node.expect(false, from, to, packet, "its profile denies it");
        node.send_again(from, packet);
        let Spot::Device(device) = from else { panic!("{from:?}") };
        assert_eq!(node.machine.next_icmp(device, SOON), Some(answer), "{packet:?}");
    }
    node.expect(false, OUTSIDE, Spot::Host, to_host, "the host's profile denies it");
    node.expect(false, Spot::Host, OUTSIDE, udp("10.64.0.1", "10.1.0.1"), "here too");
    node.expect(false, Spot::Host, OUTSIDE, echo_reply("10.64.0.1", "10.1.0.1"), "of no request");
    node.tell(told(&WORKLOADS, Action::Allow));
    node.expect(true, A, OUTSIDE, v4, "allowed");
    node.expect(true, Spot::Host, OUTSIDE, echo_reply("10.64.0.1", "10.1.0.1"), "nobody's");
    node.expect(true, OUTSIDE, Spot::Host, to_host, "nobody's to deny");
    // A tier in which nothing matches denies alike, and a rule in one before others.
    node.tell(told(&WORKLOADS, Action::Pass));
    node.expect(false, A, OUTSIDE, v4, "no profile allows it");
    node.send_again(A, v4);
    assert_eq!(node.machine.next_icmp(0, SOON), Some(PORT_UNREACHABLE));
}

#[test]
fn other_tables_see_what_policy_allows() {
    let drop = vec![Match::Protocol(UDP), Match::destination_port(5001)];
    let base = BaseChain { kind: ChainKind::Filter, hook: Hook::Forward, priority: 10 };
    let rules = vec![NftRule::new(drop, kernel::nft::Verdict::Drop)];
    let mut table = Table::new(Family::Ip, "others");
    table.chains.insert("after".to_owned(), Chain { base: Some(base), rules });
    for action in [AllowAction::Accept, AllowAction::Return] {
        let settings =
            Settings { filter_allow: action, mangle_allow: action, ..Settings::default() };
        let mut node = Enforced::new(&settings);
        let mut others = Tables::new();
        others.set_static(&[table.clone()]);
        node.machine.program(&mut others);
        node.tell(told(&WORKLOADS, Action::Allow));
        let packet = udp("10.65.1.1", "10.1.0.1");
        node.expect(true, A, OUTSIDE, packet, "policy and the other table allow it");
        let packet = Packet { ports: Some((4000, 5001)), ..packet };
        node.expect(false, A, OUTSIDE, packet, "the other table drops it");
        node.tell(told(&WORKLOADS, Action::Deny));
        node.expect(false, A, OUTSIDE, udp("10.65.1.1", "10.1.0.1"), "policy denies it");
    }
}

#[test]
fn packets_for_services_that_nothing_serves_do_not_go_round() {
    let ranges = ["10.96.0.0/12", "fd00:96::/108"].map(|net| net.parse().unwrap());
    let to_service = udp("10.1.0.1", "10.96.0.10");
    let to_service_v6 = udp("fd00:1::1", "fd00:96::a");
    for (service_loops, passes) in
        [(Some(DenyAction::Drop), false), (None, true), (Some(DenyAction::Reject), false)]
    {
        let settings =
            Settings { service_loops, service_ranges: ranges.into(), ..Settings::default() };
        let mut node = Enforced::new(&settings);
        node.tell(told(&WORKLOADS, Action::Allow));
        node.expect(passes, OUTSIDE, OUTSIDE, to_service, "back to the router");
        node.expect(passes, OUTSIDE, OUTSIDE, to_service_v6, "back to the router");
        node.expect(passes, A, OUTSIDE, udp("10.65.1.1", "10.96.0.10"), "a workload's");
        node.expect(true, A, OUTSIDE, udp("10.65.1.1", "10.112.0.10"), "no service's");
        if service_loops == Some(DenyAction::Reject) {
            node.send_again(OUTSIDE, to_service);
            assert_eq!(node.machine.next_icmp(2, SOON), Some(PORT_UNREACHABLE));
        }
    }
}

//! What no policy decides: who a workload says it is, tunnels, neighbours, the node itself.

use crate::enforced::{Enforced, Trial};
use crate::machine::Spot;
use crate::random::WORKLOADS;
use model::config::EndpointToHostAction;
use plan::policy::Settings;
use policy::Told;
use policy::evaluate::Packet;
use policy::input::{Action, WorkloadId};
use policy::output::{Entity, Profile, Rule, Workload};

const A: Spot = Spot::Device(0);
const B: Spot = Spot::Device(1);
const OUTSIDE: Spot = Spot::Device(2);
const UDP: u8 = 17;

fn udp(source: &str, destination: &str) -> Packet {
    let ports = Some((4000, 5000));
    let (source, destination) = (source.parse().unwrap(), destination.parse().unwrap());
    Packet { source, destination, protocol: UDP, ports, icmp: None }
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

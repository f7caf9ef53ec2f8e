//! Explanations for people: the verdict first, then each node's part of it.

use super::{Question, decided_by, verdict};
use node::explain::{Explanation, HeldChain, HeldRoute, Leg, Nat};
use policy::connectivity::protocol_name;
use policy::evaluate::{At, Decision, Direction, Packet, Traffic, Verdict};
use std::fmt::Write;
use std::net::SocketAddr;

/// Steps that are listed; of more, how many.
const STEPS_MAX: usize = 20;

/// The packet's way, node by node.
pub(super) fn way(question: &Question, hops: &[Explanation]) -> String {
    let mut text = heading(question);
    text += &format!("{}\n", conclusion(hops));
    for (place, hop) in hops.iter().enumerate() {
        text += &format!("\n{}. {}\n", place + 1, hop.node);
        for leg in &hop.legs {
            text += &leg_text(leg, &hop.kernel.chains);
        }
        text += &network(hop);
        for problem in &hop.kernel.problems {
            text += &format!("   not read: {problem}\n");
        }
    }
    text
}

fn heading(question: &Question) -> String {
    let Question { from, to, packet } = question;
    format!("{} → {}   {}\n", from.name, to.name, packet_text(packet))
}

fn packet_text(packet: &Packet) -> String {
    let (source, destination) = (packet.source, packet.destination);
    let protocol = protocol_name(packet.protocol);
    match packet.ports {
        Some((from, to)) => {
            let (from, to) = (SocketAddr::new(source, from), SocketAddr::new(destination, to));
            format!("{protocol} {from} → {to}")
        }
        None => format!("{protocol} {source} → {destination}"),
    }
}

fn conclusion(hops: &[Explanation]) -> String {
    match (verdict(hops), decided_by(hops)) {
        (Verdict::Deny, Some((hop, leg))) => {
            format!("DENIED on {} by {}", hop.node, leg.decision.by)
        }
        _ => "ALLOWED by policy".to_owned(),
    }
}

fn leg_text(leg: &Leg, held: &[HeldChain]) -> String {
    let mut text = format!("   policy: {}: ", place(leg));
    text += &decision_text(&leg.decision);
    text += &kernel_text(leg, held);
    text
}

/// Whose policies are asked.
fn place(leg: &Leg) -> String {
    let word = |direction| match direction {
        Direction::Ingress => "ingress",
        Direction::Egress => "egress",
    };
    let interface = &leg.interface;
    match leg.at {
        At::Workload(direction) => format!("{} of {interface}", word(direction)),
        At::HostEndpoint(traffic, direction) => {
            let kind = match traffic {
                Traffic::Local => "the node's own",
                Traffic::Forwarded => "applyOnForward",
                Traffic::Untracked => "doNotTrack",
                Traffic::PreDnat => "preDNAT",
            };
            format!("{} of the host endpoint of {interface}, {kind}", word(direction))
        }
        At::Node => format!("from {interface} to this node"),
    }
}

/// The verdict, then what was looked at before.
fn decision_text(decision: &Decision) -> String {
    let mut text = format!("{decision}\n");
    for step in decision.looked_at.iter().take(STEPS_MAX) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "     before: {step}");
    }
    match decision.looked_at.len().saturating_sub(STEPS_MAX) {
        0 => text,
        more => text + &format!("     before: {more} more (-o json has all)\n"),
    }
}

/// The rule in the kernel that means the decision, and whether its chains are what they should be.
fn kernel_text(leg: &Leg, held: &[HeldChain]) -> String {
    let comment = leg.decision.by.to_string();
    let own = |chain: &&HeldChain| {
        chain.name.ends_with(&*leg.interface) || chain.rules.iter().any(|r| r.comment == comment)
    };
    let mut text = String::new();
    for chain in held.iter().filter(own) {
        let state = if chain.as_wanted { "as wanted" } else { "NOT AS WANTED: being repaired" };
        let _ = writeln!(text, "   kernel: {} ({} rules), {state}", chain.name, chain.rules.len());
        for rule in chain.rules.iter().filter(|rule| rule.comment == comment) {
            let _ = writeln!(text, "     {} packets: {}", rule.packets, rule.text);
        }
    }
    text
}

/// NAT, route and encapsulation.
fn network(hop: &Explanation) -> String {
    let nat = match hop.nat {
        Nat::None => "none",
        Nat::Masquerade => "source becomes the node's address (natOutgoing)",
    };
    let route = match &hop.kernel.route {
        Some(route) => route_text(route),
        None => format!("none to {}: the packet ends here", hop.packet.destination),
    };
    format!("   NAT: {nat}\n   route: {route}\n")
}

fn route_text(route: &HeldRoute) -> String {
    if route.local {
        return "to this node itself".to_owned();
    }
    let via = route.gateway.map(|gateway| format!("via {gateway} ")).unwrap_or_default();
    let encapsulation = match route.device.as_str() {
        "tunl0" => "; encapsulated in IP-in-IP",
        "vxlan.calico" | "vxlan-v6.calico" => "; encapsulated in VXLAN",
        _ => "",
    };
    format!("{via}dev {}{encapsulation}", route.device)
}

/// What policies say now, and what they would say with a file.
pub(super) fn what_if(
    question: &Question,
    file: &str,
    before: &[Explanation],
    after: &[Explanation],
) -> String {
    let same = if verdict(before) == verdict(after) { " (no change)" } else { "" };
    let side = |hops: &[Explanation]| {
        let word = match verdict(hops) {
            Verdict::Allow => "ALLOWED",
            Verdict::Deny => "DENIED",
        };
        match decided_by(hops) {
            Some((hop, leg)) => format!("{word} on {} by {}", hop.node, leg.decision.by),
            None => format!("{word} by no policy"),
        }
    };
    let mut text = heading(question);
    text += &format!("now: {}\nwith {file}: {}{same}\n", side(before), side(after));
    for hop in after.iter().filter(|hop| !hop.legs.is_empty()) {
        text += &format!("\n{}\n", hop.node);
        for leg in &hop.legs {
            text += &format!("   {}: {}", place(leg), decision_text(&leg.decision));
        }
    }
    text
}

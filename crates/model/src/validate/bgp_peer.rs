//! BGPPeer: who peers with whom, and what goes together.

use super::fields;
use crate::resources::bgp_peer::BgpPeerSpec;
use crate::{Metadata, Problems};

pub(crate) fn check(spec: &BgpPeerSpec, _metadata: &Metadata, problems: &mut Problems) {
    local_side(spec, problems);
    remote_side(spec, problems);
    session(spec, problems);
}

fn local_side(spec: &BgpPeerSpec, problems: &mut Problems) {
    if !spec.node.is_empty() && !spec.node_selector.is_empty() {
        problems.add(
            "spec.nodeSelector",
            &spec.node_selector,
            "node is given too; keep one of them",
        );
    }
    for (field, text) in [
        ("spec.nodeSelector", &spec.node_selector),
        ("spec.peerSelector", &spec.peer_selector),
        ("spec.localWorkloadSelector", &spec.local_workload_selector),
    ] {
        fields::selector(field, text, problems);
    }
}

fn remote_side(spec: &BgpPeerSpec, problems: &mut Problems) {
    let (ip, selector) = (&spec.peer_ip, &spec.peer_selector);
    let workload = &spec.local_workload_selector;
    let peer = spec.peer_address().map(|(address, _)| address);
    if !ip.is_empty() && peer.is_none() {
        let reason = "write an address, 10.0.0.1:179 or [2001:db8::1]:179";
        problems.add("spec.peerIP", ip, reason);
    }
    match (ip.is_empty(), selector.is_empty(), workload.is_empty()) {
        (false, false, _) => {
            problems.add("spec.peerSelector", selector, "peerIP is given too; keep one of them");
        }
        (true, true, true) => problems.add(
            "spec.peerIP",
            ip,
            "it names no peer; give peerIP with asNumber, peerSelector or localWorkloadSelector",
        ),
        (false, true, true) if spec.as_number.is_none() => {
            problems.add("spec.asNumber", "", "a peer given by peerIP needs its asNumber");
        }
        (true, false, true) if spec.as_number.is_some() => {
            let number = spec.as_number.map(|n| n.to_string()).unwrap_or_default();
            let reason = "peers given by peerSelector have their own; leave it out";
            problems.add("spec.asNumber", number, reason);
        }
        _ => {}
    }
    if !workload.is_empty() && (!ip.is_empty() || !selector.is_empty()) {
        let reason = "peerIP or peerSelector is given too; keep one of them";
        problems.add("spec.localWorkloadSelector", workload, reason);
    }
    if !workload.is_empty() && spec.as_number.is_none() {
        problems.add("spec.asNumber", "", "peers given by localWorkloadSelector need an asNumber");
    }
    if !spec.reachable_by.is_empty() {
        let gateway = fields::address("spec.reachableBy", &spec.reachable_by, problems);
        if gateway.is_some_and(|g| peer.is_none_or(|p| p.is_ipv6() != g.is_ipv6())) {
            let reason = "it needs a peerIP of the same family";
            problems.add("spec.reachableBy", &spec.reachable_by, reason);
        }
    }
}

fn session(spec: &BgpPeerSpec, problems: &mut Problems) {
    let next_hop = spec.next_hop_mode.as_ref();
    fields::choice("spec.nextHopMode", next_hop, &["Auto", "Self", "Keep"], problems);
    if spec.keep_original_next_hop && next_hop.is_some() {
        let reason = "nextHopMode is given too and takes its place; leave it out";
        problems.add("spec.keepOriginalNextHop", true, reason);
    }
    let source = spec.source_address.as_ref();
    fields::choice("spec.sourceAddress", source, &["UseNodeIP", "None"], problems);
    let reverse = spec.reverse_peering.as_ref();
    fields::choice("spec.reversePeering", reverse, &["Auto", "Manual"], problems);
    fields::go_duration("spec.maxRestartTime", spec.max_restart_time.as_ref(), problems);
    fields::go_duration("spec.keepaliveTime", spec.keepalive_time.as_ref(), problems);
    fields::secret("spec.password", spec.password.as_ref(), problems);
    if let Some(number) = spec.num_allowed_local_as_numbers.filter(|n| *n < 0) {
        problems.add("spec.numAllowedLocalASNumbers", number, "it is 0 or more");
    }
    for (i, filter) in spec.filters.iter().enumerate() {
        if !super::is_name(filter) {
            problems.add(format!("spec.filters[{i}]"), filter, fields::NAME_RULE);
        }
    }
}

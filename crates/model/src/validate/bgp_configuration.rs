//! BGPConfiguration: what the cluster's may say and what a node's may say.

use super::fields;
use crate::config::LogSeverity;
use crate::resources::bgp_configuration::{BgpConfigurationSpec, CommunityValue};
use crate::{Metadata, Problems};
use ipnet::IpNet;

pub(super) const MAX_PRIORITY: u32 = 2_147_483_646;

pub(crate) fn check(spec: &BgpConfigurationSpec, metadata: &Metadata, problems: &mut Problems) {
    match metadata.name.strip_prefix("node.") {
        None if metadata.name == "default" => {}
        Some(node) if super::is_name(node) => node_scope(spec, problems),
        _ => problems.add(
            "metadata.name",
            &metadata.name,
            "name it default, or node.<name> for one node",
        ),
    }
    // Calico takes it in any case.
    let severity = spec.log_severity_screen.as_ref().map(|text| text.to_ascii_uppercase());
    fields::choice("spec.logSeverityScreen", severity.as_ref(), LogSeverity::WORDS, problems);
    mesh(spec, problems);
    advertised(spec, problems);
    communities(spec, problems);
    fields::choice("spec.bindMode", spec.bind_mode.as_ref(), &["None", "NodeIP"], problems);
    fields::choice(
        "spec.programClusterRoutes",
        spec.program_cluster_routes.as_ref(),
        &["Disabled", "Enabled", "EnabledIPIPOnly", "EnabledNoEncapOnly"],
        problems,
    );
    if spec.listen_port == Some(0) {
        problems.add("spec.listenPort", 0, "a port is from 1 to 65535");
    }
    for (field, priority) in [
        ("spec.ipv4NormalRoutePriority", spec.ipv4_normal_route_priority),
        ("spec.ipv6NormalRoutePriority", spec.ipv6_normal_route_priority),
    ] {
        if let Some(priority) = priority.filter(|p| !(1..=MAX_PRIORITY).contains(p)) {
            problems.add(field, priority, format!("a priority is from 1 to {MAX_PRIORITY}"));
        }
    }
    for (i, pattern) in spec.ignored_interfaces.iter().flatten().enumerate() {
        if !fields::is_interface(&pattern.replace('*', "x")) {
            let field = format!("spec.ignoredInterfaces[{i}]");
            problems.add(field, pattern, format!("{}, and `*`", fields::INTERFACE_RULE));
        }
    }
}

// What only the cluster's configuration may set.
fn node_scope(spec: &BgpConfigurationSpec, problems: &mut Problems) {
    let cluster_only = [
        ("spec.nodeToNodeMeshEnabled", spec.node_to_node_mesh_enabled.is_some()),
        ("spec.asNumber", spec.as_number.is_some()),
        ("spec.serviceClusterIPs", spec.service_cluster_ips.is_some()),
        ("spec.serviceExternalIPs", spec.service_external_ips.is_some()),
        ("spec.serviceLoadBalancerIPs", spec.service_load_balancer_ips.is_some()),
        ("spec.nodeMeshPassword", spec.node_mesh_password.is_some()),
        ("spec.nodeMeshMaxRestartTime", spec.node_mesh_max_restart_time.is_some()),
    ];
    for (field, _) in cluster_only.into_iter().filter(|(_, given)| *given) {
        problems.add(field, "set", "only BGPConfiguration(default) may set it; move it there");
    }
}

fn mesh(spec: &BgpConfigurationSpec, problems: &mut Problems) {
    fields::secret("spec.nodeMeshPassword", spec.node_mesh_password.as_ref(), problems);
    let restart = spec.node_mesh_max_restart_time.as_ref();
    fields::go_duration("spec.nodeMeshMaxRestartTime", restart, problems);
    if spec.node_to_node_mesh_enabled != Some(false) {
        return;
    }
    for (field, given) in [
        ("spec.nodeMeshPassword", spec.node_mesh_password.is_some()),
        ("spec.nodeMeshMaxRestartTime", restart.is_some()),
    ] {
        if given {
            problems.add(field, "set", "there is no mesh: nodeToNodeMeshEnabled is false");
        }
    }
}

fn advertised(spec: &BgpConfigurationSpec, problems: &mut Problems) {
    for (field, blocks) in spec.service_blocks() {
        for (i, block) in blocks.iter().enumerate() {
            range(&format!("spec.{field}[{i}].cidr"), &block.cidr, problems);
        }
    }
    fields::choice(
        "spec.serviceLoadBalancerAggregation",
        spec.service_load_balancer_aggregation.as_ref(),
        &["Enabled", "Disabled"],
        problems,
    );
    for (field, text, v6) in [
        ("spec.localWorkloadPeeringIPV4", &spec.local_workload_peering_ipv4, false),
        ("spec.localWorkloadPeeringIPV6", &spec.local_workload_peering_ipv6, true),
    ] {
        let Some(text) = text else { continue };
        let address = fields::address(field, text, problems);
        if address.is_some_and(|address| address.is_ipv6() != v6) {
            problems.add(field, text, "it is an address of the other family");
        }
    }
}

fn range(field: &str, text: &str, problems: &mut Problems) {
    if text.parse::<IpNet>().is_err() {
        problems.add(field, text, "write a range such as 10.96.0.0/12");
    }
}

fn communities(spec: &BgpConfigurationSpec, problems: &mut Problems) {
    const MAX_COMMUNITIES: usize = 500;
    const MAX_PER_PREFIX: usize = 50;
    let named = spec.communities.as_deref().unwrap_or_default();
    let uses = spec.prefix_advertisements.as_deref().unwrap_or_default();
    if named.len() > MAX_COMMUNITIES {
        let reason = format!("there may be {MAX_COMMUNITIES} at most");
        problems.add("spec.communities", named.len(), reason);
    }
    for (i, community) in named.iter().enumerate() {
        let field = format!("spec.communities[{i}].value");
        if CommunityValue::parse(&community.value).is_none() {
            problems.add(field, &community.value, COMMUNITY_RULE);
        }
        if !uses.iter().any(|one| one.communities.contains(&community.name)) {
            let field = format!("spec.communities[{i}].name");
            let reason = "no prefixAdvertisement uses it; use it in one or leave it out";
            problems.add(field, &community.name, reason);
        }
    }
    for (i, advertisement) in uses.iter().enumerate() {
        let field = format!("spec.prefixAdvertisements[{i}]");
        range(&format!("{field}.cidr"), &advertisement.cidr, problems);
        if advertisement.communities.len() > MAX_PER_PREFIX {
            let reason = format!("a prefix has {MAX_PER_PREFIX} communities at most");
            let count = advertisement.communities.len();
            problems.add(format!("{field}.communities"), count, reason);
        }
        for community in &advertisement.communities {
            if CommunityValue::parse(community).is_none()
                && !named.iter().any(|one| one.name == *community)
            {
                let reason = format!("spec.communities names no such; {COMMUNITY_RULE}");
                problems.add(format!("{field}.communities"), community, reason);
            }
        }
    }
}

pub(super) const COMMUNITY_RULE: &str =
    "write aa:nn (each to 65535) or aa:nn:mm (each to 4294967295)";

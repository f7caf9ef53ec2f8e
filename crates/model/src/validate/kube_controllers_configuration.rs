//! KubeControllersConfiguration: there is one, with words, times, ports and selectors that can be
//! read.

use super::fields;
use crate::resources::kube_controllers_configuration::{
    AutoHostEndpoints, KubeControllersConfigurationSpec, NodeControllerConfiguration,
};
use crate::{Metadata, Problems};

const SWITCH: [&str; 2] = ["Enabled", "Disabled"];
const SEVERITIES: [&str; 6] = ["None", "Debug", "Info", "Warning", "Error", "Fatal"];

pub(crate) fn check(
    spec: &KubeControllersConfigurationSpec,
    metadata: &Metadata,
    problems: &mut Problems,
) {
    if metadata.name != "default" {
        let reason = "there is one KubeControllersConfiguration, named default";
        problems.add("metadata.name", &metadata.name, reason);
    }
    let severity = spec.log_severity_screen.as_ref();
    fields::choice("spec.logSeverityScreen", severity, &SEVERITIES, problems);
    fields::choice("spec.healthChecks", spec.health_checks.as_ref(), &SWITCH, problems);
    let period = spec.etcd_v3_compaction_period.as_ref();
    fields::go_duration("spec.etcdV3CompactionPeriod", period, problems);
    port("spec.prometheusMetricsPort", spec.prometheus_metrics_port, problems);
    port("spec.debugProfilePort", spec.debug_profile_port, problems);

    let controllers = &spec.controllers;
    for (name, controller) in [
        ("policy", &controllers.policy),
        ("workloadEndpoint", &controllers.workload_endpoint),
        ("serviceAccount", &controllers.service_account),
        ("namespace", &controllers.namespace),
    ] {
        let period = controller.as_ref().and_then(|one| one.reconciler_period.as_ref());
        let field = format!("spec.controllers.{name}.reconcilerPeriod");
        fields::go_duration(&field, period, problems);
    }
    if let Some(node) = &controllers.node {
        check_node(node, problems);
    }
    if let Some(balancer) = &controllers.load_balancer {
        let (field, words) =
            ("spec.controllers.loadBalancer.assignIPs", ["AllServices", "RequestedServicesOnly"]);
        fields::choice(field, balancer.assign_ips.as_ref(), &words, problems);
    }
    if let Some(migration) = &controllers.migration {
        let field = "spec.controllers.migration.policyNameMigrator";
        fields::choice(field, migration.policy_name_migrator.as_ref(), &SWITCH, problems);
    }
}

fn check_node(node: &NodeControllerConfiguration, problems: &mut Problems) {
    let field = |name: &str| format!("spec.controllers.node.{name}");
    let (period, grace) = (&node.reconciler_period, &node.leak_grace_period);
    fields::go_duration(&field("reconcilerPeriod"), period.as_ref(), problems);
    fields::choice(&field("syncLabels"), node.sync_labels.as_ref(), &SWITCH, problems);
    fields::go_duration(&field("leakGracePeriod"), grace.as_ref(), problems);
    if let Some(endpoints) = &node.host_endpoint {
        check_host_endpoints(endpoints, &field("hostEndpoint"), problems);
    }
}

fn check_host_endpoints(endpoints: &AutoHostEndpoints, field: &str, problems: &mut Problems) {
    for (name, text) in [
        ("autoCreate", &endpoints.auto_create),
        ("createDefaultHostEndpoint", &endpoints.create_default_host_endpoint),
    ] {
        fields::choice(&format!("{field}.{name}"), text.as_ref(), &SWITCH, problems);
    }
    for (i, template) in endpoints.templates.iter().enumerate() {
        let field = |name: &str| format!("{field}.templates[{i}].{name}");
        let name = &template.generate_name;
        if !super::is_name(name) {
            problems.add(field("generateName"), name, fields::NAME_RULE);
        }
        for (j, text) in template.interface_cidrs.iter().enumerate() {
            if fields::network_address(text).is_none() {
                let reason = "write a range, such as 10.0.0.0/8";
                problems.add(field(&format!("interfaceCIDRs[{j}]")), text, reason);
            }
        }
        fields::labels(&field("labels"), &template.labels, problems);
        if let Some(text) = &template.node_selector {
            fields::selector(&field("nodeSelector"), text, problems);
        }
    }
}

fn port(field: &str, port: Option<i32>, problems: &mut Problems) {
    if let Some(port) = port.filter(|port| !(0..=65535).contains(port)) {
        problems.add(field, port, "a port is from 1 to 65535; 0 is none");
    }
}

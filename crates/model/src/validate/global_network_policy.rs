//! GlobalNetworkPolicy: its name, its namespaces, and what goes with host endpoints.

use super::policy;
use crate::resources::global_network_policy::GlobalNetworkPolicySpec;
use crate::{Metadata, PolicySpec, PolicyType, Problems};

pub(crate) fn check(spec: &GlobalNetworkPolicySpec, metadata: &Metadata, problems: &mut Problems) {
    let name = &metadata.name;
    if super::is_name(name) && !policy::is_name(name) {
        problems.add("metadata.name", name, policy::NAME_RULE);
    }
    policy::check(&spec.parts(), true, problems);
    policy::selector("spec.namespaceSelector", &spec.namespace_selector, problems);
    host_endpoints(spec, problems);
}

fn host_endpoints(spec: &GlobalNetworkPolicySpec, problems: &mut Problems) {
    if spec.do_not_track && spec.pre_dnat {
        let reason = "doNotTrack is true too; set one of the two to false";
        problems.add("spec.preDNAT", true, reason);
    }
    if (spec.do_not_track || spec.pre_dnat) && !spec.apply_on_forward {
        let reason = "preDNAT and doNotTrack see packets before it is known whether they are \
                      forwarded; set it to true";
        problems.add("spec.applyOnForward", false, reason);
    }
    if spec.pre_dnat && !spec.egress.is_empty() {
        let reason = "a preDNAT policy sees incoming packets only; leave the rules out";
        problems.add("spec.egress", format!("{} rules", spec.egress.len()), reason);
    }
    if spec.pre_dnat && spec.types.contains(&PolicyType::Egress) {
        let reason = "a preDNAT policy sees incoming packets only; leave Egress out";
        problems.add("spec.types", "Egress", reason);
    }
}

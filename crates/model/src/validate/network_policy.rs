//! NetworkPolicy: its name, and what policies of every kind must satisfy.

use super::policy;
use crate::resources::network_policy::NetworkPolicySpec;
use crate::{Metadata, PolicySpec, Problems};

/// Starts of the names of policies that stand for those of Kubernetes and OpenStack.
const FOREIGN: [&str; 2] = ["knp.default.", "ossg.default."];

pub(crate) fn check(spec: &NetworkPolicySpec, metadata: &Metadata, problems: &mut Problems) {
    let name = &metadata.name;
    let foreign = FOREIGN.iter().find_map(|start| name.strip_prefix(start));
    if super::is_name(name) && !foreign.map_or(policy::is_name(name), super::is_name) {
        problems.add("metadata.name", name, policy::NAME_RULE);
    }
    policy::check(&spec.parts(), false, problems);
}

//! Staged policies: as those they stand for, or nothing at all where they stand for a deletion.

use super::policy;
use crate::kubernetes::network_policy::NetworkPolicySpec as KubernetesPolicySpec;
use crate::resources::staged::{Stageable, Staged, StagedAction};
use crate::{Metadata, Problems};

pub(crate) fn check<P: Stageable>(spec: &Staged<P>, metadata: &Metadata, problems: &mut Problems) {
    if spec.action() != StagedAction::Delete {
        spec.policy.check_policy(metadata, problems);
    } else if spec.policy != spec.policy.tier_only() {
        let reason = "a policy that is to be deleted says no more than its tier; leave out the \
                      other fields";
        problems.add("spec.stagedAction", "Delete", reason);
    }
}

/// Checks that Calico can make something of each rule.
pub(crate) fn check_kubernetes(spec: &KubernetesPolicySpec, problems: &mut Problems) {
    let (converted, unreadable) = spec.to_calico();
    problems.0.extend(unreadable);
    policy::selector("spec.podSelector", &converted.selector, problems);
    let peers = converted.ingress.iter().map(|rule| ("spec.ingress", &rule.source));
    let destinations = converted.egress.iter().map(|rule| ("spec.egress", &rule.destination));
    for (field, peer) in peers.chain(destinations) {
        policy::selector(field, &peer.selector, problems);
        policy::selector(field, &peer.namespace_selector, problems);
    }
}

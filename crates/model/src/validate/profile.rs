//! Profile: its rules and the labels it hands on.

use super::{fields, policy};
use crate::resources::profile::ProfileSpec;
use crate::{Metadata, PolicyType, Problems};

pub(crate) fn check(spec: &ProfileSpec, _metadata: &Metadata, problems: &mut Problems) {
    policy::rules("spec.ingress", &spec.ingress, PolicyType::Ingress, true, problems);
    policy::rules("spec.egress", &spec.egress, PolicyType::Egress, true, problems);
    fields::labels("spec.labelsToApply", &spec.labels_to_apply, problems);
}

//! Profile: its labels; its rules come with the policy language.

use super::fields;
use crate::resources::profile::ProfileSpec;
use crate::{Metadata, Problems};

pub(crate) fn check(spec: &ProfileSpec, _metadata: &Metadata, problems: &mut Problems) {
    fields::labels("spec.labelsToApply", &spec.labels_to_apply, problems);
}

//! CalicoNodeStatus: which node is asked what, and how often.

use super::fields;
use crate::Problems;
use crate::resources::calico_node_status::CalicoNodeStatusSpec;

/// A day.
const PERIOD_SECONDS_MAX: u32 = 86_400;

pub(crate) fn check(spec: &CalicoNodeStatusSpec, problems: &mut Problems) {
    if !super::is_name(&spec.node) {
        problems.add("spec.node", &spec.node, "name the node that is asked, as `get nodes` does");
    }
    for (i, class) in spec.classes.iter().enumerate() {
        let field = format!("spec.classes[{i}]");
        fields::choice(&field, Some(class), &["Agent", "BGP", "Routes"], problems);
    }
    match spec.update_period_seconds {
        None => problems.add(
            "spec.updatePeriodSeconds",
            "",
            "say how often the node answers, in seconds; 0 is once",
        ),
        Some(seconds) if seconds > PERIOD_SECONDS_MAX => {
            let reason = format!("it is {PERIOD_SECONDS_MAX} at most, which is a day");
            problems.add("spec.updatePeriodSeconds", seconds, reason);
        }
        Some(_) => {}
    }
}

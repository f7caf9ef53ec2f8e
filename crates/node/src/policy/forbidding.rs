//! Which changes can forbid what was allowed. Pods come and go, here and elsewhere: that must not
//! cost a reading of all connections each time.

use plan::policy::Renderer;
use policy::Output;
use policy::input::Action;
use policy::output::{Rule, SetId, Workload};
use std::net::IpAddr;

/// Whether connections may have to end because of a change that the renderer doesn't know yet. What a
/// change brings is judged with whatever refers to it, which is told as well. `is_own`: whether an
/// address is of this node's blocks.
pub(super) fn may_forbid(
    renderer: &Renderer,
    output: &Output,
    is_own: impl Fn(&IpAddr) -> bool,
) -> bool {
    match output {
        // A workload that had no addresses has no connections: its addresses were nobody's, or are
        // told to be gone. Unless another node's had them.
        Output::Workload(id, workload) => {
            let had_addresses = |old: &Workload| !old.addresses.is_empty();
            renderer.workload(id).is_some_and(had_addresses)
                || !workload.addresses.iter().all(is_own)
        }
        Output::Policy(id, _) => renderer.policy(id).is_some(),
        Output::Set { id, .. } => renderer.has_set(id),
        Output::PolicyGone(_) | Output::SetGone(_) => false,
        Output::Members { id, removed, .. } => {
            !removed.is_empty() || renderer.rules_with(id).any(|rule| !only_allows(rule, id))
        }
        Output::Profile(..)
        | Output::ProfileGone(_)
        | Output::WorkloadGone(_)
        | Output::HostEndpoint(..)
        | Output::HostEndpointGone(_) => true,
    }
}

/// Whether a rule only allows more, the more members the set has.
fn only_allows(rule: &Rule, set: &SetId) -> bool {
    let excludes = |sets: &[SetId]| sets.contains(set);
    let ends = [&rule.source, &rule.destination];
    let excluded = ends.iter().any(|end| excludes(&end.not_sets) || excludes(&end.not_port_sets));
    rule.action == Action::Allow && !excluded
}

#[cfg(test)]
mod tests;

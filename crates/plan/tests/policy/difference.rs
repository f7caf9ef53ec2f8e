//! What must be told for one state to become another.

use policy::Told;
use policy::output::{Member, Output};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// What must be told so that `new` is known where `old` was, in the order that the graph keeps.
pub(crate) fn difference(old: &Told, new: &Told) -> Vec<Output> {
    let mut outputs = Vec::new();
    for (id, set) in &new.sets {
        match old.sets.get(id) {
            Some(before) if before.kind == set.kind => {
                let take = |a: &BTreeSet<Member>, b| a.difference(b).copied().collect::<Vec<_>>();
                let added = take(&set.members, &before.members);
                let removed = take(&before.members, &set.members);
                if !(added.is_empty() && removed.is_empty()) {
                    outputs.push(Output::Members { id: id.clone(), added, removed });
                }
            }
            _ => {
                let (id, members) = (id.clone(), set.members.clone());
                outputs.push(Output::Set { id, kind: set.kind, members });
            }
        }
    }
    outputs.extend(other(&old.policies, &new.policies, Output::Policy));
    outputs.extend(other(&old.profiles, &new.profiles, Output::Profile));
    outputs.extend(other(&old.workloads, &new.workloads, Output::Workload));
    outputs.extend(other(&old.host_endpoints, &new.host_endpoints, Output::HostEndpoint));
    outputs.extend(gone(&old.workloads, &new.workloads, Output::WorkloadGone));
    outputs.extend(gone(&old.host_endpoints, &new.host_endpoints, Output::HostEndpointGone));
    outputs.extend(gone(&old.policies, &new.policies, Output::PolicyGone));
    outputs.extend(gone(&old.profiles, &new.profiles, Output::ProfileGone));
    outputs.extend(gone(&old.sets, &new.sets, Output::SetGone));
    outputs
}

fn other<K: Ord + Clone, T: PartialEq>(
    old: &BTreeMap<K, Arc<T>>,
    new: &BTreeMap<K, Arc<T>>,
    output: impl Fn(K, Arc<T>) -> Output,
) -> Vec<Output> {
    let other = new.iter().filter(|(key, object)| old.get(*key) != Some(object));
    other.map(|(key, object)| output(key.clone(), object.clone())).collect()
}

fn gone<K: Ord + Clone, T>(
    old: &BTreeMap<K, T>,
    new: &BTreeMap<K, T>,
    output: impl Fn(K) -> Output,
) -> Vec<Output> {
    old.keys().filter(|key| !new.contains_key(*key)).cloned().map(output).collect()
}

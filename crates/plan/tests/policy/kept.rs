//! Tables as the sum of updates, and outputs as the difference of what is to be told.

use kernel::nft::{Family, Part, Table, Update};
use policy::Told;
use policy::output::{Member, Output};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The tables that a sum of updates makes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kept {
    pub(crate) tables: BTreeMap<Family, Table>,
}

impl Kept {
    pub(crate) fn new() -> Kept {
        let table = |family| (family, Table::new(family, "calico"));
        Kept { tables: [Family::Ip, Family::Ip6].map(table).into() }
    }

    pub(crate) fn apply(&mut self, updates: Vec<Update>) {
        for update in updates {
            let table = self.tables.get_mut(&update.family).expect("a table of ours");
            match update.part {
                Part::Set(name, set) => put(&mut table.sets, name, set),
                Part::Map(name, map) => put(&mut table.maps, name, map),
                Part::Chain(name, chain) => put(&mut table.chains, name, chain),
                Part::Members { set, added, removed } => {
                    let elements = &mut table.sets.get_mut(&set).expect("a set").elements;
                    removed.iter().for_each(|member| assert!(elements.remove(member), "{member}"));
                    elements.extend(added);
                }
                Part::MapElements { map, elements, removed } => {
                    let map = &mut table.maps.get_mut(&map).expect("a map").elements;
                    removed.iter().for_each(|key| drop(map.remove(key)));
                    map.extend(elements);
                }
            }
        }
    }

    pub(crate) fn check(&self) {
        for table in self.tables.values() {
            table.check().unwrap_or_else(|wrong| panic!("{wrong}\n{table}"));
        }
    }

    pub(crate) fn text(&self) -> String {
        self.tables.values().map(|table| format!("{table}\n")).collect()
    }
}

fn put<T>(objects: &mut BTreeMap<String, T>, name: String, object: Option<T>) {
    match object {
        Some(object) => drop(objects.insert(name, object)),
        None => drop(objects.remove(&name)),
    }
}

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

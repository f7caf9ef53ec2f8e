//! Whatever the order of updates, the sum of what was told is what a fresh graph tells.

use super::{flush, fresh};
use crate::strategy::update;
use crate::{Graph, Told, Update};
use proptest::prelude::*;
use std::collections::BTreeMap;

/// The object that an update is about.
fn object(update: &Update) -> String {
    match update {
        Update::Workload(id, _) => format!("{id:?}"),
        Update::HostEndpoint(name, _) => format!("host endpoint {name}"),
        Update::Policy(id, _) => format!("{id:?}"),
        Update::Tier(name, _) => format!("tier {name}"),
        Update::Profile(name, _) => format!("profile {name}"),
        Update::NetworkSet(id, _) => format!("{id:?}"),
        Update::EndpointSlice(id, _) => format!("{id:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn the_sum_of_what_is_told_depends_on_the_last_state_only(
        updates in prop::collection::vec((update(), any::<bool>()), 1..40)
    ) {
        let (mut graph, mut told) = (Graph::new("here"), Told::default());
        let mut last = BTreeMap::new();
        for (update, flushes) in updates {
            last.insert(object(&update), update.clone());
            graph.on(update);
            if flushes {
                flush(&mut graph, &mut told);
            }
        }
        flush(&mut graph, &mut told);
        let (other, expected) = fresh(last.into_values());
        prop_assert_eq!(&told, &expected);
        prop_assert_eq!(sorted(&graph), sorted(&other));
        answers_are_as_told(&graph, &told)?;
        let mut nothing = true;
        graph.flush(&mut |_| nothing = false);
        prop_assert!(nothing, "a flush without changes told something");
    }

    #[test]
    fn deleting_everything_leaves_nothing(
        updates in prop::collection::vec(update(), 1..30)
    ) {
        let (mut graph, mut told) = fresh(updates.clone());
        for update in updates {
            graph.on(gone(update));
        }
        flush(&mut graph, &mut told);
        prop_assert_eq!(told, Told::default());
        prop_assert_eq!(graph.problems(), vec![]);
        prop_assert_eq!(graph.set_count(), 0);
    }
}

fn sorted(graph: &Graph) -> Vec<String> {
    let mut problems: Vec<String> = graph
        .problems()
        .iter()
        // Which of the endpoints is named is of no matter.
        .map(|problem| problem.to_string().split(", which ").next().unwrap().to_owned())
        .collect();
    problems.sort();
    problems
}

fn answers_are_as_told(graph: &Graph, told: &Told) -> Result<(), TestCaseError> {
    for (id, policy) in &told.policies {
        prop_assert_eq!(graph.policy(id), Some(policy.clone()));
    }
    for (name, profile) in &told.profiles {
        prop_assert_eq!(graph.profile(name), Some(profile.clone()));
    }
    for (id, workload) in &told.workloads {
        prop_assert_eq!(graph.workload(id), Some(workload.clone()));
    }
    for (name, endpoint) in &told.host_endpoints {
        prop_assert_eq!(graph.host_endpoint(name), Some(endpoint.clone()));
    }
    prop_assert_eq!(graph.workloads().count(), told.workloads.len());
    prop_assert_eq!(graph.host_endpoints().count(), told.host_endpoints.len());
    prop_assert_eq!(graph.policy_count(), told.policies.len());
    Ok(())
}

fn gone(update: Update) -> Update {
    match update {
        Update::Workload(id, _) => Update::Workload(id, None),
        Update::HostEndpoint(name, _) => Update::HostEndpoint(name, None),
        Update::Policy(id, _) => Update::Policy(id, None),
        Update::Tier(name, _) => Update::Tier(name, None),
        Update::Profile(name, _) => Update::Profile(name, None),
        Update::NetworkSet(id, _) => Update::NetworkSet(id, None),
        Update::EndpointSlice(id, _) => Update::EndpointSlice(id, None),
    }
}

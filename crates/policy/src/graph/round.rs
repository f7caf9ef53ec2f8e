//! One flush: from what has changed to what is told.

use super::Graph;
use super::cluster::{Changes, HOST_ENDPOINT, Labelled};
use super::in_force::{InForce, Needed};
use super::objects;
use super::policies::{Flags, Policy};
use super::tiers::{self, Tiers};

use crate::input::WorkloadId;
use crate::output::{self, HostEndpoint, Output, Workload};
use hashbrown::{HashMap, HashSet};
use std::collections::BTreeSet;
use std::iter::repeat_n;
use std::sync::Arc;

/// What a flush has to look at again, by number.
#[derive(Default)]
struct Round {
    /// Endpoints of this node that are new, or whose tiers may have changed.
    endpoints: BTreeSet<u32>,
    endpoints_gone: BTreeSet<u32>,
    policies: BTreeSet<u32>,
    /// Those of them that say something else now.
    policies_reworded: HashSet<u32>,
    policies_changed: Vec<u32>,
    profiles: BTreeSet<u32>,
    profiles_reworded: HashSet<u32>,
}

pub(super) fn flush(graph: &mut Graph, tell: &mut impl FnMut(Output)) {
    let mut round = Round::default();
    let changes = graph.cluster.take_changes(&graph.names);
    graph.sets.on_changes(&graph.names, &graph.cluster, &changes);
    graph.sets.on_services(&mut graph.services);
    graph.take_policies(&mut round);
    graph.select(&changes, &mut round);
    for number in &changes.profiles.numbers {
        let before = changes.profiles.before.get(number);
        let now = graph.cluster.profiles.get(*number);
        if before.map(|profile| &profile.body) != now.map(|profile| &profile.body) {
            round.profiles.insert(*number);
            round.profiles_reworded.insert(*number);
        }
    }

    let mut gone = vec![];
    let mut texts = HashMap::new();
    let mut told = graph.enforce_policies(&round, &mut texts, &mut gone);
    told.extend(graph.enforce_profiles(&round, &mut texts, &mut gone));
    let Graph { names, cluster, services, sets, .. } = graph;
    sets.tell(names, cluster, services, tell);
    told.into_iter().for_each(&mut *tell);
    graph.tell_endpoints(&round, tell);
    gone.into_iter().for_each(&mut *tell);
    graph.sets.tell_gone(tell);

    graph.cluster.finish(changes);
    for number in round.policies_changed {
        graph.policies.objects.forget_unused(number);
    }
}

impl Graph {
    fn take_policies(&mut self, round: &mut Round) {
        let objects::Changes { numbers, mut before } = self.policies.objects.take_changes();
        for number in numbers {
            let before = before.remove(&number);
            let now = self.policies.objects.get(number);
            let place =
                |policy: &Policy| (policy.selector, policy.tier, policy.order, policy.flags);
            let wording = |policy: &Policy| (policy.tier, policy.flags);
            let moved = before.as_ref().map(place) != now.map(place);
            let reworded = before.as_ref().map(wording) != now.map(wording)
                || before.as_ref().map(|policy| &policy.body) != now.map(|policy| &policy.body);
            let selector = now.map(|policy| policy.selector);
            if let Some(before) = &before {
                let old = self.policies.selector_mut(before.selector);
                old.policies.remove(number);
                if moved {
                    round.endpoints.extend(old.selected.iter());
                }
            }
            if let Some(selector) = selector {
                let new = self.policies.selector_mut(selector);
                new.policies.insert(number);
                if moved {
                    round.endpoints.extend(new.selected.iter());
                }
            }
            round.policies.insert(number);
            if reworded {
                round.policies_reworded.insert(number);
            }
            round.policies_changed.push(number);
            if let Some(before) = before {
                self.policies.release(&before);
            }
        }
        self.take_tiers(round);
    }

    fn take_tiers(&mut self, round: &mut Round) {
        let changed: HashSet<u32> =
            self.policies.tiers.take_changes().numbers.into_iter().collect();
        if changed.is_empty() {
            return;
        }
        let concerned = |selector: &u32| {
            let mut policies = self.policies.selector(*selector).policies.iter();
            policies.any(|number| {
                let policy = self.policies.objects.get(number);
                policy.is_some_and(|policy| changed.contains(&policy.tier))
            })
        };
        // A selector may be one of many endpoints.
        let selectors: HashSet<u32> = self.locals.values().flatten().copied().collect();
        for selector in selectors.iter().filter(|selector| concerned(selector)) {
            round.endpoints.extend(self.policies.selector(*selector).selected.iter());
        }
        for number in changed {
            self.policies.tiers.forget_unused(number);
        }
    }

    /// Finds by which policies' selectors the endpoints of this node are selected now.
    fn select(&mut self, changes: &Changes, round: &mut Round) {
        let fresh = self.policies.index_fresh();
        let known: Vec<u32> =
            if fresh.is_empty() { vec![] } else { self.locals.keys().copied().collect() };
        let index = std::mem::take(&mut self.policies.index);
        let cluster = std::mem::take(&mut self.cluster);
        for (number, before, now) in changes.each(&cluster) {
            let [before, now] =
                [before, now].map(|object| object.filter(|object| object.local.is_some()));
            if now.is_none() && before.is_none() {
                continue;
            }
            let selecting = now
                .map(|object| self.policies.selecting(&self.names, &index, &cluster.view(object)));
            self.count_profiles(now, before, round);
            let kind = cluster.objects.name(number).kind();
            self.move_endpoint(number, kind, selecting, round);
        }
        self.cluster = cluster;
        self.policies.index = index;
        if !known.is_empty() {
            let changed: HashSet<u32> = changes.numbers().collect();
            let unchanged = known.into_iter().filter(|number| !changed.contains(number));
            self.select_also(&fresh, unchanged, round);
        }
        self.drop_unused_selectors(round);
    }

    /// Finds which of these endpoints fresh selectors select, too.
    fn select_also(
        &mut self,
        fresh: &[u32],
        endpoints: impl Iterator<Item = u32>,
        round: &mut Round,
    ) {
        let fresh = self.policies.index_of(fresh);
        for number in endpoints {
            let Some(object) = self.cluster.objects.get(number) else { continue };
            let labels = self.cluster.view(object);
            let more = self.policies.selecting(&self.names, &fresh, &labels);
            if !more.is_empty() {
                let mut selecting = self.locals[&number].to_vec();
                selecting.extend(more);
                selecting.sort_unstable();
                let kind = self.cluster.objects.name(number).kind();
                self.move_endpoint(number, kind, Some(selecting), round);
            }
        }
    }

    fn drop_unused_selectors(&mut self, round: &mut Round) {
        for (number, selector) in self.policies.take_unused() {
            for endpoint in selector.selected.iter() {
                let Some(selecting) = self.locals.get_mut(&endpoint) else { continue };
                *selecting = selecting.iter().copied().filter(|other| *other != number).collect();
                round.endpoints.insert(endpoint);
            }
        }
    }

    /// An endpoint of this node is selected by these selectors now; `None`: it is gone.
    fn move_endpoint(
        &mut self,
        number: u32,
        kind: u8,
        selecting: Option<Vec<u32>>,
        round: &mut Round,
    ) {
        let kind = usize::from(kind == HOST_ENDPOINT);
        let old = self.locals.remove(&number).unwrap_or_default();
        let new = selecting.as_deref().unwrap_or_default();
        for selector in old.iter().filter(|selector| new.binary_search(selector).is_err()) {
            let selector = self.policies.selector_mut(*selector);
            selector.selected.remove(number);
            selector.kinds[kind] -= 1;
            if selector.kinds[kind] == 0 {
                round.policies.extend(selector.policies.iter());
            }
        }
        for selector in new.iter().filter(|selector| old.binary_search(selector).is_err()) {
            let selector = self.policies.selector_mut(*selector);
            selector.selected.insert(number);
            selector.kinds[kind] += 1;
            if selector.kinds[kind] == 1 {
                round.policies.extend(selector.policies.iter());
            }
        }
        match selecting {
            Some(selecting) => {
                self.locals.insert(number, selecting.into());
                round.endpoints.insert(number);
            }
            None => {
                round.endpoints_gone.insert(number);
            }
        }
    }

    fn count_profiles(
        &mut self,
        new: Option<&Labelled>,
        old: Option<&Labelled>,
        round: &mut Round,
    ) {
        for number in new.into_iter().flat_map(|object| &*object.profiles) {
            let users = self.profile_users.entry(*number).or_default();
            *users += 1;
            if *users == 1 {
                round.profiles.insert(*number);
            }
        }
        for number in old.into_iter().flat_map(|object| &*object.profiles) {
            let Some(users) = self.profile_users.get_mut(number) else { continue };
            *users -= 1;
            if *users == 0 {
                self.profile_users.remove(number);
                round.profiles.insert(*number);
            }
        }
    }

    fn enforce_policies(
        &mut self,
        round: &Round,
        texts: &mut HashMap<Box<str>, u32>,
        gone: &mut Vec<Output>,
    ) -> Vec<Output> {
        let mut told = vec![];
        for number in round.policies.iter().copied() {
            let wanted = self.policies.objects.get(number).filter(|policy| self.is_placed(policy));
            let Some(policy) = wanted else {
                if let Some(former) = self.policies_in_force.remove(&number) {
                    former.end(&mut self.sets);
                    gone.push(Output::PolicyGone(self.policies.id(number)));
                }
                continue;
            };
            let former = self.policies_in_force.remove(&number);
            if let Some(former) = former {
                if !round.policies_reworded.contains(&number) {
                    self.policies_in_force.insert(number, former);
                    continue;
                }
                former.end(&mut self.sets);
            }
            let needed = Needed::new(&mut self.names, &mut self.sets, texts);
            let (in_force, rules) = InForce::begin(&policy.body, directions(policy.flags), needed);
            let policy = output::Policy {
                tier: self.policies.tiers.name(policy.tier).key().name.into(),
                staged: policy.flags.has(Flags::STAGED),
                ingress: rules.ingress,
                egress: rules.egress,
                broken: rules.broken,
            };
            told.push(Output::Policy(self.policies.id(number), Arc::new(policy)));
            self.policies_in_force.insert(number, in_force);
        }
        told
    }

    fn is_placed(&self, policy: &Policy) -> bool {
        let kinds = self.policies.selector(policy.selector).kinds;
        tiers::places(policy.flags).iter().zip(kinds).any(|(placed, count)| *placed && count > 0)
    }

    fn enforce_profiles(
        &mut self,
        round: &Round,
        texts: &mut HashMap<Box<str>, u32>,
        gone: &mut Vec<Output>,
    ) -> Vec<Output> {
        let mut told = vec![];
        for number in round.profiles.iter().copied() {
            let is_used = self.profile_users.contains_key(&number);
            let profile = self.cluster.profiles.get(number).filter(|_| is_used);
            let name = || self.cluster.profiles.name(number).key().name.into();
            let former = self.profiles_in_force.remove(&number);
            let Some(profile) = profile else {
                if let Some(former) = former {
                    former.end(&mut self.sets);
                    gone.push(Output::ProfileGone(name()));
                }
                continue;
            };
            if let Some(former) = former {
                if !round.profiles_reworded.contains(&number) {
                    self.profiles_in_force.insert(number, former);
                    continue;
                }
                former.end(&mut self.sets);
            }
            let needed = Needed::new(&mut self.names, &mut self.sets, texts);
            let (in_force, rules) = InForce::begin(&profile.body, [true; 2], needed);
            let profile = output::Profile { ingress: rules.ingress, egress: rules.egress };
            told.push(Output::Profile(name(), Arc::new(profile)));
            self.profiles_in_force.insert(number, in_force);
        }
        told
    }

    fn tell_endpoints(&self, round: &Round, tell: &mut impl FnMut(Output)) {
        let selecting = |number: &u32| Some((&**self.locals.get(number)?, *number));
        let mut endpoints: Vec<(&[u32], u32)> =
            round.endpoints.iter().filter_map(selecting).collect();
        // Many endpoints have the same policies.
        endpoints.sort_unstable();
        for alike in endpoints.chunk_by(|one, other| one.0 == other.0) {
            let tiers = tiers::tiers(&self.policies, alike[0].0);
            for ((_, number), tiers) in alike.iter().zip(repeat_n(tiers, alike.len())) {
                if let Some(object) = self.cluster.objects.get(*number) {
                    tell(self.endpoint(*number, object, tiers));
                }
            }
        }
        let gone = round.endpoints_gone.iter();
        for number in gone.filter(|number| !self.locals.contains_key(*number)) {
            let key = self.cluster.objects.name(*number).key();
            tell(match key.kind {
                HOST_ENDPOINT => Output::HostEndpointGone(key.name.into()),
                _ => Output::WorkloadGone(WorkloadId {
                    namespace: key.namespace.into(),
                    name: key.name.into(),
                }),
            });
        }
    }

    /// What is told of an endpoint of this node.
    pub(super) fn endpoint(&self, number: u32, object: &Labelled, tiers: Tiers) -> Output {
        let local = object.local.as_deref().expect("only endpoints of this node are told");
        let key = self.cluster.objects.name(number).key();
        let (interface, addresses) = (local.interface.clone(), local.addresses.clone());
        let profiles = local.profiles.clone();
        if key.kind == HOST_ENDPOINT {
            let Tiers { normal: tiers, forward, untracked, pre_dnat } = tiers;
            let endpoint = HostEndpoint {
                interface,
                addresses,
                tiers,
                forward,
                untracked,
                pre_dnat,
                profiles,
            };
            return Output::HostEndpoint(key.name.into(), Arc::new(endpoint));
        }
        let id = WorkloadId { namespace: key.namespace.into(), name: key.name.into() };
        let allowed_sources = local.allowed_sources.clone();
        let tiers = tiers.normal;
        let workload = Workload { interface, addresses, allowed_sources, tiers, profiles };
        Output::Workload(id, Arc::new(workload))
    }
}

/// Whether a policy applies to what comes in, and to what goes out.
pub(super) fn directions(flags: Flags) -> [bool; 2] {
    [Flags::INGRESS, Flags::EGRESS].map(|flag| flags.has(flag))
}

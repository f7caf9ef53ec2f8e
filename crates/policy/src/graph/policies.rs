//! Policies and tiers as they are kept, and which local endpoints each selector selects.

use super::body;
use super::index::SelectorIndex;
use super::labels::View;
use super::names::Names;
use super::numbers::Numbers;
use super::objects::{Key, Objects};
use super::test::{Condition, Test, conditions};
use crate::input;
use crate::input::{PolicyId, PolicyKind};
use model::{DefaultAction, Selector};
use std::collections::BTreeSet;

/// A policy as it is kept.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Policy {
    pub(super) selector: u32,
    pub(super) tier: u32,
    /// Infinite where there is none.
    pub(super) order: f64,
    pub(super) flags: Flags,
    /// Its rules, encoded.
    pub(super) body: Box<[u8]>,
}

/// What a policy says of itself beside its rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flags(u8);

impl Flags {
    pub(super) const INGRESS: u8 = 1;
    pub(super) const EGRESS: u8 = 1 << 1;
    pub(super) const STAGED: u8 = 1 << 2;
    pub(super) const DO_NOT_TRACK: u8 = 1 << 3;
    pub(super) const PRE_DNAT: u8 = 1 << 4;
    pub(super) const APPLY_ON_FORWARD: u8 = 1 << 5;
    pub(super) const BROKEN: u8 = 1 << 6;

    pub(super) fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    fn of(policy: &input::Policy, is_broken: bool) -> Flags {
        let flags = [
            (policy.applies_to_ingress, Flags::INGRESS),
            (policy.applies_to_egress, Flags::EGRESS),
            (policy.staged, Flags::STAGED),
            (policy.do_not_track, Flags::DO_NOT_TRACK),
            (policy.pre_dnat, Flags::PRE_DNAT),
            (policy.apply_on_forward, Flags::APPLY_ON_FORWARD),
            (is_broken, Flags::BROKEN),
        ];
        Flags(flags.iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum())
    }
}

/// A tier as it is kept.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Tier {
    /// Infinite where there is none.
    pub(super) order: f64,
    pub(super) default_action: DefaultAction,
}

/// The selector of one or more policies.
#[derive(Clone, Debug)]
pub(super) struct PolicySelector {
    /// The first is the one by which it is found.
    conditions: Box<[Condition]>,
    test: Test,
    pub(super) policies: Numbers,
    /// Endpoints of this node.
    pub(super) selected: Numbers,
    /// How many of these are workloads, and how many are host endpoints.
    pub(super) kinds: [u32; 2],
}

impl PolicySelector {
    fn new(conditions: Box<[Condition]>, test: Test) -> PolicySelector {
        PolicySelector {
            conditions,
            test,
            policies: Numbers::None,
            selected: Numbers::None,
            kinds: [0; 2],
        }
    }
}

/// The policies of the cluster.
#[derive(Clone, Debug, Default)]
pub(super) struct Policies {
    pub(super) objects: Objects<Policy>,
    pub(super) tiers: Objects<Tier>,
    pub(super) selectors: Objects<PolicySelector>,
    pub(super) index: SelectorIndex,
    /// Selectors that no endpoint was tested with.
    fresh: Vec<u32>,
    /// Selectors that lost their last policy, and perhaps found another.
    unused: Vec<u32>,
}

const KINDS: [PolicyKind; 7] = [
    PolicyKind::GlobalNetworkPolicy,
    PolicyKind::NetworkPolicy,
    PolicyKind::StagedGlobalNetworkPolicy,
    PolicyKind::StagedNetworkPolicy,
    PolicyKind::StagedKubernetesNetworkPolicy,
    PolicyKind::KubernetesNetworkPolicy,
    PolicyKind::KubernetesClusterNetworkPolicy,
];

/// How a policy is named among objects.
pub(super) fn policy_key(id: &PolicyId) -> Key<'_> {
    Key { kind: id.kind as u8, namespace: &id.namespace, name: &id.name }
}

pub(super) fn plain_key(name: &str) -> Key<'_> {
    Key { kind: 0, namespace: "", name }
}

impl Policies {
    pub(super) fn set(
        &mut self,
        names: &mut Names,
        id: &PolicyId,
        policy: Option<Box<input::Policy>>,
    ) {
        let policy = policy.map(|policy| self.keep(names, id, *policy));
        if let Some(old) = self.objects.set(policy_key(id), policy) {
            self.release(&old);
        }
    }

    fn keep(&mut self, names: &mut Names, id: &PolicyId, policy: input::Policy) -> Policy {
        let (selector, unreadable) = self.refer_selector(names, id, &policy.selector);
        let broken = policy.broken.clone().or(unreadable);
        let body = body::encode(&policy.ingress, &policy.egress, broken.as_deref());
        Policy {
            selector,
            tier: self.tiers.refer(plain_key(&policy.tier)),
            order: order(policy.order),
            flags: Flags::of(&policy, broken.is_some()),
            body,
        }
    }

    /// The number of a selector. One that can't be read selects all that it might have been meant
    /// for, and the reason comes with it: what the policy was to deny must not be allowed.
    fn refer_selector(
        &mut self,
        names: &mut Names,
        id: &PolicyId,
        text: &str,
    ) -> (u32, Option<Box<str>>) {
        let number = self.selectors.refer(plain_key(text));
        if self.selectors.get(number).is_some() {
            return (number, None);
        }
        match Selector::parse(text) {
            Ok(selector) => {
                let test = Test::of(names, selector.expression());
                let conditions = conditions(names, &selector);
                self.selectors.put(number, Some(PolicySelector::new(conditions, test)));
                self.fresh.push(number);
                (number, None)
            }
            Err(error) => {
                self.selectors.release(number);
                let all = match &*id.namespace {
                    "" => "all()".into(),
                    // No namespace's name has a quote; if one has, this means the whole cluster.
                    name if name.contains('"') => "all()".into(),
                    name => format!("projectcalico.org/namespace == \"{name}\""),
                };
                let reason = format!("{error}; taken for {all}").into();
                (self.refer_selector(names, id, &all).0, Some(reason))
            }
        }
    }

    /// Lets go of what a policy that is kept no more refers to.
    pub(super) fn release(&mut self, policy: &Policy) {
        self.tiers.release(policy.tier);
        self.selectors.release(policy.selector);
        if !self.selectors.is_used(policy.selector) {
            self.unused.push(policy.selector);
        }
    }

    pub(super) fn selector(&self, number: u32) -> &PolicySelector {
        self.selectors.get(number).expect("a selector that is referred to has been read")
    }

    pub(super) fn selector_mut(&mut self, number: u32) -> &mut PolicySelector {
        self.selectors.get_mut(number).expect("a selector that is referred to has been read")
    }

    /// Puts fresh selectors into the index, and says which they are.
    pub(super) fn index_fresh(&mut self) -> Vec<u32> {
        let fresh = std::mem::take(&mut self.fresh);
        for number in &fresh {
            let selector =
                self.selectors.get_mut(*number).expect("it is kept until the next flush");
            self.index.rarest_first(&mut selector.conditions);
            self.index.insert(*number, selector.conditions.first());
        }
        fresh
    }

    /// An index of these selectors alone.
    pub(super) fn index_of(&self, selectors: &[u32]) -> SelectorIndex {
        let mut index = SelectorIndex::default();
        for number in selectors {
            index.insert(*number, self.selector(*number).conditions.first());
        }
        index
    }

    /// Selectors of no policy, which are gone; what they selected is for the caller to tell.
    pub(super) fn take_unused(&mut self) -> Vec<(u32, PolicySelector)> {
        let mut gone = vec![];
        let unused: BTreeSet<u32> = std::mem::take(&mut self.unused).into_iter().collect();
        for number in unused {
            if self.selectors.is_used(number) {
                continue;
            }
            let Some(selector) = self.selectors.put(number, None) else { continue };
            self.index.remove(number, selector.conditions.first());
            self.selectors.forget_unused(number);
            gone.push((number, selector));
        }
        gone
    }

    /// Numbers of the selectors that select an endpoint with these labels, in order.
    pub(super) fn selecting(
        &self,
        names: &Names,
        index: &SelectorIndex,
        labels: &View,
    ) -> Vec<u32> {
        let mut selecting = vec![];
        index.candidates(names, labels, |number| {
            if self.selector(number).test.matches(labels) {
                selecting.push(number);
            }
        });
        selecting.sort_unstable();
        selecting
    }

    /// Marks the names that selectors are about.
    pub(super) fn mark_names(&self, used: &mut [bool]) {
        for (_, selector) in self.selectors.iter() {
            selector.test.mark_names(used);
        }
    }

    /// The name of a policy.
    pub(super) fn id(&self, number: u32) -> PolicyId {
        let key = self.objects.name(number).key();
        PolicyId { kind: kind(key), namespace: key.namespace.into(), name: key.name.into() }
    }
}

/// The kind of a policy.
pub(super) fn kind(key: Key) -> PolicyKind {
    KINDS[usize::from(key.kind)]
}

/// An order as it is compared: none comes last, and there is one zero.
pub(super) fn order(order: Option<f64>) -> f64 {
    order.map_or(f64::INFINITY, |order| order + 0.0)
}

//! Policy's sets in the kernel. The single addresses of one are in a hash set, its prefixes, if it
//! has some, in another set, of intervals: those take milliseconds to change when they are large.

use super::names::{self, FAMILIES};
use ipnet::IpNet;
use kernel::nft::{Element, Family, Part, Set, SetKey, Update};
use policy::input::PolicyId;
use policy::output::{Member, SetId, SetKind};
use std::collections::{BTreeMap, BTreeSet};

/// Whose rules refer to a set.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum User {
    Policy(PolicyId),
    Profile(Box<str>),
}

/// Which kernel sets each policy set has.
#[derive(Clone, Debug, Default)]
pub(super) struct Shapes {
    /// Kind, and the number of prefixes of IPv4 and IPv6.
    sets: BTreeMap<SetId, (SetKind, [usize; 2])>,
    users: BTreeMap<SetId, BTreeSet<User>>,
}

impl Shapes {
    /// Whether a set has prefixes of a family, and so a set for them.
    pub(super) fn has_prefixes(&self, id: &SetId, family: Family) -> bool {
        self.sets.get(id).is_some_and(|(_, prefixes)| prefixes[index(family)] > 0)
    }

    /// Whether a set is known.
    pub(super) fn has(&self, id: &SetId) -> bool {
        self.sets.contains_key(id)
    }

    /// Whose rules refer to a set.
    pub(super) fn users(&self, id: &SetId) -> impl Iterator<Item = &User> {
        self.users.get(id).into_iter().flatten()
    }

    /// Someone's rules refer to these sets now, instead of to others.
    pub(super) fn refers(&mut self, user: &User, old: &BTreeSet<SetId>, new: &BTreeSet<SetId>) {
        for id in old.difference(new) {
            if let Some(users) = self.users.get_mut(id) {
                users.remove(user);
                if users.is_empty() {
                    self.users.remove(id);
                }
            }
        }
        for id in new.difference(old) {
            self.users.entry(id.clone()).or_default().insert(user.clone());
        }
    }

    /// A set is told with all its members. What is returned must be rendered anew.
    pub(super) fn told(
        &mut self,
        id: &SetId,
        kind: SetKind,
        members: &BTreeSet<Member>,
        updates: &mut Vec<Update>,
    ) -> Vec<User> {
        let mut prefixes = [0, 0];
        for family in FAMILIES {
            let (singles, covering) = of_family(members, family);
            prefixes[index(family)] = covering.len();
            let key = key(kind);
            let elements = singles.into_iter().collect();
            let set = Set { key, interval: false, elements };
            updates.push(names::update(family, Part::Set(names::set(family, id), Some(set))));
            if !covering.is_empty() {
                let set = Set { key, interval: true, elements: covering.into_iter().collect() };
                let name = names::prefix_set(family, id);
                updates.push(names::update(family, Part::Set(name, Some(set))));
            }
        }
        let old = self.sets.insert(id.clone(), (kind, prefixes)).map(|(_, prefixes)| prefixes);
        self.reshaped(id, old.unwrap_or_default(), prefixes, updates)
    }

    /// Members come and go. What is returned must be rendered anew.
    pub(super) fn changed(
        &mut self,
        id: &SetId,
        added: &[Member],
        removed: &[Member],
        updates: &mut Vec<Update>,
    ) -> Vec<User> {
        let Some((_, prefixes)) = self.sets.get_mut(id) else { return Vec::new() };
        let old = *prefixes;
        for family in FAMILIES {
            let (added, added_prefixes) = of_family(added, family);
            let (removed, removed_prefixes) = of_family(removed, family);
            let count = &mut prefixes[index(family)];
            *count = (*count + added_prefixes.len()).saturating_sub(removed_prefixes.len());
            if !(added.is_empty() && removed.is_empty()) {
                let set = names::set(family, id);
                updates.push(names::update(family, Part::Members { set, added, removed }));
            }
            let set = names::prefix_set(family, id);
            let part = match (old[index(family)], *count) {
                (0, 0) | (_, 0) => continue,
                (0, _) => {
                    let elements = added_prefixes.into_iter().collect();
                    Part::Set(set, Some(Set { key: SetKey::Address, interval: true, elements }))
                }
                _ if added_prefixes.is_empty() && removed_prefixes.is_empty() => continue,
                _ => Part::Members { set, added: added_prefixes, removed: removed_prefixes },
            };
            updates.push(names::update(family, part));
        }
        let new = *prefixes;
        self.reshaped(id, old, new, updates)
    }

    /// A set is gone.
    pub(super) fn gone(&mut self, id: &SetId, updates: &mut Vec<Update>) {
        let Some((_, prefixes)) = self.sets.remove(id) else { return };
        for family in FAMILIES {
            updates.push(names::update(family, Part::Set(names::set(family, id), None)));
        }
        self.reshaped(id, prefixes, [0, 0], updates);
    }

    /// Takes away sets of prefixes that have none any more; those whose rules must change, as a set
    /// has come or gone.
    fn reshaped(
        &self,
        id: &SetId,
        old: [usize; 2],
        new: [usize; 2],
        updates: &mut Vec<Update>,
    ) -> Vec<User> {
        for family in FAMILIES {
            if old[index(family)] > 0 && new[index(family)] == 0 {
                let name = names::prefix_set(family, id);
                updates.push(names::update(family, Part::Set(name, None)));
            }
        }
        if old.map(|count| count > 0) == new.map(|count| count > 0) {
            return Vec::new();
        }
        self.users.get(id).into_iter().flatten().cloned().collect()
    }
}

fn key(kind: SetKind) -> SetKey {
    match kind {
        SetKind::Nets => SetKey::Address,
        SetKind::Ports => SetKey::AddressProtocolPort,
    }
}

fn index(family: Family) -> usize {
    usize::from(family == Family::Ip6)
}

/// Those members of a family, single ones and prefixes apart.
fn of_family<'a>(
    members: impl IntoIterator<Item = &'a Member>,
    family: Family,
) -> (Vec<Element>, Vec<Element>) {
    let wanted = family == Family::Ip6;
    let elements = members.into_iter().filter_map(|member| match *member {
        Member::Net(net) if net.addr().is_ipv6() == wanted => {
            Some(Element::Net(IpNet::trunc(&net)))
        }
        Member::Port { address, protocol, port } if address.is_ipv6() == wanted => {
            Some(Element::AddressPort { address, protocol, port })
        }
        _ => None,
    });
    elements.partition(Element::is_single)
}

//! The sets that rules refer to, and who is in them.

use super::cluster::{Changes, Cluster, Labelled, Port};
use super::index::SelectorIndex;
use super::labels::View;
use super::members::Members;
use super::names::Names;
use super::rules::Wanted;
use super::services::{Services, Slice};
use super::test::{Condition, Test, conditions};
use crate::input::ServiceId;
use crate::output::{Member, Output, SetId, SetKind};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;

/// What a set's members are.
#[derive(Clone, Debug)]
enum What {
    Nets(Selected),
    Ports { selected: Selected, name: u32, protocol: u8 },
    Service(ServiceId, bool),
}

/// Endpoints and network sets that a selector selects.
#[derive(Clone, Debug)]
struct Selected {
    test: Test,
    /// By the first of them the selector is found, by any of them objects.
    conditions: Box<[Condition]>,
}

#[derive(Clone, Debug)]
struct Set {
    id: SetId,
    what: What,
    members: Members,
    /// How many policies and profiles in force refer to it.
    users: u32,
    told: bool,
    changed: bool,
}

/// The sets of rules in force.
#[derive(Clone, Debug, Default)]
pub(super) struct Sets {
    slots: Vec<Option<Set>>,
    free: Vec<u32>,
    ids: HashMap<SetId, u32>,
    index: SelectorIndex,
    services: HashMap<ServiceId, Vec<u32>>,
    /// Without members so far.
    fresh: Vec<u32>,
    /// Told, and changed since.
    changed: Vec<u32>,
    /// Those that lost their last user, and perhaps found another.
    unused: Vec<u32>,
}

impl Sets {
    pub(super) fn len(&self) -> usize {
        self.ids.len()
    }

    fn set(&self, number: u32) -> &Set {
        self.slots[number as usize].as_ref().expect("a number in use has its set")
    }

    fn set_mut(&mut self, number: u32) -> &mut Set {
        self.slots[number as usize].as_mut().expect("a number in use has its set")
    }

    pub(super) fn id(&self, number: u32) -> SetId {
        self.set(number).id.clone()
    }

    /// A set's members.
    pub(super) fn members(&self, id: &SetId) -> Option<&Members> {
        Some(&self.set(*self.ids.get(id)?).members)
    }

    /// The number of a set, which has one more user now.
    pub(super) fn refer(&mut self, names: &mut Names, wanted: Wanted) -> u32 {
        let id = SetId(Arc::from(wanted.id()));
        let number = match self.ids.get(&id) {
            Some(number) => *number,
            None => self.create(names, id, wanted),
        };
        self.refer_again(number);
        number
    }

    /// One more user of a set.
    pub(super) fn refer_again(&mut self, number: u32) {
        self.set_mut(number).users += 1;
    }

    /// One user less.
    pub(super) fn release(&mut self, number: u32) {
        let set = self.set_mut(number);
        set.users -= 1;
        if set.users == 0 {
            self.unused.push(number);
        }
    }

    fn create(&mut self, names: &mut Names, id: SetId, wanted: Wanted) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            (self.slots.len() - 1) as u32
        });
        let mut selected = |selector: &model::Selector| {
            let test = Test::of(names, selector.expression());
            let mut conditions = conditions(names, selector);
            self.index.rarest_first(&mut conditions);
            self.index.insert(number, conditions.first());
            Selected { test, conditions }
        };
        let what = match wanted {
            Wanted::Nets(selector) => What::Nets(selected(&selector)),
            Wanted::Ports { selector, name, protocol } => {
                let selected = selected(&selector);
                What::Ports { selected, name: names.number(&name), protocol }
            }
            Wanted::Service(service, with_ports) => {
                self.services.entry(service.clone()).or_default().push(number);
                What::Service(service, with_ports)
            }
        };
        let members = Members::default();
        let set = Set { id: id.clone(), what, members, users: 0, told: false, changed: false };
        self.slots[number as usize] = Some(set);
        self.ids.insert(id, number);
        self.fresh.push(number);
        number
    }

    /// Takes over changes of endpoints, network sets and profiles. There are no fresh sets.
    pub(super) fn on_changes(&mut self, names: &Names, cluster: &Cluster, changes: &Changes) {
        if self.ids.is_empty() {
            return;
        }
        for (_, before, now) in changes.each(cluster) {
            let old = before.map(|object| cluster.former_view(object, changes));
            let new = now.map(|object| cluster.view(object));
            let old = self.selecting(names, old.as_ref());
            let new = self.selecting(names, new.as_ref());
            self.move_object(&old, before, &new, now);
        }
    }

    /// Numbers of the sets whose selector selects the labels, in order.
    fn selecting(&self, names: &Names, labels: Option<&View>) -> Vec<u32> {
        let mut selecting = vec![];
        if let Some(labels) = labels {
            self.index.candidates(names, labels, |number| {
                let set = self.set(number);
                if set.what.selected().is_some_and(|selected| selected.test.matches(labels)) {
                    selecting.push(number);
                }
            });
            selecting.sort_unstable();
        }
        selecting
    }

    fn move_object(
        &mut self,
        old: &[u32],
        before: Option<&Labelled>,
        new: &[u32],
        now: Option<&Labelled>,
    ) {
        let same = match (before, now) {
            (Some(before), Some(now)) => before.nets == now.nets && before.ports == now.ports,
            _ => false,
        };
        // First in, then out: a member that stays is not told.
        for number in new {
            if !(same && old.binary_search(number).is_ok())
                && let Some(object) = now
            {
                self.change(*number, |what, members| what.of_object(object, |m| members.add(m)));
            }
        }
        for number in old {
            if !(same && new.binary_search(number).is_ok())
                && let Some(object) = before
            {
                self.change(*number, |what, members| what.of_object(object, |m| members.remove(m)));
            }
        }
    }

    /// Changes a told set's members.
    fn change(&mut self, number: u32, change: impl FnOnce(&What, &mut Members)) {
        let set = self.slots[number as usize].as_mut().expect("a number in use has its set");
        set.members.note_changes();
        change(&set.what, &mut set.members);
        if !std::mem::replace(&mut set.changed, true) {
            self.changed.push(number);
        }
    }

    /// Takes over changes of EndpointSlices. There are no fresh sets.
    pub(super) fn on_services(&mut self, services: &mut Services) {
        services.take_changes(|before, now| {
            for number in self.of_service(now) {
                let Some(slice) = now else { continue };
                self.change(number, |what, members| what.of_slice(slice, |m| members.add(m)));
            }
            for number in self.of_service(before) {
                let Some(slice) = before else { continue };
                self.change(number, |what, members| what.of_slice(slice, |m| members.remove(m)));
            }
        });
    }

    fn of_service(&self, slice: Option<&Slice>) -> Vec<u32> {
        slice.and_then(|slice| self.services.get(&slice.service)).cloned().unwrap_or_default()
    }

    /// Gives fresh sets their members, then tells all sets that came or changed.
    pub(super) fn tell(
        &mut self,
        names: &Names,
        cluster: &mut Cluster,
        services: &Services,
        tell: &mut impl FnMut(Output),
    ) {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.retain(|number| self.set(*number).users > 0);
        let conditions = fresh.iter().filter_map(|number| self.set(*number).what.selected());
        let wanted = conditions.filter_map(|selected| Some(selected.conditions.first()?.name));
        cluster.track(names, &wanted.collect::<HashSet<u32>>());
        for number in fresh {
            let set = self.set_mut(number);
            set.fill(cluster, services);
            set.told = true;
            let (id, kind, members) = (set.id.clone(), set.what.kind(), set.members.all());
            tell(Output::Set { id, kind, members });
        }
        for number in std::mem::take(&mut self.changed) {
            let set = self.set_mut(number);
            set.changed = false;
            let Some(delta) = set.members.take_changes() else { continue };
            if set.users == 0 || (delta.added.is_empty() && delta.removed.is_empty()) {
                continue;
            }
            let sorted = |members: HashSet<Member>| {
                let mut members: Vec<Member> = members.into_iter().collect();
                members.sort_unstable();
                members
            };
            let (added, removed) = (sorted(delta.added), sorted(delta.removed));
            tell(Output::Members { id: set.id.clone(), added, removed });
        }
    }

    /// Tells of sets that nobody uses, and forgets them.
    pub(super) fn tell_gone(&mut self, tell: &mut impl FnMut(Output)) {
        for number in std::mem::take(&mut self.unused) {
            let slot = &mut self.slots[number as usize];
            let Some(set) = slot.take_if(|set| set.users == 0) else { continue };
            self.ids.remove(&set.id);
            self.free.push(number);
            match &set.what {
                What::Nets(selected) | What::Ports { selected, .. } => {
                    self.index.remove(number, selected.conditions.first());
                }
                What::Service(service, _) => {
                    let Some(numbers) = self.services.get_mut(service) else { continue };
                    numbers.retain(|other| *other != number);
                    if numbers.is_empty() {
                        self.services.remove(service);
                    }
                }
            }
            if set.told {
                tell(Output::SetGone(set.id));
            }
        }
    }

    /// Marks the names that selectors and sets of ports are about.
    pub(super) fn mark_names(&self, used: &mut [bool]) {
        for set in self.slots.iter().flatten() {
            if let Some(selected) = set.what.selected() {
                selected.test.mark_names(used);
            }
            if let What::Ports { name, .. } = set.what {
                used[name as usize] = true;
            }
        }
    }
}

impl Set {
    fn fill(&mut self, cluster: &Cluster, services: &Services) {
        let Set { what, members, .. } = self;
        let what = &*what;
        if let What::Service(service, _) = what {
            return services.of(service).for_each(|slice| what.of_slice(slice, |m| members.add(m)));
        }
        let Some(selected) = what.selected() else { return };
        cluster.each(cluster.rarest(&selected.conditions), |_, object| {
            if cluster.passes(object, &selected.test) {
                if matches!(what, What::Nets(_)) {
                    members.reserve(object.nets.hosts());
                }
                what.of_object(object, |member| members.add(member));
            }
        });
    }
}

impl What {
    fn selected(&self) -> Option<&Selected> {
        match self {
            What::Nets(selected) | What::Ports { selected, .. } => Some(selected),
            What::Service(..) => None,
        }
    }

    fn kind(&self) -> SetKind {
        match self {
            What::Nets(_) | What::Service(_, false) => SetKind::Nets,
            What::Ports { .. } | What::Service(_, true) => SetKind::Ports,
        }
    }

    /// What an object that is selected adds.
    fn of_object(&self, object: &Labelled, mut each: impl FnMut(Member)) {
        match self {
            What::Nets(_) => object.nets.iter().for_each(|net| each(Member::Net(net))),
            What::Ports { name, protocol, .. } => {
                let same = |port: &&Port| (port.name, port.protocol) == (*name, *protocol);
                for Port { port, protocol, .. } in object.ports.iter().filter(same).copied() {
                    for net in object.nets.iter() {
                        each(Member::Port { address: net.addr(), protocol, port });
                    }
                }
            }
            What::Service(..) => {}
        }
    }

    fn of_slice(&self, slice: &Slice, each: impl FnMut(Member)) {
        if let What::Service(_, with_ports) = self {
            slice.members(*with_ports, each);
        }
    }
}

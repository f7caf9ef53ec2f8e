//! Random tables that refer to nothing absent, for tests of what changes them.

use super::{
    BaseChain, Chain, ChainKind, Device, Element, Family, Hook, MapField, Match, Rule, Set, SetKey,
    Table, Verdict, VerdictMap,
};
use proptest::prelude::*;
use std::collections::BTreeSet;

pub(super) const SETS: [&str; 3] = ["red", "green", "blue"];
pub(super) const MAPS: [&str; 2] = ["from", "to"];
pub(super) const CHAINS: [&str; 4] = ["a", "b", "c", "d"];
const DEVICES: [&str; 3] = ["cali1", "cali2", "lo"];

/// A prefix or an address, often within another one.
pub(super) fn net(interval: bool) -> impl Strategy<Value = Element> {
    (0u32..4, 8u8..=32).prop_map(move |(byte, length)| {
        let length = if interval { length } else { 32 };
        let net = ipnet::Ipv4Net::new((byte << 24 | 0x0101).into(), length).expect("≤ 32");
        Element::Net(net.trunc().into())
    })
}

/// Ports, often overlapping others.
pub(super) fn ports(interval: bool) -> impl Strategy<Value = Element> {
    (0u16..20, 0u16..8).prop_map(move |(first, more)| {
        Element::Ports(first, if interval { first + more } else { first })
    })
}

fn elements(element: impl Strategy<Value = Element>) -> impl Strategy<Value = BTreeSet<Element>> {
    prop::collection::btree_set(element, 0..6)
}

pub(super) fn set() -> impl Strategy<Value = Set> {
    any::<(bool, bool)>().prop_flat_map(|(interval, of_ports)| {
        let (key, elements) = match of_ports {
            false => (SetKey::Address, elements(net(interval)).boxed()),
            true => (SetKey::Port, elements(ports(interval)).boxed()),
        };
        elements.prop_map(move |elements| Set { key, interval, elements })
    })
}

pub(super) fn verdict() -> impl Strategy<Value = Verdict> {
    let chain = || prop::sample::select(CHAINS.to_vec()).prop_map(str::to_owned);
    prop_oneof![
        Just(Verdict::Accept),
        Just(Verdict::Drop),
        chain().prop_map(Verdict::Jump),
        chain().prop_map(Verdict::Goto),
    ]
}

pub(super) fn entry() -> impl Strategy<Value = (Element, Verdict)> {
    let device = |name: &str| Element::Interface(Device::new(name).expect("a name"));
    (prop::sample::select(DEVICES.to_vec()).prop_map(device), verdict())
}

fn rule() -> impl Strategy<Value = Rule> {
    let set = prop::sample::select(SETS.to_vec());
    let map = prop::sample::select(MAPS.to_vec())
        .prop_map(|map| Verdict::Map { field: MapField::InputInterface, map: map.to_owned() });
    (set, any::<bool>(), prop_oneof![3 => verdict(), 1 => map]).prop_map(|(set, not, verdict)| {
        Rule::new(vec![Match::SourceInSet { set: set.to_owned(), not }], verdict)
    })
}

/// Chains whose rules may name what is not there.
pub(super) fn chain() -> impl Strategy<Value = Chain> {
    let base = prop::option::weighted(0.2, -1i32..2).prop_map(|priority| {
        priority.map(|priority| BaseChain { kind: ChainKind::Filter, hook: Hook::Input, priority })
    });
    let rules = prop::collection::vec(rule(), 0..4);
    (base, rules).prop_map(|(base, rules)| Chain { base, rules })
}

/// Takes out whatever refers to something that is not there, or can't be jumped to.
pub(super) fn consistent(mut table: Table) -> Table {
    let targets: BTreeSet<String> = table
        .chains
        .iter()
        .filter(|(_, chain)| chain.base.is_none())
        .map(|(name, _)| name.clone())
        .collect();
    let known = |target: Option<&str>| target.is_none_or(|target| targets.contains(target));
    for map in table.maps.values_mut() {
        map.elements.retain(|_, verdict| known(verdict.target()));
    }
    let Table { sets, maps, chains, .. } = &mut table;
    for chain in chains.values_mut() {
        chain.rules.retain(|rule| {
            rule.sets().all(|set| sets.contains_key(set))
                && rule.map().is_none_or(|map| maps.contains_key(map))
                && known(rule.target())
        });
    }
    table
}

pub(super) fn table() -> impl Strategy<Value = Table> {
    let name =
        |names: &[&'static str]| prop::sample::select(names.to_vec()).prop_map(str::to_owned);
    let map = prop::collection::btree_map(entry().prop_map(|(key, _)| key), verdict(), 0..4);
    let map = map.prop_map(|elements| VerdictMap { key: SetKey::Interface, elements });
    let sets = prop::collection::btree_map(name(&SETS), set(), 0..4);
    let maps = prop::collection::btree_map(name(&MAPS), map, 0..3);
    let chains = prop::collection::btree_map(name(&CHAINS), chain(), 0..5);
    (sets, maps, chains).prop_map(|(sets, maps, chains)| {
        consistent(Table { sets, maps, chains, ..Table::new(Family::Ip, "calico") })
    })
}

/// As the kernel holds it: sets without covered members.
pub(super) fn held(tables: &[Table]) -> Vec<Table> {
    let mut tables = tables.to_vec();
    for set in tables.iter_mut().flat_map(|table| table.sets.values_mut()) {
        set.elements = set.members().into_owned();
    }
    tables
}

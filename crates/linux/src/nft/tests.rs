//! On the real kernel, each test in namespaces of its own; `nft` (1.0.6) is the oracle.

mod every_kind;
mod kernel_says;
mod packets;
mod random;

use super::{Error, Heard, Nft, NftMonitor};
use crate::test_namespace as namespace;
use kernel::nft::{
    BaseChain, Chain, ChainKind, Change, Device, Edit, Element, Family, Hook, MapField, Match,
    PacketType, Rule, Set, SetKey, Statement, Table, Verdict, VerdictMap, Version, diff,
};
use std::collections::BTreeSet;

fn nets(nets: &[&str]) -> BTreeSet<Element> {
    nets.iter().map(|net| Element::Net(net.parse().expect("a prefix"))).collect()
}

fn rule(matches: Vec<Match>, verdict: Verdict) -> Rule {
    Rule::new(matches, verdict)
}

fn chain(rules: Vec<Rule>) -> Chain {
    Chain { base: None, rules }
}

fn base(kind: ChainKind, hook: Hook, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { base: Some(BaseChain { kind, hook, priority }), rules }
}

/// A blocklist at forward and masquerade at postrouting: what the tests change.
fn calico(blocked: &[&str]) -> Table {
    let mut table = Table::new(Family::Ip, "calico");
    let blocked = Set { key: SetKey::Address, elements: nets(blocked), interval: true };
    table.sets.insert("blocked".into(), blocked);
    let source = Match::SourceInSet { set: "blocked".into(), not: false };
    let forward = vec![rule(vec![], Verdict::Jump("check".into()))];
    table.chains.insert("forward".into(), base(ChainKind::Filter, Hook::Forward, 0, forward));
    let check = vec![rule(vec![source], Verdict::Drop), rule(vec![], Verdict::Continue)];
    table.chains.insert("check".into(), chain(check));
    let nat = vec![rule(
        vec![Match::OutputInterface { name: "out*".into(), not: false }],
        Verdict::Masquerade,
    )];
    table.chains.insert("nat".into(), base(ChainKind::Nat, Hook::Postrouting, 100, nat));
    table
}

/// Brings the kernel's table to `desired`, as the agent does.
fn reach(nft: &mut Nft, desired: &Table) -> Vec<Change> {
    desired.check().expect("a valid table");
    let actual = nft.read(desired.family, &desired.name).expect("readable");
    let changes = diff(std::slice::from_ref(desired), actual.as_slice());
    nft.apply(&changes).expect("accepted");
    changes
}

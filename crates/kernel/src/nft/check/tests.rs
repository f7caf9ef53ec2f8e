use crate::nft::{
    BaseChain, Chain, ChainKind, Device, Element, Family, Hook, Match, Rule, Set, SetKey, Table,
    Verdict, Version,
};

fn table(rule: Rule) -> Table {
    let mut table = Table::new(Family::Ip, "calico");
    let nat = BaseChain { kind: ChainKind::Nat, hook: Hook::Postrouting, priority: 100 };
    let set = Set::new(SetKey::Address, false);
    table.sets.insert("red".into(), set);
    table.chains.insert("nat".into(), Chain { base: Some(nat), rules: vec![] });
    table.chains.insert("a".into(), Chain { base: None, rules: vec![rule] });
    table
}

fn rule(matches: Vec<Match>, verdict: Verdict, comment: &str) -> Rule {
    Rule { comment: comment.to_owned(), ..Rule::new(matches, verdict) }
}

fn problem(table: &Table) -> String {
    table.check().map_or_else(|invalid| invalid.to_string(), |()| "none".to_owned())
}

#[test]
fn rules() {
    let set = |set: &str| Match::SourceInSet { set: set.to_owned(), not: false };
    let input = |name: &str| Match::InputInterface { name: name.to_owned(), not: false };
    let source = |address: &str| {
        let net = address.parse().expect("a prefix");
        Match::SourcePrefix { net, not: true }
    };
    let cases = [
        (rule(vec![set("red")], Verdict::Drop, "fine"), "none"),
        (rule(vec![set("blue")], Verdict::Drop, ""), "there is no set blue"),
        (rule(vec![], Verdict::Jump("b".into()), ""), "there is no chain b to jump to"),
        (rule(vec![], Verdict::Goto("nat".into()), ""), "nat is a base chain"),
        (rule(vec![], Verdict::Drop, "say \"no\""), "its comment has a quote"),
        (rule(vec![], Verdict::Drop, &"x".repeat(127)), "none"),
        (rule(vec![], Verdict::Drop, &"x".repeat(128)), "over 127 bytes"),
        (rule(vec![Match::destination_port(1)], Verdict::Drop, ""), "must follow"),
        (rule(vec![Match::Protocol(17), Match::destination_port(1)], Verdict::Drop, ""), "none"),
        (rule(vec![Match::Protocol(1), Match::destination_port(1)], Verdict::Drop, ""), "TCP"),
        (rule(vec![Match::Protocol(6), Match::source_port(1)], Verdict::Drop, ""), "none"),
        (rule(vec![Match::source_port(1)], Verdict::Drop, ""), "must follow"),
        (rule(vec![source("10.0.0.1/32")], Verdict::Drop, ""), "none"),
        (rule(vec![source("fd00::1/128")], Verdict::Drop, ""), "the packet may not have"),
        (rule(vec![Match::Version(Version::V4)], Verdict::Drop, ""), "doesn't ask for it"),
        (rule(vec![Match::Random { below: 1, of: 2 }], Verdict::Drop, ""), "none"),
        (rule(vec![Match::Random { below: 2, of: 2 }], Verdict::Drop, ""), "not a part"),
        (rule(vec![input("cali*")], Verdict::Drop, ""), "none"),
        (rule(vec![input("*")], Verdict::Drop, ""), "cannot be that of an interface"),
        (rule(vec![input("sixteen-letters-")], Verdict::Drop, ""), "cannot be that of"),
        (rule(vec![Match::Foreign("ct".into())], Verdict::Drop, ""), "not of ours: ct"),
    ];
    for (rule, expected) in cases {
        let found = problem(&table(rule.clone()));
        assert!(found.contains(expected), "{rule:?}: {found}");
    }
}

#[test]
fn bases() {
    let base = |kind, hook, priority| BaseChain { kind, hook, priority };
    let cases = [
        (base(ChainKind::Filter, Hook::Forward, -300), "none"),
        (base(ChainKind::Nat, Hook::Forward, 0), "there is no NAT at forward"),
        (base(ChainKind::Nat, Hook::Prerouting, -200), "above -200"),
        (base(ChainKind::Route, Hook::Input, 0), "at output only"),
        (base(ChainKind::Foreign, Hook::Input, 0), "not one of ours"),
    ];
    for (base, expected) in cases {
        let mut table = Table::new(Family::Ip, "calico");
        table.chains.insert("a".into(), Chain { base: Some(base), rules: vec![] });
        let found = problem(&table);
        assert!(found.contains(expected), "{base:?}: {found}");
    }
    let masquerade = rule(vec![], Verdict::Masquerade, "");
    let mut table = Table::new(Family::Ip, "calico");
    let filter = Some(base(ChainKind::Filter, Hook::Input, 0));
    table.chains.insert("a".into(), Chain { base: filter, rules: vec![masquerade] });
    assert!(problem(&table).contains("nat chains at postrouting only"));
}

#[test]
fn sets_and_names() {
    let cases = [
        (Family::Ip, true, "10.0.0.0/8", "none"),
        (Family::Ip, true, "2001:db8::/32", "not of the table's family"),
        (Family::Ip6, true, "2001:db8::/32", "none"),
        (Family::Ip, true, "10.0.0.1/8", "bits beyond its prefix"),
        (Family::Ip, false, "10.0.0.0/8", "not of intervals"),
        (Family::Ip, false, "10.0.0.1/32", "none"),
    ];
    for (family, interval, element, expected) in cases {
        let mut table = Table::new(family, "calico");
        let elements = [Element::Net(element.parse().expect("prefix"))].into();
        table.sets.insert("red".into(), Set { key: SetKey::Address, elements, interval });
        let found = problem(&table);
        assert!(found.contains(expected), "{element}: {found}");
    }
    for (name, fine) in [("cali-x/y_z.1", true), ("", false), ("1a", false), ("a b", false)] {
        assert_eq!(Table::new(Family::Ip, name).check().is_ok(), fine, "{name:?}");
    }
    assert!(Table::new(Family::Ip, "a".repeat(255)).check().is_ok());
    assert!(Table::new(Family::Ip, "a".repeat(256)).check().is_err());
}

#[test]
fn devices() {
    let device = Device::new("eth0").expect("a name");
    for (name, fine) in [("a", true), ("fifteen-letters", true), ("sixteen-letters-", false)] {
        assert_eq!(Device::new(name).is_some_and(|device| device.name() == name), fine, "{name}");
    }
    assert_eq!([Device::new(""), Device::new("a b"), Device::new("a/b")], [None; 3]);
    let base = |kind, hook| BaseChain { kind, hook, priority: 0 };
    let cases = [
        (Family::Netdev, base(ChainKind::Filter, Hook::Ingress(device)), "none"),
        (Family::Netdev, base(ChainKind::Filter, Hook::Egress(device)), "none"),
        (Family::Netdev, base(ChainKind::Filter, Hook::Input), "at ingress or egress"),
        (Family::Ip, base(ChainKind::Filter, Hook::Ingress(device)), "at ingress or egress"),
        (Family::Netdev, base(ChainKind::Nat, Hook::Egress(device)), "of type filter"),
    ];
    for (family, base, expected) in cases {
        let mut table = Table::new(family, "calico");
        table.chains.insert("a".into(), Chain { base: Some(base), rules: vec![] });
        assert!(problem(&table).contains(expected), "{base:?}");
    }
    let length = |version| Match::LengthAbove { version, bytes: 1400 };
    let asked = |version| vec![Match::Version(Version::V4), length(version)];
    let cases = [
        (asked(Version::V4), "none"),
        (asked(Version::V6), "the packet may not have"),
        (vec![length(Version::V4)], "the packet may not have"),
    ];
    for (matches, expected) in cases {
        let mut table = Table::new(Family::Netdev, "calico");
        let rules = vec![rule(matches, Verdict::Drop, "")];
        table.chains.insert("a".into(), Chain { base: None, rules });
        assert!(problem(&table).contains(expected), "{expected}");
    }
    let mut table = Table::new(Family::Netdev, "calico");
    let set = Set::new(SetKey::Address, false);
    table.sets.insert("red".into(), set);
    assert!(problem(&table).contains("no sets"));
}

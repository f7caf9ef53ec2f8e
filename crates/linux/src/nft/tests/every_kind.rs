//! What random tables leave out, and what grows large.

use super::*;
use crate::test_namespace::{Namespace, feed, listed, run};
use kernel::nft::{Part, Tables, Update};

/// A table `calico` with one rule in one chain, at forward.
fn with_rule(family: Family, rule: Rule) -> Table {
    let mut table = Table::new(family, "calico");
    table.chains.insert("forward".into(), base(ChainKind::Filter, Hook::Forward, 0, vec![rule]));
    table
}

#[test]
fn anything_but_a_type_with_its_code() {
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        for (version, family, protocol, text) in [
            (
                Version::V4,
                Family::Ip,
                1,
                "icmp type != destination-unreachable icmp code != port-unreachable counter drop",
            ),
            (
                Version::V6,
                Family::Ip6,
                58,
                "icmpv6 type != time-exceeded icmpv6 code != addr-unreachable counter drop",
            ),
        ] {
            let icmp = Match::Icmp { version, kind: 3, code: Some(3), not: true };
            let matches = vec![Match::Protocol(protocol), icmp];
            let table = with_rule(family, rule(matches, Verdict::Drop));
            reach(&mut nft, &table);
            let shown = listed(&family.to_string(), "calico");
            assert_eq!(shown, table.to_string());
            assert!(shown.contains(text), "{shown}");
            assert_eq!(nft.read(family, "calico").expect("readable"), Some(table));
        }
    });
}

#[test]
fn large_sets_are_one_transaction() {
    Namespace::new().inside(|| {
        let address = |n: u32| Element::from(std::net::IpAddr::V4((0x0a00_0000 + n).into()));
        let pair = |n: u32| Element::AddressPort {
            address: std::net::Ipv4Addr::from(0x0a00_0000 + n).into(),
            protocol: 6,
            port: 80,
        };
        let set = |key, interval, elements: BTreeSet<Element>| Set { key, interval, elements };
        let mut table = Table::new(Family::Ip, "calico");
        let single = set(SetKey::Address, false, (0..250_000).map(address).collect());
        table.sets.insert("single".into(), single);
        let apart = set(SetKey::Address, true, (0..100_000).map(|n| address(2 * n)).collect());
        table.sets.insert("apart".into(), apart);
        let pairs = set(SetKey::AddressProtocolPort, false, (0..100_000).map(pair).collect());
        table.sets.insert("pairs".into(), pairs);
        let mut nft = Nft::open().expect("socket");
        let before = nft.generation().expect("generation");
        reach(&mut nft, &table);
        assert_eq!(nft.generation().expect("generation"), before + 1, "one transaction");
        assert_eq!(nft.read(Family::Ip, "calico").expect("readable"), Some(table));
    });
}

#[test]
fn objects_go_with_their_table() {
    Namespace::new().inside(|| {
        let theirs = "table ip calico {
            counter drops { }
            map marks { type ipv4_addr : mark; elements = { 10.0.0.1 : 7 }; }
            map long { type ipv4_addr . inet_service : verdict; }
            chain forward {
                type filter hook forward priority 0; policy accept;
                meta mark set ip saddr map @marks
                counter name drops drop
                limit rate over 5/second drop
            }
        }";
        feed("nft", &["-f", "-"], theirs).expect("taken");
        let mut nft = Nft::open().expect("socket");
        let found = nft.read(Family::Ip, "calico").expect("readable").expect("there");
        let foreign: Vec<&str> = found.foreign.iter().map(String::as_str).collect();
        assert_eq!(foreign, ["object drops of type 1"]);
        assert_eq!(found.maps["marks"].key, SetKey::Foreign);
        assert_eq!(found.maps["long"].key, SetKey::Foreign);
        assert!(found.chains["forward"].rules.iter().all(Rule::is_foreign), "{found:?}");
        let before = nft.generation().expect("generation");
        reach(&mut nft, &calico(&["10.0.0.0/8"]));
        assert_eq!(nft.generation().expect("generation"), before + 1, "without a gap");
        assert_eq!(listed("ip", "calico"), calico(&["10.0.0.0/8"]).to_string());

        // A dormant table has rules that nobody calls.
        run("nft", &["add", "table", "ip", "calico", "{ flags dormant; }"]);
        reach(&mut nft, &calico(&["10.0.0.0/8"]));
        assert_eq!(listed("ip", "calico"), calico(&["10.0.0.0/8"]).to_string());
    });
}

#[test]
fn others_chains_that_drop() {
    Namespace::new().inside(|| {
        let text = "
            table inet firewall {
                chain in { type filter hook input priority 0; policy drop; }
                chain out { type filter hook output priority 0; policy accept; }
                chain early { type filter hook prerouting priority 0; policy drop; }
                chain plain { }
            }
            table ip calico {
                chain f { type filter hook forward priority 0; policy drop; }
            }
            table ip6 theirs {
                chain f { type filter hook forward priority 0; policy drop; }
            }";
        feed("nft", &["-f", "-"], text).expect("taken");
        let mut nft = Nft::open().expect("socket");
        let found = nft.interfering("calico").expect("readable");
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.family, &*found.table, &*found.chain, found.hook))
            .collect();
        assert_eq!(
            found,
            [("inet", "firewall", "in", Hook::Input), ("ip6", "theirs", "f", Hook::Forward)]
        );
    });
}

/// A dispatch map, a policy's chain and its members: what a pod's start and end change.
#[test]
fn deltas_end_where_a_whole_table_does() {
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        for (family, address) in [(Family::Ip, "10.0.0.1"), (Family::Ip6, "fd00::1")] {
            let mut tables = Tables::new();
            let device = Element::Interface(Device::new("cali1").expect("a name"));
            let member = Element::from(address.parse::<std::net::IpAddr>().expect("an address"));
            let matches = vec![Match::SourceInSet { set: "s".into(), not: false }];
            let endpoint = |verdict| chain(vec![rule(matches.clone(), verdict)]);
            let look = Verdict::Map { field: MapField::InputInterface, map: "from".into() };
            let steps = vec![
                vec![
                    Part::Set("s".into(), Some(Set::new(SetKey::Address, false))),
                    Part::Map("from".into(), Some(VerdictMap::new(SetKey::Interface))),
                    Part::Chain("dispatch".into(), Some(chain(vec![rule(vec![], look)]))),
                ],
                vec![
                    Part::MapElements {
                        map: "from".into(),
                        elements: vec![(device, Verdict::Goto("one".into()))],
                        removed: vec![],
                    },
                    Part::Chain("one".into(), Some(endpoint(Verdict::Accept))),
                    Part::Members { set: "s".into(), added: vec![member], removed: vec![] },
                ],
                vec![
                    Part::Chain("one".into(), Some(endpoint(Verdict::Drop))),
                    Part::Members { set: "s".into(), added: vec![], removed: vec![member] },
                ],
                vec![
                    Part::Chain("two".into(), Some(endpoint(Verdict::Accept))),
                    Part::MapElements {
                        map: "from".into(),
                        elements: vec![(device, Verdict::Goto("two".into()))],
                        removed: vec![],
                    },
                    Part::Chain("one".into(), None),
                ],
                vec![
                    Part::Chain("two".into(), None),
                    Part::MapElements {
                        map: "from".into(),
                        elements: vec![],
                        removed: vec![device],
                    },
                    Part::Set("s".into(), None),
                ],
                vec![Part::Map("from".into(), None), Part::Chain("dispatch".into(), None)],
            ];
            for parts in steps {
                for part in parts {
                    tables.update(Update { family, table: "calico".into(), part }).expect("there");
                }
                let before = nft.generation().expect("generation");
                nft.apply(&tables.changes()).expect("accepted");
                tables.commit();
                assert_eq!(nft.generation().expect("generation"), before + 1, "one transaction");
                let read = nft.read(family, "calico").expect("readable");
                assert_eq!(read.as_ref(), tables.desired().next());
            }
        }
    });
}

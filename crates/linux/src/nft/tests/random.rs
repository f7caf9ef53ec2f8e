//! Random tables: written, read back, compared with what nft shows and takes.

use super::namespace::{Namespace, feed, listed};
use super::*;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kernel::nft::{ConnectionState, Part, Period, Rejection, Tables, Update};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

const NAMES: [&str; 4] = ["cali40masq-ipam-pools", "s.1", "nat_x", "filter-cali-INPUT"];
const PORTS: [&str; 2] = ["ports", "ports-single"];
const PAIRS: &str = "pairs";
const MAP: &str = "to-wl-dispatch";
/// Protocols that `/etc/protocols` and this project call the same.
const PROTOCOLS: [u8; 8] = [1, 4, 6, 17, 47, 58, 132, 200];
const CASES: u32 = 48;

fn net(family: Family) -> BoxedStrategy<IpNet> {
    match family {
        Family::Ip | Family::Netdev => (any::<u32>(), 0u8..=32)
            .prop_map(|(bits, length)| {
                Ipv4Net::new(bits.into(), length).expect("≤ 32").trunc().into()
            })
            .boxed(),
        Family::Ip6 => (any::<u128>(), 0u8..=128)
            .prop_map(|(bits, length)| {
                Ipv6Net::new(bits.into(), length).expect("≤ 128").trunc().into()
            })
            .boxed(),
    }
}

fn address(family: Family) -> BoxedStrategy<IpAddr> {
    match family {
        Family::Ip6 => any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6).boxed(),
        _ => any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4).boxed(),
    }
}

fn device() -> impl Strategy<Value = Element> {
    "[a-z][a-z0-9.-]{0,14}"
        .prop_map(|name| Element::Interface(Device::new(&name).expect("a device's name")))
}

fn range() -> impl Strategy<Value = (u16, u16)> {
    let wide = (any::<u16>(), any::<u16>()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let edge = prop_oneof![Just((0, 0)), Just((0, u16::MAX)), Just((u16::MAX, u16::MAX))];
    prop_oneof![4 => wide, 4 => any::<u16>().prop_map(|port| (port, port)), 1 => edge]
}

fn set_of(
    key: SetKey,
    interval: bool,
    element: impl Strategy<Value = Element>,
) -> impl Strategy<Value = Set> {
    prop::collection::btree_set(element, 0..12).prop_map(move |elements| {
        let set = Set { key, interval, elements };
        Set { elements: set.members().into_owned(), ..set }
    })
}

fn addresses(family: Family) -> impl Strategy<Value = Set> {
    prop_oneof![
        set_of(SetKey::Address, true, net(family).prop_map(Element::Net)),
        set_of(SetKey::Address, false, address(family).prop_map(Element::from)),
    ]
}

/// Sets that are not of addresses, by name.
fn other_sets(family: Family) -> impl Strategy<Value = Vec<(String, Set)>> {
    let ports = range().prop_map(|(first, last)| Element::Ports(first, last));
    let port = any::<u16>().prop_map(|port| Element::Ports(port, port));
    let pair = (address(family), prop::sample::select(PROTOCOLS.to_vec()), any::<u16>())
        .prop_map(|(address, protocol, port)| Element::AddressPort { address, protocol, port });
    let sets = (
        set_of(SetKey::Port, true, ports),
        set_of(SetKey::Port, false, port),
        set_of(SetKey::AddressProtocolPort, false, pair),
        set_of(SetKey::Interface, false, device()),
    );
    let names = [PORTS[0], PORTS[1], PAIRS, "if-names"].map(str::to_owned);
    sets.prop_map(move |(a, b, c, d)| names.clone().into_iter().zip([a, b, c, d]).collect())
}

/// Whose elements go to the last chain.
fn map() -> impl Strategy<Value = VerdictMap> {
    let target = NAMES[NAMES.len() - 1].to_owned();
    let verdict = prop::sample::select(vec![
        Verdict::Accept,
        Verdict::Drop,
        Verdict::Return,
        Verdict::Continue,
        Verdict::Jump(target.clone()),
        Verdict::Goto(target),
    ]);
    prop::collection::btree_map(device(), verdict, 0..8)
        .prop_map(|elements| VerdictMap { key: SetKey::Interface, elements })
}

/// Conditions on the header of one version of IP.
fn of_version(version: Version) -> impl Strategy<Value = Vec<Match>> {
    let family = match version {
        Version::V4 => Family::Ip,
        Version::V6 => Family::Ip6,
    };
    let net = || prop_oneof![net(family), address(family).prop_map(IpNet::from)];
    let one = prop_oneof![
        (net(), any::<bool>()).prop_map(|(net, not)| Match::SourcePrefix { net, not }),
        (net(), any::<bool>()).prop_map(|(net, not)| Match::DestinationPrefix { net, not }),
        any::<u16>().prop_map(move |bytes| Match::LengthAbove { version, bytes }),
    ];
    prop::collection::vec(one, 1..3)
}

/// What tables of devices know of, and others don't: the version first, then its header.
fn of_frames() -> impl Strategy<Value = Vec<Match>> {
    let of = |version| {
        of_version(version).prop_map(move |rest| [vec![Match::Version(version)], rest].concat())
    };
    prop_oneof![of(Version::V4), of(Version::V6)]
}

fn conditions(family: Family) -> BoxedStrategy<Vec<Match>> {
    let parts = match family {
        Family::Ip => (of_packets(), of_transport(Version::V4), of_version(Version::V4)).boxed(),
        Family::Ip6 => (of_packets(), of_transport(Version::V6), of_version(Version::V6)).boxed(),
        Family::Netdev => (of_packets(), Just(vec![]), of_frames()).boxed(),
    };
    parts
        .prop_map(move |(packets, transport, header)| {
            // Frames have no connection yet, and tables of devices no sets.
            let usable = |found: &Match| {
                let of_connection =
                    matches!(found, Match::ConnectionState(_) | Match::ConnectionIsDnat { .. });
                family != Family::Netdev || !(of_connection || found.set().is_some())
            };
            let packets = packets.into_iter().filter(usable);
            // nft shows a version as part of what follows it, or not at all behind a protocol.
            let all = header.into_iter().chain(packets);
            all.chain(transport).collect()
        })
        .boxed()
}

/// A protocol, and perhaps conditions on its header.
fn of_transport(version: Version) -> impl Strategy<Value = Vec<Match>> {
    let not = any::<bool>();
    let ports = || prop::sample::select(PORTS.to_vec()).prop_map(str::to_owned);
    let protocol = prop::sample::select(vec![1u8, 4, 47, 58, 132, 200]);
    let with_ports = prop::sample::select(vec![6u8, 17, 132]);
    let source = prop_oneof![
        (range(), not).prop_map(|((first, last), not)| Match::SourcePorts { first, last, not }),
        (ports(), not).prop_map(|(set, not)| Match::SourcePortInSet { set, not }),
        not.prop_map(|not| Match::SourceAddressPortInSet { set: PAIRS.to_owned(), not }),
    ];
    let destination = prop_oneof![
        (range(), not)
            .prop_map(|((first, last), not)| { Match::DestinationPorts { first, last, not } }),
        (ports(), not).prop_map(|(set, not)| Match::DestinationPortInSet { set, not }),
        not.prop_map(|not| Match::DestinationAddressPortInSet { set: PAIRS.to_owned(), not }),
    ];
    let both = (prop::option::of(source), prop::option::of(destination));
    // Of a type with its code, nft's text says "not" in a way that means something else.
    let icmp =
        (any::<u8>(), prop::option::of(any::<u8>()), not).prop_map(move |(kind, code, not)| {
            let protocol = if version == Version::V4 { 1 } else { 58 };
            let not = not && code.is_none();
            vec![Match::Protocol(protocol), Match::Icmp { version, kind, code, not }]
        });
    prop_oneof![
        Just(vec![]),
        protocol.prop_map(|number| vec![Match::Protocol(number)]),
        (with_ports, both).prop_map(|(protocol, (source, destination))| {
            // Of two neighbouring fields, each compared with one value, nft makes one comparison
            // when it reads text, and so changes what "not" means.
            let source = source.filter(|source| {
                !(is_one_port(source) && destination.as_ref().is_some_and(is_one_port))
            });
            [Match::Protocol(protocol)].into_iter().chain(source).chain(destination).collect()
        }),
        not.prop_map(|not| vec![Match::SourceAddressPortInSet { set: PAIRS.to_owned(), not }]),
        icmp,
    ]
}

fn is_one_port(condition: &Match) -> bool {
    match condition {
        Match::SourcePorts { first, last, .. } | Match::DestinationPorts { first, last, .. } => {
            first == last
        }
        _ => false,
    }
}

fn of_packets() -> impl Strategy<Value = Vec<Match>> {
    use ConnectionState::{Established, Invalid, New, Related, Untracked};
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned);
    let not = any::<bool>();
    let interface = || "[a-z][a-z0-9.]{0,13}[*]?";
    let states =
        prop::sample::subsequence(vec![Invalid, Established, Related, New, Untracked], 1..=5);
    let periods = vec![Period::Second, Period::Minute, Period::Hour, Period::Day];
    let mask = prop_oneof![Just(u32::MAX), Just(0x0003_0000), 1..=u32::MAX];
    let one = prop_oneof![
        (name(), not).prop_map(|(set, not)| Match::SourceInSet { set, not }),
        (name(), not).prop_map(|(set, not)| Match::DestinationInSet { set, not }),
        prop::sample::select(PROTOCOLS.to_vec()).prop_map(Match::NotProtocol),
        prop::sample::select(vec![PacketType::Broadcast, PacketType::Multicast])
            .prop_map(Match::PacketType),
        (1u32..1000, 1u32..1000)
            .prop_map(|(below, more)| Match::Random { below, of: below + more }),
        (1u64..100_000, prop::sample::select(periods), 1u32..50)
            .prop_map(|(rate, per, burst)| Match::Limit { rate, per, burst }),
        (interface(), not).prop_map(|(name, not)| Match::InputInterface { name, not }),
        (interface(), not).prop_map(|(name, not)| Match::OutputInterface { name, not }),
        not.prop_map(|not| Match::SourceIsLocal { not }),
        not.prop_map(|not| Match::DestinationIsLocal { not }),
        Just(Match::ReversePathMissing),
        (mask, any::<u32>(), not).prop_map(|(mask, bits, not)| Match::Mark {
            mask,
            value: bits & mask,
            not
        }),
        states.prop_map(|states| Match::ConnectionState(states.into_iter().collect())),
        not.prop_map(|not| Match::ConnectionIsDnat { not }),
    ];
    prop::collection::vec(one, 0..4)
}

fn statements() -> impl Strategy<Value = Vec<Statement>> {
    let mask = prop_oneof![Just(u32::MAX), Just(0x0003_0000), 1..=u32::MAX];
    // nft would take `$` for the beginning of a variable.
    let prefix = "[ -!#%-\\[\\]-~é]{0,60}";
    let one = prop_oneof![
        (mask, any::<u32>()).prop_map(|(mask, bits)| Statement::Mark { mask, value: bits & mask }),
        (any::<u16>(), prefix).prop_map(|(group, prefix)| Statement::Log { group, prefix }),
        Just(Statement::NoTrack),
    ];
    prop::collection::vec(one, 0..3)
}

/// Jumps go to a chain of a later name only, so that there is no circle.
fn any_rule(family: Family, index: usize) -> impl Strategy<Value = Rule> {
    let of_packets = family != Family::Netdev;
    let verdict = (0u8..10, index + 1..NAMES.len() + 1).prop_map(move |(kind, to)| {
        let look = |field| Verdict::Map { field, map: MAP.to_owned() };
        match (kind, to) {
            (0, to) if to < NAMES.len() => Verdict::Jump(NAMES[to].to_owned()),
            (1, to) if to < NAMES.len() => Verdict::Goto(NAMES[to].to_owned()),
            (2, _) => Verdict::Accept,
            (3, _) => Verdict::Drop,
            (4, _) => Verdict::Return,
            (5, _) if of_packets => Verdict::Reject(Rejection::PortUnreachable),
            (6, to) if of_packets && to < NAMES.len() => look(MapField::InputInterface),
            (7, to) if of_packets && to < NAMES.len() => look(MapField::OutputInterface),
            (8, _) if of_packets => Verdict::Reject(Rejection::TcpReset),
            _ => Verdict::Continue,
        }
    });
    let conditions = prop_oneof![2 => conditions(family), 1 => Just(vec![])];
    let statements = if of_packets { statements().boxed() } else { Just(vec![]).boxed() };
    (conditions, statements, verdict, "[ -!#-~é]{0,60}").prop_map(
        |(matches, statements, verdict, comment)| {
            let tcp = matches.contains(&Match::Protocol(6));
            let verdict = match verdict {
                Verdict::Reject(_) if tcp => Verdict::Reject(Rejection::TcpReset),
                Verdict::Reject(_) => Verdict::Reject(Rejection::PortUnreachable),
                verdict => verdict,
            };
            Rule { matches, statements, verdict, comment }
        },
    )
}

fn table(family: Family) -> impl Strategy<Value = Table> {
    let sets = (prop::collection::vec(addresses(family), NAMES.len()), other_sets(family), map());
    let rules = move |index| prop::collection::vec(any_rule(family, index), 0..4);
    let chains = (rules(0), rules(1), rules(2), rules(3));
    let lo = Device::new("lo").expect("a name");
    let hooks = match family {
        Family::Netdev => vec![Hook::Ingress(lo), Hook::Egress(lo)],
        _ => vec![Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output],
    };
    let hooks = prop::sample::select(hooks);
    (sets, chains, hooks, -400i32..400).prop_map(
        move |((sets, others, map), chains, hook, priority)| {
            let mut table = Table::new(family, "calico");
            if family != Family::Netdev {
                table.sets.extend(NAMES.map(str::to_owned).into_iter().zip(sets));
                table.sets.extend(others);
                table.maps.insert(MAP.to_owned(), map);
            }
            let mut chains = [chains.0, chains.1, chains.2, chains.3].map(chain);
            // Reverse paths there are only of what comes in.
            let coming = matches!(hook, Hook::Prerouting | Hook::Input | Hook::Forward);
            for rule in chains.iter_mut().flat_map(|chain| &mut chain.rules) {
                rule.matches.retain(|found| coming || *found != Match::ReversePathMissing);
            }
            table.chains.extend(NAMES.map(str::to_owned).into_iter().zip(chains));
            let jump = vec![rule(vec![], Verdict::Jump(NAMES[0].to_owned()))];
            table.chains.insert("base".into(), base(ChainKind::Filter, hook, priority, jump));
            if family != Family::Netdev {
                let masquerade = vec![rule(vec![], Verdict::Masquerade)];
                let nat = base(ChainKind::Nat, Hook::Postrouting, 100, masquerade);
                table.chains.insert("nat".into(), nat);
            }
            table
        },
    )
}

fn tables() -> impl Strategy<Value = (Table, Table)> {
    let pair = |family| (table(family), table(family));
    prop_oneof![2 => pair(Family::Ip), 2 => pair(Family::Ip6), 1 => pair(Family::Netdev)]
}

/// The updates that lead from one table to another, object by object.
fn updates(from: &Table, to: &Table) -> Vec<Update> {
    fn parts<T: Clone + PartialEq>(
        from: &BTreeMap<String, T>,
        to: &BTreeMap<String, T>,
        part: impl Fn(String, Option<T>) -> Part,
    ) -> Vec<Part> {
        let gone = from.keys().filter(|name| !to.contains_key(*name));
        let gone: Vec<Part> = gone.map(|name| part(name.clone(), None)).collect();
        let changed = to.iter().filter(|(name, object)| from.get(*name) != Some(object));
        let changed = changed.map(|(name, object)| part(name.clone(), Some(object.clone())));
        gone.into_iter().chain(changed).collect()
    }
    let mut all = parts(&from.sets, &to.sets, Part::Set);
    all.extend(parts(&from.maps, &to.maps, Part::Map));
    all.extend(parts(&from.chains, &to.chains, Part::Chain));
    let table = &to.name;
    all.into_iter().map(|part| Update { family: to.family, table: table.clone(), part }).collect()
}

#[test]
fn updates_end_where_they_should() {
    Namespace::new().inside(|| {
        let nft = RefCell::new(Nft::open().expect("socket"));
        let config = Config { failure_persistence: None, ..Config::with_cases(CASES / 4) };
        let histories = [Family::Ip, Family::Ip6]
            .map(|family| prop::collection::vec((table(family), any::<bool>()), 1..5));
        let [ip, ip6] = histories;
        let outcome = TestRunner::new(config).run(&prop_oneof![ip, ip6], |history| {
            let mut nft = nft.borrow_mut();
            let family = history[0].0.family;
            nft.delete_table(family, "calico").expect("deleted");
            let mut tables = Tables::new();
            let mut now = Table::new(family, "calico");
            for (next, disturbed) in history {
                for update in updates(&now, &next) {
                    tables.update(update).map_err(|e| TestCaseError::fail(e.to_string()))?;
                }
                now = next;
                if disturbed {
                    // Somebody else was at it, and it is read again.
                    nft.delete_table(family, "calico").expect("deleted");
                    let text = "add table FAMILY calico\nadd set FAMILY calico s { type mark; }\n\
                                add chain FAMILY calico base { type filter hook input priority 7; }";
                    let text = text.replace("FAMILY", &family.to_string());
                    feed("nft", &["-f", "-"], &text).map_err(TestCaseError::fail)?;
                    let read = nft.read(family, "calico").expect("readable");
                    tables.resync(read.into_iter().collect());
                }
                nft.apply(&tables.changes()).map_err(|e| TestCaseError::fail(e.to_string()))?;
                tables.commit();
                let read = nft.read(family, "calico").expect("readable");
                prop_assert_eq!(read, Some(now.clone()));
            }
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    });
}

#[test]
fn written_is_what_is_read_shown_and_taken() {
    Namespace::new().inside(|| {
        let nft = RefCell::new(Nft::open().expect("socket"));
        let config = Config { failure_persistence: None, ..Config::with_cases(CASES) };
        let outcome = TestRunner::new(config).run(&tables(), |(first, second)| {
            let mut nft = nft.borrow_mut();
            let family = first.family;
            first.check().map_err(|invalid| TestCaseError::fail(invalid.to_string()))?;
            // A case that failed has left its table.
            nft.delete_table(family, "calico").expect("deleted");
            reach(&mut nft, &first);
            let read = nft.read(family, "calico").expect("readable");
            prop_assert_eq!(read.as_ref(), Some(&first));
            prop_assert_eq!(listed(&family.to_string(), "calico"), first.to_string());

            // From one table to any other by the difference alone.
            reach(&mut nft, &second);
            prop_assert_eq!(nft.read(family, "calico").expect("readable"), Some(second.clone()));
            prop_assert_eq!(reach(&mut nft, &second), vec![]);

            // What nft makes of the text is the same table.
            nft.delete_table(family, "calico").expect("deleted");
            let text = second.to_string();
            feed("nft", &["-c", "-f", "-"], &text).map_err(TestCaseError::fail)?;
            feed("nft", &["-f", "-"], &text).map_err(TestCaseError::fail)?;
            prop_assert_eq!(nft.read(family, "calico").expect("readable"), Some(second));
            nft.delete_table(family, "calico").expect("deleted");
            Ok(())
        });
        outcome.unwrap_or_else(|failure| panic!("{failure}"));
    });
}

//! Random tables: written, read back, compared with what nft shows and takes.

use super::namespace::{Namespace, feed, listed};
use super::*;
use ipnet::{Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cell::RefCell;

const NAMES: [&str; 4] = ["cali40masq-ipam-pools", "s.1", "nat_x", "filter-cali-INPUT"];
const CASES: u32 = 36;

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

fn set(family: Family) -> impl Strategy<Value = Set> {
    let elements = prop::collection::btree_set(net(family), 0..12);
    (any::<bool>(), elements).prop_map(|(interval, elements)| {
        let whole = |net: IpNet| IpNet::from(net.addr());
        let elements = elements.into_iter().map(|net| if interval { net } else { whole(net) });
        let set = Set { key: SetKey::Address, elements: elements.collect(), interval };
        Set { elements: set.members(), ..set }
    })
}

/// Conditions on the header of one version of IP.
fn of_version(version: Version) -> impl Strategy<Value = Vec<Match>> {
    let address = match version {
        Version::V4 => any::<std::net::Ipv4Addr>().prop_map(IpAddr::V4).boxed(),
        Version::V6 => any::<std::net::Ipv6Addr>().prop_map(IpAddr::V6).boxed(),
    };
    let one = prop_oneof![
        (address.clone(), any::<bool>())
            .prop_map(|(address, not)| Match::SourceAddress { address, not }),
        (address, any::<bool>())
            .prop_map(|(address, not)| Match::DestinationAddress { address, not }),
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
    match family {
        Family::Ip => (of_packets(), of_version(Version::V4)).boxed(),
        Family::Ip6 => (of_packets(), of_version(Version::V6)).boxed(),
        Family::Netdev => (of_packets(), of_frames()).boxed(),
    }
    .prop_map(move |(packets, header)| {
        let of_sets = |found: &Match| {
            matches!(found, Match::SourceInSet { .. } | Match::DestinationInSet { .. })
        };
        let usable = |found: &Match| family != Family::Netdev || !of_sets(found);
        let packets = packets.into_iter().filter(usable);
        // nft shows a version as part of what follows it, or not at all behind a protocol.
        header.into_iter().chain(packets).collect()
    })
    .boxed()
}

fn of_packets() -> impl Strategy<Value = Vec<Match>> {
    let name = || prop::sample::select(NAMES.to_vec()).prop_map(str::to_owned);
    let not = any::<bool>();
    let protocol = prop::sample::select(vec![1u8, 4, 47, 58, 132, 200]);
    let ported = (prop::sample::select(vec![6u8, 17, 132]), any::<u16>());
    let ported_source = ported.clone();
    let interface = || "[a-z][a-z0-9.]{0,13}[*]?";
    let one = prop_oneof![
        (name(), not).prop_map(|(set, not)| vec![Match::SourceInSet { set, not }]),
        (name(), not).prop_map(|(set, not)| vec![Match::DestinationInSet { set, not }]),
        protocol.prop_map(|number| vec![Match::Protocol(number)]),
        ported.prop_map(|(p, port)| vec![Match::Protocol(p), Match::DestinationPort(port)]),
        ported_source.prop_map(|(p, port)| vec![Match::Protocol(p), Match::SourcePort(port)]),
        prop::sample::select(vec![PacketType::Broadcast, PacketType::Multicast])
            .prop_map(|kind| vec![Match::PacketType(kind)]),
        (1u32..1000, 1u32..1000)
            .prop_map(|(below, more)| vec![Match::Random { below, of: below + more }]),
        interface().prop_map(|name| vec![Match::InputInterface(name)]),
        interface().prop_map(|name| vec![Match::OutputInterface(name)]),
        not.prop_map(|not| vec![Match::SourceIsLocal { not }]),
        not.prop_map(|not| vec![Match::DestinationIsLocal { not }]),
    ];
    prop::collection::vec(one, 0..4).prop_map(|all| {
        // More than one protocol in a rule is never true, and nft shows it in ways of its own.
        let mut protocols = 0;
        let mut once = |part: &Vec<Match>| {
            protocols += usize::from(matches!(part[0], Match::Protocol(_)));
            protocols <= 1 || !matches!(part[0], Match::Protocol(_))
        };
        all.into_iter().filter(|part| once(part)).flatten().collect()
    })
}

/// Jumps go to a chain of a later name only, so that there is no circle.
fn any_rule(family: Family, index: usize) -> impl Strategy<Value = Rule> {
    let verdict = (0u8..6, index + 1..NAMES.len() + 1).prop_map(|(kind, to)| match (kind, to) {
        (0, to) if to < NAMES.len() => Verdict::Jump(NAMES[to].to_owned()),
        (1, to) if to < NAMES.len() => Verdict::Goto(NAMES[to].to_owned()),
        (2, _) => Verdict::Accept,
        (3, _) => Verdict::Drop,
        (4, _) => Verdict::Return,
        _ => Verdict::Continue,
    });
    let conditions = prop_oneof![2 => conditions(family), 1 => Just(vec![])];
    (conditions, verdict, "[ -!#-~é]{0,60}").prop_map(|(matches, verdict, comment)| Rule {
        matches,
        verdict,
        comment,
    })
}

fn table(family: Family) -> impl Strategy<Value = Table> {
    let sets = prop::collection::vec(set(family), NAMES.len());
    let rules = move |index| prop::collection::vec(any_rule(family, index), 0..4);
    let chains = (rules(0), rules(1), rules(2), rules(3));
    let lo = Device::new("lo").expect("a name");
    let hooks = match family {
        Family::Netdev => vec![Hook::Ingress(lo), Hook::Egress(lo)],
        _ => {
            vec![Hook::Prerouting, Hook::Input, Hook::Forward, Hook::Output, Hook::Postrouting]
        }
    };
    let hooks = prop::sample::select(hooks);
    (sets, chains, hooks, -400i32..400).prop_map(move |(sets, chains, hook, priority)| {
        let mut table = Table::new(family, "calico");
        if family != Family::Netdev {
            table.sets.extend(NAMES.map(str::to_owned).into_iter().zip(sets));
        }
        let chains = [chains.0, chains.1, chains.2, chains.3].map(chain);
        table.chains.extend(NAMES.map(str::to_owned).into_iter().zip(chains));
        let jump = vec![rule(vec![], Verdict::Jump(NAMES[0].to_owned()))];
        table.chains.insert("base".into(), base(ChainKind::Filter, hook, priority, jump));
        if family != Family::Netdev {
            let masquerade = vec![rule(vec![], Verdict::Masquerade)];
            let nat = base(ChainKind::Nat, Hook::Postrouting, 100, masquerade);
            table.chains.insert("nat".into(), nat);
        }
        table
    })
}

fn tables() -> impl Strategy<Value = (Table, Table)> {
    let pair = |family| (table(family), table(family));
    prop_oneof![pair(Family::Ip), pair(Family::Ip6), pair(Family::Netdev)]
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

//! What a transaction leaves alone, what a refusal says, what a monitor hears.

use super::namespace::{Namespace, feed, listed, run};
use super::*;
use crate::netns::NetNs;
use nix::errno::Errno;
use std::os::fd::AsFd;

const FOREIGN: &str = "table ip kube-proxy {
	map services {
		type ipv4_addr : verdict
		elements = { 10.96.0.1 : drop }
	}

	chain theirs {
		type filter hook input priority filter + 5; policy drop;
		ip daddr vmap @services
	}
}";

#[test]
fn foreign_tables_are_never_touched() {
    Namespace::new().inside(|| {
        feed("nft", &["-f", "-"], FOREIGN).expect("taken");
        let mut nft = Nft::open().expect("socket");
        reach(&mut nft, &calico(&["10.0.0.0/8"]));
        reach(&mut nft, &calico(&[]));
        let names = [(Family::Ip, "calico".to_owned()), (Family::Ip, "kube-proxy".to_owned())];
        assert_eq!(nft.tables().expect("listed"), names);
        nft.delete_table(Family::Ip, "calico").expect("deleted");
        nft.delete_table(Family::Ip, "calico").expect("deleting what is not there succeeds");
        assert_eq!(nft.read(Family::Ip, "calico").expect("readable"), None);
        assert_eq!(listed("ip", "kube-proxy"), FOREIGN);
    });
}

#[test]
fn what_is_not_ours_is_replaced() {
    Namespace::new().inside(|| {
        let text = FOREIGN.replace("kube-proxy", "calico").replace(
            "ip daddr vmap @services\n",
            "ip daddr vmap @services\n tcp dport { 80, 443 } counter\n ct state new accept\n",
        );
        feed("nft", &["-f", "-"], &text).expect("taken");
        let ours = "add chain ip calico check { ip ttl 3 limit rate 1/second counter drop; }\n\
                    add set ip calico blocked { type ipv4_addr; flags timeout; }\n";
        feed("nft", &["-f", "-"], ours).expect("taken");
        let mut nft = Nft::open().expect("socket");
        let found = nft.read(Family::Ip, "calico").expect("readable").expect("there");
        assert_eq!(found.maps["services"].key, SetKey::Address, "no rule of ours looks into one");
        assert_eq!(found.sets["blocked"].key, SetKey::Foreign);
        let theirs = &found.chains["theirs"];
        assert_eq!(theirs.base.map(|base| base.kind), Some(ChainKind::Foreign), "policy drop");
        assert!(theirs.rules.iter().all(Rule::is_foreign), "{theirs:?}");
        assert!(found.chains["check"].rules.iter().all(Rule::is_foreign));
        let desired = calico(&["10.0.0.0/8"]);
        reach(&mut nft, &desired);
        assert_eq!(listed("ip", "calico"), desired.to_string());
    });
}

#[test]
fn one_element_leaves_rules_and_counters_alone() {
    Namespace::new().inside(|| {
        let mut table = calico(&["10.0.0.0/8"]);
        let count = vec![rule(vec![], Verdict::Continue)];
        table.chains.insert("out".into(), base(ChainKind::Filter, Hook::Output, 0, count));
        let mut nft = Nft::open().expect("socket");
        reach(&mut nft, &table);
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        socket.send_to(b"x", socket.local_addr().expect("address")).expect("sent");
        let counters = || run("nft", &["-a", "list", "chain", "ip", "calico", "out"]);
        let before = counters();
        assert!(before.contains("packets 1 bytes 29"), "{before}");
        let elements = nets(&["10.0.0.0/8", "11.0.0.0/8"]);
        table.sets.get_mut("blocked").expect("set").elements = elements;
        assert_eq!(reach(&mut nft, &table).len(), 1);
        assert_eq!(counters(), before);
        assert_eq!(nft.read(Family::Ip, "calico").expect("readable"), Some(table));
    });
}

#[test]
fn intervals_next_to_and_within_each_other() {
    let steps: [&[&str]; 7] = [
        &["10.0.0.0/8"],
        &["10.0.0.0/16", "10.1.0.0/16", "10.2.0.0/15", "11.0.0.0/8"],
        &["0.0.0.0/0"],
        &["0.0.0.0/8", "255.0.0.0/8", "255.255.255.255/32"],
        &["255.255.255.255/32", "255.255.255.254/32", "0.0.0.0/32"],
        &["0.0.0.0/1", "128.0.0.0/1", "10.0.0.0/8"],
        &[],
    ];
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        for step in steps {
            let mut table = calico(step);
            reach(&mut nft, &table);
            assert_eq!(listed("ip", "calico"), table.to_string());
            let set = table.sets.get_mut("blocked").expect("set");
            set.elements = set.members().into_owned();
            assert_eq!(nft.read(Family::Ip, "calico").expect("readable"), Some(table));
        }
    });
}

#[test]
fn rules_that_stay_keep_their_counters() {
    Namespace::new().inside(|| {
        let lettered = |letters: &str| {
            let rules = letters.chars().map(|letter| Rule {
                comment: letter.to_string(),
                ..rule(vec![], Verdict::Continue)
            });
            let mut table = Table::new(Family::Ip, "calico");
            let out = base(ChainKind::Filter, Hook::Output, 0, rules.collect());
            table.chains.insert("out".into(), out);
            table
        };
        let mut nft = Nft::open().expect("socket");
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("socket");
        reach(&mut nft, &lettered("abcd"));
        // Whatever is there is counted once, after each change.
        for (letters, counted) in [
            ("abcd", [1, 1, 1, 1].as_slice()),
            ("abxd", &[2, 2, 1, 2]),
            ("ad", &[3, 3]),
            ("aefgd", &[4, 1, 1, 1, 4]),
            ("hiaefgd", &[1, 1, 5, 2, 2, 2, 5]),
            ("hiaefgdjk", &[2, 2, 6, 3, 3, 3, 6, 1, 1]),
            ("hk", &[3, 2]),
            ("lm", &[1, 1]),
        ] {
            reach(&mut nft, &lettered(letters));
            socket.send_to(b"x", socket.local_addr().expect("address")).expect("sent");
            let counters = nft.chain_counters(Family::Ip, "calico", "out").expect("readable");
            let found: String = counters.iter().map(|held| &*held.rule.comment).collect();
            assert_eq!(found, letters);
            let packets: Vec<u64> = counters.iter().map(|held| held.packets).collect();
            assert_eq!(packets, counted, "{letters}");
        }
    });
}

#[test]
fn chain_with_other_rules_than_known_is_a_conflict() {
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        let table = calico(&[]);
        reach(&mut nft, &table);
        let mut desired = table.clone();
        desired.chains.get_mut("check").expect("chain").rules.pop();
        let changes = diff(std::slice::from_ref(&desired), std::slice::from_ref(&table));
        run("nft", &["add", "rule", "ip", "calico", "check", "counter"]);
        let error = nft.apply(&changes).expect_err("a rule too many");
        assert!(error.is_conflict());
        let text = error.to_string();
        assert!(text.starts_with("chain ip calico check was changed by somebody else"), "{text}");
        reach(&mut nft, &desired);
        assert_eq!(listed("ip", "calico"), desired.to_string());
    });
}

#[test]
fn range_of_somebody_else_is_a_foreign_set() {
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        reach(&mut nft, &calico(&["10.0.0.0/8"]));
        run("nft", &["add", "element", "ip", "calico", "blocked", "{ 11.0.0.1-11.0.0.6 }"]);
        let found = nft.read(Family::Ip, "calico").expect("readable").expect("there");
        assert_eq!(found.sets["blocked"].key, SetKey::Foreign);
        reach(&mut nft, &calico(&["10.0.0.0/8"]));
        assert_eq!(listed("ip", "calico"), calico(&["10.0.0.0/8"]).to_string());
    });
}

#[test]
fn bad_transaction_changes_nothing_and_says_why() {
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        let table = calico(&["10.0.0.0/8"]);
        reach(&mut nft, &table);
        let mut changes = diff(&[calico(&["11.0.0.0/8"])], std::slice::from_ref(&table));
        let nowhere =
            vec![rule(vec![], Verdict::Continue), rule(vec![], Verdict::Jump("x".into()))];
        let edit = Edit::AddRules { chain: "check".into(), rules: nowhere };
        changes.push(Change { family: Family::Ip, table: "calico".into(), edit });
        let error = nft.apply(&changes).expect_err("no chain x");
        let text = error.to_string();
        assert!(matches!(error, Error::Refused { errno: Errno::ENOENT, .. }), "{text}");
        assert!(error.is_conflict());
        assert!(text.contains("'add rule ip calico check counter jump x'"), "{text}");
        assert!(text.contains("nothing was changed"), "{text}");
        assert_eq!(nft.read(Family::Ip, "calico").expect("readable"), Some(table));
    });
}

#[test]
fn opens_in_another_namespace() {
    let there = NetNs::create().expect("a namespace");
    let mut nft = Nft::open_in(&there).expect("socket");
    reach(&mut nft, &calico(&[]));
    let shown = there.run(|| listed("ip", "calico")).expect("entered");
    assert_eq!(shown, calico(&[]).to_string());
}

#[test]
fn foreign_values_are_not_sent() {
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        let mut table = calico(&[]);
        let foreign = rule(vec![Match::Foreign("limit".into())], Verdict::Drop);
        table.chains.get_mut("check").expect("chain").rules.push(foreign);
        let error = nft.apply(&diff(&[table], &[])).expect_err("not ours");
        assert!(matches!(error, Error::Foreign { .. }), "{error}");
        assert_eq!(nft.tables().expect("listed"), []);
    });
}

#[test]
fn monitor_hears_others_only() {
    Namespace::new().inside(|| {
        let mut nft = Nft::open().expect("socket");
        let mut monitor = NftMonitor::open(&nft).expect("subscribed");
        reach(&mut nft, &calico(&["10.0.0.0/8"]));
        assert_eq!(monitor.read().expect("heard"), BTreeSet::new());
        run("nft", &["flush", "chain", "ip", "calico", "check"]);
        let mut fds = [nix::poll::PollFd::new(monitor.as_fd(), nix::poll::PollFlags::POLLIN)];
        let ready = nix::poll::poll(&mut fds, 5000u16).expect("poll");
        assert_eq!(ready, 1, "the descriptor becomes readable");
        let table = "calico".to_owned();
        let changed = Heard::Changed { family: Family::Ip, table, by: "nft".to_owned() };
        assert_eq!(monitor.read().expect("heard"), [changed].into());
        assert_eq!(reach(&mut nft, &calico(&["10.0.0.0/8"])).len(), 1, "the rules come back");
    });
}

#[test]
fn large_tables_are_one_transaction() {
    Namespace::new().inside(|| {
        let mut table = calico(&[]);
        let address = |bits: u32| Element::from(std::net::IpAddr::V4(bits.into()));
        let elements = (0..20_000u32).map(|n| address(0x0a00_0000 + 2 * n)).collect();
        let set = Set { key: SetKey::Address, elements, interval: false };
        table.sets.insert("single".into(), set);
        for number in 0..2000u16 {
            let port = |port| vec![Match::Protocol(6), Match::destination_port(port)];
            let rules = (0..10).map(|port_low| rule(port(number * 10 + port_low), Verdict::Accept));
            table.chains.insert(format!("chain-{number}"), chain(rules.collect()));
        }
        let mut nft = Nft::open().expect("socket");
        let before = nft.generation().expect("generation");
        reach(&mut nft, &table);
        assert_eq!(nft.generation().expect("generation"), before + 1, "one transaction");
        assert_eq!(nft.read(Family::Ip, "calico").expect("readable"), Some(table));
    });
}

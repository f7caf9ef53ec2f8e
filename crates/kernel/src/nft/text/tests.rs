use crate::nft::{
    BaseChain, Chain, ChainKind, Device, Element, Family, Hook, Match, PacketType, Rule, Set,
    SetKey, Table, Verdict, Version,
};
use expect_test::expect;

fn set(interval: bool, elements: &[&str]) -> Set {
    let elements = elements.iter().map(|net| Element::Net(net.parse().expect("prefix"))).collect();
    Set { key: SetKey::Address, elements, interval }
}

fn rule(matches: Vec<Match>, verdict: Verdict, comment: &str) -> Rule {
    Rule { comment: comment.to_owned(), ..Rule::new(matches, verdict) }
}

#[test]
fn a_table_of_everything() {
    let mut table = Table::new(Family::Ip, "calico");
    let pools = ["192.168.0.0/16", "10.0.0.0/8", "10.1.0.0/16", "172.16.0.0/12"];
    table.sets.insert("pools".into(), set(true, &pools));
    table.sets.insert("nodes".into(), set(false, &["10.30.0.136/32"]));
    table.sets.insert("none".into(), set(false, &[]));
    let base = BaseChain { kind: ChainKind::Nat, hook: Hook::Postrouting, priority: 100 };
    let in_pools = |not| Match::DestinationInSet { set: "pools".into(), not };
    let source = Match::SourceInSet { set: "pools".into(), not: false };
    let rules = vec![rule(vec![source, in_pools(true)], Verdict::Masquerade, "leaves")];
    table.chains.insert("nat".into(), Chain { base: Some(base), rules });
    let rules = vec![
        rule(
            vec![
                Match::Protocol(17),
                Match::destination_port(4789),
                Match::DestinationIsLocal { not: false },
                Match::InputInterface { name: "ens*".into(), not: false },
            ],
            Verdict::Jump("empty".into()),
            "",
        ),
        rule(vec![Match::Protocol(4), Match::SourceIsLocal { not: true }], Verdict::Drop, ""),
        rule(
            vec![Match::OutputInterface { name: "lo".into(), not: false }],
            Verdict::Goto("empty".into()),
            "",
        ),
        rule(vec![], Verdict::Continue, ""),
        rule(vec![Match::Protocol(200)], Verdict::Return, ""),
    ];
    table.chains.insert("input".into(), Chain { base: None, rules });
    table.chains.insert("empty".into(), Chain::default());
    table.check().expect("valid");
    expect![[r#"
        table ip calico {
        	set nodes {
        		type ipv4_addr
        		elements = { 10.30.0.136 }
        	}

        	set none {
        		type ipv4_addr
        	}

        	set pools {
        		type ipv4_addr
        		flags interval
        		elements = { 10.0.0.0/8, 172.16.0.0/12,
        			     192.168.0.0/16 }
        	}

        	chain empty {
        	}

        	chain input {
        		udp dport 4789 fib daddr type local iifname "ens*" counter jump empty
        		meta l4proto ipencap fib saddr type != local counter drop
        		oifname "lo" counter goto empty
        		counter
        		meta l4proto 200 counter return
        	}

        	chain nat {
        		type nat hook postrouting priority srcnat; policy accept;
        		ip saddr @pools ip daddr != @pools counter masquerade fully-random comment "leaves"
        	}
        }"#]]
    .assert_eq(&table.to_string());
}

#[test]
fn priorities() {
    let cases = [
        (Hook::Prerouting, -300, "raw"),
        (Hook::Prerouting, -100, "dstnat"),
        (Hook::Input, -100, "-100"),
        (Hook::Postrouting, 100, "srcnat"),
        (Hook::Input, 100, "100"),
        (Hook::Forward, 7, "filter + 7"),
        (Hook::Forward, -10, "filter - 10"),
        (Hook::Forward, 11, "11"),
        (Hook::Output, -140, "mangle + 10"),
    ];
    for (hook, priority, expected) in cases {
        let base = BaseChain { kind: ChainKind::Filter, hook, priority };
        assert!(base.to_string().contains(&format!("priority {expected};")), "{base}");
    }
}

#[test]
fn a_table_of_a_device() {
    let mut table = Table::new(Family::Netdev, "lab");
    let device = Device::new("p1-worker-1").expect("a name");
    let base = |hook, priority| Some(BaseChain { kind: ChainKind::Filter, hook, priority });
    let source = |text: &str| {
        let net = text.parse().expect("a prefix");
        Match::SourcePrefix { net, not: true }
    };
    let net = "fd00::1/128".parse().expect("a prefix");
    let destination = Match::DestinationPrefix { net, not: false };
    let (v4, v6) = (Version::V4, Version::V6);
    let rules = vec![
        rule(vec![Match::PacketType(PacketType::Multicast)], Verdict::Accept, ""),
        rule(vec![Match::PacketType(PacketType::Broadcast)], Verdict::Accept, ""),
        rule(
            vec![Match::Version(v4), source("10.0.0.1/32"), source("10.0.0.2/32")],
            Verdict::Drop,
            "strange source",
        ),
        rule(vec![Match::Version(v6), destination], Verdict::Drop, ""),
        rule(vec![Match::Version(v6)], Verdict::Drop, ""),
    ];
    table.chains.insert("in".into(), Chain { base: base(Hook::Ingress(device), 0), rules });
    let above = |version, bytes| Match::LengthAbove { version, bytes };
    let rules = vec![
        rule(vec![Match::Version(v4), above(v4, 1400)], Verdict::Drop, ""),
        rule(vec![Match::Version(v6), above(v6, 1360)], Verdict::Drop, ""),
        rule(vec![Match::Protocol(6), Match::source_port(179)], Verdict::Drop, ""),
        rule(vec![Match::Random { below: 500, of: 10_000 }], Verdict::Drop, ""),
    ];
    table.chains.insert("out".into(), Chain { base: base(Hook::Egress(device), -5), rules });
    table.check().expect("valid");
    expect![[r#"
        table netdev lab {
        	chain in {
        		type filter hook ingress device "p1-worker-1" priority filter; policy accept;
        		meta pkttype multicast counter accept
        		meta pkttype broadcast counter accept
        		ip saddr != 10.0.0.1 ip saddr != 10.0.0.2 counter drop comment "strange source"
        		ip6 daddr fd00::1 counter drop
        		meta protocol ip6 counter drop
        	}

        	chain out {
        		type filter hook egress device "p1-worker-1" priority filter - 5; policy accept;
        		ip length > 1400 counter drop
        		ip6 length > 1360 counter drop
        		tcp sport 179 counter drop
        		numgen random mod 10000 < 500 counter drop
        	}
        }"#]]
    .assert_eq(&table.to_string());
}

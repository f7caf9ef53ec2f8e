use super::{OwnTables, TABLE};
use kernel::nft::{
    BaseChain, Chain, ChainKind, Element, Family, Hook, Match, Part, Rule, Set, SetKey, Table,
    Update, Verdict,
};
use linux::netns::NetNs;
use linux::nft::Nft;
use plan::Topology;
use plan::policy::{Renderer, Settings};
use policy::Output;
use policy::input::WorkloadId;
use policy::output::Workload;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Runs a test in a network namespace of its own.
fn inside(test: impl FnOnce() + Send) {
    NetNs::create().expect("root").run(test).expect("a network namespace");
}

fn fixed(family: Family) -> Table {
    let mut table = Table::new(family, TABLE);
    let base = BaseChain { kind: ChainKind::Filter, hook: Hook::Input, priority: 0 };
    let rules = vec![Rule::new(vec![], Verdict::Continue)];
    table.chains.insert("input".into(), Chain { base: Some(base), rules });
    table
}

fn update(family: Family, part: Part) -> Update {
    Update { family, table: TABLE.into(), part }
}

/// A set and a chain that looks into it.
fn policy(family: Family) -> Vec<Update> {
    let matches = vec![Match::SourceInSet { set: "members".into(), not: false }];
    let chain = Chain { base: None, rules: vec![Rule::new(matches, Verdict::Drop)] };
    vec![
        update(family, Part::Chain("policy".into(), Some(chain))),
        update(family, Part::Set("members".into(), Some(Set::new(SetKey::Address, false)))),
    ]
}

fn member(family: Family, address: &str) -> Update {
    let address = Element::from(address.parse::<std::net::IpAddr>().expect("an address"));
    let added = vec![address];
    update(family, Part::Members { set: "members".into(), added, removed: vec![] })
}

fn opened() -> OwnTables {
    let mut tables = OwnTables::open(true).expect("sockets");
    tables.read().expect("readable");
    tables
}

/// The tables in the kernel.
fn held() -> Vec<Table> {
    let mut nft = Nft::open().expect("a socket");
    let families = [Family::Ip, Family::Ip6];
    families.iter().filter_map(|family| nft.read(*family, TABLE).expect("readable")).collect()
}

#[test]
fn drift_in_either_table_is_repaired() {
    inside(|| {
        let mut tables = opened();
        tables.update([policy(Family::Ip), policy(Family::Ip6)].concat());
        tables.update(vec![member(Family::Ip, "10.0.0.1"), member(Family::Ip6, "fd00::1")]);
        assert_eq!(tables.apply(&[fixed(Family::Ip)]), []);
        let expected = held();
        assert_eq!(expected.len(), 2);
        assert!(!tables.have_others_changed(), "own changes are not heard of");
        for family in [Family::Ip, Family::Ip6] {
            Nft::open().expect("a socket").delete_table(family, TABLE).expect("deleted");
            assert!(tables.have_others_changed());
            tables.read().expect("readable");
            assert_eq!(tables.apply(&[fixed(Family::Ip)]), []);
            assert_eq!(held(), expected);
        }
    });
}

#[test]
fn conflict_is_resolved_at_once() {
    inside(|| {
        let mut tables = opened();
        tables.update(policy(Family::Ip));
        assert_eq!(tables.apply(&[]), []);
        // Not heard of yet: the next transaction finds no set.
        Nft::open().expect("a socket").delete_table(Family::Ip, TABLE).expect("deleted");
        tables.update(vec![member(Family::Ip, "10.0.0.1")]);
        assert_eq!(tables.apply(&[]), []);
        let [table] = &held()[..] else { panic!("one table") };
        assert_eq!(table.sets["members"].elements.len(), 1);
        assert_eq!(table.chains["policy"].rules.len(), 1);
    });
}

#[test]
fn what_cannot_be_is_told_and_the_rest_tried_again() {
    inside(|| {
        let mut tables = opened();
        tables.update(vec![member(Family::Ip, "10.0.0.1")]);
        let failures = tables.apply(&[fixed(Family::Ip)]);
        assert_eq!(failures.len(), 1);
        assert!(failures[0].message.contains("set members of table ip calico"), "{failures:?}");
        let jump = Rule::new(vec![], Verdict::Jump("nowhere".into()));
        let part = Part::Chain("bad".into(), Some(Chain { base: None, rules: vec![jump] }));
        tables.update(vec![update(Family::Ip, part)]);
        let failures = tables.apply(&[fixed(Family::Ip)]);
        assert_eq!((failures.len(), &*failures[0].object), (1, "table ip calico"));
        tables.update(vec![update(
            Family::Ip,
            Part::Chain("nowhere".into(), Some(Chain::default())),
        )]);
        tables.read().expect("readable");
        assert_eq!(tables.apply(&[fixed(Family::Ip)]), []);
        assert_eq!(held()[0].chains.len(), 3);
    });
}

#[test]
fn kernel_without_ipv6_is_given_none() {
    inside(|| {
        let mut tables = OwnTables::open(false).expect("sockets");
        tables.read().expect("readable");
        tables.update(policy(Family::Ip6));
        assert_eq!(tables.apply(&[fixed(Family::Ip), fixed(Family::Ip6)]), []);
        let families: Vec<Family> = held().iter().map(|table| table.family).collect();
        assert_eq!(families, [Family::Ip]);
    });
}

#[test]
fn a_rule_that_others_have_replaced_is_put_right_with_the_next_change_of_its_chain() {
    inside(|| {
        let port = |port| {
            let matches = vec![Match::Protocol(6), Match::destination_port(port)];
            Rule::new(matches, Verdict::Drop)
        };
        let chain = |ports: &[u16]| {
            let rules = ports.iter().copied().map(port).collect();
            update(Family::Ip, Part::Chain("ports".into(), Some(Chain { base: None, rules })))
        };
        for replaced in 0..4 {
            let mut tables = opened();
            tables.update(vec![chain(&[1, 2, 3, 4])]);
            assert_eq!(tables.apply(&[]), []);
            let handles = nft(&["-a", "list", "chain", "ip", TABLE, "ports"], "");
            let mut handles = handles.lines().filter(|line| line.contains("tcp dport"));
            let handle = handles.nth(replaced).and_then(|line| line.split("# handle ").last());
            let handle = handle.expect("a handle");
            nft(&["replace", "rule", "ip", TABLE, "ports", "handle", handle, "accept"], "");
            // Not heard of yet: the chain has as many rules as is known.
            tables.update(vec![chain(&[1, 9, 3, 4])]);
            assert_eq!(tables.apply(&[]), []);
            let [table] = &held()[..] else { panic!("one table") };
            assert_eq!(table.chains["ports"].rules, [1, 9, 3, 4].map(port), "{replaced}");
        }
    });
}

/// What Felix's nftables mode leaves behind.
const FELIX: &str = include_str!("../../../../../tests/felix/ruleset.nft");

/// Tables that are not the node agent's, and one of Felix's that it has no counterpart to.
const OTHERS: &str = "
table inet firewall {
    chain forward {
        type filter hook forward priority filter + 10; policy drop;
        accept
    }
}
table ip calico-others {
    set cali40this-host {
        type ipv4_addr
        elements = { 192.0.2.1 }
    }
}
table arp calico-arp {
    chain filter-cali-arp-cali1 {
        arp operation reply arp saddr ip 10.65.0.7 drop
    }
    chain filter-OUTPUT {
        type filter hook output priority filter;
        jump filter-cali-arp-cali1
    }
}
";

/// `nft`, with text on its standard input; what it prints.
fn nft(arguments: &[&str], input: &str) -> String {
    let mut command = Command::new("nft");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("nft");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(input.as_bytes()).expect("it reads");
    drop(stdin);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("UTF-8")
}

#[test]
fn felixs_tables_become_ours_in_one_transaction_and_others_stay() {
    inside(|| {
        nft(&["-f", "-"], &FELIX.replace("INTERFACE", "cali1").replace("WEB", "10.65.0.2"));
        nft(&["-f", "-"], OTHERS);
        let others = || {
            let tables = ["inet firewall", "ip calico-others", "arp calico-arp"];
            tables.map(|table| nft(&["-a", "list", "table", table], ""))
        };
        let before = others();
        let mut tables = opened();
        assert_eq!(tables.dropping(), ["inet firewall forward"]);

        let mut topology = Topology::default();
        topology.settings.policy = Some(Settings::default());
        let mut renderer = Renderer::new(Settings::default());
        tables.update(renderer.start());
        let id = WorkloadId { namespace: "shop".into(), name: "db".into() };
        let workload = Workload { interface: "cali1".into(), ..Workload::default() };
        tables.update(renderer.apply([Output::Workload(id, Arc::new(workload))]));
        let generation = || Nft::open().expect("a socket").generation().expect("readable");
        let begun = generation();
        assert_eq!(tables.apply(&plan::plan(&topology).tables), []);
        assert_eq!(generation(), begun + 1, "either all rules are Felix's or all are ours");

        tables.read().expect("readable");
        assert_eq!(tables.tables.changes(), [], "nothing of Felix's is left, nothing lacks");
        let chain = tables.chain(Family::Ip, "filter-cali-tw-cali1").expect("readable");
        assert!(chain.as_wanted && !chain.rules.is_empty(), "{chain:?}");
        assert_eq!(others(), before);
    });
}

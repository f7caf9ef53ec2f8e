//! Filters against BIRD 2: a rule's conditions as Calico writes them for BIRD, evaluated there.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use bgp::filter::{Candidate, Filter, Verdict, decide, export_rules, import_rules};
use bgp::wire::{AsSegment, Attributes};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use model::{BgpFilter, CommunityValue};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use serde_json::json;
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long BIRD may take to open its socket.
const START_TIME_MAX: Duration = Duration::from_secs(10);

/// It wants a protocol; this one touches nothing.
const CONFIGURATION: &str = "router id 192.0.2.1;\nprotocol static { ipv4; disabled; }\n";

/// BIRD with nothing to do, and a line to its console.
struct Bird {
    process: Child,
    console: BufReader<UnixStream>,
    _directory: tempfile::TempDir,
}

impl Bird {
    fn start() -> Bird {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        std::fs::write(file("bird.conf"), CONFIGURATION).unwrap();
        let process = Command::new("bird")
            .arg("-f")
            .args([Path::new("-c"), &file("bird.conf"), Path::new("-s"), &file("bird.ctl")])
            .args([Path::new("-P"), &file("bird.pid")])
            .stderr(Stdio::inherit())
            .spawn()
            .expect("bird, of Debian's bird2, must be installed: see scripts/setup");
        let start = Instant::now();
        let console = loop {
            match UnixStream::connect(file("bird.ctl")) {
                Ok(stream) => break stream,
                Err(why) => assert!(start.elapsed() < START_TIME_MAX, "BIRD's socket: {why}"),
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut bird = Bird { process, console: BufReader::new(console), _directory: directory };
        assert!(bird.line().starts_with("0001 BIRD 2."), "this is no BIRD 2");
        bird
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.console.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    /// Whether an expression is true.
    fn holds(&mut self, expression: &str) -> bool {
        writeln!(self.console.get_mut(), "eval {expression}").unwrap();
        match self.line().as_str() {
            "0023 TRUE" => true,
            "0023 FALSE" => false,
            other => panic!("{expression}: {other}"),
        }
    }
}

impl Drop for Bird {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// Checks many cases against one BIRD.
fn with_bird(check: impl Fn(&mut Bird, Case)) {
    let bird = RefCell::new(Bird::start());
    let mut runner = TestRunner::new(ProptestConfig { cases: 1000, ..ProptestConfig::default() });
    let run = runner.run(&case(), |case| {
        check(&mut bird.borrow_mut(), case);
        Ok(())
    });
    run.unwrap();
}

/// A range, a route near it, and what a rule may say of them.
#[derive(Clone, Debug)]
struct Case {
    range: IpNet,
    route: IpNet,
    operator: &'static str,
    min: Option<u8>,
    max: Option<u8>,
    path: Vec<u32>,
    path_prefix: Vec<u32>,
    communities: Vec<u32>,
    large_communities: Vec<[u32; 3]>,
    community: CommunityValue,
}

// Few bits and few numbers differ, so that much matches.
fn net(ipv6: bool) -> impl Strategy<Value = IpNet> {
    (0u32..4, 0u8..=12, any::<bool>()).prop_map(move |(bits, length, long)| {
        let length = if long && length > 0 { 20 + length } else { length };
        let net = if ipv6 {
            let address = Ipv6Addr::from(u128::from(bits) << 120 | 1 << 99);
            IpNet::V6(Ipv6Net::new(address, length * 4).unwrap())
        } else {
            IpNet::V4(Ipv4Net::new(Ipv4Addr::from(bits << 26 | 1 << 8), length).unwrap())
        };
        net.trunc()
    })
}

fn case() -> impl Strategy<Value = Case> {
    let numbers = |count| prop::collection::vec(1u32..4, 0..count);
    let large = prop::array::uniform3(1u32..3);
    let community = prop_oneof![
        (1u32..4).prop_map(CommunityValue::Standard),
        large.clone().prop_map(CommunityValue::Large)
    ];
    let nets = any::<bool>().prop_flat_map(|ipv6| (net(ipv6), net(ipv6)));
    let operators = prop::sample::select(vec!["Equal", "NotEqual", "In", "NotIn"]);
    let bound = || prop::option::of(0u8..=32);
    let carried = (numbers(4), prop::collection::vec(large, 0..4), community);
    (nets, operators, bound(), bound(), numbers(5), numbers(4), carried).prop_map(
        |((range, route), operator, min, max, path, path_prefix, carried)| {
            let (communities, large_communities, community) = carried;
            // With bounds BIRD compares a prefix and a set, which are never equal.
            let bounded = operator.ends_with("In");
            let (min, max) = (min.filter(|_| bounded), max.filter(|_| bounded));
            Case {
                range,
                route,
                operator,
                min,
                max,
                path,
                path_prefix,
                communities,
                large_communities,
                community,
            }
        },
    )
}

/// Whether a rule of these fields matches the case's route.
fn matches(case: &Case, fields: serde_json::Value) -> bool {
    let mut rule = fields;
    rule["action"] = json!("Reject");
    let list = if matches!(case.route, IpNet::V6(_)) { "exportV6" } else { "exportV4" };
    let spec = serde_json::from_value(json!({ list: [rule] })).unwrap();
    let (rules, problems) = export_rules(&BgpFilter::new("f", spec));
    assert_eq!(problems, Vec::<String>::new());
    let mut attributes = Attributes {
        communities: case.communities.clone(),
        large_communities: case.large_communities.clone(),
        ..Attributes::default()
    };
    if !case.path.is_empty() {
        attributes.as_path = vec![AsSegment::Sequence(case.path.clone())];
    }
    let candidate =
        Candidate { prefix: case.route, attributes: &attributes, from_peer: true, external: false };
    decide(&[Filter { name: "f".to_owned(), rules }], candidate) == Verdict::Reject
}

#[test]
fn destinations_match_as_in_bird() {
    with_bird(|bird, case| {
        let operator = match case.operator {
            "Equal" => "=",
            "NotEqual" => "!=",
            "In" => "~",
            _ => "!~",
        };
        let longest = case.range.max_prefix_len();
        let (range, own) = (case.range, case.range.prefix_len());
        let mut fields = json!({"cidr": range, "matchOperator": case.operator});
        let mut right = range.to_string();
        if case.min.is_some() || case.max.is_some() {
            let (min, max) = (case.min.unwrap_or(own).max(own), case.max.unwrap_or(longest));
            fields["prefixLength"] = json!({"min": case.min, "max": case.max});
            // BIRD refuses a pattern that nothing can match.
            if min > max {
                assert_eq!(matches(&case, fields), case.operator == "NotIn", "{case:?}");
                return;
            }
            right = format!("[ {range}{{{min},{max}}} ]");
        }
        let expression = format!("{} {operator} {right}", case.route);
        assert_eq!(matches(&case, fields), bird.holds(&expression), "{expression}");
    });
}

fn bird_path(numbers: &[u32]) -> String {
    numbers.iter().rev().fold("+empty+".to_owned(), |path, n| format!("prepend({path}, {n})"))
}

#[test]
fn paths_match_and_grow_as_in_bird() {
    with_bird(|bird, case| {
        let path = bird_path(&case.path);
        let expression = match case.path_prefix.as_slice() {
            [] => "true".to_owned(),
            [first] => format!("{path}.first = {first}"),
            several => {
                let several: Vec<String> = several.iter().map(u32::to_string).collect();
                format!("{path} ~ [= {} * =]", several.join(" "))
            }
        };
        let fields = json!({"asPathPrefix": case.path_prefix});
        assert_eq!(matches(&case, fields), bird.holds(&expression), "{expression}");
        if case.path_prefix.is_empty() {
            return;
        }
        // Calico prepends in reverse order.
        let numbers = case.path_prefix.iter().rev();
        let longer = numbers.fold(path, |path, n| format!("prepend({path}, {n})"));
        let operation = json!({"prependASPath": {"prefix": case.path_prefix}});
        let rule = json!([{"action": "Accept", "operations": [operation]}]);
        let spec = serde_json::from_value(json!({"importV4": rule, "importV6": rule})).unwrap();
        let (rules, _) = import_rules(&BgpFilter::new("f", spec));
        let as_path = vec![AsSegment::Sequence(case.path.clone())];
        let attributes = Attributes { as_path, ..Attributes::default() };
        let candidate = Candidate {
            prefix: case.route,
            attributes: &attributes,
            from_peer: true,
            external: true,
        };
        let said = decide(&[Filter { name: "f".to_owned(), rules }], candidate);
        let Verdict::Accept(Some(changed)) = said else { panic!("{said:?}") };
        let [AsSegment::Sequence(numbers)] = changed.as_path.as_slice() else {
            panic!("{changed:?}")
        };
        let expression = format!("{longer} = {}", bird_path(numbers));
        assert!(bird.holds(&expression), "{expression}");
    });
}

#[test]
fn communities_match_as_in_bird() {
    with_bird(|bird, case| {
        let (text, expression) = match case.community {
            CommunityValue::Standard(value) => {
                let list = case.communities.iter();
                let list = list.fold("-empty-".to_owned(), |l, n| format!("add({l}, (0, {n}))"));
                (format!("0:{value}"), format!("(0, {value}) ~ {list}"))
            }
            CommunityValue::Large([a, b, c]) => {
                let list = case.large_communities.iter();
                let list = list.fold("---empty---".to_owned(), |list, [a, b, c]| {
                    format!("add({list}, ({a}, {b}, {c}))")
                });
                (format!("{a}:{b}:{c}"), format!("({a}, {b}, {c}) ~ {list}"))
            }
        };
        let fields = json!({"communities": {"values": [text]}});
        assert_eq!(matches(&case, fields), bird.holds(&expression), "{expression}");
    });
}

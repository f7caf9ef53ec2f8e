//! On the real kernel, each test in a namespace of its own; `conntrack` is the oracle.

use super::*;
use crate::test_namespace::{Namespace, feed, run};
use crate::tuple::Transport;
use std::collections::BTreeSet;
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

/// Tracks all, translates some, and keeps flows apart by zones and marks.
const RULES: &str = "
table ip test {
    chain zones {
        type filter hook output priority raw;
        udp dport 5001 ct zone set 7
        udp dport 5002 ct original zone set 8
        udp dport 5004 ct reply zone set 9
    }
    chain marks {
        type filter hook output priority 0;
        udp dport 5003 ct mark set 0x1234
    }
    chain destination {
        type nat hook output priority -100;
        ip daddr 127.0.0.77 dnat to 127.0.0.3
    }
    chain source {
        type nat hook postrouting priority srcnat;
        ip daddr 127.0.0.4 snat to 127.0.0.99
    }
}
table ip6 test {
    chain tracked {
        type filter hook output priority 0;
        ct state new counter
    }
}";

/// A UDP packet that nobody answers, or an answer too.
fn udp(from: &str, to: &str, answered: bool) {
    let server = UdpSocket::bind(to).expect("server");
    server.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
    send(from, to);
    if answered {
        let (_, client) = server.recv_from(&mut [0; 8]).expect("it arrives");
        server.send_to(b"answer", client).expect("answered");
    }
}

fn send(from: &str, to: &str) {
    let client = UdpSocket::bind(from).expect("client");
    client.send_to(b"asked", to).expect("sent");
}

/// Runs `test` in a namespace with flows of all kinds in it.
fn among_flows(test: impl FnOnce(Conntrack) + Send) {
    let namespace = Namespace::new();
    namespace.inside(|| {
        run("ip", &["address", "add", "fd00::1/128", "dev", "lo", "nodad"]);
        // The kernel adds it too, but when it has time for that.
        run("ip", &["route", "replace", "local", "fd00::1/128", "dev", "lo", "table", "local"]);
        feed("nft", &["-f", "-"], RULES).expect("the rules");
        udp("127.0.0.1:4001", "127.0.0.2:4000", false);
        udp("127.0.0.1:4002", "127.0.0.2:4000", true);
        udp("127.0.0.1:4003", "127.0.0.2:5001", false);
        udp("127.0.0.1:4004", "127.0.0.2:5002", false);
        udp("127.0.0.1:4005", "127.0.0.2:5003", false);
        udp("127.0.0.1:4011", "127.0.0.2:5004", false);
        udp("127.0.0.5:4006", "127.0.0.4:4000", false);
        let _server = UdpSocket::bind("127.0.0.3:53").expect("a server to be translated to");
        send("127.0.0.1:4007", "127.0.0.77:53");
        udp("[::1]:4008", "[fd00::1]:4000", true);
        let server = TcpListener::bind("127.0.0.2:80").expect("server");
        let client = TcpStream::connect("127.0.0.2:80").expect("connected");
        run("ping", &["-c", "1", "-I", "127.0.0.6", "127.0.0.2"]);
        run("ping", &["-c", "1", "-I", "::1", "fd00::1"]);
        test(Conntrack::open().expect("a socket"));
        drop((server, client));
    });
}

fn all(conntrack: &mut Conntrack) -> BTreeSet<Flow> {
    let mut flows = BTreeSet::new();
    conntrack.list(|flow| assert!(flows.insert(flow), "{flow:?} is told twice")).expect("listed");
    flows
}

/// A flow in the words of `conntrack -o id`, without timeout, state and reference count.
fn in_conntracks_words(flow: &Flow) -> String {
    let name = match flow.original.protocol {
        1 => "icmp",
        6 => "tcp",
        17 => "udp",
        58 => "icmpv6",
        other => panic!("no flow of protocol {other}"),
    };
    let mut words = vec![name.to_owned()];
    let is_one_zone = flow.original_zone == flow.reply_zone;
    for (tuple, zone, kind) in [
        (&flow.original, flow.original_zone, "zone-orig"),
        (&flow.reply, flow.reply_zone, "zone-reply"),
    ] {
        words.extend([format!("src={}", tuple.source), format!("dst={}", tuple.destination)]);
        match tuple.transport {
            Transport::Ports { source, destination } => {
                words.extend([format!("sport={source}"), format!("dport={destination}")]);
            }
            Transport::Icmp { kind, code, id } => {
                words.extend([format!("type={kind}"), format!("code={code}"), format!("id={id}")]);
            }
            Transport::None => {}
        }
        if !is_one_zone && zone != 0 {
            words.push(format!("{kind}={zone}"));
        }
        if kind == "zone-orig" && !flow.status.has_reply() {
            words.push("[UNREPLIED]".into());
        }
    }
    if flow.status.is_assured() {
        words.push("[ASSURED]".into());
    }
    words.push(format!("mark={}", flow.mark));
    if is_one_zone && flow.original_zone != 0 {
        words.push(format!("zone={}", flow.original_zone));
    }
    words.push(format!("id={}", flow.id));
    words.join(" ")
}

/// What `conntrack` lists, with the same words left out.
fn as_conntrack_says(arguments: &[&str]) -> BTreeSet<String> {
    let mut said = BTreeSet::new();
    for family in ["ipv4", "ipv6"] {
        let listed = run("conntrack", &[&["-L", "-o", "id", "-f", family], arguments].concat());
        said.extend(listed.lines().map(|line| {
            let is_told = |word: &&str| word.contains(['=', '[']) && !word.starts_with("use=");
            let mut words = line.split_whitespace();
            let name = words.next().expect("a protocol");
            std::iter::once(name).chain(words.filter(is_told)).collect::<Vec<_>>().join(" ")
        }));
    }
    said
}

#[test]
fn flows_are_what_conntrack_says() {
    among_flows(|mut conntrack| {
        let flows = all(&mut conntrack);
        let ours: BTreeSet<_> = flows.iter().map(in_conntracks_words).collect();
        assert_eq!(ours, as_conntrack_says(&[]));
        assert_eq!(flows.len(), 12);
        let find = |port| {
            let source = |flow: &Flow| match flow.original.transport {
                Transport::Ports { source, .. } => Some(source),
                _ => None,
            };
            let has_port = |flow: &&Flow| source(flow) == Some(port);
            *flows.iter().find(has_port).expect("the flow")
        };
        let translated = find(4007);
        assert!(translated.status.has_destination_nat() && !translated.status.has_source_nat());
        assert_eq!(translated.responder().to_string(), "127.0.0.3");
        let masqueraded = find(4006);
        assert!(masqueraded.status.has_source_nat() && !masqueraded.status.has_destination_nat());
        assert_eq!(masqueraded.reply.destination.to_string(), "127.0.0.99");
        let zones = |port| (find(port).original_zone, find(port).reply_zone);
        assert_eq!([4001, 4003, 4004, 4011].map(zones), [(0, 0), (7, 7), (8, 0), (0, 9)]);
        assert_eq!(find(4005).mark, 0x1234);
    });
}

#[test]
fn flows_of_addresses_are_those_they_begin_or_answer() {
    among_flows(|mut conntrack| {
        let flows = all(&mut conntrack);
        for (addresses, count) in [
            (vec![], 0),
            (vec!["127.0.0.1"], 8),
            // The address that it is reached at is not the one that answers.
            (vec!["127.0.0.77"], 0),
            (vec!["127.0.0.3"], 1),
            (vec!["127.0.0.99"], 0),
            (vec!["::1"], 2),
            (vec!["127.0.0.1", "127.0.0.2"], 9),
            (vec!["127.0.0.4", "fd00::1"], 3),
            (vec!["127.0.0.4", "127.0.0.5", "127.0.0.6", "10.9.9.9"], 2),
            (vec!["127.0.0.4", "127.0.0.5", "::1"], 3),
            (vec!["10.9.9.9", "10.9.9.8", "10.9.9.7"], 0),
        ] {
            let addresses: HashSet<IpAddr> =
                addresses.iter().map(|text| text.parse().expect("an address")).collect();
            let wanted = flows.iter().copied().filter(|flow| {
                [flow.initiator(), flow.responder()].iter().any(|of| addresses.contains(of))
            });
            let mut told = BTreeSet::new();
            let tell = |flow| assert!(told.insert(flow), "{flow:?} is told twice");
            conntrack.list_of(&addresses, tell).expect("listed");
            assert_eq!(told, wanted.collect(), "{addresses:?}");
            assert_eq!(told.len(), count, "{addresses:?}");
        }
    });
}

#[test]
fn each_flow_is_deleted_alone() {
    among_flows(|mut conntrack| {
        let mut left = all(&mut conntrack);
        for flow in left.clone() {
            let another = Flow { id: flow.id ^ 1, ..flow };
            assert!(!conntrack.delete(&another).expect("asked"), "not this flow: {another:?}");
            assert!(conntrack.delete(&flow).expect("asked"), "it is there: {flow:?}");
            assert!(!conntrack.delete(&flow).expect("asked"), "it is gone: {flow:?}");
            left.remove(&flow);
            assert_eq!(all(&mut conntrack), left);
        }
    });
}

#[test]
fn what_is_forbidden_is_deleted() {
    among_flows(|mut conntrack| {
        let before = all(&mut conntrack);
        let addresses = HashSet::from(
            ["127.0.0.2", "127.0.0.3", "::1"].map(|text| text.parse().expect("an address")),
        );
        let is_forbidden = |flow: &Flow| flow.original.protocol == 17;
        assert_eq!(conntrack.delete_of(&addresses, is_forbidden).expect("deleted"), 8);
        let kept = before.into_iter().filter(|flow| {
            let ends = [flow.initiator(), flow.responder()];
            !(is_forbidden(flow) && ends.iter().any(|of| addresses.contains(of)))
        });
        assert_eq!(all(&mut conntrack), kept.collect());
        assert_eq!(conntrack.delete_of(&addresses, is_forbidden).expect("deleted"), 0);
    });
}

#[test]
fn an_empty_table_has_no_flows() {
    let namespace = Namespace::new();
    let mut conntrack = namespace.inside(Conntrack::open).expect("a socket");
    assert_eq!(all(&mut conntrack), BTreeSet::new());
}

//! Faults of the cloud, with real frames between the nodes.

use crate::rig::{self, Rig};
use std::process::Stdio;

/// Whether a ping of one packet, of so many bytes in all, comes back.
fn pings(rig: &Rig, from: &str, to: &str, bytes: u16) -> bool {
    let payload = (bytes - 28).to_string();
    let words = ["ping", "-c1", "-W1", "-M", "do", "-s", payload.as_str(), to];
    rig.exec(from, &words, "").code == Some(0)
}

/// Rows of `fault list`, and how many frames each fault has dropped.
fn list(rig: &Rig) -> Vec<(String, u64)> {
    let text = rig.run(&["fault", "list"]).output;
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let [name, value, dropped] = words[..] else { panic!("{line}") };
        (format!("{name}={value}"), dropped.parse().expect("a count"))
    };
    assert!(text.starts_with("FAULT"), "{text}");
    text.lines().skip(1).map(row).collect()
}

fn dropped(rig: &Rig, fault: &str) -> u64 {
    let listed = list(rig);
    listed.iter().find(|(name, _)| name == fault).unwrap_or_else(|| panic!("{listed:?}")).1
}

#[test]
fn faults_are_set_listed_and_cleared() {
    let rig = Rig::up("t-list");
    assert_eq!(list(&rig), []);
    rig.run(&["fault", "set", "block=ipip,loss=50%", "block=bgp"]);
    rig.run(&["fault", "set", "loss=0.5%"]);
    let names: Vec<String> = list(&rig).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["block=ipip", "block=bgp", "loss=0.5%"]);
    let status = rig.run(&["status"]).output;
    assert!(status.contains("\nfaults: block=ipip, block=bgp, loss=0.5%\n"), "{status}");
    let labs = rig.run(&["list"]).output;
    assert!(labs.contains("block=ipip,block=bgp,loss=0.5%"), "{labs}");
    for (words, wanted) in [
        (&["fault", "set", "partition=nowhere"][..], "no node \"nowhere\" in lab t-list"),
        (&["fault", "set", "mtu=12"], "mtu wants 68–65535 bytes"),
        (&["fault", "clear", "mtu"], "no fault \"mtu\" is set in lab t-list; there is block=ipip"),
    ] {
        let refused = rig.command(words).output().expect("it starts");
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains(wanted), "{message}");
    }
    rig.run(&["fault", "clear", "block=bgp", "loss"]);
    assert_eq!(list(&rig), [("block=ipip".to_owned(), 0)]);
    rig.run(&["fault", "clear"]);
    assert_eq!(list(&rig), []);
    assert!(!rig.run(&["status"]).output.contains("faults:"));
}

#[test]
fn a_partitioned_node_is_alone_also_when_it_restarts() {
    let rig = Rig::up("t-partition");
    rig.run(&["fault", "set", "partition=worker-1"]);
    assert!(!pings(&rig, "worker-1", "worker-2", 100));
    assert!(!pings(&rig, "worker-3", "worker-1", 100));
    assert!(pings(&rig, "worker-2", "worker-3", 100), "others aren't concerned");
    assert!(dropped(&rig, "partition=worker-1") > 0);
    rig.run(&["node", "restart", "worker-1"]);
    assert!(!pings(&rig, "worker-1", "worker-2", 100), "its new port is as the old one");
    rig.run(&["fault", "clear", "partition=worker-1"]);
    rig::until("worker-1 is back", || pings(&rig, "worker-1", "worker-2", 100));
    // The same by another name.
    rig.run(&["node", "cut", "worker-1"]);
    assert_eq!(list(&rig)[0].0, "partition=worker-1");
    rig.run(&["node", "mend", "worker-1"]);
    assert_eq!(list(&rig), []);
}

#[test]
fn source_and_destination_are_checked() {
    let rig = Rig::up("t-check");
    // An address of worker-1 that the cloud doesn't know of, as a pod's is.
    rig.output("worker-1", &["ip", "addr", "add", "192.168.50.1/32", "dev", "lo"]);
    rig.output("worker-2", &["ip", "route", "add", "192.168.50.1", "via", "10.30.0.206"]);
    let to_node = |rig: &Rig| pings(rig, "worker-1", "worker-2", 100);
    let from_pod = |rig: &Rig| {
        let words = ["ping", "-c1", "-W1", "-I", "192.168.50.1", "worker-2"];
        rig.exec("worker-1", &words, "").code == Some(0)
    };
    let to_pod = |rig: &Rig| pings(rig, "worker-2", "192.168.50.1", 100);
    assert_eq!([to_node, from_pod, to_pod].map(|works| works(&rig)), [true; 3]);
    rig.run(&["fault", "set", "src-dst-check=on"]);
    assert_eq!([to_node, from_pod, to_pod].map(|works| works(&rig)), [true, false, false]);
    assert!(dropped(&rig, "src-dst-check=on") >= 2);
    // Neighbours are found by ARP and ND all the same.
    rig.output("worker-1", &["ip", "neigh", "flush", "dev", "ens5"]);
    assert!(to_node(&rig));
    let link_local = "ip -6 -o addr show dev ens5 scope link | awk '{print $4}' | cut -d/ -f1";
    let link_local = rig.output("worker-2", &["sh", "-c", link_local]);
    let there = format!("{}%ens5", link_local.trim());
    rig::until("a link-local address answers", || {
        rig.exec("worker-1", &["ping", "-c1", "-W1", &there], "").code == Some(0)
    });
    rig.run(&["fault", "set", "src-dst-check=off"]);
    assert_eq!([to_node, from_pod, to_pod].map(|works| works(&rig)), [true; 3]);
}

#[test]
fn the_path_takes_no_larger_packets() {
    let rig = Rig::up("t-mtu");
    // Sends more than fits one packet of the largest kind, and hears how much has come.
    let transfer = |rig: &Rig| {
        let listen = "timeout 4 socat -u TCP-LISTEN:9000,reuseaddr STDOUT | wc -c";
        let receiver = rig.command(&["exec", "worker-2", "--", "sh", "-c", listen]);
        let receiver = { receiver }.stdout(Stdio::piped()).spawn().expect("socat");
        rig::until("socat listens", || {
            rig.exec("worker-2", &["sh", "-c", "ss -ltn | grep -q :9000"], "").code == Some(0)
        });
        let send =
            "head -c 3000000 /dev/zero | timeout 2 socat -u -b 262144 STDIN TCP:worker-2:9000";
        rig.exec("worker-1", &["sh", "-c", send], "");
        let output = receiver.wait_with_output().expect("it ends").stdout;
        String::from_utf8_lossy(&output).trim().parse::<u64>().expect("a count")
    };
    assert_eq!(transfer(&rig), 3_000_000);
    rig.run(&["fault", "set", "mtu=1400"]);
    for (from, to) in [("worker-1", "worker-2"), ("worker-1", "worker-3"), ("outside", "worker-1")]
    {
        assert!(pings(&rig, from, to, 1400), "{from} → {to}");
        assert!(!pings(&rig, from, to, 1401), "{from} → {to}");
    }
    assert_eq!(transfer(&rig), 0, "segments of 1460 bytes are too large, however they are sent");
    assert!(dropped(&rig, "mtu=1400") > 3);
    // Who knows the path's MTU sends as much as before, in pieces that the machine cuts itself.
    let know = "ip route change 10.30.0.0/24 dev ens5 src 10.30.0.206 mtu 1400";
    rig.output("worker-1", &["sh", "-c", know]);
    let before = dropped(&rig, "mtu=1400");
    assert_eq!(transfer(&rig), 3_000_000);
    assert_eq!(dropped(&rig, "mtu=1400"), before);
    rig.run(&["fault", "clear"]);
    assert!(pings(&rig, "worker-1", "worker-3", 1500));
    let shown = rig.output("worker-1", &["ip", "-d", "link", "show", "ens5"]);
    assert!(shown.contains("gso_max_segs 65535"), "{shown}");
}

#[test]
fn some_frames_are_lost() {
    let rig = Rig::up("t-loss");
    rig.run(&["fault", "set", "loss=10%"]);
    let words = ["ping", "-q", "-c", "1000", "-i", "0.002", "-W", "1", "worker-2"];
    let text = rig.exec("worker-1", &words, "").output;
    let received = text.split(" received").next().and_then(|text| text.rsplit(' ').next());
    let received: i32 = received.and_then(|number| number.parse().ok()).expect("a count");
    // There and back: 81 % of 1,000 arrive, give or take 12; eight times that is no chance.
    assert!((710..=910).contains(&received), "{text}");
    let counted = i32::try_from(dropped(&rig, "loss=10%")).expect("few");
    assert!((1000 - received..1000 - received + 20).contains(&counted), "{counted}: {text}");
}

#[test]
fn blocked_traffic_is_dropped_and_other_traffic_is_not() {
    let rig = Rig::up("t-block");
    let receives = |port: u16| {
        let line = format!("timeout 2 socat -u UDP-RECV:{port} STDOUT | head -c 5");
        let mut command = rig.command(&["exec", "worker-2", "--", "sh", "-c", &line]);
        let receiver = command.stdout(Stdio::piped()).spawn().expect("socat");
        rig::until("socat listens", || {
            let line = format!("ss -lun | grep -q :{port}");
            rig.exec("worker-2", &["sh", "-c", &line], "").code == Some(0)
        });
        let to = format!("UDP:worker-2:{port}");
        rig.exec("worker-1", &["socat", "-u", "STDIN", &to], "hello");
        receiver.wait_with_output().expect("it ends").stdout == b"hello"
    };
    rig.run(&["fault", "set", "block=vxlan"]);
    assert_eq!([4789, 4790].map(receives), [false, true]);
    assert_eq!(dropped(&rig, "block=vxlan"), 1);
    rig.run(&["fault", "clear", "block=vxlan"]);
    assert!(receives(4789));
}

#[test]
fn bgp_sessions_are_reset_and_new_ones_hear_nothing() {
    let rig = Rig::up("t-bgp");
    let start = |place: &str, words: &[&str]| {
        let mut command = rig.command(&["exec", place, "--", "socat"]);
        command.args(words).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("socat")
    };
    let sees = |place: &str, line: &str| rig.exec(place, &["sh", "-c", line], "").code == Some(0);
    let mut sessions = Vec::new();
    // Two nodes, and a node with the router: the fabric's faults concern both.
    for (client, server) in [("worker-1", "worker-2"), ("router", "worker-3")] {
        let listener = start(server, &["TCP-LISTEN:179,reuseaddr", "PIPE"]);
        rig::until("socat listens", || sees(server, "ss -ltn | grep -q ':179 '"));
        let caller = start(client, &["STDIO", &format!("TCP:{server}:179")]);
        rig::until("connected", || sees(client, "ss -tn state established | grep -q ':179 '"));
        sessions.extend([listener, caller]);
    }
    rig.run(&["fault", "set", "block=bgp"]);
    for mut session in sessions {
        rig::until("both ends hear of it", || session.try_wait().expect("a status").is_some());
        session.wait().expect("its end");
    }
    let mut listener = start("worker-2", &["TCP-LISTEN:179,reuseaddr,fork", "PIPE"]);
    rig::until("socat listens", || sees("worker-2", "ss -ltn | grep -q ':179 '"));
    let connect = ["timeout", "1", "socat", "-u", "OPEN:/dev/null", "TCP:worker-2:179"];
    assert_eq!(rig.exec("worker-1", &connect, "").code, Some(124), "silence, not a refusal");
    rig.run(&["fault", "clear"]);
    assert_eq!(rig.exec("worker-1", &connect, "").code, Some(0));
    listener.kill().expect("it runs");
    listener.wait().expect("its end");
}

#[test]
fn an_agent_is_stopped_until_it_is_started() {
    let rig = Rig::up("t-agent");
    let runs = || rig.exec("worker-1", &["pgrep", "-x", "calico-node"], "").code == Some(0);
    assert!(runs());
    let stopped = rig.run(&["agent", "stop", "worker-1"]).output;
    assert_eq!(stopped, "calico-node on worker-1 is stopped\n");
    assert!(!runs());
    rig.run(&["node", "restart", "worker-1"]);
    assert!(!runs());
    let shown = rig.command(&["status"]).output().expect("it starts").stdout;
    let shown = String::from_utf8_lossy(&shown).into_owned();
    assert!(shown.contains("calico-node is stopped; `calico lab agent start worker-1`"), "{shown}");
    assert_eq!(
        rig.command(&["agent", "stop", "worker-1"]).status().expect("it ends").code(),
        Some(1)
    );
    rig.run(&["agent", "start", "worker-1"]);
    assert!(runs());
    rig.run(&["agent", "stop", "worker-2", "worker-1"]);
    assert!(!runs());
    let started = rig.run(&["agent", "start", "worker-1", "worker-2"]).output;
    assert_eq!(started, "calico-node on worker-1, worker-2 is ready\n");
    assert!(runs());
    assert_eq!(
        rig.command(&["agent", "start", "worker-1"]).status().expect("it ends").code(),
        Some(1)
    );
}

#[test]
fn router_and_outside_can_run_daemons() {
    let rig = Rig::up("t-daemons");
    for place in ["router", "outside"] {
        let line = "setsid sleep 60 >/dev/null 2>&1 & echo $! >/run/daemon.pid";
        rig.output(place, &["sh", "-c", line]);
        let alive = "kill -0 $(cat /run/daemon.pid) && echo x >/tmp/x && echo y >/var/run/y";
        rig.output(place, &["sh", "-c", alive]);
    }
}

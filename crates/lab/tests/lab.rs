//! The lab by itself, on the real kernel: namespaces, commands in them, pods by Debian's reference
//! plugins, and that nothing is left however it ends. Needs root.

mod faults;
mod rig;

use rig::{Machine, Rig};
use std::process::Stdio;
use std::time::Duration;

#[test]
fn commands_run_as_if_typed_there() {
    let rig = Rig::up("t-exec");
    let outcome = rig.exec("worker-1", &["sh", "-c", "cat; exit 7"], "typed\n");
    assert_eq!((outcome.code, outcome.output.as_str()), (Some(7), "typed\n"));
    assert_eq!(rig.exec("pod-1", &["sh", "-c", "kill -9 $$"], "").code, Some(128 + 9));
    assert_eq!(rig.exec("pod-1", &["no-such-command"], "").code, Some(127));
    let missing = rig.exec("nowhere", &["true"], "");
    assert_eq!(missing.code, Some(1));
    assert!(missing.errors.contains("worker-3, pod-1"), "{}", missing.errors);

    for (place, first) in [("worker-2", "lab-node-init"), ("pod-2", "lab-pod-init")] {
        assert_eq!(rig.output(place, &["hostname"]).trim(), place);
        assert_eq!(rig.output(place, &["cat", "/etc/hostname"]).trim(), place);
        assert_eq!(rig.output(place, &["cat", "/proc/1/comm"]).trim(), first);
    }
    assert_eq!(rig.output("worker-1", &["cat", "/etc/resolv.conf"]), "");
    assert_eq!(rig.output("worker-1", &["printenv", "ETCDCTL_API"]), "3\n");
    let endpoint = rig.output("worker-1", &["printenv", "ETCDCTL_ENDPOINTS"]);
    assert_eq!(endpoint, "10.30.0.136:2379\n");
    rig.output("worker-1", &["sh", "-c", "command -v calico calicoctl calico-node"]);
    rig.output("worker-1", &["sh", "-c", "ps -ef | grep -v grep | grep -q calico-node"]);
    rig.output("worker-1", &["test", "-x", "/opt/cni/bin/calico-ipam"]);
    // A terminal stays a terminal.
    let typed = rig.in_terminal("worker-1", "test -t 0 && test -t 1 && echo terminal");
    assert!(typed.contains("terminal"), "{typed}");
}

#[test]
fn a_signal_reaches_the_command() {
    let rig = Rig::up("t-signal");
    let mut client = rig
        .command(&["exec", "worker-1", "--", "sh", "-c"])
        .arg("trap 'exit 42' TERM; echo started; while :; do sleep 0.05; done")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    rig::read_line(&mut client, "started");
    rig::signal(client.id(), nix::sys::signal::Signal::SIGTERM);
    assert_eq!(client.wait().unwrap().code(), Some(42));
}

#[test]
fn the_fabric_is_the_walkthroughs() {
    let rig = Rig::up("t-fabric");
    let route = rig.output("worker-3", &["ip", "route", "show", "default"]);
    assert_eq!(route.trim(), "default via 10.30.1.1 dev ens5 proto dhcp metric 100");
    for (from, to) in [
        ("worker-1", "10.30.0.56"),
        ("worker-1", "10.30.1.66"),
        ("worker-3", "master"),
        ("master", "198.51.100.10"),
        ("outside", "worker-2"),
        ("pod-1", "10.30.0.206"),
    ] {
        rig.output(from, &["ping", "-c1", "-W2", to]);
    }
    let answer = rig.output("worker-1", &["curl", "-s", "http://outside/"]);
    assert_eq!(answer, "outside here; you are 10.30.0.206\n");
    let count =
        rig.output("worker-3", &["sh", "-c", "curl -s http://outside/bytes/1000003 | wc -c"]);
    assert_eq!(count.trim(), "1000003");
    let ticks = rig.output("worker-3", &["curl", "-s", "http://outside/ticks/3"]);
    assert_eq!(ticks, "tick\ntick\ntick\n");
    // The router knows no pod address, and no namespace has a way out.
    let routes = rig.output("router", &["ip", "-o", "route"]);
    assert_eq!(routes.lines().count(), 3, "{routes}");
    let refused = rig.exec("worker-1", &["ping", "-c1", "-W1", "192.0.2.1"], "");
    assert_ne!(refused.code, Some(0));
    for place in ["master", "worker-3", "router", "outside", "pod-3"] {
        let links = rig.output(place, &["ip", "-o", "-d", "link"]);
        let foreign = links.lines().filter(|line| !line.contains("veth") && !line.contains(" lo:"));
        assert_eq!(foreign.count(), 0, "{place}: {links}");
    }
}

#[test]
fn pods_come_and_go() {
    let rig = Rig::up("t-pods");
    let links = rig.output("pod-1", &["ip", "-o", "link"]);
    let names: Vec<&str> = links.lines().filter_map(|line| line.split([':', '@']).nth(1)).collect();
    assert_eq!(names, [" lo", " eth0"], "{links}");
    let answer = rig.output("worker-1", &["curl", "-s", "http://pod-1/"]);
    assert!(answer.starts_with("pod-1 on worker-1 here; you are "), "{answer}");

    let added = rig.run(&["pod", "add", "web", "--node", "worker-2"]);
    assert!(added.output.starts_with("pod web runs on worker-2 with 192.168."), "{added:?}");
    rig.output("worker-2", &["curl", "-s", "http://web/"]);
    // Names reach every machine and pod.
    rig.output("pod-3", &["getent", "hosts", "web"]);
    let again = rig.command(&["pod", "add", "web", "--node", "worker-1"]).output().unwrap();
    assert!(!again.status.success());
    let veths = |rig: &Rig| rig.output("worker-2", &["ls", "/sys/class/net"]).lines().count();
    let before = veths(&rig);
    rig.run(&["pod", "rm", "web"]);
    assert_eq!(veths(&rig), before - 1);
    assert_eq!(rig.exec("pod-3", &["getent", "hosts", "web"], "").code, Some(2));
    assert_eq!(rig.output("worker-2", &["sh", "-c", "ls /var/run/netns | wc -l"]).trim(), "1");

    // A failed ADD leaves nothing.
    rig.output("worker-2", &["sh", "-c", "mv /opt/cni/bin/ptp /opt/cni/bin/gone"]);
    let failed = rig.command(&["pod", "add", "web", "--node", "worker-2"]).output().unwrap();
    let message = String::from_utf8_lossy(&failed.stderr).into_owned();
    assert!(!failed.status.success() && message.contains("ptp"), "{message}");
    assert_eq!(rig.output("worker-2", &["sh", "-c", "ls /var/run/netns | wc -l"]).trim(), "1");
    assert_eq!(rig.status()["pods"].as_array().unwrap().len(), 3);
}

#[test]
fn pods_have_namespaces_labels_and_ports() {
    let rig = Rig::up("t-labels");
    let add = ["pod", "add", "db", "--namespace", "shop", "--label", "app=db", "--label", "x=y"];
    let ports = ["--service-account", "till", "--port", "sql=5432", "--port", "9:7/udp"];
    let added = rig.run(&[&add[..], &ports].concat());
    assert!(added.output.starts_with("pod db runs on master with 192.168."), "{added:?}");
    let addressed = |line: &str| rig.output("master", &["bash", "-c", line]);
    assert!(addressed("curl -s http://db:5432/").starts_with("db on master here"));
    let datagram = "exec 3<>/dev/udp/db/7; echo >&3; timeout 5 head -1 <&3";
    assert!(addressed(datagram).starts_with("db on master here"));
    let mapped = "exec 3<>/dev/udp/10.30.0.136/9; echo >&3; timeout 5 head -1 <&3";
    let answer = rig.output("worker-1", &["bash", "-c", mapped]);
    assert!(answer.starts_with("db on master here"), "{answer}");

    let status = rig.status();
    let pod = status["pods"].as_array().unwrap().iter().find(|pod| pod["name"] == "db").unwrap();
    assert_eq!(pod["namespace"], "shop");
    assert_eq!(pod["labels"]["app"], "db");
    let pod = rig.run(&["status"]).output;
    assert!(pod.contains("app=db,x=y"), "{pod}");

    rig.run(&["namespace", "add", "bank", "--label", "team=a"]);
    rig.run(&["namespace", "label", "shop", "team=b", "tier=1"]);
    rig.run(&["namespace", "label", "shop", "tier-"]);
    let listed = rig.run(&["namespace", "list"]).output;
    let fields: Vec<Vec<&str>> =
        listed.lines().map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        vec!["NAMESPACE", "SERVICE", "ACCOUNTS", "LABELS"],
        vec!["default", "default"],
        vec!["shop", "default,till", "team=b"],
        vec!["bank", "default", "team=a"],
    ];
    assert_eq!(fields, expected);
    for (words, part) in [
        (vec!["namespace", "rm", "shop"], "pod db is in namespace shop"),
        (vec!["namespace", "rm", "default"], "it stays"),
        (vec!["namespace", "rm", "mars"], "there are default, shop, bank"),
        (vec!["namespace", "add", "bank"], "already in use"),
        (vec!["pod", "add", "x", "--label", "app"], "KEY=VALUE"),
        (vec!["pod", "add", "x", "--port", "7", "--port", "7"], "port 7/tcp twice"),
    ] {
        let refused = rig.command(&words).output().unwrap();
        let message = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(!refused.status.success() && message.contains(part), "{words:?}: {message}");
    }
    rig.run(&["namespace", "rm", "bank"]);
    assert!(!rig.run(&["namespace", "list"]).output.contains("bank"));
    // Restarted, the node gives the pod back as it was.
    rig.run(&["node", "restart", "master"]);
    assert!(addressed("curl -s http://db:5432/").starts_with("db on master here"));
}

#[test]
fn a_restarted_node_keeps_its_files_and_gets_its_pods_back() {
    let rig = Rig::up("t-restart");
    rig.output(
        "worker-1",
        &["sh", "-c", "echo kept > /var/lib/calico/kept; echo kept > /root/kept"],
    );
    let pid = |rig: &Rig| rig.output("worker-1", &["readlink", "/proc/1/ns/net"]);
    let before = pid(&rig);
    rig.run(&["node", "restart", "worker-1"]);
    assert_ne!(pid(&rig), before);
    // The neighbours still know its Ethernet address.
    rig.output("worker-2", &["ping", "-c1", "-W2", "worker-1"]);
    assert_eq!(
        rig.output("worker-1", &["cat", "/var/lib/calico/kept", "/root/kept"]),
        "kept\nkept\n"
    );
    rig.output("worker-1", &["curl", "-s", "http://pod-1/"]);
    // One address is taken, not two: the old attachment was undone.
    let taken = "ls /var/lib/cni/networks/test | grep -c '^192'";
    assert_eq!(rig.output("worker-1", &["sh", "-c", taken]).trim(), "1");
    assert!(!std::path::Path::new("/var/lib/calico/kept").exists());
    assert!(!std::path::Path::new("/root/kept").exists());

    rig.run(&["node", "add", "worker-4", "--subnet", "subnet-2"]);
    rig.output("worker-4", &["ping", "-c1", "-W2", "worker-1"]);
    rig.run(&["node", "rm", "worker-4"]);
    assert_eq!(rig.exec("worker-4", &["true"], "").code, Some(1));

    // A node that dies by itself is off until it is restarted.
    let status = rig.status();
    assert!(status["nodes"][2]["running"].as_bool().unwrap(), "{status}");
    rig::kill(rig.process_of("worker-2"));
    rig::until("worker-2 is off", || rig.status()["nodes"][2]["running"] == false);
    rig.run(&["node", "restart", "worker-2"]);
    rig.output("worker-2", &["curl", "-s", "http://pod-2/"]);
}

#[test]
fn capture_writes_packets_to_a_pipe_or_file() {
    let rig = Rig::up("t-capture");
    let file = rig.file("packets");
    for to_file in [false, true] {
        let mut command = rig.command(&["capture", "worker-1", "ens5", "-c", "1", "icmp"]);
        if to_file {
            command.arg("-w").arg(&file);
        }
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut capture = command.spawn().unwrap();
        rig::read_error_line(&mut capture, "listening on ens5");
        rig.output("worker-1", &["ping", "-c1", "-W2", "worker-2"]);
        let piped = capture.wait_with_output().unwrap().stdout;
        let packets = if to_file { std::fs::read(&file).unwrap() } else { piped };
        assert_eq!(packets.get(..4), Some(&[0xd4, 0xc3, 0xb2, 0xa1][..]), "not a capture file");
    }
}

#[test]
fn several_uplinks_dual_stack_and_etcd() {
    let rig = Rig::new("t-uplinks");
    let topology = rig.topology_with(
        "
subnets:
- {name: blue, cidrs: [10.1.0.0/24, 'fd00:1::/64']}
- {name: red, cidrs: [10.2.0.0/24], mtu: 9001}
nodes:
- name: a
  uplinks:
  - {interface: eth0, subnet: blue, addresses: [10.1.0.5, 'fd00:1::5']}
  - {interface: eth1, subnet: red, addresses: [10.2.0.5]}
- name: b
  uplinks:
  - {interface: eth0, subnet: blue, addresses: [10.1.0.6, 'fd00:1::6']}
- name: c
  uplinks:
  - {interface: eth1, subnet: red, addresses: [10.2.0.7]}
pods: [{name: web, node: a}]
",
    );
    let mut up = rig.command(&["up", "--datastore", "etcd", "--topology"]);
    assert!(up.arg(topology).status().unwrap().success());
    rig.output("a", &["ping", "-c1", "-W2", "fd00:1::6"]);
    rig.output("a", &["ping", "-c1", "-W2", "-I", "10.2.0.5", "c"]);
    rig.output("a", &["ping", "-c1", "-W2", "-M", "do", "-s", "8900", "c"]);
    rig.output("b", &["etcdctl", "put", "key", "value"]);
    assert_eq!(rig.output("a", &["etcdctl", "get", "key"]), "key\nvalue\n");
    let routes = rig.output("a", &["route", "-n"]);
    let fields: Vec<Vec<&str>> =
        routes.lines().skip(2).map(|line| line.split_whitespace().collect()).collect();
    let expected = [
        ["0.0.0.0", "10.1.0.1", "0.0.0.0", "UG", "100", "0", "0", "eth0"],
        ["10.1.0.0", "0.0.0.0", "255.255.255.0", "U", "0", "0", "0", "eth0"],
        ["10.1.0.1", "0.0.0.0", "255.255.255.255", "UH", "100", "0", "0", "eth0"],
        ["10.2.0.0", "0.0.0.0", "255.255.255.0", "U", "0", "0", "0", "eth1"],
    ];
    assert_eq!(fields[..4], expected, "{routes}");
}

#[test]
fn two_labs_at_once_and_up_twice() {
    let (one, two) = (Rig::up("t-two-1"), Rig::up("t-two-2"));
    one.output("worker-1", &["touch", "/tmp/only-in-one"]);
    assert_ne!(two.exec("worker-1", &["test", "-e", "/tmp/only-in-one"], "").code, Some(0));
    let again = one.run(&["up"]);
    assert_eq!(again.output, "lab t-two-1 is already up\n");
    one.run(&["down"]);
    assert!(!one.directory().exists());
    two.output("pod-1", &["ping", "-c1", "-W2", "worker-1"]);
    assert_eq!(one.run(&["down"]).output, "lab t-two-1 is not up\n");
}

#[test]
fn the_machine_is_as_it_was() {
    let before = Machine::read();
    let rig = Rig::up("t-machine");
    let processes = rig.processes();
    assert!(processes.len() > 20, "{processes:?}");
    assert_eq!(Machine::read(), before, "while the lab is up");
    rig.output("worker-1", &["sh", "-c", "rm -rf /root/.profile /opt/cni; echo gone > /etc/motd"]);
    rig.run(&["down"]);
    assert_eq!(Machine::read(), before);
    assert!(!rig.directory().exists());
    assert_eq!(rig::alive(&processes), []);
}

#[test]
fn kill_at_any_moment_leaves_nothing() {
    let before = Machine::read();
    for step in 0..12 {
        let rig = Rig::new(&format!("t-kill-{step}"));
        let mut client =
            rig.up_command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Not a wait for a condition: the point is to strike at different moments.
        std::thread::sleep(Duration::from_millis(7 * step * step));
        rig::kill(client.id());
        client.wait().unwrap();
        let processes = rig.processes();
        rig.run(&["down"]);
        assert!(!rig.directory().exists());
        assert_eq!(rig::alive(&processes), [], "killed after {} ms", 7 * step * step);
    }
    for victim in ["lab-init", "lab-node-init", "lab-node", "lab-pod-init", "calico-node"] {
        let rig = Rig::up(&format!("t-kill-{victim}"));
        let processes = rig.processes();
        let victims: Vec<_> = processes.iter().filter(|process| process.name == victim).collect();
        rig::kill(victims.first().unwrap_or_else(|| panic!("no {victim} in {processes:?}")).pid);
        rig.run(&["down"]);
        assert!(!rig.directory().exists());
        assert_eq!(rig::alive(&processes), [], "after the end of {victim}");
    }
    assert_eq!(Machine::read(), before);
}

#[test]
fn a_lab_whose_first_process_died_says_so() {
    let rig = Rig::up("t-dead");
    rig::kill(rig.first_process());
    rig::until("the lab is dead", || {
        let output = rig.command(&["status"]).output().unwrap();
        String::from_utf8_lossy(&output.stderr).contains("has died")
    });
    let list = rig.run(&["list"]).output;
    assert!(list.contains("t-dead"), "{list}");
    // `up` starts over.
    rig.run_up();
    rig.output("worker-1", &["true"]);
}

#[test]
fn without_root_it_says_so_and_does_nothing() {
    let rig = Rig::new("t-root");
    let output = rig.unprivileged(&["up"]);
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(message.contains("needs root") && message.contains("sudo"), "{message}");
    assert!(!rig.directory().exists());
}

#[test]
fn a_lab_that_does_not_become_ready_says_who_lacks_what() {
    let rig = Rig::new("t-unready");
    let topology = rig.topology_with("resources: [{kind: Refused}]\n");
    let output = rig.command(&["up", "--topology"]).arg(topology).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(message.contains("applying the resources: master: `calicoctl apply"), "{message}");
    assert!(message.contains("calico lab down"), "{message}");
    assert_eq!(rig.status()["state"], "failed");
}

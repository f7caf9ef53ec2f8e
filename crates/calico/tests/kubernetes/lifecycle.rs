//! Nodes that reboot, are cut off, come and go; and that nothing is left of a cluster.

use crate::cluster::{Cluster, LIMIT, calico};
use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

#[test]
fn nodes_reboot_are_cut_off_come_and_go() {
    let cluster = Cluster::up("nodes", &["--nodes", "2"]);
    cluster.serve_web();
    let before = cluster.web("n2", "status.podIP");
    let said = cluster.lab(&["node", "reboot", "n2"]);
    assert!(said.contains("node n2 is ready again"), "{said}");
    cluster.within(LIMIT, "n2's pod runs again", |cluster| {
        let restarted = cluster.web("n2", "status.containerStatuses[0].restartCount") == "1";
        restarted && cluster.web("n2", "status.containerStatuses[0].ready") == "true"
    });
    let after = cluster.web("n2", "status.podIP");
    assert_ne!(before, after, "its sandbox is a new one");
    cluster.run("n1", &format!("ping -c1 -W2 {after}"));

    cluster.lab(&["node", "cut", "n2"]);
    assert!(!cluster.try_run("n1", "ping -c1 -W1 172.31.0.12").0);
    assert!(!cluster.try_run("n1", &format!("ping -c1 -W1 {after}")).0);
    cluster.lab(&["node", "mend", "n2"]);
    cluster.run("n1", &format!("ping -c1 -W2 {after}"));

    cluster.lab(&["node", "add", "n3"]);
    cluster.kubectl("rollout status daemonset/web --timeout=60s");
    let added = cluster.web("n3", "status.podIP");
    assert!(added.starts_with("192.168."), "{added}");
    cluster.run("n2", &format!("ping -c1 -W2 {added}"));
    cluster.lab(&["node", "rm", "n3"]);
    assert!(!cluster.kubectl("get nodes").contains("n3"));
    assert_eq!(control_groups(cluster.name()).iter().filter(|path| path.contains("n3")).count(), 0);

    // The control plane keeps what it knows.
    cluster.lab(&["node", "reboot", "control-plane"]);
    assert_eq!(cluster.web("n2", "status.podIP"), after);
    cluster.run("n1", &format!("ping -c1 -W2 {after}"));
}

#[test]
fn pods_outlive_kubelet_and_containerd() {
    let cluster = Cluster::up("killed", &["--nodes", "1"]);
    cluster.serve_web();
    let uid = cluster.web("n1", "status.containerStatuses[0].containerID");
    for program in ["containerd", "kubelet", "kube-proxy"] {
        cluster.run("n1", &format!("pkill -KILL -x {program}"));
    }
    // Another pod starts, so all of them are there again.
    cluster.within(LIMIT, "a pod starts", |cluster| {
        cluster.try_kubectl("delete pod later --ignore-not-found --now");
        let run = "run later --image calico.lab/busybox:1 -- sleep 1000000";
        let ready = "wait --for=condition=Ready pod/later --timeout=20s";
        cluster.try_kubectl(run).0 && cluster.try_kubectl(ready).0
    });
    let service = cluster.kubectl("get service web -o jsonpath={.spec.clusterIP}");
    let url = format!("http://{service}/");
    cluster.kubectl(&format!("exec later -- wget -qO- {url}"));
    assert_eq!(cluster.web("n1", "status.containerStatuses[0].containerID"), uid);
    // A kubelet that has just started says for a while that its node is not ready, and so `status` fails.
    let mut status = String::new();
    cluster.within(LIMIT, "the node is ready", |cluster| {
        let output =
            cluster.command(&["status", "-o", "json"]).output().expect("calico lab starts");
        status = String::from_utf8(output.stdout).expect("JSON");
        output.status.success()
    });
    let status: serde_json::Value = serde_json::from_str(&status).expect("JSON");
    // Kubelet may have started once more, before containerd answered.
    let restarts = status["nodes"][0]["restarts"].as_u64().expect("a number");
    assert!((3..6).contains(&restarts), "{status}");
}

#[test]
fn nothing_is_left_of_a_cluster() {
    let before = Machine::read();
    let cluster = Cluster::up("down", &["--nodes", "1"]);
    cluster.serve_web();
    assert_eq!(Machine::read(), before, "while the cluster is up");
    assert!(!control_groups(cluster.name()).is_empty());
    let mine = processes_of(&first_process(cluster.name()));
    assert!(mine.iter().any(|process| process.contains("kubelet")), "{mine:?}");
    cluster.lab(&["down"]);
    assert_eq!(Machine::read(), before);
    assert_eq!(control_groups(cluster.name()), BTreeSet::new());
    let left = processes();
    let left: Vec<String> =
        left.into_iter().map(|(_, _, process)| process).filter(|it| mine.contains(it)).collect();
    assert_eq!(left, Vec::<String>::new());

    // Killed, it leaves to `down` only what the machine itself keeps.
    let cluster = Cluster::up("dead", &["--nodes", "1", "--no-cni"]);
    let directory = format!("/run/calico-lab/{}", cluster.name());
    let pid = first_process(cluster.name());
    assert!(Command::new("kill").args(["-KILL", &pid]).status().expect("kill").success());
    cluster.lab(&["down"]);
    assert_eq!(Machine::read(), before);
    assert_eq!(control_groups(cluster.name()), BTreeSet::new());
    assert!(!fs::exists(directory).expect("a directory that can be looked for"));
}

#[test]
fn what_is_missing_is_named() {
    let mut up = calico();
    up.args(["lab", "up", "--kubernetes", "--name", "k-missing", "--programs", "/var/empty"]);
    let output = up.output().expect("calico lab starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("no kube-apiserver in /var/empty; `scripts/kubernetes`"), "{said}");
    assert!(!fs::exists("/run/calico-lab/k-missing").expect("it can be looked for"));
}

/// The control groups of a lab, in all hierarchies.
fn control_groups(lab: &str) -> BTreeSet<String> {
    let output = Command::new("find").args(["/sys/fs/cgroup", "-type", "d"]).output();
    let text = String::from_utf8(output.expect("find").stdout).expect("paths");
    let of_lab = format!("/calico-lab-{lab}");
    text.lines().filter(|path| path.contains(&of_lab)).map(str::to_owned).collect()
}

/// The id of a lab's first process.
fn first_process(lab: &str) -> String {
    let text = fs::read_to_string(format!("/run/calico-lab/{lab}/pid")).expect("a running lab");
    text.split(' ').next().expect("a number").to_owned()
}

/// Every process: its id, its parent's, and both with its command line.
fn processes() -> Vec<(String, String, String)> {
    let output = Command::new("ps").args(["-eo", "pid=,ppid=,args="]).output().expect("ps");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let row = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.to_owned(), line.to_owned()))
    };
    text.lines().filter_map(row).collect()
}

/// A process and those that came of it.
fn processes_of(first: &str) -> Vec<String> {
    let all = processes();
    let mut found = BTreeSet::from([first.to_owned()]);
    loop {
        let children = all.iter().filter(|(_, parent, _)| found.contains(parent));
        let children: Vec<String> = children.map(|(pid, ..)| pid.clone()).collect();
        let count = found.len();
        found.extend(children);
        if found.len() == count {
            let mine = all.into_iter().filter(|(pid, ..)| found.contains(pid));
            return mine.map(|(_, _, process)| process).collect();
        }
    }
}

/// The machine's own network, mounts and parameters, as far as a cluster could have changed them.
#[derive(Debug, PartialEq, Eq)]
struct Machine {
    texts: Vec<String>,
}

impl Machine {
    fn read() -> Machine {
        let files = [
            "/proc/self/mountinfo",
            "/proc/net/route",
            "/proc/sys/kernel/panic",
            "/proc/sys/kernel/panic_on_oops",
            "/proc/sys/net/ipv4/ip_forward",
            "/proc/sys/vm/overcommit_memory",
        ];
        let files = files.map(|path| fs::read_to_string(path).expect(path));
        let rules = Command::new("nft").args(["list", "ruleset"]).output().expect("nft");
        let directories =
            ["/var/lib/kubelet", "/var/lib/etcd", "/opt/kubernetes", "/etc/kubernetes"];
        let there = directories.map(|path| format!("{path}: {:?}", fs::exists(path).ok()));
        let links = fs::read_dir("/sys/class/net").expect("links").flatten();
        let mut links: Vec<String> = links.map(|link| format!("{:?}", link.file_name())).collect();
        links.sort();
        let rules = String::from_utf8_lossy(&rules.stdout).into_owned();
        Machine { texts: files.into_iter().chain(there).chain([rules]).chain(links).collect() }
    }
}

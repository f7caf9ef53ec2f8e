//! Backend bird: BGP, IP-in-IP and CrossSubnet on four real nodes, and what can go wrong with them.

use crate::support::{self, Lab, PODS, WORKER_1, WORKER_2};
use std::process::Stdio;
use std::time::Duration;

pub(crate) const SOON: Duration = Duration::from_secs(5);
/// An agent's start and its sessions.
pub(crate) const SESSIONS: Duration = Duration::from_secs(15);
/// What `nodeMeshMaxRestartTime` is set to, and time for a removal to arrive.
const RESTART_TIME: Duration = Duration::from_secs(3);

/// A lab whose node-to-node mesh is up on every node.
pub(crate) fn mesh(test: &str, arguments: &[&str]) -> Lab {
    let lab = Lab::up(test, arguments);
    for node in ["master", "worker-1", "worker-2", "worker-3"] {
        lab.within(SESSIONS, &format!("{node}'s mesh"), |lab| established(lab, node) == 3);
    }
    lab
}

pub(crate) fn established(lab: &Lab, node: &str) -> usize {
    let status = lab.run(node, "calicoctl node status");
    status.lines().filter(|line| line.contains("| up ") && line.contains("Established")).count()
}

/// The row of a peer in `calicoctl node status`.
fn peer(lab: &Lab, node: &str, address: &str) -> String {
    let status = lab.run(node, "calicoctl node status");
    let row = status.lines().find(|line| line.contains(&format!("| {address} ")));
    let row = row.unwrap_or_else(|| panic!("no row of {address}: {status}"));
    // Columns are as wide as their widest cell.
    row.split_whitespace().collect::<Vec<_>>().join(" ")
}

pub(crate) fn block(lab: &Lab, node: &str) -> String {
    lab.run(node, "ip route | awk '/^blackhole/ {print $2; exit}'").trim().to_owned()
}

/// Packets that the chain of IP-in-IP's protection has dropped.
fn strangers_dropped(lab: &Lab, node: &str) -> u64 {
    let rule = "nft list chain ip calico filter-cali-INPUT | grep 'IP-in-IP from anybody else'";
    let text = lab.run(node, rule);
    let packets = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
    packets.and_then(|number| number.parse().ok()).expect("a counter")
}

#[test]
fn ipip_always() {
    let lab = mesh("ipip", &[]);
    lab.all_pods_reach_each_other();
    let routes = lab.routes("worker-1");
    let has = |line: String| assert!(routes.lines().any(|l| l.trim_end() == line), "{routes}");
    let worker_2 = block(&lab, "worker-2");
    has(format!("{worker_2} via {WORKER_2} dev tunl0 proto bird onlink"));
    has(format!("{} via 10.30.1.66 dev tunl0 proto bird onlink", block(&lab, "worker-3")));
    has(format!("blackhole {} proto bird", block(&lab, "worker-1")));
    let numeric = lab.run("worker-1", "route -n");
    assert!(numeric.lines().any(|line| line.contains("UG") && line.ends_with("tunl0")));
    support::a_gibibyte_arrives_intact(&lab, "pod-1", "pod-3");

    let (pod_1, pod_2) = (lab.address("pod-1"), lab.address("pod-2"));
    let wire = lab.captured("worker-1", "ens5", "ip proto 4", "pod-1", "pod-2");
    assert!(
        wire.contains(&format!("IP {WORKER_1} > {WORKER_2}: IP {pod_1} > {pod_2}: ICMP")),
        "{wire}"
    );
    let device = lab.captured("worker-1", "tunl0", "icmp", "pod-1", "pod-2");
    assert!(device.contains(&format!("IP {pod_1} > {pod_2}: ICMP echo request")), "{device}");
    let counters = lab.run("worker-1", "ip -s link show tunl0");
    assert!(counters.contains("mtu 1480"), "{counters}");
}

#[test]
fn ipip_from_a_stranger_is_dropped_and_counted_and_a_cloud_may_block_it() {
    let lab = mesh("stranger", &[]);
    lab.all_pods_reach_each_other();
    let before = strangers_dropped(&lab, "worker-1");
    // A packet to pod-1 in one to its node, from the outside host, which is no node.
    lab.send_ipip("outside", WORKER_1, &lab.address("pod-2"), &lab.address("pod-1"));
    lab.within(SOON, "the packet is counted", |lab| strangers_dropped(lab, "worker-1") > before);

    lab.fault("block=ipip");
    lab.within(SOON, "IP-in-IP is blocked", |lab| !lab.pings("pod-1", "pod-2"));
    assert_eq!(established(&lab, "worker-1"), 3, "BGP is not concerned");
    lab.clear_faults();
    lab.within(SOON, "the cloud lets it pass again", |lab| lab.pings("pod-1", "pod-2"));
}

#[test]
fn never_then_cross_subnet_then_always() {
    let lab = mesh("cross", &[]);
    lab.all_pods_reach_each_other();
    let addresses = PODS.map(|pod| lab.address(pod));
    let (worker_2, worker_3) = (block(&lab, "worker-2"), block(&lab, "worker-3"));
    let routed = |what: &str, lines: [String; 2]| {
        lab.within(SOON, what, |lab| {
            let routes = lab.routes("worker-1");
            lines.iter().all(|line| routes.lines().any(|l| l.trim_end() == *line))
        });
    };
    lab.fault("src-dst-check=on");
    lab.patch_pool("\"ipipMode\":\"Never\"");
    let direct = format!("{worker_2} via {WORKER_2} dev ens5 proto bird");
    routed(
        "Never goes by ens5",
        [direct.clone(), format!("{worker_3} via 10.30.0.1 dev ens5 proto bird")],
    );
    assert!(!lab.routes("worker-1").contains("tunl0"));
    assert!(!lab.pings("pod-1", "pod-2"), "the cloud checks addresses");
    lab.fault("src-dst-check=off");
    lab.within(SOON, "pod-2 without the check", |lab| lab.pings("pod-1", "pod-2"));
    assert!(!lab.pings("pod-1", "pod-3"), "the router has no route");

    lab.patch_pool("\"ipipMode\":\"CrossSubnet\"");
    let tunnel = format!("{worker_3} via 10.30.1.66 dev tunl0 proto bird onlink");
    routed("CrossSubnet", [direct, tunnel]);
    lab.all_pods_reach_each_other();
    lab.patch_pool("\"ipipMode\":\"Always\"");
    lab.within(SOON, "Always", |lab| {
        lab.routes("worker-1").contains(&format!("via {WORKER_2} dev tunl0 proto bird onlink"))
    });
    lab.all_pods_reach_each_other();
    assert_eq!(PODS.map(|pod| lab.address(pod)), addresses, "pods keep their addresses");
}

#[test]
fn vxlan_in_backend_bird_leaves_the_speaker_running() {
    let lab = mesh("birdvxlan", &[]);
    lab.patch_pool("\"ipipMode\":\"Never\",\"vxlanMode\":\"Always\"");
    lab.within(SOON, "routes by vxlan.calico", |lab| {
        lab.routes("worker-1").contains("dev vxlan.calico proto 80 onlink")
    });
    lab.all_pods_reach_each_other();
    assert_eq!(established(&lab, "worker-1"), 3);
    lab.patch_pool("\"ipipMode\":\"Always\",\"vxlanMode\":\"Never\"");
    lab.within(SOON, "back to tunl0", |lab| {
        lab.routes("worker-1").contains("dev tunl0 proto bird")
    });
    lab.all_pods_reach_each_other();
    assert!(!lab.routes("worker-1").contains("proto 80"), "nothing of the other mode is left");
}

#[test]
fn blocked_bgp_is_reported_with_its_reason_and_recovers() {
    let lab = mesh("bgpblock", &[]);
    lab.fault("block=bgp");
    lab.within(SESSIONS, "no session is left", |lab| established(lab, "worker-1") == 0);
    lab.within(SESSIONS, "the reason is shown", |lab| {
        // Worker-1 connects to this one; the others connect to it.
        let row = peer(lab, "worker-1", "10.30.0.136");
        row.contains("Connection timed out: is TCP port 179 blocked")
    });
    let (ready, said) = lab.try_run("worker-1", "calico-node -bird-ready --threshold-time=0s");
    assert!(!ready, "{said}");
    let names = "calico/node is not ready: BIRD is not ready: BGP not established with \
                 10.30.0.136,10.30.0.56,10.30.1.66";
    assert!(said.contains(names), "{said}");
    assert!(said.contains("Number of node(s) with BGP peering established = 0"), "{said}");
    assert!(lab.pings("pod-1", "pod-2"), "graceful restart keeps the routes meanwhile");
    lab.clear_faults();
    lab.within(SESSIONS, "it recovers without help", |lab| established(lab, "worker-1") == 3);
    assert!(lab.try_run("worker-1", "calico-node -bird-ready -bird-live").0);
}

#[test]
fn a_killed_agent_withdraws_no_route_and_loses_no_packet() {
    let lab = mesh("birdkill", &[]);
    lab.all_pods_reach_each_other();
    let before = ["worker-1", "worker-2"].map(|node| lab.routes(node));
    let ping = lab
        .command(&["exec", "pod-1", "--", "ping", "-i", "0.001", "-c", "6000", "-q", "pod-2"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("ping");
    let changes = support::changes_during(&lab, "worker-2", |lab| {
        lab.run("worker-1", "pkill -KILL -x calico-node");
        assert_eq!(lab.routes("worker-1"), before[0], "routes stay");
        lab.within(SESSIONS, "the sessions are back", |lab| {
            lab.try_run("worker-1", "calicoctl node status").0 && established(lab, "worker-1") == 3
        });
        assert_eq!(established(lab, "worker-2"), 3);
    });
    let touched: Vec<&str> = changes.lines().filter(|line| line.contains("proto bird")).collect();
    assert_eq!(touched, Vec::<&str>::new(), "no route is withdrawn or written again");
    assert_eq!(["worker-1", "worker-2"].map(|node| lab.routes(node)), before);
    let ping = support::text(&ping.wait_with_output().expect("ping ends"));
    assert!(ping.contains(" 0% packet loss"), "{ping}");
}

#[test]
fn a_node_that_stays_away_loses_its_routes_until_it_is_back() {
    let lab = mesh("away", &[]);
    lab.all_pods_reach_each_other();
    let configuration = format!(
        "apiVersion: projectcalico.org/v3\\nkind: BGPConfiguration\\nmetadata: {{name: default}}\\n\
         spec: {{nodeMeshMaxRestartTime: {}s}}",
        RESTART_TIME.as_secs()
    );
    lab.run("master", &format!("printf '{configuration}\\n' | calicoctl apply -f -"));
    for node in ["master", "worker-1", "worker-2", "worker-3"] {
        lab.within(SESSIONS, &format!("{node}'s mesh"), |lab| established(lab, node) == 3);
    }
    let route = format!("{} via {WORKER_2}", block(&lab, "worker-2"));
    assert!(lab.routes("worker-1").contains(&route));
    lab.agent("stop", "worker-2");
    assert!(lab.routes("worker-1").contains(&route), "kept while it may be restarting");
    lab.within(RESTART_TIME + SOON, "its routes go", |lab| {
        !lab.routes("worker-1").contains(&route)
    });
    assert_eq!(established(&lab, "worker-1"), 2, "the other sessions stay");
    lab.agent("start", "worker-2");
    lab.within(SESSIONS, "and come back with it", |lab| lab.routes("worker-1").contains(&route));
    lab.within(SOON, "its pod is reached", |lab| lab.pings("pod-1", "pod-2"));
}

#[test]
fn a_change_leaves_sessions_alone_that_it_does_not_concern() {
    let lab = mesh("change", &[]);
    let rows = |lab: &Lab| [WORKER_2, "10.30.1.66"].map(|address| peer(lab, "worker-1", address));
    let before = rows(&lab);
    let resource = "apiVersion: projectcalico.org/v3\\nkind: BGPPeer\\nmetadata: {name: tor}\\n\
                    spec: {node: worker-1, peerIP: 10.30.0.1, asNumber: 64600}";
    lab.run("master", &format!("printf '{resource}\\n' | calicoctl apply -f -"));
    lab.within(SOON, "the new peer is shown, with why it is not up", |lab| {
        let status = lab.run("worker-1", "calicoctl node status");
        let row = status.lines().find(|line| line.contains("| 10.30.0.1 "));
        row.is_some_and(|row| row.contains("node specific") && row.contains("Connection refused"))
    });
    assert_eq!(rows(&lab), before, "since the same time");
    lab.run("master", "calicoctl delete bgppeer tor");
    lab.within(SOON, "it is gone", |lab| {
        !lab.run("worker-1", "calicoctl node status").contains("| 10.30.0.1 ")
    });
    assert_eq!(rows(&lab), before);
}

#[test]
fn pools_that_need_bgp_say_so_where_none_runs() {
    for (backend, why) in [("vxlan", "CALICO_NETWORKING_BACKEND=vxlan"), ("none", "is none")] {
        let lab = Lab::up(&format!("no{backend}"), &["--backend", backend]);
        lab.patch_pool("\"ipipMode\":\"Always\",\"vxlanMode\":\"Never\"");
        lab.within(SOON, "the pool's line in node status", |lab| {
            let status = lab.run("worker-1", "calicoctl node status");
            status.contains("IPPool(default-ipv4-ippool) is not routed") && status.contains(why)
        });
        let (ready, said) = lab.try_run("worker-1", "calico-node -bird-ready");
        assert!(!ready && said.contains(&format!("CALICO_NETWORKING_BACKEND={backend}")), "{said}");
    }
}

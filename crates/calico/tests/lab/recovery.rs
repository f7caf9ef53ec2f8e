//! What breaks and comes back: agents, nodes, the datastore, routes, pods.

use crate::support::{self, Lab};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);
/// A node's boot, its agent's start and its routes on the others.
const BOOT: Duration = Duration::from_secs(20);

fn block_of(lab: &Lab, node: &str) -> String {
    lab.run(node, "ip route | awk '/^blackhole/ {print $2; exit}'").trim().to_owned()
}

fn is_ready(lab: &Lab, node: &str) -> bool {
    lab.try_run(node, "calico-node -felix-ready").0
}

/// What of the changes is the agent's: all on its devices but the kernel's own IPv6 link-local
/// addresses, which come a second after the devices.
fn rewritten(changes: &str) -> Vec<&str> {
    let ours = |line: &&str| {
        (line.contains("vxlan.calico") || line.contains("cali")) && !line.contains("fe80:")
    };
    changes.lines().filter(ours).collect()
}

#[test]
fn a_killed_agent_loses_no_packet_and_rewrites_nothing() {
    let lab = Lab::vxlan("kill", &[]);
    lab.all_pods_reach_each_other();
    let before = lab.routes("worker-1");
    let ping = lab
        .command(&["exec", "pod-1", "--", "ping", "-i", "0.002", "-c", "2000", "-q", "pod-2"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("ping");
    let changes = support::changes_during(&lab, "worker-1", |lab| {
        lab.run("worker-1", "pkill -KILL -x calico-node");
        assert_eq!(lab.routes("worker-1"), before, "routes stay");
        lab.within(BOOT, "the agent is back", |lab| is_ready(lab, "worker-1"));
    });
    assert_eq!(rewritten(&changes), Vec::<&str>::new(), "nothing that is right is written again");
    assert_eq!(lab.routes("worker-1"), before);
    let ping = support::text(&ping.wait_with_output().expect("ping ends"));
    assert!(ping.contains(" 0% packet loss"), "{ping}");
}

#[test]
fn what_others_delete_comes_back_and_what_is_others_stays() {
    let lab = Lab::vxlan("repair", &[]);
    lab.all_pods_reach_each_other();
    let block = block_of(&lab, "worker-2");
    for _ in 0..5 {
        lab.run("worker-1", &format!("ip route del {block}"));
        let took =
            lab.within(SOON, "the route is back", |lab| lab.routes("worker-1").contains(&block));
        // The bound is the issue's; the measurement has a process start in it.
        assert!(took < Duration::from_millis(500), "{took:?}");
    }
    lab.run("worker-1", "ip route add 203.0.113.0/24 via 10.30.0.1 proto static");
    lab.run("worker-1", "ip link del vxlan.calico");
    lab.within(SOON, "the device and its routes are back", |lab| lab.pings("pod-1", "pod-3"));
    lab.run("worker-1", "nft delete table ip calico");
    lab.within(SOON, "the table is back", |lab| {
        lab.run("worker-1", "nft list ruleset").contains("nat-cali-nat-outgoing")
    });
    assert!(lab.routes("worker-1").contains("203.0.113.0/24 via 10.30.0.1"), "not ours");
}

#[test]
fn the_datastore_may_go_away_and_come_back() {
    let lab = Lab::vxlan("datastore", &[]);
    lab.all_pods_reach_each_other();
    let before = lab.routes("worker-1");
    let stop = "pkill -STOP -f '[d]atastore --listen'";
    let start = "pkill -CONT -f '[d]atastore --listen'";
    let changes = support::changes_during(&lab, "worker-1", |lab| {
        lab.run("master", stop);
        std::thread::sleep(Duration::from_secs(20));
        assert!(lab.pings("pod-1", "pod-2") && lab.pings("pod-1", "pod-3"));
        lab.run("master", start);
        lab.within(BOOT, "changes arrive again", |lab| {
            let line = "timeout 3 calicoctl label node worker-1 seen=yes --overwrite";
            lab.try_run("master", line).0
        });
    });
    assert_eq!(lab.routes("worker-1"), before);
    assert_eq!(rewritten(&changes), Vec::<&str>::new(), "nothing is rewritten");
    // Killed and restarted by the node's init: the same again, and changes still arrive.
    lab.run("master", "pkill -KILL -f '[d]atastore --listen'");
    lab.within(BOOT, "the datastore is back", |lab| {
        lab.try_run("master", "timeout 3 calicoctl get nodes").0
    });
    lab.patch_pool("\"vxlanMode\":\"Never\"");
    lab.within(BOOT, "a change arrives", |lab| !lab.routes("worker-1").contains("vxlan.calico"));
}

#[test]
fn nodes_come_and_go() {
    let lab = Lab::vxlan("nodes", &[]);
    lab.all_pods_reach_each_other();
    let block = block_of(&lab, "worker-2");
    let run = |arguments: &[&str]| {
        let output = lab.command(arguments).output().expect("calico lab starts");
        assert!(output.status.success(), "{arguments:?}: {}", support::text(&output));
    };
    run(&["node", "restart", "worker-2"]);
    lab.within(BOOT, "its pod is reached again", |lab| lab.pings("pod-1", "pod-2"));
    run(&["node", "rm", "worker-2"]);
    lab.within(BOOT, "its routes go", |lab| {
        let routes = lab.routes("worker-1");
        !routes.contains(&format!("{block} via"))
    });
    run(&["node", "add", "worker-2", "--address", "10.30.0.56"]);
    run(&["pod", "add", "pod-2", "--node", "worker-2"]);
    lab.within(BOOT, "a new pod there is reached", |lab| lab.pings("pod-1", "pod-2"));
}

#[test]
fn a_pod_deleted_while_the_agent_is_down_is_cleaned_up_later() {
    let lab = Lab::vxlan("spool", &[]);
    lab.all_pods_reach_each_other();
    let address = lab.address("pod-1");
    let in_use = |lab: &Lab| {
        let shown = lab.run("master", &format!("calicoctl ipam show --ip {address}"));
        shown.contains("is in use")
    };
    assert!(in_use(&lab));
    lab.run("worker-1", "pkill -STOP -x calico-node");
    lab.run("worker-1", "mv /var/run/calico/agent.sock /var/run/calico/away");
    let removed = lab.command(&["pod", "rm", "pod-1"]).output().expect("lab pod rm");
    assert!(removed.status.success(), "{}", support::text(&removed));
    assert!(in_use(&lab), "nobody could release it");
    lab.run("worker-1", "pkill -KILL -x calico-node");
    lab.within(BOOT + SOON, "the address is released", |lab| !in_use(lab));
    lab.within(SOON, "nothing is left of it", |lab| {
        let left = "ls /var/lib/calico/cni-spool; ip -br link | grep ^cali || true";
        lab.run("worker-1", left).is_empty()
    });
    let endpoints = lab.run("master", "calicoctl get wep");
    assert!(!endpoints.contains("pod-1"), "{endpoints}");
}

//! The routing modes on four real nodes, checked with the kernel's own output.

use crate::support::{self, Lab, WORKER_1, WORKER_2};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

fn vxlan_always(lab: &Lab) {
    lab.all_pods_reach_each_other();
    let routes = lab.routes("worker-1");
    let by_tunnel = routes.lines().filter(|line| {
        line.contains("/26 via 192.168.") && line.contains("dev vxlan.calico proto 80 onlink")
    });
    assert!(by_tunnel.count() >= 2, "{routes}");
    let own = |line: &&str| line.starts_with("blackhole 192.168.") && line.contains("proto 80");
    assert_eq!(routes.lines().filter(own).count(), 1, "{routes}");
    let numeric = lab.run("worker-1", "route -n");
    assert!(numeric.lines().any(|line| line.contains("UG") && line.ends_with("vxlan.calico")));
}

fn direct(lab: &Lab) {
    lab.patch_pool("\"vxlanMode\":\"Never\"");
    let to_gateway = "via 10.30.0.1 dev ens5 proto 80";
    lab.within(SOON, "worker-1 routes by ens5", |lab| {
        let routes = lab.routes("worker-1");
        routes.contains(&format!("via {WORKER_2} dev ens5 proto 80"))
            && routes.contains(to_gateway)
            && !routes.contains("vxlan.calico")
    });
    lab.within(SOON, "pod-2 is reached", |lab| lab.pings("pod-1", "pod-2"));
    assert!(!lab.pings("pod-1", "pod-3"), "the router knows no pod address");
}

#[test]
fn vxlan_then_direct_then_back() {
    let lab = Lab::vxlan("modes", &[]);
    vxlan_always(&lab);
    support::a_gibibyte_arrives_intact(&lab, "pod-1", "pod-3");
    let addresses = support::PODS.map(|pod| lab.address(pod));
    direct(&lab);
    // With routes in the router, the other subnet is reached too.
    let block = |node: &str| {
        let line = "ip route | awk '/^blackhole/ {print $2; exit}'";
        lab.run(node, line).trim().to_owned()
    };
    for (node, via) in [("worker-1", WORKER_1), ("worker-3", "10.30.1.66")] {
        lab.run("router", &format!("ip route add {} via {via}", block(node)));
    }
    lab.within(SOON, "pod-3 by the router", |lab| lab.pings("pod-1", "pod-3"));
    lab.patch_pool("\"vxlanMode\":\"Always\"");
    lab.within(SOON, "back to the tunnel", |lab| {
        lab.routes("worker-1").contains("dev vxlan.calico proto 80 onlink")
    });
    vxlan_always(&lab);
    assert_eq!(support::PODS.map(|pod| lab.address(pod)), addresses, "pods keep their addresses");
}

#[test]
fn on_etcd_as_on_the_embedded_datastore() {
    let lab = Lab::vxlan("etcd", &["--datastore", "etcd"]);
    vxlan_always(&lab);
    direct(&lab);
    lab.patch_pool("\"vxlanMode\":\"Always\"");
    lab.within(SOON, "back to the tunnel", |lab| lab.pings("pod-1", "pod-3"));
}

#[test]
fn the_wire_shows_node_addresses_and_strangers_are_dropped() {
    let lab = Lab::vxlan("wire", &[]);
    lab.all_pods_reach_each_other();
    let capture = lab
        .at("worker-1", "timeout 5 tcpdump -i ens5 -nn -l -c1 udp port 4789 2>/dev/null")
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("tcpdump");
    let started = |lab: &Lab| lab.try_run("worker-1", "pgrep -x tcpdump").0;
    lab.within(SOON, "tcpdump runs", started);
    lab.within(SOON, "a packet is caught", |lab| {
        lab.pings("pod-1", "pod-2");
        !lab.try_run("worker-1", "pgrep -x tcpdump").0
    });
    let captured = support::text(&capture.wait_with_output().expect("tcpdump ends"));
    let between = [WORKER_1, WORKER_2].map(|node| captured.contains(&format!("{node}.")));
    assert_eq!(between, [true, true], "{captured}");
    assert!(captured.contains("VXLAN, flags [I] (0x08), vni 4096"), "{captured}");

    // The outside host is no node: what it sends to the VXLAN port is dropped, and counted.
    let dropped = |lab: &Lab| {
        let rule = "nft list chain ip calico filter-cali-INPUT | grep 'anybody else'";
        let text = lab.run("worker-1", rule);
        let packets = text.split("packets ").nth(1).and_then(|rest| rest.split(' ').next());
        packets.and_then(|number| number.parse::<u64>().ok()).expect("a counter")
    };
    let before = dropped(&lab);
    lab.run("outside", &format!("echo stranger | socat -u STDIN UDP:{WORKER_1}:4789"));
    lab.within(SOON, "the stranger's packet is counted", |lab| dropped(lab) > before);
    assert!(lab.pings("pod-1", "pod-2"), "nodes' packets still pass");
}

#[test]
fn what_leaves_the_pools_has_the_nodes_address() {
    let lab = Lab::vxlan("nat", &[]);
    lab.all_pods_reach_each_other();
    let sources = |place: &str, filter: &str, from: &str, to: &str| {
        let line = format!("timeout 5 tcpdump -i any -nn -l -c1 'icmp and {filter}' 2>/dev/null");
        let capture =
            lab.at(place, &line).stdout(std::process::Stdio::piped()).spawn().expect("tcpdump");
        let started = |lab: &Lab| lab.try_run(place, "pgrep -x tcpdump").0;
        lab.within(SOON, "tcpdump runs", started);
        lab.within(SOON, "a packet is caught", |lab| {
            lab.pings(from, to);
            !lab.try_run(place, "pgrep -x tcpdump").0
        });
        support::text(&capture.wait_with_output().expect("tcpdump ends"))
    };
    let outside = sources("outside", "icmp[0]=8", "pod-1", "outside");
    assert!(outside.contains(&format!("IP {WORKER_1} >")), "{outside}");
    let inside = sources("pod-2", "icmp[0]=8", "pod-1", "pod-2");
    assert!(inside.contains(&format!("IP {} >", lab.address("pod-1"))), "{inside}");
}

#[test]
fn two_pools_and_blocks_of_256() {
    let pools = "
pools:
- {name: first, cidr: 192.168.0.0/20, blockSize: 24, vxlanMode: Always}
- {name: second, cidr: 172.20.0.0/20, blockSize: 26, vxlanMode: Always}
";
    let lab = Lab::of("pools", &format!("{}{pools}", support::VXLAN), &[]);
    lab.all_pods_reach_each_other();
    let blocks = lab.run("master", "calicoctl ipam show --show-blocks");
    assert!(blocks.contains("/24"), "{blocks}");
    let pools = lab.run("master", "calicoctl get ippool -o wide");
    assert!(pools.contains("first") && pools.contains("second"), "{pools}");
}

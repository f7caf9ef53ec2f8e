//! Calico with both families, as `lab up --kubernetes --dual-stack` changes the manifest: addresses,
//! routes between the nodes, services and policy.

use crate::cluster::{Cluster, LIMIT};
use crate::connections::Pods;
use crate::installation::{await_calico, await_controllers};
use crate::services::{Services, friends};
use crate::workloads::{await_nothing_but, calicoctl, remains};
use serde_json::json;

const OPEN: &str = "
    friend    both    n1+n2
    stranger  both    n1+n2
    n1        both    n1+n2
    friend    sticky  one
";

const FRIENDS: &str = "
    friend    both    n1+n2
    friend    sticky  one
    stranger  both    nobody
";

/// Node ports of n1, by IPv6.
const NODE_PORTS: &str = "
    n2  [fd00:31::11]:30081  n1+n2
    n2  [fd00:31::11]:30082  n1
    n2  [fd00:31::11]:30083  n1
    n1  [fd00:31::12]:30082  nobody
";

#[test]
fn pods_and_services_have_both_families() {
    let cluster = Cluster::up("dual-calico", &["--nodes", "2", "--dual-stack"]);
    await_controllers(&cluster);
    let before = remains(&cluster);
    let services = Services::start(cluster);
    let cluster = &services.cluster;
    nodes_tell_each_other_of_ipv6(cluster, &services.pods);
    let of_both_families = |table| (0..2).for_each(|family| services.come_out(table, family));
    of_both_families(OPEN);
    services.come_out(NODE_PORTS, 0);
    services.allow(&friends());
    of_both_families(FRIENDS);
    services.come_out("n2 [fd00:31::11]:30082 nobody", 0);
    // The client's own address, which the pod sees, too.
    services.allow(&json!({"ipBlock": {"cidr": "fd00:31::12/128"}}));
    services.come_out("n2 [fd00:31::11]:30082 n1\nfriend both nobody", 1);
    let seen = services.ask("n2", "[fd00:31::11]:30082");
    assert_eq!(seen, Some(("n1".into(), "[fd00:31::12]".into())));
    cluster.run("n1", "pkill -KILL -x calico-node && nft delete table ip6 calico");
    services.come_out("n2 [fd00:31::11]:30082 n1\nfriend both nobody", 1);
    await_calico(cluster);
    cluster.kubectl("delete networkpolicy server");
    of_both_families(OPEN);
    pods_leave_under_their_nodes_address(cluster, &services.pods);
    cluster.kubectl("delete pod server-1 server-2 friend stranger");
    await_nothing_but(cluster, &before);
}

fn nodes_tell_each_other_of_ipv6(cluster: &Cluster, pods: &Pods) {
    let pool = calicoctl(cluster, "get ippool default-ipv6-ippool -o wide");
    assert!(pool.contains("fd00:244::/56"), "{pool}");
    let status = cluster.run("n1", "calicoctl node status");
    let line = status.lines().find(|line| line.contains("fd00:31::12")).unwrap_or_default();
    assert!(line.contains("Established"), "{status}");
    for (from, to) in [("server-1", "server-2"), ("stranger", "friend"), ("friend", "server-1")] {
        let addresses = &pods.place(to).addresses;
        assert_eq!(addresses.len(), 2, "{addresses:?}");
        for address in addresses {
            pods.inside(cluster, from, &format!("ping -c1 -W2 {address}"));
        }
    }
}

/// With natOutgoing, whoever is in no pool sees the node.
fn pods_leave_under_their_nodes_address(cluster: &Cluster, pods: &Pods) {
    let own = pods.place("friend").addresses[1].clone();
    let seen = |source: &str| {
        let listen = "timeout 5 tcpdump -lnc1 -i eth0 'icmp6 and ip6[40] == 128' 2>/dev/null";
        let watch = cluster.command(&["exec", "n2", "--", "sh", "-c", listen]);
        let watch = std::thread::spawn(move || {
            let mut watch = watch;
            watch.output().expect("calico lab exec starts")
        });
        pods.inside(cluster, "friend", "ping -c5 -i0.3 -W2 fd00:31::12");
        let output = watch.join().expect("tcpdump");
        String::from_utf8_lossy(&output.stdout).contains(&format!("IP6 {source} > fd00:31::12"))
    };
    cluster.within(LIMIT, "the pod's own address is seen", |_| seen(&own));
    for (outgoing, source) in [(true, "fd00:31::11"), (false, &own)] {
        let change = json!({"spec": {"natOutgoing": outgoing}});
        let pool = "ippools.crd.projectcalico.org default-ipv6-ippool";
        cluster.kubectl(&format!("patch {pool} --type=merge -p {change}"));
        let what = format!("natOutgoing: {outgoing}");
        cluster.within(LIMIT, &what, |_| seen(source));
    }
}

//! A cluster whose pods have addresses of `host-local` gets Calico's IPAM while they run, as README.md
//! says.

use crate::audit::Requests;
use crate::cluster::LIMIT;
use crate::connections::Pods;
use crate::installation::{MANIFEST, installed};
use crate::kills::everybody_has_one_address;
use crate::workloads::{await_ready, calicoctl, idle, start};

/// IPAM as the manifest has it, and as it was before.
const IPAM: &str = r#""ipam": {"type": "calico-ipam", "assign_ipv6": "false"},"#;
const HOST_LOCAL: &str = r#""ipam": {"type": "host-local", "subnet": "usePodCidr"},"#;
const GIVEN: &str = "/var/lib/cni/networks/k8s-pod-network";

const OLD: [(&str, &str); 4] = [("one", "n1"), ("two", "n1"), ("three", "n2"), ("four", "n2")];
/// So many new pods on each node that some would get what host-local had given.
const NEW: usize = 8;

#[test]
fn addresses_of_host_local_become_calicos() {
    assert!(MANIFEST.contains(IPAM));
    let cluster = installed("replacement", &MANIFEST.replace(IPAM, HOST_LOCAL));
    for (name, node) in OLD {
        cluster.apply(&idle(name, "default", node, &[]).to_string());
    }
    OLD.iter().for_each(|(name, _)| await_ready(&cluster, name, "default"));
    let before = Pods::of(&cluster);
    for (name, node) in OLD {
        let address = before.address(name);
        cluster.run(node, &format!("test -f {GIVEN}/{address}"));
    }
    // Pings go on, and are counted at the end.
    let ping = format!(
        "ping -i 0.05 -q {} >/tmp/ping 2>&1 & echo $! >/tmp/ping.pid",
        before.address("two")
    );
    before.inside(&cluster, "one", &ping);

    calicoctl(&cluster, "datastore migrate lock");
    cluster.apply(MANIFEST);
    cluster.kubectl("rollout restart -n kube-system daemonset/calico-node");
    cluster.apply(&idle("early", "default", "n1", &[]).to_string());
    cluster.kubectl("rollout status -n kube-system daemonset/calico-node --timeout=120s");
    for (name, node) in OLD {
        let address = before.address(name);
        let shown = calicoctl(&cluster, &format!("ipam show --ip={address}"));
        assert!(shown.contains(name) && shown.contains(node), "{shown}");
        cluster.run(node, &format!("test ! -e {GIVEN}"));
    }
    let events = "get events --field-selector involvedObject.name=early";
    cluster.within(LIMIT, "a pod has to wait, and is told", |cluster| {
        cluster.kubectl(events).contains("datastoreReady: false")
    });
    calicoctl(&cluster, "datastore migrate unlock");
    await_ready(&cluster, "early", "default");

    let new: Vec<String> = (0..2 * NEW).map(|number| format!("new-{number}")).collect();
    for (number, name) in new.iter().enumerate() {
        let node = ["n1", "n2"][number % 2];
        cluster.apply(&idle(name, "default", node, &[]).to_string());
    }
    new.iter().for_each(|name| await_ready(&cluster, name, "default"));
    let pods = Pods::of(&cluster);
    for (name, _) in OLD {
        assert_eq!(pods.address(name), before.address(name), "{name}");
    }
    let old = OLD.iter().map(|(name, _)| (*name).to_owned());
    everybody_has_one_address(&pods, &old.chain(new).collect::<Vec<_>>());
    pods.come_out(&cluster, "one three ping allowed\nfour two ping allowed\nnew-0 four ping allowed\nearly three ping allowed");

    let said = cluster.run("n1", "kill -INT $(cat /tmp/ping.pid); sleep 0.2; cat /tmp/ping");
    assert!(said.contains(" 0% packet loss"), "{said}");
    let address = before.address("four").to_owned();
    cluster.kubectl("delete pod four");
    cluster.within(LIMIT, "a moved address is released", |cluster| {
        calicoctl(cluster, &format!("ipam show --ip={address}")).contains("not assigned")
    });
    start(&cluster, "last", "default", "n2");
    Requests::of(&cluster).assert_none_denied();
}

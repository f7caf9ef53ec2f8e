//! Calico removed as README.md says: nodes are as they were, and another plugin can take over.

use crate::cluster::{Cluster, LIMIT};

const REMOVE: &str = include_str!("../../../../manifests/calico-remove.yaml");

/// What a node has of Calico's: interfaces and routes but the uplink's, tables, files.
const TRACES: &str = "exec 2>/dev/null; ip -o link | cut -d' ' -f2 | grep -Ev '^(lo|eth0)[:@]'; \
    ip route show table all | grep -Ev 'dev (lo|eth0)( |$)'; \
    ip -6 route | grep -Ev 'dev eth0 '; \
    nft list ruleset | grep -i cali; \
    ls /etc/cni/net.d; ls /opt/cni/bin | grep calico; \
    ls /usr/libexec/kubernetes/kubelet-plugins/volume/exec; \
    ls -A /var/lib/calico /run/calico | grep -Ev '^$|:$'; true";

/// The reference plugins, as anybody's network configuration has them.
fn other_plugin(node: usize) -> String {
    format!(
        r#"{{"cniVersion": "1.0.0", "name": "other", "plugins": [{{
            "type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": true,
            "ipam": {{
                "type": "host-local", "ranges": [[{{"subnet": "10.244.{node}.0/24"}}]],
                "routes": [{{"dst": "0.0.0.0/0"}}]
            }}
        }}]}}"#
    )
}

/// Removes the manifest and what it has left on nodes.
pub(crate) fn nothing_is_left(cluster: &Cluster, manifest: &str) {
    let traces = cluster.run("n1", TRACES);
    for trace in ["calico-kubeconfig", "cali", "nodeagent~uds", "blackhole", "calico-ipam"] {
        assert!(traces.contains(trace), "{trace} was to be removed: {traces}");
    }
    let delete = ["kubectl", "delete", "-f", "-"];
    cluster.with_input(&delete, manifest);
    cluster.apply(REMOVE);
    cluster.kubectl("rollout status -n kube-system daemonset/calico-remove --timeout=120s");
    cluster.with_input(&delete, REMOVE);
    for node in ["n1", "n2"] {
        assert_eq!(cluster.run(node, TRACES), "", "{node}");
    }
    let kinds = cluster.kubectl("get customresourcedefinitions,clusterroles -o name");
    assert!(!kinds.contains("calico"), "{kinds}");
}

/// Pods that have had Calico's network end and start anew with the reference plugins.
pub(crate) fn another_takes_over(cluster: &Cluster) {
    for (number, node) in [(1, "n1"), (2, "n2")] {
        let file = "/etc/cni/net.d/20-other.conflist";
        let text = other_plugin(number);
        cluster.run(node, &format!("cat >{file} <<'END'\n{text}\nEND\n"));
    }
    cluster.kubectl("wait --for=condition=Ready node --all --timeout=60s");
    cluster.kubectl("delete pod -l app=web --timeout=60s");
    for (node, begin) in [("n1", "10.244.1."), ("n2", "10.244.2.")] {
        cluster.within(LIMIT, "a pod of the other plugin", |cluster| {
            cluster.web(node, "status.podIP").starts_with(begin)
        });
        let address = cluster.web(node, "status.podIP");
        cluster.run(node, &format!("curl -sS -m5 http://{address}:8080/"));
    }
}

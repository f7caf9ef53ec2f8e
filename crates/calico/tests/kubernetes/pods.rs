//! Pods on the reference plugins: what a cluster has to be able to do before Calico is in it.

use crate::cluster::{Cluster, LIMIT, NODE_PORT};

/// The service at `url` is answered by both nodes' pods, asked from a pod or machine.
fn is_balanced(cluster: &Cluster, what: &str, mut ask: impl FnMut() -> String) {
    let mut seen = [false; 2];
    cluster.within(LIMIT, what, |_| {
        let answer = ask();
        seen[0] |= answer.starts_with("n1 ");
        seen[1] |= answer.starts_with("n2 ");
        seen == [true, true]
    });
}

#[test]
fn pods_reach_each_other_and_services_reach_pods() {
    let cluster = Cluster::up("pods", &["--nodes", "2", "--cni", "bridge"]);
    cluster.serve_web();
    let addresses = ["n1", "n2"].map(|node| cluster.web(node, "status.podIP"));
    for (address, cidr) in addresses.iter().zip(["10.244.1.", "10.244.2."]) {
        assert!(address.starts_with(cidr), "{address}");
    }
    let pod = cluster.web("n1", "metadata.name");
    let in_pod = |command: &str| cluster.kubectl(&format!("exec {pod} -- {command}"));
    in_pod(&format!("ping -c1 -W2 {}", addresses[1]));
    assert_eq!(in_pod(&format!("wget -qO- http://{}:8080/", addresses[1])).trim(), {
        format!("n2 {}", addresses[1])
    });
    // What isn't a pod is seen by the pod as it is, and the other way round.
    cluster.run("outside", &format!("ping -c1 -W2 {}", addresses[0]));

    let service = cluster.kubectl("get service web -o jsonpath={.spec.clusterIP}");
    let url = format!("http://{service}/");
    is_balanced(&cluster, "the service, from a pod", || in_pod(&format!("wget -qO- {url}")));
    let curl = |from: &str, url: &str| cluster.run(from, &format!("curl -sS -m5 {url}"));
    is_balanced(&cluster, "the service, from a node", || curl("n2", &url));
    let port = format!("http://172.31.0.12:{NODE_PORT}/");
    is_balanced(&cluster, "the node port, from elsewhere", || curl("outside", &port));
    assert!(curl("outside", "http://172.31.0.11:31080/").starts_with("n1 "), "the host port");

    assert_eq!(cluster.kubectl(&format!("logs {pod}")), "started\n");
    let echoed = cluster.with_input(&["kubectl", "exec", "-i", &pod, "--", "cat"], "said\n");
    assert_eq!(echoed, "said\n");
    let token = "cat /var/run/secrets/kubernetes.io/serviceaccount/token";
    assert_eq!(in_pod(token).split('.').count(), 3, "a token of the pod's service account");
    let greeting = "nc -w3 10.96.0.1 443 </dev/null && echo connected";
    assert_eq!(cluster.with_input(&["kubectl", "exec", "-i", &pod, "--", "sh"], greeting), {
        "connected\n"
    });

    let status: serde_json::Value =
        serde_json::from_str(&cluster.lab(&["status", "-o", "json"])).expect("JSON");
    let shown = status["pods"].as_array().expect("a list").iter();
    let shown: Vec<&str> = shown.filter_map(|pod| pod["addresses"][0].as_str()).collect();
    assert!(addresses.iter().all(|address| shown.contains(&address.as_str())), "{status}");
    let own = cluster.refusal(&["pod", "add", "x"]);
    assert!(own.contains("`calico lab kubectl`"), "{own}");
}

#[test]
fn dual_stack_with_kube_proxy_by_nftables() {
    let kind = ["--cni", "bridge", "--dual-stack", "--kube-proxy", "nftables"];
    let cluster = Cluster::up("dual", &[&["--nodes", "2"], &kind[..]].concat());
    cluster.serve_web();
    cluster.apply(include_str!("manifests/web6.yaml"));
    let tables = cluster.run("n1", "nft list tables");
    assert!(tables.contains("table ip6 kube-proxy"), "{tables}");
    let other = cluster.web("n2", "status.podIPs[1].ip");
    assert!(other.starts_with("fd00:244:0:2:"), "{other}");
    let pod = cluster.web("n1", "metadata.name");
    cluster.kubectl(&format!("exec {pod} -- ping -c1 -W2 {other}"));
    for service in ["web", "web6"] {
        let address =
            cluster.kubectl(&format!("get service {service} -o jsonpath={{.spec.clusterIP}}"));
        let host = if service == "web6" { format!("[{address}]") } else { address };
        is_balanced(&cluster, service, || {
            cluster.kubectl(&format!("exec {pod} -- wget -qO- http://{host}/"))
        });
    }
}

#[test]
fn a_manifest_brings_the_cni_plugin() {
    let arguments = ["--nodes", "1", "--no-cni", "--kube-proxy", "none"];
    let cluster = Cluster::up("cni", &arguments);
    let status = cluster.refusal(&["status"]);
    assert!(status.contains("cni plugin not initialized"), "{status}");
    assert_eq!(cluster.run("n1", "ls /etc/cni/net.d"), "");
    assert!(!cluster.run("n1", "ls /opt/cni/bin").contains("calico"));
    cluster.apply(include_str!("manifests/install-cni.yaml"));
    cluster.kubectl("wait --for=condition=Ready node/n1 pod/first --timeout=60s");
    let address = cluster.kubectl("get pod first -o jsonpath={.status.podIP}");
    cluster.run("n1", &format!("ping -c1 -W2 {address}"));
    // What it did to the node, it did; and to no other.
    cluster.run("n1", "test -x /opt/cni/bin/installed");
    assert_eq!(cluster.run("n1", "cat /proc/sys/net/ipv4/conf/all/rp_filter"), "1\n");
    assert!(cluster.run("n1", "mount").contains("made-in-pod on /run/calico"));
    assert!(!cluster.run("control-plane", "mount").contains("made-in-pod"));
    cluster.lab(&["status"]);
}

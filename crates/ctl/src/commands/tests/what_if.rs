//! What a file of policies would change: for one packet, and for everybody.

use super::Cluster;
use expect_test::expect;
use model::resources::tier::{BUILT_IN_TIERS, built_in_tier};
use store::typed;

/// Two nodes with a pod each, as calico-node and the plugin store them.
const CLUSTER: &str = "
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: {name: pool}
spec: {cidr: 192.168.0.0/16, ipipMode: Always, natOutgoing: true}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: worker-1}
spec: {bgp: {ipv4Address: 10.30.0.1/24}}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: worker-2}
spec: {bgp: {ipv4Address: 10.30.0.2/24}}
---
apiVersion: projectcalico.org/v3
kind: Profile
metadata: {name: kns.shop}
spec: {ingress: [{action: Allow}], egress: [{action: Allow}]}
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: worker--1-k8s-web-eth0, namespace: shop, labels: {app: web}}
spec:
  orchestrator: k8s
  node: worker-1
  pod: web
  endpoint: eth0
  interfaceName: cali1
  ipNetworks: [192.168.1.1/32]
  profiles: [kns.shop]
---
apiVersion: projectcalico.org/v3
kind: WorkloadEndpoint
metadata: {name: worker--2-k8s-db-eth0, namespace: shop, labels: {app: db}}
spec:
  orchestrator: k8s
  node: worker-2
  pod: db
  endpoint: eth0
  interfaceName: cali2
  ipNetworks: [192.168.2.1/32]
  profiles: [kns.shop]
";

/// Closes worker-2 but for SSH from partners, and what it forwards to web.
const HOSTS: &str = "
apiVersion: projectcalico.org/v3
kind: GlobalNetworkSet
metadata: {name: partners, labels: {partner: 'yes'}}
spec: {nets: [203.0.113.0/24]}
---
apiVersion: projectcalico.org/v3
kind: HostEndpoint
metadata: {name: worker-2-ens5, labels: {host: worker-2}}
spec: {node: worker-2, interfaceName: ens5}
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: hosts}
spec:
  selector: has(host)
  types: [Ingress]
  ingress: [{action: Allow, protocol: TCP, source: {selector: has(partner)}, destination: {ports: [2222]}}]
---
apiVersion: projectcalico.org/v3
kind: GlobalNetworkPolicy
metadata: {name: forward}
spec:
  selector: has(host)
  applyOnForward: true
  order: 5
  types: [Egress]
  egress: [{action: Deny, protocol: TCP, destination: {ports: [25]}}, {action: Allow}]
";

async fn cluster() -> Cluster {
    let cluster = Cluster::start().await;
    let store = cluster.store().await;
    for (name, ..) in BUILT_IN_TIERS {
        typed::create(&*store, built_in_tier(name).expect("built in")).await.expect("created");
    }
    cluster.fed("create -f -", CLUSTER).await.expect("created");
    cluster
}

#[tokio::test]
async fn ends_may_be_nodes_host_endpoints_network_sets_and_addresses() {
    let cluster = cluster().await;
    let file = cluster.file("hosts.yaml", HOSTS);
    let before = cluster.everything().await;
    let mut shown = String::new();
    for (from, to, port) in [
        ("partners", "worker-2", "tcp/2222"),
        ("203.0.113.9", "worker-2-ens5", "tcp/8080"),
        ("198.51.100.7", "10.30.0.2", "tcp/2222"),
        ("worker-1", "worker-2", "tcp/179"),
        ("shop/web", "worker-2", "tcp/80"),
        ("shop/web", "shop/db", "tcp/25"),
        ("shop/db", "198.51.100.7", "tcp/25"),
        ("shop/db", "198.51.100.7", "tcp/80"),
    ] {
        let line = format!("explain --what-if -f {file} --from {from} --to {to} --port {port}");
        let text = cluster.prints(&line).await.replace(&file, "FILE");
        shown += &format!("{}\n", text.lines().take(3).collect::<Vec<_>>().join("\n"));
    }
    expect![[r#"
        GlobalNetworkSet(partners) → worker-2   tcp 203.0.113.1:49152 → 10.30.0.2:2222
        now: ALLOWED by no policy
        with FILE: ALLOWED on worker-2 by ingress rule 0 of GlobalNetworkPolicy(hosts), tier default (no change)
        203.0.113.9 → HostEndpoint(worker-2-ens5)   tcp 203.0.113.9:49152 → 10.30.0.2:8080
        now: ALLOWED by no policy
        with FILE: DENIED on worker-2 by no rule of tier default matches
        198.51.100.7 → 10.30.0.2   tcp 198.51.100.7:49152 → 10.30.0.2:2222
        now: ALLOWED by no policy
        with FILE: DENIED on worker-2 by no rule of tier default matches
        worker-1 → worker-2   tcp 10.30.0.1:49152 → 10.30.0.2:179
        now: ALLOWED by no policy
        with FILE: ALLOWED on worker-2 by failsafe port (no change)
        shop/web → worker-2   tcp 192.168.1.1:49152 → 10.30.0.2:80
        now: ALLOWED on worker-1 by egress rule 0 of Profile(kns.shop)
        with FILE: DENIED on worker-2 by no rule of tier default matches
        shop/web → shop/db   tcp 192.168.1.1:49152 → 192.168.2.1:25
        now: ALLOWED on worker-2 by ingress rule 0 of Profile(kns.shop)
        with FILE: ALLOWED on worker-2 by ingress rule 0 of Profile(kns.shop) (no change)
        shop/db → 198.51.100.7   tcp 192.168.2.1:49152 → 198.51.100.7:25
        now: ALLOWED on worker-2 by egress rule 0 of Profile(kns.shop)
        with FILE: DENIED on worker-2 by egress rule 0 of GlobalNetworkPolicy(forward), tier default
        shop/db → 198.51.100.7   tcp 192.168.2.1:49152 → 198.51.100.7:80
        now: ALLOWED on worker-2 by egress rule 0 of Profile(kns.shop)
        with FILE: ALLOWED on worker-2 by egress rule 1 of GlobalNetworkPolicy(forward), tier default (no change)
    "#]].assert_eq(&shown);
    assert_eq!(cluster.everything().await, before, "nothing is written");
    let line = format!("explain --what-if -f {file} --from shop/db --to 198.51.100.7 -p tcp/25");
    expect![[r#"
        shop/db → 198.51.100.7   tcp 192.168.2.1:49152 → 198.51.100.7:25
        now: ALLOWED on worker-2 by egress rule 0 of Profile(kns.shop)
        with FILE: DENIED on worker-2 by egress rule 0 of GlobalNetworkPolicy(forward), tier default

        worker-2
           egress of cali2: allow: egress rule 0 of Profile(kns.shop)
           egress of the host endpoint of ens5, applyOnForward: deny: egress rule 0 of GlobalNetworkPolicy(forward), tier default
    "#]].assert_eq(&cluster.prints(&line).await.replace(&file, "FILE"));
    let line = format!("explain --what-if -f {file} --from nobody --to worker-2");
    let error = cluster.run(&line).await.expect_err("no such end");
    assert!(error.contains("nobody is no pod or network set of namespace default"), "{error}");
}

#[tokio::test]
async fn a_difference_is_of_hosts_and_outside_addresses_too() {
    let cluster = cluster().await;
    let file = cluster.file("hosts.yaml", HOSTS);
    let shown = cluster.prints(&format!("policy diff -f {file}")).await;
    let tcp: Vec<&str> =
        shown.lines().filter(|line| line.contains("tcp") || line.contains("FROM")).collect();
    expect![[r#"
        FROM                          TO                            PACKETS              BECOME   BY
        shop/web                      HostEndpoint(worker-2-ens5)   tcp 0-21             denied   no rule of tier default matches
        shop/web                      HostEndpoint(worker-2-ens5)   tcp 23-178           denied   no rule of tier default matches
        shop/web                      HostEndpoint(worker-2-ens5)   tcp 180-2378         denied   no rule of tier default matches
        shop/web                      HostEndpoint(worker-2-ens5)   tcp 2381-5472        denied   no rule of tier default matches
        shop/web                      HostEndpoint(worker-2-ens5)   tcp 5474-6442        denied   no rule of tier default matches
        shop/web                      HostEndpoint(worker-2-ens5)   tcp 6444-6665        denied   no rule of tier default matches
        shop/web                      HostEndpoint(worker-2-ens5)   tcp 6668-65535       denied   no rule of tier default matches
        HostEndpoint(worker-2-ens5)   shop/web                      tcp 25               denied   egress rule 0 of GlobalNetworkPolicy(forward), tier default
        HostEndpoint(worker-2-ens5)   203.0.113.0/24                tcp 25               denied   egress rule 0 of GlobalNetworkPolicy(forward), tier default
        HostEndpoint(worker-2-ens5)   elsewhere                     tcp 25               denied   egress rule 0 of GlobalNetworkPolicy(forward), tier default
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 0-21             denied   no rule of tier default matches
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 23-178           denied   no rule of tier default matches
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 180-2221         denied   no rule of tier default matches
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 2223-2378        denied   no rule of tier default matches
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 2381-5472        denied   no rule of tier default matches
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 5474-6442        denied   no rule of tier default matches
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 6444-6665        denied   no rule of tier default matches
        203.0.113.0/24                HostEndpoint(worker-2-ens5)   tcp 6668-65535       denied   no rule of tier default matches
        elsewhere                     HostEndpoint(worker-2-ens5)   tcp 0-21             denied   no rule of tier default matches
        elsewhere                     HostEndpoint(worker-2-ens5)   tcp 23-178           denied   no rule of tier default matches
        elsewhere                     HostEndpoint(worker-2-ens5)   tcp 180-2378         denied   no rule of tier default matches
        elsewhere                     HostEndpoint(worker-2-ens5)   tcp 2381-5472        denied   no rule of tier default matches
        elsewhere                     HostEndpoint(worker-2-ens5)   tcp 5474-6442        denied   no rule of tier default matches
        elsewhere                     HostEndpoint(worker-2-ens5)   tcp 6444-6665        denied   no rule of tier default matches
        elsewhere                     HostEndpoint(worker-2-ens5)   tcp 6668-65535       denied   no rule of tier default matches"#]].assert_eq(&tcp.join("\n"));
    let json = cluster.prints(&format!("policy diff -o json -f {file}")).await;
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["more"], false);
    assert_eq!(json["changes"].as_array().map(Vec::len), Some(shown.lines().count() - 1));
}

//! What the walkthroughs type, and what they see.

use super::{Cluster, POOL, steady};
use expect_test::expect;

const PODS: &str = r#"
{"kind": "WorkloadEndpointList", "apiVersion": "projectcalico.org/v3", "items": [
  {"kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
   "metadata": {"name": "k8s--w1-k8s-pod1-eth0"},
   "spec": {"orchestrator": "k8s", "node": "k8s-w1", "pod": "pod1", "endpoint": "eth0",
            "containerID": "c1", "interfaceName": "calice0906292e2",
            "ipNetworks": ["172.16.158.8/32"], "profiles": ["kns.default"]}},
  {"kind": "WorkloadEndpoint", "apiVersion": "projectcalico.org/v3",
   "metadata": {"name": "k8s--w2-k8s-agent-eth0", "namespace": "cattle-system"},
   "spec": {"orchestrator": "k8s", "node": "k8s-w2", "pod": "agent", "endpoint": "eth0",
            "containerID": "c2", "interfaceName": "cali529aed0cdfd",
            "ipNetworks": ["172.16.184.2/32"], "profiles": ["kns.cattle-system"]}}
]}"#;

#[tokio::test]
async fn the_pool_is_shown_as_yaml_and_changed_through_sed() {
    let cluster = Cluster::with_pool().await;
    let yaml = cluster.run("get ippool default-ipv4-ippool -o yaml").await.expect("the pool");
    expect![[r#"
        apiVersion: projectcalico.org/v3
        kind: IPPool
        metadata:
          creationTimestamp: "…
          name: default-ipv4-ippool
          resourceVersion: "…
          uid: …
        spec:
          allowedUses:
          - Workload
          - Tunnel
          blockSize: 24
          cidr: 172.16.0.0/16
          ipipMode: Always
          natOutgoing: true
          nodeSelector: all()
          vxlanMode: Never
    "#]]
    .assert_eq(&steady(&yaml));
    let edited = yaml.replace("ipipMode: Always", "ipipMode: Never");
    let applied = cluster.fed("apply -f -", &edited).await.expect("applied");
    assert_eq!(applied, "Successfully applied 1 'IPPool' resource(s)\n");
    expect![[r#"
        NAME                  CIDR            NAT    IPIPMODE   VXLANMODE   DISABLED   DISABLEBGPEXPORT   SELECTOR
        default-ipv4-ippool   172.16.0.0/16   true   Never      Never       false      false              all()

    "#]]
    .assert_eq(&cluster.prints("get ippool -o wide").await);
    let after = cluster.run("get ippool default-ipv4-ippool -o yaml").await.expect("the pool");
    assert_eq!(steady(&after), steady(&edited));
    let identity = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("uid") || line.contains("creation"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(identity(&after), identity(&yaml), "the same resource, changed");
}

#[tokio::test]
async fn the_pool_is_patched() {
    let cluster = Cluster::with_pool().await;
    for (line, mode) in [
        (
            r#"patch ippool default-ipv4-ippool -p '{"spec":{"ipipMode":"CrossSubnet"}}'"#,
            "CrossSubnet",
        ),
        (r#"patch ipp default-ipv4-ippool -t merge -p 'spec: {ipipMode: Never}'"#, "Never"),
        (
            r#"patch pool default-ipv4-ippool -t json
               -p '[{"op":"replace","path":"/spec/ipipMode","value":"Always"}]'"#,
            "Always",
        ),
    ] {
        assert_eq!(cluster.prints(line).await, "Successfully patched 1 'IPPool' resource\n");
        let shown = cluster.prints("get ippool -o custom-columns=NAME,IPIPMODE").await;
        assert_eq!(
            shown,
            format!("NAME                  IPIPMODE\ndefault-ipv4-ippool   {mode}\n\n")
        );
    }
}

#[tokio::test]
async fn a_file_written_by_hand_is_applied_over_what_is_there() {
    let cluster = Cluster::with_pool().await;
    let file = cluster.file("ippool.yaml", &POOL.replace("Always", "CrossSubnet  # Always"));
    let line = format!("apply -f {file}");
    assert_eq!(cluster.prints(&line).await, "Successfully applied 1 'IPPool' resource(s)\n");
    let shown = cluster.prints("get ippool -o yaml").await;
    assert!(shown.contains("ipipMode: CrossSubnet"), "{shown}");
}

#[tokio::test]
async fn endpoints_are_shown_by_every_spelling() {
    let cluster = Cluster::start().await;
    let applied = cluster.fed("apply -f -", PODS).await;
    assert_eq!(applied.as_deref(), Ok("Successfully applied 2 'WorkloadEndpoint' resource(s)\n"));
    let own = expect![[r#"
        WORKLOAD   NODE     NETWORKS          INTERFACE
        pod1       k8s-w1   172.16.158.8/32   calice0906292e2

    "#]];
    for line in ["get wep", "get workloadEndpoint", "get weps k8s--w1-k8s-pod1-eth0"] {
        own.assert_eq(&cluster.prints(line).await);
    }
    let all = expect![[r#"
        NAMESPACE       WORKLOAD   NODE     NETWORKS          INTERFACE
        cattle-system   agent      k8s-w2   172.16.184.2/32   cali529aed0cdfd
        default         pod1       k8s-w1   172.16.158.8/32   calice0906292e2

    "#]];
    for line in ["get workloadendpoints -a", "get wep -A", "get workload-endpoint --all-namespaces"]
    {
        all.assert_eq(&cluster.prints(line).await);
    }
    expect![[r#"
        NAMESPACE       NAME                     WORKLOAD   NODE     NETWORKS          INTERFACE         PROFILES            NATS
        cattle-system   k8s--w2-k8s-agent-eth0   agent      k8s-w2   172.16.184.2/32   cali529aed0cdfd   kns.cattle-system

    "#]]
    .assert_eq(&cluster.prints("get wep -n cattle-system -o wide").await);
}

#[tokio::test]
async fn the_version_is_this_programs_and_the_clusters() {
    let cluster = Cluster::start().await;
    let client = cluster.prints("version --client").await;
    assert!(client.starts_with("Client Version:    v"), "{client}");
    let error = cluster.run("version").await.expect_err("no cluster yet");
    assert!(error.contains("ClusterInformation(default) does not exist"), "{error}");
    let mut information = model::ClusterInformation::default();
    information.metadata.name = "default".to_owned();
    information.spec.calico_version = "v3.20.3".to_owned();
    information.spec.cluster_type = "kubespray,bgp".to_owned();
    let store = cluster.store().await;
    store::typed::create(&*store, information).await.expect("created");
    assert_eq!(
        cluster.prints("version").await,
        format!("{client}Cluster Version:   v3.20.3\nCluster Type:      kubespray,bgp\n")
    );
    // Without it no pod starts, and nothing else changes.
    for (word, said, ready) in [("lock", "locked", "false"), ("unlock", "unlocked", "true")] {
        let done = cluster.prints(&format!("datastore migrate {word}")).await;
        assert_eq!(done, format!("Datastore {said}.\n"));
        let shown = cluster.prints("get clusterinformation default -o yaml").await;
        assert!(shown.contains(&format!("datastoreReady: {ready}")), "{shown}");
        assert!(shown.contains("clusterType: kubespray,bgp"), "{shown}");
    }
}

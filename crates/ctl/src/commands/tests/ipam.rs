//! Addresses: shown, released, and given up with their pool or node.

use super::Cluster;
use expect_test::expect;
use ipam::{AssignAddress, AutoAssign, Pool};
use model::IpamConfig;
use std::collections::BTreeMap;
use store::drive;

/// The walkthroughs' pool.
fn pool() -> Pool {
    let cidr = "172.16.0.0/16".parse().expect("a range");
    Pool { name: "default-ipv4-ippool".to_owned(), cidr, block_size: 24 }
}

/// What the plugin says of a pod's address.
fn attributes(node: &str, pod: &str) -> BTreeMap<String, String> {
    let attributes = [("node", node), ("namespace", "default"), ("pod", pod)];
    attributes.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Gives a node addresses of the pool; the first of them.
async fn assign(cluster: &Cluster, node: &str, handle: &str, count: usize) -> String {
    let assign = AutoAssign {
        host: node.to_owned(),
        handle: handle.to_owned(),
        attributes: attributes(node, handle),
        pools: vec![pool()],
        count,
        max_blocks: None,
        config: IpamConfig::default(),
        reserved: vec![],
        known_affine_blocks: vec![],
        now: jiff::Timestamp::now(),
    };
    let given = drive(&*cluster.store().await, assign.start()).await.expect("addresses");
    given[0].addr().to_string()
}

async fn names(cluster: &Cluster, kind: &str) -> Vec<String> {
    let printed = cluster.prints(&format!("get {kind} -a -o name")).await;
    printed.lines().map(str::to_owned).collect()
}

#[tokio::test]
async fn usage_is_shown_by_pool_and_block() {
    let cluster = Cluster::with_pool().await;
    assign(&cluster, "worker-1", "pod-1", 9).await;
    assign(&cluster, "worker-2", "pod-2", 3).await;
    expect![[r#"
        +----------+-----------------+-----------+------------+--------------+
        | GROUPING |      CIDR       | IPS TOTAL | IPS IN USE |   IPS FREE   |
        +----------+-----------------+-----------+------------+--------------+
        | IP Pool  | 172.16.0.0/16   |     65536 | 12 (0%)    | 65524 (100%) |
        | Block    | 172.16.78.0/24  |       256 | 3 (1%)     | 253 (99%)    |
        | Block    | 172.16.193.0/24 |       256 | 9 (4%)     | 247 (96%)    |
        +----------+-----------------+-----------+------------+--------------+
    "#]]
    .assert_eq(&cluster.prints("ipam show --show-blocks").await);
    expect![[r#"
        +----------+---------------+-----------+------------+--------------+
        | GROUPING |     CIDR      | IPS TOTAL | IPS IN USE |   IPS FREE   |
        +----------+---------------+-----------+------------+--------------+
        | IP Pool  | 172.16.0.0/16 |     65536 | 12 (0%)    | 65524 (100%) |
        +----------+---------------+-----------+------------+--------------+
    "#]]
    .assert_eq(&cluster.prints("ipam show").await);
    expect![[r#"
        +----+----------------+-------+-------------+------+--------------+
        | IP | BORROWING-NODE | BLOCK | BLOCK OWNER | TYPE | ALLOCATED-TO |
        +----+----------------+-------+-------------+------+--------------+
        +----+----------------+-------+-------------+------+--------------+
    "#]]
    .assert_eq(&cluster.prints("ipam show --show-borrowed").await);
    expect![[r#"
        +--------------------+-------+
        |      PROPERTY      | VALUE |
        +--------------------+-------+
        | StrictAffinity     | false |
        | AutoAllocateBlocks | true  |
        | MaxBlocksPerHost   |     0 |
        +--------------------+-------+
    "#]]
    .assert_eq(&cluster.prints("ipam show --show-configuration").await);
}

#[tokio::test]
async fn an_address_in_anothers_block_is_borrowed() {
    let cluster = Cluster::with_pool().await;
    let first = assign(&cluster, "worker-1", "pod-1", 1).await;
    let block = first.rsplit_once('.').expect("an IPv4 address").0.to_owned();
    let borrow = AssignAddress {
        address: format!("{block}.77").parse().expect("an address"),
        host: "worker-2".to_owned(),
        handle: "pod-2".to_owned(),
        attributes: attributes("worker-2", "pod-2"),
        pools: vec![pool()],
        config: IpamConfig::default(),
        now: jiff::Timestamp::now(),
    };
    drive(&*cluster.store().await, borrow.start()).await.expect("the address");
    let shown = cluster.prints("ipam show --show-borrowed").await;
    expect![[r#"
        +---------------+----------------+-----------------+-------------+------+---------------+
        |      IP       | BORROWING-NODE |      BLOCK      | BLOCK OWNER | TYPE | ALLOCATED-TO  |
        +---------------+----------------+-----------------+-------------+------+---------------+
        | 172.16.193.77 | worker-2       | 172.16.193.0/24 | worker-1    | pod  | default/pod-2 |
        +---------------+----------------+-----------------+-------------+------+---------------+
    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn an_address_is_shown_and_released() {
    let cluster = Cluster::with_pool().await;
    let address = assign(&cluster, "worker-1", "pod-1", 1).await;
    let shown = cluster.prints(&format!("ipam show --ip={address}")).await;
    expect![[r#"
        IP ADDRESS is in use
        Handle ID: pod-1
        Active Owner Attributes:
          namespace: default
          node: worker-1
          pod: pod-1
    "#]]
    .assert_eq(&shown.replace(&address, "ADDRESS"));
    assert_eq!(
        cluster.prints(&format!("ipam release --ip={address}")).await,
        format!("Successfully released IP address {address}\n")
    );
    let shown = cluster.prints(&format!("ipam show --ip={address}")).await;
    assert_eq!(shown, format!("{address} is not assigned\n"));
}

#[tokio::test]
async fn settings_are_changed() {
    let cluster = Cluster::start().await;
    expect![[r#"
        Successfully set StrictAffinity to: true
        Successfully set MaxBlocksPerHost to: 4
    "#]]
    .assert_eq(
        &cluster.prints("ipam configure --strictaffinity=true --max-blocks-per-host=4").await,
    );
    expect![[r#"
        NAME      STRICTAFFINITY   AUTOALLOCATEBLOCKS
        default   true             true

    "#]]
    .assert_eq(&cluster.prints("get ipamconfig").await);
}

#[tokio::test]
async fn settings_are_a_resource_too() {
    let cluster = Cluster::start().await;
    let document = "apiVersion: projectcalico.org/v3\nkind: IPAMConfiguration\n\
                    metadata: {name: default}\nspec: {strictAffinity: true}\n";
    for (line, printed) in [
        ("create -f -", "Successfully created 1 'IPAMConfig' resource(s)\n"),
        ("apply -f -", "Successfully applied 1 'IPAMConfig' resource(s)\n"),
        ("replace -f -", "Successfully replaced 1 'IPAMConfig' resource(s)\n"),
        (
            "patch ipamconfig default -p '{\"spec\":{\"maxBlocksPerHost\":2}}'",
            "Successfully patched 1 'IPAMConfig' resource\n",
        ),
    ] {
        assert_eq!(cluster.fed(line, document).await.as_deref(), Ok(printed), "{line}");
    }
    let yaml = cluster.run("get ipamconfig default -o yaml").await.expect("the settings");
    expect![[r#"
        apiVersion: projectcalico.org/v3
        kind: IPAMConfig
        metadata:
          name: default
          resourceVersion: "…
        spec:
          autoAllocateBlocks: true
          maxBlocksPerHost: 2
          strictAffinity: true
    "#]]
    .assert_eq(&super::steady(&yaml));
    let before = cluster.everything().await;
    for (line, input, said) in [
        ("create -f -", document, "already exists: IPAM configuration"),
        ("apply -f -", &yaml.replace("Version: \"", "Version: \"1"), "update conflict"),
        ("apply -f -", &document.replace("default", "other"), "name it default"),
        ("apply -f -", &document.replace("strictA", "a"), "unknown field spec.affinity"),
        (
            "patch ipamconfig default -p '{\"spec\":{\"strictAffinity\":false}}'",
            "",
            "set strictAff",
        ),
        ("patch ipamconfig other -p '{}'", "", "does not exist: IPAMConfig(other)"),
        ("label ipamconfig default a=b", "", "keeps no labels"),
    ] {
        let error = cluster.fed(line, input).await.expect_err(line);
        assert!(error.contains(said), "{line}: {error}");
        assert_eq!(cluster.everything().await, before, "{line}");
    }
    // As written by a shell pipeline: it carries the version that is stored.
    cluster.fed("apply -f -", &yaml).await.expect("applied");
    cluster.prints("delete ipamconfig default").await;
    assert_eq!(names(&cluster, "ipamconfig").await, [""; 0]);
}

#[tokio::test]
async fn a_pool_goes_with_its_empty_blocks_and_leaves_what_is_held() {
    let cluster = Cluster::with_pool().await;
    let held = assign(&cluster, "worker-1", "pod-1", 1).await;
    let released = assign(&cluster, "worker-2", "pod-2", 1).await;
    cluster.prints(&format!("ipam release --ip={released}")).await;
    assert_eq!(names(&cluster, "blockaffinities").await.len(), 2);
    assert_eq!(
        cluster.prints("delete ippool default-ipv4-ippool").await,
        "Successfully deleted 1 'IPPool' resource(s)\n"
    );
    let left = names(&cluster, "blockaffinities").await;
    assert!(left.len() == 1 && left[0].starts_with("blockaffinity/worker-1-"), "{left:?}");
    let shown = cluster.prints(&format!("ipam show --ip {held}")).await;
    assert!(shown.contains("is in use"), "{shown}");
    // A pool of another block size would misread the block that is left.
    let smaller = super::POOL.replace("blockSize: 24", "blockSize: 26");
    let error = cluster.fed("create -f -", &smaller).await.expect_err("blocks of /24 are left");
    assert!(
        error.contains("of an earlier pool is still in this range") && error.contains("set 24"),
        "{error}"
    );
    cluster.fed("create -f -", super::POOL).await.expect("the same block size fits");
}

#[tokio::test]
async fn a_node_goes_with_its_endpoints_addresses_and_blocks() {
    let cluster = Cluster::with_pool().await;
    let first = assign(&cluster, "worker-1", "k8s-pod-network.c1", 1).await;
    assign(&cluster, "worker-1", "vxlan-tunnel-addr-worker-1", 1).await;
    let other = assign(&cluster, "worker-2", "k8s-pod-network.c2", 1).await;
    for (node, address) in [("worker-1", &first), ("worker-2", &other)] {
        let dashed = node.replace('-', "--");
        let documents = format!(
            "{{apiVersion: projectcalico.org/v3, kind: Node, metadata: {{name: {node}}}}}\n---\n\
             apiVersion: projectcalico.org/v3\nkind: WorkloadEndpoint\n\
             metadata: {{name: {dashed}-k8s-pod-eth0}}\n\
             spec: {{orchestrator: k8s, node: {node}, pod: pod, endpoint: eth0, \
             containerID: c, interfaceName: cali1, ipNetworks: [{address}/32]}}\n"
        );
        cluster.fed("apply -f -", &documents).await.expect("applied");
    }
    cluster.prints("delete node worker-1").await;
    assert_eq!(names(&cluster, "nodes").await, ["node/worker-2"]);
    assert_eq!(names(&cluster, "wep").await, ["workloadendpoint/worker--2-k8s-pod-eth0"]);
    assert_eq!(names(&cluster, "ipamhandle").await, ["ipamhandle/k8s-pod-network.c2"]);
    assert_eq!(names(&cluster, "ipamblock").await.len(), 1, "the empty block is gone");
    assert_eq!(names(&cluster, "blockaffinity").await.len(), 1);
    let shown = cluster.prints(&format!("ipam show --ip {other}")).await;
    assert!(shown.contains("is in use"), "the other node keeps what it has: {shown}");
}

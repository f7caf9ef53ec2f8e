//! Every command on resources, and every way to hand documents over.

use super::{Cluster, parse};
use expect_test::expect;

const PEERS: &str = "
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: global}
spec: {peerIP: 10.0.0.1, asNumber: 64513}
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: {name: of-rack}
spec: {peerIP: 10.0.0.2, asNumber: 64514, nodeSelector: rack == 'a'}
---
apiVersion: projectcalico.org/v3
kind: Node
metadata: {name: worker-1, labels: {rack: a}}
spec: {bgp: {ipv4Address: 10.30.0.206/24}}
";

#[tokio::test]
async fn many_documents_are_created_replaced_and_deleted() {
    let cluster = Cluster::start().await;
    let file = cluster.file("peers.yaml", PEERS);
    for (line, printed) in [
        (format!("create -f {file}"), "Successfully created 3 resource(s)\n"),
        (format!("create -f {file} --skip-exists"), "Successfully created 0 resource(s)\n"),
        (format!("replace -f {file}"), "Successfully replaced 3 resource(s)\n"),
        ("delete bgppeer global".to_owned(), "Successfully deleted 1 'BGPPeer' resource(s)\n"),
        (format!("delete -s -f {file}"), "Successfully deleted 2 resource(s)\n"),
    ] {
        assert_eq!(cluster.prints(&line).await, printed, "{line}");
    }
    for kind in ["bgppeers", "nodes"] {
        assert_eq!(cluster.prints(&format!("get {kind} -o name")).await, "");
    }
}

const FILTER_AND_STATUS: &str = "
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: {name: lan}
spec:
  exportV4: [{cidr: 10.0.0.0/8, matchOperator: In, action: Accept}, {action: Reject}]
  importV6: [{action: Reject}]
---
apiVersion: projectcalico.org/v3
kind: CalicoNodeStatus
metadata: {name: asked}
spec: {node: worker-1, classes: [Agent, BGP], updatePeriodSeconds: 10}
";

#[tokio::test]
async fn filters_and_node_statuses_are_shown() {
    let cluster = Cluster::start().await;
    let file = cluster.file("bgp.yaml", FILTER_AND_STATUS);
    cluster.prints(&format!("apply -f {file}")).await;
    let mut shown = String::new();
    for line in ["get bgpfilters", "get nodestatus", "get caliconodestatuses -o wide"] {
        shown += &cluster.prints(line).await;
    }
    expect![[r#"
        NAME   NUMEXPORTV4   NUMIMPORTV4   NUMEXPORTV6   NUMIMPORTV6
        lan    2             0             0             1

        NAME    NODE
        asked   worker-1

        NAME    NODE       CLASSES
        asked   worker-1   Agent,BGP

    "#]]
    .assert_eq(&shown);
}

#[tokio::test]
async fn resources_are_shown_in_every_format() {
    let cluster = Cluster::start().await;
    let file = cluster.file("peers.yaml", PEERS);
    cluster.prints(&format!("apply -f {file}")).await;
    let mut shown = String::new();
    for line in [
        "get bgppeers",
        "get nodes",
        "get node worker-1 -o wide",
        "get bgpp -o name",
        "get bgppeers global -o custom-columns=name,asn",
        "get bgppeer global of-rack -o yaml --export",
        "get -f FILE -o name",
    ] {
        let line = line.replace("FILE", &file);
        shown += &cluster.prints(&line).await;
    }
    expect![[r#"
        NAME      PEERIP     NODE          ASN
        global    10.0.0.1   (global)      64513
        of-rack   10.0.0.2   rack == 'a'   64514

        NAME
        worker-1

        NAME       ASN       IPV4             IPV6
        worker-1   (64512)   10.30.0.206/24

        bgppeer/global
        bgppeer/of-rack
        NAME     ASN
        global   64513

        apiVersion: projectcalico.org/v3
        items:
        - apiVersion: projectcalico.org/v3
          kind: BGPPeer
          metadata:
            name: global
          spec:
            asNumber: 64513
            peerIP: 10.0.0.1
        - apiVersion: projectcalico.org/v3
          kind: BGPPeer
          metadata:
            name: of-rack
          spec:
            asNumber: 64514
            nodeSelector: rack == 'a'
            peerIP: 10.0.0.2
        kind: BGPPeerList
        metadata: {}
        bgppeer/global
        bgppeer/of-rack
        node/worker-1
    "#]]
    .assert_eq(&shown);
    let json = cluster.run("get node worker-1 -o json").await.expect("the node");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["spec"]["bgp"]["ipv4Address"], "10.30.0.206/24");
}

#[tokio::test]
async fn a_directory_is_read_file_by_file() {
    let cluster = Cluster::start().await;
    let documents: Vec<&str> = PEERS.split("---").collect();
    cluster.file("a.yaml", documents[0]);
    cluster.file("below/b.yml", documents[1]);
    cluster.file("notes.txt", "no document");
    let directory = cluster.directory.path().join("files").display().to_string();
    assert_eq!(
        cluster.prints(&format!("apply -f {directory}")).await,
        "Successfully applied 1 'BGPPeer' resource(s)\n"
    );
    assert_eq!(
        cluster.prints(&format!("apply -R -f {directory}")).await,
        "Successfully applied 2 'BGPPeer' resource(s)\n"
    );
    let empty = cluster.file("empty/none.yaml", "---\n# nothing\n");
    let error = cluster.run(&format!("apply -f {empty}")).await.expect_err("nothing there");
    assert_eq!(error, format!("No resources specified in {empty}"));
    assert_eq!(cluster.prints(&format!("apply --skip-empty -f {empty}")).await, error + "\n");
}

#[tokio::test]
async fn labels_are_set_changed_and_removed() {
    let cluster = Cluster::start().await;
    cluster.fed("apply -f -", PEERS).await.expect("applied");
    for (line, printed) in [
        ("label nodes worker-1 zone=1", "Successfully set label zone on Node worker-1\n"),
        ("label node worker-1 zone=1", "Successfully set label zone on Node worker-1\n"),
        (
            "label node worker-1 zone=2 --overwrite",
            "Successfully updated label zone on Node worker-1\n",
        ),
        (
            "label node worker-1 rack --remove",
            "Successfully removed label rack from Node worker-1.\n",
        ),
    ] {
        assert_eq!(cluster.prints(line).await, printed, "{line}");
    }
    let node = cluster.prints("get node worker-1 -o yaml").await;
    assert!(node.contains("  labels:\n    zone: \"2\"\n  name"), "{node}");
}

#[test]
fn help_shows_examples_and_every_command() {
    let help = parse("--help").expect_err("help").to_string();
    for said in ["apply -f pool.yaml", "ETCD_ENDPOINTS", "create", "label", "ipam", "completion"] {
        assert!(help.contains(said), "{said}: {help}");
    }
}

#[tokio::test]
async fn shells_complete_the_commands() {
    let text = super::typed("completion bash", "", "").await.expect("needs no datastore");
    assert!(text.contains("_calicoctl()") && text.contains("--show-blocks"), "{text}");
}

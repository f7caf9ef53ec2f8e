use super::*;
use expect_test::{Expect, expect};
use std::net::IpAddr;

/// 2022-11-21 18:45:00 UTC.
const NOW: u64 = 1_669_056_300;

fn node(backend: &str, bgp: Option<SpeakerStatus>) -> NodeStatus {
    NodeStatus {
        bgp,
        node: "worker-1".to_owned(),
        backend: backend.to_owned(),
        in_sync: true,
        not_ready: vec![],
        warnings: vec![],
    }
}

fn speaker(peers: Vec<PeerStatus>) -> SpeakerStatus {
    let router_id = [10, 30, 0, 10].into();
    SpeakerStatus { router_id, restarting: false, not_listening: None, peers }
}

fn peer(address: &str, state: SessionState, ago: u64, reason: Option<&str>) -> PeerStatus {
    let address: IpAddr = address.parse().expect("an address");
    PeerStatus {
        name: format!("Mesh_{address}"),
        kind: PeerKind::NodeMesh,
        address,
        port: PORT_DEFAULT,
        state,
        since: NOW - ago,
        reason: reason.map(str::to_owned),
        prefixes: 1,
    }
}

fn shows(status: &NodeStatus, expected: &Expect) {
    expected.assert_eq(&describe(status, NOW));
}

#[test]
fn a_node_without_bgp_says_so_and_what_is_wrong() {
    let mut status = node("vxlan", None);
    status.warnings = vec!["IPPool(a) is not routed: because".to_owned()];
    shows(
        &status,
        &expect![[r#"
            Calico process is running.

            The BGP backend process (BIRD) is not running: CALICO_NETWORKING_BACKEND=vxlan.
            Warning: IPPool(a) is not routed: because
        "#]],
    );
    let mut status = node("bird", None);
    status.not_ready = vec!["the datastore has not been read yet".to_owned()];
    shows(
        &status,
        &expect![[r#"
        Calico process is running.

        The BGP backend process (BIRD) is not running: this node has not been told its peers yet.
        Not ready: the datastore has not been read yet
    "#]],
    );
}

#[test]
fn the_mesh_is_the_walkthroughs() {
    let addresses = ["10.30.0.206", "10.30.0.56", "10.30.1.66"];
    let up = |address| peer(address, SessionState::Established, 153, Some("not to be shown"));
    let status = node("bird", Some(speaker(addresses.map(up).to_vec())));
    shows(
        &status,
        &expect![[r#"
        Calico process is running.

        IPv4 BGP status
        +--------------+-------------------+-------+----------+-------------+
        | PEER ADDRESS |     PEER TYPE     | STATE |  SINCE   |    INFO     |
        +--------------+-------------------+-------+----------+-------------+
        | 10.30.0.206  | node-to-node mesh | up    | 18:42:27 | Established |
        | 10.30.0.56   | node-to-node mesh | up    | 18:42:27 | Established |
        | 10.30.1.66   | node-to-node mesh | up    | 18:42:27 | Established |
        +--------------+-------------------+-------+----------+-------------+

        IPv6 BGP status
        No IPv6 peers found.

    "#]],
    );
}

#[test]
fn a_peer_that_is_not_established_says_why() {
    use SessionState as S;
    let mut reflector = peer("10.30.9.1", S::OpenSent, 100 * 3600, None);
    (reflector.kind, reflector.port) = (PeerKind::GlobalPeer, 1790);
    let mut six = peer("fd00::9", S::Active, 60, Some("Socket: Connection closed"));
    (six.kind, six.port) = (PeerKind::NodePeer, 1179);
    let refused = "Socket: Connection refused: nothing listens on port 179 there";
    let peers = vec![
        peer("10.30.0.206", S::Connect, 3, Some(refused)),
        peer("10.30.0.56", S::Idle, 20 * 3600, None),
        reflector,
        six,
    ];
    let taken = "TCP port 179 is taken by another program";
    let not_listening = Some(taken.to_owned());
    let mut status =
        node("bird", Some(SpeakerStatus { restarting: true, not_listening, ..speaker(peers) }));
    shows(
        &status,
        &expect![[r#"
        Calico process is running.

        IPv4 BGP status
        +----------------+-------------------+-------+------------+-----------------------------------------------------------------------+
        |  PEER ADDRESS  |     PEER TYPE     | STATE |   SINCE    |                                 INFO                                  |
        +----------------+-------------------+-------+------------+-----------------------------------------------------------------------+
        | 10.30.0.206    | node-to-node mesh | start | 18:44:57   | Connect Socket: Connection refused: nothing listens on port 179 there |
        | 10.30.0.56     | node-to-node mesh | start | 2022-11-20 | Idle                                                                  |
        | 10.30.9.1:1790 | global            | start | 2022-11-17 | OpenSent                                                              |
        +----------------+-------------------+-------+------------+-----------------------------------------------------------------------+

        IPv6 BGP status
        +----------------+---------------+-------+----------+----------------------------------+
        |  PEER ADDRESS  |   PEER TYPE   | STATE |  SINCE   |               INFO               |
        +----------------+---------------+-------+----------+----------------------------------+
        | [fd00::9]:1179 | node specific | start | 18:44:00 | Active Socket: Connection closed |
        +----------------+---------------+-------+----------+----------------------------------+

        Graceful restart in progress: not all peers have told all their routes yet.
        Warning: peers cannot connect: TCP port 179 is taken by another program
    "#]],
    );
    status.not_ready = vec![format!("BGP: {taken}")];
    assert!(!describe(&status, NOW).contains("peers cannot connect"), "said already");
}

#[test]
fn machines_get_json_and_yaml() {
    let up = peer("10.30.0.56", SessionState::Established, 0, None);
    let status = node("bird", Some(speaker(vec![up])));
    let text = |format: &str| render(&status, &format.parse().expect("a format"), NOW);
    let read: NodeStatus =
        serde_json::from_str(&text("json").expect("JSON")).expect("the status again");
    assert_eq!(read, status);
    expect![[r#"
        backend: bird
        bgp:
          not_listening: null
          peers:
          - address: 10.30.0.56
            kind: NodeMesh
            name: Mesh_10.30.0.56
            port: 179
            prefixes: 1
            reason: null
            since: 1669056300
            state: Established
          restarting: false
          router_id: 10.30.0.10
        in_sync: true
        node: worker-1
        not_ready: []
        warnings: []
    "#]]
    .assert_eq(&text("yaml").expect("YAML"));
    assert!(text("name").is_err());
}

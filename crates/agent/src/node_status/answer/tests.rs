use super::*;
use bgp::status::SpeakerStatus;
use expect_test::expect;

fn peer(kind: PeerKind, address: &str, state: SessionState, since: u64) -> PeerStatus {
    let (name, address) = (format!("Mesh_{address}"), address.parse().expect("an address"));
    PeerStatus { name, kind, address, port: 179, state, since, reason: None, prefixes: 0 }
}

fn status(restarting: bool) -> NodeStatus {
    let peers = vec![
        peer(PeerKind::NodeMesh, "10.30.0.206", SessionState::Established, 1_669_056_147),
        peer(PeerKind::GlobalPeer, "10.30.1.66", SessionState::Active, 1_668_000_000),
    ];
    let speaker =
        SpeakerStatus { router_id: [10, 30, 0, 1].into(), restarting, not_listening: None, peers };
    NodeStatus { bgp: Some(speaker), ..NodeStatus::default() }
}

fn answered(status: &NodeStatus, classes: &[&str]) -> Value {
    let node = Node::new("master", vec![]);
    let at = |text: &str| text.parse().expect("a time");
    let answer = Answer {
        node: &node,
        status,
        started: at("2022-11-20T18:40:00Z"),
        reconfigured: Some(at("2022-11-21T18:41:00Z")),
        now: at("2022-11-21T18:45:00.5Z"),
    };
    let classes: Vec<String> = classes.iter().map(|&class| class.to_owned()).collect();
    let mut value = answer.to(&classes);
    // The only part that changes with each release.
    for daemon in ["birdV4", "birdV6"] {
        if let Some(version) = value["agent"][daemon].get_mut("version") {
            assert_eq!(version.take(), model::VERSION);
        }
    }
    value
}

#[test]
fn fields_are_calicos() {
    expect![[r#"
        {
          "agent": {
            "birdV4": {
              "lastBootTime": "2022-11-20 18:40:00",
              "lastReconfigurationTime": "2022-11-21 18:41:00",
              "routerID": "10.30.0.1",
              "state": "Ready",
              "version": null
            },
            "birdV6": {
              "lastBootTime": "2022-11-20 18:40:00",
              "lastReconfigurationTime": "2022-11-21 18:41:00",
              "routerID": "10.30.0.1",
              "state": "Ready",
              "version": null
            }
          },
          "bgp": {
            "numberEstablishedV4": 1,
            "numberEstablishedV6": 0,
            "numberNotEstablishedV4": 1,
            "numberNotEstablishedV6": 0,
            "peersV4": [
              {
                "peerIP": "10.30.0.206",
                "since": "18:42:27",
                "state": "Established",
                "type": "NodeMesh"
              },
              {
                "peerIP": "10.30.1.66",
                "since": "2022-11-09",
                "state": "Active",
                "type": "GlobalPeer"
              }
            ]
          },
          "lastUpdated": "2022-11-21T18:45:00Z",
          "routes": {}
        }"#]]
    .assert_eq(&format!("{:#}", answered(&status(false), &["Agent", "BGP"])));
}

#[test]
fn what_is_not_asked_is_empty() {
    expect![[r#"
        {
          "agent": {
            "birdV4": {},
            "birdV6": {}
          },
          "bgp": {
            "numberEstablishedV4": 0,
            "numberEstablishedV6": 0,
            "numberNotEstablishedV4": 0,
            "numberNotEstablishedV6": 0
          },
          "lastUpdated": "2022-11-21T18:45:00Z",
          "routes": {}
        }"#]]
    .assert_eq(&format!("{:#}", answered(&status(false), &[])));
    let restarting = answered(&status(true), &["Agent"]);
    assert_eq!(restarting["agent"]["birdV4"]["state"], "NotReady");
    let without = answered(&NodeStatus::default(), &["Agent", "BGP", "Routes"]);
    expect![[r#"
        {
          "agent": {
            "birdV4": {
              "state": "NotReady",
              "version": null
            },
            "birdV6": {
              "state": "NotReady",
              "version": null
            }
          },
          "bgp": {
            "numberEstablishedV4": 0,
            "numberEstablishedV6": 0,
            "numberNotEstablishedV4": 0,
            "numberNotEstablishedV6": 0
          },
          "lastUpdated": "2022-11-21T18:45:00Z",
          "routes": {}
        }"#]]
    .assert_eq(&format!("{without:#}"));
}

#[test]
fn routes_say_whom_they_are_from() {
    let net = |text: &str| text.parse::<IpNet>().expect("a prefix");
    let via = |device: &str, gateway: Option<&str>, protocol| Route {
        target: RouteTarget::Via {
            device: device.to_owned(),
            gateway: gateway.map(|text| text.parse().expect("an address")),
            onlink: false,
        },
        protocol,
        scope: 0,
        source: None,
    };
    let hole = Route { target: RouteTarget::Blackhole, ..via("", None, PROTOCOL_BIRD) };
    let planned: Vec<(RouteKey, Route)> = [
        ("192.168.133.192/26", via("tunl0", Some("10.30.0.206"), PROTOCOL_BIRD)),
        ("192.168.97.192/26", via("tunl0", Some("10.30.9.9"), PROTOCOL_BIRD)),
        ("192.168.219.64/26", hole),
        ("192.168.219.65/32", via("cali50e69859f2f", None, 3)),
        ("fd00:1::/64", via("ens5", Some("fe80::1"), 80)),
    ]
    .map(|(text, route)| (RouteKey { table: TABLE_MAIN, destination: net(text), metric: 0 }, route))
    .to_vec();
    let learned = BTreeMap::from([
        (net("192.168.133.192/26"), vec!["10.30.0.206".parse().expect("an address")]),
        (net("172.16.0.0/16"), vec!["10.30.1.66".parse().expect("an address")]),
    ]);
    let peers = status(false).bgp.expect("peers").peers;
    let routes = routes(planned.iter().map(|(key, route)| (key, route)), learned.iter(), &peers);
    let lines = |field: &str| {
        let rows = routes[field].as_array().expect("rows").iter();
        rows.map(|row| format!("{row}\n")).collect::<String>()
    };
    expect![[r#"
        {"destination":"172.16.0.0/16","gateway":"10.30.1.66","interface":"N/A","learnedFrom":{"peerIP":"10.30.1.66","sourceType":"BGPPeer"},"type":"RIB"}
        {"destination":"192.168.97.192/26","gateway":"10.30.9.9","interface":"tunl0","learnedFrom":{"sourceType":"BGPPeer"},"type":"FIB"}
        {"destination":"192.168.133.192/26","gateway":"10.30.0.206","interface":"tunl0","learnedFrom":{"peerIP":"10.30.0.206","sourceType":"NodeMesh"},"type":"FIB"}
        {"destination":"192.168.219.64/26","gateway":"N/A","interface":"blackhole","learnedFrom":{"sourceType":"Static"},"type":"FIB"}
        {"destination":"192.168.219.65/32","gateway":"N/A","interface":"cali50e69859f2f","learnedFrom":{"sourceType":"Kernel"},"type":"FIB"}
        {"destination":"fd00:1::/64","gateway":"fe80::1","interface":"ens5","learnedFrom":{"sourceType":"Kernel"},"type":"FIB"}
    "#]].assert_eq(&(lines("routesV4") + &lines("routesV6")));
}

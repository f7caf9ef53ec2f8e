use super::*;
use expect_test::expect;
use std::io::BufRead;
use std::net::TcpListener;

fn speaker(restarting: bool, peers: &[(&str, SessionState)]) -> SpeakerStatus {
    let peer = |(address, state): &(&str, SessionState)| PeerStatus {
        name: format!("Mesh_{address}"),
        kind: bgp::configuration::PeerKind::NodeMesh,
        address: address.parse().expect("an address"),
        port: 179,
        state: *state,
        since: 0,
        reason: None,
        prefixes: 0,
    };
    let peers = peers.iter().map(peer).collect();
    SpeakerStatus { router_id: [10, 0, 3, 1].into(), restarting, not_listening: None, peers }
}

/// One answer of the agent's, to one probe of a node that started so long ago.
fn probed(probe: Probe, health: &BgpHealth, threshold: Duration) -> Result<(), String> {
    let server = TcpListener::bind("127.0.0.1:0").expect("a port");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let asking = Asking {
        health: server.local_addr().expect("an address").to_string(),
        backend: "bird",
        nodename_file: file.path().to_owned(),
        threshold,
    };
    let body = serde_json::to_string(health).expect("JSON");
    let agent = std::thread::spawn(move || {
        let (mut stream, _) = server.accept().expect("a probe");
        let mut asked = String::new();
        std::io::BufReader::new(&stream).read_line(&mut asked).expect("a request");
        assert_eq!(asked, "GET /bgp HTTP/1.0\r\n");
        stream.write_all(format!("HTTP/1.0 200 OK\r\n\r\n{body}").as_bytes()).expect("answered");
    });
    let result = asking.ask(probe);
    agent.join().expect("the agent");
    result
}

/// The node has just started, or its threshold is over.
const STARTING: Duration = Duration::from_secs(3600);
const LATER: Duration = Duration::ZERO;

#[test]
fn all_peers_while_starting_one_peer_later() {
    use SessionState::{Active, Established, OpenSent};
    let none: &[(&str, SessionState)] = &[];
    let one = &[("10.0.3.142", Established), ("10.0.3.78", OpenSent)];
    let all = &[("10.0.3.142", Established), ("10.0.3.78", Established)];
    let walkthrough = &[("10.0.3.142", Active), ("10.0.3.78", OpenSent), ("fd00::1", Established)];
    let both = "BIRD is not ready: BGP not established with 10.0.3.142,10.0.3.78";
    let last = "BIRD is not ready: BGP not established with 10.0.3.78";
    let restart = "BIRD is not ready: graceful restart in progress";
    for (peers, restarting, starting, later) in [
        (none, false, "", ""),
        (none, true, "", ""),
        (walkthrough, false, both, both),
        (one, false, last, ""),
        (all, false, "", ""),
        (all, true, restart, ""),
    ] {
        let speaker = Some(speaker(restarting, peers));
        let health = BgpHealth { live: true, speaker };
        for (threshold, expected) in [(STARTING, starting), (LATER, later)] {
            let result = probed(Probe::BirdReady(4), &health, threshold);
            let expected = if expected.is_empty() { Ok(()) } else { Err(expected.to_owned()) };
            assert_eq!(result, expected, "{peers:?}, within {threshold:?}");
        }
    }
}

#[test]
fn ipv6_has_peers_of_its_own() {
    use SessionState::{Active, Established};
    let peers = &[("10.0.3.142", Established), ("fd00::1", Active)];
    let health = BgpHealth { live: true, speaker: Some(speaker(false, peers)) };
    assert_eq!(probed(Probe::BirdReady(4), &health, STARTING), Ok(()));
    let expected = "BIRD6 is not ready: BGP not established with fd00::1".to_owned();
    assert_eq!(probed(Probe::BirdReady(6), &health, STARTING), Err(expected));
}

#[test]
fn a_node_that_knows_no_peers_yet_is_live_and_not_ready() {
    let health = BgpHealth { live: true, speaker: None };
    assert_eq!(probed(Probe::BirdLive(4), &health, STARTING), Ok(()));
    let error = probed(Probe::BirdReady(4), &health, STARTING).expect_err("not told");
    assert!(error.starts_with("BIRD is not ready: this node has not been told"), "{error}");
    let stuck = BgpHealth { live: false, speaker: None };
    let error = probed(Probe::BirdLive(6), &stuck, STARTING).expect_err("stuck");
    assert_eq!(error, "bird6/confd is not live: the BGP thread is stuck");
}

#[test]
fn without_bgp_the_flag_is_wrong() {
    let asking = Asking {
        health: "127.0.0.1:1".to_owned(),
        backend: "vxlan",
        nodename_file: PathBuf::new(),
        threshold: THRESHOLD_DEFAULT,
    };
    let errors = [Probe::BirdLive(4), Probe::BirdReady(6)]
        .map(|probe| asking.ask(probe).expect_err("no BGP"));
    expect![[r#"
        bird/confd is not live: this node runs no BGP (CALICO_NETWORKING_BACKEND=vxlan): remove -bird-live from the probe
        BIRD6 is not ready: this node runs no BGP (CALICO_NETWORKING_BACKEND=vxlan): remove -bird6-ready from the probe"#]].assert_eq(&errors.join("\n"));
}

#[test]
fn the_count_is_logged_as_calico_does() {
    let time: jiff::Timestamp = "2022-11-21T01:46:49.282Z".parse().expect("a time");
    let line = counted(time, 1063, 0);
    assert!(line.starts_with("2022-11-21 01:46:49.282 [INFO][1063] agent/probe.rs "), "{line}");
    assert!(line.ends_with(": Number of node(s) with BGP peering established = 0"), "{line}");
}

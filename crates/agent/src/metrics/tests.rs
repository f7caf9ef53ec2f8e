use super::*;
use bgp::configuration::PeerKind;
use bgp::status::SpeakerStatus;
use expect_test::expect;
use node::report::Reading;
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

fn peer(address: &str, state: SessionState, prefixes: u32) -> PeerStatus {
    let address: IpAddr = address.parse().expect("an address");
    let (name, kind) = (format!("Mesh_{address}"), PeerKind::NodeMesh);
    PeerStatus { name, kind, address, port: 179, state, since: 0, reason: None, prefixes }
}

fn status() -> NodeStatus {
    let peers = vec![
        peer("10.30.0.206", SessionState::Established, 2),
        peer("10.30.0.56", SessionState::Established, 1),
        peer("10.30.1.66", SessionState::Active, 0),
    ];
    let speaker = SpeakerStatus {
        router_id: [10, 30, 0, 1].into(),
        restarting: false,
        not_listening: None,
        peers,
    };
    NodeStatus { node: "a\"b".to_owned(), bgp: Some(speaker), ..NodeStatus::default() }
}

#[test]
fn names_are_calicos() {
    let figures =
        Figures { metrics_address: None, hosts: 4, local_endpoints: 2, reading: Reading::InSync };
    let measures = Measures::default();
    measures.applied(Duration::from_millis(2), 0);
    measures.applied(Duration::from_millis(3), 1);
    let logged = Counts::default();
    let process = OwnProcess {
        cpu_seconds: 0.25,
        resident_bytes: 9_000_000,
        virtual_bytes: 70_000_000,
        open_files: 20,
        open_files_max: 1024,
        started: 1_669_056_300.5,
    };
    expect![[r##"
        # HELP felix_active_local_endpoints Workload interfaces on this node.
        # TYPE felix_active_local_endpoints gauge
        felix_active_local_endpoints 2
        # HELP felix_cluster_num_hosts Nodes of the cluster.
        # TYPE felix_cluster_num_hosts gauge
        felix_cluster_num_hosts 4
        # HELP felix_host This node's name, as a label.
        # TYPE felix_host gauge
        felix_host{host="a\"b"} 1
        # HELP felix_int_dataplane_apply_time_seconds Time the kernel took to follow a plan.
        # TYPE felix_int_dataplane_apply_time_seconds summary
        felix_int_dataplane_apply_time_seconds_sum 0.005
        felix_int_dataplane_apply_time_seconds_count 2
        # HELP felix_int_dataplane_failures Changes that the kernel refused; they are tried again.
        # TYPE felix_int_dataplane_failures counter
        felix_int_dataplane_failures 1
        # HELP felix_resync_state How far the datastore is read: 0 it does not answer, 1 not all yet, 2 in sync.
        # TYPE felix_resync_state gauge
        felix_resync_state 2
        # HELP felix_nflog_logs_received Packets that policies denied or logged, by NFLOG group.
        # TYPE felix_nflog_logs_received counter
        felix_nflog_logs_received{groupNum="1"} 0
        felix_nflog_logs_received{groupNum="2"} 0
        # HELP felix_nflog_logs_lost Packets that were logged faster than they were read.
        # TYPE felix_nflog_logs_lost counter
        felix_nflog_logs_lost 0
        # HELP felix_nflog_overruns Times that logged packets filled the socket.
        # TYPE felix_nflog_overruns counter
        felix_nflog_overruns 0
        # HELP bgp_peers BGP peers, by the state of their sessions.
        # TYPE bgp_peers gauge
        bgp_peers{instance="a\"b",ip_version="IPv4",status="Active"} 1
        bgp_peers{instance="a\"b",ip_version="IPv4",status="Established"} 2
        # HELP bgp_routes_imported Routes that this node's BGP peers have told it and it keeps.
        # TYPE bgp_routes_imported gauge
        bgp_routes_imported{instance="a\"b",ip_version="IPv4"} 3
        bgp_routes_imported{instance="a\"b",ip_version="IPv6"} 0
        # HELP process_cpu_seconds_total Processor time used.
        # TYPE process_cpu_seconds_total counter
        process_cpu_seconds_total 0.25
        # HELP process_max_fds Files that may be open.
        # TYPE process_max_fds gauge
        process_max_fds 1024
        # HELP process_open_fds Open files.
        # TYPE process_open_fds gauge
        process_open_fds 20
        # HELP process_resident_memory_bytes Memory in use.
        # TYPE process_resident_memory_bytes gauge
        process_resident_memory_bytes 9000000
        # HELP process_start_time_seconds When the process started, since the Unix epoch.
        # TYPE process_start_time_seconds gauge
        process_start_time_seconds 1669056300.5
        # HELP process_virtual_memory_bytes Address space in use.
        # TYPE process_virtual_memory_bytes gauge
        process_virtual_memory_bytes 70000000
    "##]].assert_eq(&text(&figures, &status(), &measures, &logged, &process));
}

/// The body of one answer, whatever it is.
async fn scraped(address: SocketAddr) -> Option<String> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    Some(answer)
}

#[tokio::test]
async fn metrics_are_where_the_configuration_says() {
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let (figures, of_figures) = watch::channel(Figures::default());
    let (_status, of_status) = watch::channel(status());
    let sources = Sources {
        figures: of_figures,
        status: of_status,
        measures: <_>::default(),
        logged: <_>::default(),
    };
    let serving = tokio::spawn(serve(sources));
    assert_eq!(scraped(address).await, None, "not enabled");
    figures.send_modify(|figures| figures.metrics_address = Some(address.to_string()));
    let answer = loop {
        match scraped(address).await {
            Some(answer) => break answer,
            None => tokio::task::yield_now().await,
        }
    };
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.contains("\nfelix_host{host=\"a\\\"b\"} 1\n"), "{answer}");
    figures.send_modify(|figures| figures.metrics_address = None);
    while scraped(address).await.is_some() {
        tokio::task::yield_now().await;
    }
    serving.abort();
}

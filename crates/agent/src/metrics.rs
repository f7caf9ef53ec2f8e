//! Metrics for Prometheus, under Felix's names for what exists here, and Calico Enterprise's for
//! BGP (`bgp_peers`, `bgp_routes_imported`).
//!
//! Written by hand: libraries append `_total` to counters, which Felix's names haven't got.

use crate::logged_packets::Counts;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use bgp::status::{PeerStatus, SessionState};
use linux::own_process::OwnProcess;
use node::report::Figures;
use node::status::NodeStatus;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long after a failure listening is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(10);

/// What the kernel thread measures of itself.
#[derive(Debug, Default)]
pub(crate) struct Measures {
    rounds: AtomicU64,
    micros: AtomicU64,
    failures: AtomicU64,
}

impl Measures {
    /// A plan was applied, in this time and with so many failures.
    pub(crate) fn applied(&self, took: Duration, failures: usize) {
        self.rounds.fetch_add(1, Ordering::Relaxed);
        self.micros.fetch_add(took.as_micros() as u64, Ordering::Relaxed);
        self.failures.fetch_add(failures as u64, Ordering::Relaxed);
    }
}

/// What metrics are made of.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) figures: watch::Receiver<Figures>,
    pub(crate) status: watch::Receiver<NodeStatus>,
    pub(crate) measures: Arc<Measures>,
    pub(crate) logged: Arc<Counts>,
}

/// Serves `/metrics` where the configuration says, for as long as it does.
pub(crate) async fn serve(mut sources: Sources) {
    loop {
        let address = sources.figures.borrow_and_update().metrics_address.clone();
        let served = async {
            let Some(address) = &address else { return std::future::pending().await };
            if let Err(why) = listen(address, sources.clone()).await {
                tracing::warn!(
                    "no metrics at http://{address}/metrics: {why}; set prometheusMetricsHost or \
                     prometheusMetricsPort to an address that is free"
                );
            }
            tokio::time::sleep(LISTEN_PAUSE).await;
        };
        let mut figures = sources.figures.clone();
        tokio::select! {
            () = served => {}
            changed = figures.wait_for(|figures| figures.metrics_address != address) => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

async fn listen(address: &str, sources: Sources) -> std::io::Result<()> {
    let listener = match TcpListener::bind(address).await {
        // Every address, on a kernel without IPv6.
        Err(error) if address.starts_with("[::]:") && error.kind() != ErrorKind::AddrInUse => {
            TcpListener::bind(address.replacen("[::]", "0.0.0.0", 1)).await?
        }
        bound => bound?,
    };
    let metrics = move || {
        let process = linux::own_process::read().unwrap_or_default();
        let status = sources.status.borrow().clone();
        let figures = sources.figures.borrow().clone();
        let text = text(&figures, &status, &sources.measures, &sources.logged, &process);
        async move { ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text) }
    };
    axum::serve(listener, Router::new().route("/metrics", get(metrics))).await
}

/// Prometheus's text format.
#[derive(Default)]
struct Text(String);

impl Text {
    fn heading(&mut self, name: &str, kind: &str, help: &str) {
        // Writing to a String cannot fail.
        let _written = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        let escaped = |text: &str| text.replace('\\', r"\\").replace('"', "\\\"");
        let labels: Vec<String> =
            labels.iter().map(|(name, text)| format!("{name}=\"{}\"", escaped(text))).collect();
        let labels = match labels.join(",") {
            none if none.is_empty() => none,
            some => format!("{{{some}}}"),
        };
        let _written = writeln!(self.0, "{name}{labels} {value}");
    }

    fn one(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.heading(name, kind, help);
        self.sample(name, &[], value);
    }
}

fn text(
    figures: &Figures,
    status: &NodeStatus,
    measures: &Measures,
    logged: &Counts,
    process: &OwnProcess,
) -> String {
    let mut text = Text::default();
    felix(&mut text, figures, status, measures);
    logged_packets(&mut text, logged);
    sessions(&mut text, status);
    own(&mut text, process);
    text.0
}

fn felix(text: &mut Text, figures: &Figures, status: &NodeStatus, measures: &Measures) {
    let name = "felix_active_local_endpoints";
    text.one(name, "gauge", "Workload interfaces on this node.", figures.local_endpoints);
    text.one("felix_cluster_num_hosts", "gauge", "Nodes of the cluster.", figures.hosts);
    text.heading("felix_host", "gauge", "This node's name, as a label.");
    text.sample("felix_host", &[("host", &status.node)], 1);
    let name = "felix_int_dataplane_apply_time_seconds";
    text.heading(name, "summary", "Time the kernel took to follow a plan.");
    let seconds = measures.micros.load(Ordering::Relaxed) as f64 / 1e6;
    text.sample(&format!("{name}_sum"), &[], seconds);
    text.sample(&format!("{name}_count"), &[], measures.rounds.load(Ordering::Relaxed));
    let failures = measures.failures.load(Ordering::Relaxed);
    let name = "felix_int_dataplane_failures";
    text.one(name, "counter", "Changes that the kernel refused; they are tried again.", failures);
    let help = "How far the datastore is read: 0 it does not answer, 1 not all yet, 2 in sync.";
    text.one("felix_resync_state", "gauge", help, figures.reading as u8);
}

fn logged_packets(text: &mut Text, logged: &Counts) {
    let name = "felix_nflog_logs_received";
    text.heading(name, "counter", "Packets that policies denied or logged, by NFLOG group.");
    for (group, count) in logged.received() {
        text.sample(name, &[("groupNum", &group.to_string())], count);
    }
    let help = "Packets that were logged faster than they were read.";
    text.one("felix_nflog_logs_lost", "counter", help, logged.lost());
    let help = "Times that logged packets filled the socket.";
    text.one("felix_nflog_overruns", "counter", help, logged.overruns());
}

fn sessions(text: &mut Text, status: &NodeStatus) {
    let Some(speaker) = &status.bgp else { return };
    let version = |peer: &PeerStatus| if peer.address.is_ipv4() { "IPv4" } else { "IPv6" };
    let mut peers: BTreeMap<(&str, SessionState), usize> = BTreeMap::new();
    let mut prefixes = BTreeMap::from([("IPv4", 0), ("IPv6", 0)]);
    for peer in &speaker.peers {
        *peers.entry((version(peer), peer.state)).or_default() += 1;
        *prefixes.entry(version(peer)).or_default() += u64::from(peer.prefixes);
    }
    let node = ("instance", status.node.as_str());
    text.heading("bgp_peers", "gauge", "BGP peers, by the state of their sessions.");
    for ((version, state), count) in peers {
        let state = format!("{state:?}");
        text.sample("bgp_peers", &[node, ("ip_version", version), ("status", &state)], count);
    }
    let name = "bgp_routes_imported";
    text.heading(name, "gauge", "Routes that this node's BGP peers have told it and it keeps.");
    for (version, count) in prefixes {
        text.sample(name, &[node, ("ip_version", version)], count);
    }
}

fn own(text: &mut Text, process: &OwnProcess) {
    let cpu = "process_cpu_seconds_total";
    text.one(cpu, "counter", "Processor time used.", process.cpu_seconds);
    text.one("process_max_fds", "gauge", "Files that may be open.", process.open_files_max);
    text.one("process_open_fds", "gauge", "Open files.", process.open_files);
    let resident = "process_resident_memory_bytes";
    text.one(resident, "gauge", "Memory in use.", process.resident_bytes);
    let start = "process_start_time_seconds";
    text.one(start, "gauge", "When the process started, since the Unix epoch.", process.started);
    let space = "process_virtual_memory_bytes";
    text.one(space, "gauge", "Address space in use.", process.virtual_bytes);
}

#[cfg(test)]
mod tests;

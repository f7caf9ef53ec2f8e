//! Metrics for Prometheus, under Calico's names.

use crate::cluster::Cluster;
use crate::garbage::Findings;
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::routing::get;
use ipnet::IpNet;
use std::collections::BTreeMap;
use std::fmt::{Display, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// How long after a failure listening is tried again.
const LISTEN_PAUSE: Duration = Duration::from_secs(10);
/// The pool of blocks that are in none.
const NO_POOL: &str = "no_ippool";
/// The node of what names none.
const NO_NODE: &str = "unknown_node";

/// What metrics are made of: pools' sizes, and counts by pool and node.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pools: BTreeMap<String, f64>,
    counts: BTreeMap<(String, String), Counts>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Counts {
    in_use: u64,
    borrowed: u64,
    blocks: u64,
    candidates: u64,
    reclaimed: u64,
}

/// Addresses freed so far, by pool and node.
pub(crate) type Reclaimed = BTreeMap<(String, String), u64>;

/// A metric's name, help, and figure.
type Gauge = (&'static str, &'static str, fn(&Counts) -> u64);

const GAUGES: [Gauge; 4] = [
    ("ipam_allocations_in_use", "Addresses in use.", |counts| counts.in_use),
    ("ipam_allocations_borrowed", "Addresses in use of other nodes' blocks.", |c| c.borrowed),
    ("ipam_blocks", "Blocks.", |counts| counts.blocks),
    ("ipam_allocations_gc_candidates", "Addresses that seem lost.", |counts| counts.candidates),
];

/// The same by node alone, which Calico keeps for older dashboards.
const OF_NODES: [Gauge; 3] = [
    ("ipam_allocations_per_node", "Addresses in use, by node.", |counts| counts.in_use),
    ("ipam_allocations_borrowed_per_node", "Borrowed addresses, by node.", |c| c.borrowed),
    ("ipam_blocks_per_node", "Blocks, by node.", |counts| counts.blocks),
];

/// The pool and node that figures of a block are counted under.
pub(crate) fn labels(cluster: &Cluster, block: &IpNet, node: Option<&str>) -> (String, String) {
    let pool = cluster.pools.iter().find(|(_, cidr)| cidr.contains(block));
    let pool = pool.map_or(NO_POOL, |(name, _)| name);
    (pool.to_owned(), node.filter(|node| !node.is_empty()).unwrap_or(NO_NODE).to_owned())
}

impl Figures {
    pub(crate) fn of(cluster: &Cluster, findings: &Findings, reclaimed: &Reclaimed) -> Figures {
        let mut figures = Figures::default();
        let size = |cidr: &IpNet| 2f64.powi((cidr.max_prefix_len() - cidr.prefix_len()).into());
        figures.pools =
            cluster.pools.iter().map(|(name, cidr)| (name.clone(), size(cidr))).collect();
        let mut at = |block: &IpNet, node: Option<&str>, count: &dyn Fn(&mut Counts)| {
            count(figures.counts.entry(labels(cluster, block, node)).or_default());
        };
        for (cidr, block) in &cluster.blocks {
            at(cidr, block.host.as_deref(), &|counts| counts.blocks += 1);
            for held in &block.held {
                let node = held.node.as_deref();
                let borrowed = node.is_some() && node != block.host.as_deref();
                at(cidr, node, &|counts| {
                    counts.in_use += 1;
                    counts.borrowed += u64::from(borrowed);
                });
            }
        }
        for ((cidr, node), count) in &findings.candidates {
            at(cidr, Some(node), &|counts| counts.candidates = *count as u64);
        }
        for (labels, count) in reclaimed {
            figures.counts.entry(labels.clone()).or_default().reclaimed = *count;
        }
        figures
    }

    fn text(&self) -> String {
        let mut text = Text::default();
        for (name, help, figure) in GAUGES {
            text.heading(name, "gauge", help);
            for ((pool, node), counts) in &self.counts {
                text.sample(name, &[("ippool", pool), ("node", node)], figure(counts));
            }
        }
        let name = "ipam_allocations_gc_reclamations";
        text.heading(name, "counter", "Addresses freed, as they were lost.");
        for ((pool, node), counts) in &self.counts {
            text.sample(name, &[("ippool", pool), ("node", node)], counts.reclaimed);
        }
        text.heading("ipam_ippool_size", "gauge", "Addresses of an IPPool.");
        for (pool, size) in &self.pools {
            text.sample("ipam_ippool_size", &[("ippool", pool)], size);
        }
        for (name, help, figure) in OF_NODES {
            text.heading(name, "gauge", help);
            let mut nodes: BTreeMap<&str, u64> = BTreeMap::new();
            for ((_, node), counts) in &self.counts {
                *nodes.entry(node).or_default() += figure(counts);
            }
            for (node, count) in nodes {
                text.sample(name, &[("node", node)], count);
            }
        }
        let process = linux::own_process::read().unwrap_or_default();
        let cpu = "process_cpu_seconds_total";
        text.heading(cpu, "counter", "Processor time used.");
        text.sample(cpu, &[], process.cpu_seconds);
        let resident = "process_resident_memory_bytes";
        text.heading(resident, "gauge", "Memory in use.");
        text.sample(resident, &[], process.resident_bytes);
        text.0
    }
}

/// Serves `/metrics` on all addresses, for ever; port 0: does nothing.
pub(crate) async fn serve(port: u16, figures: watch::Receiver<Figures>) {
    if port == 0 {
        return;
    }
    loop {
        if let Err(why) = listen(port, figures.clone()).await {
            tracing::warn!(
                "no metrics on port {port}: {why}; set prometheusMetricsPort of \
                 KubeControllersConfiguration(default) to one that is free, or to 0"
            );
        }
        tokio::time::sleep(LISTEN_PAUSE).await;
    }
}

async fn listen(port: u16, figures: watch::Receiver<Figures>) -> std::io::Result<()> {
    let six = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
    let listener = match TcpListener::bind(six).await {
        Ok(listener) => listener,
        // A kernel without IPv6; where the port is taken, it is so for IPv4.
        Err(_) => TcpListener::bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port))).await?,
    };
    let metrics = move || {
        let text = figures.borrow().text();
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
        // Names of resources have no characters to escape.
        let labels: Vec<String> =
            labels.iter().map(|(name, text)| format!("{name}=\"{text}\"")).collect();
        let labels = match labels.join(",") {
            none if none.is_empty() => none,
            some => format!("{{{some}}}"),
        };
        let _written = writeln!(self.0, "{name}{labels} {value}");
    }
}

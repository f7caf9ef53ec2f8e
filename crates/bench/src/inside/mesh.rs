//! One node of a BGP mesh: when it listened, when it had every route, how it stands afterwards.

use super::agent::{Agent, SETTLE};
use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use jiff::Timestamp;
use kernel::{PROTOCOL_BIRD, Route, RouteKey, RouteTarget, TABLE_MAIN};
use linux::monitor::{Monitor, Notice};
use linux::rtnetlink::Rtnetlink;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::process::Command;
use std::time::{Duration, Instant};

/// What the agent logs once it listens.
const LISTENS: &str = "BGP listens on TCP port 179";
/// The agent's log.
const LOG: &str = "/var/log/calico/calico-node.log";
/// What [`follow`] says once nothing can escape it.
pub(crate) const WATCHING: &str = "watching";
/// How long routes may take to come.
const LIMIT: Duration = Duration::from_secs(90);

/// How a node stands.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// When its agent began to listen last.
    pub(crate) listening: Timestamp,
    /// BGP sessions that are Established.
    pub(crate) established: usize,
    /// The agent's resident memory, in MiB.
    pub(crate) resident: f64,
}

/// Prints [`WATCHING`], then the time at which the node routes `count` destinations by BGP.
///
/// # Errors
/// Some are routed already, they don't come in time, or the kernel refuses.
pub(crate) fn follow(count: usize) -> Result<()> {
    let mut monitor = Monitor::open()?;
    let mut netlink = Rtnetlink::open()?;
    let mut routed = all(&mut netlink)?;
    ensure!(routed.is_empty(), "routed by BGP before it starts: {routed:?}");
    print(WATCHING)?;
    let deadline = Instant::now() + LIMIT;
    while routed.len() < count {
        let left = deadline.saturating_duration_since(Instant::now());
        let notices = monitor.wait(Some(left))?;
        if notices.is_empty() {
            bail!("{} of {count} routes by BGP after {LIMIT:?}", routed.len());
        }
        for notice in notices {
            match notice {
                Notice::Route { key, route, present } if is_learned(&key, &route) => {
                    if present {
                        routed.insert(key.destination);
                    } else {
                        routed.remove(&key.destination);
                    }
                }
                Notice::Overrun => routed = all(&mut netlink)?,
                _ => {}
            }
        }
    }
    print(&Timestamp::now().to_string())
}

fn print(line: &str) -> Result<()> {
    let mut output = std::io::stdout();
    writeln!(output, "{line}").and_then(|()| output.flush()).context("printing")
}

fn all(netlink: &mut Rtnetlink) -> Result<BTreeSet<IpNet>> {
    let routes = netlink.routes()?.into_iter();
    Ok(routes
        .filter(|(key, route)| is_learned(key, route))
        .map(|(key, _)| key.destination)
        .collect())
}

/// From a peer; the own block's blackhole isn't.
fn is_learned(key: &RouteKey, route: &Route) -> bool {
    let leads_on = matches!(route.target, RouteTarget::Via { .. });
    key.table == TABLE_MAIN && route.protocol == PROTOCOL_BIRD && leads_on
}

/// How this node stands, once left alone for a while.
///
/// # Errors
/// No agent runs, or it doesn't tell.
pub(crate) fn member() -> Result<Member> {
    std::thread::sleep(SETTLE);
    let log = std::fs::read_to_string(LOG).with_context(|| format!("reading {LOG}"))?;
    let listening = listening(&log).with_context(|| format!("{LOG} lacks {LISTENS:?}"))?;
    let asked = Command::new("calicoctl").args(["node", "status", "-o", "json"]).output();
    let answer = asked.context("starting calicoctl")?.stdout;
    let status = serde_json::from_slice(&answer).context("calicoctl's answer isn't JSON")?;
    let resident = Agent::find()?.memory()?.resident;
    Ok(Member { listening, established: established(&status), resident })
}

fn listening(log: &str) -> Option<Timestamp> {
    let line = log.lines().rfind(|line| line.contains(LISTENS))?;
    line.split_whitespace().next()?.parse().ok()
}

fn established(status: &Value) -> usize {
    let peers = status["bgp"]["peers"].as_array().into_iter().flatten();
    peers.filter(|peer| peer["state"] == "Established").count()
}

#[cfg(test)]
mod tests {
    use super::{established, is_learned, listening};
    use kernel::{PROTOCOL_BIRD, PROTOCOL_CALICO, Route, RouteKey, RouteTarget};
    use kernel::{SCOPE_UNIVERSE, TABLE_MAIN};
    use serde_json::json;

    #[test]
    fn a_route_of_a_peers_leads_on_and_is_birds() {
        let via = || RouteTarget::Via { device: "tunl0".into(), gateway: None, onlink: true };
        for (table, protocol, target, learned) in [
            (TABLE_MAIN, PROTOCOL_BIRD, via(), true),
            (TABLE_MAIN, PROTOCOL_BIRD, RouteTarget::Blackhole, false),
            (TABLE_MAIN, PROTOCOL_CALICO, via(), false),
            (TABLE_MAIN + 1, PROTOCOL_BIRD, via(), false),
        ] {
            let destination = "192.168.1.0/26".parse().unwrap();
            let key = RouteKey { table, destination, metric: 0 };
            let route = Route { target, protocol, scope: SCOPE_UNIVERSE, source: None };
            assert_eq!(is_learned(&key, &route), learned, "{key:?} {route:?}");
        }
    }

    #[test]
    fn the_last_start_counts() {
        let log = "2026-11-24T01:50:16.5Z  INFO BGP listens on TCP port 179\n\
                   2026-11-24T01:51:16.25Z  INFO BGP listens on TCP port 179\n\
                   2026-11-24T01:52:00Z  INFO ready\n";
        assert_eq!(listening(log).unwrap().to_string(), "2026-11-24T01:51:16.25Z");
        assert_eq!(listening("2026-11-24T01:52:00Z  INFO ready\n"), None);
    }

    #[test]
    fn only_established_sessions_count() {
        let peers = [json!({"state": "Established"}), json!({"state": "Active"})];
        assert_eq!(established(&json!({"bgp": {"peers": peers}})), 1);
        assert_eq!(established(&json!({"bgp": null})), 0);
    }
}

//! `calicoctl node`.

use crate::cli::{Node, Status};
use crate::output::Format;
use crate::terminal::Terminal;
use crate::{Error, agent, grid, yaml};
use bgp::configuration::PORT_DEFAULT;
use bgp::configuration::PeerKind;
use bgp::status::{PeerStatus, SessionState, SpeakerStatus};
use jiff::Timestamp;
use node::status::NodeStatus;
use std::net::SocketAddr;
use std::path::Path;

/// Seconds since which a session is shown by the day instead of by the time, as BIRD does.
const BY_DAY_SECONDS: u64 = 20 * 3600;

pub(super) fn run(command: &Node, terminal: &mut Terminal<'_>) -> Result<(), Error> {
    match command {
        Node::Status(Status { output }) => {
            let status = agent::status(Path::new(node::api::SOCKET))?;
            let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
            terminal.print(&render(&status, output, now)?)
        }
    }
}

fn render(status: &NodeStatus, format: &Format, now: u64) -> Result<String, Error> {
    let value = || {
        serde_json::to_value(status)
            .map_err(|why| Error::Other(format!("the status cannot be written: {why}")))
    };
    match format {
        Format::Table { .. } => Ok(describe(status, now)),
        Format::Json => Ok(format!("{:#}\n", value()?)),
        Format::Yaml => Ok(yaml::print(&value()?)),
        Format::Name | Format::CustomColumns(_) => {
            Err(Error::Invalid("node status is printed as ps, json or yaml".to_owned()))
        }
    }
}

/// Calico's text and tables, then what the node says of itself. `now`: Unix seconds.
fn describe(status: &NodeStatus, now: u64) -> String {
    let mut text = "Calico process is running.\n\n".to_owned();
    text += &match &status.bgp {
        Some(speaker) => format!("{}\n{}\n", family(speaker, 4, now), family(speaker, 6, now)),
        None if status.backend == "bird" => {
            "The BGP backend process (BIRD) is not running: this node has not been told its peers \
             yet.\n"
                .to_owned()
        }
        None => format!(
            "The BGP backend process (BIRD) is not running: CALICO_NETWORKING_BACKEND={}.\n",
            status.backend
        ),
    };
    if status.bgp.as_ref().is_some_and(|speaker| speaker.restarting) {
        text += "Graceful restart in progress: not all peers have told all their routes yet.\n";
    }
    let problems = [("Not ready", &status.not_ready), ("Warning", &status.warnings)];
    for (heading, lines) in problems {
        for line in lines {
            text += &format!("{heading}: {line}\n");
        }
    }
    text + &deaf(status)
}

/// Why nobody can connect, unless the node's own lines say so.
fn deaf(status: &NodeStatus) -> String {
    let why = status.bgp.as_ref().and_then(|speaker| speaker.not_listening.as_deref());
    let said =
        |why: &str| status.not_ready.iter().chain(&status.warnings).any(|line| line.contains(why));
    match why {
        Some(why) if !said(why) => format!("Warning: peers cannot connect: {why}\n"),
        _ => String::new(),
    }
}

/// One family's heading and table.
fn family(speaker: &SpeakerStatus, version: u8, now: u64) -> String {
    let of_family = |peer: &&PeerStatus| peer.address.is_ipv4() == (version == 4);
    let peers: Vec<&PeerStatus> = speaker.peers.iter().filter(of_family).collect();
    let heading = format!("IPv{version} BGP status\n");
    if peers.is_empty() {
        return format!("{heading}No IPv{version} peers found.\n");
    }
    let rows: Vec<Vec<String>> = peers.iter().map(|peer| row(peer, now)).collect();
    let headings = ["PEER ADDRESS", "PEER TYPE", "STATE", "SINCE", "INFO"];
    heading + &grid::boxed(&headings, &rows)
}

fn row(peer: &PeerStatus, now: u64) -> Vec<String> {
    let address = match peer.port {
        PORT_DEFAULT => peer.address.to_string(),
        port => SocketAddr::new(peer.address, port).to_string(),
    };
    let kind = match peer.kind {
        PeerKind::NodeMesh => "node-to-node mesh",
        PeerKind::NodePeer => "node specific",
        PeerKind::GlobalPeer => "global",
    };
    // BIRD's protocol is up with its session; before, it is starting.
    let up = peer.state == SessionState::Established;
    let state = if up { "up" } else { "start" };
    let info = match &peer.reason {
        Some(reason) if !up => format!("{:?} {reason}", peer.state),
        _ => format!("{:?}", peer.state),
    };
    vec![address, kind.to_owned(), state.to_owned(), since(peer.since, now), info]
}

/// The time of day; of what was long ago, the day. In UTC, as in Calico's containers.
fn since(since: u64, now: u64) -> String {
    let format = if now.saturating_sub(since) < BY_DAY_SECONDS { "%H:%M:%S" } else { "%Y-%m-%d" };
    let time = i64::try_from(since).ok().and_then(|s| Timestamp::from_second(s).ok());
    time.map(|time| time.strftime(format).to_string()).unwrap_or_default()
}

#[cfg(test)]
mod tests;

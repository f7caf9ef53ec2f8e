//! The speaker that is fed: ours, alone, or BIRD, each with the same peers.

use super::{COLLECTOR, COLLECTOR_AS, LIMIT, SPEAKER, SPEAKER_AS};
use crate::machine::kibibytes;
use anyhow::{Context, Result, bail};
use bgp::configuration::{Configuration, ExportRanges, Listen, PORT_DEFAULT, Peer, PeerKind};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where the speaker's configuration is written: the machine's own file system.
const FILE: &str = "/tmp/bgp-feed.conf";
/// How often to look whether the speaker listens.
const STEP: Duration = Duration::from_millis(10);

/// Whose speaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Speaker {
    /// Ours, without the rest of the agent.
    Calico,
    /// BIRD 2.
    Bird,
}

/// A running speaker; ended when dropped.
pub(super) struct Running(Child);

impl Running {
    /// Resident memory now, and the most there ever was, in MiB.
    pub(super) fn memory(&self) -> Option<(f64, f64)> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id())).ok()?;
        let mebibytes = |name| Some(kibibytes(&status, name)? as f64 / 1024.0);
        Some((mebibytes("VmRSS")?, mebibytes("VmHWM")?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a speaker with these iBGP peers and the collector; it listens when this returns.
pub(super) fn start(speaker: Speaker, feeders: &[Ipv4Addr]) -> Result<Running> {
    let mut command = match speaker {
        Speaker::Bird => {
            std::fs::write(FILE, bird(feeders)).context(FILE)?;
            let mut command = Command::new("bird");
            command.args(["-f", "-c", FILE, "-s", "/run/bgp-feed.ctl"]);
            command
        }
        Speaker::Calico => {
            let text = serde_json::to_string(&ours(feeders)).context("our configuration")?;
            std::fs::write(FILE, text).context(FILE)?;
            let mut command = Command::new("calico");
            command.args(["bench", "inside", "speaker", FILE]);
            command
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let child = command.spawn().with_context(|| format!("starting {command:?}"))?;
    let mut running = Running(child);
    let started = Instant::now();
    while TcpStream::connect((SPEAKER, PORT_DEFAULT)).is_err() {
        if let Some(status) = running.0.try_wait().context("the speaker")? {
            bail!("{command:?}: {status}");
        }
        if started.elapsed() > LIMIT {
            bail!("{command:?} does not listen");
        }
        std::thread::sleep(STEP);
    }
    Ok(running)
}

/// Runs our speaker with the configuration in a file, for ever.
///
/// # Errors
/// The file holds none.
pub(crate) fn run_ours(file: &Path) -> Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let configuration = serde_json::from_str(&text).context("not a speaker's configuration")?;
    agent::bgp::run_alone(configuration, |_| true)
}

fn ours(feeders: &[Ipv4Addr]) -> Configuration {
    let peer = |address: Ipv4Addr, remote_as| Peer {
        source: Some(SPEAKER.into()),
        passive: true,
        ..Peer::new(PeerKind::NodeMesh, address.into(), remote_as, SPEAKER_AS)
    };
    let mut peers: BTreeMap<String, Peer> =
        feeders.iter().map(|address| (address.to_string(), peer(*address, SPEAKER_AS))).collect();
    peers.insert("collector".to_owned(), peer(COLLECTOR, COLLECTOR_AS));
    Configuration {
        router_id: SPEAKER,
        local_as: SPEAKER_AS,
        listen: Listen { address: Some(SPEAKER.into()), port: PORT_DEFAULT },
        peers,
        originated: [].into(),
        export: ExportRanges {
            allowed: [ipnet::Ipv4Net::default().into()].into(),
            ..ExportRanges::default()
        },
        communities: vec![],
    }
}

fn bird(feeders: &[Ipv4Addr]) -> String {
    let mut text = format!(
        "router id {SPEAKER};
protocol device {{}}
protocol static {{ ipv4; route 10.98.0.0/16 via \"lo\"; }}
template bgp feeder {{
  local {SPEAKER} as {SPEAKER_AS};
  multihop;
  passive on;
  ipv4 {{ import all; export none; }};
}}
protocol bgp collector {{
  local {SPEAKER} as {SPEAKER_AS};
  neighbor {COLLECTOR} as {COLLECTOR_AS};
  multihop;
  passive on;
  ipv4 {{ import none; export where source = RTS_BGP; }};
}}
"
    );
    for address in feeders {
        let name = address.to_string().replace('.', "_");
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "protocol bgp feeder_{name} from feeder {{ neighbor {address} as {SPEAKER_AS}; }}"
        );
    }
    text
}

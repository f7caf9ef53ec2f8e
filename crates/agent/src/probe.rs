//! Probes: `calico-node -felix-live -felix-ready -bird-live -bird-ready`, as manifests call them.

use crate::health::BgpHealth;
use bgp::status::{PeerStatus, SessionState, SpeakerStatus};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// How long a probe waits for its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);
/// How long after the agent's start all peers are waited for (`--threshold-time`'s default).
pub(crate) const THRESHOLD_DEFAULT: Duration = Duration::from_secs(30);

/// What a probe asks. The numbers are the versions of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    FelixLive,
    FelixReady,
    BirdLive(u8),
    BirdReady(u8),
}

/// Whom probes ask, and what they know themselves.
pub(crate) struct Asking {
    /// The agent's health server, `host:port`.
    pub(crate) health: String,
    /// CALICO_NETWORKING_BACKEND.
    pub(crate) backend: &'static str,
    /// Written when the agent starts.
    pub(crate) nodename_file: PathBuf,
    /// As [`THRESHOLD_DEFAULT`].
    pub(crate) threshold: Duration,
}

/// Asks each probe of the agent; prints the first failure as Calico does.
pub(crate) fn run(probes: &[Probe], asking: &Asking) -> ExitCode {
    for probe in probes {
        if let Err(why) = asking.ask(*probe) {
            eprintln!("calico/node is not ready: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

impl Asking {
    fn ask(&self, probe: Probe) -> Result<(), String> {
        let health = &self.health;
        match probe {
            Probe::FelixLive => match answered(get(health, "liveness")) {
                Ok(_) => Ok(()),
                Err(why) => Err(format!("Felix is not live: {why}")),
            },
            Probe::FelixReady => match answered(get(health, "readiness")) {
                Ok(_) => Ok(()),
                Err(why) => Err(format!("felix is not ready: {why}")),
            },
            Probe::BirdLive(version) => {
                let bird = Probe::bird(version).to_lowercase();
                self.bird_live(version).map_err(|why| format!("{bird}/confd is not live: {why}"))
            }
            Probe::BirdReady(version) => {
                let bird = Probe::bird(version);
                self.bird_ready(version).map_err(|why| format!("{bird} is not ready: {why}"))
            }
        }
    }

    fn bird_live(&self, version: u8) -> Result<(), String> {
        self.runs_bgp(&Probe::flag("live", version))?;
        if self.bgp_health()?.live { Ok(()) } else { Err("the BGP thread is stuck".to_owned()) }
    }

    fn bird_ready(&self, version: u8) -> Result<(), String> {
        self.runs_bgp(&Probe::flag("ready", version))?;
        let speaker = self.bgp_health()?.speaker.ok_or_else(|| {
            "this node has not been told its BGP peers yet; `calicoctl node status` says why"
                .to_owned()
        })?;
        let of_version = |peer: &&PeerStatus| peer.address.is_ipv4() == (version == 4);
        let peers: Vec<&PeerStatus> = speaker.peers.iter().filter(of_version).collect();
        println!("{}", counted(jiff::Timestamp::now(), std::process::id(), established(&peers)));
        ready(&speaker, &peers, self.is_starting()?)
    }

    fn runs_bgp(&self, flag: &str) -> Result<(), String> {
        if self.backend == "bird" {
            return Ok(());
        }
        Err(format!(
            "this node runs no BGP (CALICO_NETWORKING_BACKEND={}): remove {flag} from the probe",
            self.backend
        ))
    }

    fn bgp_health(&self) -> Result<BgpHealth, String> {
        let body = answered(get(&self.health, "bgp"))?;
        serde_json::from_str(&body).map_err(|why| {
            format!("calico-node's answer is not understood ({why}): is it of the same version?")
        })
    }

    /// Whether the agent started less than the threshold ago.
    fn is_starting(&self) -> Result<bool, String> {
        let changed = self.nodename_file.metadata().and_then(|file| file.modified());
        let changed = changed.map_err(|why| {
            format!(
                "failed to stat() nodename file {}: {why}: is calico-node running?",
                self.nodename_file.display()
            )
        })?;
        // A clock that was set back makes it start in the future: then it has just started.
        Ok(changed.elapsed().is_ok_and(|age| age < self.threshold) || changed.elapsed().is_err())
    }
}

impl Probe {
    fn bird(version: u8) -> &'static str {
        if version == 4 { "BIRD" } else { "BIRD6" }
    }

    fn flag(what: &str, version: u8) -> String {
        format!("-{}-{what}", Probe::bird(version).to_lowercase())
    }
}

fn established(peers: &[&PeerStatus]) -> usize {
    peers.iter().filter(|peer| peer.state == SessionState::Established).count()
}

/// Calico's condition (`calico-features.md` §8): while starting every peer, and no graceful restart
/// under way; later one peer is enough, so that one broken node doesn't take the others down.
fn ready(speaker: &SpeakerStatus, peers: &[&PeerStatus], starting: bool) -> Result<(), String> {
    let not_established = peers.iter().filter(|peer| peer.state != SessionState::Established);
    let missing: Vec<String> = not_established.map(|peer| peer.address.to_string()).collect();
    let enough = if starting { missing.is_empty() } else { established(peers) > 0 };
    if !enough && !peers.is_empty() {
        return Err(format!("BGP not established with {}", missing.join(",")));
    }
    if starting && speaker.restarting && !peers.is_empty() {
        return Err("graceful restart in progress".to_owned());
    }
    Ok(())
}

/// The line that Calico logs before its verdict.
fn counted(now: jiff::Timestamp, process: u32, established: usize) -> String {
    let time = now.strftime("%Y-%m-%d %H:%M:%S%.3f");
    format!(
        "{time} [INFO][{process}] agent/probe.rs {}: \
         Number of node(s) with BGP peering established = {established}",
        line!()
    )
}

/// The body of an answer of 200; the reason of any other.
fn answered(answer: Result<Answer, String>) -> Result<String, String> {
    let answer = answer?;
    if answer.code == "200" {
        return Ok(answer.body);
    }
    Err(format!("{} probe reporting {}: {}", answer.path, answer.code, answer.body.trim()))
}

struct Answer {
    path: &'static str,
    code: String,
    body: String,
}

/// `GET /path` with nothing but the standard library: a probe must start in a millisecond.
fn get(health: &str, path: &'static str) -> Result<Answer, String> {
    let refused = |why: &dyn std::fmt::Display| {
        format!("http://{health}/{path} does not answer ({why}): is calico-node running?")
    };
    let mut addresses = resolve(health).map_err(|why| refused(&why))?.into_iter();
    let address = addresses.next().ok_or_else(|| refused(&"no address"))?;
    let mut stream =
        TcpStream::connect_timeout(&address, ANSWER_TIME_MAX).map_err(|why| refused(&why))?;
    let bounded = stream.set_read_timeout(Some(ANSWER_TIME_MAX));
    bounded.map_err(|why| refused(&why))?;
    let request = format!("GET /{path} HTTP/1.0\r\nHost: {health}\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(|why| refused(&why))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).map_err(|why| match why.kind() {
        // What the kernel calls a read that took too long.
        ErrorKind::WouldBlock => refused(&format!("nothing within {ANSWER_TIME_MAX:?}")),
        _ => refused(&why),
    })?;
    let code = answer.split_whitespace().nth(1).unwrap_or("nothing").to_owned();
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned();
    Ok(Answer { path, code, body })
}

/// `localhost` needs no resolver, and a static glibc has none.
fn resolve(health: &str) -> std::io::Result<Vec<std::net::SocketAddr>> {
    let numeric = match health.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => health.to_owned(),
    };
    Ok(numeric.to_socket_addrs()?.collect())
}

#[cfg(test)]
mod tests;

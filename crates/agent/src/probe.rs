//! Probes: `calico-node -felix-live -felix-ready -bird-live -bird-ready`, as manifests call them.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

/// How long a probe waits for its answer.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(5);

/// What a probe asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probe {
    FelixLive,
    FelixReady,
    BirdLive,
    BirdReady,
}

/// Asks each probe of the agent at `host:port`; prints the first failure as Calico does.
pub(crate) fn run(probes: &[Probe], health: &str, backend: &str) -> ExitCode {
    for probe in probes {
        if let Err(why) = ask(*probe, health, backend) {
            eprintln!("calico/node is not ready: {why}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn ask(probe: Probe, health: &str, backend: &str) -> Result<(), String> {
    match probe {
        Probe::FelixLive => {
            get(health, "liveness").map_err(|why| format!("Felix is not live: {why}"))
        }
        Probe::FelixReady => {
            get(health, "readiness").map_err(|why| format!("felix is not ready: {why}"))
        }
        Probe::BirdLive => Err(without_bgp("bird/confd is not live", "-bird-live", backend)),
        Probe::BirdReady => Err(without_bgp("BIRD is not ready", "-bird-ready", backend)),
    }
}

fn without_bgp(what: &str, flag: &str, backend: &str) -> String {
    format!(
        "{what}: this node runs no BGP (CALICO_NETWORKING_BACKEND={backend}): \
         remove {flag} from the probe"
    )
}

/// `GET /path` with nothing but the standard library: a probe must start in a millisecond.
fn get(health: &str, path: &str) -> Result<(), String> {
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
    let code = answer.split_whitespace().nth(1).unwrap_or("nothing");
    if code == "200" {
        return Ok(());
    }
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim();
    Err(format!("{} probe reporting {code}: {body}", path))
}

/// `localhost` needs no resolver, and a static glibc has none.
fn resolve(health: &str) -> std::io::Result<Vec<std::net::SocketAddr>> {
    let numeric = match health.strip_prefix("localhost:") {
        Some(port) => format!("127.0.0.1:{port}"),
        None => health.to_owned(),
    };
    Ok(numeric.to_socket_addrs()?.collect())
}

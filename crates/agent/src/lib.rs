//! calico-node: start-up, and the loop of sockets and timers around the core.
//!
//! ```text
//!  environment ─▶ settings ─▶ startup (Node, pool, ClusterInformation) ─▶ run
//!  run: watcher, kernel thread, socket, worker ─▶ inbox ─▶ node::Node ─▶ effects
//! ```
//!
//! Owns: the process; address autodetection; the inbox; who carries out which effect; health and
//! probes.
//!
//! Must not know: what to program (that is `plan`) or how (`linux`).

mod autodetect;
pub mod bgp;
mod connections;
mod endpoint_status;
mod health;
mod kernel_thread;
mod log;
mod logged_packets;
mod machine;
mod metrics;
mod node_status;
mod probe;
mod remote;
mod run;
mod settings;
mod socket;
mod spool;
mod startup;
mod worker;

use anyhow::{Context, Result};
use model::config::Warning;
use probe::Probe;
use settings::Startup;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::Datastore;

/// How long start-up waits between attempts at a datastore that doesn't answer.
const DATASTORE_PAUSE: Duration = Duration::from_secs(1);

const USAGE: &str = "\
calico-node: the node agent, or with flags a probe of it

  (no flag), -felix        run the agent
  -felix-live              is the agent alive?        -bird-live    is BGP alive?
  -felix-ready             does the kernel follow?    -bird-ready   are BGP sessions up?
  -bird6-live, -bird6-ready                           the same for IPv6
  -threshold-time 30s      so long after the start -bird-ready wants all sessions, later one
  -v                       the version

Newer manifests' `health --felix-live --felix-ready` is understood as well.

Settings are environment variables: ETCD_ENDPOINTS, NODENAME, IP_AUTODETECTION_METHOD,
CALICO_NETWORKING_BACKEND, CALICO_IPV4POOL_CIDR …; docs/configuration.md lists all.
Probes ask http://FELIX_HEALTHHOST:FELIX_HEALTHPORT, so the agent needs FELIX_HEALTHENABLED=true.";

/// What the command line asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wanted {
    Run,
    Probe(Vec<Probe>, Duration),
    Version,
    Help,
}

/// Runs calico-node with the arguments after its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> =
        arguments.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
    match parse(&arguments) {
        Ok(Wanted::Run) => match start() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                eprintln!("calico-node: {error:#}");
                ExitCode::FAILURE
            }
        },
        Ok(Wanted::Probe(probes, threshold)) => {
            let resolved = settings::resolve(&settings::environment());
            let asking = probe::Asking {
                health: settings::health_address(&resolved),
                backend: resolved.get(&model::config::NETWORKING_BACKEND).as_str(),
                nodename_file: resolved.get(&model::config::NODENAME_FILE).into(),
                threshold,
            };
            probe::run(&probes, &asking)
        }
        Ok(Wanted::Version) => {
            println!("{}", model::VERSION);
            ExitCode::SUCCESS
        }
        Ok(Wanted::Help) => {
            println!("{USAGE}");
            ExitCode::SUCCESS
        }
        Err(unknown) => {
            eprintln!("calico-node: {unknown}\n\n{USAGE}");
            ExitCode::FAILURE
        }
    }
}

/// Older manifests write `-felix-live`, newer ones `health --felix-live`; both mean the same.
fn parse(arguments: &[String]) -> Result<Wanted, String> {
    let (mut probes, mut wanted) = (Vec::new(), Wanted::Run);
    let (mut threshold, mut asks) = (probe::THRESHOLD_DEFAULT, false);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let (flag, value) = match argument.split_once('=') {
            Some((flag, value)) => (flag, Some(value)),
            None => (argument.as_str(), None),
        };
        match flag.trim_start_matches('-') {
            "felix-live" => probes.push(Probe::FelixLive),
            "felix-ready" => probes.push(Probe::FelixReady),
            "bird-live" => probes.push(Probe::BirdLive(4)),
            "bird6-live" => probes.push(Probe::BirdLive(6)),
            "bird-ready" => probes.push(Probe::BirdReady(4)),
            "bird6-ready" => probes.push(Probe::BirdReady(6)),
            "threshold-time" => {
                let value = value.or_else(|| arguments.next().map(String::as_str));
                threshold = value.and_then(model::duration::parse).ok_or_else(|| {
                    format!("{argument} needs a duration: --threshold-time=30s, say")
                })?;
            }
            "v" | "version" => wanted = Wanted::Version,
            "h" | "help" => wanted = Wanted::Help,
            "health" => asks = true,
            "felix" | "run" => {}
            _ => return Err(format!("unknown argument {argument}")),
        }
    }
    if asks && probes.is_empty() && wanted == Wanted::Run {
        return Err("health needs to be told of what: --felix-ready, say".to_owned());
    }
    Ok(if probes.is_empty() { wanted } else { Wanted::Probe(probes, threshold) })
}

fn start() -> Result<()> {
    let environment = settings::environment();
    let settings = settings::read(&environment).map_err(anyhow::Error::msg)?;
    let file = settings.file_logging.then_some(Path::new(log::FILE));
    log::start(settings.log_severity.as_str(), file);
    tracing::info!("calico-node {} starts on node {}", model::VERSION, settings.node);
    let resolved = settings::resolve(&environment);
    let (unused, wrong): (Vec<_>, Vec<_>) =
        resolved.warnings().iter().partition(|w| matches!(w, Warning::NotActedOn { .. }));
    for warning in wrong {
        tracing::warn!("{warning}");
    }
    // Calico's own manifests set several, so they are no reason to worry anybody.
    for warning in unused {
        tracing::debug!("{warning}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(join(&settings, environment))
}

/// Joins the cluster, then runs until told to stop.
async fn join(settings: &Startup, environment: Vec<(String, String)>) -> Result<()> {
    let machine = machine::read(&settings.ip_autodetection_method).await?;
    let (datastore, node) = loop {
        match register(settings, &machine, &environment).await {
            Ok(joined) => break joined,
            Err(startup::StartupError::Datastore(
                store::Error::Unreachable { .. } | store::Error::Busy { .. },
            )) if settings.wait_for_datastore => {
                tokio::time::sleep(DATASTORE_PAUSE).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    let name = settings.node.as_bytes();
    linux::file::replace(&settings.nodename_file, name)
        .with_context(|| format!("{} cannot be written", settings.nodename_file.display()))?;
    match node.spec.ipv4() {
        Some(address) => tracing::info!("node {} has address {address}", settings.node),
        None => tracing::warn!("node {} has no IPv4 address: nothing is routed", settings.node),
    }
    run::run(datastore, settings, environment).await
}

async fn register(
    settings: &Startup,
    machine: &startup::Machine,
    environment: &[(String, String)],
) -> Result<(Arc<dyn Datastore>, model::Node), startup::StartupError> {
    let connection = store::settings::Settings::from_env(environment.iter().cloned())?;
    let datastore = store::connect(&connection).await.inspect_err(|error| {
        tracing::warn!("{error}");
    })?;
    let node = startup::run(&*datastore, settings, machine).await?;
    Ok((datastore, node))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_of_probes_are_understood() {
        use Probe::{BirdLive, BirdReady, FelixLive, FelixReady};
        let probe = |probes: &[Probe]| Wanted::Probe(probes.to_vec(), probe::THRESHOLD_DEFAULT);
        let minute = Wanted::Probe(vec![BirdReady(6)], Duration::from_secs(60));
        for (line, wanted) in [
            ("", Wanted::Run),
            ("-felix", Wanted::Run),
            ("-felix-live -bird-live", probe(&[FelixLive, BirdLive(4)])),
            ("-bird-ready -felix-ready", probe(&[BirdReady(4), FelixReady])),
            ("-bird6-live", probe(&[BirdLive(6)])),
            ("health --felix-ready --threshold-time 30s", probe(&[FelixReady])),
            ("health --bird6-ready --threshold-time=1m", minute),
            ("-v", Wanted::Version),
            ("--help", Wanted::Help),
        ] {
            let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            assert_eq!(parse(&arguments), Ok(wanted), "{line}");
        }
        for (argument, said) in [
            ("-banana", "-banana"),
            ("health", "--felix-ready"),
            ("--threshold-time", "a duration"),
            ("--threshold-time=soon", "a duration"),
        ] {
            let message = parse(&[argument.to_owned()]).expect_err(argument);
            assert!(message.contains(said), "{message}");
        }
    }
}

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

mod arguments;
mod autodetect;
pub mod bgp;
mod cni_credentials;
mod connections;
mod endpoint_status;
mod health;
mod host_paths;
mod kernel_thread;
mod log;
mod logged_packets;
mod machine;
mod metrics;
mod node_status;
mod probe;
mod remote;
mod removal;
mod run;
mod settings;
mod socket;
mod spool;
mod startup;
mod worker;

use anyhow::{Context, Result};
use arguments::{USAGE, Wanted};
use model::config::Warning;
use settings::Startup;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::Datastore;

/// How long start-up waits between attempts at a datastore that doesn't answer.
const DATASTORE_PAUSE: Duration = Duration::from_secs(1);

/// Runs calico-node with the arguments after its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<String> =
        arguments.into_iter().map(|a| a.to_string_lossy().into_owned()).collect();
    match arguments::parse(&arguments) {
        Ok(Wanted::Run) => report(start(run_agent)),
        Ok(Wanted::Startup) => report(start(register_alone)),
        Ok(Wanted::HostPaths) => report(make_host_paths()),
        Ok(Wanted::Remove { stays }) => report(remove(stays)),
        Ok(Wanted::Nothing(why)) => {
            println!("calico-node: {why}");
            ExitCode::SUCCESS
        }
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

fn report(done: Result<()>) -> ExitCode {
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            eprintln!("calico-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn make_host_paths() -> Result<()> {
    let resolved = settings::resolve(&settings::environment());
    host_paths::make(Path::new("/"), resolved.get(&model::config::NODE_USER_ID))
}

fn remove(stays: bool) -> Result<()> {
    removal::run()?;
    if stays {
        loop {
            std::thread::park();
        }
    }
    Ok(())
}

/// Reads the settings, and does `work` with them.
fn start(work: impl AsyncFnOnce(&Startup, Vec<(String, String)>) -> Result<()>) -> Result<()> {
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
    runtime.block_on(work(&settings, environment))
}

/// Joins the cluster, then runs until told to stop.
async fn run_agent(settings: &Startup, environment: Vec<(String, String)>) -> Result<()> {
    // Without them pods run, but not a plugin that asks the API itself: no reason not to start.
    if let Err(why) = cni_credentials::start(&environment, &settings::resolve(&environment)) {
        tracing::warn!("{why:#}");
    }
    let datastore = join(settings, &environment).await?;
    run::run(datastore, settings, environment).await
}

/// `calico-node -startup`: joins the cluster, and that is all.
async fn register_alone(settings: &Startup, environment: Vec<(String, String)>) -> Result<()> {
    join(settings, &environment).await.map(|_| ())
}

/// Joins the cluster.
async fn join(settings: &Startup, environment: &[(String, String)]) -> Result<Arc<dyn Datastore>> {
    let machine = machine::read(&[&settings.ipv4, &settings.ipv6]).await?;
    let (datastore, node) = loop {
        match register(settings, &machine, environment).await {
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
        None => tracing::warn!(
            "node {} has no IPv4 address: nobody routes IPv4 to it; set IP",
            settings.node
        ),
    }
    if let Some(address) = node.spec.ipv6() {
        tracing::info!("node {} has address {address}", settings.node);
    }
    Ok(datastore)
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

//! calico-kube-controllers: what a cluster needs once, not on every node.
//!
//! ```text
//!  environment ─┐
//!  KubeControllersConfiguration ─▶ settings ─▶ election (a Lease) ─▶ run
//!
//!  run: watches ─▶ Cluster ─▶ garbage, host_endpoints, node_labels, mirror ─▶ jobs ─▶ worker
//!       (events)   (picture)  (pure: what is to do)                          (asks again, writes)
//! ```
//!
//! | controller | does | datastore |
//! |---|---|---|
//! | node | frees addresses that no pod has, and all that a deleted Node had | both |
//! | | makes and removes automatic host endpoints | both |
//! | | deletes Calico's node, and gives it the Node's labels | etcd |
//! | policy, namespace, serviceaccount, workloadendpoint | writes Kubernetes' objects as Calico's | etcd |
//!
//! Owns: the process, its settings and readiness; which addresses seem lost, and since when.
//!
//! Must not know: how addresses are released (`ipam`), what Kubernetes' objects are to Calico
//! (`model`, by way of `store`), the kernel.
//!
//! Source: `calico-features.md` §10.1 and §4 ("GC").

mod arguments;
mod cluster;
mod configuration;
mod election;
mod failures;
mod garbage;
mod host_endpoints;
mod log;
mod metrics;
mod mirror;
mod node_labels;
mod run;
mod settings;
mod status_file;
mod worker;

pub use run::followed;
pub use settings::VARIABLES;

use anyhow::{Context, Result};
use arguments::Wanted;
use election::{Election, Leadership};
use failures::Failures;
use settings::Environment;
use status_file::{CALICO_DATASTORE, KUBERNETES_API, STARTUP, StatusFile};
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use store::{Datastore, Settings};

/// How long start-up waits between attempts at a datastore that doesn't answer, or refuses: first, and
/// at last.
const DATASTORE_PAUSE: Duration = Duration::from_secs(1);
const DATASTORE_PAUSE_MAX: Duration = Duration::from_secs(30);

/// Runs kube-controllers with the arguments after its name.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    answer("kube-controllers", arguments::of_controllers(&words(arguments)))
}

/// Runs check-status, the probes of kube-controllers, with the arguments after its name.
pub fn run_check(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    answer("check-status", arguments::of_check(&words(arguments)))
}

fn words(arguments: impl IntoIterator<Item = OsString>) -> Vec<String> {
    arguments.into_iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn answer(program: &str, wanted: Result<Wanted, String>) -> ExitCode {
    match wanted {
        Ok(Wanted::Run { status_file }) => match start(&status_file) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                tracing::error!("{error:#}");
                eprintln!("{program}: {error:#}");
                ExitCode::FAILURE
            }
        },
        Ok(Wanted::Check { status_file, ready }) => status_file::check(&status_file, ready),
        Ok(Wanted::Say(text)) => {
            println!("{text}");
            ExitCode::SUCCESS
        }
        Err(wrong) => {
            eprintln!("{program}: {wrong}");
            ExitCode::FAILURE
        }
    }
}

fn start(status_file: &Path) -> Result<()> {
    let variables: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let environment = Environment::read(&variables).map_err(anyhow::Error::msg)?;
    let log = log::start(environment.log_level());
    tracing::info!("kube-controllers {} starts", model::VERSION);
    let status = StatusFile::new(status_file);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        tokio::select! {
            stopped = stop_signal() => stopped,
            ended = serve(environment, &variables, log, status) => ended,
        }
    })?;
    Ok(())
}

/// The connections: Calico's datastore, and Kubernetes' objects; the same where that is the
/// datastore.
#[derive(Clone)]
pub(crate) struct Datastores {
    pub(crate) calico: Arc<dyn Datastore>,
    pub(crate) kubernetes: Arc<dyn Datastore>,
    pub(crate) same: bool,
    /// The settings of Calico's datastore, where that is an etcd.
    pub(crate) etcd: Option<Settings>,
}

impl Datastores {
    async fn connect(variables: &[(String, String)]) -> Result<(Datastores, Election)> {
        let vars = || variables.iter().cloned();
        let settings = Settings::from_env(vars())?;
        let calico = store::connect(&settings).await?;
        let of_kubernetes = match &settings.kubernetes {
            Some(settings) => settings.clone(),
            None => Settings::kubernetes_from_env(vars())?,
        };
        let kubernetes = match &settings.kubernetes {
            Some(_) => calico.clone(),
            None => store::kubernetes::own_objects(&of_kubernetes).await.context(
                "kube-controllers follows Kubernetes' objects, whatever Calico's datastore is",
            )?,
        };
        let election = Election::new(&of_kubernetes).await?;
        let same = settings.kubernetes.is_some();
        let etcd = (!same).then_some(settings);
        Ok((Datastores { calico, kubernetes, same, etcd }, election))
    }
}

/// Runs the controllers, anew with each change of their settings, for as long as this process
/// leads.
async fn serve(
    mut environment: Environment,
    variables: &[(String, String)],
    log: log::Level,
    status: StatusFile,
) -> Result<()> {
    status.set(STARTUP, Err("the datastore is not connected yet"));
    let (datastores, election) = Datastores::connect(variables).await?;
    environment.kubernetes = datastores.same;
    loop {
        let mut leadership = election.win(&status).await;
        status.set(STARTUP, Ok(()));
        let mut failures = Failures::new(DATASTORE_PAUSE, DATASTORE_PAUSE_MAX);
        while leadership.holds() {
            let settings = match configuration::read(&*datastores.calico, &environment).await {
                Ok(settings) => settings,
                Err(why) => {
                    let why = why.to_string();
                    status.set(CALICO_DATASTORE, Err(&why));
                    if failures.is_news(&why) {
                        tracing::warn!("{why}; it is tried again");
                    }
                    tokio::time::sleep(failures.pause().unwrap_or(DATASTORE_PAUSE)).await;
                    continue;
                }
            };
            failures.pause();
            log.set(&settings.log_level);
            for (condition, used) in [(CALICO_DATASTORE, true), (KUBERNETES_API, !datastores.same)]
            {
                match settings.health && used {
                    true => status.set(condition, Err("it is being read")),
                    false => status.forget(condition),
                }
            }
            run::run(&datastores, &environment, settings, &mut leadership, &status).await;
        }
        tracing::warn!("this instance leads no more, and asks for the lease again");
    }
}

/// Resolves on SIGTERM or SIGINT.
async fn stop_signal() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("kube-controllers is told to stop");
    Leadership::resign().await;
    Ok(())
}

//! install-cni: Calico's plugins, their credentials and the network configuration, from the image
//! onto the host (`calico-features.md` §5.5).
//!
//! ```text
//!  /opt/cni/bin/*               ──▶ /host/opt/cni/bin           binaries
//!  /calico-secrets/etcd-*       ──▶ …/net.d/calico-tls          secrets
//!  a token of the plugin's      ──▶ …/net.d/calico-kubeconfig   crate::credentials
//!  CNI_NETWORK_CONFIG           ──▶ …/net.d/10-calico.conflist  configuration
//! ```
//! The configuration comes last: as soon as it is there the runtime starts pods. Each file is
//! replaced whole, so that plugins that run, and those that start meanwhile, find one or the other.

mod binaries;
mod configuration;
mod secrets;
mod settings;

use crate::credentials::{Credentials, CredentialsError, HOST_CONFIGURATIONS, KUBECONFIG};
use settings::Settings;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// How long the API server may take for the plugin's token: at the node's start, its address may
/// not work before other pods do.
const TOKEN_TIME_MAX: Duration = Duration::from_secs(10);
/// How often a sleeping install-cni looks whether etcd's certificates have been replaced.
const SECRETS_INTERVAL: Duration = Duration::from_secs(10);

/// Why the plugins are not installed.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// A variable that cannot be used.
    #[error("{name} is {value:?}: it takes {takes}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// Its value.
        value: String,
        /// What would do.
        takes: &'static str,
    },
    /// A file could not be read or written.
    #[error("{action} {}: {source}; {next_step}", path.display())]
    File {
        /// What was tried: `reading`.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
        /// What to do.
        next_step: &'static str,
    },
    /// There is no directory to install into.
    #[error(
        "the plugins can be written to none of {directories}: mount the host's /opt/cni/bin at \
         /host/opt/cni/bin, writable"
    )]
    NoDirectory {
        /// Those tried, and why not.
        directories: String,
    },
    /// The network configuration is none.
    #[error(
        "{origin}, its variables filled in, is no JSON object: {reason}; correct it, usually in the \
         ConfigMap calico-config"
    )]
    Configuration {
        /// The variable or file it comes from.
        origin: String,
        /// What is wrong, and where.
        reason: String,
    },
    /// The plugin gets no credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Installs, and stays until told to stop unless SLEEP is false.
pub fn run_install() -> ExitCode {
    let environment = crate::process::environment();
    let root = Path::new("/");
    let mut say = |line: String| println!("{line}");
    let done = install(&environment, root, &mut say)
        .and_then(|()| Settings::read(&environment, root))
        .map(|settings| {
            if settings.sleep {
                stay(&settings, root, &mut say)
            }
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("install-cni: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Installs below `root`, `/` in a container; `say` hears what was done.
///
/// # Errors
/// What could not be done; what had been done until then is of use, and stays.
pub fn install(
    environment: &BTreeMap<String, String>,
    root: &Path,
    say: &mut dyn FnMut(String),
) -> Result<(), InstallError> {
    let settings = Settings::read(environment, root)?;
    let credentials = Credentials::of_pod(environment, root)?;
    let configurations = root.join(HOST_CONFIGURATIONS);
    binaries::install(&settings, root, say)?;
    let secrets = secrets::copy(&settings.secrets, &configurations, say)?;
    let token = credentials.as_ref().map(Credentials::mounted_token).transpose()?;
    if let Some(credentials) = &credentials {
        let path = configurations.join(KUBECONFIG);
        credentials.write(&path, &plugin_token(credentials, say)?)?;
        say(format!("wrote {}", shown(&path, root)));
    }
    configuration::write(&settings, environment, &secrets, token.as_deref(), root, say)
}

/// A token of the plugin's account; the pod's own where that cannot be had: calico-node will ask
/// again.
fn plugin_token(
    credentials: &Credentials,
    say: &mut dyn FnMut(String),
) -> Result<String, InstallError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let why = match runtime {
        Ok(runtime) => {
            let bounded =
                async { tokio::time::timeout(TOKEN_TIME_MAX, credentials.request_token()).await };
            match runtime.block_on(bounded) {
                Ok(Ok(token)) => return Ok(token.text),
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("no answer within {TOKEN_TIME_MAX:?}"),
            }
        }
        Err(error) => error.to_string(),
    };
    say(format!(
        "no token of the service account {} ({why}): the CNI plugin gets this pod's own until \
         calico-node has one",
        credentials.plugin_account()
    ));
    Ok(credentials.mounted_token()?)
}

/// Keeps etcd's certificates on the host up to date, until SIGTERM or SIGINT.
fn stay(settings: &Settings, root: &Path, say: &mut dyn FnMut(String)) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        say("cannot wait for signals: the container ends, and is started again".to_owned());
        return;
    };
    runtime.block_on(async {
        // The first process of a container ends by no signal that it has no handler for.
        let (Ok(mut terminate), Ok(mut interrupt)) =
            (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
        else {
            return;
        };
        loop {
            tokio::select! {
                _ = terminate.recv() => return,
                _ = interrupt.recv() => return,
                () = tokio::time::sleep(SECRETS_INTERVAL) => {}
            }
            let copied = secrets::copy(&settings.secrets, &root.join(HOST_CONFIGURATIONS), say);
            if let Err(error) = copied {
                say(format!("{error}; trying again in {SECRETS_INTERVAL:?}"));
            }
        }
    });
}

/// A path as the container has it, whatever directory stands in for its root.
fn shown(path: &Path, root: &Path) -> String {
    match path.strip_prefix(root) {
        Ok(within) => format!("/{}", within.display()),
        Err(_) => path.display().to_string(),
    }
}

//! What each command does.

mod change;
mod get;
mod ipam;
mod node;
mod version;

use crate::cli::{Cli, Command};
use crate::resources::Write;
use crate::{Error, output};
use clap::CommandFactory;
use model::Kind;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use store::{Datastore, settings::Settings};

/// The configuration file that need not exist.
const CONFIG_DEFAULT: &str = "/etc/calico/calicoctl.cfg";

/// Carries a command out.
pub(crate) async fn run(cli: Cli) -> Result<ExitCode, Error> {
    let config = cli.config.as_path();
    match cli.command {
        Command::Get(get) => get::run(&*connect(config).await?, &get).await?,
        Command::Create(create) => {
            let skip = create.skip_exists;
            change::write(&*connect(config).await?, &create.apply, Write::Create, skip).await?;
        }
        Command::Apply(apply) => {
            change::write(&*connect(config).await?, &apply, Write::Apply, false).await?;
        }
        Command::Replace(apply) => {
            change::write(&*connect(config).await?, &apply, Write::Replace, false).await?;
        }
        Command::Patch(patch) => change::patch(&*connect(config).await?, &patch).await?,
        Command::Delete(delete) => change::delete(&*connect(config).await?, &delete).await?,
        Command::Label(label) => change::label(&*connect(config).await?, &label).await?,
        Command::Ipam(command) => ipam::run(&*connect(config).await?, &command).await?,
        Command::Node(command) => return node::run(&command),
        Command::Version(version) => {
            output::write_out(&version::client())?;
            if !version.client {
                output::write_out(&version::cluster(&*connect(config).await?).await?)?;
            }
        }
        Command::Completion { shell } => {
            let (mut command, mut text) = (Cli::command(), Vec::new());
            clap_complete::generate(shell, &mut command, "calicoctl", &mut text);
            output::write_out(&String::from_utf8_lossy(&text))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Connects as the file and the environment say; the environment wins.
async fn connect(config: &Path) -> Result<Arc<dyn Datastore>, Error> {
    let default_missing = config == Path::new(CONFIG_DEFAULT) && !config.exists();
    let file = (!default_missing).then_some(config);
    let settings = Settings::load(file, std::env::vars())?;
    Ok(store::connect(&settings).await?)
}

/// The kind that a user typed.
fn kind(text: &str) -> Result<Kind, Error> {
    Kind::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        Error::Invalid(format!(
            "resource type '{text}' is not supported; known are {}",
            known.join(", ")
        ))
    })
}

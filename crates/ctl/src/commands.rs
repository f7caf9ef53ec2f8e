//! What each command does.

mod change;
mod datastore;
mod explain;
mod get;
mod ipam;
mod node;
mod policy;
#[cfg(test)]
mod tests;
mod version;

use crate::Error;
use crate::cli::{self, Cli, Command, Policy};
use crate::resources::Write;
use crate::terminal::Terminal;
use clap::CommandFactory;
use model::Kind;
use store::{Datastore, Settings};

/// Carries a command out. `variables` are the environment's.
pub(crate) async fn run(
    cli: Cli,
    variables: Vec<(String, String)>,
    terminal: &mut Terminal<'_>,
) -> Result<(), Error> {
    match &cli.command {
        Command::Completion { shell } => {
            let (mut command, mut text) = (Cli::command(), Vec::new());
            clap_complete::generate(*shell, &mut command, "calicoctl", &mut text);
            return terminal.print(&String::from_utf8_lossy(&text));
        }
        Command::Node(command) => return node::run(command, terminal),
        Command::Validate(files) => return change::validate(terminal, files).await,
        Command::Version(version) if version.client => return terminal.print(&version::client()),
        Command::Version(_) => terminal.print(&version::client())?,
        _ => {}
    }
    let settings = Settings::load(cli.config.as_deref(), variables)?;
    let datastore = store::connect(&settings).await?;
    on_datastore(&cli.command, &*datastore, terminal).await
}

async fn on_datastore(
    command: &Command,
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
) -> Result<(), Error> {
    match command {
        Command::Get(get) => get::run(datastore, terminal, get).await,
        Command::Create(create) => {
            let skip = create.skip_exists;
            change::write(datastore, terminal, &create.apply, Write::Create, skip).await
        }
        Command::Apply(apply) => {
            change::write(datastore, terminal, apply, Write::Apply, false).await
        }
        Command::Replace(apply) => {
            change::write(datastore, terminal, apply, Write::Replace, false).await
        }
        Command::Patch(patch) => change::patch(datastore, terminal, patch).await,
        Command::Delete(delete) => change::delete(datastore, terminal, delete).await,
        Command::Label(label) => change::label(datastore, terminal, label).await,
        Command::Explain(explain) => explain::run(datastore, terminal, explain).await,
        Command::Policy(Policy::Diff(diff)) => policy::diff(datastore, terminal, diff).await,
        Command::Datastore(cli::Datastore::Migrate(migrate)) => {
            terminal.print(datastore::migrate(datastore, *migrate).await?)
        }
        Command::Ipam(command) => ipam::run(datastore, terminal, command).await,
        Command::Version(_) => terminal.print(&version::cluster(datastore).await?),
        // Carried out before, without a datastore.
        Command::Node(_) | Command::Validate(_) | Command::Completion { .. } => Ok(()),
    }
}

/// The kind that a user typed.
fn kind(text: &str) -> Result<Kind, Error> {
    Kind::parse(text).ok_or_else(|| {
        let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        let known = known.join(", ");
        Error::Invalid(format!("resource type '{text}' is not supported; known are {known}"))
    })
}

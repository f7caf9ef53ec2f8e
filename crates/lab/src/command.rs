//! The command line of `calico lab`.

mod conditions;
mod pods;
mod up;

pub use conditions::{AgentCommand, FaultCommand, FaultSetting};
pub use pods::{LabelChange, NamespaceCommand, PodArguments, PodCommand};
pub use up::UpArguments;

use crate::calico_image;
use crate::client::{self, ask, exec};
use crate::faults::{Fault, Setting};
use crate::protocol::{LabRequest, NewNode};
use crate::status::LabStatus;
use anyhow::{Context, Result};
use clap::{Args, Subcommand, ValueEnum};
use std::ffi::OsString;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

/// A cluster in network namespaces of this machine. Needs root; touches nothing outside of itself.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a lab; returns when all its nodes are ready and all routes are in.
    Up(UpArguments),
    /// End a lab and remove all of it, also one that has been killed.
    Down {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
    },
    /// Show the nodes and pods of a lab; exit status 1 unless all are ready.
    Status {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// How to print it.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// List the labs of this machine.
    List,
    /// Run a command on a node, in a pod, on `router` or `outside`; exits with its exit status.
    Exec {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Node, pod, `router` or `outside`.
        place: String,
        /// The command and its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Open a shell on a node, in a pod, on `router` or `outside`.
    Shell {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Where; the first node if absent.
        place: Option<String>,
    },
    /// Run kubectl as the administrator of a lab that is a Kubernetes cluster, with your own files.
    Kubectl {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// kubectl's arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Write this program's images (node, cni, pod2daemon-flexvol) as `docker save` would.
    Image {
        /// The archive.
        archive: PathBuf,
        /// The directory that `scripts/plugins` has built the reference CNI plugins into.
        #[arg(long, value_name = "DIRECTORY", default_value = "target/plugins")]
        plugins: PathBuf,
        /// What the images' names begin with.
        #[arg(long, default_value = calico_image::REGISTRY)]
        registry: String,
    },
    /// Add and remove pods.
    #[command(subcommand)]
    Pod(PodCommand),
    /// Add, label and remove namespaces of pods.
    #[command(subcommand)]
    Namespace(NamespaceCommand),
    /// Add, remove and restart nodes.
    #[command(subcommand)]
    Node(NodeCommand),
    /// Make things go wrong between the nodes, as a cloud does.
    #[command(subcommand)]
    Fault(FaultCommand),
    /// Stop and start calico-node on a node.
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Capture packets with tcpdump; writes a capture file if standard output isn't a terminal.
    Capture {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Node, pod, `router` or `outside`.
        place: String,
        /// Its interface; `any` for all.
        interface: String,
        /// Further arguments of tcpdump: options and a filter.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
}

/// Which lab.
#[derive(Clone, Debug, Args)]
pub struct Lab {
    /// The lab's name.
    #[arg(long, env = "CALICO_LAB", default_value = "lab")]
    pub name: String,
}

/// `calico lab node`.
#[derive(Debug, Subcommand)]
pub enum NodeCommand {
    /// Add a node.
    Add {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        node: String,
        /// The subnet it is in; that of the address, or the first, if absent.
        #[arg(long)]
        subnet: Option<String>,
        /// Its address; a free one if absent.
        #[arg(long)]
        address: Option<IpAddr>,
        /// Its uplink's name.
        #[arg(long, default_value = "ens5")]
        interface: String,
    },
    /// Power a node off for good, its pods with it, and delete its Node resource.
    Rm {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        node: String,
        /// Leave the Node resource and its blocks, as a node that is only unreachable would.
        #[arg(long)]
        keep_resource: bool,
    },
    /// Power a node off and on; its files stay, its pods are started anew.
    #[command(visible_alias = "reboot")]
    Restart {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        node: String,
    },
    /// Cut a node off from all others, as `fault set partition=NODE` does.
    Cut {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        node: String,
    },
    /// End that.
    Mend {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        node: String,
    },
}

/// How to print a status.
#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Output {
    /// Tables for people.
    #[default]
    Table,
    /// JSON.
    Json,
    /// YAML.
    Yaml,
}

/// Carries out a command.
///
/// # Errors
/// What went wrong, with the next step; to be printed as it is, `{:#}`.
pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Up(arguments) => client::up(&arguments.lab.name, &arguments.topology()?)?,
        Command::Down { lab } => client::down(&lab.name)?,
        Command::Status { lab, output } => return status(&lab, output),
        Command::List => print!("{}", client::list()?),
        Command::Exec { lab, place, command } => return exec::exec(&lab.name, &place, &command),
        Command::Shell { lab, place } => {
            let place = place.map_or_else(|| first_node(&lab), Ok)?;
            return exec::exec(&lab.name, &place, &exec::shell_command());
        }
        Command::Capture { lab, place, interface, arguments } => {
            return exec::capture(&lab.name, &place, &interface, &arguments);
        }
        Command::Kubectl { lab, arguments } => return exec::kubectl(&lab.name, &arguments),
        Command::Image { archive, plugins, registry } => {
            let program = std::env::current_exe().context("finding this program")?;
            calico_image::write(&archive, &program, &plugins, &registry)?;
        }
        Command::Pod(command) => pods::pod(command)?,
        Command::Namespace(command) => pods::namespace(command)?,
        Command::Node(command) => node(command)?,
        Command::Fault(command) => conditions::fault(command)?,
        Command::Agent(command) => conditions::agent(command)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn status(lab: &Lab, output: Output) -> Result<ExitCode> {
    let status: LabStatus = ask(&lab.name, &LabRequest::Status)?;
    match output {
        Output::Table => print!("{}", status.to_text()),
        Output::Json => {
            println!("{}", serde_json::to_string_pretty(&status).context("encoding the status")?);
        }
        Output::Yaml => {
            print!("{}", serde_saphyr::to_string(&status).context("encoding the status")?);
        }
    }
    Ok(if client::is_ready(&status) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn first_node(lab: &Lab) -> Result<String> {
    let status: LabStatus = ask(&lab.name, &LabRequest::Status)?;
    status.nodes.first().map(|node| node.name.clone()).context("the lab has no node")
}

fn node(command: NodeCommand) -> Result<()> {
    match command {
        NodeCommand::Add { lab, node, subnet, address, interface } => {
            let new = NewNode { name: node.clone(), subnet, address, interface };
            ask::<()>(&lab.name, &LabRequest::NodeAdd { node: new })?;
            println!("node {node} is ready");
        }
        NodeCommand::Rm { lab, node, keep_resource } => {
            let request = LabRequest::NodeRemove { name: node.clone(), keep_resource };
            ask::<()>(&lab.name, &request)?;
            println!("node {node} is gone");
        }
        NodeCommand::Restart { lab, node } => {
            ask::<()>(&lab.name, &LabRequest::NodeRestart { name: node.clone() })?;
            println!("node {node} is ready again");
        }
        NodeCommand::Cut { lab, node } => {
            let settings = vec![Setting::On(Fault::Partition(node.clone()))];
            ask::<()>(&lab.name, &LabRequest::FaultSet { settings })?;
            println!("node {node} is cut off");
        }
        NodeCommand::Mend { lab, node } => {
            let names = vec![Fault::Partition(node.clone()).to_string()];
            ask::<()>(&lab.name, &LabRequest::FaultClear { names })?;
            println!("node {node} is connected again");
        }
    }
    Ok(())
}

//! `calico lab fault` and `calico lab agent`: what a user makes go wrong.

use super::Lab;
use crate::client::ask;
use crate::faults::Setting;
use crate::protocol::{FaultStatus, LabRequest};
use crate::status::table;
use anyhow::Result;
use clap::Subcommand;

/// `calico lab fault`.
#[derive(Debug, Subcommand)]
pub enum FaultCommand {
    /// Bring faults about, in addition to those there are.
    #[command(after_help = FAULTS)]
    Set {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Faults, as NAME=VALUE.
        #[arg(required = true, value_delimiter = ',', value_name = "NAME=VALUE")]
        faults: Vec<FaultSetting>,
    },
    /// Show the faults, with the frames that each has dropped.
    List {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
    },
    /// End faults.
    Clear {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Names, such as `block` or `block=bgp`; all faults if absent.
        #[arg(value_delimiter = ',', value_name = "NAME[=VALUE]")]
        faults: Vec<String>,
    },
}

const FAULTS: &str = "\
Faults act at each node's port of the network between the machines:
  src-dst-check=on|off      drop what is not from or to the node's own address
  block=ipip|vxlan|bgp      drop such packets, as a security group does; bgp also resets sessions
  partition=NODE            drop everything from and to a node
  mtu=BYTES                 drop larger packets
  loss=SHARE%               drop so many of the frames to each node, by chance
`block` and `partition` may be given several times.

Example: calico lab fault set src-dst-check=on,block=bgp,partition=worker-1,mtu=1400,loss=5%";

/// One fault as written: `block=ipip`.
#[derive(Clone, Debug)]
pub struct FaultSetting(Setting);

impl std::str::FromStr for FaultSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<FaultSetting, String> {
        text.parse().map(FaultSetting)
    }
}

/// `calico lab agent`.
#[derive(Debug, Subcommand)]
pub enum AgentCommand {
    /// Stop calico-node on nodes and keep it stopped, also when a node restarts.
    Stop {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// The nodes.
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
    /// Start calico-node again, on all nodes at once; returns when it is ready on each.
    Start {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// The nodes.
        #[arg(required = true, value_name = "NODE")]
        nodes: Vec<String>,
    },
}

pub(super) fn fault(command: FaultCommand) -> Result<()> {
    match command {
        FaultCommand::Set { lab, faults } => {
            let settings = faults.into_iter().map(|FaultSetting(setting)| setting).collect();
            ask::<()>(&lab.name, &LabRequest::FaultSet { settings })
        }
        FaultCommand::Clear { lab, faults } => {
            ask::<()>(&lab.name, &LabRequest::FaultClear { names: faults })
        }
        FaultCommand::List { lab } => {
            let faults: Vec<FaultStatus> = ask(&lab.name, &LabRequest::FaultList)?;
            let rows = faults
                .into_iter()
                .map(|fault| vec![fault.name, fault.value, fault.dropped.to_string()]);
            print!("{}", table(&["FAULT", "VALUE", "DROPPED"], rows));
            Ok(())
        }
    }
}

pub(super) fn agent(command: AgentCommand) -> Result<()> {
    match command {
        AgentCommand::Stop { lab, nodes } => {
            ask::<()>(&lab.name, &LabRequest::AgentStop { names: nodes.clone() })?;
            println!("calico-node on {} is stopped", nodes.join(", "));
        }
        AgentCommand::Start { lab, nodes } => {
            ask::<()>(&lab.name, &LabRequest::AgentStart { names: nodes.clone() })?;
            println!("calico-node on {} is ready", nodes.join(", "));
        }
    }
    Ok(())
}

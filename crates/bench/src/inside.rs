//! What runs inside a node or pod: measures there and answers JSON on standard output.
//!
//! Hidden commands, started by the scenarios through `calico lab exec`.

pub(crate) mod agent;
pub(crate) mod cost;
pub(crate) mod datastore;
pub(crate) mod enforcement;
pub(crate) mod feed;
pub(crate) mod groups;
pub(crate) mod mesh;
pub(crate) mod nft;
pub(crate) mod packets;
pub(crate) mod plugin;
pub(crate) mod pods;
pub(crate) mod policy;
pub(crate) mod probe;
pub(crate) mod routes;

use anyhow::{Context, Result};
use clap::Subcommand;
use std::net::IpAddr;
use std::path::PathBuf;

/// Measures inside a node.
#[derive(Debug, Subcommand)]
pub enum Inside {
    /// Connect pods one after the other, then disconnect them; each call's cost.
    Cni {
        /// Whose plugin.
        #[arg(long)]
        plugin: plugin::Kind,
        /// How many pods.
        #[arg(long)]
        pods: u32,
    },
    /// The memory of a program that runs without arguments.
    Resident {
        /// Its name.
        program: String,
    },
    /// The agent's memory without and with pods.
    Memory {
        /// How many pods.
        #[arg(long)]
        pods: u32,
    },
    /// Feed a BGP speaker from many peers; its time and memory.
    Feed {
        /// Whose speaker.
        #[arg(long)]
        speaker: feed::Speaker,
        /// How many peers.
        #[arg(long)]
        peers: u32,
        /// How many prefixes of each.
        #[arg(long)]
        prefixes: u32,
    },
    /// Run our BGP speaker alone, for ever.
    Speaker {
        /// Its configuration, as JSON.
        file: PathBuf,
    },
    /// What nf_tables costs, in this process.
    Nft {
        /// Doing what.
        scenario: nft::Scenario,
    },
    /// What the policy graph costs, in this process.
    Policy {
        /// Of which cluster.
        scenario: policy::Scenario,
    },
    /// Create policies on a pod; how long each takes to be in force.
    PolicyLatency {
        /// How many that deny, and how many that allow.
        #[arg(long)]
        changes: u32,
        /// What else is in the datastore.
        #[command(flatten)]
        others: enforcement::Others,
    },
    /// Write policies; then, for each line of standard input, what packets cost.
    PolicyCost {
        /// How many policies.
        #[arg(long)]
        policies: u32,
    },
    /// Print when the node routes so many destinations by BGP.
    MeshRoutes {
        /// How many.
        count: usize,
    },
    /// How a node of a BGP mesh stands: when it listened, its sessions, its memory.
    MeshMember,
    /// Print the device that all addresses are routed by, whenever it changes.
    Routes {
        /// Addresses of pods on other nodes.
        #[arg(required = true)]
        addresses: Vec<IpAddr>,
    },
}

/// Carries out a command.
///
/// # Errors
/// What went wrong, for the scenario that asked.
pub(crate) fn run(command: Inside) -> Result<()> {
    let answer = match command {
        Inside::Cni { plugin, pods } => serde_json::to_string(&pods::measure(plugin, pods)?),
        Inside::Resident { program } => {
            serde_json::to_string(&agent::Agent::named(&program)?.memory()?)
        }
        Inside::Memory { pods } => serde_json::to_string(&agent::measure_memory(pods)?),
        Inside::Feed { speaker, peers, prefixes } => {
            serde_json::to_string(&feed::measure(speaker, peers, prefixes)?)
        }
        Inside::Nft { scenario } => serde_json::to_string(&nft::measure(scenario)?),
        Inside::Policy { scenario } => serde_json::to_string(&policy::measure(scenario)?),
        Inside::PolicyLatency { changes, others } => {
            serde_json::to_string(&enforcement::measure(changes, others)?)
        }
        Inside::PolicyCost { policies } => return packets::serve(policies),
        Inside::MeshMember => serde_json::to_string(&mesh::member()?),
        Inside::MeshRoutes { count } => return mesh::follow(count),
        Inside::Speaker { file } => return feed::run_ours(&file),
        Inside::Routes { addresses } => return routes::follow(&addresses),
    };
    println!("{}", answer.context("encoding the answer")?);
    Ok(())
}

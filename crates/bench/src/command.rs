//! The command line of `calico bench`.

use crate::figure::Figure;
use crate::inside::nft as tables;
use crate::inside::policy as policy_graph;
use crate::inside::{self, Inside};
use crate::machine::Machine;
use crate::report::Report;
use crate::scenario::bgp_feed::{self, FEEDS};
use crate::scenario::bgp_mesh::{self, Mesh};
use crate::scenario::cni::Datastore;
use crate::scenario::throughput::Plan;
use crate::scenario::{
    binary, cni, cost, kubernetes, lab_up, memory, mode_change, nft, policy, policy_cost,
    policy_latency, throughput,
};
use anyhow::{Result, bail};
use clap::{Args, Subcommand, ValueEnum};
use std::process::ExitCode;

/// Measure what Calico costs, in labs of this machine. Needs root, and an idle machine to say much.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Everything, one scenario after the other
    All {
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// `calico lab up` of four nodes
    LabUp {
        /// How often
        #[arg(long, default_value_t = LAB_UPS)]
        runs: u32,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// CNI ADD and DEL, beside the reference plugin
    Cni {
        /// Which datastore; both if absent
        #[arg(long)]
        datastore: Option<Datastore>,
        /// How many pods, one at a time
        #[arg(long, default_value_t = CNI_PODS)]
        pods: u32,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// A pool's change between VXLAN and Direct, until all nodes' routes have changed
    ModeChange {
        /// How many changes
        #[arg(long, default_value_t = MODE_CHANGES)]
        runs: u32,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// Resident memory of calico-node
    AgentMemory {
        /// How many pods on its node
        #[arg(long, default_value_t = MEMORY_PODS)]
        pods: u32,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// A Kubernetes cluster of two nodes, beside one with the reference plugins
    Kubernetes {
        /// How much of everything
        #[command(flatten)]
        plan: kubernetes::Plan,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// TCP between pods, beside a VXLAN and routes made by hand
    Throughput {
        /// How many runs of each, alternating
        #[arg(long, default_value_t = THROUGHPUT.runs)]
        runs: u32,
        /// Seconds of each run
        #[arg(long, default_value_t = THROUGHPUT.seconds)]
        seconds: u32,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// A BGP mesh of 50 nodes, until all sessions are Established and all routes in all kernels
    BgpMesh {
        /// How often all agents are started
        #[arg(long, default_value_t = MESH.runs)]
        runs: u32,
        /// How many nodes
        #[arg(long, default_value_t = MESH.nodes)]
        nodes: usize,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// A BGP speaker fed by many peers, beside BIRD 2
    BgpFeed {
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// nf_tables, without a lab; with -o json, what each scenario cost as plain numbers
    Nft {
        /// Which; each if absent
        scenario: Option<tables::Scenario>,
        /// How to report
        #[command(flatten)]
        options: Options,
    },
    /// The policy graph on large clusters, without a lab; with -o json, what it cost as plain
    /// numbers
    Policy {
        /// Which cluster; each if absent
        scenario: Option<policy_graph::Scenario>,
        /// How to report
        #[command(flatten)]
        options: Options,
    },
    /// A new policy, from the datastore's answer until it is in force on a pod
    PolicyLatency {
        /// How many policies that deny, and how many that allow
        #[arg(long, default_value_t = POLICY_CHANGES)]
        changes: u32,
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// Packets between pods with 10,000 policies in the cluster, beside 10 and none
    PolicyCost {
        /// How many runs of each, in turn
        #[arg(long, default_value_t = POLICY_COST_RUNS)]
        runs: u32,
        /// How to report, and in which labs to measure: three, whose names begin so
        #[command(flatten)]
        options: Options,
    },
    /// Size of this program
    Binary {
        /// How to report, and in which lab to measure
        #[command(flatten)]
        options: Options,
    },
    /// Measure inside a node; started by the others
    #[command(subcommand, hide = true)]
    Inside(Inside),
}

const LAB_UPS: u32 = 5;
const CNI_PODS: u32 = 200;
const MODE_CHANGES: u32 = 10;
const MEMORY_PODS: u32 = 100;
const THROUGHPUT: Plan = Plan { runs: 20, seconds: 2 };
const MESH: Mesh = Mesh { nodes: 50, runs: 3 };
const POLICY_CHANGES: u32 = 100;
const POLICY_COST_RUNS: u32 = 9;
const DATASTORES: [Datastore; 2] = [Datastore::Embedded, Datastore::Etcd];

/// Options of every scenario.
#[derive(Clone, Debug, Args)]
pub struct Options {
    /// How to print the report
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Format,
    /// Name of the lab to build; bench- and the process's number if absent
    #[arg(long)]
    pub lab: Option<String>,
}

/// How to print a report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for people
    #[default]
    Table,
    /// JSON
    Json,
    /// A page with explanations, as docs/benchmarks.md
    Markdown,
}

/// A scenario, ready to be run in a lab of the name it is given.
type Scenario = (String, Box<dyn Fn(&str) -> Result<Vec<Figure>>>);

/// Carries out a command. The exit status is 1 where a scenario failed, 0 whatever the figures say.
///
/// # Errors
/// Not root, or nothing could be measured; to be printed as it is, `{:#}`.
pub fn run(command: Command) -> Result<ExitCode> {
    let (options, scenarios) = match command {
        Command::Inside(command) => return inside::run(command).map(|()| ExitCode::SUCCESS),
        Command::All { options } => (options, all()),
        Command::LabUp { runs, options } => (options, vec![lab_up_scenario(runs)]),
        Command::Cni { datastore: Some(datastore), pods, options } => {
            (options, vec![cni_scenario(datastore, pods)])
        }
        Command::Cni { datastore: None, pods, options } => {
            (options, DATASTORES.map(|datastore| cni_scenario(datastore, pods)).into())
        }
        Command::ModeChange { runs, options } => (options, vec![mode_change_scenario(runs)]),
        Command::AgentMemory { pods, options } => (options, vec![memory_scenario(pods)]),
        Command::Kubernetes { plan, options } => (options, vec![kubernetes_scenario(plan)]),
        Command::Throughput { runs, seconds, options } => {
            (options, vec![throughput_scenario(Plan { runs, seconds })])
        }
        Command::BgpMesh { runs, nodes, options } => {
            (options, vec![mesh_scenario(Mesh { nodes, runs })])
        }
        Command::BgpFeed { options } => (options, vec![feed_scenario()]),
        Command::Nft { scenario, options } => {
            let all = scenario.map_or_else(all_tables, |scenario| vec![scenario]);
            if options.output == Format::Json {
                return print_costs("nft", all.into_iter().map(tables::Scenario::name));
            }
            (options, all.into_iter().map(nft_scenario).collect())
        }
        Command::Policy { scenario, options } => {
            let all = scenario.map_or_else(all_graphs, |scenario| vec![scenario]);
            if options.output == Format::Json {
                return print_costs("policy", all.into_iter().map(policy_graph::Scenario::name));
            }
            (options, all.into_iter().map(policy_scenario).collect())
        }
        Command::PolicyLatency { changes, options } => {
            (options, vec![policy_latency_scenario(changes)])
        }
        Command::PolicyCost { runs, options } => (options, vec![policy_cost_scenario(runs)]),
        Command::Binary { options } => (options, vec![binary_scenario()]),
    };
    measure(&options, &scenarios)
}

fn all() -> Vec<Scenario> {
    let mut scenarios = vec![binary_scenario(), lab_up_scenario(LAB_UPS)];
    scenarios.extend(DATASTORES.map(|datastore| cni_scenario(datastore, CNI_PODS)));
    scenarios.push(mode_change_scenario(MODE_CHANGES));
    scenarios.push(memory_scenario(MEMORY_PODS));
    scenarios.push(kubernetes_scenario(kubernetes::Plan::DEFAULT));
    scenarios.push(throughput_scenario(THROUGHPUT));
    scenarios.push(mesh_scenario(MESH));
    scenarios.push(feed_scenario());
    scenarios.push(policy_latency_scenario(POLICY_CHANGES));
    scenarios.push(policy_cost_scenario(POLICY_COST_RUNS));
    scenarios.extend(all_graphs().into_iter().map(policy_scenario));
    scenarios.extend(all_tables().into_iter().map(nft_scenario));
    scenarios
}

fn all_graphs() -> Vec<policy_graph::Scenario> {
    policy_graph::Scenario::value_variants().to_vec()
}

fn policy_scenario(scenario: policy_graph::Scenario) -> Scenario {
    (format!("policy, {}", scenario.name()), Box::new(move |_| policy::measure(scenario)))
}

fn all_tables() -> Vec<tables::Scenario> {
    tables::Scenario::value_variants().to_vec()
}

fn nft_scenario(scenario: tables::Scenario) -> Scenario {
    (format!("nft, {}", scenario.name()), Box::new(move |_| nft::measure(scenario)))
}

/// One line of JSON for each scenario of a kind.
fn print_costs(kind: &str, scenarios: impl Iterator<Item = String>) -> Result<ExitCode> {
    for scenario in scenarios {
        println!("{}", serde_json::to_string(&cost(kind, &scenario)?)?);
    }
    Ok(ExitCode::SUCCESS)
}

fn binary_scenario() -> Scenario {
    ("binary".into(), Box::new(|_| binary::measure()))
}

fn lab_up_scenario(runs: u32) -> Scenario {
    ("lab-up".into(), Box::new(move |lab| lab_up::measure(lab, runs)))
}

fn cni_scenario(datastore: Datastore, pods: u32) -> Scenario {
    let name = format!("cni, {datastore:?}").to_lowercase();
    (name, Box::new(move |lab| cni::measure(lab, datastore, pods)))
}

fn mode_change_scenario(runs: u32) -> Scenario {
    ("mode-change".into(), Box::new(move |lab| mode_change::measure(lab, runs)))
}

fn memory_scenario(pods: u32) -> Scenario {
    ("agent-memory".into(), Box::new(move |lab| memory::measure(lab, pods)))
}

fn kubernetes_scenario(plan: kubernetes::Plan) -> Scenario {
    ("kubernetes".into(), Box::new(move |lab| kubernetes::measure(lab, plan)))
}

fn policy_latency_scenario(changes: u32) -> Scenario {
    ("policy-latency".into(), Box::new(move |lab| policy_latency::measure(lab, changes)))
}

fn policy_cost_scenario(runs: u32) -> Scenario {
    ("policy-cost".into(), Box::new(move |lab| policy_cost::measure(lab, runs)))
}

fn mesh_scenario(mesh: Mesh) -> Scenario {
    ("bgp-mesh".into(), Box::new(move |lab| bgp_mesh::measure(lab, mesh)))
}

fn feed_scenario() -> Scenario {
    ("bgp-feed".into(), Box::new(|lab| bgp_feed::measure(lab, &FEEDS)))
}

fn throughput_scenario(plan: Plan) -> Scenario {
    ("throughput".into(), Box::new(move |lab| throughput::measure(lab, plan)))
}

fn measure(options: &Options, scenarios: &[Scenario]) -> Result<ExitCode> {
    if !nix::unistd::geteuid().is_root() {
        bail!("calico bench makes network namespaces: run it as root (sudo calico bench …)");
    }
    let lab = options.lab.clone().unwrap_or_else(|| format!("bench-{}", std::process::id()));
    let machine = Machine::describe()?;
    let mut report = Report { machine, figures: Vec::new(), failures: Vec::new() };
    for (name, scenario) in scenarios {
        eprintln!("measuring {name}");
        match scenario(&lab) {
            Ok(figures) => report.figures.extend(figures),
            Err(error) => report.failures.push(format!("{name}: {error:#}")),
        }
    }
    for failure in &report.failures {
        eprintln!("{failure}");
    }
    match options.output {
        Format::Table => print!("{}", report.to_table()),
        Format::Json => print!("{}", report.to_json()?),
        Format::Markdown => print!("{}", report.to_markdown()),
    }
    Ok(if report.failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

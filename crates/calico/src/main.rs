//! The one binary: what it is depends on the name it is called by, or on its first argument.
//!
//! | called as | is |
//! |---|---|
//! | `calicoctl`, or `calico ctl` | calicoctl |
//! | `calico-node`, or `calico node` and `calico component node` | the node agent, its probes |
//! | `calico-ipam` | the IPAM plugin |
//! | `install`, or `calico component cni install` | what brings the plugins onto a node |
//! | `uds`, or `calico component flexvol` | kubelet's volume driver; as `flexvol.sh`, what installs it |
//! | any, with `CNI_COMMAND` set and no arguments, or with `-v` or `-t` | the CNI plugin |
//! | `kube-controllers`, or `calico component kube-controllers` | calico-kube-controllers |
//! | `check-status` | its probes |
//! | `calico datastore` | the embedded datastore |
//! | `calico lab` | a cluster in namespaces |
//! | `calico bench` | benchmarks in labs |

use clap::Parser;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Calico, in Rust: addresses for pods and routes between nodes.
#[derive(Parser)]
#[command(name = "calico", version = model::VERSION, after_help = NAMES)]
enum Calico {
    /// Show and change resources, addresses and nodes (calicoctl)
    #[command(disable_help_flag = true)]
    Ctl(Rest),
    /// The node agent (calico-node)
    #[command(disable_help_flag = true)]
    Node(Rest),
    /// Calico's newer spelling: component node …, component cni install
    #[command(hide = true, disable_help_flag = true)]
    Component(Rest),
    /// The embedded datastore: etcd's v3 API on one file
    Datastore(datastore::Options),
    /// A cluster in network namespaces on this machine
    #[command(subcommand)]
    Lab(lab::Command),
    /// What it costs, measured in labs of this machine
    #[command(subcommand)]
    Bench(bench::Command),
}

#[derive(clap::Args)]
struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// The C library's, which `calico bench` has counted.
#[global_allocator]
static ALLOCATOR: linux::allocation::Counting = linux::allocation::Counting;

/// What the help ends with.
const NAMES: &str = "\
Called as calicoctl, calico-node or calico-ipam it is that program; with CNI_COMMAND set, the
CNI plugin.
To see it work on this machine alone: calico lab up";

fn main() -> ExitCode {
    linux::allocation::join_freed_at_once();
    let mut arguments = std::env::args_os();
    let called = arguments.next().unwrap_or_default();
    let name = Path::new(&called).file_name().and_then(|n| n.to_str()).unwrap_or("calico");
    let first = std::env::args_os().nth(1);
    match name {
        "calicoctl" => return ctl::run(arguments),
        // What the image of Calico's calico/node starts is called the second name.
        "calico-node" | "start_runit" => return agent::run(arguments),
        "calico-ipam" => return cni::run_ipam(),
        "install" | "install-cni.sh" => return cni::run_install(),
        "kube-controllers" => return controllers::run(arguments),
        "check-status" => return controllers::run_check(arguments),
        "uds" | "flexvol" => return cni::run_driver(arguments),
        "flexvol.sh" => return cni::run_driver_install(arguments),
        // With other arguments, somebody has CNI_COMMAND in a shell.
        _ if first.as_ref().is_some_and(|first| first == "-v" || first == "-t")
            || first.is_none() && std::env::var_os("CNI_COMMAND").is_some() =>
        {
            return cni::run_plugin();
        }
        _ => {}
    }
    if let Some(code) = lab::hidden(&std::env::args_os().collect::<Vec<_>>()) {
        return code;
    }
    match Calico::parse() {
        Calico::Ctl(rest) => ctl::run(rest.arguments),
        Calico::Node(rest) => agent::run(rest.arguments),
        Calico::Component(rest) => component(rest.arguments),
        Calico::Datastore(options) => report(datastore::run(options)),
        Calico::Lab(command) => exit(lab::run(command)),
        Calico::Bench(command) => exit(bench::run(command)),
    }
}

/// `calico component NAME …` is what has a name of its own before 3.33.
fn component(arguments: Vec<OsString>) -> ExitCode {
    let words: Vec<&str> = arguments.iter().filter_map(|word| word.to_str()).collect();
    match words[..] {
        ["node", ..] => agent::run(arguments.into_iter().skip(1)),
        ["cni", "install"] => cni::run_install(),
        ["kube-controllers", ..] => controllers::run(arguments.into_iter().skip(1)),
        ["flexvol", ..] => cni::run_driver(arguments.into_iter().skip(1)),
        _ => {
            eprintln!(
                "calico component {}: this build has node, cni install, kube-controllers and \
                 flexvol",
                words.join(" ")
            );
            ExitCode::FAILURE
        }
    }
}

fn report<E: std::fmt::Display>(result: Result<(), E>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn exit(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("{error:#}");
        ExitCode::FAILURE
    })
}

//! The arguments of calicoctl.

use crate::output::Format;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::net::IpAddr;
use std::path::PathBuf;

/// What the help of calicoctl ends with.
const EXAMPLES: &str = "\
Examples:
  calicoctl get ippool -o wide
  calicoctl get ippool default-ipv4-ippool -o yaml > pool.yaml
  calicoctl apply -f pool.yaml
  calicoctl patch ippool default-ipv4-ippool -p '{\"spec\":{\"vxlanMode\":\"Never\"}}'
  calicoctl get workloadendpoints -a
  calicoctl ipam show --show-blocks

Kinds may be written in any case, in the plural, or short: ippool, pools, wep, nodes, np, gnp, tier …
The datastore is where ETCD_ENDPOINTS says (or the file of --config), else http://127.0.0.1:2379.";

/// Shows and changes Calico's resources, addresses and nodes.
#[derive(Debug, Parser)]
#[command(name = "calicoctl", version = model::VERSION, disable_help_subcommand = true)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Where the datastore is, unless ETCD_ENDPOINTS and its like say so
    /// [default: /etc/calico/calicoctl.cfg if it is there]
    #[arg(short, long, global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Accepted for compatibility: client and cluster need not be of one version.
    #[arg(long, global = true, hide = true)]
    pub(crate) allow_version_mismatch: bool,
    /// Accepted for compatibility.
    #[arg(short, long, global = true, hide = true)]
    pub(crate) log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show resources
    Get(Get),
    /// Create resources; an error where one exists already
    Create(Create),
    /// Create resources, or change those that exist
    Apply(Apply),
    /// Change resources; an error where one does not exist
    Replace(Apply),
    /// Check resources by themselves; asks no datastore
    Validate(Apply),
    /// Change parts of one resource
    Patch(Patch),
    /// Remove resources
    Delete(Delete),
    /// Set or remove a label of one resource
    Label(Label),
    /// Show and free pods' addresses, change the IPAM settings
    #[command(subcommand)]
    Ipam(Ipam),
    /// What happens to a packet between pods, nodes and others, on every node, and why
    Explain(Explain),
    /// What policies of a file would change
    #[command(subcommand)]
    Policy(Policy),
    /// The node that this command runs on
    #[command(subcommand)]
    Node(Node),
    /// Keep pods from starting while addresses or data are moved
    #[command(subcommand)]
    Datastore(Datastore),
    /// Versions of this program and of the cluster
    Version(Version),
    /// Completions for a shell
    Completion {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Datastore {
    /// Keep pods from starting while addresses or data are moved
    #[command(subcommand)]
    Migrate(Migrate),
}

#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Migrate {
    /// No pod gets an address from now on
    Lock,
    /// Pods start again
    Unlock,
}

#[derive(Debug, Args)]
pub(crate) struct Namespace {
    /// Namespace of namespaced resources [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// All namespaces
    #[arg(short, long, visible_short_alias = 'A', conflicts_with = "namespace")]
    pub(crate) all_namespaces: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Kind of resource: ippool, node, wep …; with -f none
    #[arg(required_unless_present = "filename", conflicts_with = "filename")]
    pub(crate) kind: Option<String>,
    /// Names; all where none is given
    pub(crate) names: Vec<String>,
    /// A file or directory of documents, or - for standard input: show what they name
    #[arg(short, long)]
    pub(crate) filename: Option<String>,
    /// ps, wide, yaml, json, name or custom-columns=NAME,…
    #[arg(short, long, default_value = "ps")]
    pub(crate) output: Format,
    /// With a directory: those below too
    #[arg(short = 'R', long, requires = "filename")]
    pub(crate) recursive: bool,
    /// Leave out what only this cluster knows: uid, resourceVersion, creationTimestamp
    #[arg(long)]
    pub(crate) export: bool,
    #[command(flatten)]
    pub(crate) namespace: Namespace,
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Leave resources that exist as they are
    #[arg(long)]
    pub(crate) skip_exists: bool,
    #[command(flatten)]
    pub(crate) apply: Apply,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    /// A file or directory of YAML or JSON documents, or - for standard input
    #[arg(short, long)]
    pub(crate) filename: String,
    /// With a directory: those below too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Files without documents are no error
    #[arg(long)]
    pub(crate) skip_empty: bool,
    /// Namespace of namespaced resources that name none [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PatchType {
    Strategic,
    Merge,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Patch {
    /// Kind of resource
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
    /// The change, as JSON or YAML: '{"spec":{"ipipMode":"Never"}}'
    #[arg(short, long)]
    pub(crate) patch: String,
    /// strategic and merge are the same here; json is RFC 6902
    #[arg(short = 't', long = "type", default_value = "strategic")]
    pub(crate) patch_type: PatchType,
    /// Namespace of namespaced resources [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Kind of resource; with -f none
    #[arg(required_unless_present = "filename", conflicts_with = "filename")]
    pub(crate) kind: Option<String>,
    /// Names
    #[arg(required_unless_present = "filename")]
    pub(crate) names: Vec<String>,
    /// A file or directory of documents, or - for standard input
    #[arg(short, long)]
    pub(crate) filename: Option<String>,
    /// With a directory: those below too
    #[arg(short = 'R', long, requires = "filename")]
    pub(crate) recursive: bool,
    /// Resources that don't exist are no error
    #[arg(short, long)]
    pub(crate) skip_not_exists: bool,
    /// Namespace of namespaced resources [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Label {
    /// Kind of resource
    pub(crate) kind: String,
    /// Its name
    pub(crate) name: String,
    /// KEY=VALUE, or KEY with --remove
    pub(crate) label: String,
    /// Change a label that has another value
    #[arg(long)]
    pub(crate) overwrite: bool,
    /// Remove the label
    #[arg(long)]
    pub(crate) remove: bool,
    /// Namespace of namespaced resources [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Ipam {
    /// How many addresses are in use
    Show {
        /// One address: who holds it
        #[arg(long)]
        ip: Option<IpAddr>,
        /// Blocks as well as pools
        #[arg(long)]
        show_blocks: bool,
        /// Addresses that nodes hold in other nodes' blocks
        #[arg(long)]
        show_borrowed: bool,
        /// The IPAM settings
        #[arg(long)]
        show_configuration: bool,
    },
    /// Free one address
    Release {
        /// The address
        #[arg(long)]
        ip: IpAddr,
    },
    /// Change the IPAM settings
    #[command(arg_required_else_help = true)]
    Configure {
        /// Take addresses from a node's own blocks only, never borrow
        #[arg(long, value_name = "true|false")]
        strictaffinity: Option<bool>,
        /// Blocks a node may hold; 0 is the built-in bound of 20
        #[arg(long, value_name = "NUMBER")]
        max_blocks_per_host: Option<u32>,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  calicoctl explain --from pod-1 --to shop/web --port tcp/80
  calicoctl explain --from pod-1 --to 198.51.100.10 --port udp/53
  calicoctl explain --from 198.51.100.10 --to worker-1 --port tcp/22
  calicoctl explain --from pod-1 --to shop/db --port tcp/5432 --what-if -f policy.yaml
  calicoctl explain --from partners --to worker-1 --port tcp/22 --what-if -f set-and-policy.yaml

Every node on the way is asked what it does; run it as root on a node. With --what-if only the
datastore is read: a node is taken to have one interface, which a host endpoint may name.")]
pub(crate) struct Explain {
    /// Who sends: a pod as NAME or NAMESPACE/NAME, a node, a host endpoint, a network set, or an
    /// address
    #[arg(long)]
    pub(crate) from: String,
    /// Who is to receive: likewise
    #[arg(long)]
    pub(crate) to: String,
    /// tcp/80, udp/53, sctp/9 or icmp [default: icmp]
    #[arg(short, long)]
    pub(crate) port: Option<String>,
    /// Namespace of pods that name none [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// What policies would say after `calicoctl apply -f` of the file
    #[arg(long, requires = "filename")]
    pub(crate) what_if: bool,
    /// A file or directory of documents, or - for standard input
    #[arg(short, long, requires = "what_if")]
    pub(crate) filename: Option<String>,
    /// ps, json or yaml
    #[arg(short, long, default_value = "ps")]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Policy {
    /// What pods, nodes with host endpoints and others would reach, or no longer, after `calicoctl
    /// apply -f`
    Diff(PolicyDiff),
}

#[derive(Debug, Args)]
pub(crate) struct PolicyDiff {
    /// A file or directory of documents, or - for standard input
    #[arg(short, long)]
    pub(crate) filename: String,
    /// With a directory: those below too
    #[arg(short = 'R', long)]
    pub(crate) recursive: bool,
    /// Namespace of namespaced resources that name none [default: default]
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Lines at most
    #[arg(long, default_value_t = 1000)]
    pub(crate) limit: usize,
    /// ps, json or yaml
    #[arg(short, long, default_value = "ps")]
    pub(crate) output: Format,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Node {
    /// Whether calico-node runs, its BGP sessions, and why one is not up
    Status(Status),
}

#[derive(Debug, Args)]
pub(crate) struct Status {
    /// ps, json or yaml
    #[arg(short, long, default_value = "ps")]
    pub(crate) output: Format,
}

#[derive(Debug, Args)]
pub(crate) struct Version {
    /// This program's version only; asks no datastore
    #[arg(long)]
    pub(crate) client: bool,
}

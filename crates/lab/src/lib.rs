//! `calico lab`: a cluster in network namespaces of one Linux machine.
//!
//! ```text
//! calico lab up ─spawns─▶ lab-init               process 1 of the lab's PID namespace; its network
//!       │  exec, pod …       │                   namespace is the fabric: a bridge per subnet
//!       └─control.sock──────▶│ supervisor
//!                            ├ router, outside   machines like nodes, without Calico
//!                            └ lab-node-init     a node: own root, network, processes
//!                                └ lab-node ─┬ calico-node, datastore (kept running)
//!                                            └ lab-pod-init   a pod: own network, connected by CNI
//! ```
//! With `--kubernetes` nodes run containerd, kubelet and kube-proxy instead, a machine more the
//! control plane, and pods are Kubernetes' own.
//!
//!
//! What a lab rests on:
//! - Everything of it hangs on one process. When that ends, even by kill -9, the kernel ends all the
//!   others, and devices, addresses and mounts go with the namespaces they are in. Outside of them
//!   there is one directory, `/run/calico-lab/NAME`, and of a Kubernetes cluster's nodes the control
//!   groups `/calico-lab-NAME`; `down` removes both.
//! - No namespace of a lab has a link to the machine's own: no packet can leave.
//! - A machine sees the real machine's files through an overlay, and changes only its own memory.
//! - Commands enter a machine from the user's side ([`run`], `exec`); everything else is asked of
//!   the supervisor, which asks the machines, all by the same one-line protocol.
//!
//! Owns: topologies, namespaces of labs, the part of kubelet and container runtime (sandbox, CNI), and
//! of kube-controllers (Profiles that say pods' namespaces and service accounts to Calico).
//!
//! Must not know: how Calico works inside. It starts `calico-node`, `calicoctl`, the datastore, the
//! CNI plugins and Kubernetes as an operator would, by the names under which they are installed.

pub mod calico_image;
mod certificates;
mod cgroups;
mod client;
mod command;
mod directory;
mod fabric;
mod faults;
mod http;
pub mod image;
mod machine;
mod namespaces;
mod preflight;
mod protocol;
mod status;
mod supervisor;
mod topology;

pub use command::{
    AgentCommand, Command, FaultCommand, FaultSetting, Lab, LabelChange, NamespaceCommand,
    NodeCommand, Output, PodArguments, PodCommand, UpArguments, run,
};
pub use status::{LabState, LabStatus, NodeStatus, PodStatus};
pub use topology::{
    Backend, CONTROL_PLANE, Cni, ContainerPort, DEFAULT, Datastore, DatastoreKind, EXAMPLE,
    Encapsulation, KUBERNETES_EXAMPLE, KubeProxy, Kubernetes, Namespace, Node, Outside, Pod, Pool,
    RESERVED_NAMES, Subnet, Topology, TopologyError, Uplink,
};

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

/// Runs one of the hidden commands by which the program starts itself inside a lab, if `arguments`
/// (with the program's name first) are one of them: `lab-init`, `lab-node-init`, `lab-node`,
/// `lab-pod-init`. To be called first thing, with a single thread and the arguments unparsed.
pub fn hidden(arguments: &[OsString]) -> Option<ExitCode> {
    let words: Vec<&str> = arguments.iter().skip(1).filter_map(|word| word.to_str()).collect();
    let outcome = match words[..] {
        ["lab-init", name] => supervisor::lab_init(name),
        ["lab-node-init", spec] => machine::node_init(Path::new(spec)),
        ["lab-node"] => machine::node(),
        ["lab-pod-init", pod, node, ref ports @ ..] => machine::pod_init(pod, node, ports),
        _ => return None,
    };
    let name = words.join(" ");
    Some(match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{name}: {error:#}");
            ExitCode::FAILURE
        }
    })
}

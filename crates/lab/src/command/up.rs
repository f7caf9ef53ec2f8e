//! `calico lab up`: which lab to start.

use super::Lab;
use crate::topology::{
    Backend, Cni, DatastoreKind, EXAMPLE, KUBERNETES_EXAMPLE, KubeProxy, Kubernetes, Topology,
};
use anyhow::{Context, Result};
use clap::{Args, value_parser};
use std::path::PathBuf;

/// Arguments of `up`.
#[derive(Debug, Args)]
pub struct UpArguments {
    /// Which lab.
    #[command(flatten)]
    pub(super) lab: Lab,
    /// A YAML file with subnets, nodes, pods, pools; the first walkthrough's four nodes if absent.
    #[arg(long, value_name = "FILE", long_help = topology_help())]
    topology: Option<PathBuf>,
    /// Which server keeps the cluster's state; over what the topology says.
    #[arg(long, value_enum)]
    datastore: Option<DatastoreKind>,
    /// How nodes learn each other's routes; over what the topology says.
    #[arg(long, value_enum)]
    backend: Option<Backend>,
    /// A Kubernetes cluster: nodes n1, n2 … with containerd and kubelet, and a control plane.
    #[arg(long, conflicts_with_all = ["topology", "datastore", "backend"])]
    kubernetes: bool,
    /// How many nodes the cluster has.
    #[arg(long, default_value_t = 3, value_parser = value_parser!(u8).range(1..=99))]
    #[arg(requires = "kubernetes")]
    nodes: u8,
    /// Who connects its pods.
    #[arg(long, value_enum, default_value_t, requires = "kubernetes")]
    cni: Cni,
    /// Nobody connects its pods: as `--cni none`.
    #[arg(long, conflicts_with = "cni", requires = "kubernetes")]
    no_cni: bool,
    /// How its nodes send what is for a service to a pod.
    #[arg(long, value_enum, default_value_t, requires = "kubernetes")]
    kube_proxy: KubeProxy,
    /// Give its nodes, pods and services IPv6 addresses, too.
    #[arg(long, requires = "kubernetes")]
    dual_stack: bool,
    /// Have its API server log each request, in /var/log/calico/audit.log of control-plane.
    #[arg(long, requires = "kubernetes")]
    audit: bool,
    /// An archive of images (`docker save`) for its nodes; repeatable.
    #[arg(long = "image", value_name = "FILE", requires = "kubernetes")]
    images: Vec<PathBuf>,
    /// The directory that `scripts/kubernetes` has built Kubernetes' programs into.
    #[arg(long, value_name = "DIRECTORY", env = "CALICO_LAB_KUBERNETES")]
    programs: Option<PathBuf>,
    /// The directory that `scripts/plugins` has built the reference CNI plugins into.
    #[arg(long, value_name = "DIRECTORY", env = "CALICO_LAB_PLUGINS")]
    plugins: Option<PathBuf>,
    /// The manifest that installs Calico.
    #[arg(long, value_name = "FILE", env = "CALICO_LAB_MANIFEST")]
    manifest: Option<PathBuf>,
}

impl UpArguments {
    /// The topology that they ask for.
    pub(super) fn topology(&self) -> Result<Topology> {
        let mut topology = match &self.topology {
            None if self.kubernetes => self.of_kubernetes(),
            None => Topology::default(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .with_context(|| format!("reading topology {}", path.display()))?;
                Topology::parse(&path.display().to_string(), &text)?
            }
        };
        topology.datastore.kind = self.datastore.unwrap_or(topology.datastore.kind);
        topology.backend = self.backend.unwrap_or(topology.backend);
        if let Some(kubernetes) = &mut topology.kubernetes {
            let own = [
                (&self.programs, &mut kubernetes.programs),
                (&self.plugins, &mut kubernetes.plugins),
                (&self.manifest, &mut kubernetes.manifest),
            ];
            for (given, path) in own {
                if let Some(given) = given {
                    path.clone_from(given);
                }
            }
        }
        topology.complete_kubernetes()?;
        topology.check()?;
        Ok(topology)
    }

    fn of_kubernetes(&self) -> Topology {
        let kubernetes = Kubernetes {
            cni: if self.no_cni { Cni::None } else { self.cni },
            kube_proxy: self.kube_proxy,
            dual_stack: self.dual_stack,
            audit: self.audit,
            images: self.images.clone(),
            ..Kubernetes::default()
        };
        Topology::of_kubernetes(self.nodes, kubernetes)
    }
}

fn topology_help() -> String {
    format!(
        "A YAML file with subnets, nodes, pods, pools; the first walkthrough's four nodes if \
         absent. Every field may be left out. An example:\n\n{EXAMPLE}\nOne of a Kubernetes \
         cluster:\n\n{KUBERNETES_EXAMPLE}"
    )
}

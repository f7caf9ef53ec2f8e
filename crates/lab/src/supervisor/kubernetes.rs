//! A Kubernetes cluster: the control plane on a machine of its own, and on each node containerd,
//! kubelet and kube-proxy, as an operator would set them up.

mod files;
mod images;
mod network;
mod programs;
mod readiness;
mod status;

use super::machines::Equipment;
use super::{Lab, for_all};
use crate::machine::ContainerHost;
use crate::protocol::Program;
use crate::topology::{CONTROL_PLANE, Cni, Kubernetes, Node, Topology};
use crate::{calico_image, cgroups};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The archives of the lab's own images and of Calico's, in the lab's memory file system.
const IMAGES: &str = ".images.tar";
const CALICO_IMAGES: &str = ".calico-images.tar";
/// Where machines have Kubernetes' programs, and nodes the archives of images.
const PROGRAMS: &str = "/opt/kubernetes";
const ARCHIVES: &str = "/opt/images";

impl Lab {
    /// Builds the cluster, until its nodes are ready or, without CNI, there.
    pub(super) fn boot_kubernetes(
        &self,
        topology: &Topology,
        kubernetes: &Kubernetes,
    ) -> Result<()> {
        images::write(&self.machines.file(IMAGES))?;
        if kubernetes.cni == Cni::Calico {
            let program = std::env::current_exe().context("finding this program")?;
            let archive = self.machines.file(CALICO_IMAGES);
            calico_image::write(&archive, &program, &kubernetes.plugins, calico_image::REGISTRY)?;
        }
        self.start_api_server(topology)?;
        for node in &topology.nodes {
            self.boot_node(node)?;
        }
        self.write_hosts()?;
        let count = topology.nodes.len();
        self.progress.step(&format!("fabric, control plane and {count} nodes are there"));
        for_all(&topology.nodes, |node| self.start_runtime(kubernetes, node))?;
        self.progress.step("containerd runs on every node, with its images");
        self.await_api_server()?;
        self.progress.step("the API server is ready");
        self.start_controllers(topology)?;
        self.declare_nodes(&topology.nodes)?;
        for node in &topology.nodes {
            self.start_kubelet(topology, kubernetes, node)?;
        }
        self.connect_nodes(topology, kubernetes.cni)?;
        self.install(topology, kubernetes)?;
        let names: Vec<&str> = topology.nodes.iter().map(|node| node.name.as_str()).collect();
        self.await_nodes(kubernetes, &names, None)?;
        self.await_daemons(kubernetes.cni, topology.nodes.len())?;
        self.progress.step(network::last_step(kubernetes.cni));
        Ok(())
    }

    /// What a machine of the cluster has.
    pub(super) fn kubernetes_equipment(
        &self,
        topology: &Topology,
        kubernetes: &Kubernetes,
        machine: &Node,
    ) -> Result<Equipment> {
        let programs = &kubernetes.programs;
        let mut shown: Vec<(PathBuf, PathBuf)> = vec![
            (programs.clone(), PROGRAMS.into()),
            (programs.join("kubectl"), "/usr/local/bin/kubectl".into()),
        ];
        let files = if machine.name == CONTROL_PLANE {
            files::of_control_plane(&self.authority, topology)?
        } else {
            cgroups::make(&self.name, &machine.name)?;
            let targets = image_archives(kubernetes).into_iter().map(PathBuf::from);
            shown.extend(self.image_files(kubernetes).into_iter().zip(targets));
            files::of_node(&self.authority, &self.name, topology, kubernetes, machine)?
        };
        Ok(Equipment { files, container_host: Some(ContainerHost { shown }), web: false })
    }

    /// Boots the control plane's machine, with etcd and the API server.
    fn start_api_server(&self, topology: &Topology) -> Result<()> {
        let machine = topology.control_plane().context("no control plane")?;
        let kubeconfig = files::admin_kubeconfig(&self.authority, topology)?;
        files::write_private(&self.directory()?.kubeconfig(), &kubeconfig)?;
        self.boot_node(&machine)?;
        self.supervise(CONTROL_PLANE, programs::ETCD, programs::etcd())?;
        self.supervise(CONTROL_PLANE, programs::API_SERVER, programs::api_server(topology)?)
    }

    /// Starts what changes the cluster. With the API server not ready yet they would wait for
    /// seconds before they try again.
    fn start_controllers(&self, topology: &Topology) -> Result<()> {
        let manager = programs::controller_manager(topology);
        self.supervise(CONTROL_PLANE, programs::CONTROLLER_MANAGER, manager)?;
        self.supervise(CONTROL_PLANE, programs::SCHEDULER, programs::scheduler())
    }

    /// The archives of all images: the lab's own, and the topology's.
    fn image_files(&self, kubernetes: &Kubernetes) -> Vec<PathBuf> {
        let own = own_images(kubernetes.cni).iter().map(|name| self.machines.file(name));
        own.chain(kubernetes.images.iter().cloned()).collect()
    }

    /// Starts containerd on a node and gives it all images.
    fn start_runtime(&self, kubernetes: &Kubernetes, node: &Node) -> Result<()> {
        self.supervise(&node.name, programs::CONTAINERD, programs::containerd())?;
        image_archives(kubernetes)
            .iter()
            .try_for_each(|archive| self.import_image(&node.name, archive))
    }

    /// Makes nodes known: with the addresses of their pods, which would be given to them in any
    /// order.
    fn declare_nodes(&self, nodes: &[Node]) -> Result<()> {
        for node in nodes {
            let object = json!({
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": node.name},
                "spec": {"podCIDR": node.pod_cidrs.first(), "podCIDRs": node.pod_cidrs},
            });
            // Raw: to learn what a Node is takes the API server seconds when it is new.
            let create = ["create", "--raw", "/api/v1/nodes", "-f", "-"];
            self.kubectl(&create, object.to_string())
                .with_context(|| format!("making Node {}", node.name))?;
        }
        Ok(())
    }

    fn start_kubelet(
        &self,
        topology: &Topology,
        kubernetes: &Kubernetes,
        node: &Node,
    ) -> Result<()> {
        let kubelet = programs::kubelet(topology, node);
        self.supervise(&node.name, programs::KUBELET, kubelet)?;
        match kubernetes.kube_proxy.mode() {
            Some(_) => self.supervise(&node.name, programs::KUBE_PROXY, programs::kube_proxy()),
            None => Ok(()),
        }
    }

    /// The rest of `node add`: the new node becomes one of the cluster's.
    pub(super) fn join_kubernetes(&self, topology: &Topology, node: &Node) -> Result<()> {
        let kubernetes = topology.kubernetes.as_ref().context("no Kubernetes")?;
        self.start_runtime(kubernetes, node)?;
        self.declare_nodes(std::slice::from_ref(node))?;
        self.start_kubelet(topology, kubernetes, node)?;
        self.connect_nodes(topology, kubernetes.cni)?;
        self.await_nodes(kubernetes, &[&node.name], None)?;
        self.await_daemons(kubernetes.cni, topology.nodes.len())
    }

    /// The rest of `node rm`, of a node that is off.
    pub(super) fn leave_kubernetes(&self, node: &str, keep_resource: bool) -> Result<()> {
        cgroups::remove(&self.name, node)?;
        if !keep_resource {
            self.kubectl(&["delete", "node", node, "--ignore-not-found"], String::new())?;
        }
        Ok(())
    }

    /// Power off and on: a node's containers are gone, its files are not.
    pub(super) fn restart_of_kubernetes(&self, topology: &Topology, name: &str) -> Result<()> {
        let kubernetes = topology.kubernetes.as_ref().context("no Kubernetes")?;
        let machine = self.find_machine(topology, name)?;
        self.power_off(name)?;
        if name == CONTROL_PLANE {
            self.start_api_server(topology)?;
            self.write_hosts()?;
            self.connect_nodes(topology, kubernetes.cni)?;
            self.await_api_server()?;
            return self.start_controllers(topology);
        }
        // kubelet takes a long time to make sense of groups without processes.
        cgroups::remove(&self.name, name)?;
        let since = Timestamp::now();
        self.boot_node(&machine)?;
        self.write_hosts()?;
        self.start_runtime(kubernetes, &machine)?;
        self.start_kubelet(topology, kubernetes, &machine)?;
        self.connect_nodes(topology, kubernetes.cni)?;
        self.await_nodes(kubernetes, &[name], Some(since))
    }

    /// What kubectl prints, as the cluster's administrator.
    fn kubectl(&self, arguments: &[&str], input: String) -> Result<String> {
        let mut program = Program::new(&["kubectl"]);
        program.command.extend(arguments.iter().map(|word| (*word).to_owned()));
        program.environment = environment(CONTROL_PLANE);
        self.machines.run(CONTROL_PLANE, program, input)
    }

    fn kubectl_json(&self, arguments: &[&str]) -> Result<Value> {
        let text = self.kubectl(&[arguments, &["-o", "json"]].concat(), String::new())?;
        serde_json::from_str(&text).context("kubectl's answer isn't JSON")
    }
}

/// The lab's own archives of images.
fn own_images(cni: Cni) -> &'static [&'static str] {
    match cni {
        Cni::Calico => &[IMAGES, CALICO_IMAGES],
        Cni::Bridge | Cni::None => &[IMAGES],
    }
}

/// Where a node has the archives of all its images, in the order of [`Lab::image_files`].
fn image_archives(kubernetes: &Kubernetes) -> Vec<String> {
    let count = own_images(kubernetes.cni).len() + kubernetes.images.len();
    (0..count).map(|index| format!("{ARCHIVES}/{index}.tar")).collect()
}

/// Environment of commands that a user runs on a machine of the cluster.
pub(super) fn environment(machine: &str) -> BTreeMap<String, String> {
    let variables: &[(&str, &str)] = match machine {
        CONTROL_PLANE => &[("KUBECONFIG", files::ADMIN), ("DATASTORE_TYPE", "kubernetes")],
        node => &[("NODENAME", node)],
    };
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

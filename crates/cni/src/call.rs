//! What the runtime asks: the environment's `CNI_*`, and the pod that `CNI_ARGS` name.

use crate::error::{Code, Error};
use node::api::WorkloadId;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything a plugin is given by who starts it.
#[derive(Clone, Debug, Default)]
pub struct Input {
    /// The process's environment; bytes that are no UTF-8 are replaced.
    pub environment: BTreeMap<String, String>,
    /// Standard input: the network configuration.
    pub stdin: Vec<u8>,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Add,
    Del,
    Check,
    Version,
}

impl Command {
    /// As `CNI_COMMAND` has it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Command::Add => "ADD",
            Command::Del => "DEL",
            Command::Check => "CHECK",
            Command::Version => "VERSION",
        }
    }

    /// The command asked for.
    ///
    /// # Errors
    /// Code 4 where it is missing or none of the four.
    pub(crate) fn of(environment: &BTreeMap<String, String>) -> Result<Command, Error> {
        let text = environment.get("CNI_COMMAND").map_or("", String::as_str);
        [Command::Add, Command::Del, Command::Check, Command::Version]
            .into_iter()
            .find(|command| command.as_str() == text)
            .ok_or_else(|| {
                Error::new(
                    Code::Environment,
                    format!(
                        "CNI_COMMAND is {text:?}: this plugin does ADD, DEL, CHECK and VERSION"
                    ),
                )
            })
    }
}

/// One call on one container.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    /// What to do.
    pub command: Command,
    /// `CNI_CONTAINERID`.
    pub container_id: String,
    /// `CNI_NETNS`; empty where DEL gets none.
    pub netns: String,
    /// `CNI_IFNAME`.
    pub interface: String,
    /// `CNI_PATH`: where delegated plugins are.
    pub path: String,
    /// The pod, as (namespace, name), where `CNI_ARGS` names one.
    pub pod: Option<(String, String)>,
    /// The very address that `CNI_ARGS` asks for by `IP=`.
    pub requested: Option<IpAddr>,
    /// The process's environment, for delegated plugins.
    pub environment: BTreeMap<String, String>,
}

impl Call {
    /// Reads the environment.
    ///
    /// # Errors
    /// Code 4, naming the variable.
    pub(crate) fn parse(
        command: Command,
        environment: &BTreeMap<String, String>,
    ) -> Result<Call, Error> {
        let get = |name: &str| environment.get(name).cloned().unwrap_or_default();
        let call = Call {
            command,
            container_id: get("CNI_CONTAINERID"),
            netns: get("CNI_NETNS"),
            interface: get("CNI_IFNAME"),
            path: get("CNI_PATH"),
            pod: None,
            requested: None,
            environment: environment.clone(),
        };
        call.check()?;
        call.with_arguments(&get("CNI_ARGS"))
    }

    fn check(&self) -> Result<(), Error> {
        let mut missing = vec![];
        if self.container_id.is_empty() {
            missing.push("CNI_CONTAINERID");
        }
        if self.netns.is_empty() && self.command != Command::Del {
            missing.push("CNI_NETNS");
        }
        if self.interface.is_empty() {
            missing.push("CNI_IFNAME");
        }
        if !missing.is_empty() {
            return Err(wrong(format!(
                "{} needs {}, which the runtime has not set",
                self.command.as_str(),
                missing.join(" and ")
            )));
        }
        if !is_identifier(&self.container_id) {
            return Err(wrong(format!(
                "CNI_CONTAINERID {:?} must begin with a letter or digit and go on with these, \
                 '_', '.' and '-'",
                self.container_id
            )));
        }
        if !is_interface(&self.interface) {
            return Err(wrong(format!(
                "CNI_IFNAME {:?} is no interface name: at most 15 characters, no '/', ':' or space",
                self.interface
            )));
        }
        Ok(())
    }

    /// `CNI_ARGS` is `KEY=VALUE;KEY=VALUE`; keys of others are passed over.
    fn with_arguments(mut self, arguments: &str) -> Result<Call, Error> {
        let mut pairs = BTreeMap::new();
        for pair in arguments.split(';').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| {
                wrong(format!("CNI_ARGS has {pair:?}, which is not of the form KEY=VALUE"))
            })?;
            pairs.insert(key, value);
        }
        let set = |key: &str| pairs.get(key).filter(|value| !value.is_empty());
        if let (Some(namespace), Some(pod)) = (set("K8S_POD_NAMESPACE"), set("K8S_POD_NAME")) {
            self.pod = Some(((*namespace).to_owned(), (*pod).to_owned()));
        }
        if let Some(address) = set("IP") {
            let bare = address.split_once('/').map_or(*address, |(bare, _)| bare);
            let parsed = bare.parse();
            self.requested = Some(parsed.map_err(|_| {
                wrong(format!("CNI_ARGS asks for IP={address}, which is no IP address"))
            })?);
        }
        Ok(self)
    }

    /// How the agent knows this endpoint.
    pub(crate) fn workload(&self, network: &str) -> WorkloadId {
        let (orchestrator, (namespace, pod)) = match &self.pod {
            Some(pod) => ("k8s", pod.clone()),
            None => ("cni", ("default".to_owned(), String::new())),
        };
        WorkloadId {
            network: network.to_owned(),
            container_id: self.container_id.clone(),
            interface: self.interface.clone(),
            orchestrator: orchestrator.to_owned(),
            namespace,
            pod,
        }
    }

    /// The name of the veth pair's end on the host.
    pub(crate) fn host_interface(&self) -> String {
        use model::names::{INTERFACE_PREFIX, container_interface, host_interface};
        match &self.pod {
            Some((namespace, pod)) => host_interface(INTERFACE_PREFIX, namespace, pod),
            None => container_interface(INTERFACE_PREFIX, &self.container_id),
        }
    }

    /// Who it is about, as log lines begin.
    pub(crate) fn subject(&self) -> String {
        let pod = self.pod.as_ref().map(|(namespace, pod)| format!(" Pod=\"{namespace}/{pod}\""));
        format!("ContainerID=\"{}\"{}", self.container_id, pod.unwrap_or_default())
    }
}

fn wrong(problem: String) -> Error {
    Error::new(Code::Environment, problem)
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

fn is_interface(text: &str) -> bool {
    let usable = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
    text.len() <= 15 && text != "." && text != ".." && text.chars().all(usable)
}

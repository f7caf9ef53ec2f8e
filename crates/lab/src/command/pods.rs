//! `calico lab pod` and `calico lab namespace`: what policy selects by.

use super::Lab;
use crate::client::ask;
use crate::protocol::{LabRequest, PodStatus};
use crate::status::{LabStatus, labels_text, table};
use crate::topology::{ContainerPort, DEFAULT, Namespace, Pod};
use anyhow::{Context, Result, bail};
use clap::{Args, Subcommand};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// `calico lab pod`.
#[derive(Debug, Subcommand)]
pub enum PodCommand {
    /// Start a pod; returns when it is connected.
    Add(PodArguments),
    /// End a pod.
    Rm {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        pod: String,
    },
}

/// Arguments of `pod add`.
#[derive(Debug, Args)]
pub struct PodArguments {
    /// Which lab.
    #[command(flatten)]
    lab: Lab,
    /// Its name.
    pod: String,
    /// The node to run it on; of those that are ready the one with the fewest pods if absent.
    #[arg(long)]
    node: Option<String>,
    /// Its namespace, which is made if it isn't there.
    #[arg(long, default_value = DEFAULT)]
    namespace: String,
    /// A label; repeatable.
    #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
    labels: Vec<(String, String)>,
    /// Its service account, which is made if it isn't there.
    #[arg(long, default_value = DEFAULT)]
    service_account: String,
    /// Listen on a port besides TCP 80, give it a name for policies, pass a port of the node to it;
    /// repeatable.
    #[arg(long = "port", value_name = "[NAME=][HOST:]POD[/udp]", value_parser = parse_port)]
    ports: Vec<ContainerPort>,
}

/// `calico lab namespace`.
#[derive(Debug, Subcommand)]
pub enum NamespaceCommand {
    /// Make a namespace.
    Add {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        namespace: String,
        /// A label; repeatable.
        #[arg(long = "label", value_name = "KEY=VALUE", value_parser = parse_label)]
        labels: Vec<(String, String)>,
    },
    /// Change a namespace's labels.
    Label {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        namespace: String,
        /// A label to set, or (`KEY-`) to remove.
        #[arg(required = true, value_name = "KEY=VALUE|KEY-")]
        changes: Vec<LabelChange>,
    },
    /// List the namespaces, their labels and service accounts.
    List {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
    },
    /// Remove a namespace without pods.
    Rm {
        /// Which lab.
        #[command(flatten)]
        lab: Lab,
        /// Its name.
        namespace: String,
    },
}

/// `KEY=VALUE` sets a label, `KEY-` removes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelChange {
    key: String,
    value: Option<String>,
}

impl std::str::FromStr for LabelChange {
    type Err = String;

    fn from_str(text: &str) -> Result<LabelChange, String> {
        match (text.split_once('='), text.strip_suffix('-')) {
            (Some((key, value)), _) if !key.is_empty() => {
                Ok(LabelChange { key: key.into(), value: Some(value.into()) })
            }
            (None, Some(key)) if !key.is_empty() => {
                Ok(LabelChange { key: key.into(), value: None })
            }
            _ => Err("write it as KEY=VALUE, or KEY- to remove it, e.g. team=a".into()),
        }
    }
}

pub(super) fn pod(command: PodCommand) -> Result<()> {
    match command {
        PodCommand::Add(arguments) => add(arguments)?,
        PodCommand::Rm { lab, pod } => {
            ask::<()>(&lab.name, &LabRequest::PodRemove { name: pod.clone() })?;
            println!("pod {pod} is gone");
        }
    }
    Ok(())
}

fn add(arguments: PodArguments) -> Result<()> {
    let lab = &arguments.lab.name;
    let node = match arguments.node {
        Some(node) => node,
        None => {
            let status: LabStatus = ask(lab, &LabRequest::Status)?;
            let emptiest = status.emptiest_node().map(str::to_owned);
            emptiest.with_context(|| {
                format!("no node of lab {lab} is ready; `calico lab status` says why")
            })?
        }
    };
    let pod = Pod {
        name: arguments.pod,
        namespace: arguments.namespace,
        node,
        labels: arguments.labels.into_iter().collect(),
        service_account: arguments.service_account,
        ports: arguments.ports,
    };
    let (name, node) = (pod.name.clone(), pod.node.clone());
    let added: PodStatus = ask(lab, &LabRequest::PodAdd { pod })?;
    let addresses: Vec<String> = added.addresses.iter().map(IpAddr::to_string).collect();
    println!("pod {name} runs on {node} with {}", addresses.join(", "));
    Ok(())
}

pub(super) fn namespace(command: NamespaceCommand) -> Result<()> {
    match command {
        NamespaceCommand::Add { lab, namespace: name, labels } => {
            let labels = labels.into_iter().collect();
            let namespace = Namespace { labels, ..Namespace::new(&name) };
            ask::<()>(&lab.name, &LabRequest::NamespaceAdd { namespace })?;
            println!("namespace {name} is there");
        }
        NamespaceCommand::Label { lab, namespace: name, changes } => {
            let changes: BTreeMap<_, _> =
                changes.into_iter().map(|change| (change.key, change.value)).collect();
            let request = LabRequest::NamespaceLabel { name: name.clone(), changes };
            ask::<()>(&lab.name, &request)?;
            println!("namespace {name} is labelled");
        }
        NamespaceCommand::List { lab } => {
            let all: Vec<Namespace> = ask(&lab.name, &LabRequest::NamespaceList)?;
            let rows = all.into_iter().map(|namespace| {
                let accounts: Vec<String> = namespace.service_accounts.into_keys().collect();
                vec![namespace.name, accounts.join(","), labels_text(&namespace.labels)]
            });
            print!("{}", table(&["NAMESPACE", "SERVICE ACCOUNTS", "LABELS"], rows));
        }
        NamespaceCommand::Rm { lab, namespace: name } => {
            ask::<()>(&lab.name, &LabRequest::NamespaceRemove { name: name.clone() })?;
            println!("namespace {name} is gone");
        }
    }
    Ok(())
}

fn parse_label(text: &str) -> Result<(String, String)> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.into(), value.into())),
        _ => bail!("write it as KEY=VALUE, e.g. app=web"),
    }
}

/// `[NAME=][HOST:]POD[/udp]`.
fn parse_port(text: &str) -> Result<ContainerPort> {
    let (name, rest) = match text.split_once('=') {
        Some((name, rest)) => (Some(name.to_owned()), rest),
        None => (None, text),
    };
    let (ports, protocol) = rest.split_once('/').unwrap_or((rest, "tcp"));
    let number = |text: &str| {
        text.parse::<u16>().ok().filter(|number| *number > 0).with_context(|| {
            format!("{text:?} is not a port; write it as [NAME=][HOST:]POD, e.g. http=8080:80")
        })
    };
    let (host, pod) = match ports.split_once(':') {
        Some((host, pod)) => (Some(number(host)?), number(pod)?),
        None => (None, number(ports)?),
    };
    if name.as_ref().is_some_and(String::is_empty) {
        bail!("no name before the =; leave that out for a port without a name");
    }
    if !["tcp", "udp"].contains(&protocol) {
        bail!("protocol {protocol:?} is neither tcp nor udp");
    }
    Ok(ContainerPort { name, container_port: pod, host_port: host, protocol: protocol.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_written_in_several_ways() {
        for (text, name, host_port, container_port, protocol) in [
            ("8080:80", None, Some(8080), 80, "tcp"),
            ("5300:53/udp", None, Some(5300), 53, "udp"),
            ("5432", None, None, 5432, "tcp"),
            ("http=8080", Some("http"), None, 8080, "tcp"),
            ("dns=53/udp", Some("dns"), None, 53, "udp"),
            ("http=8080:80/tcp", Some("http"), Some(8080), 80, "tcp"),
        ] {
            let (name, protocol) = (name.map(str::to_owned), protocol.to_owned());
            let expected = ContainerPort { name, container_port, host_port, protocol };
            assert_eq!(parse_port(text).unwrap(), expected, "{text}");
        }
        for (text, part) in [
            ("", "not a port"),
            ("http", "\"http\" is not a port"),
            ("http=", "not a port"),
            ("=80", "no name"),
            ("0", "not a port"),
            ("80:", "not a port"),
            ("65536", "not a port"),
            ("80/sctp", "sctp"),
            ("http=tcp/8080", "\"tcp\" is not a port"),
        ] {
            let message = parse_port(text).unwrap_err().to_string();
            assert!(message.contains(part), "{text:?}: {message}");
        }
    }

    #[test]
    fn labels_are_set_and_removed() {
        let change = |key: &str, value: Option<&str>| {
            Ok(LabelChange { key: key.into(), value: value.map(str::to_owned) })
        };
        assert_eq!("team=a".parse::<LabelChange>(), change("team", Some("a")));
        assert_eq!("team=".parse::<LabelChange>(), change("team", Some("")));
        assert_eq!("team=a-".parse::<LabelChange>(), change("team", Some("a-")));
        assert_eq!("team-".parse::<LabelChange>(), change("team", None));
        for wrong in ["team", "=a", "-", ""] {
            assert!(wrong.parse::<LabelChange>().is_err(), "{wrong:?}");
        }
        assert_eq!(parse_label("app=web").unwrap(), ("app".to_owned(), "web".to_owned()));
        assert!(parse_label("app").is_err() && parse_label("=web").is_err());
    }
}

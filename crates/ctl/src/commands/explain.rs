//! `calicoctl explain`: what happens to a packet on its way, and why.

mod ends;
mod text;

use crate::cli::Explain;
use crate::cluster::Cluster;
use crate::output::Format;
use crate::terminal::Terminal;
use crate::{Error, agent, documents, yaml};
use ends::{End, Port};
use node::api::{Reply, Request};
use node::explain::{Explanation, Leg, Nat};
use policy::connectivity::SOURCE_PORT;
use policy::evaluate::{Packet, Verdict};
use serde_json::json;
use std::net::IpAddr;
use std::path::Path;
use store::Datastore;

/// What was asked: the packet and its ends.
struct Question {
    from: End,
    to: End,
    packet: Packet,
}

pub(super) async fn run(
    datastore: &dyn Datastore,
    terminal: &mut Terminal<'_>,
    explain: &Explain,
) -> Result<(), Error> {
    let cluster = Cluster::read(datastore).await?;
    if let Some(file) = explain.filename.as_ref().filter(|_| explain.what_if) {
        let documents = documents::read(terminal, file, false, explain.namespace.as_deref())?;
        let then = cluster.with(&documents).await?;
        // What an end is may be in the file only.
        let question = question(&then, explain)?;
        let text = what_if(&question, &cluster, &then, file, &explain.output)?;
        return terminal.print(&text);
    }
    let question = question(&cluster, explain)?;
    let socket = Path::new(node::api::SOCKET);
    let hops = hops(&cluster, &question, |name, packet| {
        let request = Box::new(Request::Explain(packet));
        let request = Request::OnNode { node: name.to_owned(), request };
        match agent::answer(socket, &request)? {
            Reply::Explained(explanation) => Ok(*explanation),
            _ => Err(agent::other_answer(socket, "an explanation")),
        }
    })?;
    let text = match &explain.output {
        Format::Table { .. } => text::way(&question, &hops),
        Format::Json => format!("{:#}\n", value(&question, &hops)),
        Format::Yaml => yaml::print(&value(&question, &hops)),
        Format::Name | Format::CustomColumns(_) => return Err(formats()),
    };
    terminal.print(&text)
}

fn formats() -> Error {
    Error::Invalid("an explanation is printed as ps, json or yaml".to_owned())
}

fn question(cluster: &Cluster, explain: &Explain) -> Result<Question, Error> {
    let namespace = explain.namespace.as_deref().unwrap_or("default");
    let from = End::find(cluster, &explain.from, namespace)?;
    let to = End::find(cluster, &explain.to, namespace)?;
    let port = Port::read(explain.port.as_deref())?;
    let (source, destination) = addresses(&from, &to)?;
    let packet = port.packet(source, destination);
    if from.node.is_none() && to.node.is_none() {
        return Err(Error::Invalid(format!(
            "neither {} nor {} is a pod, a node or a host endpoint: give one, a pod as NAME or \
             NAMESPACE/NAME (`calicoctl get wep -A` lists them)",
            explain.from, explain.to
        )));
    }
    Ok(Question { from, to, packet })
}

/// One address of each end, of the same version of IP; IPv4 where both have one.
fn addresses(from: &End, to: &End) -> Result<(IpAddr, IpAddr), Error> {
    let pair = [true, false].into_iter().find_map(|ipv4| {
        let of = |end: &End| end.addresses.iter().copied().find(|a| a.is_ipv4() == ipv4);
        Some((of(from)?, of(to)?))
    });
    pair.ok_or_else(|| {
        Error::Invalid(format!(
            "{} and {} have no addresses of one version of IP",
            from.name, to.name
        ))
    })
}

/// What each node on the way says when it is asked, in order. After masquerade the packet is of the
/// node before.
fn hops(
    cluster: &Cluster,
    question: &Question,
    mut ask: impl FnMut(&str, Packet) -> Result<Explanation, Error>,
) -> Result<Vec<Explanation>, Error> {
    let mut nodes: Vec<&str> =
        [&question.from, &question.to].into_iter().filter_map(|end| end.node.as_deref()).collect();
    nodes.dedup();
    let (mut packet, mut hops) = (question.packet, Vec::new());
    for name in nodes {
        let explanation = ask(name, packet)?;
        if explanation.nat == Nat::Masquerade {
            let mut addresses = cluster.node_addresses(name).into_iter();
            packet.source = addresses.find(IpAddr::is_ipv4).unwrap_or(packet.source);
        }
        hops.push(explanation);
    }
    Ok(hops)
}

/// Whether the packet arrives, as far as the nodes' policies go.
fn verdict(hops: &[Explanation]) -> Verdict {
    let mut decisions = hops.iter().flat_map(|hop| &hop.legs).map(|leg| leg.decision.verdict);
    if decisions.any(|verdict| verdict == Verdict::Deny) { Verdict::Deny } else { Verdict::Allow }
}

fn value(question: &Question, hops: &[Explanation]) -> serde_json::Value {
    json!({
        "from": question.from.name,
        "to": question.to.name,
        "packet": question.packet,
        "verdict": verdict(hops),
        "hops": hops,
    })
}

/// What decides: the leg that denies, else the last.
fn decided_by(hops: &[Explanation]) -> Option<(&Explanation, &Leg)> {
    let legs = || hops.iter().flat_map(|hop| hop.legs.iter().map(move |leg| (hop, leg)));
    legs().find(|(_, leg)| leg.decision.verdict == Verdict::Deny).or_else(|| legs().last())
}

/// What policies say now, and what they would say.
fn what_if(
    question: &Question,
    now: &Cluster,
    then: &Cluster,
    file: &str,
    format: &Format,
) -> Result<String, Error> {
    let told = |cluster: &Cluster| {
        hops(then, question, |name, packet| {
            node::what_if::explain(name, cluster.entries(), packet)
                .ok_or_else(|| Error::Other(format!("node {name} explains nothing")))
        })
    };
    let (before, after) = (told(now)?, told(then)?);
    let value = || {
        let side = |hops: &[Explanation]| {
            json!({
                "verdict": verdict(hops),
                "by": decided_by(hops).map(|(_, leg)| leg.decision.by.to_string()),
                "hops": hops,
            })
        };
        json!({
            "from": question.from.name,
            "to": question.to.name,
            "packet": question.packet,
            "now": side(&before),
            "then": side(&after),
        })
    };
    Ok(match format {
        Format::Table { .. } => text::what_if(question, file, &before, &after),
        Format::Json => format!("{:#}\n", value()),
        Format::Yaml => yaml::print(&value()),
        Format::Name | Format::CustomColumns(_) => return Err(formats()),
    })
}

impl Port {
    /// A packet of this kind.
    fn packet(self, source: IpAddr, destination: IpAddr) -> Packet {
        let (protocol, ports, icmp) = match self {
            Port::Of { protocol, port } => (protocol, Some((SOURCE_PORT, port)), None),
            Port::Ping if source.is_ipv4() => (1, None, Some((8, 0))),
            Port::Ping => (58, None, Some((128, 0))),
        };
        Packet { source, destination, protocol, ports, icmp }
    }
}

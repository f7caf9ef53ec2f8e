//! NetworkPolicy to Calico's.

use super::{Converted, Ports, Unreadable, net, rules};
use crate::kubernetes::LabelSelector;
use crate::kubernetes::network_policy::{
    NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort, NetworkPolicySpec, NumberOrName,
};
use crate::resources::tier::DEFAULT_TIER;
use crate::{Action, EntityRule, IpProtocol, Metadata, PolicyType, Port, Problem, Resource, Rule};

/// The order of policies that were Kubernetes', among Calico's of the default tier.
pub(crate) const ORDER: f64 = 1000.0;

impl NetworkPolicy {
    /// What Calico makes of it: a NetworkPolicy of the same name, order 1000, tier default.
    pub fn to_calico(&self) -> Converted<crate::NetworkPolicySpec> {
        let (spec, problems) = self.spec.to_calico();
        let metadata = Metadata {
            namespace: self.metadata.namespace.clone(),
            creation_timestamp: self.metadata.creation_timestamp.clone(),
            resource_version: self.metadata.resource_version.clone(),
            ..Metadata::named(&self.metadata.name)
        };
        Converted { resource: Resource { metadata, spec, status: None }, problems }
    }
}

impl NetworkPolicySpec {
    /// What Calico makes of the spec, and the rules that it leaves out.
    pub fn to_calico(&self) -> (crate::NetworkPolicySpec, Vec<Problem>) {
        let mut problems = Vec::new();
        let mut converted = |at: String, direction, ports: &[_], peers: &[_]| {
            let rules = rules_of(direction, ports, peers);
            rules.unwrap_or_else(|why| {
                problems.push(why.at(at));
                Vec::new()
            })
        };
        let ingress = self.ingress.iter().enumerate().flat_map(|(i, rule)| {
            converted(format!("spec.ingress[{i}]"), PolicyType::Ingress, &rule.ports, &rule.from)
        });
        let ingress = ingress.collect();
        let egress = self.egress.iter().enumerate().flat_map(|(i, rule)| {
            converted(format!("spec.egress[{i}]"), PolicyType::Egress, &rule.ports, &rule.to)
        });
        let egress = egress.collect();
        let types = [PolicyType::Ingress, PolicyType::Egress];
        let spec = crate::NetworkPolicySpec {
            tier: DEFAULT_TIER.to_owned(),
            order: Some(ORDER),
            ingress,
            egress,
            selector: self.pod_selector.to_pod_selector(),
            // Calico goes by what is stated, as every API server of today states it.
            types: match self.policy_types.as_slice() {
                [] => vec![PolicyType::Ingress],
                stated => types.into_iter().filter(|one| stated.contains(one)).collect(),
            },
            ..crate::NetworkPolicySpec::default()
        };
        (spec, problems)
    }
}

fn rules_of(
    direction: PolicyType,
    ports: &[NetworkPolicyPort],
    peers: &[NetworkPolicyPeer],
) -> Result<Vec<Rule>, Unreadable> {
    let mut peers = peers.iter().map(entity).collect::<Result<Vec<_>, _>>()?;
    if peers.is_empty() {
        peers.push(EntityRule::default());
    }
    Ok(rules(&Rule::new(Action::Allow), direction, ports_of(ports)?, &peers))
}

fn ports_of(given: &[NetworkPolicyPort]) -> Result<Ports, Unreadable> {
    if given.is_empty() {
        return Ok(Ports::any());
    }
    let mut ports = Ports::default();
    for one in given {
        let protocol = IpProtocol::parse(one.protocol.as_deref().unwrap_or("TCP"));
        if protocol.number().is_none() {
            return Err(Unreadable::new(protocol, "a protocol is TCP, UDP or SCTP"));
        }
        ports.add(&protocol, port(one)?);
    }
    Ok(ports)
}

fn port(given: &NetworkPolicyPort) -> Result<Option<Port>, Unreadable> {
    let Some(port) = &given.port else { return Ok(None) };
    let read = match (port, given.end_port) {
        (NumberOrName::Number(number), None) => u16::try_from(*number).ok().map(Port::single),
        (port, None) => Port::parse(&port.to_string()),
        (port, Some(end)) => {
            Port::parse(&format!("{port}:{end}")).filter(|port| matches!(port, Port::Range(..)))
        }
    };
    let shown = || match given.end_port {
        Some(end) => format!("{port}:{end}"),
        None => port.to_string(),
    };
    let reason = "a port is a number up to 65535, with endPort not below it, or a name";
    read.map(Some).ok_or_else(|| Unreadable::new(shown(), reason))
}

fn entity(peer: &NetworkPolicyPeer) -> Result<EntityRule, Unreadable> {
    let Some(block) = &peer.ip_block else {
        return Ok(EntityRule {
            selector: peer
                .pod_selector
                .as_ref()
                .unwrap_or(&LabelSelector::default())
                .to_pod_selector(),
            // Without one it is the policy's own namespace.
            namespace_selector: peer
                .namespace_selector
                .as_ref()
                .map(LabelSelector::to_selector)
                .unwrap_or_default(),
            ..EntityRule::default()
        });
    };
    Ok(EntityRule {
        nets: vec![net(&block.cidr)?],
        not_nets: block.except.iter().map(|text| net(text)).collect::<Result<_, _>>()?,
        ..EntityRule::default()
    })
}

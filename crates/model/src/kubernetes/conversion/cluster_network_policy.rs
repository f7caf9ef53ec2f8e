//! ClusterNetworkPolicy to a GlobalNetworkPolicy of tier kube-admin or kube-baseline.

use super::{Converted, Ports, Unreadable, net, pods, rules};
use crate::kubernetes::LabelSelector;
use crate::kubernetes::cluster_network_policy::{
    ClusterNetworkPolicy, ClusterPolicyPeer, ClusterPolicyPort, ClusterPolicyProtocol,
    ClusterPolicySubject, ClusterPolicyTier, DestinationPort,
};
use crate::resources::rule::NAME_ANNOTATION;
use crate::resources::tier::{KUBE_ADMIN_TIER, KUBE_BASELINE_TIER};
use crate::{
    Action, EntityRule, GlobalNetworkPolicySpec, IpProtocol, Metadata, PolicyType, Port, Problem,
    Resource, Rule, RuleMetadata,
};
use std::collections::BTreeMap;

impl ClusterNetworkPolicy {
    /// What Calico makes of it: a GlobalNetworkPolicy of the same name, the priority as its order.
    pub fn to_calico(&self) -> Converted<GlobalNetworkPolicySpec> {
        let mut problems = Vec::new();
        let mut converted = |at: String, rule: GivenRule<'_>| {
            rule.convert().unwrap_or_else(|why| {
                problems.push(why.at(at));
                rule.closed().into_iter().collect()
            })
        };
        let ingress = self.spec.ingress.iter().enumerate().flat_map(|(i, rule)| {
            let (name, action) = (&rule.name, &rule.action);
            let (peers, protocols) = (&rule.from, &rule.protocols);
            let direction = PolicyType::Ingress;
            let rule = GivenRule { name, action, direction, peers, protocols };
            converted(format!("spec.ingress[{i}]"), rule)
        });
        let ingress: Vec<Rule> = ingress.collect();
        let egress = self.spec.egress.iter().enumerate().flat_map(|(i, rule)| {
            let (name, action) = (&rule.name, &rule.action);
            let (peers, protocols) = (&rule.to, &rule.protocols);
            let direction = PolicyType::Egress;
            let rule = GivenRule { name, action, direction, peers, protocols };
            converted(format!("spec.egress[{i}]"), rule)
        });
        let egress: Vec<Rule> = egress.collect();
        let subject = subject(&self.spec.subject, &mut problems);
        let directions = [(PolicyType::Ingress, &ingress), (PolicyType::Egress, &egress)];
        let types = directions.into_iter().filter(|(_, rules)| !rules.is_empty());
        let spec = GlobalNetworkPolicySpec {
            tier: match self.spec.tier {
                ClusterPolicyTier::Admin => KUBE_ADMIN_TIER.to_owned(),
                ClusterPolicyTier::Baseline => KUBE_BASELINE_TIER.to_owned(),
            },
            order: Some(f64::from(self.spec.priority)),
            types: types.map(|(direction, _)| direction).collect(),
            ingress,
            egress,
            selector: subject.selector,
            namespace_selector: subject.namespace_selector,
            ..GlobalNetworkPolicySpec::default()
        };
        let metadata = Metadata {
            creation_timestamp: self.metadata.creation_timestamp.clone(),
            resource_version: self.metadata.resource_version.clone(),
            ..Metadata::named(&self.metadata.name)
        };
        Converted { resource: Resource { metadata, spec, status: None }, problems }
    }
}

fn subject(subject: &ClusterPolicySubject, problems: &mut Vec<Problem>) -> EntityRule {
    match (&subject.namespaces, &subject.pods) {
        (Some(namespaces), _) => pods(&LabelSelector::default(), namespaces),
        (None, Some(given)) => pods(&given.pod_selector, &given.namespace_selector),
        (None, None) => {
            let why = Unreadable::new("", "it is neither namespaces nor pods, so it selects none");
            problems.push(why.at("spec.subject".to_owned()));
            EntityRule { selector: "!all()".to_owned(), ..EntityRule::default() }
        }
    }
}

/// A rule of either direction.
struct GivenRule<'a> {
    name: &'a str,
    action: &'a str,
    direction: PolicyType,
    peers: &'a [ClusterPolicyPeer],
    protocols: &'a [ClusterPolicyProtocol],
}

impl GivenRule<'_> {
    fn convert(&self) -> Result<Vec<Rule>, Unreadable> {
        let action = match self.action {
            "Accept" => Action::Allow,
            "Deny" => Action::Deny,
            "Pass" => Action::Pass,
            other => return Err(Unreadable::new(other, "an action is Accept, Deny or Pass")),
        };
        let mut like = Rule::new(action);
        if !self.name.is_empty() {
            let name = (NAME_ANNOTATION.to_owned(), self.name.to_owned());
            like.metadata = Some(RuleMetadata { annotations: BTreeMap::from([name]) });
        }
        let ports = ports_of(self.protocols)?;
        let peers = self.peers.iter().map(|peer| entity(peer, self.direction));
        let peers = peers.collect::<Result<Vec<_>, _>>()?;
        Ok(rules(&like, self.direction, ports, &peers))
    }

    /// What takes the place of a rule that cannot be read.
    fn closed(&self) -> Option<Rule> {
        matches!(self.action, "Deny" | "Pass").then(|| Rule::new(Action::Deny))
    }
}

fn entity(peer: &ClusterPolicyPeer, direction: PolicyType) -> Result<EntityRule, Unreadable> {
    match (&peer.pods, &peer.namespaces, peer.networks.as_slice()) {
        (Some(given), ..) => Ok(pods(&given.pod_selector, &given.namespace_selector)),
        // All of their pods; as in Calico, host networking and all.
        (None, Some(namespaces), _) => {
            Ok(EntityRule { namespace_selector: namespaces.to_selector(), ..EntityRule::default() })
        }
        (None, None, networks) if !networks.is_empty() && direction == PolicyType::Egress => {
            let nets = networks.iter().map(|text| net(text)).collect::<Result<_, _>>()?;
            Ok(EntityRule { nets, ..EntityRule::default() })
        }
        _ => Err(Unreadable::new("", "a peer of it is of no kind that is known here")),
    }
}

fn ports_of(protocols: &[ClusterPolicyProtocol]) -> Result<Ports, Unreadable> {
    if protocols.is_empty() {
        return Ok(Ports::any());
    }
    let mut ports = Ports::default();
    for protocol in protocols {
        let given = [
            (IpProtocol::Tcp, &protocol.tcp),
            (IpProtocol::Udp, &protocol.udp),
            (IpProtocol::Sctp, &protocol.sctp),
        ];
        match given.into_iter().find_map(|(name, given)| Some((name, given.as_ref()?))) {
            Some((name, DestinationPort { destination_port: None })) => ports.add(&name, None),
            Some((name, DestinationPort { destination_port: Some(given) })) => {
                ports.add(&name, Some(port(given)?));
            }
            None if !protocol.destination_named_port.is_empty() => {
                let name = &protocol.destination_named_port;
                return Err(Unreadable::new(name, "Calico knows no named ports here"));
            }
            None => {
                let reason = "a protocol of it is of no kind that is known here";
                return Err(Unreadable::new("", reason));
            }
        }
    }
    Ok(ports)
}

fn port(given: &ClusterPolicyPort) -> Result<Port, Unreadable> {
    let (first, last) = match (given.number, given.range) {
        (Some(number), _) => (number, number),
        (None, Some(range)) => (range.start, range.end),
        (None, None) => return Err(Unreadable::new("", "a port is a number or a range")),
    };
    match (u16::try_from(first), u16::try_from(last)) {
        (Ok(first), Ok(last)) if first <= last => Ok(Port::Range(first, last)),
        _ => {
            let reason = "ports are from 0 to 65535, and a range does not end before it begins";
            Err(Unreadable::new(format!("{first}:{last}"), reason))
        }
    }
}

//! A cluster in groups: each endpoint is in one, and each group has as many policies as another.
//!
//! ```text
//! group == 'g0' ◀── g0-p0 … g0-p8: TCP to ports that nobody uses, from the group: Allow
//!              ◀── g0-p9: UDP to the marked port: Deny; from the group: Allow
//! ```
//!
//! A new connection within a group passes all policies of the group, whose last one allows it.

use model::{
    Action, EntityRule, GlobalNetworkPolicy, GlobalNetworkPolicySpec, IpProtocol, PolicyType, Port,
    Rule, WorkloadEndpoint, WorkloadEndpointSpec, names,
};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Policies of each group.
pub(crate) const POLICIES: u32 = 10;
/// The port of UDP that shows whether a group's last policy is in force: it denies it.
pub(crate) const MARKED_PORT: u16 = 9;

/// Rules of each policy but the last.
const RULES: u32 = 5;
/// The first port that these rules are about.
const UNUSED_PORTS: u32 = 20_000;
const LABEL: &str = "group";
/// Where endpoints run that no machine has.
const NODE: &str = "elsewhere";
/// Their addresses begin here.
const ADDRESSES: u32 = Ipv4Addr::new(10, 200, 0, 0).to_bits();
/// Among the policies of the cluster.
const ORDER: u32 = 100;

/// What an endpoint of a group is labelled with.
pub(crate) fn labels(group: u32) -> BTreeMap<String, String> {
    BTreeMap::from([(LABEL.to_owned(), format!("g{group}"))])
}

/// A group's policies, in order.
pub(crate) fn policies(group: u32) -> Vec<GlobalNetworkPolicy> {
    (0..POLICIES).map(|place| policy(group, place)).collect()
}

fn policy(group: u32, place: u32) -> GlobalNetworkPolicy {
    let members = format!("{LABEL} == 'g{group}'");
    let source = EntityRule { selector: members.clone(), ..EntityRule::default() };
    let allow = Rule { source, ..Rule::new(Action::Allow) };
    let ingress = if place + 1 < POLICIES {
        let first = UNUSED_PORTS + place * RULES;
        let tcp = |port| to_port(allow.clone(), IpProtocol::Tcp, port);
        (first..first + RULES).filter_map(|port| u16::try_from(port).ok()).map(tcp).collect()
    } else {
        vec![to_port(Rule::new(Action::Deny), IpProtocol::Udp, MARKED_PORT), allow]
    };
    let spec = GlobalNetworkPolicySpec {
        order: Some(f64::from(ORDER + place)),
        selector: members,
        types: vec![PolicyType::Ingress],
        ingress,
        ..GlobalNetworkPolicySpec::default()
    };
    GlobalNetworkPolicy::new(format!("g{group}-p{place}"), spec)
}

fn to_port(mut rule: Rule, protocol: IpProtocol, port: u16) -> Rule {
    rule.protocol = Some(protocol);
    rule.destination.ports = vec![Port::single(port)];
    rule
}

/// An endpoint of another node; its number gives its address.
pub(crate) fn endpoint(number: u32, group: u32) -> WorkloadEndpoint {
    let container_id = format!("{number:08x}");
    let spec = WorkloadEndpointSpec {
        orchestrator: "cni".to_owned(),
        workload: container_id.clone(),
        node: NODE.to_owned(),
        container_id: container_id.clone(),
        endpoint: "eth0".to_owned(),
        ip_networks: vec![format!("{}/32", Ipv4Addr::from_bits(ADDRESSES + number))],
        interface_name: format!("cali{container_id}"),
        ..WorkloadEndpointSpec::default()
    };
    let name = names::cni_endpoint(NODE, &container_id, "eth0");
    let mut endpoint = WorkloadEndpoint::new(name, spec);
    endpoint.metadata.namespace = Some("default".to_owned());
    endpoint.metadata.labels = labels(group);
    endpoint
}

#[cfg(test)]
mod tests {
    use super::{POLICIES, endpoint, policies};

    #[test]
    fn all_of_it_may_be_written() {
        assert_eq!(policies(7).len(), usize::try_from(POLICIES).unwrap());
        for mut policy in policies(7) {
            assert_eq!(policy.validate(), Ok(()), "{policy:?}");
            policy.apply_defaults();
        }
        assert_eq!(endpoint(300, 7).validate(), Ok(()));
    }
}

//! Calico's resources as the graph's input: namespaces and service accounts become parts of selectors.
//!
//! ```text
//!  NetworkPolicy(shop/web)  selector role == 'web'
//!      ──▶ (role == "web") && projectcalico.org/namespace == 'shop'
//!  namespaceSelector team == 'a'   ──▶ pcns.team == "a"     labels that endpoints have from the
//!  serviceAccounts selector x      ──▶ pcsa.x               profiles of namespace and account
//! ```
//!
//! What cannot be read makes its policy or profile `broken`, with the reason: it then denies all it
//! is about. Source of the behaviour: Calico's syncer (`libcalico-go/lib/backend/syncersv1`,
//! `calico-features.md` §3.4).

mod endpoint;
mod rule;

use crate::input::{
    EndpointSlice, EndpointSliceId, NetworkSet, NetworkSetId, Policy, PolicyId, PolicyKind,
    Profile, ServiceId, Tier, Update, WorkloadId,
};
use model::resources::profile::{NAMESPACE_PREFIX, SERVICE_ACCOUNT_PREFIX};
use model::resources::staged::StagedAction;
use model::resources::tier::{DEFAULT_TIER, DEFAULT_TIER_ORDER};
use model::resources::workload_endpoint::{NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL};
use model::{
    Key, Kind, Metadata, PolicyParts, PolicySpec, PolicyType, Selector, SelectorError, Value, names,
};
use std::collections::BTreeMap;

/// The kinds of resource that policy is made of.
pub const KINDS: [Kind; 11] = [
    Kind::GlobalNetworkPolicy,
    Kind::GlobalNetworkSet,
    Kind::HostEndpoint,
    Kind::NetworkPolicy,
    Kind::NetworkSet,
    Kind::Profile,
    Kind::StagedGlobalNetworkPolicy,
    Kind::StagedKubernetesNetworkPolicy,
    Kind::StagedNetworkPolicy,
    Kind::Tier,
    Kind::WorkloadEndpoint,
];

/// The update that an object means, as it is now (`None`: it is gone); `None` for kinds that policy
/// is not made of.
pub fn update(key: &Key, value: Option<&Value>) -> Option<Update> {
    if let Key::EndpointSlice { namespace, name } = key {
        return Some(match value {
            Some(Value::EndpointSlice(slice)) => endpoint_slice(slice),
            _ => {
                let (namespace, name) = (namespace.as_str().into(), name.as_str().into());
                Update::EndpointSlice(EndpointSliceId { namespace, name }, None)
            }
        });
    }
    let Key::Resource { kind, namespace, name } = key else { return None };
    let (namespace, name) = (namespace.as_deref().unwrap_or_default(), name.as_str());
    Some(match kind {
        Kind::WorkloadEndpoint => {
            let workload = match value {
                Some(Value::WorkloadEndpoint(resource)) => Some(endpoint::workload(resource)),
                _ => None,
            };
            let id = WorkloadId { namespace: namespace.into(), name: name.into() };
            Update::Workload(id, workload.map(Box::new))
        }
        Kind::HostEndpoint => {
            let endpoint = match value {
                Some(Value::HostEndpoint(resource)) => Some(endpoint::host(resource)),
                _ => None,
            };
            Update::HostEndpoint(name.to_owned(), endpoint.map(Box::new))
        }
        Kind::NetworkSet | Kind::GlobalNetworkSet => {
            let set = match value {
                Some(Value::NetworkSet(set)) => Some(network_set(&set.metadata, &set.spec.nets)),
                Some(Value::GlobalNetworkSet(set)) => {
                    Some(network_set(&set.metadata, &set.spec.nets))
                }
                _ => None,
            };
            let id = NetworkSetId { namespace: namespace.into(), name: name.into() };
            Update::NetworkSet(id, set.map(Box::new))
        }
        Kind::Tier => {
            let tier = match value {
                Some(Value::Tier(tier)) => Some(Tier {
                    order: Some(tier.spec.order.unwrap_or(DEFAULT_TIER_ORDER)),
                    default_action: tier.spec.default_action.unwrap_or_default(),
                }),
                _ => None,
            };
            Update::Tier(name.to_owned(), tier)
        }
        Kind::Profile => {
            let profile = match value {
                Some(Value::Profile(resource)) => Some(profile(&resource.spec)),
                _ => None,
            };
            Update::Profile(name.to_owned(), profile.map(Box::new))
        }
        kind => {
            let id = PolicyId {
                kind: policy_kind(*kind)?,
                namespace: namespace.into(),
                name: name.into(),
            };
            let policy = value.and_then(|value| stored_policy(&id, value));
            Update::Policy(id, policy.map(Box::new))
        }
    })
}

/// The update that an object means which cannot be read: a policy denies all that it may be about, a
/// profile everything. `None` for other kinds, which then count as absent.
pub fn unreadable(key: &Key, why: &str) -> Option<Update> {
    let Key::Resource { kind, namespace, name } = key else { return None };
    let broken = Some(why.into());
    if *kind == Kind::Profile {
        let profile = Profile { broken, ..Profile::default() };
        return Some(Update::Profile(name.clone(), Some(Box::new(profile))));
    }
    let kind = policy_kind(*kind).filter(|kind| !kind.is_staged())?;
    let namespace = namespace.as_deref().unwrap_or_default();
    let policy = Policy {
        tier: DEFAULT_TIER.into(),
        selector: if namespace.is_empty() {
            "all()".into()
        } else {
            of_namespace(namespace).into()
        },
        applies_to_ingress: true,
        applies_to_egress: true,
        broken,
        ..Policy::default()
    };
    let id = PolicyId { kind, namespace: namespace.into(), name: name.as_str().into() };
    Some(Update::Policy(id, Some(Box::new(policy))))
}

fn policy_kind(kind: Kind) -> Option<PolicyKind> {
    Some(match kind {
        Kind::NetworkPolicy => PolicyKind::NetworkPolicy,
        Kind::GlobalNetworkPolicy => PolicyKind::GlobalNetworkPolicy,
        Kind::StagedNetworkPolicy => PolicyKind::StagedNetworkPolicy,
        Kind::StagedGlobalNetworkPolicy => PolicyKind::StagedGlobalNetworkPolicy,
        Kind::StagedKubernetesNetworkPolicy => PolicyKind::StagedKubernetesNetworkPolicy,
        _ => return None,
    })
}

/// A staged policy is evaluated as what it would set; one that would delete, or is to be ignored, as
/// nothing.
fn stored_policy(id: &PolicyId, value: &Value) -> Option<Policy> {
    let evaluated = |action| matches!(action, StagedAction::Set | StagedAction::Learn);
    Some(match value {
        Value::NetworkPolicy(resource) => policy(id, &resource.spec.parts(), ""),
        Value::GlobalNetworkPolicy(resource) => global_policy(id, &resource.spec),
        Value::StagedNetworkPolicy(resource) if evaluated(resource.spec.action()) => {
            policy(id, &resource.spec.parts(), "")
        }
        Value::StagedGlobalNetworkPolicy(resource) if evaluated(resource.spec.action()) => {
            global_policy(id, &resource.spec.policy)
        }
        Value::StagedKubernetesNetworkPolicy(resource) if evaluated(resource.spec.action()) => {
            let (spec, problems) = resource.spec.policy.to_calico();
            let mut policy = policy(id, &spec.parts(), "");
            policy.broken = policy.broken.or(problems.first().map(|why| why.to_string().into()));
            policy
        }
        _ => return None,
    })
}

fn global_policy(id: &PolicyId, spec: &model::GlobalNetworkPolicySpec) -> Policy {
    Policy {
        do_not_track: spec.do_not_track,
        pre_dnat: spec.pre_dnat,
        apply_on_forward: spec.apply_on_forward || spec.do_not_track || spec.pre_dnat,
        ..policy(id, &spec.parts(), &spec.namespace_selector)
    }
}

/// A policy of any kind, whose namespace limits it where it has one.
pub fn policy(id: &PolicyId, parts: &PolicyParts<'_>, namespace_selector: &str) -> Policy {
    let types = parts.types();
    let mut rules = rule::Rules::of_namespace(&id.namespace);
    let ingress = rules.convert("ingress", parts.ingress);
    let egress = rules.convert("egress", parts.egress);
    let (selector, unread) = endpoints(&id.namespace, parts, namespace_selector);
    let unread = unread.map(|why| format!("its selector: {why}").into());
    let broken = rules.broken.or(unread);
    Policy {
        tier: parts.tier.into(),
        order: parts.order,
        selector,
        applies_to_ingress: types.contains(&PolicyType::Ingress),
        applies_to_egress: types.contains(&PolicyType::Egress),
        ingress,
        egress,
        staged: id.kind.is_staged(),
        broken,
        ..Policy::default()
    }
}

/// The endpoints that a policy applies to. What cannot be read limits nothing: a broken policy denies
/// rather too much than too little.
fn endpoints(
    namespace: &str,
    parts: &PolicyParts<'_>,
    namespace_selector: &str,
) -> (Box<str>, Option<SelectorError>) {
    let own = (!namespace.is_empty()).then(|| Ok(of_namespace(namespace)));
    let given = |text: &str, read: fn(&str) -> Result<String, SelectorError>| {
        (!text.trim().is_empty()).then(|| read(text))
    };
    let conditions = [
        given(parts.selector, |text| Selector::parse(text).map(|selector| selector.canonical())),
        own,
        given(namespace_selector, namespaces),
        given(parts.service_account_selector, service_accounts),
    ];
    let (mut all, mut unread) = (Vec::new(), None);
    for condition in conditions.into_iter().flatten() {
        match condition {
            Ok(text) => all.push(text),
            Err(why) => unread = Some(why),
        }
    }
    (joined(all), unread)
}

/// All of these hold; nothing: everything.
fn joined(all: Vec<String>) -> Box<str> {
    match all.as_slice() {
        [] => "all()".into(),
        [one] => one.as_str().into(),
        several => format!("({})", several.join(") && (")).into(),
    }
}

fn of_namespace(namespace: &str) -> String {
    format!("{NAMESPACE_LABEL} == '{namespace}'")
}

fn namespaces(selector: &str) -> Result<String, SelectorError> {
    Ok(Selector::parse(selector)?.inherited(NAMESPACE_PREFIX, NAMESPACE_LABEL).canonical())
}

fn service_accounts(selector: &str) -> Result<String, SelectorError> {
    let selector = Selector::parse(selector)?;
    Ok(selector.inherited(SERVICE_ACCOUNT_PREFIX, SERVICE_ACCOUNT_LABEL).canonical())
}

fn profile(spec: &model::ProfileSpec) -> Profile {
    let mut rules = rule::Rules::of_namespace("");
    let ingress = rules.convert("ingress", &spec.ingress);
    let egress = rules.convert("egress", &spec.egress);
    let labels = boxed(&spec.labels_to_apply);
    Profile { ingress, egress, labels, broken: rules.broken }
}

/// A prefix that cannot be read is left out: what it was to add to a set stays unknown.
fn network_set(metadata: &Metadata, nets: &[String]) -> NetworkSet {
    let mut labels = boxed(&metadata.labels);
    let namespace = metadata.namespace.as_deref();
    labels.extend(namespace.map(|namespace| (NAMESPACE_LABEL.into(), namespace.into())));
    let profiles = namespace.map(|namespace| names::namespace_profile(namespace).into());
    NetworkSet {
        nets: nets.iter().filter_map(|text| rule::net(text)).collect(),
        labels,
        profiles: profiles.into_iter().collect(),
    }
}

/// A Kubernetes EndpointSlice, of a Service or of none.
pub fn endpoint_slice(slice: &model::kubernetes::EndpointSlice) -> Update {
    let namespace: Box<str> = slice.metadata.namespace.as_deref().unwrap_or_default().into();
    let id =
        EndpointSliceId { namespace: namespace.clone(), name: slice.metadata.name.as_str().into() };
    let addresses = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
    let ports = slice.ports.iter().filter_map(|port| {
        let protocol = model::IpProtocol::parse(port.protocol.as_deref().unwrap_or("TCP"));
        Some((protocol.number()?, port.port?))
    });
    let of_service = slice.service().map(|service| EndpointSlice {
        service: ServiceId { namespace, name: service.into() },
        addresses: addresses.filter_map(|text| text.parse().ok()).collect(),
        ports: ports.collect(),
    });
    Update::EndpointSlice(id, of_service.map(Box::new))
}

fn boxed(labels: &BTreeMap<String, String>) -> BTreeMap<Box<str>, Box<str>> {
    labels.iter().map(|(name, value)| (name.as_str().into(), value.as_str().into())).collect()
}

#[cfg(test)]
mod tests;

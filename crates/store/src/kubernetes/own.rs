//! Kubernetes' own objects, as what they are to Calico.

use super::object::Object;
use super::place::{CLUSTER_POLICY_PREFIX, KUBERNETES_POLICY};
use model::kubernetes::service::SERVICE_NAME_LABEL;
use model::kubernetes::{
    ClusterNetworkPolicy, Converted, EndpointSlice, Namespace, NetworkPolicy, Node, Pod,
    ServiceAccount,
};
use model::{Key, Kind, Metadata, Problem, Resource, Spec, names};

/// An object of Kubernetes' as Calico's datastore has it.
pub(super) struct Own {
    pub(super) key: Key,
    pub(super) value: Vec<u8>,
    /// What of it cannot be read.
    pub(super) problems: Vec<Problem>,
}

impl<S: Spec> From<Converted<S>> for Own {
    fn from(converted: Converted<S>) -> Own {
        let Converted { resource, problems } = converted;
        Own { key: resource.key(), value: resource.to_stored(), problems }
    }
}

impl<S: Spec> From<Resource<S>> for Own {
    fn from(resource: Resource<S>) -> Own {
        Own::from(Converted { resource, problems: Vec::new() })
    }
}

/// Reads an object of Kubernetes'; `None` where it is none of Calico's business, e.g. a pod of the
/// host's network. One of a form that is not known has a value that is none, so that whoever reads it
/// fails closed and says why.
pub(super) fn read(object: Object, metadata: &Metadata, prefix: &str, text: &str) -> Option<Own> {
    converted(object, prefix, text).unwrap_or_else(|why| {
        let key = key(object, metadata)?;
        let why = format!("{} of Kubernetes cannot be read: {why}", named(object, metadata));
        let value = serde_json::Value::String(why).to_string().into_bytes();
        Some(Own { key, value, problems: Vec::new() })
    })
}

fn converted(object: Object, prefix: &str, text: &str) -> Result<Option<Own>, serde_json::Error> {
    use serde_json::from_str;
    Ok(Some(match object {
        Object::Node => from_str::<Node>(text)?.to_calico().into(),
        Object::Pod => return Ok(from_str::<Pod>(text)?.to_calico(prefix).map(Own::from)),
        Object::Namespace => from_str::<Namespace>(text)?.to_profile().into(),
        Object::ServiceAccount => from_str::<ServiceAccount>(text)?.to_profile().into(),
        Object::NetworkPolicy => {
            let mut policy = from_str::<NetworkPolicy>(text)?.to_calico();
            policy.resource.metadata.name.insert_str(0, KUBERNETES_POLICY);
            policy.into()
        }
        Object::ClusterNetworkPolicy => {
            let mut policy = from_str::<ClusterNetworkPolicy>(text)?.to_calico();
            policy.resource.metadata.name.insert_str(0, CLUSTER_POLICY_PREFIX);
            policy.into()
        }
        Object::EndpointSlice => return Ok(endpoint_slice(from_str(text)?)),
        _ => return Ok(None),
    }))
}

/// Of its metadata nothing is read but its names and its service's.
fn endpoint_slice(slice: EndpointSlice) -> Option<Own> {
    let (name, namespace) = (slice.metadata.name.clone(), slice.metadata.namespace.clone()?);
    let service = slice.service().map(|name| (SERVICE_NAME_LABEL.to_owned(), name.to_owned()));
    let metadata = Metadata {
        namespace: Some(namespace.clone()),
        labels: service.into_iter().collect(),
        ..Metadata::named(&name)
    };
    let value = serde_json::to_vec(&EndpointSlice { metadata, ..slice })
        .expect("it has string keys only, so it is always JSON");
    Some(Own { key: Key::EndpointSlice { namespace, name }, value, problems: Vec::new() })
}

/// The key of an object of which nothing but its metadata can be read. Of a pod that is not enough.
fn key(object: Object, metadata: &Metadata) -> Option<Key> {
    let (name, namespace) = (&metadata.name, metadata.namespace.as_deref());
    Some(match object {
        Object::Node => Key::cluster(Kind::Node, name),
        Object::Namespace => Key::cluster(Kind::Profile, names::namespace_profile(name)),
        Object::ServiceAccount => {
            Key::cluster(Kind::Profile, names::service_account_profile(namespace?, name))
        }
        Object::NetworkPolicy => {
            Key::namespaced(Kind::NetworkPolicy, namespace?, format!("{KUBERNETES_POLICY}{name}"))
        }
        Object::ClusterNetworkPolicy => {
            Key::cluster(Kind::GlobalNetworkPolicy, format!("{CLUSTER_POLICY_PREFIX}{name}"))
        }
        Object::EndpointSlice => {
            Key::EndpointSlice { namespace: namespace?.to_owned(), name: name.clone() }
        }
        _ => return None,
    })
}

/// A problem in words.
pub(super) fn told(object: Object, metadata: &Metadata, problem: &Problem) -> String {
    let Problem { field, value, reason } = problem;
    format!(
        "{} of Kubernetes: {field} is {value:?}, which is passed over: {reason}; correct it with \
         kubectl",
        named(object, metadata)
    )
}

/// An object as kubectl names it.
fn named(object: Object, metadata: &Metadata) -> String {
    let kind = match object {
        Object::Node => "Node",
        Object::Pod => "Pod",
        Object::Namespace => "Namespace",
        Object::ServiceAccount => "ServiceAccount",
        Object::NetworkPolicy => "NetworkPolicy",
        Object::ClusterNetworkPolicy => "ClusterNetworkPolicy",
        Object::EndpointSlice => "EndpointSlice",
        _ => "object",
    };
    match &metadata.namespace {
        Some(namespace) => format!("{kind} {namespace}/{}", metadata.name),
        None => format!("{kind} {}", metadata.name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(object: Object, text: &str) -> Option<Own> {
        let named: serde_json::Value = serde_json::from_str(text).expect("JSON");
        let metadata = serde_json::from_value(named["metadata"].clone()).expect("metadata");
        read(object, &metadata, "cali", text)
    }

    /// Go writes an empty list that nothing hides as `null`.
    #[test]
    fn a_slice_without_endpoints_is_one() {
        let text = r#"{"metadata": {"name": "a-1", "namespace": "a", "labels":
            {"kubernetes.io/service-name": "s", "x": "y"}},
            "addressType": "IPv4", "endpoints": null, "ports": null}"#;
        let own = read_as(Object::EndpointSlice, text).expect("a slice");
        let key = Key::EndpointSlice { namespace: "a".to_owned(), name: "a-1".to_owned() };
        assert_eq!(own.key, key);
        let read: EndpointSlice = serde_json::from_slice(&own.value).expect("a slice");
        assert_eq!((read.service(), read.metadata.labels.len()), (Some("s"), 1));
        assert!(read.endpoints.is_empty());
    }

    #[test]
    fn what_has_another_form_is_no_value_and_says_why() {
        let text = r#"{"metadata": {"name": "p", "namespace": "a"}, "spec": 5}"#;
        let own = read_as(Object::NetworkPolicy, text).expect("something");
        assert_eq!(own.key, Key::namespaced(Kind::NetworkPolicy, "a", "knp.default.p"));
        let entry = model::Entry::new(own.key, own.value, model::Revision(1));
        let why = model::Value::decode(&entry).expect_err("no policy").to_string();
        assert!(why.contains("NetworkPolicy a/p of Kubernetes cannot be read"), "{why}");
        assert!(read_as(Object::Pod, r#"{"metadata": {"name": "p"}, "spec": 5}"#).is_none());
    }
}

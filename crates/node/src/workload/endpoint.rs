//! The WorkloadEndpoint that an ADD asks for, and the profile it gets where nobody else makes one.

use crate::api::{AddWorkload, KUBERNETES};
use ipnet::IpNet;
use model::{Profile, ProfileSpec, Spec, WorkloadEndpoint, WorkloadEndpointSpec, names, validate};

/// The service account of pods that name none.
const SERVICE_ACCOUNT: &str = "default";
/// How the keys of the labels begin that say what an endpoint is.
const OWN_LABELS: &str = "projectcalico.org/";
/// The fields of an endpoint that come from the pod's user.
const USER_FIELDS: [&str; 3] = ["metadata.labels", "spec.ports", "spec.serviceAccountName"];

/// The endpoint of a request, as it is stored (`calico-features.md` §3.3 and §5.3).
pub(super) fn of(node: &str, request: &AddWorkload, addresses: &[IpNet]) -> WorkloadEndpoint {
    let id = &request.id;
    let kubernetes = id.orchestrator == KUBERNETES;
    let account = request.service_account.as_deref();
    let account = account.or(kubernetes.then_some(SERVICE_ACCOUNT)).unwrap_or_default();
    let mut endpoint = WorkloadEndpoint::new(
        id.endpoint_name(node),
        WorkloadEndpointSpec {
            orchestrator: id.orchestrator.clone(),
            node: node.to_owned(),
            container_id: id.container_id.clone(),
            pod: id.pod.clone(),
            endpoint: id.interface.clone(),
            service_account_name: account.to_owned(),
            ip_networks: addresses.iter().map(ToString::to_string).collect(),
            profiles: if kubernetes {
                vec![
                    names::namespace_profile(&id.namespace),
                    names::service_account_profile(&id.namespace, account),
                ]
            } else {
                vec![id.network.clone()]
            },
            interface_name: request.host_interface.clone(),
            mac: request.mac.clone(),
            workload: if kubernetes { String::new() } else { id.container_id.clone() },
            ports: request.ports.clone(),
            ..WorkloadEndpointSpec::default()
        },
    );
    endpoint.metadata.namespace = Some(id.namespace.clone());
    // A pod must not pass for one of another namespace or service account.
    let users = request.labels.iter().filter(|(key, _)| !key.starts_with(OWN_LABELS));
    endpoint.metadata.labels = users.map(|(key, value)| (key.clone(), value.clone())).collect();
    endpoint.spec.apply_defaults(&mut endpoint.metadata);
    endpoint
}

/// The endpoint of a pod that Kubernetes has told of: its labels, ports and service account are
/// Kubernetes' word, whatever the runtime says.
pub(super) fn of_pod(
    pod: &WorkloadEndpoint,
    request: &AddWorkload,
    addresses: &[IpNet],
) -> WorkloadEndpoint {
    let mut endpoint = pod.clone();
    let spec = &mut endpoint.spec;
    spec.container_id.clone_from(&request.id.container_id);
    spec.interface_name.clone_from(&request.host_interface);
    spec.mac.clone_from(&request.mac);
    spec.ip_networks = addresses.iter().map(ToString::to_string).collect();
    endpoint
}

/// Checks what the pod's user has said, before anything is done for it.
///
/// # Errors
/// The field, what it says and what it takes.
pub(super) fn check(node: &str, request: &AddWorkload) -> Result<(), String> {
    let Err(problems) = validate::validate(&of(node, request, &[])) else { return Ok(()) };
    let users = |field: &str| USER_FIELDS.iter().any(|own| field.starts_with(own));
    match problems.iter().find(|problem| users(&problem.field)) {
        None => Ok(()),
        Some(problem) => Err(format!(
            "pod {}/{}: {problem}; correct what the network configuration's args.cni says",
            request.id.namespace, request.id.pod
        )),
    }
}

/// The profile that an endpoint outside of Kubernetes has by its network's name: its endpoints may
/// send anything, and take what other endpoints of it send. Kubernetes' profiles are others' to make.
///
/// Calico's plugin makes it with the network's first endpoint and never changes it
/// (`calico-features.md` §5.3).
pub fn network_profile(endpoint: &WorkloadEndpoint) -> Option<Profile> {
    if endpoint.spec.orchestrator == KUBERNETES {
        return None;
    }
    let network = endpoint.spec.profiles.first()?;
    let mut spec = ProfileSpec::allow_all();
    for rule in &mut spec.ingress {
        rule.source.selector = format!("has({network})");
    }
    spec.labels_to_apply.insert(network.clone(), String::new());
    Some(Profile::new(network.clone(), spec))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As a plugin of before labels asks.
    fn request(orchestrator: &str, more: &serde_json::Value) -> AddWorkload {
        let mut request = json!({
            "id": {
                "network": "net.1", "container_id": "c0ffee", "interface": "eth0",
                "orchestrator": orchestrator, "namespace": "shop",
                "pod": if orchestrator == KUBERNETES { "web" } else { "" },
            },
            "host_interface": "cali1", "mac": "ee:ee:ee:ee:ee:ee", "addresses": {"Given": []},
        });
        for (key, value) in more.as_object().expect("an object") {
            request[key] = value.clone();
        }
        serde_json::from_value(request).expect("a request")
    }

    fn labels(endpoint: &WorkloadEndpoint) -> Vec<(&str, &str)> {
        let labels = endpoint.metadata.labels.iter();
        labels.map(|(key, value)| (key.as_str(), value.as_str())).collect()
    }

    #[test]
    fn a_pod_has_what_its_user_says_and_what_it_is() {
        let said = json!({
            "labels": {"app": "web", "projectcalico.org/namespace": "kube-system"},
            "service_account": "cart",
            "ports": [{"name": "http", "protocol": "TCP", "port": 80}],
        });
        let endpoint = of("worker-1", &request(KUBERNETES, &said), &[]);
        assert_eq!(
            labels(&endpoint),
            [
                ("app", "web"),
                ("projectcalico.org/namespace", "shop"),
                ("projectcalico.org/orchestrator", "k8s"),
                ("projectcalico.org/serviceaccount", "cart"),
            ]
        );
        assert_eq!(endpoint.spec.profiles, ["kns.shop", "ksa.shop.cart"]);
        assert_eq!(endpoint.spec.service_account_name, "cart");
        let stored: serde_json::Value =
            serde_json::from_slice(&endpoint.to_stored()).expect("JSON");
        assert_eq!(stored["spec"]["ports"][0]["name"], "http");
        assert_eq!(stored["spec"]["ports"][0]["port"], 80);
        assert_eq!(network_profile(&endpoint), None);

        let silent = of("worker-1", &request(KUBERNETES, &json!({})), &[]);
        assert_eq!(silent.spec.profiles, ["kns.shop", "ksa.shop.default"]);
        assert_eq!(silent.metadata.labels["projectcalico.org/serviceaccount"], "default");
    }

    #[test]
    fn outside_of_kubernetes_the_network_is_the_profile() {
        let endpoint = of("worker-1", &request("cni", &json!({"labels": {"a": "b"}})), &[]);
        assert_eq!(
            labels(&endpoint),
            [
                ("a", "b"),
                ("projectcalico.org/namespace", "shop"),
                ("projectcalico.org/orchestrator", "cni"),
            ]
        );
        assert_eq!(endpoint.spec.profiles, ["net.1"]);
        let profile = network_profile(&endpoint).expect("a profile");
        let shown = serde_json::to_value(&profile).expect("JSON");
        assert_eq!(shown["metadata"]["name"], "net.1");
        assert_eq!(shown["spec"]["ingress"][0]["source"]["selector"], "has(net.1)");
        assert_eq!(shown["spec"]["labelsToApply"], json!({"net.1": ""}));
        assert_eq!(shown["spec"]["egress"][0]["action"], "Allow");
        assert_eq!(validate::validate(&profile), Ok(()));
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let check = |more| check("worker-1", &request(KUBERNETES, &more));
        assert_eq!(check(json!({"labels": {"app.kubernetes.io/name": "web"}})), Ok(()));
        let message = check(json!({"labels": {"app": "not fit"}})).expect_err("a problem");
        for part in ["shop/web", "metadata.labels.app", "not fit", "args.cni"] {
            assert!(message.contains(part), "{message}");
        }
    }
}

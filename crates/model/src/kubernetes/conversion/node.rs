//! Nodes, and the annotations that hold what Calico knows of them.

use super::Converted;
use crate::kubernetes::node::Node;
use crate::resources::node::{NodeAddress, NodeBgpSpec, NodeInterface, OrchRef};
use crate::{AsNumber, Metadata, NodeSpec, Problem, Resource};
use ipnet::Ipv4Net;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// Labels that are Calico's alone, as a JSON object.
const LABELS: &str = "projectcalico.org/labels";
/// Annotations that are Calico's alone, as a JSON object.
const ANNOTATIONS: &str = "projectcalico.org/annotations";
/// In Calico's resource: the labels that are Kubernetes', so that both can be told apart again.
const KUBE_LABELS: &str = "projectcalico.org/kube-labels";
const INTERFACES: &str = "projectcalico.org/Interfaces";
const WIREGUARD_IPV4: &str = "projectcalico.org/IPv4WireguardInterfaceAddr";
const WIREGUARD_IPV6: &str = "projectcalico.org/IPv6WireguardInterfaceAddr";
const WIREGUARD_KEY: &str = "projectcalico.org/WireguardPublicKey";
const WIREGUARD_KEY_V6: &str = "projectcalico.org/WireguardPublicKeyV6";

/// A field that is one annotation.
type Field = (&'static str, fn(&mut NodeSpec) -> &mut Option<String>);

const FIELDS: [Field; 4] = [
    ("projectcalico.org/IPv4VXLANTunnelAddr", |spec| &mut spec.ipv4_vxlan_tunnel_addr),
    ("projectcalico.org/VXLANTunnelMACAddr", |spec| &mut spec.vxlan_tunnel_mac_addr),
    ("projectcalico.org/IPv6VXLANTunnelAddr", |spec| &mut spec.ipv6_vxlan_tunnel_addr),
    ("projectcalico.org/VXLANTunnelMACAddrV6", |spec| &mut spec.vxlan_tunnel_mac_addr_v6),
];

/// A field of BGP's part that is one annotation.
type BgpField = (&'static str, fn(&mut NodeBgpSpec) -> &mut Option<String>);

const BGP_FIELDS: [BgpField; 4] = [
    (IPV4_ADDRESS, |bgp| &mut bgp.ipv4_address),
    ("projectcalico.org/IPv6Address", |bgp| &mut bgp.ipv6_address),
    ("projectcalico.org/IPv4IPIPTunnelAddr", |bgp| &mut bgp.ipv4_ipip_tunnel_addr),
    ("projectcalico.org/RouteReflectorClusterID", |bgp| &mut bgp.route_reflector_cluster_id),
];

const AS_NUMBER: &str = "projectcalico.org/ASNumber";
const IPV4_ADDRESS: &str = "projectcalico.org/IPv4Address";

impl Node {
    /// Calico's Node: Kubernetes' labels and addresses, the rest from annotations. What cannot be
    /// read is left out, with a problem.
    pub fn to_calico(&self) -> Converted<NodeSpec> {
        let mut problems = Vec::new();
        let annotations = &self.metadata.annotations;
        let text = |name: &str| annotations.get(name).filter(|text| !text.is_empty());
        let mut spec = NodeSpec::default();
        let mut bgp = NodeBgpSpec::default();
        for (name, field) in FIELDS {
            *field(&mut spec) = text(name).cloned();
        }
        for (name, field) in BGP_FIELDS {
            *field(&mut bgp) = text(name).cloned();
        }
        let mut wrong = |name: &str, text: &str, reason: &str| {
            let (field, value) = (format!("metadata.annotations[{name}]"), text.to_owned());
            problems.push(Problem { field, value, reason: reason.to_owned() });
        };
        if let Some(text) = text(AS_NUMBER) {
            bgp.as_number = text.parse::<AsNumber>().ok();
            if bgp.as_number.is_none() {
                wrong(AS_NUMBER, text, "an AS number is a number up to 4294967295, or 65000.1");
            }
        }
        let is_address =
            |text: &str| text.parse::<Ipv4Net>().is_ok() || text.parse::<Ipv4Addr>().is_ok();
        if let Some(text) = bgp.ipv4_address.take_if(|text| !is_address(text)) {
            wrong(IPV4_ADDRESS, &text, "write an address with its prefix length: 10.0.0.1/24");
        }
        for name in [INTERFACES, LABELS, ANNOTATIONS] {
            if let Some(text) = text(name).filter(|text| !is_json(text)) {
                wrong(name, text, "it is no JSON; calico-node on that node writes it anew");
            }
        }
        spec.bgp = (bgp != NodeBgpSpec::default()).then_some(bgp);
        let orchestrator = "k8s".to_owned();
        spec.orch_refs =
            vec![OrchRef { node_name: Some(self.metadata.name.clone()), orchestrator }];
        spec.wireguard = object([
            ("interfaceIPv4Address", text(WIREGUARD_IPV4)),
            ("interfaceIPv6Address", text(WIREGUARD_IPV6)),
        ]);
        spec.interfaces = parsed::<Vec<NodeInterface>>(text(INTERFACES));
        spec.addresses = self.addresses(spec.bgp.as_ref());
        let mut status = object([
            ("wireguardPublicKey", text(WIREGUARD_KEY)),
            ("wireguardPublicKeyV6", text(WIREGUARD_KEY_V6)),
        ]);
        if !self.spec.pod_cidrs.is_empty() {
            status.get_or_insert_with(|| json!({}))["podCIDRs"] = json!(self.spec.pod_cidrs);
        }
        let mut labels: BTreeMap<String, String> = parsed(text(LABELS));
        labels.extend(self.metadata.labels.clone());
        let mut annotations: BTreeMap<String, String> = parsed(text(ANNOTATIONS));
        annotations.insert(KUBE_LABELS.to_owned(), json!(self.metadata.labels).to_string());
        let metadata = Metadata {
            uid: self.metadata.uid.clone(),
            creation_timestamp: self.metadata.creation_timestamp.clone(),
            labels,
            annotations,
            ..Metadata::named(&self.metadata.name)
        };
        Converted { resource: Resource { metadata, spec, status }, problems }
    }

    fn addresses(&self, bgp: Option<&NodeBgpSpec>) -> Vec<NodeAddress> {
        let own = bgp.into_iter().flat_map(|bgp| [&bgp.ipv4_address, &bgp.ipv6_address]).flatten();
        let own = own.map(|address| ("CalicoNodeIP", address));
        let theirs = self.status.addresses.iter();
        let theirs = theirs.map(|one| (one.kind.as_str(), &one.address));
        let theirs = theirs.filter(|(kind, _)| matches!(*kind, "InternalIP" | "ExternalIP"));
        let address = |(kind, address): (&str, &String)| NodeAddress {
            address: address.clone(),
            kind: Some(kind.to_owned()),
        };
        own.chain(theirs).map(address).collect()
    }
}

impl crate::Node {
    /// The annotations of Kubernetes' Node that say what this one says; `None` for those that are
    /// to go. Kubernetes' own labels and addresses are left alone.
    pub fn to_kubernetes_annotations(&self) -> BTreeMap<&'static str, Option<String>> {
        let mut spec = self.spec.clone();
        let mut bgp = spec.bgp.take().unwrap_or_default();
        let mut all = BTreeMap::new();
        all.insert(AS_NUMBER, bgp.as_number.map(|number| number.to_string()));
        for (name, field) in FIELDS {
            all.insert(name, field(&mut spec).take());
        }
        for (name, field) in BGP_FIELDS {
            all.insert(name, field(&mut bgp).take());
        }
        let within = |value: &Option<Value>, field: &str| {
            value.as_ref()?.get(field)?.as_str().map(str::to_owned)
        };
        all.insert(WIREGUARD_IPV4, within(&spec.wireguard, "interfaceIPv4Address"));
        all.insert(WIREGUARD_IPV6, within(&spec.wireguard, "interfaceIPv6Address"));
        all.insert(WIREGUARD_KEY, within(&self.status, "wireguardPublicKey"));
        all.insert(WIREGUARD_KEY_V6, within(&self.status, "wireguardPublicKeyV6"));
        let interfaces = &spec.interfaces;
        all.insert(INTERFACES, (!interfaces.is_empty()).then(|| json!(interfaces).to_string()));
        let Metadata { labels, annotations, .. } = &self.metadata;
        let kubernetes: BTreeMap<String, String> = parsed(annotations.get(KUBE_LABELS));
        all.insert(LABELS, but(labels, |name| kubernetes.contains_key(name)));
        all.insert(ANNOTATIONS, but(annotations, |name| name == KUBE_LABELS));
        all.into_iter().map(|(name, text)| (name, text.filter(|text| !text.is_empty()))).collect()
    }
}

/// A map without some of its keys as a JSON object; `None` where nothing is left.
fn but(map: &BTreeMap<String, String>, left_out: impl Fn(&str) -> bool) -> Option<String> {
    let kept: BTreeMap<_, _> = map.iter().filter(|(name, _)| !left_out(name)).collect();
    (!kept.is_empty()).then(|| json!(kept).to_string())
}

/// A JSON object of the fields that are there; `None` where none is.
fn object<const N: usize>(fields: [(&str, Option<&String>); N]) -> Option<Value> {
    let set = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), json!(text?))));
    let set: Map<String, Value> = set.collect();
    (!set.is_empty()).then_some(Value::Object(set))
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// What somebody wrote as JSON; nothing where that cannot be read.
fn parsed<T: Default + serde::de::DeserializeOwned>(text: Option<&String>) -> T {
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

//! The CustomResourceDefinitions of Calico's resources, made from the types that read them.
//!
//! ```text
//!  Spec types ──schemars──▶ JSON schema ──structural──▶ what an API server takes ──▶ manifests/
//!  registry of parameters ──felix──▶ that of FelixConfiguration
//! ```
//!
//! Source: Kubernetes' "CustomResourceDefinitions" (structural schemas); names, scopes, short names
//! and status: `calico-features.md` §1.0.

mod felix;
mod status;
mod structural;

use crate::kubernetes::ipam::{
    BlockAffinitySpec, IpamBlockSpec, IpamConfigurationSpec, IpamHandleSpec,
};
use crate::*;
use schemars::{JsonSchema, Schema, json_schema};
use serde_json::{Value, json};
use structural::structural;

/// The API group of custom resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiGroup {
    /// `crd.projectcalico.org/v1`.
    Crd,
    /// `projectcalico.org/v3` (3.32).
    Native,
}

/// What one definition says that its schema doesn't.
struct Named {
    kind: &'static str,
    plural: &'static str,
    scope: Scope,
    short: &'static [&'static str],
    /// Columns of `kubectl get`, beside the name: title, type and path.
    columns: &'static [(&'static str, &'static str, &'static str)],
}

/// Columns of a policy.
const POLICY: &[(&str, &str, &str)] =
    &[("Tier", "string", ".spec.tier"), ("Order", "number", ".spec.order")];
const POOL: &[(&str, &str, &str)] = &[
    ("CIDR", "string", ".spec.cidr"),
    ("NAT", "boolean", ".spec.natOutgoing"),
    ("IPIPMode", "string", ".spec.ipipMode"),
    ("VXLANMode", "string", ".spec.vxlanMode"),
    ("Disabled", "boolean", ".spec.disabled"),
];
const PEER: &[(&str, &str, &str)] = &[
    ("PeerIP", "string", ".spec.peerIP"),
    ("ASN", "string", ".spec.asNumber"),
    ("Node", "string", ".spec.node"),
];

/// The definitions of a group, in order of their names.
pub fn definitions(group: ApiGroup) -> Vec<Value> {
    let ipam_config = match group {
        ApiGroup::Crd => ("IPAMConfig", "ipamconfigs"),
        ApiGroup::Native => ("IPAMConfiguration", "ipamconfigurations"),
    };
    let ipam_config = Named {
        kind: ipam_config.0,
        plural: ipam_config.1,
        scope: Scope::Cluster,
        short: &["ipamconfig"],
        columns: &[],
    };
    let mut all = vec![
        of::<BgpConfigurationSpec>(group, &["bgpconfig", "bgpconfigs"], &[]),
        of::<BgpFilterSpec>(group, &[], &[]),
        of::<BgpPeerSpec>(group, &[], PEER),
        of::<CalicoNodeStatusSpec>(group, &[], &[("Node", "string", ".spec.node")]),
        of::<ClusterInformationSpec>(group, &["clusterinfo", "clusterinfos"], &[]),
        definition(
            group,
            &named(Kind::FelixConfiguration, &["felixconfig", "felixconfigs"], &[]),
            felix::schema(),
        ),
        of::<GlobalNetworkPolicySpec>(group, &["gnp", "cgnp"], POLICY),
        of::<GlobalNetworkSetSpec>(group, &["gns"], &[]),
        of::<HostEndpointSpec>(group, &["hep", "heps"], &[("Node", "string", ".spec.node")]),
        of::<IpPoolSpec>(group, &["ipp", "ipps", "pool", "pools"], POOL),
        of::<NetworkPolicySpec>(group, &["cnp", "caliconetworkpolicy"], POLICY),
        of::<NetworkSetSpec>(group, &["netset", "netsets"], &[]),
        of::<StagedGlobalNetworkPolicySpec>(group, &["sgnp"], POLICY),
        of::<StagedKubernetesNetworkPolicySpec>(group, &["sknp"], &[]),
        of::<StagedNetworkPolicySpec>(group, &["scnp", "snp"], POLICY),
        of::<TierSpec>(
            group,
            &[],
            &[
                ("Order", "number", ".spec.order"),
                ("DefaultAction", "string", ".spec.defaultAction"),
            ],
        ),
        definition(
            group,
            &named(
                Kind::BlockAffinity,
                &["affinity", "affinities"],
                &[
                    ("Node", "string", ".spec.node"),
                    ("CIDR", "string", ".spec.cidr"),
                    ("State", "string", ".spec.state"),
                ],
            ),
            affinity(group),
        ),
        definition(
            group,
            &named(
                Kind::IpamBlock,
                &[],
                &[("CIDR", "string", ".spec.cidr"), ("Affinity", "string", ".spec.affinity")],
            ),
            schema_of::<IpamBlockSpec>(),
        ),
        definition(group, &named(Kind::IpamHandle, &[], &[]), schema_of::<IpamHandleSpec>()),
        definition(group, &ipam_config, schema_of::<IpamConfigurationSpec>()),
        of::<IpReservationSpec>(group, &[], &[]),
        of::<KubeControllersConfigurationSpec>(group, &["kcc", "kccs"], &[]),
    ];
    all.sort_by_key(|definition| definition["metadata"]["name"].to_string());
    all
}

fn named(
    kind: Kind,
    short: &'static [&'static str],
    columns: &'static [(&'static str, &'static str, &'static str)],
) -> Named {
    Named { kind: kind.name(), plural: kind.plural(), scope: kind.scope(), short, columns }
}

fn of<S: Spec + JsonSchema>(
    group: ApiGroup,
    short: &'static [&'static str],
    columns: &'static [(&'static str, &'static str, &'static str)],
) -> Value {
    definition(group, &named(S::KIND, short, columns), schema_of::<S>())
}

fn definition(group: ApiGroup, named: &Named, mut spec: Value) -> Value {
    let (group_name, version) = match group {
        ApiGroup::Crd => ("crd.projectcalico.org", "v1"),
        ApiGroup::Native => ("projectcalico.org", "v3"),
    };
    refine(group, named.kind, &mut spec);
    let mut properties = json!({
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": {"type": "object"},
        "spec": spec,
    });
    let mut version = json!({
        "name": version, "served": true, "storage": true,
    });
    if let Some(status) = status::schema(named.kind) {
        properties["status"] = status;
        // Calico writes a resource of the first group whole.
        if group == ApiGroup::Native {
            version["subresources"] = json!({"status": {}});
        }
    }
    version["schema"] = json!({
        "openAPIV3Schema": {"type": "object", "properties": properties},
    });
    if group == ApiGroup::Native {
        let column = |(name, kind, path): &(&str, &str, &str)| json!({"name": name, "type": kind, "jsonPath": path});
        let age = ("Age", "date", ".metadata.creationTimestamp");
        let columns = named.columns.iter().chain([&age]).map(column);
        version["additionalPrinterColumns"] = columns.collect();
        if named.columns.iter().any(|(.., path)| *path == ".spec.tier") {
            version["selectableFields"] = json!([{"jsonPath": ".spec.tier"}]);
        }
    }
    let mut names = json!({
        "kind": named.kind,
        "listKind": format!("{}List", named.kind),
        "plural": named.plural,
        "singular": named.kind.to_lowercase(),
    });
    // Where both groups are served, short names are the other one's.
    if group == ApiGroup::Native && !named.short.is_empty() {
        let own = named.kind.to_lowercase();
        let short = named.short.iter().filter(|short| **short != own && **short != named.plural);
        names["shortNames"] = short.copied().collect();
    }
    let scope = match named.scope {
        Scope::Cluster => "Cluster",
        Scope::Namespaced => "Namespaced",
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{}.{group_name}", named.plural)},
        "spec": {"group": group_name, "names": names, "scope": scope, "versions": [version]},
    })
}

/// Rules that the types don't say.
fn refine(group: ApiGroup, kind: &str, spec: &mut Value) {
    // What an API server of Calico's has admitted it has checked already.
    if group == ApiGroup::Crd {
        return;
    }
    let immutable = |what: &str| json!([{"rule": "self == oldSelf", "message": format!("{what} cannot be changed: delete the pool and make another")}]);
    if kind == "IPPool" {
        spec["required"] = json!(["cidr"]);
        spec["properties"]["cidr"]["x-kubernetes-validations"] = immutable("cidr");
        let size = &mut spec["properties"]["blockSize"];
        size["x-kubernetes-validations"] = immutable("blockSize");
        (size["minimum"], size["maximum"]) = (json!(20), json!(128));
        spec["x-kubernetes-validations"] = json!([{
            "rule": "!has(self.ipipMode) || !has(self.vxlanMode) || self.ipipMode == 'Never' \
                     || self.vxlanMode == 'Never'",
            "message": "ipipMode and vxlanMode exclude each other: set one of them to Never",
        }]);
    }
}

/// In the first group, whether an affinity is deleted is a text.
fn affinity(group: ApiGroup) -> Value {
    let mut schema = schema_of::<BlockAffinitySpec>();
    let kind = match group {
        ApiGroup::Crd => "string",
        ApiGroup::Native => "boolean",
    };
    let description = schema["properties"]["deleted"]["description"].take();
    schema["properties"]["deleted"] = json!({"type": kind, "description": description});
    schema
}

fn schema_of<T: JsonSchema>() -> Value {
    let settings = schemars::generate::SchemaSettings::draft2020_12().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    structural(settings.into_generator().into_root_schema_for::<T>().to_value())
}

/// A number or a text, as Kubernetes says it.
pub(crate) fn number_or_text(description: &str) -> Schema {
    json_schema!({"description": description, "x-kubernetes-int-or-string": true})
}

//! IPPool: a range that workload, tunnel and load-balancer addresses come from.

use crate::{Kind, Labels, Metadata, Problem, Problems, Resource, Selector, Spec, validate};
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An IPPool resource.
pub type IpPool = Resource<IpPoolSpec>;

/// When packets between nodes are encapsulated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum EncapsulationMode {
    #[default]
    #[serde(alias = "")]
    Never,
    Always,
    CrossSubnet,
}

/// A pool's encapsulation and when it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Encapsulation {
    /// Packets travel as they are.
    None,
    /// In IP-in-IP; the mode is Always or CrossSubnet.
    Ipip(EncapsulationMode),
    /// In VXLAN; the mode is Always or CrossSubnet.
    Vxlan(EncapsulationMode),
}

/// What a pool's addresses may be used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AllowedUse {
    Workload,
    Tunnel,
    LoadBalancer,
}

/// Whether addresses are taken from a pool unasked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[expect(missing_docs, reason = "the names say it")]
pub enum AssignmentMode {
    #[default]
    Automatic,
    Manual,
}

/// The spec of an IPPool (Calico reference, "IP pool").
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct IpPoolSpec {
    /// The range, e.g. `192.168.0.0/16`. Text, so that a wrong one is reported by validation, not
    /// lost.
    pub cidr: String,
    /// IP-in-IP encapsulation; excludes VXLAN.
    pub ipip_mode: EncapsulationMode,
    /// VXLAN encapsulation; excludes IP-in-IP.
    pub vxlan_mode: EncapsulationMode,
    /// Masquerade what leaves the pools.
    #[serde(rename = "natOutgoing", skip_serializing_if = "std::ops::Not::not")]
    pub nat_outgoing: bool,
    /// Give no new addresses.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub disabled: bool,
    /// Keep the pool's routes from BGP peers.
    #[serde(rename = "disableBGPExport", skip_serializing_if = "std::ops::Not::not")]
    pub disable_bgp_export: bool,
    /// Prefix length of the blocks: default 26 or 122.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block_size: Option<u8>,
    /// Nodes that take addresses from the pool; default `all()`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_selector: Option<String>,
    /// Namespaces whose pods take addresses from the pool (3.31).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<String>,
    /// Default Workload and Tunnel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_uses: Option<Vec<AllowedUse>>,
    /// Default Automatic (3.30).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub assignment_mode: Option<AssignmentMode>,
}

/// What a pool that says nothing may be used for.
pub const DEFAULT_ALLOWED_USES: [AllowedUse; 2] = [AllowedUse::Workload, AllowedUse::Tunnel];

impl IpPoolSpec {
    /// The pool's range.
    ///
    /// # Errors
    /// `cidr` is no range, or has host bits set.
    pub fn net(&self) -> Result<IpNet, Problem> {
        let problem = |reason: String| Problem {
            field: "spec.cidr".to_owned(),
            value: self.cidr.clone(),
            reason,
        };
        let net: IpNet = self.cidr.parse().map_err(|_| {
            problem("write a range such as 192.168.0.0/16 or fd00:10::/48".to_owned())
        })?;
        if net != net.trunc() {
            let range = net.trunc();
            return Err(problem(format!("it has host bits set; the range is {range}")));
        }
        Ok(net)
    }

    /// Prefix length of the pool's blocks: as set, else 26, or 122 for an IPv6 pool.
    pub fn block_size(&self) -> u8 {
        let default = if self.cidr.contains(':') { 122 } else { 26 };
        self.block_size.unwrap_or(default)
    }

    /// Whether a node with these labels takes addresses from the pool. A selector that cannot be
    /// read selects nothing.
    pub fn selects_node(&self, labels: &impl Labels) -> bool {
        selects(self.node_selector.as_deref(), labels)
    }

    /// Whether pods of a namespace with these labels take addresses from the pool.
    pub fn selects_namespace(&self, labels: &impl Labels) -> bool {
        selects(self.namespace_selector.as_deref(), labels)
    }

    /// What the pool may be used for, defaults applied.
    pub fn allowed_uses(&self) -> &[AllowedUse] {
        match self.allowed_uses.as_deref() {
            None | Some([]) => &DEFAULT_ALLOWED_USES,
            Some(uses) => uses,
        }
    }

    /// Whether the pool may be used for this.
    pub fn allows(&self, wanted: AllowedUse) -> bool {
        self.allowed_uses().contains(&wanted)
    }

    /// Whether addresses are taken from the pool without its being named.
    pub fn is_automatic(&self) -> bool {
        self.assignment_mode.unwrap_or_default() == AssignmentMode::Automatic
    }

    /// The encapsulation; VXLAN where an invalid pool has both.
    pub fn encapsulation(&self) -> Encapsulation {
        match (self.ipip_mode, self.vxlan_mode) {
            (EncapsulationMode::Never, EncapsulationMode::Never) => Encapsulation::None,
            (mode, EncapsulationMode::Never) => Encapsulation::Ipip(mode),
            (_, mode) => Encapsulation::Vxlan(mode),
        }
    }
}

fn selects(selector: Option<&str>, labels: &impl Labels) -> bool {
    selector.is_none_or(|text| Selector::parse(text).is_ok_and(|s| s.matches(labels)))
}

/// Whether two ranges have an address in common.
pub fn overlap(one: &IpNet, other: &IpNet) -> bool {
    one.contains(other) || other.contains(one)
}

impl Spec for IpPoolSpec {
    const KIND: Kind = Kind::IpPool;

    fn check(&self, metadata: &Metadata, problems: &mut Problems) {
        validate::ip_pool::check(self, metadata, problems);
    }

    fn apply_defaults(&mut self, _metadata: &mut Metadata) {
        if let Ok(net) = self.net() {
            self.cidr = net.to_string();
        }
        self.block_size = Some(self.block_size());
        self.node_selector.get_or_insert_with(|| Selector::ALL.to_string());
        if self.allowed_uses.as_ref().is_none_or(Vec::is_empty) {
            let mut uses = DEFAULT_ALLOWED_USES.to_vec();
            // A pool for some namespaces cannot serve tunnels, which belong to none.
            uses.retain(|u| *u != AllowedUse::Tunnel || self.namespace_selector.is_none());
            self.allowed_uses = Some(uses);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn spec(json: &str) -> IpPoolSpec {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn what_is_unsaid_has_calicos_meaning() {
        let (v4, v6) = (spec(r#"{"cidr":"10.0.0.0/16"}"#), spec(r#"{"cidr":"fd00::/48"}"#));
        assert_eq!((v4.block_size(), v6.block_size()), (26, 122));
        assert!(v4.allows(AllowedUse::Workload) && v4.allows(AllowedUse::Tunnel));
        assert!(!v4.allows(AllowedUse::LoadBalancer));
        assert!(v4.is_automatic());
        assert!(v4.selects_node(&BTreeMap::new()) && v4.selects_namespace(&BTreeMap::new()));
        assert_eq!(v4.encapsulation(), Encapsulation::None);
        // As an older Calico stored it.
        assert_eq!(spec(r#"{"ipipMode":""}"#).ipip_mode, EncapsulationMode::Never);
        assert!(spec(r#"{"allowedUses":[]}"#).allows(AllowedUse::Tunnel));
    }

    #[test]
    fn selectors_choose_nodes_and_a_wrong_one_chooses_none() {
        let labels = BTreeMap::from([("rack".to_owned(), "a".to_owned())]);
        for (selector, chosen) in
            [("", true), ("rack == 'a'", true), ("rack == 'b'", false), ("(", false)]
        {
            let pool =
                IpPoolSpec { node_selector: Some(selector.to_owned()), ..IpPoolSpec::default() };
            assert_eq!(pool.selects_node(&labels), chosen, "{selector}");
        }
    }

    #[test]
    fn encapsulation_is_one_of_three() {
        for (json, expected) in [
            (r#"{"ipipMode":"Always"}"#, Encapsulation::Ipip(EncapsulationMode::Always)),
            (
                r#"{"vxlanMode":"CrossSubnet"}"#,
                Encapsulation::Vxlan(EncapsulationMode::CrossSubnet),
            ),
        ] {
            assert_eq!(spec(json).encapsulation(), expected);
        }
    }

    #[test]
    fn ranges_overlap_when_one_holds_the_other() {
        for (one, other, expected) in [
            ("10.0.0.0/8", "10.1.0.0/16", true),
            ("10.1.0.0/16", "10.0.0.0/8", true),
            ("10.1.0.0/16", "10.2.0.0/16", false),
            ("0.0.0.0/0", "::/0", false),
        ] {
            assert_eq!(overlap(&one.parse().unwrap(), &other.parse().unwrap()), expected);
        }
    }
}

//! The short text that names a policy where space is scarce: in chains' names and in logged
//! packets' prefixes, `np/shop/web` or `gnp/baseline` (Felix's `types.PolicyID.ID`).

use crate::input::{PolicyId, PolicyKind};
use std::fmt;
use std::str::FromStr;

/// Each kind, Felix's short name of it (`KindShortName`) and its whole name.
const NAMES: [(PolicyKind, &str, &str); 7] = [
    (PolicyKind::GlobalNetworkPolicy, "gnp", "GlobalNetworkPolicy"),
    (PolicyKind::NetworkPolicy, "np", "NetworkPolicy"),
    (PolicyKind::StagedGlobalNetworkPolicy, "sgnp", "StagedGlobalNetworkPolicy"),
    (PolicyKind::StagedNetworkPolicy, "snp", "StagedNetworkPolicy"),
    (PolicyKind::StagedKubernetesNetworkPolicy, "sknp", "StagedKubernetesNetworkPolicy"),
    (PolicyKind::KubernetesNetworkPolicy, "knp", "KubernetesNetworkPolicy"),
    (PolicyKind::KubernetesClusterNetworkPolicy, "kcnp", "ClusterNetworkPolicy"),
];

/// A text is not a policy's short id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` names no policy; write its kind's short name (gnp, np, sgnp, snp, sknp, knp, kcnp), its \
     namespace if it has one, and its name, e.g. np/shop/web"
)]
pub struct NotAPolicyId(Box<str>);

impl PolicyKind {
    /// Felix's short name of the kind, e.g. `gnp`.
    pub fn short_name(self) -> &'static str {
        let of_this_kind = NAMES.iter().find(|(kind, ..)| *kind == self);
        of_this_kind.map_or("", |(_, short, _)| short)
    }

    /// Whether its policies are only evaluated.
    pub fn is_staged(self) -> bool {
        use PolicyKind as K;
        matches!(
            self,
            K::StagedGlobalNetworkPolicy
                | K::StagedNetworkPolicy
                | K::StagedKubernetesNetworkPolicy
        )
    }

    /// The kind's whole name, e.g. `GlobalNetworkPolicy`.
    pub fn name(self) -> &'static str {
        let of_this_kind = NAMES.iter().find(|(kind, ..)| *kind == self);
        of_this_kind.map_or("", |(.., name)| name)
    }
}

impl PolicyId {
    /// The resource as people know it: `NetworkPolicy(shop/web)`.
    pub fn resource(&self) -> String {
        let kind = self.kind.name();
        match &*self.namespace {
            "" => format!("{kind}({})", self.name),
            namespace => format!("{kind}({namespace}/{})", self.name),
        }
    }
}

/// The short id, e.g. `np/shop/web`.
impl fmt::Display for PolicyId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.kind.short_name();
        match &*self.namespace {
            "" => write!(out, "{kind}/{}", self.name),
            namespace => write!(out, "{kind}/{namespace}/{}", self.name),
        }
    }
}

impl FromStr for PolicyId {
    type Err = NotAPolicyId;

    fn from_str(text: &str) -> Result<PolicyId, NotAPolicyId> {
        let wrong = || NotAPolicyId(text.into());
        let (short_name, rest) = text.split_once('/').ok_or_else(wrong)?;
        let (kind, ..) =
            NAMES.iter().find(|(_, short, _)| *short == short_name).ok_or_else(wrong)?;
        let (namespace, name) = rest.split_once('/').unwrap_or(("", rest));
        let has_empty_part = rest.starts_with('/') || name.is_empty();
        if has_empty_part || name.contains('/') {
            return Err(wrong());
        }
        Ok(PolicyId { kind: *kind, namespace: namespace.into(), name: name.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_felixs_and_read_back() {
        for (kind, namespace, name, text) in [
            (PolicyKind::GlobalNetworkPolicy, "", "baseline", "gnp/baseline"),
            (PolicyKind::NetworkPolicy, "shop", "default.web", "np/shop/default.web"),
            (PolicyKind::StagedGlobalNetworkPolicy, "", "a", "sgnp/a"),
            (PolicyKind::StagedNetworkPolicy, "shop", "a", "snp/shop/a"),
            (PolicyKind::StagedKubernetesNetworkPolicy, "shop", "a", "sknp/shop/a"),
            (PolicyKind::KubernetesNetworkPolicy, "shop", "a", "knp/shop/a"),
            (PolicyKind::KubernetesClusterNetworkPolicy, "", "kube-admin.a", "kcnp/kube-admin.a"),
        ] {
            let id = PolicyId { kind, namespace: namespace.into(), name: name.into() };
            assert_eq!(id.to_string(), text);
            assert_eq!(text.parse(), Ok(id));
        }
    }

    #[test]
    fn other_texts_are_no_ids() {
        for text in ["", "np", "np/", "np/shop/", "np/a/b/c", "xx/a", "NP/shop/a", "/a", "np//a"] {
            assert!(text.parse::<PolicyId>().is_err(), "{text}");
        }
    }
}

//! The kinds of resource: their names, plurals, scopes and the spellings a user may type.

use serde::{Deserialize, Serialize};

/// Whether a kind's names are unique in the cluster or in a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One name space for the whole cluster.
    Cluster,
    /// One name space per Kubernetes namespace.
    Namespaced,
}

macro_rules! kinds {
    ($($variant:ident, $name:literal, $plural:literal, $scope:ident, [$($short:literal),*];)*) => {
        /// A kind of v3 resource (Calico documentation, "Resource definitions").
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Kind {
            $(#[doc = concat!("`", $name, "`.")] #[serde(rename = $name)] $variant,)*
        }

        impl Kind {
            /// Every kind, in alphabetical order.
            pub const ALL: &'static [Kind] = &[$(Kind::$variant),*];

            /// The `kind` field's text, e.g. `IPPool`.
            pub const fn name(self) -> &'static str {
                match self { $(Kind::$variant => $name),* }
            }

            /// The lower-case plural of datastore keys and commands, e.g. `ippools`.
            pub const fn plural(self) -> &'static str {
                match self { $(Kind::$variant => $plural),* }
            }

            /// Cluster-wide or namespaced.
            pub const fn scope(self) -> Scope {
                match self { $(Kind::$variant => Scope::$scope),* }
            }

            const fn short_names(self) -> &'static [&'static str] {
                match self { $(Kind::$variant => &[$($short),*]),* }
            }
        }
    };
}

kinds! {
    BgpConfiguration, "BGPConfiguration", "bgpconfigurations", Cluster, ["bgpconfig", "bgpconfigs"];
    BgpFilter, "BGPFilter", "bgpfilters", Cluster, ["bgpf", "bgpfs", "bf", "bfs"];
    BgpPeer, "BGPPeer", "bgppeers", Cluster, ["bgpp", "bgpps"];
    BlockAffinity, "BlockAffinity", "blockaffinities", Cluster, ["affinity", "affinities"];
    CalicoNodeStatus, "CalicoNodeStatus", "caliconodestatuses", Cluster, ["nodestatus", "nodestatuses"];
    ClusterInformation, "ClusterInformation", "clusterinformations", Cluster, ["clusterinfo", "clusterinfos"];
    FelixConfiguration, "FelixConfiguration", "felixconfigurations", Cluster, ["felixconfig", "felixconfigs"];
    GlobalNetworkPolicy, "GlobalNetworkPolicy", "globalnetworkpolicies", Cluster, ["gnp", "gnps", "cgnp"];
    GlobalNetworkSet, "GlobalNetworkSet", "globalnetworksets", Cluster, ["gns"];
    HostEndpoint, "HostEndpoint", "hostendpoints", Cluster, ["hep", "heps"];
    IpamBlock, "IPAMBlock", "ipamblocks", Cluster, [];
    IpamConfig, "IPAMConfig", "ipamconfigs", Cluster, ["ipamconfiguration", "ipamconfigurations"];
    IpamHandle, "IPAMHandle", "ipamhandles", Cluster, [];
    IpPool, "IPPool", "ippools", Cluster, ["ipp", "ipps", "pool", "pools"];
    IpReservation, "IPReservation", "ipreservations", Cluster, [];
    KubeControllersConfiguration, "KubeControllersConfiguration", "kubecontrollersconfigurations", Cluster, ["kcc", "kccs"];
    NetworkPolicy, "NetworkPolicy", "networkpolicies", Namespaced, ["np", "policy", "policies", "pol", "pols", "cnp", "caliconetworkpolicy"];
    NetworkSet, "NetworkSet", "networksets", Namespaced, ["netset", "netsets"];
    Node, "Node", "nodes", Cluster, ["no", "nos"];
    Profile, "Profile", "profiles", Cluster, ["pro", "pros"];
    StagedGlobalNetworkPolicy, "StagedGlobalNetworkPolicy", "stagedglobalnetworkpolicies", Cluster, ["sgnp", "sgnps"];
    StagedKubernetesNetworkPolicy, "StagedKubernetesNetworkPolicy", "stagedkubernetesnetworkpolicies", Namespaced, ["sknp", "sknps"];
    StagedNetworkPolicy, "StagedNetworkPolicy", "stagednetworkpolicies", Namespaced, ["snp", "snps", "scnp"];
    Tier, "Tier", "tiers", Cluster, [];
    WorkloadEndpoint, "WorkloadEndpoint", "workloadendpoints", Namespaced, ["wep", "weps"];
}

impl Kind {
    /// The kind a user means: name, plural or short name in any case, with or without hyphens.
    pub fn parse(text: &str) -> Option<Kind> {
        let wanted = text.to_ascii_lowercase().replace('-', "");
        Kind::ALL.iter().copied().find(|kind| {
            kind.name().to_ascii_lowercase() == wanted
                || kind.plural() == wanted
                || kind.short_names().contains(&wanted.as_str())
        })
    }
}

//! The parameters with a Rust type, each a constant: those the product acts on.
//!
//! One that has its type but is not acted on yet says so; whoever acts on it takes that word away.

use super::choices::{
    AllowAction, ChainInsertMode, DenyAction, EndpointToHostAction, LogSeverity, NetworkingBackend,
    ProgramClusterRoutes, ServiceLoopPrevention, SourceSpoofing,
};
use super::definition::{Definition, Parameter};
use super::failsafe::FailsafePort;
use super::setting::ValueType::{
    AsNumber as AutonomousSystem, Bool, Choice, FailsafePorts, GoDuration, Integer,
    InterfacePrefixes, MarkMask, Pattern, Seconds, Selector, Text,
};
use crate::{AsNumber, EncapsulationMode};
use std::time::Duration;

macro_rules! parameters {
    ($($(#[doc = $doc:literal])+ $constant:ident: $type:ty = $definition:expr;)*) => {
        $(
            $(#[doc = $doc])+
            pub const $constant: Parameter<$type> =
                Parameter::new($definition.about(concat!($($doc),+).trim_ascii_start()));
        )*

        pub(super) static TYPED: &[Definition] = &[$($constant.definition),*];

        /// The names of the parameters whose default is not of their type: none.
        #[cfg(test)]
        pub(super) fn ill_typed() -> Vec<&'static str> {
            let mut names = Vec::new();
            $(
                let setting = $constant.definition.default_setting();
                if <$type as super::FromSetting>::from_setting(&setting).is_none() {
                    names.push($constant.definition.name);
                }
            )*
            names
        }
    };
}

const PORT: super::ValueType = Integer(0, 65535);
const MTU: super::ValueType = Integer(0, 65535);
const SEVERITY: super::ValueType = Choice(LogSeverity::WORDS);
const POOL_MODE: super::ValueType =
    Choice(&["Never", "Always", "CrossSubnet", "cross-subnet", "Off"]);

const fn felix(
    name: &'static str,
    field: &'static str,
    value_type: super::ValueType,
    default: &'static str,
) -> Definition {
    Definition::felix(name, field, value_type, default).acted_on()
}
const fn variable(
    name: &'static str,
    value_type: super::ValueType,
    default: &'static str,
) -> Definition {
    Definition::variable_named(name, value_type, default).acted_on()
}

parameters! {
    /// Which routes to other nodes' blocks the agent computes itself; VXLAN's always. Disabled
    /// leaves them to BGP.
    PROGRAM_CLUSTER_ROUTES: ProgramClusterRoutes =
        felix(
            "ProgramClusterRoutes",
            "programClusterRoutes",
            Choice(ProgramClusterRoutes::WORDS),
            "Disabled",
        );
    /// Whether `vxlan.calico` is made: unset means when an IPPool uses VXLAN.
    VXLAN_ENABLED: Option<bool> = felix("VXLANEnabled", "vxlanEnabled", Bool, "");
    /// MTU of `vxlan.calico`; 0 means the uplink's less 50.
    VXLAN_MTU: u32 = felix("VXLANMTU", "vxlanMTU", MTU, "0");
    /// MTU of `vxlan-v6.calico`; 0 means the uplink's less 70.
    VXLAN_MTU_V6: u32 = felix("VXLANMTUV6", "vxlanMTUV6", MTU, "0").not_acted_on();
    /// UDP port of VXLAN.
    VXLAN_PORT: u16 = felix("VXLANPort", "vxlanPort", PORT, "4789");
    /// VXLAN network identifier.
    VXLAN_VNI: u32 = felix("VXLANVNI", "vxlanVNI", Integer(0, 16_777_215), "4096");
    /// Whether `tunl0` is made: unset means when an IPPool uses IP-in-IP.
    IPIP_ENABLED: Option<bool> = felix("IpInIpEnabled", "ipipEnabled", Bool, "");
    /// MTU of `tunl0`; 0 means the uplink's less 20.
    IPIP_MTU: u32 = felix("IpInIpMtu", "ipipMTU", MTU, "0");
    /// Protocol number of the agent's routes. 3 means boot for pods and 80 for cluster routes;
    /// another value is for all.
    DEVICE_ROUTE_PROTOCOL: u8 =
        felix("DeviceRouteProtocol", "deviceRouteProtocol", Integer(0, 255), "3");
    /// Whether routes that somebody else put on a pod's interface are removed.
    REMOVE_EXTERNAL_ROUTES: bool =
        felix("RemoveExternalRoutes", "removeExternalRoutes", Bool, "true");
    /// How often the kernel's routes are read anew; 0 means never.
    ROUTE_REFRESH_INTERVAL: Duration =
        felix("RouteRefreshInterval", "routeRefreshInterval", Seconds, "90");
    /// Starts of the names of pods' interfaces; new ones are named with the first.
    INTERFACE_PREFIX: Vec<String> =
        felix("InterfacePrefix", "interfacePrefix", InterfacePrefixes, "cali").fatal();
    /// Where a file in `endpoint-status` tells of each workload that is routed; empty means nowhere.
    ENDPOINT_STATUS_PATH_PREFIX: String =
        felix("EndpointStatusPathPrefix", "endpointStatusPathPrefix", Text, "/var/run/calico");
    /// Interfaces whose MTU bounds that of tunnels and pods.
    MTU_IFACE_PATTERN: regex::Regex = felix(
        "MTUIfacePattern", "mtuIfacePattern", Pattern,
        "^((en|wl|ww|sl|ib)[Pcopsvx].*|(eth|wlan|wwan).*)");
    /// Whether the health server answers.
    HEALTH_ENABLED: bool = felix("HealthEnabled", "healthEnabled", Bool, "false");
    /// Address or name the health server listens on.
    HEALTH_HOST: String = felix("HealthHost", "healthHost", Text, "localhost");
    /// TCP port of the health server.
    HEALTH_PORT: u16 = felix("HealthPort", "healthPort", PORT, "9099");
    /// Whether metrics are served.
    PROMETHEUS_METRICS_ENABLED: bool =
        felix("PrometheusMetricsEnabled", "prometheusMetricsEnabled", Bool, "false");
    /// Address or name that metrics are served on; empty means every address.
    PROMETHEUS_METRICS_HOST: String =
        felix("PrometheusMetricsHost", "prometheusMetricsHost", Text, "");
    /// TCP port that metrics are served on.
    PROMETHEUS_METRICS_PORT: u16 =
        felix("PrometheusMetricsPort", "prometheusMetricsPort", PORT, "9091");
    /// The least severe messages written to standard output.
    LOG_SEVERITY_SCREEN: LogSeverity =
        felix("LogSeverityScreen", "logSeverityScreen", SEVERITY, "INFO");
    /// Whether start-up makes a default IPv6 pool. Policy is about IPv6 in any case.
    IPV6_SUPPORT: bool = felix("Ipv6Support", "ipv6Support", Bool, "true");

    /// What happens to packets from a pod to its own host, after the pod's own policy.
    DEFAULT_ENDPOINT_TO_HOST_ACTION: EndpointToHostAction =
        felix(
            "DefaultEndpointToHostAction",
            "defaultEndpointToHostAction",
            Choice(EndpointToHostAction::WORDS),
            "DROP",
        ).fatal();
    /// What may always come to a host with host endpoints; none means nothing.
    FAILSAFE_INBOUND_HOST_PORTS: Vec<FailsafePort> =
        felix(
            "FailsafeInboundHostPorts",
            "failsafeInboundHostPorts",
            FailsafePorts,
            "tcp:22,udp:68,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667",
        ).fatal_or_none();
    /// What a host with host endpoints may always reach; none means nothing.
    FAILSAFE_OUTBOUND_HOST_PORTS: Vec<FailsafePort> =
        felix(
            "FailsafeOutboundHostPorts",
            "failsafeOutboundHostPorts",
            FailsafePorts,
            "udp:53,udp:67,tcp:179,tcp:2379,tcp:2380,tcp:5473,tcp:6443,tcp:6666,tcp:6667",
        ).fatal_or_none();
    /// Bits of packets' marks that the dataplane takes for itself.
    NFTABLES_MARK_MASK: u32 =
        felix("NftablesMarkMask", "nftablesMarkMask", MarkMask, "0xffff0000").fatal();
    /// How packets that policy denies are refused: dropped, or rejected with ICMP's port unreachable
    /// whatever their protocol. doNotTrack and preDNAT policies drop, as do policies of what the host
    /// sends after DNAT, where the kernel cannot reject.
    NFTABLES_FILTER_DENY_ACTION: DenyAction =
        felix(
            "NftablesFilterDenyAction",
            "nftablesFilterDenyAction",
            Choice(DenyAction::WORDS),
            "DROP",
        ).fatal();
    /// How packets that policy allows leave the filter chains. Chains of other tables see them after
    /// either, as nftables has a verdict per chain of a hook.
    NFTABLES_FILTER_ALLOW_ACTION: AllowAction =
        felix(
            "NftablesFilterAllowAction",
            "nftablesFilterAllowAction",
            Choice(AllowAction::WORDS),
            "ACCEPT",
        ).fatal();
    /// How packets that preDNAT policy allows leave the mangle chains; as with the filter chains,
    /// those of other tables see them after either.
    NFTABLES_MANGLE_ALLOW_ACTION: AllowAction =
        felix(
            "NftablesMangleAllowAction",
            "nftablesMangleAllowAction",
            Choice(AllowAction::WORDS),
            "ACCEPT",
        ).fatal();
    /// Whether packets that connection tracking finds invalid are left to policy, not dropped.
    DISABLE_CONNTRACK_INVALID_CHECK: bool =
        felix("DisableConntrackInvalidCheck", "disableConntrackInvalidCheck", Bool, "false");
    /// Whether pods may ask to send from other addresses than their own.
    WORKLOAD_SOURCE_SPOOFING: SourceSpoofing =
        felix(
            "WorkloadSourceSpoofing",
            "workloadSourceSpoofing",
            Choice(SourceSpoofing::WORDS),
            "Disabled",
        );
    /// Whether pods may send VXLAN packets.
    ALLOW_VXLAN_PACKETS_FROM_WORKLOADS: bool =
        felix("AllowVXLANPacketsFromWorkloads", "allowVXLANPacketsFromWorkloads", Bool, "false");
    /// Whether pods may send IP-in-IP packets.
    ALLOW_IPIP_PACKETS_FROM_WORKLOADS: bool =
        felix("AllowIPIPPacketsFromWorkloads", "allowIPIPPacketsFromWorkloads", Bool, "false");
    /// What the lines of rules with action Log begin with, which are in the agent's log, not the
    /// kernel's: %t is the tier, %k the policy's kind in short, %n its name, %p namespace and name.
    LOG_PREFIX: String = felix("LogPrefix", "logPrefix", Text, "calico-packet");
    /// What happens to forwarded packets for a service's address that nothing serves: one of the
    /// default BGPConfiguration's serviceClusterIPs, serviceExternalIPs or serviceLoadBalancerIPs.
    SERVICE_LOOP_PREVENTION: ServiceLoopPrevention =
        felix(
            "ServiceLoopPrevention",
            "serviceLoopPrevention",
            Choice(ServiceLoopPrevention::WORDS),
            "Drop",
        );
    /// Where Calico's rules stand among those of others, in tables that they share: nftables' are
    /// each owner's own, whose order is that of the chains' priorities.
    CHAIN_INSERT_MODE: ChainInsertMode =
        felix("ChainInsertMode", "chainInsertMode", Choice(ChainInsertMode::WORDS), "insert")
            .fatal()
            .not_acted_on();

    /// The node's name; unset means the file CALICO_NODENAME_FILE, then HOSTNAME, then the
    /// system's.
    NODENAME: Option<String> = variable("NODENAME", Text, "");
    /// The node's name where NODENAME and its file say nothing.
    HOSTNAME: Option<String> = variable("HOSTNAME", Text, "");
    /// Where the node's name is kept for the CNI plugin.
    NODENAME_FILE: String = variable("CALICO_NODENAME_FILE", Text, "/var/lib/calico/nodename");
    /// IPv4 address: unset or `autodetect`, `none` for what is stored, an address, or one with
    /// prefix length.
    IP: Option<String> = variable("IP", Text, "");
    /// IPv6 address: unset or `none` for what is stored, `autodetect`, an address, or one with
    /// prefix length.
    IP6: Option<String> = variable("IP6", Text, "");
    /// How the IPv4 address is found: first-found, can-reach=, interface=, skip-interface=, cidr=,
    /// kubernetes-internal-ip.
    IP_AUTODETECTION_METHOD: String = variable("IP_AUTODETECTION_METHOD", Text, "first-found");
    /// How the IPv6 address is found.
    IP6_AUTODETECTION_METHOD: String = variable("IP6_AUTODETECTION_METHOD", Text, "first-found");
    /// How often the node's addresses are detected anew.
    AUTODETECT_POLL_INTERVAL: Duration =
        variable("AUTODETECT_POLL_INTERVAL", GoDuration, "60s").not_acted_on();
    /// The node's AS number, where it is not the cluster's.
    AS: Option<AsNumber> = variable("AS", AutonomousSystem, "").fatal();
    /// What brings routes to other nodes: bird (BGP), vxlan or none.
    NETWORKING_BACKEND: NetworkingBackend =
        variable("CALICO_NETWORKING_BACKEND", Choice(NetworkingBackend::WORDS), "bird");
    /// The BGP identifier: unset means the node's IPv4 address, `hash` one made from its name.
    ROUTER_ID: Option<String> = variable("CALICO_ROUTER_ID", Text, "");
    /// Whether the default pools are not created.
    NO_DEFAULT_POOLS: bool = variable("NO_DEFAULT_POOLS", Bool, "false").fatal();
    /// Range of the default IPv4 pool; unset means 192.168.0.0/16 or another private range, `none`
    /// no pool.
    IPV4POOL_CIDR: Option<String> = variable("CALICO_IPV4POOL_CIDR", Text, "");
    /// The default IPv4 pool's ipipMode.
    IPV4POOL_IPIP: EncapsulationMode = variable("CALICO_IPV4POOL_IPIP", POOL_MODE, "Never").fatal();
    /// The default IPv4 pool's vxlanMode.
    IPV4POOL_VXLAN: EncapsulationMode =
        variable("CALICO_IPV4POOL_VXLAN", POOL_MODE, "Never").fatal();
    /// The default IPv4 pool's natOutgoing.
    IPV4POOL_NAT_OUTGOING: bool = variable("CALICO_IPV4POOL_NAT_OUTGOING", Bool, "true").fatal();
    /// The default IPv4 pool's blockSize.
    IPV4POOL_BLOCK_SIZE: u8 = variable("CALICO_IPV4POOL_BLOCK_SIZE", Integer(20, 32), "26").fatal();
    /// The default IPv4 pool's nodeSelector.
    IPV4POOL_NODE_SELECTOR: String =
        variable("CALICO_IPV4POOL_NODE_SELECTOR", Selector, "all()").fatal();
    /// The default IPv4 pool's disableBGPExport.
    IPV4POOL_DISABLE_BGP_EXPORT: bool =
        variable("CALICO_IPV4POOL_DISABLE_BGP_EXPORT", Bool, "false").fatal();
    /// Range of the default IPv6 pool; unset means a random unique local /48 if the node has an IPv6
    /// address, `none` no pool.
    IPV6POOL_CIDR: Option<String> = variable("CALICO_IPV6POOL_CIDR", Text, "");
    /// The default IPv6 pool's vxlanMode.
    IPV6POOL_VXLAN: EncapsulationMode =
        variable("CALICO_IPV6POOL_VXLAN", POOL_MODE, "Never").fatal();
    /// The default IPv6 pool's natOutgoing.
    IPV6POOL_NAT_OUTGOING: bool =
        variable("CALICO_IPV6POOL_NAT_OUTGOING", Bool, "false").fatal();
    /// The default IPv6 pool's blockSize.
    IPV6POOL_BLOCK_SIZE: u8 =
        variable("CALICO_IPV6POOL_BLOCK_SIZE", Integer(116, 128), "122").fatal();
    /// The default IPv6 pool's nodeSelector.
    IPV6POOL_NODE_SELECTOR: String =
        variable("CALICO_IPV6POOL_NODE_SELECTOR", Selector, "all()").fatal();
    /// The default IPv6 pool's disableBGPExport.
    IPV6POOL_DISABLE_BGP_EXPORT: bool =
        variable("CALICO_IPV6POOL_DISABLE_BGP_EXPORT", Bool, "false").fatal();
    /// Words that the node adds to ClusterInformation's clusterType, comma-separated.
    CLUSTER_TYPE: Vec<String> = variable("CLUSTER_TYPE", Text, "");
    /// Whether no log files are written beside standard output.
    DISABLE_FILE_LOGGING: bool = variable("CALICO_DISABLE_FILE_LOGGING", Bool, "false");
    /// The least severe messages written during start-up.
    STARTUP_LOGLEVEL: LogSeverity =
        variable("CALICO_STARTUP_LOGLEVEL", SEVERITY, "ERROR").not_acted_on();
    /// Whether start-up waits for the datastore instead of giving up.
    WAIT_FOR_DATASTORE: bool = variable("WAIT_FOR_DATASTORE", Bool, "false");
    /// Address, with or without a port, at which other nodes may ask this one; 5475 where none is
    /// given. Every node must have the same port.
    API_ADDRESS: Option<String> = variable("CALICO_API_ADDRESS", Text, "");
    /// The node's certificate for other nodes, PEM: its name is the node's, its authority theirs
    /// too.
    API_CERT_FILE: Option<String> = variable("CALICO_API_CERT_FILE", Text, "");
    /// The certificate's private key, PEM.
    API_KEY_FILE: Option<String> = variable("CALICO_API_KEY_FILE", Text, "");
    /// The authority that other nodes' certificates are of, PEM.
    API_CA_FILE: Option<String> = variable("CALICO_API_CA_FILE", Text, "");
    /// Whether another node with the same address is tolerated.
    DISABLE_NODE_IP_CHECK: bool = variable("DISABLE_NODE_IP_CHECK", Bool, "false");
    /// The node's name in Kubernetes.
    K8S_NODE_REF: Option<String> = variable("CALICO_K8S_NODE_REF", Text, "");
    /// Whether the agent keeps the CNI plugin's credentials fresh.
    MANAGE_CNI: bool = variable("CALICO_MANAGE_CNI", Bool, "true");
    /// Whose tokens the CNI plugin gets, in the agent's namespace.
    CNI_SERVICE_ACCOUNT: String = variable("CALICO_CNI_SERVICE_ACCOUNT", Text, "calico-cni-plugin");
    /// How often the CNI plugin gets a new token; unset means after a quarter to a half of its
    /// validity.
    CNI_TOKEN_REFRESH_INTERVAL: Option<Duration> =
        variable("CNI_TOKEN_REFRESH_INTERVAL", GoDuration, "");
    /// Who is to own the host's directories that `calico-node hostpath-init` makes.
    NODE_USER_ID: u32 = variable("NODE_USER_ID", Integer(0, 4_294_967_295), "1000").fatal();
    /// Whether pods' addresses come from the Kubernetes Node's podCIDR.
    USE_POD_CIDR: bool = variable("USE_POD_CIDR", Bool, "false").not_acted_on();
    /// Which datastore: etcd (or `calico datastore`), or the Kubernetes API.
    DATASTORE_TYPE: String =
        variable("DATASTORE_TYPE", Choice(&["etcdv3", "kubernetes"]), "etcdv3").fatal();
    /// URLs of etcd's members, comma-separated.
    ETCD_ENDPOINTS: Vec<String> = variable("ETCD_ENDPOINTS", Text, "");
    /// User name for etcd.
    ETCD_USERNAME: Option<String> = variable("ETCD_USERNAME", Text, "");
    /// Password for etcd.
    ETCD_PASSWORD: Option<String> = variable("ETCD_PASSWORD", Text, "");
    /// File of the private key towards etcd.
    ETCD_KEY_FILE: Option<String> = variable("ETCD_KEY_FILE", Text, "");
    /// File of the certificate towards etcd.
    ETCD_CERT_FILE: Option<String> = variable("ETCD_CERT_FILE", Text, "");
    /// File of the authority that etcd's certificate is checked with.
    ETCD_CA_CERT_FILE: Option<String> = variable("ETCD_CA_CERT_FILE", Text, "");
    /// File that says where the Kubernetes API is and who asks it; without it and without
    /// K8S_API_ENDPOINT it is that of the cluster this is a pod of.
    KUBECONFIG: Option<String> = variable("KUBECONFIG", Text, "");
    /// The kubeconfig's context that counts, instead of its current one.
    K8S_CURRENT_CONTEXT: Option<String> = variable("K8S_CURRENT_CONTEXT", Text, "");
    /// URL of the Kubernetes API, over the kubeconfig's.
    K8S_API_ENDPOINT: Option<String> = variable("K8S_API_ENDPOINT", Text, "");
    /// Bearer token towards the Kubernetes API, over the kubeconfig's.
    K8S_API_TOKEN: Option<String> = variable("K8S_API_TOKEN", Text, "");
    /// File of the private key towards the Kubernetes API, over the kubeconfig's.
    K8S_KEY_FILE: Option<String> = variable("K8S_KEY_FILE", Text, "");
    /// File of the certificate towards the Kubernetes API, over the kubeconfig's.
    K8S_CERT_FILE: Option<String> = variable("K8S_CERT_FILE", Text, "");
    /// File of the authority that the Kubernetes API's certificate is checked with, over the
    /// kubeconfig's.
    K8S_CA_FILE: Option<String> = variable("K8S_CA_FILE", Text, "");
    /// Whether any certificate of the Kubernetes API's is taken.
    K8S_INSECURE_SKIP_TLS_VERIFY: bool = variable("K8S_INSECURE_SKIP_TLS_VERIFY", Bool, "false");
    /// The API group of Calico's resources in Kubernetes: crd.projectcalico.org/v1 or
    /// projectcalico.org/v3; the one that the cluster has where none is named.
    API_GROUP: Option<String> = variable("CALICO_API_GROUP", Text, "");
}

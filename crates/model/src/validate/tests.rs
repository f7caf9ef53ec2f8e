//! Tests of validation: for each kind, documents and the problems that each must raise.

mod bgp_filter;
mod policy;

use crate::*;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

/// The fields that have a problem, in order.
fn fields_wrong<S: Spec + DeserializeOwned>(name: &str, spec: Json) -> Vec<String> {
    let mut resource: Resource<S> = Resource::new(name, serde_json::from_value(spec).unwrap());
    if S::KIND.scope() == Scope::Namespaced {
        resource.metadata.namespace = Some("default".to_owned());
    }
    let problems = resource.validate().err().unwrap_or_default();
    for problem in &problems {
        assert!(!problem.reason.is_empty(), "{problem}");
    }
    problems.into_iter().map(|problem| problem.field).collect()
}

fn check<S: Spec + DeserializeOwned>(name: &str, cases: Vec<(Json, &[&str])>) {
    for (spec, expected) in cases {
        assert_eq!(fields_wrong::<S>(name, spec.clone()), expected, "{spec}");
    }
}

fn pool(name: &str, spec: Json) -> IpPool {
    Resource::new(name, serde_json::from_value(spec).unwrap())
}

#[test]
fn pools() {
    let lb = json!(["LoadBalancer"]);
    check::<IpPoolSpec>(
        "pool",
        vec![
            (json!({"cidr": "192.168.0.0/16"}), &[]),
            (json!({"cidr": "192.168.0.0/26"}), &[]),
            (json!({"cidr": "fd00:10::/48", "vxlanMode": "Always"}), &[]),
            (json!({"cidr": "10.0.0.0/8", "blockSize": 20}), &[]),
            (json!({"cidr": "10.0.0.0/32", "blockSize": 32}), &[]),
            (json!({}), &["spec.cidr"]),
            (json!({"cidr": "192.168.0.1/16"}), &["spec.cidr"]),
            (json!({"cidr": "192.168.0.0/33"}), &["spec.cidr"]),
            (json!({"cidr": "192.168.0.0"}), &["spec.cidr"]),
            (json!({"cidr": "169.254.1.0/24"}), &["spec.cidr"]),
            (json!({"cidr": "160.0.0.0/4"}), &["spec.cidr"]),
            (json!({"cidr": "fe80::/64"}), &["spec.cidr"]),
            (json!({"cidr": "192.168.0.0/27"}), &["spec.cidr"]),
            (json!({"cidr": "192.168.0.0/27", "disabled": true}), &[]),
            (json!({"cidr": "10.0.0.0/8", "blockSize": 19}), &["spec.blockSize"]),
            (json!({"cidr": "10.0.0.0/8", "blockSize": 33}), &["spec.blockSize"]),
            (json!({"cidr": "fd00::/48", "blockSize": 115}), &["spec.blockSize"]),
            (json!({"cidr": "fd00::/48", "ipipMode": "Always"}), &["spec.ipipMode"]),
            (
                json!({"cidr": "10.0.0.0/8", "ipipMode": "Always", "vxlanMode": "CrossSubnet"}),
                &["spec.vxlanMode"],
            ),
            (json!({"cidr": "10.0.0.0/8", "nodeSelector": "a b"}), &["spec.nodeSelector"]),
            (json!({"cidr": "10.0.0.0/8", "nodeSelector": "!global()"}), &["spec.nodeSelector"]),
            (json!({"cidr": "10.0.0.0/8", "namespaceSelector": "("}), &["spec.namespaceSelector"]),
            (json!({"cidr": "10.0.0.0/8", "namespaceSelector": "has(a)"}), &[]),
            (
                json!({"cidr": "10.0.0.0/8", "namespaceSelector": "has(a)",
                       "allowedUses": ["Workload", "Tunnel"]}),
                &["spec.allowedUses"],
            ),
            (json!({"cidr": "10.0.0.0/8", "allowedUses": lb, "nodeSelector": "all()"}), &[]),
            (
                json!({"cidr": "10.0.0.0/8", "allowedUses": ["LoadBalancer", "Workload"],
                       "vxlanMode": "Always", "disableBGPExport": true, "nodeSelector": "has(a)"}),
                &["spec.allowedUses"; 4],
            ),
        ],
    );
}

#[test]
fn a_problem_names_field_value_and_way_out() {
    let wrong = pool("p", json!({"cidr": "192.168.7.1/16"})).validate().unwrap_err();
    assert_eq!(
        wrong[0].to_string(),
        "error with field spec.cidr = '192.168.7.1/16' (it has host bits set; the range is \
         192.168.0.0/16)"
    );
}

#[test]
fn pools_beside_each_other() {
    let existing = [
        pool("a", json!({"cidr": "10.0.0.0/16"})),
        pool("b", json!({"cidr": "fd00::/48"})),
        pool("broken", json!({"cidr": "?"})),
    ];
    for (name, cidr, overlaps) in [
        ("c", "10.1.0.0/16", 0),
        ("c", "10.0.128.0/20", 1),
        ("c", "10.0.0.0/8", 1),
        ("a", "10.0.0.0/16", 0),
        ("c", "fd00::/32", 1),
        ("c", "?", 1),
    ] {
        let found = validate::validate_pools(&pool(name, json!({"cidr": cidr})), &existing);
        assert_eq!(found.err().map_or(0, |p| p.len()), overlaps, "{name} {cidr}");
    }
}

#[test]
fn pools_across_an_update() {
    let old = pool("a", json!({"cidr": "10.0.0.0/16"}));
    for (spec, expected) in [
        (json!({"cidr": "10.0.0.0/16", "vxlanMode": "Always", "blockSize": 26}), vec![]),
        (json!({"cidr": "10.1.0.0/16"}), vec!["spec.cidr"]),
        (json!({"cidr": "10.0.0.0/16", "blockSize": 24}), vec!["spec.blockSize"]),
        (json!({"cidr": "10.0.0.0/16", "allowedUses": ["LoadBalancer"]}), vec!["spec.allowedUses"]),
    ] {
        let found =
            validate::validate_pool_update(&old, &pool("a", spec)).err().unwrap_or_default();
        assert_eq!(found.iter().map(|p| p.field.as_str()).collect::<Vec<_>>(), expected);
    }
}

#[test]
fn nodes() {
    check::<NodeSpec>(
        "worker-1",
        vec![
            (json!({}), &[]),
            (
                json!({"bgp": {"ipv4Address": "10.30.0.206/24", "ipv6Address": "2001:db8::1/64",
                               "ipv4IPIPTunnelAddr": "192.168.0.1", "asNumber": "1.10",
                               "routeReflectorClusterID": "244.0.0.1"},
                       "ipv4VXLANTunnelAddr": "192.168.0.2",
                       "vxlanTunnelMACAddr": "66:6f:00:11:22:33",
                       "addresses": [{"address": "10.30.0.206/24", "type": "CalicoNodeIP"}]}),
                &[],
            ),
            (json!({"bgp": {}}), &["spec.bgp"]),
            (json!({"bgp": {"ipv4Address": "2001:db8::1/64"}}), &["spec.bgp.ipv4Address"]),
            (json!({"bgp": {"ipv6Address": "x"}}), &["spec.bgp.ipv6Address"]),
            (
                json!({"bgp": {"ipv4IPIPTunnelAddr": "1.2.3.4/32"}}),
                &["spec.bgp.ipv4IPIPTunnelAddr"],
            ),
            (
                json!({"bgp": {"routeReflectorClusterID": "1"}}),
                &["spec.bgp.routeReflectorClusterID"],
            ),
            (json!({"ipv4VXLANTunnelAddr": "fd00::1"}), &["spec.ipv4VXLANTunnelAddr"]),
            (json!({"ipv6VXLANTunnelAddr": "10.0.0.1"}), &["spec.ipv6VXLANTunnelAddr"]),
            (json!({"vxlanTunnelMACAddr": "66:6f:00:11:22"}), &["spec.vxlanTunnelMACAddr"]),
            (json!({"vxlanTunnelMACAddrV6": "66:6f:00:11:22:+3"}), &["spec.vxlanTunnelMACAddrV6"]),
            (
                json!({"addresses": [{"address": "x", "type": "CalicoNodeIP"},
                                     {"address": "host.name", "type": "InternalDNS"}]}),
                &["spec.addresses[0].address"],
            ),
        ],
    );
}

#[test]
fn bgp_configurations() {
    check::<BgpConfigurationSpec>(
        "default",
        vec![
            (json!({}), &[]),
            (
                json!({"asNumber": 64512, "nodeToNodeMeshEnabled": true, "listenPort": 179,
                       "serviceClusterIPs": [{"cidr": "10.96.0.0/12"}], "bindMode": "NodeIP",
                       "logSeverityScreen": "Info", "programClusterRoutes": "EnabledNoEncapOnly",
                       "communities": [{"name": "c", "value": "65000:1"}],
                       "prefixAdvertisements":
                           [{"cidr": "10.0.0.0/8", "communities": ["c", "1:2:3"]}],
                       "nodeMeshPassword": {"secretKeyRef": {"name": "s", "key": "k"}},
                       "nodeMeshMaxRestartTime": "120s", "ignoredInterfaces": ["eth*"],
                       "ipv4NormalRoutePriority": 1024,
                       "localWorkloadPeeringIPV4": "169.254.1.1"}),
                &[],
            ),
            (json!({"logSeverityScreen": "loud"}), &["spec.logSeverityScreen"]),
            (json!({"serviceExternalIPs": [{"cidr": "x"}]}), &["spec.serviceExternalIPs[0].cidr"]),
            (json!({"listenPort": 0}), &["spec.listenPort"]),
            (json!({"bindMode": "All"}), &["spec.bindMode"]),
            (json!({"ipv6NormalRoutePriority": 0}), &["spec.ipv6NormalRoutePriority"]),
            (json!({"ignoredInterfaces": ["a b"]}), &["spec.ignoredInterfaces[0]"]),
            (json!({"localWorkloadPeeringIPV6": "1.2.3.4"}), &["spec.localWorkloadPeeringIPV6"]),
            (json!({"nodeMeshPassword": {"secretKeyRef": {}}}), &["spec.nodeMeshPassword"]),
            (
                json!({"nodeToNodeMeshEnabled": false, "nodeMeshMaxRestartTime": "x"}),
                &["spec.nodeMeshMaxRestartTime"; 2],
            ),
            (
                json!({"communities": [{"name": "c", "value": "65536:1"}]}),
                &["spec.communities[0].value", "spec.communities[0].name"],
            ),
            (
                json!({"prefixAdvertisements": [{"cidr": "10.0.0.0/8", "communities": ["c"]}]}),
                &["spec.prefixAdvertisements[0].communities"],
            ),
        ],
    );
    check::<BgpConfigurationSpec>(
        "node.worker-1",
        vec![
            (json!({"listenPort": 1179, "logSeverityScreen": "Debug"}), &[]),
            (
                json!({"asNumber": 1, "serviceClusterIPs": []}),
                &["spec.asNumber", "spec.serviceClusterIPs"],
            ),
        ],
    );
    check::<BgpConfigurationSpec>("other", vec![(json!({}), &["metadata.name"])]);
}

#[test]
fn bgp_peers() {
    check::<BgpPeerSpec>(
        "peer",
        vec![
            (json!({"peerIP": "10.0.0.1", "asNumber": 64512}), &[]),
            (json!({"peerIP": "10.0.0.1:1179", "asNumber": "1.1", "node": "n"}), &[]),
            (
                json!({"peerIP": "[fd00::1]:179", "asNumber": 1, "reachableBy": "fd00::2",
                       "nextHopMode": "Self", "maxRestartTime": "10s", "filters": ["f"]}),
                &[],
            ),
            (json!({"peerSelector": "rr == 'true'", "nodeSelector": "all()"}), &[]),
            (json!({"localWorkloadSelector": "has(bgp)", "asNumber": 1}), &[]),
            (json!({}), &["spec.peerIP"]),
            (json!({"peerIP": "10.0.0.1"}), &["spec.asNumber"]),
            (json!({"peerIP": "10.0.0.1:0", "asNumber": 1}), &["spec.peerIP"]),
            (json!({"peerIP": "host", "asNumber": 1}), &["spec.peerIP"]),
            (json!({"peerSelector": "all()", "asNumber": 1}), &["spec.asNumber"]),
            (
                json!({"peerSelector": "all()", "peerIP": "1.1.1.1", "asNumber": 1}),
                &["spec.peerSelector"],
            ),
            (
                json!({"peerSelector": "all()", "node": "n", "nodeSelector": "x"}),
                &["spec.nodeSelector"; 2],
            ),
            (
                json!({"peerIP": "10.0.0.1", "asNumber": 1, "reachableBy": "fd00::2"}),
                &["spec.reachableBy"],
            ),
            (json!({"localWorkloadSelector": "all()"}), &["spec.asNumber"]),
            (
                json!({"localWorkloadSelector": "all()", "asNumber": 1, "peerIP": "1.1.1.1"}),
                &["spec.localWorkloadSelector"],
            ),
            (
                json!({"peerSelector": "all()", "nextHopMode": "Keep",
                       "keepOriginalNextHop": true}),
                &["spec.keepOriginalNextHop"],
            ),
            (
                json!({"peerSelector": "all()", "sourceAddress": "x", "reversePeering": "x",
                       "keepaliveTime": "x", "numAllowedLocalASNumbers": -1, "password": {},
                       "filters": ["A"]}),
                &[
                    "spec.sourceAddress",
                    "spec.reversePeering",
                    "spec.keepaliveTime",
                    "spec.password",
                    "spec.numAllowedLocalASNumbers",
                    "spec.filters[0]",
                ],
            ),
        ],
    );
}

#[test]
fn workload_endpoints() {
    let with = |field: &str, value: Json| {
        let mut spec = json!({"orchestrator": "k8s", "node": "worker-1", "pod": "pod-1",
            "endpoint": "eth0", "interfaceName": "cali0123456789a", "mac": "ee:ee:ee:ee:ee:ee",
            "ipNetworks": ["192.168.0.1/32", "fd00::1/128"]});
        spec[field] = value;
        spec
    };
    check::<WorkloadEndpointSpec>(
        "worker--1-k8s-pod--1-eth0",
        vec![
            (with("profiles", json!(["kns.default"])), &[]),
            (with("ipNetworks", json!(["192.168.0.1"])), &[]),
            (with("ipNetworks", json!(["192.168.0.0/24"])), &["spec.ipNetworks[0]"]),
            (with("ipNATs", json!([{"internalIP": "192.168.0.1", "externalIP": "1.1.1.1"}])), &[]),
            (
                with("ipNATs", json!([{"internalIP": "192.168.0.9", "externalIP": "x"}])),
                &["spec.ipNATs[0].externalIP", "spec.ipNATs[0].internalIP"],
            ),
            (
                with(
                    "ports",
                    json!([{"name": "http", "protocol": "TCP", "port": 80},
                                     {"protocol": "UDP", "port": 53, "hostPort": 53}]),
                ),
                &[],
            ),
            (
                with("ports", json!([{"protocol": "ICMP", "hostIP": "x"}])),
                &[
                    "spec.ports[0].name",
                    "spec.ports[0].protocol",
                    "spec.ports[0].port",
                    "spec.ports[0].hostIP",
                ],
            ),
            (with("mac", json!("x")), &["spec.mac"]),
            (with("interfaceName", json!("cali0123456789abc")), &["spec.interfaceName"]),
            (
                with("allowSpoofedSourcePrefixes", json!(["x"])),
                &["spec.allowSpoofedSourcePrefixes[0]"],
            ),
            (with("ipv4Gateway", json!("x")), &["spec.ipv4Gateway"]),
            (with("pod", json!("")), &["spec.pod"]),
            (with("pod", json!("pod-2")), &["metadata.name"]),
            (with("orchestrator", json!("")), &["spec.orchestrator"]),
            (with("orchestrator", json!("cni")), &["spec.containerID"]),
        ],
    );
    let mut endpoint = WorkloadEndpoint::new(
        "n-k8s-p-eth0",
        serde_json::from_value(with("node", json!("n"))).unwrap(),
    );
    endpoint.spec.pod = "p".to_owned();
    let problems = endpoint.validate().unwrap_err();
    assert_eq!(problems[0].field, "metadata.namespace");
}

#[test]
fn node_statuses() {
    check::<CalicoNodeStatusSpec>(
        "s",
        vec![
            (json!({"node": "worker-1", "updatePeriodSeconds": 0}), &[]),
            (
                json!({"node": "n", "classes": ["Agent", "BGP", "Routes"],
                       "updatePeriodSeconds": 86400}),
                &[],
            ),
            (json!({}), &["spec.node", "spec.updatePeriodSeconds"]),
            (
                json!({"node": "n", "classes": ["bgp"], "updatePeriodSeconds": 86401}),
                &["spec.classes[0]", "spec.updatePeriodSeconds"],
            ),
        ],
    );
}

#[test]
fn reservations() {
    check::<IpReservationSpec>(
        "r",
        vec![
            (json!({}), &[]),
            (json!({"reservedCIDRs": ["10.0.0.0/30", "10.0.0.9", "fd00::/120"]}), &[]),
            (
                json!({"reservedCIDRs": ["10.0.0.1/30", "", "x"]}),
                &["spec.reservedCIDRs[0]", "spec.reservedCIDRs[1]", "spec.reservedCIDRs[2]"],
            ),
        ],
    );
}

#[test]
fn kube_controllers_configurations() {
    let template = json!({"generateName": "No", "interfaceCIDRs": ["x"], "nodeSelector": "=="});
    let at = "spec.controllers.node.hostEndpoint";
    let wrong: Vec<String> = [
        "spec.logSeverityScreen",
        "spec.etcdV3CompactionPeriod",
        "spec.prometheusMetricsPort",
        "spec.controllers.policy.reconcilerPeriod",
        "spec.controllers.node.syncLabels",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain(
        ["autoCreate", "templates[0].generateName", "templates[0].interfaceCIDRs[0]"]
            .map(|field| format!("{at}.{field}")),
    )
    .chain([
        format!("{at}.templates[0].nodeSelector"),
        "spec.controllers.loadBalancer.assignIPs".to_owned(),
    ])
    .collect();
    let spec = json!({
        "logSeverityScreen": "loud", "etcdV3CompactionPeriod": "x", "prometheusMetricsPort": 70000,
        "controllers": {
            "policy": {"reconcilerPeriod": "soon"},
            "node": {"syncLabels": "yes", "hostEndpoint": {
                "autoCreate": "true", "templates": [template],
            }},
            "loadBalancer": {"assignIPs": "Some"},
        },
    });
    assert_eq!(fields_wrong::<KubeControllersConfigurationSpec>("default", spec), wrong);
    check::<KubeControllersConfigurationSpec>(
        "default",
        vec![(
            json!({
                "logSeverityScreen": "Info", "healthChecks": "Enabled", "prometheusMetricsPort": 0,
                "controllers": {"node": {"reconcilerPeriod": "5m", "hostEndpoint": {
                    "autoCreate": "Enabled", "templates": [{
                        "generateName": "eth", "interfaceCIDRs": ["10.0.0.0/8"], "nodeSelector": "all()",
                    }],
                }}},
            }),
            &[],
        )],
    );
    check::<KubeControllersConfigurationSpec>("mine", vec![(json!({}), &["metadata.name"])]);
}

#[test]
fn felix_configurations() {
    check::<FelixConfigurationSpec>(
        "default",
        vec![
            (
                json!({"vxlanMTU": 1400, "vxlanEnabled": null, "logSeverityScreen": "Info",
                       "routeRefreshInterval": "90s", "bpfEnabled": false, "natPortRange": "1:2",
                       "failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22}],
                       "iptablesMarkMask": 4_294_901_760_u32, "logFilePath": "None"}),
                &[],
            ),
            (json!({"vxlanmtu": 1}), &["spec.vxlanmtu"]),
            (json!({"vxlanMTU": "1400"}), &["spec.vxlanMTU"]),
            (json!({"vxlanMTU": 1.5}), &["spec.vxlanMTU"]),
            (json!({"vxlanPort": 65536}), &["spec.vxlanPort"]),
            (json!({"bpfEnabled": "yes"}), &["spec.bpfEnabled"]),
            (json!({"routeRefreshInterval": "90"}), &["spec.routeRefreshInterval"]),
            (json!({"routeRefreshInterval": 90}), &["spec.routeRefreshInterval"]),
            (json!({"programClusterRoutes": "Sometimes"}), &["spec.programClusterRoutes"]),
            (json!({"mtuIfacePattern": "("}), &["spec.mtuIfacePattern"]),
            (json!({"natOutgoingAddress": "fd00::1"}), &["spec.natOutgoingAddress"]),
            (json!({"interfacePrefix": "none"}), &["spec.interfacePrefix"]),
            (json!({"nodeSelector": "("}), &["spec.nodeSelector"]),
            (json!({"nodeSelector": 1}), &["spec.nodeSelector"]),
        ],
    );
    check::<FelixConfigurationSpec>("node.worker-1", vec![(json!({}), &[])]);
    check::<FelixConfigurationSpec>(
        "racks",
        vec![(json!({}), &["metadata.name"]), (json!({"nodeSelector": "has(rack)"}), &[])],
    );
}

#[test]
fn metadata_of_any_kind() {
    let problems = |name: &str, change: &dyn Fn(&mut Metadata)| -> Vec<String> {
        let mut profile = Profile::new(name, ProfileSpec::default());
        change(&mut profile.metadata);
        let problems = profile.validate().err().unwrap_or_default();
        problems.into_iter().map(|problem| problem.field).collect()
    };
    for name in ["kns.default", "a", "a-b.c0", &"a".repeat(253)] {
        assert_eq!(problems(name, &|_| {}), Vec::<String>::new(), "{name}");
    }
    for name in ["", "A", "a_b", "-a", "a-", "a..b", ".a", "a/b", "é", &"a".repeat(254)] {
        assert_eq!(problems(name, &|_| {}), ["metadata.name"], "{name}");
    }
    let label = |key: &'static str, value: &'static str| {
        problems("a", &move |m| drop(m.labels.insert(key.to_owned(), value.to_owned())))
    };
    for (key, value) in [("a", ""), ("kubernetes.io/Arch", "amd64"), ("a_b.c", "x-Y_z.0")] {
        assert_eq!(label(key, value), Vec::<String>::new(), "{key}={value}");
    }
    for key in ["", "/a", "a/", "a/b/c", "a b", "_a"] {
        assert_eq!(label(key, ""), ["metadata.labels"], "{key}");
    }
    assert_eq!(label("a", "-x"), ["metadata.labels.a"]);
    assert_eq!(problems("a", &|m| m.namespace = Some("ns".to_owned())), ["metadata.namespace"]);
    let big = |m: &mut Metadata| drop(m.annotations.insert("a".to_owned(), "x".repeat(300_000)));
    assert_eq!(problems("a", &big), ["metadata.annotations"]);
}

#[test]
fn one_cluster_information_and_sound_ipam_settings() {
    check::<ClusterInformationSpec>("default", vec![(json!({}), &[])]);
    check::<ClusterInformationSpec>("mine", vec![(json!({}), &["metadata.name"])]);
    let settings = |strict: bool, auto: bool, blocks: u32, seconds: u32| {
        let config = IpamConfig {
            strict_affinity: strict,
            auto_allocate_blocks: auto,
            max_blocks_per_host: blocks,
            ip_cooldown_seconds: seconds,
            ..IpamConfig::default()
        };
        validate::validate_ipam_config(&config).err().map_or(0, |problems| problems.len())
    };
    assert_eq!(settings(false, true, 0, 0), 0);
    assert_eq!(settings(true, false, 4, 1200), 0);
    assert_eq!(settings(false, false, 0, 0), 1);
    assert_eq!(settings(false, true, 4, 1201), 2);
}

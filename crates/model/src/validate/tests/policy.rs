//! Policies of every kind, tiers, sets and host endpoints: what Calico refuses is refused.

use super::{check, fields_wrong};
use crate::*;
use serde_json::{Value as Json, json};

/// A policy with one rule, allowing ingress unless the rule says else.
fn ingress(rule: Json) -> Json {
    json!({"ingress": [with_action(rule)]})
}

fn egress(rule: Json) -> Json {
    json!({"egress": [with_action(rule)]})
}

fn with_action(mut rule: Json) -> Json {
    if rule["action"].is_null() {
        rule["action"] = json!("Allow");
    }
    rule
}

/// Each rule in an ingress policy, and what is wrong with it, after `spec.ingress[0].`.
fn check_rules(cases: Vec<(Json, &[&str])>) {
    for (rule, expected) in cases {
        let found = fields_wrong::<NetworkPolicySpec>("p", ingress(rule.clone()));
        let expected: Vec<String> =
            expected.iter().map(|field| format!("spec.ingress[0]{field}")).collect();
        assert_eq!(found, expected, "{rule}");
    }
}

#[test]
fn protocols_and_icmp() {
    check_rules(vec![
        (json!({}), &[]),
        (json!({"action": "Log"}), &[]),
        (json!({"protocol": "tcp"}), &[]),
        (json!({"protocol": 255, "notProtocol": 1}), &[]),
        (json!({"protocol": "IGMP"}), &[".protocol"]),
        (json!({"notProtocol": 0}), &[".notProtocol"]),
        (json!({"ipVersion": 4}), &[]),
        (json!({"ipVersion": 5}), &[".ipVersion"]),
        (json!({"protocol": "ICMP", "ipVersion": 4, "icmp": {"type": 254, "code": 255}}), &[]),
        (json!({"protocol": "ICMP", "ipVersion": 6}), &[".protocol"]),
        (json!({"notProtocol": "ICMPv6", "ipVersion": 4}), &[".notProtocol"]),
        (json!({"protocol": "ICMPv6", "icmp": {"type": 255}}), &[".icmp.type"]),
        (json!({"protocol": "ICMP", "icmp": {"code": 1}}), &[".icmp.code"]),
        (json!({"icmp": {"type": 8}}), &[".icmp"]),
        (json!({"protocol": "TCP", "icmp": {"type": 8}}), &[".icmp"]),
        (json!({"protocol": "ICMP", "notICMP": {"type": 255, "code": 0}}), &[".notICMP.type"]),
    ]);
}

#[test]
fn ports_need_a_protocol_that_has_them() {
    let fifty: Vec<u16> = (1..=50).collect();
    let more: Vec<u16> = (1..=51).collect();
    check_rules(vec![
        (json!({"protocol": "TCP", "source": {"ports": [1, "2:3", "http"]}}), &[]),
        (json!({"protocol": 132, "destination": {"notPorts": [1]}}), &[]),
        (json!({"destination": {"ports": ["http"]}}), &[]),
        (json!({"destination": {"ports": ["http", 80]}}), &[".destination.ports"]),
        (json!({"protocol": "ICMP", "source": {"notPorts": ["http"]}}), &[".source.notPorts"]),
        (json!({"protocol": "UDPLite", "source": {"ports": [1]}}), &[".source.ports"]),
        (json!({"protocol": "UDP", "destination": {"ports": fifty}}), &[]),
        (json!({"protocol": "UDP", "destination": {"ports": more}}), &[".destination.ports"]),
    ]);
}

#[test]
fn ranges_are_masked_and_of_one_family() {
    let nets = |count: u32| -> Vec<String> {
        (0..count).map(|i| format!("10.0.{}.{}/32", i / 256, i % 256)).collect()
    };
    check_rules(vec![
        (json!({"source": {"nets": ["10.0.0.0/8", "0.0.0.0/0"], "notNets": ["10.1.0.0/16"]}}), &[]),
        (json!({"source": {"nets": ["::/0"]}, "destination": {"notNets": ["fd00::/8"]}}), &[]),
        (json!({"source": {"nets": ["10.0.0.1"]}}), &[".source.nets[0]"]),
        (json!({"source": {"nets": ["10.0.0.1/8"]}}), &[".source.nets[0]"]),
        (json!({"destination": {"notNets": ["x"]}}), &[".destination.notNets[0]"]),
        (json!({"source": {"nets": ["10.0.0.0/8", "10.0.0.0/8"]}}), &[".source.nets[1]"]),
        (json!({"source": {"notNets": ["0.0.0.0/0"]}}), &[".source.notNets[0]"]),
        (json!({"destination": {"notNets": ["::/0"]}}), &[".destination.notNets[0]"]),
        (json!({"source": {"nets": nets(256)}}), &[]),
        (json!({"source": {"nets": nets(257)}}), &[".source.nets"]),
        (json!({"source": {"nets": ["10.0.0.0/8", "fd00::/8"]}}), &[".source.nets"]),
        (
            json!({"source": {"nets": ["10.0.0.0/8"]}, "destination": {"nets": ["fd00::/8"]}}),
            &[".destination.nets"],
        ),
        (json!({"ipVersion": 6, "source": {"notNets": ["10.0.0.0/8"]}}), &[".source.notNets"]),
    ]);
}

#[test]
fn selectors_of_rules() {
    let long = format!("a == '{}'", "x".repeat(1017));
    check_rules(vec![
        (
            json!({"source": {"selector": "a in {'b'}", "notSelector": "has(c)",
                              "namespaceSelector": "global()",
                              "serviceAccounts": {"names": ["a.b"], "selector": "has(d)"}}}),
            &[],
        ),
        (json!({"source": {"namespaceSelector": " global( )\t"}}), &[]),
        (
            json!({"source": {"namespaceSelector": "global() || has(a)"}}),
            &[".source.namespaceSelector"],
        ),
        (json!({"source": {"namespaceSelector": "!global()"}}), &[".source.namespaceSelector"]),
        (json!({"source": {"selector": "global()"}}), &[".source.selector"]),
        (json!({"source": {"notSelector": "has(a) && global()"}}), &[".source.notSelector"]),
        (json!({"destination": {"selector": "a ="}}), &[".destination.selector"]),
        (
            json!({"source": {"serviceAccounts": {"names": ["A"], "selector": "("}}}),
            &[".source.serviceAccounts.selector", ".source.serviceAccounts.names[0]"],
        ),
        (json!({"source": {"selector": &long[1..]}}), &[".source.selector"]),
        (json!({"source": {"selector": long}}), &[]),
        (json!({"source": {"selector": format!("{long} ")}}), &[".source.selector"]),
    ]);
}

#[test]
fn services_say_all_and_stand_on_the_other_side() {
    let dns = json!({"name": "dns", "namespace": "kube-system"});
    check::<NetworkPolicySpec>(
        "p",
        vec![
            (ingress(json!({"source": {"services": dns}})), &[]),
            (egress(json!({"destination": {"services": {"name": "dns"}}})), &[]),
            (
                ingress(json!({"destination": {"services": dns}})),
                &["spec.ingress[0].destination.services"],
            ),
            (egress(json!({"source": {"services": dns}})), &["spec.egress[0].source.services"]),
            (
                egress(json!({"destination": {"services": {}}})),
                &["spec.egress[0].destination.services.name"],
            ),
            (
                egress(json!({"protocol": "UDP",
                              "destination": {"services": dns, "ports": [53], "notPorts": [54]}})),
                &["spec.egress[0].destination.ports", "spec.egress[0].destination.notPorts"],
            ),
            (
                egress(json!({"destination": {
                    "services": dns, "selector": "has(a)", "notSelector": "has(b)",
                    "namespaceSelector": "has(c)", "nets": ["10.0.0.0/8"],
                    "notNets": ["10.0.0.0/16"], "serviceAccounts": {}}})),
                &["spec.egress[0].destination.services"; 6],
            ),
        ],
    );
    check::<GlobalNetworkPolicySpec>(
        "p",
        vec![
            (egress(json!({"destination": {"services": dns}})), &[]),
            (
                egress(json!({"destination": {"services": {"name": "dns"}}})),
                &["spec.egress[0].destination.services.namespace"],
            ),
        ],
    );
}

#[test]
fn http_goes_with_ingress_that_is_allowed() {
    let get = json!({"methods": ["GET"], "paths": [{"exact": "/a"}, {"prefix": "/b"}]});
    let paths = vec![json!({"exact": "/"}); 21];
    check_rules(vec![
        (json!({"http": get}), &[]),
        (json!({"protocol": "TCP", "http": get}), &[]),
        (json!({"protocol": "UDP", "http": get}), &[".http"]),
        (json!({"action": "Deny", "http": get}), &[".http"]),
        (
            json!({"http": {"methods": vec!["GET"; 21], "paths": paths}}),
            &[".http.methods", ".http.paths"],
        ),
        (
            json!({"http": {"paths": [{}, {"exact": "/", "prefix": "/"}, {"prefix": "/?a"}]}}),
            &[".http.paths[0]", ".http.paths[1]", ".http.paths[2]"],
        ),
        (
            json!({"metadata": {"annotations": {"name": "any text", "a b": ""}}}),
            &[".metadata.annotations"],
        ),
    ]);
    let found = fields_wrong::<NetworkPolicySpec>("p", egress(json!({"http": get})));
    assert_eq!(found, ["spec.egress[0].http"]);
}

#[test]
fn names_of_policies() {
    let label = "a".repeat(63);
    let tiered = format!("{label}.{label}");
    let good = ["a", "allow-web", "default.allow-web", label.as_str(), tiered.as_str()];
    let foreign = ["knp.default.a.b.c", "ossg.default.x"];
    let wrong = ["a.b.c", "knp.default.", "knp.other.x", "A", &"a".repeat(64)];
    for name in good {
        assert!(fields_wrong::<NetworkPolicySpec>(name, json!({})).is_empty(), "{name}");
        assert!(fields_wrong::<GlobalNetworkPolicySpec>(name, json!({})).is_empty(), "{name}");
    }
    for name in foreign {
        assert!(fields_wrong::<NetworkPolicySpec>(name, json!({})).is_empty(), "{name}");
        let found = fields_wrong::<GlobalNetworkPolicySpec>(name, json!({}));
        assert_eq!(found, ["metadata.name"], "{name}");
    }
    for name in wrong {
        let found = fields_wrong::<NetworkPolicySpec>(name, json!({}));
        assert_eq!(found, ["metadata.name"], "{name}");
    }
}

#[test]
fn policies_as_a_whole() {
    let many = json!({"ingress": vec![json!({"action": "Allow"}); 1025]});
    check::<NetworkPolicySpec>(
        "p",
        vec![
            (json!({"tier": "platform", "order": -1.5, "types": ["Egress", "Ingress"]}), &[]),
            (json!({"performanceHints": ["AssumeNeededOnEveryNode"]}), &[]),
            (json!({"performanceHints": ["Faster"]}), &["spec.performanceHints[0]"]),
            (json!({"tier": "a.b"}), &["spec.tier"]),
            (json!({"types": ["Ingress", "Ingress"]}), &["spec.types"]),
            (json!({"selector": "a b"}), &["spec.selector"]),
            (json!({"selector": "global()"}), &["spec.selector"]),
            (json!({"serviceAccountSelector": "global()"}), &["spec.serviceAccountSelector"]),
            (many, &["spec.ingress"]),
        ],
    );
    check::<GlobalNetworkPolicySpec>(
        "p",
        vec![
            (json!({"namespaceSelector": "has(a)", "applyOnForward": true}), &[]),
            (json!({"namespaceSelector": "global()"}), &["spec.namespaceSelector"]),
            (json!({"preDNAT": true, "applyOnForward": true, "types": ["Ingress"]}), &[]),
            (json!({"doNotTrack": true}), &["spec.applyOnForward"]),
            (
                json!({"doNotTrack": true, "preDNAT": true, "applyOnForward": true}),
                &["spec.preDNAT"],
            ),
            (
                json!({"preDNAT": true, "applyOnForward": true, "types": ["Egress"],
                       "egress": [{"action": "Deny"}]}),
                &["spec.egress", "spec.types"],
            ),
        ],
    );
}

#[test]
fn a_staged_deletion_says_no_more_than_its_tier() {
    let wrong = &["spec.stagedAction"];
    check::<StagedNetworkPolicySpec>(
        "p",
        vec![
            (json!({}), &[]),
            (json!({"stagedAction": "Learn", "selector": "a b"}), &["spec.selector"]),
            (json!({"stagedAction": "Delete", "tier": "platform"}), &[]),
            (json!({"stagedAction": "Delete", "selector": "has(a)"}), wrong),
            (json!({"stagedAction": "Delete", "types": ["Ingress"]}), wrong),
        ],
    );
    check::<StagedGlobalNetworkPolicySpec>(
        "p",
        vec![
            (json!({"stagedAction": "Ignore", "doNotTrack": true}), &["spec.applyOnForward"]),
            (json!({"stagedAction": "Delete", "applyOnForward": true}), wrong),
        ],
    );
    let peer = |peer: Json| json!({"ingress": [{"from": [peer]}], "podSelector": {}});
    check::<StagedKubernetesNetworkPolicySpec>(
        "p",
        vec![
            (peer(json!({"ipBlock": {"cidr": "10.0.0.0/8"}})), &[]),
            (peer(json!({"ipBlock": {"cidr": "10.0.0.1"}})), &["spec.ingress[0]"]),
            (peer(json!({"podSelector": {"matchLabels": {"a b": "c"}}})), &["spec.ingress"]),
            (json!({"podSelector": {"matchLabels": {"a": "'"}}}), &["spec.podSelector"]),
            (json!({"stagedAction": "Delete"}), &[]),
            (json!({"stagedAction": "Delete", "policyTypes": ["Egress"]}), wrong),
        ],
    );
}

#[test]
fn tiers() {
    check::<TierSpec>(
        "platform",
        vec![(json!({}), &[]), (json!({"order": -3, "defaultAction": "Pass"}), &[])],
    );
    check::<TierSpec>("a.b", vec![(json!({}), &["metadata.name"])]);
    let both = &["spec.order", "spec.defaultAction"];
    for (name, order, action) in [
        ("default", 1_000_000, "Deny"),
        ("kube-admin", 1000, "Pass"),
        ("kube-baseline", 10_000_000, "Pass"),
    ] {
        let other = if action == "Deny" { "Pass" } else { "Deny" };
        check::<TierSpec>(
            name,
            vec![
                (json!({}), &[]),
                (json!({"order": order, "defaultAction": action}), &[]),
                (json!({"order": 7, "defaultAction": other}), both),
            ],
        );
    }
}

#[test]
fn sets_host_endpoints_and_profiles() {
    check::<NetworkSetSpec>(
        "s",
        vec![
            (json!({"nets": ["10.0.0.1", "10.0.0.1/8", "::/0"]}), &[]),
            (json!({"nets": ["10.0.0.0/8", "x"]}), &["spec.nets[1]"]),
        ],
    );
    let mut set = GlobalNetworkSet::new("s", GlobalNetworkSetSpec::default());
    set.metadata.labels.insert("projectcalico.org/namespace".to_owned(), "a".to_owned());
    let problems = set.validate().unwrap_err();
    assert_eq!(problems[0].field, "metadata.labels.projectcalico.org/namespace");

    check::<HostEndpointSpec>(
        "h",
        vec![
            (json!({"node": "n", "interfaceName": "*"}), &[]),
            (
                json!({"node": "n", "expectedIPs": ["10.0.0.1", "fd00::1"], "profiles": ["a"],
                       "ports": [{"name": "ssh", "protocol": "TCP", "port": 22}]}),
                &[],
            ),
            (json!({}), &["spec.node", "spec.interfaceName"]),
            (json!({"node": "n", "interfaceName": "a b"}), &["spec.interfaceName"]),
            (
                json!({"node": "N", "expectedIPs": ["10.0.0.0/8"], "profiles": [""],
                       "ports": [{"name": "", "protocol": "ICMP", "port": 0}]}),
                &[
                    "spec.node",
                    "spec.expectedIPs[0]",
                    "spec.profiles[0]",
                    "spec.ports[0].name",
                    "spec.ports[0].protocol",
                    "spec.ports[0].port",
                ],
            ),
        ],
    );
    check::<ProfileSpec>(
        "p",
        vec![
            (json!({"ingress": [{"action": "Allow"}], "labelsToApply": {"a": "b"}}), &[]),
            (
                json!({"egress": [{"action": "Allow", "ipVersion": 3}], "labelsToApply": {"": ""}}),
                &["spec.egress[0].ipVersion", "spec.labelsToApply"],
            ),
        ],
    );
}

#[test]
fn what_is_filled_in_on_write() {
    fn defaults<S: Spec>(spec: Json) -> (Json, Json) {
        let mut resource = Resource::<S>::new("p", serde_json::from_value(spec).unwrap());
        resource.apply_defaults();
        resource.metadata.namespace =
            (S::KIND.scope() == Scope::Namespaced).then(|| "default".to_owned());
        assert_eq!(resource.validate(), Ok(()));
        let value = serde_json::to_value(resource).unwrap();
        (value["spec"].clone(), value["metadata"]["labels"].clone())
    }
    let allow = json!([{"action": "Allow", "source": {}, "destination": {}}]);
    for (ingress, egress, types) in [
        (json!([]), json!([]), json!(["Ingress"])),
        (allow.clone(), json!([]), json!(["Ingress"])),
        (json!([]), allow.clone(), json!(["Egress"])),
        (allow.clone(), allow.clone(), json!(["Ingress", "Egress"])),
    ] {
        let spec = json!({"ingress": ingress, "egress": egress});
        let (spec, labels) = defaults::<NetworkPolicySpec>(spec);
        assert_eq!(spec["types"], types);
        assert_eq!(spec["tier"], "default");
        assert_eq!(labels, json!({"projectcalico.org/tier": "default"}));
    }
    let (spec, labels) =
        defaults::<GlobalNetworkPolicySpec>(json!({"tier": "a", "types": ["Egress"]}));
    assert_eq!(spec, json!({"tier": "a", "types": ["Egress"]}));
    assert_eq!(labels, json!({"projectcalico.org/tier": "a"}));
    let (spec, _) = defaults::<StagedNetworkPolicySpec>(json!({"stagedAction": "Delete"}));
    assert_eq!(spec, json!({"stagedAction": "Delete", "tier": "default"}));
    let (spec, _) = defaults::<StagedKubernetesNetworkPolicySpec>(json!({"egress": [{}]}));
    assert_eq!(
        spec,
        json!({"stagedAction": "Set", "podSelector": {}, "egress": [{}],
               "policyTypes": ["Ingress", "Egress"]})
    );
    let (spec, _) = defaults::<TierSpec>(json!({}));
    assert_eq!(spec, json!({"order": 1_000_000, "defaultAction": "Deny"}));
}

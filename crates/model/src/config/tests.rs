//! Tests of the registry, of reading values and of resolution.

use super::parameters::ill_typed;
use super::*;
use crate::{EncapsulationMode, FelixConfiguration, FelixConfigurationSpec};
use proptest::prelude::*;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

type Labels = BTreeMap<String, String>;

fn felix(name: &str, spec: serde_json::Value) -> FelixConfiguration {
    let fields: FelixConfigurationSpec = serde_json::from_value(spec).unwrap();
    FelixConfiguration::new(name, fields)
}

fn resolve(environment: &[(&str, &str)], felix: &[FelixConfiguration]) -> Resolved {
    let owned = environment.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
    let labels = Labels::from([("rack".to_owned(), "a".to_owned())]);
    Resolved::new(owned, felix, "worker-1", &labels)
}

#[test]
fn the_page_in_docs_is_the_registrys() {
    expect_test::expect_file!["../../../../docs/configuration.md"].assert_eq(&reference());
}

#[test]
fn every_entry_is_sound() {
    assert_eq!(ill_typed(), Vec::<&str>::new());
    let (mut names, mut fields) = (BTreeSet::new(), BTreeSet::new());
    for definition in definitions() {
        let name = definition.name;
        assert!(names.insert(definition.variable()), "{name} stands twice");
        assert!(definition.field.is_none_or(|f| fields.insert(f)), "field of {name} stands twice");
        assert!(definition.doc.ends_with('.'), "{name} needs a sentence that says what it is");
        if !definition.default.is_empty() {
            let parsed = definition.value_type.parse_text(definition.default);
            assert!(parsed.is_ok(), "default of {name}: {parsed:?}");
        }
        let found = definition_of_variable(&definition.variable()).map(|d| d.name);
        assert_eq!(found, Some(name));
    }
}

// Facts of Calico's that the registry must reproduce.
#[test]
fn known_variables_and_fields_are_there() {
    for (variable, field, default, acted_on) in [
        ("FELIX_VXLANPORT", Some("vxlanPort"), "4789", true),
        ("FELIX_PROGRAMCLUSTERROUTES", Some("programClusterRoutes"), "Disabled", true),
        ("FELIX_IPINIPMTU", Some("ipipMTU"), "0", true),
        ("FELIX_IPINIPENABLED", Some("ipipEnabled"), "", true),
        ("FELIX_NETLINKTIMEOUTSECS", Some("netlinkTimeout"), "10", false),
        ("FELIX_EXTERNALNODESCIDRLIST", Some("externalNodesList"), "", false),
        ("FELIX_BPFCONNTRACKCLEANUPMODE", Some("bpfConntrackMode"), "Auto", false),
        ("FELIX_NFTABLESMODE", Some("nftablesMode"), "Auto", false),
        ("FELIX_DATASTORETYPE", None, "etcdv3", false),
        ("felix_healthPort", Some("healthPort"), "9099", true),
        ("CALICO_IPV4POOL_BLOCK_SIZE", None, "26", true),
        ("CALICO_ROUTER_ID", None, "", true),
    ] {
        let found = definition_of_variable(variable).unwrap_or_else(|| panic!("{variable}"));
        let seen = (found.field, found.default, found.acted_on);
        assert_eq!(seen, (field, default, acted_on), "{variable}");
        assert_eq!(field.and_then(definition_of_field).map(|d| d.name), field.map(|_| found.name));
    }
    assert!(definition_of_variable("nodename").is_none());
    assert!(definition_of_variable("FELIX_IPTABLESLOCKTIMEOUTSECS").is_none());
}

#[test]
fn defaults_are_the_products() {
    let resolved = resolve(&[], &[]);
    assert_eq!(resolved.get(&PROGRAM_CLUSTER_ROUTES), ProgramClusterRoutes::Disabled);
    assert_eq!(resolved.get(&VXLAN_PORT), 4789);
    assert_eq!(resolved.get(&VXLAN_VNI), 4096);
    assert_eq!(resolved.get(&VXLAN_ENABLED), None);
    assert_eq!(resolved.get(&ROUTE_REFRESH_INTERVAL), Duration::from_secs(90));
    assert_eq!(resolved.get(&INTERFACE_PREFIX), ["cali"]);
    assert_eq!(resolved.get(&NETWORKING_BACKEND), NetworkingBackend::Bird);
    assert_eq!(resolved.get(&IPV4POOL_IPIP), EncapsulationMode::Never);
    assert_eq!(resolved.get(&NODENAME), None);
    assert_eq!(resolved.get(&AUTODETECT_POLL_INTERVAL), Duration::from_secs(60));
    assert!(resolved.get(&MTU_IFACE_PATTERN).is_match("ens5"));
    assert_eq!((resolved.warnings(), resolved.refusals()), (&[][..], &[][..]));
    assert_eq!(resolved.set().count(), 0);
}

#[test]
fn the_stronger_source_wins() {
    let mut older = felix("racks", json!({"nodeSelector": "rack == 'a'", "vxlanVNI": 3}));
    older.metadata.creation_timestamp = Some("2026-01-01T00:00:00Z".to_owned());
    let mut newer = felix("all", json!({"nodeSelector": "all()", "vxlanVNI": 4, "vxlanMTU": 4}));
    newer.metadata.creation_timestamp = Some("2026-02-01T00:00:00Z".to_owned());
    let configurations = [
        newer,
        felix("default", json!({"vxlanMTU": 1, "vxlanVNI": 1, "vxlanPort": 1, "healthPort": 1})),
        felix("node.worker-2", json!({"healthHost": "other"})),
        felix("node.worker-1", json!({"vxlanPort": 2, "healthPort": 2})),
        older,
        felix("elsewhere", json!({"nodeSelector": "rack == 'b'", "healthHost": "other"})),
    ];
    let resolved = resolve(&[("Felix_HealthPort", "9")], &configurations);
    assert_eq!(resolved.get(&HEALTH_PORT), 9);
    assert_eq!(resolved.get(&VXLAN_PORT), 2);
    assert_eq!(resolved.get(&VXLAN_VNI), 3);
    assert_eq!(resolved.get(&VXLAN_MTU), 1);
    assert_eq!(resolved.get(&HEALTH_HOST), "localhost");
    assert_eq!(resolved.given_by(&HEALTH_PORT), GivenBy::Environment);
    assert_eq!(resolved.given_by(&VXLAN_VNI), GivenBy::Resource("racks".to_owned()));
    assert_eq!(resolved.given_by(&HEALTH_HOST), GivenBy::Default);
    assert_eq!(resolved.warnings(), []);
    assert_eq!(resolved.set().count(), 4);
}

#[test]
fn values_are_read_as_felix_reads_them() {
    let resolved = resolve(
        &[
            ("FELIX_IPV6SUPPORT", "False"),
            ("FELIX_VXLANENABLED", "TRUE"),
            ("FELIX_ROUTEREFRESHINTERVAL", "0.5"),
            ("FELIX_LOGSEVERITYSCREEN", "debug"),
            ("FELIX_INTERFACEPREFIX", "cali,tap"),
            ("FELIX_VXLANMTU", "none"),
            ("FELIX_VXLANPORT", ""),
            ("CALICO_IPV4POOL_IPIP", "off"),
            ("CALICO_IPV4POOL_VXLAN", "crosssubnet"),
            ("CALICO_NETWORKING_BACKEND", "vxlan"),
            ("IP", "none"),
            ("AS", "1.10"),
        ],
        &[felix("default", json!({"vxlanPort": 5000, "vxlanMTU": 1400}))],
    );
    assert!(!resolved.get(&IPV6_SUPPORT));
    assert_eq!(resolved.get(&VXLAN_ENABLED), Some(true));
    assert_eq!(resolved.get(&ROUTE_REFRESH_INTERVAL), Duration::from_millis(500));
    assert_eq!(resolved.get(&LOG_SEVERITY_SCREEN), LogSeverity::Debug);
    assert_eq!(resolved.get(&INTERFACE_PREFIX), ["cali", "tap"]);
    assert_eq!(resolved.get(&VXLAN_MTU), 0);
    assert_eq!(resolved.get(&VXLAN_PORT), 5000);
    assert_eq!(resolved.get(&IPV4POOL_IPIP), EncapsulationMode::Never);
    assert_eq!(resolved.get(&IPV4POOL_VXLAN), EncapsulationMode::CrossSubnet);
    assert_eq!(resolved.get(&NETWORKING_BACKEND), NetworkingBackend::Vxlan);
    assert_eq!(resolved.get(&IP).as_deref(), Some("none"));
    assert_eq!(resolved.get(&AS), Some(crate::AsNumber(65546)));
    assert_eq!(resolved.refusals(), []);
    assert!(resolved.warnings().iter().all(|w| matches!(w, Warning::NotActedOn { .. })));

    let yaml =
        felix("default", json!({"routeRefreshInterval": "1m30s", "logSeverityScreen": "Info"}));
    let resolved = resolve(&[], &[yaml]);
    assert_eq!(resolved.get(&ROUTE_REFRESH_INTERVAL), Duration::from_secs(90));
    assert_eq!(resolved.get(&LOG_SEVERITY_SCREEN), LogSeverity::Info);
}

#[test]
fn wrong_values_give_way_to_the_default_or_stop_the_program() {
    let configuration = felix("default", json!({"vxlanPort": 5000, "healthPort": "9099"}));
    let resolved = resolve(
        &[
            ("FELIX_VXLANPORT", "65536"),
            ("FELIX_INTERFACEPREFIX", "none"),
            ("CALICO_IPV4POOL_BLOCK_SIZE", "33"),
        ],
        &[configuration],
    );
    // The default, not the weaker source's value: Felix's rule.
    assert_eq!(resolved.get(&VXLAN_PORT), 4789);
    assert_eq!(resolved.get(&HEALTH_PORT), 9099);
    let said: Vec<String> = resolved.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "FELIX_VXLANPORT is '65536' by the environment, but it takes a whole number from 0 to \
             65535; using 4789",
            "healthPort is '\"9099\"' by FelixConfiguration(default), but it takes a whole number \
             from 0 to 65535; using 9099",
        ]
    );
    let refused: Vec<String> = resolved.refusals().iter().map(ToString::to_string).collect();
    assert_eq!(refused.len(), 2, "{refused:?}");
    assert!(refused[0].starts_with("FELIX_INTERFACEPREFIX is 'none'"), "{refused:?}");
    assert!(refused[1].contains("from 20 to 32"), "{refused:?}");
}

#[test]
fn what_policy_needs_is_typed_and_strict() {
    let resolved = resolve(&[], &[felix("default", json!({"failsafeInboundHostPorts": null}))]);
    let ssh = FailsafePort { protocol: 6, net: None, port: 22 };
    assert_eq!(resolved.get(&FAILSAFE_INBOUND_HOST_PORTS).len(), 9);
    assert_eq!(resolved.get(&FAILSAFE_INBOUND_HOST_PORTS)[0], ssh);
    assert_eq!(resolved.get(&NFTABLES_MARK_MASK), 0xffff_0000);
    assert_eq!(resolved.get(&DEFAULT_ENDPOINT_TO_HOST_ACTION), EndpointToHostAction::Drop);
    assert_eq!(resolved.get(&LOG_PREFIX), "calico-packet");
    let resolved = resolve(
        &[("FELIX_NFTABLESMARKMASK", "0xff00"), ("FELIX_FAILSAFEOUTBOUNDHOSTPORTS", "none")],
        &[felix(
            "default",
            json!({"failsafeInboundHostPorts": [{"protocol": "TCP", "port": 22}],
                   "defaultEndpointToHostAction": "Accept", "chainInsertMode": "Append",
                   "nftablesFilterDenyAction": "Reject", "serviceLoopPrevention": "Disabled",
                   "workloadSourceSpoofing": "Any", "nftablesMarkMask": 1,
                   "nftablesFilterAllowAction": "Return", "logPrefix": "calico %t"}),
        )],
    );
    // What chainInsertMode says is read, and said not to count.
    let not_acted_on = |warning: &Warning| matches!(warning, Warning::NotActedOn { .. });
    assert!(resolved.warnings().iter().all(not_acted_on), "{:?}", resolved.warnings());
    assert_eq!((resolved.warnings().len(), resolved.refusals()), (1, &[][..]));
    assert_eq!(resolved.get(&FAILSAFE_INBOUND_HOST_PORTS), [ssh]);
    assert_eq!(resolved.get(&FAILSAFE_OUTBOUND_HOST_PORTS), []);
    assert_eq!(resolved.get(&NFTABLES_MARK_MASK), 0xff00);
    assert_eq!(resolved.get(&DEFAULT_ENDPOINT_TO_HOST_ACTION), EndpointToHostAction::Accept);
    assert_eq!(resolved.get(&CHAIN_INSERT_MODE), ChainInsertMode::Append);
    assert_eq!(resolved.get(&NFTABLES_FILTER_DENY_ACTION), DenyAction::Reject);
    assert_eq!(resolved.get(&NFTABLES_FILTER_ALLOW_ACTION), AllowAction::Return);
    assert_eq!(resolved.get(&NFTABLES_MANGLE_ALLOW_ACTION), AllowAction::Accept);
    assert_eq!(resolved.get(&SERVICE_LOOP_PREVENTION), ServiceLoopPrevention::Disabled);
    assert_eq!(resolved.get(&WORKLOAD_SOURCE_SPOOFING), SourceSpoofing::Any);
    assert_eq!(resolved.get(&LOG_PREFIX), "calico %t");
    // Those at which Felix stops; what is not acted on is not refused either.
    let wrong = json!({
        "failsafeInboundHostPorts": "tcp:22", "failsafeOutboundHostPorts": [{"protocol": "ICMP", "port": 1}],
        "nftablesMarkMask": 0x7f, "defaultEndpointToHostAction": "none", "chainInsertMode": "top",
        "nftablesFilterDenyAction": "no", "nftablesFilterAllowAction": 1,
        "nftablesMangleAllowAction": "DROP", "serviceLoopPrevention": "loop",
    });
    let resolved = resolve(&[], &[felix("default", wrong)]);
    assert_eq!(resolved.refusals().len(), 7, "{:#?}", resolved.refusals());
    let of = |name: &str| {
        let of_it = |warning: &&Warning| warning.to_string().starts_with(name);
        resolved.warnings().iter().find(of_it).expect("a warning")
    };
    assert!(not_acted_on(of("chainInsertMode")));
    assert!(!not_acted_on(of("serviceLoopPrevention")));
    assert_eq!(resolved.get(&SERVICE_LOOP_PREVENTION), ServiceLoopPrevention::Drop);
}

#[test]
fn unknown_and_unused_parameters_are_said() {
    let resolved = resolve(
        &[
            ("FELIX_IPTABLESLOCKTIMEOUTSECS", "30"),
            ("FELIX_BPFENABLED", "true"),
            ("CALICO_NONESUCH", "x"),
            ("CALICO_TYPHA_SERVICE_HOST", "10.96.0.5"),
            ("PATH", "/bin"),
        ],
        &[felix("default", json!({"vxlanprt": 1, "xdpEnabled": false}))],
    );
    let said: Vec<String> = resolved.warnings().iter().map(ToString::to_string).collect();
    for expected in [
        "CALICO_NONESUCH, set by the environment, is unknown",
        "FELIX_IPTABLESLOCKTIMEOUTSECS, set by the environment, is unknown",
        "vxlanprt, set by FelixConfiguration(default), is unknown",
        "FELIX_BPFENABLED, set by the environment, is not acted on",
        "xdpEnabled, set by FelixConfiguration(default), is not acted on",
    ] {
        assert!(said.iter().any(|one| one.starts_with(expected)), "{expected}: {said:#?}");
    }
    assert_eq!(said.len(), 5, "{said:#?}");
}

#[test]
fn the_reference_has_a_row_for_each() {
    let page = reference();
    let rows = page.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, definitions().count());
    assert!(page.contains(
        "| `FELIX_VXLANPORT` | `vxlanPort` | a whole number from 0 to 65535 | `4789` | \
         UDP port of VXLAN. |"
    ));
    assert!(page.contains("(en\\|wl\\|ww"));
}

proptest! {
    // Whatever is set, every parameter has a value of its type, and nothing panics.
    #[test]
    fn any_value_resolves(
        index in any::<prop::sample::Index>(),
        text in "\\PC{0,12}|-?[0-9]{1,20}",
    ) {
        let all: Vec<_> = definitions().collect();
        let definition = all[index.index(all.len())];
        let mut spec = serde_json::Map::new();
        if let Some(field) = definition.field {
            let number: Option<serde_json::Number> = serde_json::from_str(&text).ok();
            let value = number.map_or(json!(text), serde_json::Value::Number);
            spec.insert(field.to_owned(), value);
        }
        let felix = [felix("default", serde_json::Value::Object(spec))];
        let variable = definition.variable();
        for environment in [vec![], vec![(variable.as_str(), text.as_str())]] {
            let resolved = resolve(&environment, &felix);
            resolved.get(&VXLAN_PORT);
            resolved.get(&DEVICE_ROUTE_PROTOCOL);
            resolved.get(&IPV4POOL_BLOCK_SIZE);
            resolved.get(&IPV4POOL_VXLAN);
            let given = (resolved.warnings(), resolved.refusals());
            for warning in given.0.iter().chain(given.1) {
                prop_assert!(!warning.to_string().is_empty());
            }
        }
    }
}

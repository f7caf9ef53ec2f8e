use super::*;

fn environment(variables: &[(&str, &str)]) -> Result<Environment, String> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    Environment::read(&variables.iter().map(owned).collect::<Vec<_>>())
}

fn spec(text: &str) -> KubeControllersConfigurationSpec {
    serde_json::from_str(text).expect("a spec")
}

#[test]
fn the_environment_wins_and_the_status_says_what_runs() {
    let given = environment(&[
        ("DATASTORE_TYPE", "kubernetes"),
        ("ENABLED_CONTROLLERS", "node,loadbalancer"),
        ("LOG_LEVEL", "debug"),
        ("AUTO_HOST_ENDPOINTS", "enabled"),
        ("HEALTH_ENABLED", ""),
        ("PATH", "/bin"),
    ]);
    let configured = spec(
        r#"{"logSeverityScreen": "Error", "healthChecks": "Disabled",
            "controllers": {"policy": {}, "node": {"leakGracePeriod": "2m"}}}"#,
    );
    let (settings, status, warnings) = given.expect("settings").over(&configured);
    let node = settings.node.expect("the node controller");
    assert_eq!(node.leak_grace, Duration::from_secs(120));
    assert!(node.host_endpoints.is_some() && !node.sync_labels);
    assert!(!settings.policy && !settings.health);
    assert_eq!(warnings, Vec::<String>::new());
    expect_test::expect![[r#"
        {
          "environmentVars": {
            "AUTO_HOST_ENDPOINTS": "enabled",
            "DATASTORE_TYPE": "kubernetes",
            "ENABLED_CONTROLLERS": "node,loadbalancer",
            "LOG_LEVEL": "debug"
          },
          "runningConfig": {
            "controllers": {
              "node": {
                "hostEndpoint": {
                  "autoCreate": "Enabled",
                  "createDefaultHostEndpoint": "Enabled"
                },
                "leakGracePeriod": "2m0s",
                "syncLabels": "Disabled"
              }
            },
            "etcdV3CompactionPeriod": "10m0s",
            "healthChecks": "Disabled",
            "logSeverityScreen": "Debug",
            "prometheusMetricsPort": 9094
          }
        }"#]]
    .assert_eq(&serde_json::to_string_pretty(&status).expect("JSON"));
}

#[test]
fn what_is_configured_runs_where_the_environment_says_nothing() {
    let environment = environment(&[]).expect("settings");
    let (settings, ..) = environment.over(&default_configuration());
    assert!(settings.policy && settings.namespace && settings.service_account);
    assert!(settings.workload_endpoint && settings.health);
    let node = settings.node.expect("the node controller");
    assert_eq!(node.leak_grace, Duration::from_secs(900));
    assert!(node.sync_labels && node.host_endpoints.is_none());
    // What has no block is off.
    let (settings, ..) = environment.over(&spec("{}"));
    assert_eq!((settings.node, settings.policy), (None, false));
    assert_eq!(settings.metrics_port, 9094);
    let (_, _, warnings) =
        environment.over(&spec(r#"{"controllers": {"node": {"leakGracePeriod": "soon"}}}"#));
    assert!(warnings[0].contains("leakGracePeriod") && warnings[0].contains("soon"));
}

#[test]
fn values_that_cannot_be_read_are_named() {
    for (name, text) in [
        ("ENABLED_CONTROLLERS", "node,banana"),
        ("LOG_LEVEL", "loud"),
        ("RECONCILER_PERIOD", "often"),
        ("COMPACTION_PERIOD", "5"),
        ("HEALTH_ENABLED", "yes"),
        ("SYNC_NODE_LABELS", "2"),
        ("AUTO_HOST_ENDPOINTS", "true"),
    ] {
        let said = environment(&[(name, text)]).expect_err(name);
        assert!(said.contains(name), "{said}");
    }
}

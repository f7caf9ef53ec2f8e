//! What runs, and how: the environment over the KubeControllersConfiguration over the defaults.

use model::duration;
use model::resources::kube_controllers_configuration::{
    AutoHostEndpoints, ControllersConfiguration, KubeControllersConfigurationSpec,
    NodeControllerConfiguration, ReconcilerConfiguration,
};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

/// The variables that are read, those of the datastores' connections apart.
pub const VARIABLES: [&str; 8] = [
    "AUTO_HOST_ENDPOINTS",
    "COMPACTION_PERIOD",
    "DATASTORE_TYPE",
    "ENABLED_CONTROLLERS",
    "HEALTH_ENABLED",
    "LOG_LEVEL",
    "RECONCILER_PERIOD",
    "SYNC_NODE_LABELS",
];

/// How long an address may seem lost, unless the settings say so.
const LEAK_GRACE: Duration = Duration::from_secs(15 * 60);
/// The port of metrics, unless the settings say so.
const METRICS_PORT: u16 = 9094;
const COMPACTION_PERIOD: Duration = Duration::from_secs(10 * 60);
const RECONCILER_PERIOD: &str = "5m0s";
const ENABLED: &str = "Enabled";
const DISABLED: &str = "Disabled";
const LEVELS: [&str; 8] = ["none", "trace", "debug", "info", "warning", "error", "fatal", "panic"];

/// What the environment says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Environment {
    texts: BTreeMap<&'static str, String>,
    log_level: Option<String>,
    enabled: Option<Vec<Controller>>,
    reconciler_period: Option<Duration>,
    compaction_period: Option<Duration>,
    health: Option<bool>,
    sync_labels: Option<bool>,
    auto_host_endpoints: Option<bool>,
    /// Calico's datastore is the Kubernetes API.
    pub(crate) kubernetes: bool,
}

/// The controllers there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    Node,
    Policy,
    Namespace,
    ServiceAccount,
    WorkloadEndpoint,
    LoadBalancer,
}

/// What runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// What is logged, as [`crate::log::start`] takes it.
    pub(crate) log_level: String,
    /// Whether the datastores' answering is a condition of readiness.
    pub(crate) health: bool,
    /// Where metrics are served; 0: nowhere.
    pub(crate) metrics_port: u16,
    /// How often etcd is compacted, where it is the datastore; zero: never.
    pub(crate) compaction_period: Duration,
    /// The node controller.
    pub(crate) node: Option<NodeSettings>,
    /// Policies into etcd.
    pub(crate) policy: bool,
    /// Namespaces into etcd.
    pub(crate) namespace: bool,
    /// Service accounts into etcd.
    pub(crate) service_account: bool,
    /// Endpoints' labels into etcd.
    pub(crate) workload_endpoint: bool,
}

/// The node controller's settings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct NodeSettings {
    /// Calico's nodes get Kubernetes' labels.
    pub(crate) sync_labels: bool,
    /// How long an address may seem lost before it is freed; zero: it never is.
    pub(crate) leak_grace: Duration,
    /// Host endpoints of its making; `None`: none.
    pub(crate) host_endpoints: Option<AutoHostEndpoints>,
}

impl Environment {
    /// Reads the variables; empty ones count as unset.
    ///
    /// # Errors
    /// One that Calico's does not start with.
    pub(crate) fn read(variables: &[(String, String)]) -> Result<Environment, String> {
        let text = |name: &str| {
            let set = variables.iter().find(|(known, text)| known == name && !text.is_empty());
            set.map(|(_, text)| text.trim().to_owned())
        };
        let texts = VARIABLES.into_iter().filter_map(|name| Some((name, text(name)?))).collect();
        let period = |name: &str| {
            text(name).map(|given| {
                let reason = "it takes a duration such as 5m or 90s";
                duration::parse(&given).ok_or_else(|| wrong(name, &given, reason))
            })
        };
        let flag = |name: &str| text(name).map(|given| boolean(name, &given));
        let level = text("LOG_LEVEL").map(|given| {
            let known = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(&given));
            let known = known || given.eq_ignore_ascii_case("warn");
            let reason = "it takes debug, info, warning, error or fatal";
            known.then(|| given.clone()).ok_or_else(|| wrong("LOG_LEVEL", &given, reason))
        });
        let auto =
            text("AUTO_HOST_ENDPOINTS").map(|given| match given.to_ascii_lowercase().as_str() {
                "enabled" => Ok(true),
                "disabled" => Ok(false),
                _ => Err(wrong("AUTO_HOST_ENDPOINTS", &given, "it takes enabled or disabled")),
            });
        let enabled = text("ENABLED_CONTROLLERS").map(|given| controllers(&given));
        let datastore = text("DATASTORE_TYPE").unwrap_or_default();
        Ok(Environment {
            texts,
            log_level: level.transpose()?,
            enabled: enabled.transpose()?,
            reconciler_period: period("RECONCILER_PERIOD").transpose()?,
            compaction_period: period("COMPACTION_PERIOD").transpose()?,
            health: flag("HEALTH_ENABLED").transpose()?,
            sync_labels: flag("SYNC_NODE_LABELS").transpose()?,
            auto_host_endpoints: auto.transpose()?,
            kubernetes: datastore == "kubernetes",
        })
    }

    /// What is logged before the datastore says anything.
    pub(crate) fn log_level(&self) -> &str {
        self.log_level.as_deref().unwrap_or("info")
    }

    /// What runs with such a configuration, and the configuration's status that says so. Values that
    /// cannot be read count as the defaults, with a sentence for each.
    pub(crate) fn over(
        &self,
        spec: &KubeControllersConfigurationSpec,
    ) -> (Settings, Value, Vec<String>) {
        let mut warnings = Vec::new();
        let enabled = self.enabled(&spec.controllers);
        let runs = |controller| enabled.contains(&controller);
        let node = runs(Controller::Node).then(|| self.node(spec, &mut warnings));
        let given = self.log_level.clone().or_else(|| spec.log_severity_screen.clone());
        let log_level = given.unwrap_or_else(|| "Info".to_owned());
        let of_spec = spec.health_checks.as_deref() != Some(DISABLED);
        let compaction = spec.etcd_v3_compaction_period.as_deref().and_then(duration::parse);
        let port = spec.prometheus_metrics_port.map(u16::try_from).and_then(Result::ok);
        let settings = Settings {
            health: self.health.unwrap_or(of_spec),
            metrics_port: port.unwrap_or(METRICS_PORT),
            compaction_period: self.compaction_period.or(compaction).unwrap_or(COMPACTION_PERIOD),
            policy: runs(Controller::Policy),
            namespace: runs(Controller::Namespace),
            service_account: runs(Controller::ServiceAccount),
            workload_endpoint: runs(Controller::WorkloadEndpoint),
            log_level,
            node,
        };
        let running = self.running(&settings, spec, &enabled);
        let mut variables = json!(self.texts);
        if self.kubernetes {
            variables["DATASTORE_TYPE"] = json!("kubernetes");
        }
        (settings, json!({"environmentVars": variables, "runningConfig": running}), warnings)
    }

    fn enabled(&self, configured: &ControllersConfiguration) -> Vec<Controller> {
        if let Some(enabled) = &self.enabled {
            return enabled.clone();
        }
        let of_spec = [
            (Controller::Node, configured.node.is_some()),
            (Controller::Policy, configured.policy.is_some()),
            (Controller::Namespace, configured.namespace.is_some()),
            (Controller::ServiceAccount, configured.service_account.is_some()),
            (Controller::WorkloadEndpoint, configured.workload_endpoint.is_some()),
            (Controller::LoadBalancer, configured.load_balancer.is_some()),
        ];
        of_spec.into_iter().filter(|(_, is_set)| *is_set).map(|(one, _)| one).collect()
    }

    fn node(
        &self,
        spec: &KubeControllersConfigurationSpec,
        warnings: &mut Vec<String>,
    ) -> NodeSettings {
        let node = spec.controllers.node.clone().unwrap_or_default();
        let leak_grace = node.leak_grace_period.as_deref().map(|text| {
            duration::parse(text).unwrap_or_else(|| {
                warnings.push(format!(
                    "KubeControllersConfiguration(default): leakGracePeriod is {text:?}, which is \
                     no duration such as 15m; it counts as 15m"
                ));
                LEAK_GRACE
            })
        });
        let of_spec = node.host_endpoint.filter(|one| one.auto_create.as_deref() == Some(ENABLED));
        let host_endpoints = match self.auto_host_endpoints {
            None => of_spec,
            Some(true) => Some(AutoHostEndpoints::default()),
            Some(false) => None,
        };
        let of_spec = node.sync_labels.as_deref() != Some(DISABLED);
        NodeSettings {
            sync_labels: !self.kubernetes && self.sync_labels.unwrap_or(of_spec),
            leak_grace: leak_grace.unwrap_or(LEAK_GRACE),
            host_endpoints,
        }
    }

    fn running(
        &self,
        settings: &Settings,
        spec: &KubeControllersConfigurationSpec,
        enabled: &[Controller],
    ) -> KubeControllersConfigurationSpec {
        let word = |on: bool| Some(if on { ENABLED } else { DISABLED }.to_owned());
        let configured = &spec.controllers;
        let reconciler = |controller, of_spec: &Option<ReconcilerConfiguration>| {
            let of_spec = of_spec.as_ref().and_then(|one| one.reconciler_period.clone());
            let of_environment = self.reconciler_period.map(duration::format);
            let period = of_environment.or(of_spec).unwrap_or_else(|| RECONCILER_PERIOD.to_owned());
            enabled
                .contains(&controller)
                .then_some(ReconcilerConfiguration { reconciler_period: Some(period) })
        };
        KubeControllersConfigurationSpec {
            log_severity_screen: Some(capitalised(&settings.log_level)),
            health_checks: word(settings.health),
            etcd_v3_compaction_period: Some(duration::format(settings.compaction_period)),
            prometheus_metrics_port: Some(settings.metrics_port.into()),
            debug_profile_port: None,
            controllers: ControllersConfiguration {
                node: settings.node.as_ref().map(|node| NodeControllerConfiguration {
                    reconciler_period: None,
                    sync_labels: word(node.sync_labels),
                    host_endpoint: Some(AutoHostEndpoints {
                        auto_create: word(node.host_endpoints.is_some()),
                        create_default_host_endpoint: word(
                            node.host_endpoints.as_ref().is_none_or(makes_default),
                        ),
                        templates: match &node.host_endpoints {
                            Some(endpoints) => endpoints.templates.clone(),
                            None => Vec::new(),
                        },
                    }),
                    leak_grace_period: Some(duration::format(node.leak_grace)),
                }),
                policy: reconciler(Controller::Policy, &configured.policy),
                workload_endpoint: reconciler(
                    Controller::WorkloadEndpoint,
                    &configured.workload_endpoint,
                ),
                service_account: reconciler(
                    Controller::ServiceAccount,
                    &configured.service_account,
                ),
                namespace: reconciler(Controller::Namespace, &configured.namespace),
                load_balancer: None,
                migration: None,
            },
        }
    }
}

/// Whether each node gets a host endpoint of all its interfaces.
pub(crate) fn makes_default(endpoints: &AutoHostEndpoints) -> bool {
    endpoints.create_default_host_endpoint.as_deref() != Some(DISABLED)
}

/// The configuration that every cluster has unless somebody says otherwise.
pub(crate) fn default_configuration() -> KubeControllersConfigurationSpec {
    let period = || Some(RECONCILER_PERIOD.to_owned());
    let reconciler = || Some(ReconcilerConfiguration { reconciler_period: period() });
    KubeControllersConfigurationSpec {
        log_severity_screen: Some("Info".to_owned()),
        health_checks: Some(ENABLED.to_owned()),
        etcd_v3_compaction_period: Some(duration::format(COMPACTION_PERIOD)),
        prometheus_metrics_port: Some(METRICS_PORT.into()),
        debug_profile_port: None,
        controllers: ControllersConfiguration {
            node: Some(NodeControllerConfiguration {
                reconciler_period: period(),
                sync_labels: Some(ENABLED.to_owned()),
                host_endpoint: Some(AutoHostEndpoints {
                    auto_create: Some(DISABLED.to_owned()),
                    create_default_host_endpoint: Some(ENABLED.to_owned()),
                    templates: Vec::new(),
                }),
                leak_grace_period: Some(duration::format(LEAK_GRACE)),
            }),
            policy: reconciler(),
            workload_endpoint: reconciler(),
            service_account: reconciler(),
            namespace: reconciler(),
            load_balancer: None,
            migration: None,
        },
    }
}

fn controllers(text: &str) -> Result<Vec<Controller>, String> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    let one = |name: &str| {
        Ok(match name {
            "node" => Controller::Node,
            "policy" => Controller::Policy,
            "namespace" | "profile" => Controller::Namespace,
            "serviceaccount" => Controller::ServiceAccount,
            "workloadendpoint" => Controller::WorkloadEndpoint,
            "loadbalancer" => Controller::LoadBalancer,
            other => {
                let reason = "it takes a list of node, policy, namespace, serviceaccount and \
                              workloadendpoint";
                return Err(wrong("ENABLED_CONTROLLERS", other, reason));
            }
        })
    };
    names.map(one).collect()
}

fn boolean(name: &str, text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        _ => Err(wrong(name, text, "it takes true or false")),
    }
}

fn wrong(name: &str, text: &str, reason: &str) -> String {
    format!("{name} is {text:?}: {reason}")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.to_ascii_lowercase();
    if let Some(first) = letters.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    letters
}

#[cfg(test)]
mod tests;

//! Where the datastore is and how to get in: Calico's connection settings.
//!
//! Source: `calico-features.md` §3.1 ("Connection env"), §5.2 (CNI), §9 (calicoctl): variables
//! `ETCD_*` and `DATASTORE_TYPE`, plain or with the prefix `CALICO_`, Felix's spellings
//! (`FELIX_ETCDENDPOINTS` …) and the `CalicoAPIConfig` file. A variable overrides the file; an
//! empty one counts as unset, as real manifests set many to "".

mod endpoint;
mod file;
mod kubernetes;

pub use endpoint::Endpoint;
pub use kubernetes::Kubernetes;

use crate::Error;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// calicoctl's configuration file where none is named.
pub const DEFAULT_FILE: &str = "/etc/calico/calicoctl.cfg";
/// The server where no setting names one (Felix's `EtcdAddr` default).
pub const DEFAULT_ENDPOINT: &str = "http://127.0.0.1:2379";

/// A certificate or key in PEM form.
#[derive(Clone, PartialEq, Eq)]
pub enum Pem {
    /// Read from here at every connect, so that a rotated file is picked up.
    File(PathBuf),
    /// The text itself.
    Inline(String),
}

// A key's text must not get into a log.
impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Pem::File(path) => write!(f, "{}", path.display()),
            Pem::Inline(_) => write!(f, "(inline PEM)"),
        }
    }
}

/// Certificates of a TLS connection; all optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who may have signed the server's certificate; `None`: the system's authorities.
    pub authority: Option<Pem>,
    /// Our certificate and its key.
    pub identity: Option<(Pem, Pem)>,
}

/// A user of etcd's own authentication.
#[derive(Clone, PartialEq, Eq)]
pub struct User {
    /// `ETCD_USERNAME`.
    pub name: String,
    /// `ETCD_PASSWORD`.
    pub password: String,
}

impl std::fmt::Debug for User {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "User({})", self.name)
    }
}

/// How to reach a datastore: an etcd v3 cluster, which is an etcd of any size or `calico datastore`,
/// or the Kubernetes API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Set where the datastore is the Kubernetes API; what is said of etcd then counts for nothing.
    pub kubernetes: Option<Kubernetes>,
    /// etcd's members, tried in this order; one at least.
    pub endpoints: Vec<Endpoint>,
    /// Whom to log in as, if the cluster has authentication.
    pub user: Option<User>,
    /// Certificates for `https` endpoints.
    pub tls: Tls,
}

/// A setting: its field in a `CalicoAPIConfig` and its variables, the first set one counts.
pub(crate) struct Field {
    pub(crate) name: &'static str,
    variables: &'static [&'static str],
}

const fn field(name: &'static str, variables: &'static [&'static str]) -> Field {
    Field { name, variables }
}

pub(crate) const FIELDS: &[Field] = &[
    field("datastoreType", &["CALICO_DATASTORE_TYPE", "DATASTORE_TYPE", "FELIX_DATASTORETYPE"]),
    field("etcdEndpoints", &["CALICO_ETCD_ENDPOINTS", "ETCD_ENDPOINTS", "FELIX_ETCDENDPOINTS"]),
    field("etcdDiscoverySrv", &["CALICO_ETCD_DISCOVERY_SRV", "ETCD_DISCOVERY_SRV"]),
    field("etcdUsername", &["CALICO_ETCD_USERNAME", "ETCD_USERNAME", "FELIX_ETCDUSERNAME"]),
    field("etcdPassword", &["CALICO_ETCD_PASSWORD", "ETCD_PASSWORD", "FELIX_ETCDPASSWORD"]),
    field("etcdKeyFile", &["CALICO_ETCD_KEY_FILE", "ETCD_KEY_FILE", "FELIX_ETCDKEYFILE"]),
    field("etcdCertFile", &["CALICO_ETCD_CERT_FILE", "ETCD_CERT_FILE", "FELIX_ETCDCERTFILE"]),
    field("etcdCACertFile", &["CALICO_ETCD_CA_CERT_FILE", "ETCD_CA_CERT_FILE", "FELIX_ETCDCAFILE"]),
    // No variables: Calico keeps key material out of the environment.
    field("etcdKey", &[]),
    field("etcdCert", &[]),
    field("etcdCACert", &[]),
    // One address without scheme: Felix's and the oldest CNI plugins' form.
    field(AUTHORITY, &["ETCD_AUTHORITY", "FELIX_ETCDADDR"]),
    field(SCHEME, &["ETCD_SCHEME", "FELIX_ETCDSCHEME"]),
    field("kubeconfig", &["CALICO_KUBECONFIG", "KUBECONFIG"]),
    field("kubeconfigInline", &[]),
    field("k8sAPIEndpoint", &["CALICO_K8S_API_ENDPOINT", "K8S_API_ENDPOINT"]),
    field("k8sKeyFile", &["CALICO_K8S_KEY_FILE", "K8S_KEY_FILE"]),
    field("k8sCertFile", &["CALICO_K8S_CERT_FILE", "K8S_CERT_FILE"]),
    field("k8sCAFile", &["CALICO_K8S_CA_FILE", "K8S_CA_FILE"]),
    field("k8sAPIToken", &["CALICO_K8S_API_TOKEN", "K8S_API_TOKEN"]),
    field(
        "k8sInsecureSkipTLSVerify",
        &["CALICO_K8S_INSECURE_SKIP_TLS_VERIFY", "K8S_INSECURE_SKIP_TLS_VERIFY"],
    ),
    field("k8sCurrentContext", &["CALICO_K8S_CURRENT_CONTEXT", "K8S_CURRENT_CONTEXT"]),
    field("calicoAPIGroup", &["CALICO_API_GROUP"]),
    // Felix's: pods' interfaces are named after it.
    field(INTERFACE_PREFIX, &["FELIX_INTERFACEPREFIX"]),
];

const INTERFACE_PREFIX: &str = "interfacePrefix";

const AUTHORITY: &str = "etcdAuthority";
const SCHEME: &str = "etcdScheme";

/// Field name → value, empty values left out.
pub(crate) type Values = BTreeMap<&'static str, String>;

impl Settings {
    /// Settings from explicit endpoints: a comma-separated list of `http://host:port`,
    /// `https://host:port` or `unix:///path`.
    ///
    /// # Errors
    /// [`Error::Settings`] when an endpoint cannot be read.
    pub fn new(endpoints: &str) -> Result<Settings, Error> {
        Settings::from_values(&Values::from([("etcdEndpoints", endpoints.to_owned())]))
    }

    /// The same settings with a user.
    pub fn with_user(mut self, name: impl Into<String>, password: impl Into<String>) -> Settings {
        self.user = Some(User { name: name.into(), password: password.into() });
        self
    }

    /// The same settings with certificates.
    pub fn with_tls(mut self, tls: Tls) -> Settings {
        self.tls = tls;
        self
    }

    /// Settings from environment variables, e.g. `std::env::vars()`. A CNI configuration's
    /// `etcd_*` keys are these variables in lower case.
    ///
    /// # Errors
    /// [`Error::Settings`], naming the variable, when a value cannot be used.
    pub fn from_env<I, K, V>(vars: I) -> Result<Settings, Error>
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        Settings::from_values(&environment(vars))
    }

    /// Settings of the Kubernetes API from environment variables, whatever `DATASTORE_TYPE` is: for
    /// who asks it beside a datastore that is another.
    ///
    /// # Errors
    /// As [`Settings::from_env`].
    pub fn kubernetes_from_env<I, K, V>(vars: I) -> Result<Kubernetes, Error>
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        Kubernetes::from_values(&environment(vars))
    }

    /// Settings from a `CalicoAPIConfig` file, each overridden by its variable where that is set.
    ///
    /// # Errors
    /// [`Error::Settings`] when the file is missing, is no such resource, or a value is unusable.
    pub fn from_file<I, K, V>(path: &Path, vars: I) -> Result<Settings, Error>
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        let mut values = file::read(path)?;
        values.extend(environment(vars));
        Settings::from_values(&values)
    }

    /// What calicoctl does: the named file, else [`DEFAULT_FILE`] if it is there; and variables.
    ///
    /// # Errors
    /// As [`Settings::from_file`]; that the default file isn't there is none.
    pub fn load<I, K, V>(path: Option<&Path>, vars: I) -> Result<Settings, Error>
    where
        I: IntoIterator<Item = (K, V)>,
        K: Into<String>,
        V: Into<String>,
    {
        match path {
            Some(path) => Settings::from_file(path, vars),
            None if Path::new(DEFAULT_FILE).exists() => {
                Settings::from_file(Path::new(DEFAULT_FILE), vars)
            }
            None => Settings::from_env(vars),
        }
    }

    fn from_values(values: &Values) -> Result<Settings, Error> {
        let kubernetes = match values.get("datastoreType").map_or("etcdv3", |kind| kind.trim()) {
            "etcdv3" => None,
            "kubernetes" => return Settings::of_kubernetes(values),
            other => {
                return Err(Error::Settings(format!(
                    "DATASTORE_TYPE is {other:?}: it takes etcdv3 or kubernetes"
                )));
            }
        };
        let user = match (values.get("etcdUsername"), values.get("etcdPassword")) {
            (Some(name), Some(password)) => {
                Some(User { name: name.clone(), password: password.clone() })
            }
            (None, None) => None,
            (Some(_), None) => return Err(missing("ETCD_PASSWORD", "ETCD_USERNAME")),
            (None, Some(_)) => return Err(missing("ETCD_USERNAME", "ETCD_PASSWORD")),
        };
        let identity = match (
            pem(values, "etcdCert", "etcdCertFile"),
            pem(values, "etcdKey", "etcdKeyFile"),
        ) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(missing("ETCD_KEY_FILE", "ETCD_CERT_FILE")),
            (None, Some(_)) => return Err(missing("ETCD_CERT_FILE", "ETCD_KEY_FILE")),
        };
        let authority = pem(values, "etcdCACert", "etcdCACertFile");
        let tls = Tls { authority, identity };
        Ok(Settings { kubernetes, endpoints: endpoints(values)?, user, tls })
    }

    fn of_kubernetes(values: &Values) -> Result<Settings, Error> {
        let kubernetes = Some(Kubernetes::from_values(values)?);
        Ok(Settings { kubernetes, endpoints: Vec::new(), user: None, tls: Tls::default() })
    }
}

fn environment<I, K, V>(vars: I) -> Values
where
    I: IntoIterator<Item = (K, V)>,
    K: Into<String>,
    V: Into<String>,
{
    let vars: BTreeMap<String, String> =
        vars.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let set = |name: &&str| vars.get(*name).filter(|value| !value.trim().is_empty());
    FIELDS
        .iter()
        .filter_map(|field| Some((field.name, field.variables.iter().find_map(set)?.clone())))
        .collect()
}

fn endpoints(values: &Values) -> Result<Vec<Endpoint>, Error> {
    if values.contains_key("etcdDiscoverySrv") {
        return Err(Error::Settings(
            "ETCD_DISCOVERY_SRV is not supported: list the servers in ETCD_ENDPOINTS, \
             e.g. https://10.0.0.1:2379,https://10.0.0.2:2379"
                .into(),
        ));
    }
    let list = match (values.get("etcdEndpoints"), values.get(AUTHORITY)) {
        (Some(list), _) => list.clone(),
        (None, Some(authority)) => {
            format!("{}://{authority}", values.get(SCHEME).map_or("http", String::as_str))
        }
        (None, None) => DEFAULT_ENDPOINT.to_owned(),
    };
    let items = list.split(',').map(str::trim).filter(|item| !item.is_empty());
    let endpoints: Vec<Endpoint> = items.map(str::parse).collect::<Result<_, _>>()?;
    if endpoints.is_empty() {
        return Err(Error::Settings(format!(
            "ETCD_ENDPOINTS is {list:?}: it takes a comma-separated list of http://host:port"
        )));
    }
    Ok(endpoints)
}

// The inline form wins, as in Calico.
fn pem(values: &Values, inline: &str, path: &str) -> Option<Pem> {
    let text = values.get(inline).map(|text| Pem::Inline(text.clone()));
    text.or_else(|| values.get(path).map(|path| Pem::File(path.into())))
}

fn missing(absent: &str, present: &str) -> Error {
    Error::Settings(format!("{present} is set but {absent} is not: set both or neither"))
}

#[cfg(test)]
mod tests;

//! What the CNI plugin gets into the Kubernetes API with: the file `calico-kubeconfig`.
//!
//! install-cni writes it first, calico-node keeps it fresh (`calico-features.md` §5.5). Both run as
//! pods, so the API's address is in their environment, and an account of their own is mounted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::config::CNI_SERVICE_ACCOUNT as PLUGIN_ACCOUNT;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use store::kubernetes::{ServiceAccountToken, request_token};
use store::settings::{Kubernetes, Pem, Tls};

/// The file's name, in the directory of network configurations.
pub const KUBECONFIG: &str = "calico-kubeconfig";
/// Where a pod finds the host's network configurations.
pub const HOST_CONFIGURATIONS: &str = "host/etc/cni/net.d";
/// Where a pod finds its account.
const ACCOUNT: &str = "var/run/secrets/kubernetes.io/serviceaccount";
/// How long a token is to be valid.
const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);
/// Read and written by root alone.
const PRIVATE: u32 = 0o600;

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The pod's environment doesn't say where the API is.
    #[error("{0} is not set, though this is a pod of Kubernetes, which sets it in every pod")]
    NoAddress(&'static str),
    /// A file of the pod's account cannot be read.
    #[error(
        "{}: {source}: the pod's service account is not mounted as it should be; is its \
         automountServiceAccountToken false?",
        path.display()
    )]
    Account {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The kubeconfig cannot be written.
    #[error(
        "{}: {source}: the CNI plugin gets no credentials; is the host's /etc/cni/net.d mounted, and \
         writable?",
        path.display()
    )]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// How this pod reaches the API, and as whom the plugin is to.
#[derive(Clone, Debug)]
pub struct Credentials {
    account: PathBuf,
    server: String,
    insecure: bool,
    plugin_account: String,
}

impl Credentials {
    /// Those of the pod with this environment and root directory; `None` where it is no pod of
    /// Kubernetes.
    ///
    /// # Errors
    /// It is one, but the environment doesn't say where the API is.
    pub fn of_pod(
        environment: &BTreeMap<String, String>,
        root: &Path,
    ) -> Result<Option<Credentials>, CredentialsError> {
        let account = root.join(ACCOUNT);
        if !account.join("token").exists() {
            return Ok(None);
        }
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        let needed = |name| set(name).ok_or(CredentialsError::NoAddress(name));
        let host = needed("KUBERNETES_SERVICE_HOST")?;
        let port = needed("KUBERNETES_SERVICE_PORT")?;
        let protocol = set("KUBERNETES_SERVICE_PROTOCOL").unwrap_or_else(|| "https".to_owned());
        let host = if host.contains(':') { format!("[{host}]") } else { host };
        Ok(Some(Credentials {
            account,
            server: format!("{protocol}://{host}:{port}"),
            insecure: set("SKIP_TLS_VERIFY").is_some_and(|word| word == "true"),
            plugin_account: set(PLUGIN_ACCOUNT.definition.name)
                .unwrap_or_else(|| PLUGIN_ACCOUNT.definition.default.to_owned()),
        }))
    }

    /// The pod's own token; Kubernetes puts another in its place before it expires.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn mounted_token(&self) -> Result<String, CredentialsError> {
        Ok(self.read("token")?.trim().to_owned())
    }

    /// When the pod's own token was put there.
    pub fn mounted_at(&self) -> Option<SystemTime> {
        std::fs::metadata(self.account.join("token")).and_then(|file| file.modified()).ok()
    }

    /// Asks the API for a token of the plugin's account.
    ///
    /// # Errors
    /// Why it gives none.
    pub async fn request_token(&self) -> Result<ServiceAccountToken, store::Error> {
        let unreadable = |error: CredentialsError| store::Error::Settings(error.to_string());
        let settings = Kubernetes {
            endpoint: Some(self.server.clone()),
            token: Some(self.mounted_token().map_err(unreadable)?),
            tls: Tls { authority: Some(Pem::File(self.account.join("ca.crt"))), identity: None },
            insecure: self.insecure,
            ..Kubernetes::default()
        };
        let namespace = self.read("namespace").map_err(unreadable)?;
        request_token(&settings, namespace.trim(), &self.plugin_account, VALIDITY).await
    }

    /// Whose tokens [`Credentials::request_token`] asks for.
    pub fn plugin_account(&self) -> &str {
        &self.plugin_account
    }

    /// Puts a kubeconfig with this token in place of `path`.
    ///
    /// # Errors
    /// The authority's certificate cannot be read, or the file not be written.
    pub fn write(&self, path: &Path, token: &str) -> Result<(), CredentialsError> {
        let trust = if self.insecure {
            "insecure-skip-tls-verify: true".to_owned()
        } else {
            format!("certificate-authority-data: {}", STANDARD.encode(self.read("ca.crt")?))
        };
        let server = &self.server;
        let text = format!(
            "# Written by Calico for its CNI plugin; calico-node renews the token.\n\
             apiVersion: v1\n\
             kind: Config\n\
             clusters:\n\
             - name: local\n  cluster:\n    server: {server}\n    {trust}\n\
             users:\n\
             - name: calico\n  user:\n    token: {token}\n\
             contexts:\n\
             - name: calico-context\n  context:\n    cluster: local\n    user: calico\n\
             current-context: calico-context\n"
        );
        linux::file::replace_with_mode(path, text.as_bytes(), PRIVATE)
            .map_err(|source| CredentialsError::Kubeconfig { path: path.to_owned(), source })
    }

    fn read(&self, name: &str) -> Result<String, CredentialsError> {
        let path = self.account.join(name);
        std::fs::read_to_string(&path).map_err(|source| CredentialsError::Account { path, source })
    }
}

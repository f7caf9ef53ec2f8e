//! The Kubernetes API as datastore.

use super::{INTERFACE_PREFIX, Pem, Tls, Values};
use crate::Error;
use model::names;
use std::path::PathBuf;

/// How to reach the Kubernetes API. Where neither kubeconfig nor endpoint is set, it is that of the
/// cluster this program is a pod of.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Kubernetes {
    /// `KUBECONFIG`.
    pub kubeconfig: Option<PathBuf>,
    /// The text of one, which wins over the file.
    pub kubeconfig_inline: Option<String>,
    /// The kubeconfig's context that counts; `None`: its current one.
    pub context: Option<String>,
    /// `https://host:port`; wins over the kubeconfig's.
    pub endpoint: Option<String>,
    /// Certificates, as files; they win over the kubeconfig's.
    pub tls: Tls,
    /// A bearer token; wins over the kubeconfig's.
    pub token: Option<String>,
    /// Take any certificate of the server's.
    pub insecure: bool,
    /// `crd.projectcalico.org/v1` or `projectcalico.org/v3`; `None`: the one the cluster has.
    pub api_group: Option<String>,
    /// How names of pods' interfaces start.
    pub interface_prefix: String,
}

// A token must not get into a log.
impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Kubernetes { kubeconfig, context, endpoint, tls, insecure, api_group, .. } = self;
        f.debug_struct("Kubernetes")
            .field("kubeconfig", kubeconfig)
            .field("context", context)
            .field("endpoint", endpoint)
            .field("tls", tls)
            .field("insecure", insecure)
            .field("api_group", api_group)
            .finish_non_exhaustive()
    }
}

impl Kubernetes {
    pub(super) fn from_values(values: &Values) -> Result<Kubernetes, Error> {
        let text = |name: &str| values.get(name).map(|text| text.trim().to_owned());
        let file = |name: &str| text(name).map(|path| Pem::File(path.into()));
        let identity = match (file("k8sCertFile"), file("k8sKeyFile")) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(super::missing("K8S_KEY_FILE", "K8S_CERT_FILE")),
            (None, Some(_)) => return Err(super::missing("K8S_CERT_FILE", "K8S_KEY_FILE")),
        };
        let insecure = match text("k8sInsecureSkipTLSVerify").as_deref() {
            None | Some("false" | "0" | "f" | "F" | "False" | "FALSE") => false,
            Some("true" | "1" | "t" | "T" | "True" | "TRUE") => true,
            Some(other) => {
                return Err(Error::Settings(format!(
                    "K8S_INSECURE_SKIP_TLS_VERIFY is {other:?}: it takes true or false"
                )));
            }
        };
        let prefixes = text(INTERFACE_PREFIX).unwrap_or_default();
        let prefix = prefixes.split(',').next().map(str::trim).filter(|text| !text.is_empty());
        Ok(Kubernetes {
            kubeconfig: text("kubeconfig").map(PathBuf::from),
            kubeconfig_inline: values.get("kubeconfigInline").cloned(),
            context: text("k8sCurrentContext"),
            endpoint: text("k8sAPIEndpoint"),
            tls: Tls { authority: file("k8sCAFile"), identity },
            token: text("k8sAPIToken"),
            insecure,
            api_group: text("calicoAPIGroup"),
            interface_prefix: prefix.unwrap_or(names::INTERFACE_PREFIX).to_owned(),
        })
    }
}

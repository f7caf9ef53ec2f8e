//! One request to the API server and its answer. The only place that knows kube.

use crate::Error;
use crate::settings::{self, Pem};
use http::header::CONTENT_TYPE;
use http::{Method, Request, Response};
use http_body_util::{BodyExt, Limited};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube_client::Config;
use kube_client::client::{Body, ConfigExt};
use kube_client::config::{KubeConfigOptions, Kubeconfig};
use serde::Deserialize;
use std::time::Duration;
use tower::{BoxError, ServiceBuilder};

/// The largest answer taken, in bytes: a page of large objects, within a bound.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// How long an answer may take.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// How long a watch may be silent: longer than any lasts. Bookmarks are no sign of life: the server
/// tells none of a collection that has not changed since it started.
const SILENCE_MAX: Duration = Duration::from_secs(660);
/// How long a connection may take to be there.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
/// TCP asks a peer that has been silent for so long whether it is there …
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
/// … then again after each of these pauses …
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// … and takes it for gone after as many questions. Without it, what the server tells a watch while
/// nodes are cut off comes late: its TCP doubles the pauses between attempts, up to two minutes.
const KEEPALIVE_PROBES: u32 = 2;

/// A connection to an API server.
pub(super) struct Client {
    inner: kube_client::Client,
    endpoint: String,
    /// Whose credentials it is asked with, as an error names them.
    credentials: String,
}

/// Why a request was not carried out.
pub(super) enum Failure {
    /// The server says no.
    Status(Status),
    /// No answer, or none that can be read.
    Lost(String),
}

/// The server's word (Kubernetes API reference, `Status`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Status {
    /// HTTP's code.
    pub(super) code: u16,
    /// A word for it.
    pub(super) reason: String,
    /// A sentence for it.
    pub(super) message: String,
}

/// The resources of an API group's version (Kubernetes API reference, `APIResourceList`).
#[derive(Deserialize)]
struct Resources {
    resources: Vec<ResourceName>,
}

#[derive(Deserialize)]
struct ResourceName {
    name: String,
}

impl Client {
    pub(super) async fn new(settings: &settings::Kubernetes) -> Result<Client, Error> {
        let (mut config, named) = base(settings).await?;
        let credentials = match &settings.token {
            Some(_) => "the token of K8S_API_TOKEN, or of this pod's account".to_owned(),
            None => format!("the credentials of {named}"),
        };
        apply(settings, &mut config)?;
        let endpoint = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        if let Some(proxy) = &config.proxy_url {
            return Err(Error::Settings(format!(
                "the Kubernetes API at {endpoint} cannot be reached by a proxy ({proxy}): take proxy-url \
                 out of the kubeconfig, and unset HTTPS_PROXY"
            )));
        }
        let inner = connected(&config).map_err(|why| {
            let why = chain(&why);
            Error::Settings(format!(
                "cannot use the credentials for the Kubernetes API at {endpoint}: {why}; check \
                 KUBECONFIG, or K8S_CA_FILE, K8S_CERT_FILE, K8S_KEY_FILE and K8S_API_TOKEN"
            ))
        })?;
        Ok(Client { inner, endpoint, credentials })
    }

    pub(super) fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Sends a request without a body.
    pub(super) async fn ask(&self, method: Method, uri: &str) -> Result<Vec<u8>, Failure> {
        self.send(method, uri, "application/json", Vec::new()).await
    }

    /// Sends a request; returns the answer's body.
    pub(super) async fn send(
        &self,
        method: Method,
        uri: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Vec<u8>, Failure> {
        let exchange = async {
            let response = self.begin(method, uri, content_type, body).await?;
            collect(response).await
        };
        match tokio::time::timeout(ANSWER_TIME_MAX, exchange).await {
            Ok(done) => done,
            Err(_) => Err(Failure::Lost(format!("no answer within {ANSWER_TIME_MAX:?}"))),
        }
    }

    /// Begins an answer that has no end, of lines.
    pub(super) async fn follow(&self, uri: &str) -> Result<Lines, Failure> {
        let begin = self.begin(Method::GET, uri, "application/json", Vec::new());
        match tokio::time::timeout(ANSWER_TIME_MAX, begin).await {
            Ok(response) => {
                Ok(Lines { body: response?.into_body(), buffer: Vec::new(), searched: 0 })
            }
            Err(_) => Err(Failure::Lost(format!("no answer within {ANSWER_TIME_MAX:?}"))),
        }
    }

    /// The answer to a request. What the cluster has not is not found, also where the account may not
    /// ask for it: roles of an older Calico don't name what came later, and the API server looks at
    /// roles first.
    async fn begin(
        &self,
        method: Method,
        uri: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Body>, Failure> {
        match self.once(method, uri, content_type, body).await {
            Err(Failure::Status(status)) if status.code == 403 && !self.serves(uri).await => {
                Err(Failure::Status(Status { code: 404, ..status }))
            }
            answer => answer,
        }
    }

    /// Whether the cluster has the kind of resource that a URI is of, as far as can be told. Every
    /// account may ask (Kubernetes' role `system:discovery`).
    async fn serves(&self, uri: &str) -> bool {
        let path = uri.split('?').next().unwrap_or_default();
        let words: Vec<&str> = path.trim_start_matches('/').split('/').collect();
        let (group, version, rest) = match &words[..] {
            ["apis", group, version, "namespaces", _, rest @ ..]
            | ["apis", group, version, rest @ ..] => (group, version, rest),
            _ => return true,
        };
        let resource = match rest {
            [resource] | [resource, _] => (*resource).to_owned(),
            [resource, _, part] => format!("{resource}/{part}"),
            _ => return true,
        };
        let api = format!("/apis/{group}/{version}");
        let answer = match self.once(Method::GET, &api, "application/json", Vec::new()).await {
            Ok(response) => collect(response).await,
            Err(why) => Err(why),
        };
        match answer {
            Ok(body) => serde_json::from_slice::<Resources>(&body)
                .map_or(true, |list| list.resources.iter().any(|one| one.name == resource)),
            Err(Failure::Status(Status { code: 404, .. })) => false,
            Err(_) => true,
        }
    }

    async fn once(
        &self,
        method: Method,
        uri: &str,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Response<Body>, Failure> {
        let request = Request::builder().method(method).uri(uri).header(CONTENT_TYPE, content_type);
        let request = request.body(Body::from(body)).map_err(|why| Failure::Lost(chain(&why)))?;
        let response = self.inner.send(request).await.map_err(|why| {
            let why = chain(&why);
            Failure::Lost(format!("{why}; is the server running?"))
        })?;
        let code = response.status();
        if code.is_success() {
            return Ok(response);
        }
        let body = collect(response).await?;
        let status: Option<Status> = serde_json::from_slice(&body).ok();
        let mut status = status.filter(|status| status.code != 0).unwrap_or_else(|| Status {
            code: code.as_u16(),
            reason: code.canonical_reason().unwrap_or_default().to_owned(),
            message: String::from_utf8_lossy(&body).trim().to_owned(),
        });
        if status.code == 401 {
            status.message += &format!(" with {}", self.credentials);
        }
        Err(Failure::Status(status))
    }
}

async fn collect(response: Response<Body>) -> Result<Vec<u8>, Failure> {
    match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
        Ok(body) => Ok(body.to_bytes().to_vec()),
        Err(why) => Err(Failure::Lost(format!("the answer broke off: {}", chain(&*why)))),
    }
}

/// The lines of an answer.
pub(super) struct Lines {
    body: Body,
    buffer: Vec<u8>,
    /// So much of the buffer has no end of a line.
    searched: usize,
}

impl Lines {
    /// The next line; `None` at the end of the answer.
    pub(super) async fn next(&mut self) -> Option<Result<Vec<u8>, String>> {
        loop {
            let end = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
            if let Some(end) = end {
                let rest = self.buffer.split_off(self.searched + end + 1);
                self.searched = 0;
                return Some(Ok(std::mem::replace(&mut self.buffer, rest)));
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Some(Err(format!("an event exceeds {ANSWER_BYTES_MAX} bytes")));
            }
            match tokio::time::timeout(SILENCE_MAX, self.body.frame()).await {
                Ok(frame) => match frame? {
                    Ok(frame) => {
                        if let Some(data) = frame.data_ref() {
                            self.buffer.extend_from_slice(data);
                        }
                    }
                    Err(why) => return Some(Err(chain(&why))),
                },
                Err(_) => return Some(Err(format!("silent for {SILENCE_MAX:?}"))),
            }
        }
    }
}

/// kube's client over connections that notice when the server is cut off. Nothing is repeated: a write
/// may have been carried out, and the watcher backs off by itself.
fn connected(config: &Config) -> Result<kube_client::Client, kube_client::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(Some(CONNECT_TIME_MAX));
    connector.set_keepalive(Some(KEEPALIVE_TIME));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    let connector = config.rustls_https_connector_with_connector(connector)?;
    let client = legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer()?)
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(client);
    Ok(kube_client::Client::new(service, config.default_namespace.clone()))
}

/// The kubeconfig's cluster, else the one this program runs in, else the one that is named; and what
/// says so.
async fn base(settings: &settings::Kubernetes) -> Result<(Config, String), Error> {
    let options =
        KubeConfigOptions { context: settings.context.clone(), ..KubeConfigOptions::default() };
    let (read, named) = match (&settings.kubeconfig_inline, &settings.kubeconfig) {
        (Some(text), _) => (Kubeconfig::from_yaml(text), "kubeconfigInline".to_owned()),
        (None, Some(path)) => (Kubeconfig::read_from(path), path.display().to_string()),
        (None, None) if settings.endpoint.is_some() => {
            let endpoint = endpoint(settings.endpoint.as_deref().unwrap_or_default())?;
            return Ok((Config::new(endpoint), "K8S_CERT_FILE and K8S_KEY_FILE".to_owned()));
        }
        (None, None) => {
            let config = Config::incluster().map_err(|why| {
                Error::Settings(format!(
                    "this program runs in no pod ({}): name the Kubernetes API by KUBECONFIG or \
                     K8S_API_ENDPOINT",
                    chain(&why)
                ))
            });
            return Ok((config?, "this pod's service account".to_owned()));
        }
    };
    let unusable = |why: kube_client::config::KubeconfigError| {
        let why = chain(&why);
        Error::Settings(format!("the kubeconfig {named} cannot be used: {why}; correct it"))
    };
    let config = Config::from_custom_kubeconfig(read.map_err(&unusable)?, &options).await;
    let config = config.map_err(unusable)?;
    Ok((config, named))
}

/// What is set beside the kubeconfig wins over it.
fn apply(settings: &settings::Kubernetes, config: &mut Config) -> Result<(), Error> {
    if let Some(text) = &settings.endpoint {
        config.cluster_url = endpoint(text)?;
    }
    let path = |pem: &Option<Pem>| match pem {
        Some(Pem::File(path)) => Some(path.display().to_string()),
        _ => None,
    };
    if let Some(authority) = path(&settings.tls.authority) {
        // The file alone counts. Without a list, the system's authorities would be read too, and a
        // container from scratch has none.
        config.root_cert = Some(Vec::new());
        config.root_cert_file = Some(authority.into());
    }
    if let Some((certificate, key)) = &settings.tls.identity {
        let auth = &mut config.auth_info;
        auth.client_certificate = path(&Some(certificate.clone()));
        auth.client_key = path(&Some(key.clone()));
        (auth.client_certificate_data, auth.client_key_data) = (None, None);
    }
    if let Some(token) = &settings.token {
        config.auth_info.token = Some(token.clone().into());
        config.auth_info.token_file = None;
    }
    config.accept_invalid_certs |= settings.insecure;
    Ok(())
}

fn endpoint(text: &str) -> Result<http::Uri, Error> {
    let uri = text.parse::<http::Uri>().ok().filter(|uri| uri.authority().is_some());
    uri.ok_or_else(|| {
        Error::Settings(format!(
            "K8S_API_ENDPOINT is {text:?}: it takes an address such as https://10.0.0.1:6443"
        ))
    })
}

/// An error and its sources in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    crate::text::chain(error)
}

#[cfg(test)]
mod tests {
    use super::Client;
    use crate::Settings;

    #[tokio::test]
    async fn a_proxy_is_refused_not_gone_around() {
        let none = std::iter::empty::<(String, String)>();
        let mut settings = Settings::kubernetes_from_env(none).expect("settings");
        let kubeconfig = r#"{"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [{"name": "c", "cluster": {
                "server": "https://192.0.2.1:6443", "proxy-url": "http://192.0.2.2:3128"}}],
            "users": [{"name": "u", "user": {"token": "t"}}]}"#;
        settings.kubeconfig_inline = Some(kubeconfig.to_owned());
        let refused = Client::new(&settings).await.err().expect("an error").to_string();
        for part in ["https://192.0.2.1:6443", "http://192.0.2.2:3128", "proxy-url"] {
            assert!(refused.contains(part), "{refused}");
        }
    }
}

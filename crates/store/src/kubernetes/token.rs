//! Tokens of service accounts, for programs that are no pods themselves.

use super::client::Client;
use super::failed;
use crate::Error;
use crate::settings;
use http::Method;
use serde::Deserialize;
use serde_json::json;
use std::time::Duration;

/// A token of a service account.
#[derive(Clone, PartialEq, Eq)]
pub struct ServiceAccountToken {
    /// The bearer token itself.
    pub text: String,
    /// How long the API server takes it, from when it was asked for.
    pub validity: Duration,
}

// A token must not get into a log.
impl std::fmt::Debug for ServiceAccountToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceAccountToken").field("validity", &self.validity).finish()
    }
}

#[derive(Deserialize)]
struct Answer {
    spec: Granted,
    status: Issued,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Granted {
    expiration_seconds: u64,
}

#[derive(Deserialize)]
struct Issued {
    token: String,
}

/// Asks for a token of the account `namespace/name` (Kubernetes API, "TokenRequest"). The server may
/// make it valid for longer or shorter than `validity`.
///
/// # Errors
/// [`Error::Refused`] where there is no such account, or who asks may not have its tokens;
/// [`Error::Unreachable`] and [`Error::Settings`] as ever.
pub async fn request_token(
    settings: &settings::Kubernetes,
    namespace: &str,
    name: &str,
    validity: Duration,
) -> Result<ServiceAccountToken, Error> {
    let client = Client::new(settings).await?;
    let uri = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
    let body = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {"expirationSeconds": validity.as_secs()},
    });
    let body = body.to_string().into_bytes();
    let answer = client.send(Method::POST, &uri, "application/json", body).await;
    let answer = answer.map_err(|why| failed(client.endpoint(), None, why))?;
    let answer: Answer = serde_json::from_slice(&answer).map_err(|why| Error::Unreachable {
        endpoint: client.endpoint().to_owned(),
        reason: format!("its answer is no TokenRequest ({why}); is it a Kubernetes API?"),
    })?;
    let validity = Duration::from_secs(answer.spec.expiration_seconds);
    Ok(ServiceAccountToken { text: answer.status.token, validity })
}

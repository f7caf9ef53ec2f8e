//! The side that asks.

use super::Settings;
use super::certificates::{self, CertificateError};
use node::api::{Reply, Request};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{AlertDescription, CertificateError as Distrust, Error as TlsError};

/// How long connecting and the greeting may take, each.
const CONNECT_TIME_MAX: Duration = Duration::from_secs(3);
/// How long the answer may take after that.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(30);
/// Bytes of an answer at most.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// Why another node does not answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RemoteError {
    #[error(
        "node {node} cannot be asked, as calico-node on this node has no certificate: set \
         CALICO_API_ADDRESS, CALICO_API_CERT_FILE, CALICO_API_KEY_FILE and CALICO_API_CA_FILE here \
         and there"
    )]
    NotConfigured { node: String },
    #[error("node {node} cannot be asked: {reason}")]
    Certificate { node: String, reason: CertificateError },
    #[error("node {node} cannot be reached at {address}: {reason}; {}", unreachable(reason))]
    Unreachable { node: String, address: SocketAddr, reason: io::Error },
    #[error("who answers for node {node} at {address} is not trusted: {reason}; {next}")]
    Untrusted { node: String, address: SocketAddr, reason: String, next: &'static str },
    #[error("node {node} at {address} does not answer: {reason}; its log says more")]
    Unanswered { node: String, address: SocketAddr, reason: io::Error },
}

fn unreachable(reason: &io::Error) -> &'static str {
    match reason.kind() {
        ErrorKind::ConnectionRefused => {
            "does calico-node run there, with CALICO_API_ADDRESS set to the same port?"
        }
        _ => "is the node up, and does a firewall or policy let this port through?",
    }
}

/// Asks the agent of `node`, at the port that this node listens at, too.
///
/// # Errors
/// The node isn't reached, or one of both sides doesn't trust the other.
pub(crate) async fn ask(
    settings: Option<&Settings>,
    node: &str,
    address: IpAddr,
    request: &Request,
) -> Result<Reply, RemoteError> {
    let name = || node.to_owned();
    let settings = settings.ok_or_else(|| RemoteError::NotConfigured { node: name() })?;
    let config = certificates::client(&settings.files)
        .map_err(|reason| RemoteError::Certificate { node: name(), reason })?;
    let address = SocketAddr::new(address, settings.listen.port());
    let unreachable = |reason| RemoteError::Unreachable { node: name(), address, reason };
    let failed = |reason: io::Error| untrusted(node, address, reason);
    let server = ServerName::try_from(name())
        .map_err(|why| failed(io::Error::new(ErrorKind::InvalidInput, why)))?;
    let connecting = TcpStream::connect(address);
    let stream = in_time(CONNECT_TIME_MAX, connecting).await.map_err(unreachable)?;
    let greeting = TlsConnector::from(Arc::new(config)).connect(server, stream);
    let mut stream = in_time(CONNECT_TIME_MAX, greeting).await.map_err(failed)?;
    let answering = async {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        stream.flush().await?;
        let mut answer = String::new();
        BufReader::new(stream.take(ANSWER_BYTES_MAX)).read_line(&mut answer).await?;
        if answer.is_empty() {
            return Err(io::Error::new(ErrorKind::UnexpectedEof, "it ended the connection"));
        }
        Ok(serde_json::from_str(&answer)?)
    };
    // With TLS 1.3 one hears only now whether the other side has taken one's certificate.
    in_time(ANSWER_TIME_MAX, answering).await.map_err(failed)
}

async fn in_time<T>(longest: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(longest, work).await?
}

/// What a failed greeting or conversation means.
fn untrusted(node: &str, address: SocketAddr, reason: io::Error) -> RemoteError {
    use AlertDescription as Alert;
    let tls = reason.get_ref().and_then(|inner| inner.downcast_ref::<TlsError>());
    let next = match tls {
        // The latter where the other authority has the same name.
        Some(TlsError::InvalidCertificate(Distrust::UnknownIssuer | Distrust::BadSignature)) => {
            "its certificate is of another authority: give all nodes certificates of that in \
             CALICO_API_CA_FILE"
        }
        Some(TlsError::InvalidCertificate(
            Distrust::NotValidForName | Distrust::NotValidForNameContext { .. },
        )) => {
            "another node has this address now, or the certificate there lacks the node's name: \
             give each node a certificate with its own name as DNS name"
        }
        Some(TlsError::InvalidCertificate(
            Distrust::Expired
            | Distrust::ExpiredContext { .. }
            | Distrust::NotValidYet
            | Distrust::NotValidYetContext { .. },
        )) => "renew its certificate, or set the clocks right",
        Some(TlsError::InvalidCertificate(_)) => "give it another certificate",
        Some(TlsError::AlertReceived(
            Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::CertificateRequired
            | Alert::BadCertificate
            | Alert::UnknownCA
            | Alert::DecryptError
            | Alert::AccessDenied,
        )) => "it does not take this node's certificate: is that expired, or of another authority?",
        _ => {
            let node = node.to_owned();
            return RemoteError::Unanswered { node, address, reason };
        }
    };
    RemoteError::Untrusted { node: node.to_owned(), address, reason: reason.to_string(), next }
}

//! From an endpoint to a connection: name, socket, TLS.
//!
//! Names are resolved here, from `/etc/hosts` and DNS: a static binary has no NSS to ask.

use crate::Error;
use crate::settings::{Endpoint, Pem, Tls};
use crate::text::chain;
use hickory_resolver::config::ResolverConfig;
use hickory_resolver::name_server::TokioConnectionProvider;
use hickory_resolver::{ResolveError, TokioResolver};
use hyper_util::rt::TokioIo;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};

/// How long resolving, connecting and the TLS handshake may take together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection with requests or watches on it is probed this often; etcd refuses more than one
/// probe in 5 s.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// How long the answer to a probe may take before the connection counts as broken.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);
/// Bytes under way per stream and connection: a page of a list without a round trip in between.
const WINDOW_BYTES: u32 = 4 << 20;

/// What a TLS handshake sees of a server without TLS.
const NO_TLS: &[&str] = &["InvalidContentType", "corrupt message", "handshake eof", "reset"];

/// Where the usual distributions keep the authorities they trust: Debian, Fedora, Alpine.
const SYSTEM_AUTHORITIES: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// Connects to one member.
pub(super) struct Dialer {
    endpoint: Endpoint,
    tls: Tls,
    name: String,
}

impl Dialer {
    /// Checks that the certificates can be read.
    pub(super) fn new(endpoint: &Endpoint, tls: &Tls) -> Result<Dialer, Error> {
        let name = endpoint.to_string();
        let dialer = Dialer { endpoint: endpoint.clone(), tls: tls.clone(), name };
        dialer.transport()?;
        Ok(dialer)
    }

    /// The endpoint as text.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// A new connection.
    pub(super) async fn dial(&self) -> Result<Channel, Error> {
        let target = self.endpoint.clone();
        let connector = tower::service_fn(move |_: tonic::transport::Uri| {
            let target = target.clone();
            async move { open(&target).await }
        });
        let transport = self.transport()?;
        let attempt = transport.connect_with_connector(connector);
        let reason = match tokio::time::timeout(CONNECT_TIMEOUT, attempt).await {
            Ok(Ok(channel)) => return Ok(channel),
            Ok(Err(error)) => {
                let seen = chain(&error);
                format!("{seen}; {}", self.next_step(&seen))
            }
            Err(_) => format!(
                "no connection within {} s; check the address and that no firewall drops packets",
                CONNECT_TIMEOUT.as_secs()
            ),
        };
        Err(Error::Unreachable { endpoint: self.name.clone(), reason })
    }

    fn next_step(&self, seen: &str) -> &'static str {
        let secure = matches!(self.endpoint, Endpoint::Tcp { tls: true, .. });
        if secure && (seen.contains("certificate") || seen.contains("alert")) {
            "check ETCD_CA_CERT_FILE, ETCD_CERT_FILE and ETCD_KEY_FILE, and that the server's \
             certificate names this address"
        } else if secure && NO_TLS.iter().any(|part| seen.contains(part)) {
            "the server seems to speak no TLS: then use http:// in ETCD_ENDPOINTS"
        } else {
            "is the server running, and is ETCD_ENDPOINTS right?"
        }
    }

    fn transport(&self) -> Result<tonic::transport::Endpoint, Error> {
        let (uri, secure) = match &self.endpoint {
            Endpoint::Tcp { tls, .. } => (self.name.clone(), *tls),
            // Only the `:authority` of requests; etcd asks for nothing in particular there.
            Endpoint::Unix(_) => ("http://localhost".to_owned(), false),
        };
        let unusable = |error: &(dyn std::error::Error + 'static)| {
            Error::Settings(format!("{} cannot be used: {}", self.name, chain(error)))
        };
        let transport = tonic::transport::Endpoint::from_shared(uri)
            .map_err(|error| unusable(&error))?
            .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
            .keep_alive_timeout(KEEPALIVE_TIMEOUT)
            .initial_stream_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES);
        if !secure {
            return Ok(transport);
        }
        transport.tls_config(certificates(&self.tls)?).map_err(|error| unusable(&error))
    }
}

async fn open(endpoint: &Endpoint) -> io::Result<TokioIo<Box<dyn Stream>>> {
    match endpoint {
        Endpoint::Unix(path) => Ok(TokioIo::new(Box::new(UnixStream::connect(path).await?))),
        Endpoint::Tcp { host, port, .. } => {
            let mut failure = io::Error::other(format!("{host} has no address"));
            for address in resolve(host).await? {
                match TcpStream::connect(SocketAddr::new(address, *port)).await {
                    Ok(stream) => {
                        stream.set_nodelay(true)?;
                        return Ok(TokioIo::new(Box::new(stream)));
                    }
                    Err(error) => {
                        failure = io::Error::new(error.kind(), format!("{address}: {error}"));
                    }
                }
            }
            Err(failure)
        }
    }
}

/// The addresses of a host, as `/etc/hosts` and `/etc/resolv.conf` say at this moment.
pub(crate) async fn resolve(host: &str) -> io::Result<Vec<IpAddr>> {
    if let Ok(address) = host.parse() {
        return Ok(vec![address]);
    }
    let failed = |error: ResolveError| io::Error::other(format!("cannot resolve {host}: {error}"));
    // Without a resolv.conf there is still /etc/hosts.
    let resolver = TokioResolver::builder_tokio().unwrap_or_else(|_| {
        let nowhere = ResolverConfig::new();
        TokioResolver::builder_with_config(nowhere, TokioConnectionProvider::default())
    });
    Ok(resolver.build().lookup_ip(host).await.map_err(failed)?.iter().collect())
}

fn certificates(tls: &Tls) -> Result<ClientTlsConfig, Error> {
    let authority = match &tls.authority {
        Some(pem) => read("ETCD_CA_CERT_FILE", pem, "CERTIFICATE")?,
        None => {
            let path = SYSTEM_AUTHORITIES.iter().map(Path::new).find(|path| path.exists());
            let path = path.ok_or_else(|| {
                Error::Settings(
                    "this machine has no list of trusted authorities: name the one of the \
                     datastore's certificate in ETCD_CA_CERT_FILE"
                        .into(),
                )
            })?;
            read("ETCD_CA_CERT_FILE", &Pem::File(path.into()), "CERTIFICATE")?
        }
    };
    let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(authority));
    let Some((certificate, key)) = &tls.identity else { return Ok(config) };
    let certificate = read("ETCD_CERT_FILE", certificate, "CERTIFICATE")?;
    let key = read("ETCD_KEY_FILE", key, "PRIVATE KEY")?;
    Ok(config.identity(Identity::from_pem(certificate, key)))
}

fn read(setting: &str, pem: &Pem, block: &str) -> Result<String, Error> {
    let text = match pem {
        Pem::Inline(text) => text.clone(),
        Pem::File(path) => std::fs::read_to_string(path).map_err(|error| {
            Error::Settings(format!("{setting}: cannot read {}: {error}", path.display()))
        })?,
    };
    if text.contains(&format!("{block}-----")) {
        return Ok(text);
    }
    Err(Error::Settings(format!("{setting}: {pem:?} holds no PEM block of a {block}")))
}

/// A connected socket of either kind.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl Stream for TcpStream {}
impl Stream for UnixStream {}

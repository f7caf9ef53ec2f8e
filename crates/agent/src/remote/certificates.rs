//! TLS's two sides, made of a node's certificate files.

use super::Files;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{Error as PemError, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{ClientConfig, Error as TlsError, RootCertStore, ServerConfig};

/// A node's certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("{path} cannot be read: {reason}; name a PEM file in CALICO_API_{which}_FILE")]
    File {
        path: PathBuf,
        /// `CERT`, `KEY` or `CA`.
        which: &'static str,
        reason: String,
    },
    #[error(
        "the certificate {path} cannot be used: {reason}; are CALICO_API_CERT_FILE and \
         CALICO_API_KEY_FILE of one pair?"
    )]
    Unusable { path: PathBuf, reason: String },
}

/// The side that is asked: whoever connects must have a certificate of the authority.
pub(super) fn server(files: &Files) -> Result<ServerConfig, CertificateError> {
    let unusable = |reason: String| unusable(files, reason);
    let roots = Arc::new(roots(&files.authority)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider()).build();
    let verifier = verifier.map_err(|error| unusable(error.to_string()))?;
    ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(|error| unusable(error.to_string()))?
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain(files)?, key(files)?)
        .map_err(|error: TlsError| unusable(error.to_string()))
}

/// The side that asks.
pub(super) fn client(files: &Files) -> Result<ClientConfig, CertificateError> {
    let unusable = |error: TlsError| unusable(files, error.to_string());
    ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(unusable)?
        .with_root_certificates(roots(&files.authority)?)
        .with_client_auth_cert(chain(files)?, key(files)?)
        .map_err(unusable)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn unusable(files: &Files, reason: String) -> CertificateError {
    CertificateError::Unusable { path: files.certificate.clone(), reason }
}

fn roots(path: &Path) -> Result<RootCertStore, CertificateError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(path, "CA")? {
        roots.add(certificate).map_err(|error| unreadable(path, "CA", error.to_string()))?;
    }
    Ok(roots)
}

fn chain(files: &Files) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    certificates(&files.certificate, "CERT")
}

fn key(files: &Files) -> Result<PrivateKeyDer<'static>, CertificateError> {
    let failed = |error: PemError| unreadable(&files.key, "KEY", reason(error));
    PrivateKeyDer::from_pem_file(&files.key).map_err(failed)
}

/// At least one.
fn certificates(
    path: &Path,
    which: &'static str,
) -> Result<Vec<CertificateDer<'static>>, CertificateError> {
    let failed = |error: PemError| unreadable(path, which, reason(error));
    let read = CertificateDer::pem_file_iter(path).map_err(failed)?;
    let certificates: Vec<_> = read.collect::<Result<_, _>>().map_err(failed)?;
    if certificates.is_empty() {
        return Err(unreadable(path, which, "there is no certificate in it".to_owned()));
    }
    Ok(certificates)
}

fn unreadable(path: &Path, which: &'static str, reason: String) -> CertificateError {
    CertificateError::File { path: path.to_owned(), which, reason }
}

fn reason(error: PemError) -> String {
    match error {
        PemError::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

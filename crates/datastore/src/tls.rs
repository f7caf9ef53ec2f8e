//! Certificates for https.

use crate::error::Error;
use crate::options::Options;
use std::path::Path;
use tonic::transport::{Certificate, Identity, ServerTlsConfig};

/// What the options say about TLS; None where there is no certificate.
pub(crate) fn config(options: &Options) -> Result<Option<ServerTlsConfig>, Error> {
    let (Some(cert_file), Some(key_file)) = (&options.cert_file, &options.key_file) else {
        return Ok(None);
    };
    let identity = Identity::from_pem(read(cert_file)?, read(key_file)?);
    let mut config = ServerTlsConfig::new().identity(identity);
    if let Some(trusted) = &options.trusted_ca_file {
        config = config.client_ca_root(Certificate::from_pem(read(trusted)?));
    }
    Ok(Some(config))
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|error| {
        Error::Tls(format!("{}: {error}: name a PEM file that can be read", path.display()))
    })
}

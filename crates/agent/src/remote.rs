//! The agent's API for other nodes: what programs of a node ask over its Unix socket, agents ask
//! each other over TCP with mutual TLS.
//!
//! ```text
//!  calicoctl ──Unix socket──▶ agent ──ask──▶ TLS ──▶ serve ──▶ agent of another node
//! ```
//!
//! Nothing is said to who has no certificate of the same authority, and nothing may be asked that
//! changes something. A node's certificate has the node's name, and is both server's and client's.
//! It is read at each connection, so that renewed ones are taken up.
//!
//! An authority, and the certificate of one node:
//!
//! ```sh
//! openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 \
//!     -subj /CN=calico-api -keyout ca.key -out ca.crt
//! openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$NODE" \
//!     -addext "subjectAltName=DNS:$NODE,IP:$ADDRESS" -keyout node.key -out node.csr
//! openssl x509 -req -in node.csr -copy_extensions copy -CA ca.crt -CAkey ca.key -days 365 \
//!     -out node.crt
//! ```

mod certificates;
mod client;
mod server;

pub(crate) use client::ask;
pub(crate) use server::serve;

use model::config::{self, Resolved};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

/// The port where none is configured; free in Calico's list of ports and IANA's of exporters.
const PORT: u16 = 5475;

/// Where to listen, and with which certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Settings {
    /// Where this node listens; others do at the same port.
    pub(crate) listen: SocketAddr,
    pub(crate) files: Files,
}

/// PEM files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    /// The authority that others' certificates must be of.
    pub(crate) authority: PathBuf,
}

/// The API's settings; `None` where it is not configured.
///
/// # Errors
/// CALICO_API_ADDRESS is no address, or a file is not named.
pub(crate) fn settings(resolved: &Resolved) -> Result<Option<Settings>, String> {
    let Some(address) = resolved.get(&config::API_ADDRESS) else { return Ok(None) };
    let alone = || address.parse().map(|address: IpAddr| SocketAddr::new(address, PORT));
    let listen = address.parse().or_else(|_| alone()).map_err(|_| {
        format!("CALICO_API_ADDRESS is '{address}', which is no address: write 0.0.0.0:{PORT}, say")
    })?;
    let file = |parameter, name: &str| {
        let path: Option<String> = resolved.get(parameter);
        path.map(PathBuf::from).ok_or_else(|| {
            format!(
                "CALICO_API_ADDRESS is set, but {name} is not: name the PEM file, or unset both"
            )
        })
    };
    let files = Files {
        certificate: file(&config::API_CERT_FILE, "CALICO_API_CERT_FILE")?,
        key: file(&config::API_KEY_FILE, "CALICO_API_KEY_FILE")?,
        authority: file(&config::API_CA_FILE, "CALICO_API_CA_FILE")?,
    };
    Ok(Some(Settings { listen, files }))
}

#[cfg(test)]
mod tests;

//! One server's address.

use crate::Error;
use std::path::PathBuf;
use std::str::FromStr;

/// etcd's client port.
const DEFAULT_PORT: u16 = 2379;

/// The address of one member of the datastore.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `http://host:port` or `https://host:port`.
    Tcp {
        /// `https`.
        tls: bool,
        /// A name or an address; an IPv6 address without brackets.
        host: String,
        /// 2379 where none is written.
        port: u16,
    },
    /// `unix:///path`: a socket of this machine.
    Unix(PathBuf),
}

impl FromStr for Endpoint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Endpoint, Error> {
        let bad = |why: &str| {
            Error::Settings(format!(
                "ETCD_ENDPOINTS has {text:?}, which {why}: it takes http://host:port, \
                 https://host:port or unix:///path"
            ))
        };
        let (scheme, rest) = text.split_once("://").ok_or_else(|| bad("has no scheme"))?;
        let tls = match scheme {
            "unix" if rest.starts_with('/') => return Ok(Endpoint::Unix(rest.into())),
            "unix" => return Err(bad("has no absolute path")),
            "http" => false,
            "https" => true,
            _ => return Err(bad("has an unknown scheme")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest.split_once(']').ok_or_else(|| bad("lacks a ]"))?;
                let address: Result<std::net::Ipv6Addr, _> = host.parse();
                address.map_err(|_| bad("has no IPv6 address in its brackets"))?;
                (host, if after.is_empty() { None } else { Some(after) })
            }
            None => match authority.find(':') {
                Some(at) => (&authority[..at], Some(&authority[at..])),
                None => (authority, None),
            },
        };
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
        if host.is_empty() || !host.chars().all(named) {
            return Err(bad("has no usable host"));
        }
        let port = match port {
            None => DEFAULT_PORT,
            Some(port) => {
                let number = port.strip_prefix(':').and_then(|number| number.parse().ok());
                number.filter(|number| *number != 0).ok_or_else(|| bad("has no usable port"))?
            }
        };
        Ok(Endpoint::Tcp { tls, host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Unix(path) => write!(f, "unix://{}", path.display()),
            Endpoint::Tcp { tls, host, port } => {
                let scheme = if *tls { "https" } else { "http" };
                if host.contains(':') {
                    write!(f, "{scheme}://[{host}]:{port}")
                } else {
                    write!(f, "{scheme}://{host}:{port}")
                }
            }
        }
    }
}

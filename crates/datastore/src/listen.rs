//! The addresses of `--listen`.

use crate::error::Error;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;
use tonic::transport::server::TcpIncoming;

/// Something to accept connections from.
pub(crate) enum Listener {
    Tcp(TcpIncoming),
    Tls(TcpIncoming),
    Unix(UnixListener, PathBuf),
}

/// Opens an address; answers with the URL under which clients reach it.
pub(crate) fn open(url: &str) -> Result<(Listener, String), Error> {
    let failed = |reason: String| Error::Listen { url: url.into(), reason };
    let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
    match scheme {
        "unix" => {
            let path = PathBuf::from(rest);
            let listener = bind_unix(&path).map_err(|error| failed(error.to_string()))?;
            Ok((Listener::Unix(listener, path), url.into()))
        }
        "http" | "https" => {
            let address = resolve(rest.trim_end_matches('/')).map_err(&failed)?;
            let bound = TcpIncoming::bind(address).map_err(|error| failed(error.to_string()))?;
            // Small answers must not wait for the client's delayed acknowledgements.
            let incoming = bound.with_nodelay(Some(true));
            let local = incoming.local_addr().map_err(|error| failed(error.to_string()))?;
            let endpoint = format!("{scheme}://{local}");
            let tls = scheme == "https";
            Ok((if tls { Listener::Tls(incoming) } else { Listener::Tcp(incoming) }, endpoint))
        }
        _ => Err(failed("it does not begin with http://, https:// or unix://".into())),
    }
}

fn resolve(host_and_port: &str) -> Result<SocketAddr, String> {
    let mut addresses = host_and_port.to_socket_addrs().map_err(|error| error.to_string())?;
    addresses.next().ok_or_else(|| format!("{host_and_port} has no address"))
}

/// Takes over a socket whose server is dead, never one whose server lives.
fn bind_unix(path: &Path) -> io::Result<UnixListener> {
    match UnixStream::connect(path) {
        Ok(_) => return Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)?;
        }
        Err(_) => {}
    }
    UnixListener::bind(path)
}

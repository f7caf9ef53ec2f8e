//! The listening sockets: one for each family, opened anew where the configuration or a failure
//! asks for it.

use super::driver::Happening;
use super::reason;
use bgp::configuration::{Configuration, Listen};
use std::collections::BTreeMap;
use std::io::{Error, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// Connections that the kernel keeps for us until they are accepted.
const BACKLOG: u32 = 256;
/// How long after a failure listening is tried again.
pub(super) const LISTEN_PAUSE: Duration = Duration::from_secs(2);
/// How long accepting rests after an error, which is of the whole machine (out of files, memory).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// CS6: routing protocols' traffic class, as BIRD has it.
pub(super) const TRAFFIC_CLASS: u8 = 0xc0;

/// MD5 keys by peer.
type Keys = BTreeMap<IpAddr, String>;

/// What listens, and for what.
#[derive(Default)]
pub(super) struct Listener {
    sockets: Vec<Socket>,
    at: Option<Listen>,
    keys: Keys,
}

struct Socket {
    listener: Arc<TcpListener>,
    own: IpAddr,
    accepting: AbortHandle,
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Listener {
    /// Makes what listens follow the configuration. `None` where it does already.
    ///
    /// # Errors
    /// In a person's words; nothing listens then.
    pub(super) fn follow(
        &mut self,
        configuration: &Configuration,
        happenings: &mpsc::Sender<Happening>,
    ) -> Option<Result<(), String>> {
        let keys = keys(configuration);
        if self.at == Some(configuration.listen) && self.keys == keys {
            return None;
        }
        let opened = if self.at == Some(configuration.listen) {
            Ok(())
        } else {
            self.close();
            self.open(configuration.listen, happenings)
        };
        let signed = opened.and_then(|()| self.sign(keys));
        if signed.is_err() {
            self.close();
        }
        Some(signed)
    }

    /// Stops listening.
    pub(super) fn close(&mut self) {
        *self = Listener::default();
    }

    fn open(&mut self, at: Listen, happenings: &mpsc::Sender<Happening>) -> Result<(), String> {
        let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        let addresses = at.address.map_or(any.to_vec(), |address| vec![address]);
        for own in addresses {
            let address = SocketAddr::new(own, at.port);
            match listen(address) {
                Ok(listener) => {
                    let listener = Arc::new(listener);
                    let task = tokio::spawn(accept(listener.clone(), happenings.clone()));
                    let accepting = task.abort_handle();
                    self.sockets.push(Socket { listener, own, accepting });
                }
                // A kernel without IPv6, or a namespace where it is switched off.
                Err(error) if at.address.is_none() && own.is_ipv6() && lacks_family(&error) => {}
                Err(error) => return Err(reason::listen(&error, address)),
            }
        }
        self.at = Some(at);
        tracing::info!("BGP listens on TCP port {}", at.port);
        Ok(())
    }

    /// Gives the sockets their peers' keys, and takes those that are no more.
    fn sign(&mut self, keys: Keys) -> Result<(), String> {
        let gone = self.keys.keys().filter(|peer| !keys.contains_key(peer));
        let gone = gone.map(|peer| (*peer, ""));
        let wanted = keys.iter().map(|(peer, key)| (*peer, key.as_str()));
        for (peer, key) in gone.chain(wanted) {
            for socket in self.sockets.iter().filter(|s| s.own.is_ipv4() == peer.is_ipv4()) {
                linux::tcp::set_md5_key(&*socket.listener, peer, key.as_bytes())
                    .map_err(|why| format!("the password of BGP peer {peer}: {why}"))?;
            }
        }
        self.keys = keys;
        Ok(())
    }
}

fn keys(configuration: &Configuration) -> Keys {
    let peers = configuration.peers.values();
    peers.filter_map(|peer| Some((peer.address, peer.password.clone()?))).collect()
}

fn lacks_family(error: &Error) -> bool {
    use nix::errno::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw);
    error.kind() == ErrorKind::AddrNotAvailable || errno == Some(Errno::EAFNOSUPPORT)
}

fn listen(at: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match at {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    let option = |result: Result<(), linux::Error>| result.map_err(Error::other);
    if at.is_ipv6() {
        option(linux::tcp::set_ipv6_only(&socket))?;
    }
    option(linux::tcp::set_traffic_class(&socket, at.ip(), TRAFFIC_CLASS))?;
    // The answer to a peer that keeps to RFC 5082 must leave with this already.
    option(linux::tcp::set_ttl(&socket, at.ip(), linux::tcp::TTL_MAX))?;
    socket.bind(at)?;
    socket.listen(BACKLOG)
}

async fn accept(listener: Arc<TcpListener>, happenings: mpsc::Sender<Happening>) {
    loop {
        match listener.accept().await {
            Ok((stream, remote)) => {
                let accepted = Happening::Accepted { stream, remote };
                if happenings.send(accepted).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("BGP's listening socket does not accept: {error}");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

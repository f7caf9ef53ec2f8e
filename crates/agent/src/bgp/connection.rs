//! One TCP connection: how it is made, and what of it waits.

use super::driver::Happening;
use super::listener::TRAFFIC_CLASS;
use super::reason;
use bgp::speaker::ConnectionId;
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;

/// How long an attempt may take: the kernel has sent three SYNs by then. Less than the session waits,
/// so that the reason is the socket's.
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_millis(3500);

/// Where to, and how; from [`bgp::Output::Connect`].
pub(super) struct Attempt {
    pub(super) connection: ConnectionId,
    pub(super) remote: SocketAddr,
    pub(super) source: Option<IpAddr>,
    pub(super) ttl_security: Option<u8>,
    pub(super) password: Option<String>,
}

impl Attempt {
    /// Opens the connection.
    pub(super) async fn make(&self) -> Result<TcpStream, String> {
        let made = tokio::time::timeout(CONNECT_TIME_MAX, self.open()).await;
        made.unwrap_or_else(|_| Err(reason::timed_out()))
            .map_err(|error| reason::connect(&error, self.remote))
    }

    async fn open(&self) -> io::Result<TcpStream> {
        let to = self.remote.ip();
        let socket = match to {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if let Some(source) = self.source {
            socket.bind(SocketAddr::new(source, 0))?;
        }
        if let Some(password) = &self.password {
            linux::tcp::set_md5_key(&socket, to, password.as_bytes()).map_err(io::Error::other)?;
        }
        prepare(&socket, to, self.ttl_security)?;
        linux::tcp::set_traffic_class(&socket, to, TRAFFIC_CLASS).map_err(io::Error::other)?;
        socket.set_nodelay(true)?;
        socket.connect(self.remote).await
    }
}

/// GTSM (RFC 5082, 3): send with the greatest TTL, take no smaller one than the hops allow.
pub(super) fn prepare(
    socket: &impl std::os::fd::AsFd,
    peer: IpAddr,
    ttl_security: Option<u8>,
) -> io::Result<()> {
    let Some(hops) = ttl_security else { return Ok(()) };
    let least = linux::tcp::TTL_MAX.saturating_sub(hops.saturating_sub(1));
    let set = linux::tcp::set_ttl(socket, peer, linux::tcp::TTL_MAX)
        .and_then(|()| linux::tcp::set_ttl_min(socket, peer, least));
    set.map_err(io::Error::other)
}

/// A connection that stands.
pub(super) struct Connection {
    pub(super) stream: Arc<TcpStream>,
    pub(super) remote: IpAddr,
    /// The piece that the socket did not take whole, and how much of it it took.
    unsent: Vec<u8>,
    sent: usize,
    /// The socket takes nothing now.
    blocked: bool,
    closing: bool,
    signals: Arc<Signals>,
    waiting: AbortHandle,
}

/// What the task beside a connection waits for before it waits for the socket.
#[derive(Default)]
struct Signals {
    read: Notify,
    blocked: Notify,
}

/// What came of a write.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Wrote {
    /// Something; there may be more.
    Some,
    /// There is nothing to write.
    Nothing,
    /// The socket takes no more for now; [`Happening::Writable`] follows.
    Blocked,
}

impl Connection {
    /// Starts waiting for what `stream` brings.
    pub(super) fn new(
        id: ConnectionId,
        stream: TcpStream,
        remote: IpAddr,
        happenings: mpsc::Sender<Happening>,
    ) -> Connection {
        let (stream, signals) = (Arc::new(stream), Arc::new(Signals::default()));
        let task = tokio::spawn(wait(id, stream.clone(), signals.clone(), happenings));
        Connection {
            stream,
            remote,
            unsent: vec![],
            sent: 0,
            blocked: false,
            closing: false,
            signals,
            waiting: task.abort_handle(),
        }
    }

    /// Reads once. `None`: nothing there, after all; an empty slice: the peer has ended it.
    pub(super) fn read<'a>(&self, buffer: &'a mut [u8]) -> io::Result<Option<&'a [u8]>> {
        let read = self.stream.try_read(buffer);
        self.signals.read.notify_one();
        match read {
            Ok(bytes) => Ok(Some(&buffer[..bytes])),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes once: what is left of the last piece, or the next one of `pieces`.
    pub(super) fn write(&mut self, pieces: impl FnOnce() -> Vec<u8>) -> io::Result<Wrote> {
        if self.blocked {
            return Ok(Wrote::Blocked);
        }
        if self.unsent.is_empty() {
            (self.unsent, self.sent) = (pieces(), 0);
        }
        if self.unsent.is_empty() {
            return Ok(Wrote::Nothing);
        }
        match self.stream.try_write(&self.unsent[self.sent..]) {
            Ok(bytes) => {
                self.sent += bytes;
                if self.sent == self.unsent.len() {
                    self.unsent = vec![];
                }
                Ok(Wrote::Some)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.blocked = true;
                self.signals.blocked.notify_one();
                Ok(Wrote::Blocked)
            }
            Err(error) => Err(error),
        }
    }

    /// The socket takes bytes again.
    pub(super) fn unblock(&mut self) {
        self.blocked = false;
    }

    /// From now on what comes is thrown away.
    pub(super) fn close(&mut self) {
        self.closing = true;
    }

    /// Whether it is being closed.
    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.waiting.abort();
    }
}

/// Tells when the socket can be read, and after it was blocked, when it can be written.
async fn wait(
    id: ConnectionId,
    stream: Arc<TcpStream>,
    signals: Arc<Signals>,
    happenings: mpsc::Sender<Happening>,
) {
    let reading = async {
        // An error shows in the read that follows.
        loop {
            let _ready_or_failed = stream.readable().await;
            if happenings.send(Happening::Readable(id)).await.is_err() {
                return;
            }
            signals.read.notified().await;
        }
    };
    let writing = async {
        loop {
            signals.blocked.notified().await;
            let _ready_or_failed = stream.writable().await;
            if happenings.send(Happening::Writable(id)).await.is_err() {
                return;
            }
        }
    };
    tokio::join!(reading, writing);
}

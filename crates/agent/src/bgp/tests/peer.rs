//! A peer made of bare messages, which does what no speaker of ours would.

use super::{AS, at};
use std::net::{IpAddr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

pub(super) const MARKER: [u8; 16] = [0xff; 16];
pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;

/// Connects from an address; `receive_bytes` is the size of its receive buffer.
pub(super) async fn connect(
    from: IpAddr,
    to: IpAddr,
    receive_bytes: Option<u32>,
) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(bytes) = receive_bytes {
        socket.set_recv_buffer_size(bytes)?;
    }
    socket.bind(SocketAddr::new(from, 0))?;
    socket.connect(at(to)).await
}

pub(super) fn message(marker: [u8; 16], kind: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(19 + body.len()).expect("a short message");
    [&marker[..], &length.to_be_bytes(), &[kind], body].concat()
}

/// OPEN without capabilities.
pub(super) fn open(autonomous_system: u32, router_id: u8) -> Vec<u8> {
    let number = u16::try_from(autonomous_system).expect("two octets").to_be_bytes();
    let body = [4, number[0], number[1], 0, 240, 192, 0, 2, router_id, 0];
    message(MARKER, OPEN, &body)
}

/// The next message: its type and body; `None` at the end.
pub(super) async fn read(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut header = [0; 19];
    stream.read_exact(&mut header).await.ok()?;
    let length = usize::from(u16::from_be_bytes([header[16], header[17]]));
    let mut body = vec![0; length - 19];
    stream.read_exact(&mut body).await.ok()?;
    Some((header[18], body))
}

/// Code and subcode of the NOTIFICATION that comes, whatever comes before.
pub(super) async fn notified(stream: &mut TcpStream) -> Option<(u8, u8)> {
    while let Some((kind, body)) = read(stream).await {
        if kind == NOTIFICATION {
            return Some((body[0], body[1]));
        }
    }
    None
}

/// Opens the session from this side, as far as Established.
pub(super) async fn establish(stream: &mut TcpStream, router_id: u8) {
    stream.write_all(&open(AS, router_id)).await.expect("sent");
    assert_eq!(read(stream).await.map(|(kind, _)| kind), Some(OPEN));
    stream.write_all(&message(MARKER, KEEPALIVE, &[])).await.expect("sent");
    assert_eq!(read(stream).await.map(|(kind, _)| kind), Some(KEEPALIVE));
}

/// How many IPv4 prefixes an UPDATE announces, if all are /32.
pub(super) fn announced(update: &[u8]) -> usize {
    let short = |at: usize| usize::from(u16::from_be_bytes([update[at], update[at + 1]]));
    let withdrawn = short(0);
    let attributes = short(2 + withdrawn);
    (update.len() - 4 - withdrawn - attributes) / 5
}

//! The small server of pods and of the outside host: says who answers, and to whom.
//!
//! By HTTP on any TCP port: `GET /` is a line of text; `GET /bytes/N` is N bytes of a fixed pattern,
//! to check that a long transfer arrives whole; `GET /ticks/N` is N lines, ten a second, to see how
//! long a connection lasts. On a UDP port each datagram is answered by the same
//! line.

use std::io::{BufWriter, Read, Result, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Connections answered at once; more are closed unanswered.
const CONNECTIONS_MAX: usize = 64;
/// Bytes of a request that are read.
const REQUEST_BYTES_MAX: usize = 8 << 10;
/// How long a client may keep us waiting.
const CLIENT_WAIT: Duration = Duration::from_secs(10);

/// A line of `/ticks/N`, and the pause after each.
const TICK: &[u8] = b"tick\n";
const TICK_PAUSE: Duration = Duration::from_millis(100);

/// The port that is always listened on.
pub(crate) const PORT: u16 = 80;

/// Listens on a TCP port of every address, IPv4 and (where the kernel has it) IPv6.
///
/// # Errors
/// The port is taken.
pub(crate) fn listen(port: u16) -> Result<TcpListener> {
    TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)))
}

/// The same for UDP.
///
/// # Errors
/// The port is taken.
pub(crate) fn listen_udp(port: u16) -> Result<UdpSocket> {
    UdpSocket::bind((Ipv6Addr::UNSPECIFIED, port))
        .or_else(|_| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)))
}

/// Answers datagrams for ever as `name`.
pub(crate) fn serve_udp(socket: &UdpSocket, name: &str) {
    let mut question = [0; 1];
    loop {
        // What fails is one datagram: a port at which nobody listens any more, or a denied answer.
        if let Ok((_, peer)) = socket.recv_from(&mut question) {
            let _ = socket.send_to(line(name, peer).as_bytes(), peer);
        }
    }
}

/// Answers for ever as `name`.
pub(crate) fn serve(listener: &TcpListener, name: &str) {
    let name: Arc<str> = name.into();
    let active = Arc::new(AtomicUsize::new(0));
    for stream in listener.incoming() {
        // A connection reset before it was accepted is no reason to stop.
        let Ok(stream) = stream else { continue };
        if active.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
            active.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let (name, active) = (Arc::clone(&name), Arc::clone(&active));
        std::thread::spawn(move || {
            // The client's loss: it sees the connection close.
            let _ = answer(&stream, &name);
            active.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

fn answer(mut stream: &TcpStream, name: &str) -> Result<()> {
    stream.set_read_timeout(Some(CLIENT_WAIT))?;
    stream.set_write_timeout(Some(CLIENT_WAIT))?;
    let mut request = Vec::new();
    let mut part = [0; 1024];
    while !request.windows(4).any(|end| end == b"\r\n\r\n") && request.len() < REQUEST_BYTES_MAX {
        match stream.read(&mut part)? {
            0 => break,
            length => request.extend_from_slice(&part[..length]),
        }
    }
    let request = String::from_utf8_lossy(&request);
    let path = request.split(' ').nth(1).unwrap_or("/");
    let mut writer = BufWriter::with_capacity(1 << 16, stream);
    let counted = |what: &str| path.strip_prefix(what).map(str::parse::<u64>);
    match (counted("/bytes/"), counted("/ticks/")) {
        (Some(Ok(count)), _) => {
            head(&mut writer, "200 OK", count)?;
            write_pattern(&mut writer, count)?;
        }
        (_, Some(Ok(count))) => {
            head(&mut writer, "200 OK", count.saturating_mul(TICK.len() as u64))?;
            for _ in 0..count {
                writer.write_all(TICK)?;
                writer.flush()?;
                std::thread::sleep(TICK_PAUSE);
            }
        }
        (Some(Err(_)), _) | (_, Some(Err(_))) => head(&mut writer, "400 Bad Request", 0)?,
        (None, None) => {
            let body = line(name, stream.peer_addr()?);
            head(&mut writer, "200 OK", body.len() as u64)?;
            writer.write_all(body.as_bytes())?;
        }
    }
    writer.flush()
}

fn head(writer: &mut impl Write, status: &str, length: u64) -> Result<()> {
    write!(
        writer,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    )
}

/// Byte `i` of the pattern is `i mod 251`: 251 is prime, so a lost or doubled packet shows.
pub(crate) fn write_pattern(writer: &mut impl Write, count: u64) -> Result<()> {
    const PERIOD: usize = 251;
    let block: Vec<u8> = (0..PERIOD * 256).map(|i| (i % PERIOD) as u8).collect();
    let mut left = count;
    while left > 0 {
        let length = usize::try_from(left).map_or(block.len(), |left| left.min(block.len()));
        writer.write_all(&block[..length])?;
        left -= length as u64;
    }
    Ok(())
}

/// Who answers, and to whom: an IPv4 client of a dual-stack socket under its own address.
fn line(name: &str, peer: SocketAddr) -> String {
    format!("{name} here; you are {}\n", peer.ip().to_canonical())
}

//! TCP connections, listed and ended (`sock_diag`, `linux/inet_diag.h`).

use crate::Error;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};

const OPERATION: &str = "ending connections";

/// `SOCK_DIAG_BY_FAMILY` and `SOCK_DESTROY`.
const BY_FAMILY: u16 = 20;
const DESTROY: u16 = 21;
/// `NLM_F_REQUEST`, `_ACK` and `_DUMP`; `NLMSG_ERROR` and `_DONE`.
const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
const ERROR: u16 = 2;
const DONE: u16 = 3;

const HEADER_BYTES: usize = 16;
/// `inet_diag_sockid`: ports, addresses, interface, cookie; in requests and answers.
const ID_BYTES: usize = 48;
/// Where it begins in an answer.
const ID_AT: usize = 4;
const TCP: u8 = 6;
/// Bits of the states in which there is another side: all but `TIME_WAIT`, `CLOSE` and `LISTEN`.
const CONNECTED: u32 = 0b1011_0011_1110;

/// Ends every TCP connection of the calling thread's network namespace that has `port` at either
/// end, at once: both sides are told, with a reset or the error `ECONNABORTED`.
///
/// # Errors
/// Not root, or a kernel without `CONFIG_INET_DIAG_DESTROY`.
pub fn end_connections(port: u16) -> Result<(), Error> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)
        .map_err(|reason| Error::system("opening", "a sock_diag socket", reason))?;
    socket.bind_auto().map_err(|reason| Error::system("binding", "a sock_diag socket", reason))?;
    for family in [libc::AF_INET, libc::AF_INET6].map(|family| family.to_ne_bytes()[0]) {
        for id in list(&socket, family)?.into_iter().filter(|id| has_port(id, port)) {
            send(&socket, DESTROY, REQUEST | ACK, family, &id)?;
            match answers(&socket, |_| {}) {
                // It has ended meanwhile.
                Err(error) if error.is_absent() => {}
                outcome => outcome?,
            }
        }
    }
    Ok(())
}

/// The connections of a family, as `inet_diag_sockid`s.
fn list(socket: &Socket, family: u8) -> Result<Vec<[u8; ID_BYTES]>, Error> {
    send(socket, BY_FAMILY, REQUEST | DUMP, family, &[0; ID_BYTES])?;
    let mut found = Vec::new();
    answers(socket, |body| {
        let id = body.get(ID_AT..ID_AT + ID_BYTES);
        found.extend(id.and_then(|id| <[u8; ID_BYTES]>::try_from(id).ok()));
    })?;
    Ok(found)
}

fn has_port(id: &[u8; ID_BYTES], port: u16) -> bool {
    [id[0..2] == port.to_be_bytes(), id[2..4] == port.to_be_bytes()].contains(&true)
}

/// Sends an `inet_diag_req_v2`.
fn send(
    socket: &Socket,
    kind: u16,
    flags: u16,
    family: u8,
    id: &[u8; ID_BYTES],
) -> Result<(), Error> {
    let body = [&[family, TCP, 0, 0], &CONNECTED.to_ne_bytes()[..], id].concat();
    let length = u32::try_from(HEADER_BYTES + body.len()).unwrap_or(u32::MAX);
    let mut message = length.to_ne_bytes().to_vec();
    message.extend_from_slice(&kind.to_ne_bytes());
    message.extend_from_slice(&flags.to_ne_bytes());
    message.extend_from_slice(&[0; 8]);
    message.extend_from_slice(&body);
    let kernel = SocketAddr::new(0, 0);
    let sent = socket.send_to(&message, &kernel, 0);
    sent.map(drop).map_err(|reason| Error::system(OPERATION, "by sock_diag", reason))
}

/// Reads answers until the last one.
fn answers(socket: &Socket, mut take: impl FnMut(&[u8])) -> Result<(), Error> {
    let failed = |reason| Error::system(OPERATION, "by sock_diag", reason);
    loop {
        let (datagram, _) = socket.recv_from_full().map_err(failed)?;
        let mut rest = &datagram[..];
        while let Some(header) = rest.get(..HEADER_BYTES) {
            let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]);
            let length = usize::try_from(length).unwrap_or(usize::MAX);
            let Some(body) = rest.get(HEADER_BYTES..length) else { break };
            match u16::from_ne_bytes([header[4], header[5]]) {
                DONE => return Ok(()),
                ERROR => {
                    let code = body.get(..4).and_then(|code| code.try_into().ok());
                    return match code.map_or(0, i32::from_ne_bytes) {
                        0 => Ok(()),
                        code => Err(failed(std::io::Error::from_raw_os_error(-code))),
                    };
                }
                _ => take(body),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::end_connections;
    use crate::netns::NetNs;
    use crate::rtnetlink::{LinkSettings, Rtnetlink};
    use std::io::{ErrorKind, Read};
    use std::net::{TcpListener, TcpStream};
    use std::time::Duration;

    #[test]
    fn both_sides_hear_of_it_and_others_stay() {
        let namespace = NetNs::create().expect("a namespace: run the tests as root");
        let ended = namespace.run(|| {
            let up = LinkSettings { up: Some(true), ..LinkSettings::default() };
            Rtnetlink::open().expect("socket").set_link("lo", &up).expect("lo up");
            for address in ["127.0.0.1", "::1"] {
                let listen = |port: u16| TcpListener::bind((address, port)).expect("listening");
                let (bgp, other) = (listen(179), listen(8080));
                let connect = |listener: &TcpListener| {
                    let to = listener.local_addr().expect("an address");
                    let there = TcpStream::connect(to).expect("connected");
                    let here = listener.accept().expect("accepted").0;
                    for side in [&here, &there] {
                        side.set_read_timeout(Some(Duration::from_millis(200))).expect("set");
                    }
                    [here, there]
                };
                let (ends, kept) = (connect(&bgp), connect(&other));
                end_connections(179).expect("ended");
                let error =
                    |mut side: &TcpStream| side.read(&mut [0]).expect_err("an error").kind();
                for side in &ends {
                    let kind = error(side);
                    let aborted = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset];
                    assert!(aborted.contains(&kind), "{kind}");
                }
                assert_eq!(kept.each_ref().map(error), [ErrorKind::WouldBlock; 2]);
                // Who listens goes on listening.
                connect(&bgp);
            }
        });
        ended.expect("entered");
    }
}

//! Options of TCP sockets that BGP needs and the standard library has no name for.

use crate::Error;
use nix::errno::Errno;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

/// The TTL that packets leave with under RFC 5082, and BGP's sockets use anyway.
pub const TTL_MAX: u8 = 255;
/// Bytes of the longest MD5 key that the kernel takes.
pub const MD5_KEY_BYTES_MAX: usize = libc::TCP_MD5SIG_MAXKEYLEN;

/// `struct tcp_md5sig`: an address, its key's length, the key.
const MD5_SIGNATURE_BYTES: usize = 216;
const MD5_KEY_LENGTH_AT: usize = 130;
const MD5_KEY_AT: usize = 136;

/// Makes an IPv6 socket take IPv6 only, so that an IPv4 one can listen beside it.
///
/// # Errors
/// It is no IPv6 socket, or is bound already.
pub fn set_ipv6_only(socket: &impl AsFd) -> Result<(), Error> {
    set(socket, "IPV6_V6ONLY", libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, &number(1))
}

/// Marks a socket's packets for routers on the way (`0xc0`: CS6, as routing protocols use).
/// `own` is any address of the socket's family.
///
/// # Errors
/// The socket is of the other family.
pub fn set_traffic_class(socket: &impl AsFd, own: IpAddr, class: u8) -> Result<(), Error> {
    let value = number(class.into());
    match own {
        IpAddr::V4(_) => set(socket, "IP_TOS", libc::IPPROTO_IP, libc::IP_TOS, &value),
        IpAddr::V6(_) => set(socket, "IPV6_TCLASS", libc::IPPROTO_IPV6, libc::IPV6_TCLASS, &value),
    }
}

/// The TTL (hop limit) that packets leave with. `own` is any address of the socket's family.
///
/// # Errors
/// The socket is of the other family.
pub fn set_ttl(socket: &impl AsFd, own: IpAddr, ttl: u8) -> Result<(), Error> {
    let value = number(ttl.into());
    match own {
        IpAddr::V4(_) => set(socket, "IP_TTL", libc::IPPROTO_IP, libc::IP_TTL, &value),
        IpAddr::V6(_) => {
            set(socket, "IPV6_UNICAST_HOPS", libc::IPPROTO_IPV6, libc::IPV6_UNICAST_HOPS, &value)
        }
    }
}

/// Packets that come with a smaller TTL are dropped (RFC 5082, 3).
///
/// # Errors
/// The socket is of the other family.
pub fn set_ttl_min(socket: &impl AsFd, own: IpAddr, ttl: u8) -> Result<(), Error> {
    let value = number(ttl.into());
    match own {
        IpAddr::V4(_) => set(socket, "IP_MINTTL", libc::IPPROTO_IP, libc::IP_MINTTL, &value),
        IpAddr::V6(_) => {
            set(socket, "IPV6_MINHOPCOUNT", libc::IPPROTO_IPV6, libc::IPV6_MINHOPCOUNT, &value)
        }
    }
}

/// Signs what goes to `peer` and demands its signature (RFC 2385); an empty key ends that. On a
/// listening socket it holds for connections of that peer's.
///
/// # Errors
/// The key is longer than [`MD5_KEY_BYTES_MAX`], the kernel was built without `TCP_MD5SIG`, or
/// there is no key to end.
pub fn set_md5_key(socket: &impl AsFd, peer: IpAddr, key: &[u8]) -> Result<(), Error> {
    set(socket, "TCP_MD5SIG", libc::IPPROTO_TCP, libc::TCP_MD5SIG, &md5_signature(peer, key)?)
}

/// Tells the other end that nothing more is coming, while what it still sends can be read.
///
/// # Errors
/// The connection has gone.
pub fn end_writing(socket: &impl AsFd) -> Result<(), Error> {
    use nix::sys::socket::{Shutdown, shutdown};
    shutdown(socket.as_fd().as_raw_fd(), Shutdown::Write)
        .map_err(|errno| Error::system("shutting down", "a TCP connection", errno))
}

fn md5_signature(peer: IpAddr, key: &[u8]) -> Result<[u8; MD5_SIGNATURE_BYTES], Error> {
    let mut signature = [0; MD5_SIGNATURE_BYTES];
    let length = u16::try_from(key.len()).unwrap_or(u16::MAX);
    if key.len() > MD5_KEY_BYTES_MAX {
        return Err(Error::Invalid {
            object: format!("the BGP password for {peer}"),
            reason: "it has more than 80 bytes; take a shorter one",
        });
    }
    // A sockaddr_in or sockaddr_in6: the family, then the address at its place.
    let (family, at, address) = match peer {
        IpAddr::V4(v4) => (libc::AF_INET, 4, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, 8, v6.octets().to_vec()),
    };
    let family = u16::try_from(family).unwrap_or_default();
    signature[..2].copy_from_slice(&family.to_ne_bytes());
    signature[at..at + address.len()].copy_from_slice(&address);
    signature[MD5_KEY_LENGTH_AT..MD5_KEY_LENGTH_AT + 2].copy_from_slice(&length.to_ne_bytes());
    signature[MD5_KEY_AT..MD5_KEY_AT + key.len()].copy_from_slice(key);
    Ok(signature)
}

fn number(value: i32) -> [u8; 4] {
    value.to_ne_bytes()
}

fn set(
    socket: &impl AsFd,
    option: &'static str,
    level: i32,
    name: i32,
    value: &[u8],
) -> Result<(), Error> {
    let length = u32::try_from(value.len()).unwrap_or_default();
    // SAFETY: the pointer and length are of `value`, which outlives the call and is only read.
    let answer = unsafe {
        let socket = socket.as_fd().as_raw_fd();
        libc::setsockopt(socket, level, name, value.as_ptr().cast(), length)
    };
    Errno::result(answer)
        .map_err(|errno| Error::system("setting the socket option", option, errno))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::NetNs;
    use std::io::{Read, Write};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::process::Command;

    const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    fn in_namespace<T: Send>(work: impl FnOnce() -> T + Send) -> T {
        let namespace = NetNs::create().expect("root");
        namespace
            .run(|| {
                let up = Command::new("ip").args(["link", "set", "lo", "up"]).status();
                assert!(up.expect("ip").success());
                work()
            })
            .expect("root")
    }

    #[test]
    fn a_signed_connection_needs_the_key_on_both_sides() {
        in_namespace(|| {
            let listener = TcpListener::bind((LOCAL, 0)).expect("a port");
            set_md5_key(&listener, LOCAL, b"secret").expect("MD5 signatures");
            let port = listener.local_addr().expect("an address").port();
            let client = signing_client(b"secret");
            connect(&client, port).expect("the same key");
            let (mut accepted, _) = listener.accept().expect("a client");
            accepted.write_all(b"x").expect("sent");
            let mut byte = [0];
            TcpStream::from(client).read_exact(&mut byte).expect("signed bytes");
            // Without a key its segments are dropped: SYN is never answered.
            let unsigned = TcpStream::connect_timeout(
                &(LOCAL, port).into(),
                std::time::Duration::from_millis(100),
            );
            assert_eq!(unsigned.expect_err("no key").kind(), std::io::ErrorKind::TimedOut);
            set_md5_key(&listener, LOCAL, b"").expect("the key goes");
            TcpStream::connect((LOCAL, port)).expect("no key needed any more");
        });
    }

    fn signing_client(key: &[u8]) -> std::os::fd::OwnedFd {
        use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
        let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::empty(), None);
        let socket = socket.expect("a socket");
        set_md5_key(&socket, LOCAL, key).expect("MD5 signatures");
        socket
    }

    fn connect(socket: &std::os::fd::OwnedFd, port: u16) -> nix::Result<()> {
        let address = nix::sys::socket::SockaddrIn::new(127, 0, 0, 1, port);
        nix::sys::socket::connect(socket.as_raw_fd(), &address)
    }

    #[test]
    fn segments_from_too_far_away_are_dropped() {
        in_namespace(|| {
            let listener = TcpListener::bind((LOCAL, 0)).expect("a port");
            let port = listener.local_addr().expect("an address").port();
            for (ttl, heard) in [(TTL_MAX, true), (TTL_MAX - 1, false)] {
                let mut client = TcpStream::connect((LOCAL, port)).expect("a connection");
                let (mut accepted, _) = listener.accept().expect("a client");
                set_ttl_min(&accepted, LOCAL, TTL_MAX).expect("a least TTL");
                set_ttl(&client, LOCAL, ttl).expect("a TTL");
                client.write_all(b"x").expect("sent");
                let patience = std::time::Duration::from_millis(if heard { 5000 } else { 100 });
                accepted.set_read_timeout(Some(patience)).expect("a timeout");
                assert_eq!(accepted.read(&mut [0]).is_ok(), heard, "TTL {ttl}");
            }
        });
    }

    #[test]
    fn options_are_of_the_sockets_family() {
        let listener = TcpListener::bind((LOCAL, 0)).expect("a port");
        set_traffic_class(&listener, LOCAL, 0xc0).expect("a traffic class");
        let error = set_ipv6_only(&listener).expect_err("an IPv4 socket");
        assert!(error.to_string().contains("IPV6_V6ONLY"), "{error}");
        let error = set_md5_key(&listener, LOCAL, &[b'x'; 81]).expect_err("too long");
        assert!(error.to_string().contains("127.0.0.1"), "{error}");
    }
}

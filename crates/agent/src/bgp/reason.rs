//! What a socket's error means, in a person's words; the first half is BIRD's.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

/// Why a connection could not be made.
pub(super) fn connect(error: &Error, remote: SocketAddr) -> String {
    let port = remote.port();
    let cause = match error.kind() {
        ErrorKind::ConnectionRefused => format!("nothing listens on port {port} there"),
        ErrorKind::HostUnreachable => {
            "does that node run, and does the network between know its address?".to_owned()
        }
        ErrorKind::NetworkUnreachable => "this node has no route to that address".to_owned(),
        ErrorKind::TimedOut => {
            format!("is TCP port {port} blocked by a firewall or security group?")
        }
        ErrorKind::AddrNotAvailable => {
            "this node hasn't got the address that sessions are opened from".to_owned()
        }
        ErrorKind::PermissionDenied => "a firewall of this node's forbids it".to_owned(),
        _ => return format!("Socket: {}", words(error)),
    };
    format!("Socket: {}: {cause}", words(error))
}

/// Why a connection went.
pub(super) fn closed(error: Option<&Error>) -> String {
    match error {
        None => "Socket: Connection closed".to_owned(),
        Some(error) => format!("Socket: {}", words(error)),
    }
}

/// Why a port cannot be listened on.
pub(super) fn listen(error: &Error, at: SocketAddr) -> String {
    let (address, port) = (at.ip(), at.port());
    match error.kind() {
        ErrorKind::AddrInUse => format!(
            "TCP port {port} is taken by another program: is BIRD still running on this node?"
        ),
        ErrorKind::AddrNotAvailable => format!(
            "this node hasn't got the address {address} that BGP is to listen on \
             (BGPConfiguration's bindMode NodeIP)"
        ),
        ErrorKind::PermissionDenied => {
            format!("TCP port {port} may not be listened on: calico-node must run as root")
        }
        _ => format!("TCP port {port} cannot be listened on: {}", words(error)),
    }
}

/// The attempt took too long; as the kernel would say it in the end.
pub(super) fn timed_out() -> Error {
    Error::from_raw_os_error(nix::errno::Errno::ETIMEDOUT as i32)
}

/// The system's words without their number.
fn words(error: &Error) -> String {
    match error.raw_os_error() {
        Some(number) => nix::errno::Errno::from_raw(number).desc().to_owned(),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;
    use nix::errno::Errno as E;

    fn of(errno: E) -> Error {
        Error::from_raw_os_error(errno as i32)
    }

    #[test]
    fn errors_say_the_likely_cause() {
        let remote = "10.0.3.142:179".parse().expect("an address");
        let errors = [
            E::ECONNREFUSED,
            E::EHOSTUNREACH,
            E::ENETUNREACH,
            E::ETIMEDOUT,
            E::EADDRNOTAVAIL,
            E::EPERM,
            E::ENOBUFS,
        ];
        let lines = errors.map(|errno| connect(&of(errno), remote)).join("\n");
        expect![[r#"
            Socket: Connection refused: nothing listens on port 179 there
            Socket: No route to host: does that node run, and does the network between know its address?
            Socket: Network is unreachable: this node has no route to that address
            Socket: Connection timed out: is TCP port 179 blocked by a firewall or security group?
            Socket: Cannot assign requested address: this node hasn't got the address that sessions are opened from
            Socket: Operation not permitted: a firewall of this node's forbids it
            Socket: No buffer space available"#]].assert_eq(&lines);
        let errors = [E::EADDRINUSE, E::EADDRNOTAVAIL, E::EACCES, E::ENOBUFS];
        let lines = errors.map(|errno| listen(&of(errno), remote)).join("\n");
        expect![[r#"
            TCP port 179 is taken by another program: is BIRD still running on this node?
            this node hasn't got the address 10.0.3.142 that BGP is to listen on (BGPConfiguration's bindMode NodeIP)
            TCP port 179 may not be listened on: calico-node must run as root
            TCP port 179 cannot be listened on: No buffer space available"#]].assert_eq(&lines);
        let lines = [closed(None), closed(Some(&of(E::ECONNRESET)))].join("\n");
        expect![[r#"
            Socket: Connection closed
            Socket: Connection reset by peer"#]]
        .assert_eq(&lines);
    }
}

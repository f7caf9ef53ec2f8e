//! One socket to netfilter, in one network namespace.

use super::message::{Attributes, HEADER_BYTES, Message, Messages, Writer};
use super::netlink;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket as NetlinkSocket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// More than the largest datagram of a dump (32 KiB).
const RECEIVE_BYTES: usize = 1 << 17;
/// Room for what the kernel says before it is read: answers to a batch, logged packets.
const RECEIVE_QUEUE_BYTES: usize = 4 << 20;

/// What the kernel says against a message.
#[derive(Debug)]
pub(crate) struct Rejection {
    /// The message's sequence number.
    pub(crate) sequence: u32,
    pub(crate) errno: Errno,
    /// The kernel's own words (extended ack), often empty.
    pub(crate) words: String,
}

/// Why a request has no answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The socket itself failed.
    Socket(io::Error),
    /// The kernel refused it.
    Refused(Rejection),
}

/// A request, apart from its attributes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    /// The subsystem in the upper byte, its message number in the lower one.
    pub(crate) kind: u16,
    /// `NLM_F_*`.
    pub(crate) flags: u16,
    /// `nfgenmsg`: family, version, resource in network order.
    pub(crate) prefix: [u8; 4],
}

/// A connection to netfilter in the namespace of the thread that opened it.
pub(crate) struct Socket {
    socket: NetlinkSocket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    /// Opens a socket in the calling thread's network namespace.
    pub(crate) fn open() -> io::Result<Socket> {
        let mut socket = NetlinkSocket::new(NETLINK_NETFILTER)?;
        socket.bind(&SocketAddr::new(0, 0))?;
        let mut address = SocketAddr::new(0, 0);
        socket.get_address(&mut address)?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        // Without the privilege the default is kept: larger replies then fail as ENOBUFS.
        let _ = setsockopt(&socket.as_fd(), sockopt::RcvBufForce, &RECEIVE_QUEUE_BYTES);
        let port = address.port_number();
        Ok(Socket { socket, port, sequence: 0, buffer: vec![0; RECEIVE_BYTES] })
    }

    /// The port by which the kernel names this socket.
    pub(crate) fn port(&self) -> u32 {
        self.port
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Joins a multicast group.
    pub(crate) fn join(&mut self, group: u32) -> io::Result<()> {
        self.socket.add_membership(group)
    }

    /// Takes `count` sequence numbers; returns the first.
    pub(crate) fn sequences(&mut self, count: u32) -> u32 {
        // Zero is what multicasts carry.
        let first = self.sequence.checked_add(1).filter(|first| first.checked_add(count).is_some());
        let first = first.unwrap_or(1);
        self.sequence = first + count;
        first
    }

    /// Sends messages in one piece.
    pub(crate) fn send(&self, messages: &[u8]) -> io::Result<()> {
        self.socket.send(messages, 0).map(drop)
    }

    /// Reads one datagram; `None` if there is none and `wait` is false.
    pub(crate) fn receive(&mut self, wait: bool) -> Result<Option<&[u8]>, Errno> {
        let flags = if wait { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        loop {
            match recv(self.socket.as_raw_fd(), &mut self.buffer, flags) {
                Ok(length) => return Ok(Some(&self.buffer[..length])),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(None),
                Err(errno) => return Err(errno),
            }
        }
    }

    /// Sends a request and gives `take` each datagram of the answer. Returns whether something
    /// changed meanwhile, so that what was read may contradict itself.
    pub(crate) fn exchange(
        &mut self,
        request: Request,
        body: impl FnOnce(&mut Writer),
        mut take: impl FnMut(&[u8]),
    ) -> Result<bool, Failure> {
        let Request { kind, flags, prefix } = request;
        let sequence = self.sequences(1);
        let mut writer = Writer::default();
        writer.raw_message(kind, flags, sequence, prefix, body);
        self.send(&writer.bytes).map_err(Failure::Socket)?;
        let mut interrupted = false;
        loop {
            let received = self.receive(true);
            let received = received.map_err(|errno| Failure::Socket(errno.into()))?;
            let Some(datagram) = received else { continue };
            let mut done = false;
            for message in Messages(datagram).filter(|message| message.sequence == sequence) {
                interrupted |= message.flags & netlink::DUMP_INTR != 0;
                match message.kind {
                    netlink::DONE => done = true,
                    netlink::ERROR => match rejection(&message) {
                        Some(rejection) => return Err(Failure::Refused(rejection)),
                        None => done = true,
                    },
                    _ => done |= flags & netlink::DUMP == 0,
                }
            }
            take(datagram);
            if done {
                return Ok(interrupted);
            }
        }
    }
}

/// What an answer says against a message; `None` for an acknowledgement or another kind of message.
pub(crate) fn rejection(answer: &Message<'_>) -> Option<Rejection> {
    if answer.kind != netlink::ERROR {
        return None;
    }
    let code = i32::from_ne_bytes(answer.body.get(..4)?.try_into().ok()?);
    if code == 0 {
        return None;
    }
    let about = answer.body.get(4..4 + HEADER_BYTES)?;
    let sequence = u32::from_ne_bytes(about[8..12].try_into().ok()?);
    let words = (answer.flags & netlink::ACK_TLVS != 0)
        .then(|| {
            let capped = answer.flags & netlink::ACK_CAPPED != 0;
            let length = u32::from_ne_bytes(about[..4].try_into().ok()?);
            let skipped = if capped { HEADER_BYTES } else { usize::try_from(length).ok()? };
            let attributes = Attributes(answer.body.get(4 + skipped.next_multiple_of(4)..)?);
            attributes.text(netlink::ERROR_ATTRIBUTE_MESSAGE).map(str::to_owned)
        })
        .flatten();
    let errno = Errno::from_raw(code.saturating_neg());
    Some(Rejection { sequence, errno, words: words.unwrap_or_default() })
}

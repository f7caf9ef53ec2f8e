//! One netlink socket to nf_tables: requests, dumps, transactions.

use super::Error;
use super::attribute::{Attributes, HEADER_BYTES, Message, Messages, Writer};
use super::numbers::{attribute, message, netlink};
use kernel::nft::Family;
use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, setsockopt, sockopt};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// More than the largest datagram of a dump (32 KiB).
const RECEIVE_BYTES: usize = 1 << 17;
/// Room for what the kernel answers to one batch before it is read.
const RECEIVE_QUEUE_BYTES: usize = 4 << 20;
/// The largest transaction; the kernel takes one in a single piece.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 20;

/// What the kernel says against a message.
#[derive(Debug)]
pub(super) struct Rejection {
    /// The message's sequence number.
    pub(super) sequence: u32,
    pub(super) errno: Errno,
    /// The kernel's own words (extended ack), often empty.
    pub(super) words: String,
}

/// The messages of a dump.
pub(super) struct Dump {
    datagrams: Vec<Vec<u8>>,
    /// Something changed meanwhile: what was read may contradict itself.
    pub(super) interrupted: bool,
}

impl Dump {
    pub(super) fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        let all = self.datagrams.iter().flat_map(|datagram| Messages(datagram));
        all.filter(|message| message.nft_kind().is_some())
    }

    /// Attributes of the objects of one table.
    pub(super) fn of_table(&self, name: &str) -> impl Iterator<Item = Attributes<'_>> {
        let all = self.messages().map(|found| found.attributes());
        all.filter(move |found| found.text(attribute::TABLE) == Some(name))
    }

    /// The elements of a set.
    pub(super) fn elements(&self) -> impl Iterator<Item = Attributes<'_>> {
        let lists = self.messages().map(|found| found.attributes().nested(attribute::ELEMENTS));
        lists.flatten().map(|(_, item)| Attributes(item))
    }
}

pub(super) struct NetlinkSocket {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
    send_bytes: usize,
}

impl NetlinkSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<NetlinkSocket, Error> {
        let failed = |reason: std::io::Error| Error::Socket { doing: "opening", reason };
        let mut socket = Socket::new(NETLINK_NETFILTER).map_err(failed)?;
        socket.bind(&SocketAddr::new(0, 0)).map_err(failed)?;
        let mut address = SocketAddr::new(0, 0);
        socket.get_address(&mut address).map_err(failed)?;
        socket.set_ext_ack(true).map_err(failed)?;
        socket.set_cap_ack(true).map_err(failed)?;
        let port = address.port_number();
        let buffer = vec![0; RECEIVE_BYTES];
        let opened = NetlinkSocket { socket, port, sequence: 0, buffer, send_bytes: 0 };
        // Without the privilege the default is kept: larger replies then fail as ENOBUFS.
        let _ = setsockopt(&opened.fd(), sockopt::RcvBufForce, &RECEIVE_QUEUE_BYTES);
        Ok(opened)
    }

    /// The port by which the kernel names this socket.
    pub(super) fn port(&self) -> u32 {
        self.port
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Joins a multicast group.
    pub(super) fn join(&mut self, group: u32) -> Result<(), Error> {
        let failed = |reason| Error::Socket { doing: "subscribing", reason };
        self.socket.add_membership(group).map_err(failed)
    }

    /// Takes `count` sequence numbers; returns the first.
    pub(super) fn sequences(&mut self, count: u32) -> u32 {
        // Zero is what multicasts carry.
        let first = self.sequence.checked_add(1).filter(|first| first.checked_add(count).is_some());
        let first = first.unwrap_or(1);
        self.sequence = first + count;
        first
    }

    /// Reads one datagram; `None` if there is none and `wait` is false.
    pub(super) fn receive(&mut self, wait: bool) -> Result<Option<&[u8]>, Errno> {
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

    /// Asks for one object: `None` if there is none such.
    pub(super) fn get(
        &mut self,
        kind: u16,
        family: Option<Family>,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.request(kind, 0, family, body) {
            Ok(dump) => Ok(dump.datagrams.into_iter().next()),
            Err(Error::Read { errno: Errno::ENOENT, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for all objects of a kind.
    pub(super) fn dump(
        &mut self,
        kind: u16,
        family: Option<Family>,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Dump, Error> {
        self.request(kind, netlink::DUMP, family, body)
    }

    fn request(
        &mut self,
        kind: u16,
        flags: u16,
        family: Option<Family>,
        body: impl FnOnce(&mut Writer),
    ) -> Result<Dump, Error> {
        let sequence = self.sequences(1);
        let mut writer = Writer::default();
        writer.message(kind, flags, sequence, family, body);
        let failed = |reason| Error::Socket { doing: "reading", reason };
        self.socket.send(&writer.bytes, 0).map_err(failed)?;
        let mut dump = Dump { datagrams: vec![], interrupted: false };
        loop {
            let received = self.receive(true).map_err(|errno| failed(errno.into()))?;
            let Some(datagram) = received else { continue };
            let datagram = datagram.to_vec();
            let mut done = false;
            for message in Messages(&datagram).filter(|message| message.sequence == sequence) {
                dump.interrupted |= message.flags & netlink::DUMP_INTR != 0;
                match message.kind {
                    netlink::DONE => done = true,
                    netlink::ERROR => {
                        if let Some(rejection) = rejection(&message) {
                            let what = name(kind);
                            return Err(Error::Read { what, errno: rejection.errno });
                        }
                        done = true;
                    }
                    _ => done |= flags & netlink::DUMP == 0,
                }
            }
            dump.datagrams.push(datagram);
            if done {
                return Ok(dump);
            }
        }
    }

    /// Sends a whole transaction; returns what the kernel says against it.
    ///
    /// The kernel works on it within the system call, so all answers are there afterwards.
    pub(super) fn transact(&mut self, batch: &[u8]) -> Result<Vec<Rejection>, Error> {
        self.grow(batch.len())?;
        let failed = |reason| Error::Socket { doing: "sending a transaction", reason };
        while self.receive(false).is_ok_and(|late| late.is_some()) {}
        self.socket.send(batch, 0).map_err(failed)?;
        let mut rejections = Vec::new();
        loop {
            match self.receive(false) {
                Ok(Some(datagram)) => {
                    rejections.extend(Messages(datagram).filter_map(|answer| rejection(&answer)));
                }
                Ok(None) => return Ok(rejections),
                // More answers than there is room for: the first ones are what matters.
                Err(Errno::ENOBUFS) if !rejections.is_empty() => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    fn grow(&mut self, bytes: usize) -> Result<(), Error> {
        if bytes > BATCH_BYTES_MAX {
            return Err(Error::TooLarge { bytes });
        }
        if bytes > self.send_bytes {
            // The kernel doubles what is asked; it counts its own overhead too.
            let wanted = bytes.next_power_of_two().max(1 << 20);
            let set = setsockopt(&self.fd(), sockopt::SndBufForce, &wanted);
            set.map_err(|errno| Error::Socket {
                doing: "making room for a transaction",
                reason: errno.into(),
            })?;
            self.send_bytes = wanted;
        }
        Ok(())
    }
}

/// What an answer says against a message; `None` for an acknowledgement or another kind of message.
fn rejection(answer: &Message<'_>) -> Option<Rejection> {
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

fn name(kind: u16) -> &'static str {
    match kind {
        message::GETTABLE => "tables",
        message::GETCHAIN => "chains",
        message::GETRULE => "rules",
        message::GETSET => "sets",
        message::GETSETELEM => "set elements",
        message::GETOBJ => "objects",
        message::GETFLOWTABLE => "flowtables",
        _ => "the generation",
    }
}

//! One netlink socket to nf_tables: requests, dumps, transactions.

use super::Error;
use super::attribute::{Attributes, Message, Messages, Writer, family_number};
use super::numbers::{SUBSYSTEM, attribute, message, netlink};
use crate::nfnetlink::{Failure, Request, Socket, rejection};
use kernel::nft::Family;
use nix::errno::Errno;
use nix::sys::socket::{setsockopt, sockopt};
use std::os::fd::BorrowedFd;

pub(super) use crate::nfnetlink::Rejection;

/// The largest transaction; the kernel takes one in a single piece.
pub(super) const BATCH_BYTES_MAX: usize = 256 << 20;

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
    send_bytes: usize,
}

impl NetlinkSocket {
    /// Opens a socket in the calling thread's network namespace.
    pub(super) fn open() -> Result<NetlinkSocket, Error> {
        let socket = Socket::open().map_err(|reason| Error::Socket { doing: "opening", reason })?;
        Ok(NetlinkSocket { socket, send_bytes: 0 })
    }

    /// The port by which the kernel names this socket.
    pub(super) fn port(&self) -> u32 {
        self.socket.port()
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }

    /// Joins a multicast group.
    pub(super) fn join(&mut self, group: u32) -> Result<(), Error> {
        let failed = |reason| Error::Socket { doing: "subscribing", reason };
        self.socket.join(group).map_err(failed)
    }

    /// Takes `count` sequence numbers; returns the first.
    pub(super) fn sequences(&mut self, count: u32) -> u32 {
        self.socket.sequences(count)
    }

    /// Reads one datagram; `None` if there is none and `wait` is false.
    pub(super) fn receive(&mut self, wait: bool) -> Result<Option<&[u8]>, Errno> {
        self.socket.receive(wait)
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
        let prefix = [family.map_or(0, family_number), 0, 0, 0];
        let request = Request { kind: SUBSYSTEM << 8 | kind, flags, prefix };
        let mut datagrams = Vec::new();
        let take = |datagram: &[u8]| datagrams.push(datagram.to_vec());
        match self.socket.exchange(request, body, take) {
            Ok(interrupted) => Ok(Dump { datagrams, interrupted }),
            Err(Failure::Socket(reason)) => Err(Error::Socket { doing: "reading", reason }),
            Err(Failure::Refused(rejection)) => {
                Err(Error::Read { what: name(kind), errno: rejection.errno })
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
        self.socket.send(batch).map_err(failed)?;
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

//! Packets that rules log to NFLOG groups (`nfnetlink_log.h`).
//!
//! The kernel gathers packets of a group for up to 10 ms, or until there are [`GATHERED_MAX`]. What
//! the reader doesn't take in time the kernel throws away; that is counted, and no error.

use crate::Error;
use crate::netns::NetNs;
use crate::nfnetlink::{Failure, Message, Messages, Rejection, Request, Socket, Writer, netlink};
use crate::tuple::Tuple;
use nix::errno::Errno;
use nix::net::if_::if_indextoname;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Bytes of each packet that the kernel hands over: all headers up to the ports.
const COPIED_BYTES: u32 = 128;
/// Packets after which the kernel tells of them at once.
const GATHERED_MAX: u32 = 64;
/// Hundredths of a second after which it tells of fewer.
const GATHERED_FOR: u32 = 1;
/// Bytes that the kernel gathers at most.
const GATHERED_BYTES_MAX: u32 = 32 << 10;
/// Datagrams taken up by one [`NflogReader::read`], so that it returns however fast packets come.
const DATAGRAMS_MAX: usize = 64;

/// `NFNL_SUBSYS_ULOG`, with `NFULNL_MSG_PACKET` and `_CONFIG`.
const PACKET: u16 = 4 << 8;
const CONFIGURE: u16 = 4 << 8 | 1;
/// `NFULA_CFG_*`.
const COMMAND: u16 = 1;
const MODE: u16 = 2;
const BUFFER_SIZE: u16 = 3;
const TIMEOUT: u16 = 4;
const THRESHOLD: u16 = 5;
const FLAGS: u16 = 6;
/// `NFULNL_CFG_CMD_BIND`, `NFULNL_COPY_PACKET`, `NFULNL_CFG_F_SEQ`.
const BIND: u8 = 1;
const COPY_PACKET: u8 = 2;
const NUMBERED: u16 = 1;
/// `NFULA_*` of a packet.
const HEADER: u16 = 1;
const MARK: u16 = 2;
const INPUT: u16 = 4;
const OUTPUT: u16 = 5;
const PAYLOAD: u16 = 9;
const PREFIX: u16 = 10;
const SEQUENCE: u16 = 12;

/// A packet that a rule has logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoggedPacket {
    /// The group that it was logged to.
    pub group: u16,
    /// The rule's prefix, without what is no UTF-8.
    pub prefix: String,
    /// Where in the kernel: 0 prerouting, 1 input, 2 forward, 3 output, 4 postrouting.
    pub hook: u8,
    /// The index of the interface it came by.
    pub input: Option<u32>,
    /// The index of the interface it was to leave by.
    pub output: Option<u32>,
    /// Its mark.
    pub mark: u32,
    /// From where to where it goes; `None` if it isn't IP, or cut off.
    pub tuple: Option<Tuple>,
}

/// How much was logged that nobody read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Packets that are missing between those that were read.
    pub packets: u64,
    /// Times that the socket's queue was full.
    pub overruns: u64,
}

/// Reads the packets of some NFLOG groups of one network namespace. Each group has one reader in
/// its namespace.
pub struct NflogReader {
    socket: Socket,
    /// The sequence number that the next packet of each group has.
    next: BTreeMap<u16, u32>,
    lost: Lost,
}

impl NflogReader {
    /// Takes up these groups in the calling thread's namespace; works from any thread later.
    ///
    /// # Errors
    /// No privilege; a kernel without `CONFIG_NETFILTER_NETLINK_LOG`; another program, such as
    /// `ulogd`, or another agent has a group.
    pub fn open(groups: &[u16]) -> Result<NflogReader, Error> {
        let failed = |reason| Error::system("opening", "an NFLOG socket", reason);
        let mut socket = Socket::open().map_err(failed)?;
        for group in groups {
            configure(&mut socket, *group, |writer| writer.put(COMMAND, &[BIND]))?;
            configure(&mut socket, *group, |writer| {
                let mut mode = COPIED_BYTES.to_be_bytes().to_vec();
                mode.extend([COPY_PACKET, 0]);
                writer.put(MODE, &mode);
                writer.number(BUFFER_SIZE, GATHERED_BYTES_MAX);
                writer.number(TIMEOUT, GATHERED_FOR);
                writer.number(THRESHOLD, GATHERED_MAX);
                writer.put(FLAGS, &NUMBERED.to_be_bytes());
            })?;
        }
        Ok(NflogReader { socket, next: BTreeMap::new(), lost: Lost::default() })
    }

    /// Takes up groups in another namespace; the calling thread stays where it is.
    ///
    /// # Errors
    /// The namespace cannot be entered, or as for [`NflogReader::open`].
    pub fn open_in(namespace: &NetNs, groups: &[u16]) -> Result<NflogReader, Error> {
        namespace.run(|| NflogReader::open(groups))?
    }

    /// Waits up to `timeout` for packets and gives them to `take`; returns earlier once there were
    /// some.
    ///
    /// # Errors
    /// The socket fails.
    pub fn read(
        &mut self,
        timeout: Duration,
        mut take: impl FnMut(LoggedPacket),
    ) -> Result<(), Error> {
        let failed = |errno: Errno| Error::system("reading", "logged packets", errno);
        let mut files = [PollFd::new(self.socket.fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout.as_millis()).unwrap_or(PollTimeout::MAX);
        match poll(&mut files, timeout) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(errno) => return Err(failed(errno)),
        }
        for _ in 0..DATAGRAMS_MAX {
            match self.socket.receive(false) {
                Ok(Some(datagram)) => {
                    for message in Messages(datagram) {
                        if let Some((packet, sequence)) = packet(&message) {
                            let next = sequence.map(|sequence| sequence.wrapping_add(1));
                            let expected =
                                next.and_then(|next| self.next.insert(packet.group, next));
                            let missing = sequence.zip(expected);
                            let missing = missing.map_or(0, |(is, was)| is.wrapping_sub(was));
                            self.lost.packets += u64::from(missing);
                            take(packet);
                        }
                    }
                }
                Ok(None) => break,
                Err(Errno::ENOBUFS) => self.lost.overruns += 1,
                Err(errno) => return Err(failed(errno)),
            }
        }
        Ok(())
    }

    /// What was lost since the reader was opened.
    pub fn lost(&self) -> Lost {
        self.lost
    }
}

impl AsFd for NflogReader {
    /// For `poll`: readable when there are packets.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}

/// The name of an interface of the calling thread's namespace; `None` if there is none of this
/// index any more.
pub fn interface_name(index: u32) -> Option<String> {
    if_indextoname(index).ok()?.into_string().ok()
}

fn configure(socket: &mut Socket, group: u16, body: impl FnOnce(&mut Writer)) -> Result<(), Error> {
    let [high, low] = group.to_be_bytes();
    let request = Request { kind: CONFIGURE, flags: netlink::ACK, prefix: [0, 0, high, low] };
    let (operation, object) = ("reading", format!("NFLOG group {group}"));
    match socket.exchange(request, body, |_| {}) {
        Ok(_) => Ok(()),
        Err(Failure::Socket(reason)) => Err(Error::system(operation, object, reason)),
        // Also for want of privilege, but mostly as the group is taken.
        Err(Failure::Refused(Rejection { errno: Errno::EPERM, .. })) => Err(Error::Invalid {
            object,
            reason: "another program reads it, such as ulogd or another calico-node, or this one \
                     lacks CAP_NET_ADMIN; stop the other one, or run as root",
        }),
        Err(Failure::Refused(rejection)) => {
            let extack = Some(rejection.words).filter(|words| !words.is_empty());
            Err(Error::Refused { operation, object, errno: rejection.errno, extack })
        }
    }
}

/// The packets that a datagram of the kernel tells of, whatever its bytes: for fuzzing.
pub fn decode(datagram: &[u8]) -> impl Iterator<Item = LoggedPacket> {
    Messages(datagram).filter_map(|message| Some(packet(&message)?.0))
}

/// The packet that a message tells of, with its sequence number in its group.
fn packet(message: &Message<'_>) -> Option<(LoggedPacket, Option<u32>)> {
    if message.kind != PACKET {
        return None;
    }
    let attributes = message.attributes();
    let group = u16::from_be_bytes([*message.body.get(2)?, *message.body.get(3)?]);
    let prefix = attributes.get(PREFIX).unwrap_or_default();
    let prefix = prefix.strip_suffix(&[0]).unwrap_or(prefix);
    let packet = LoggedPacket {
        group,
        prefix: String::from_utf8_lossy(prefix).into_owned(),
        hook: attributes.get(HEADER).and_then(|header| header.get(2)).copied()?,
        input: attributes.number(INPUT),
        output: attributes.number(OUTPUT),
        mark: attributes.number(MARK).unwrap_or(0),
        tuple: attributes.get(PAYLOAD).and_then(Tuple::of_packet),
    };
    Some((packet, attributes.number(SEQUENCE)))
}

#[cfg(test)]
mod tests;

//! Hearing of tables that somebody else changed.

use super::attribute::{Messages, family_of};
use super::numbers::{GROUP, attribute as a, message};
use super::socket::NetlinkSocket;
use super::{Error, Nft};
use kernel::nft::Family;
use nix::errno::Errno;
use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd};

/// What a monitor heard.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Heard {
    /// Somebody else changed something in a table.
    Changed {
        /// The table's family.
        family: Family,
        /// The table's name.
        table: String,
        /// The name of the process that did it, as the kernel knows it (`nft`).
        by: String,
    },
    /// There was more than the socket holds: any table may have changed.
    Overrun,
}

/// A subscription to the ruleset's changes in one network namespace.
///
/// Poll its descriptor ([`AsFd`]) for reading, then call [`NftMonitor::read`].
pub struct NftMonitor {
    socket: NetlinkSocket,
    own_port: u32,
    /// Tables of the transaction whose end has not been heard yet.
    open: BTreeSet<(Family, String)>,
}

impl NftMonitor {
    /// Subscribes in the calling thread's namespace; changes made through `own` are not reported.
    ///
    /// # Errors
    /// The socket cannot be opened or has no right to listen.
    pub fn open(own: &Nft) -> Result<NftMonitor, Error> {
        let mut socket = NetlinkSocket::open()?;
        socket.join(GROUP)?;
        Ok(NftMonitor { socket, own_port: own.socket.port(), open: BTreeSet::new() })
    }

    /// What was heard since the last call, without waiting; a transaction is reported once, at its
    /// end.
    ///
    /// # Errors
    /// The socket fails.
    pub fn read(&mut self) -> Result<BTreeSet<Heard>, Error> {
        let mut heard = BTreeSet::new();
        loop {
            let NftMonitor { socket, own_port, open } = self;
            match socket.receive(false) {
                Ok(Some(datagram)) => {
                    let of_others = |found: &super::attribute::Message<'_>| found.port != *own_port;
                    Messages(datagram)
                        .filter(of_others)
                        .for_each(|found| hear(open, &mut heard, &found));
                }
                Ok(None) => return Ok(heard),
                Err(Errno::ENOBUFS) => {
                    open.clear();
                    heard.insert(Heard::Overrun);
                }
                Err(errno) => {
                    return Err(Error::Socket { doing: "listening", reason: errno.into() });
                }
            }
        }
    }
}

fn hear(
    open: &mut BTreeSet<(Family, String)>,
    heard: &mut BTreeSet<Heard>,
    found: &super::attribute::Message<'_>,
) {
    let attributes = found.attributes();
    match found.nft_kind() {
        Some(message::NEWGEN) => {
            let by = attributes.text(a::GENERATION_PROCESS).unwrap_or("unknown");
            let changed = std::mem::take(open).into_iter();
            heard.extend(changed.map(|(family, table)| Heard::Changed {
                family,
                table,
                by: by.to_owned(),
            }));
        }
        Some(_) => {
            let table = attributes.text(a::TABLE).map(str::to_owned);
            open.extend(family_of(found.family()).zip(table));
        }
        None => {}
    }
}

impl AsFd for NftMonitor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd()
    }
}

//! Connection tracking: flows listed and forgotten (`nfnetlink_conntrack.h`).
//!
//! A flow that was allowed stays allowed, as its packets are accepted before any policy is asked.
//! So where a policy comes to forbid it, the kernel must forget it; its next packet is then judged
//! as a new one. Memory is bounded whatever the table's size: flows are told one by one.

mod message;

use crate::Error;
use crate::netns::NetNs;
use crate::nfnetlink::{Failure, Messages, Request, Socket, netlink};
use crate::tuple::Tuple;
use nix::errno::Errno;
use std::collections::HashSet;
use std::net::IpAddr;

/// With up to so many IPv4 addresses the kernel is asked for each one's flows. It walks its table
/// twice for each; with more, one walk that copies all of it takes less time.
const ASKED_ONE_BY_ONE_MAX: usize = 2;

/// A tracked flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Its packets as the initiator sends them, before any translation.
    pub original: Tuple,
    /// Its packets as the responder sends them, before any translation.
    pub reply: Tuple,
    /// What has happened to it.
    pub status: Status,
    /// The connection's mark.
    pub mark: u32,
    /// Its zone in the original direction; 0 unless somebody uses zones.
    pub original_zone: u16,
    /// Its zone in the reply direction.
    pub reply_zone: u16,
    /// Tells it from an earlier or later flow with the same tuples.
    pub id: u32,
}

impl Flow {
    /// The one that began it, translated or not.
    pub fn initiator(&self) -> IpAddr {
        self.original.source
    }

    /// The one that answers: where the packets go in the end.
    pub fn responder(&self) -> IpAddr {
        self.reply.source
    }
}

/// What has happened to a flow: bits `IPS_*` of `nf_conntrack_common.h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Status(pub u32);

impl Status {
    /// The responder has answered (`IPS_SEEN_REPLY`).
    pub fn has_reply(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// It is not dropped early where the table is full (`IPS_ASSURED`).
    pub fn is_assured(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// The initiator's address or port is translated (`IPS_SRC_NAT`).
    pub fn has_source_nat(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// The responder's address or port is translated (`IPS_DST_NAT`).
    pub fn has_destination_nat(self) -> bool {
        self.0 & 1 << 5 != 0
    }
}

/// Connection tracking's table in one network namespace, that of the thread that opened it.
pub struct Conntrack {
    socket: Socket,
    /// Flows are forgotten while they are listed: the kernel answers one thing per socket.
    deleting: Socket,
}

impl Conntrack {
    /// Opens the calling thread's namespace's table; works from any thread later.
    ///
    /// # Errors
    /// The kernel has no netfilter netlink.
    pub fn open() -> Result<Conntrack, Error> {
        let open = || {
            Socket::open().map_err(|reason| Error::system("opening", "a conntrack socket", reason))
        };
        Ok(Conntrack { socket: open()?, deleting: open()? })
    }

    /// Opens another namespace's table; the calling thread stays where it is.
    ///
    /// # Errors
    /// The namespace cannot be entered, or as for [`Conntrack::open`].
    pub fn open_in(namespace: &NetNs) -> Result<Conntrack, Error> {
        namespace.run(Conntrack::open)?
    }

    /// Tells `take` of all flows, IPv4 first. A flow that comes or goes meanwhile may be told or
    /// not; where the table changes much, one may be told twice.
    ///
    /// # Errors
    /// No privilege, or a kernel without connection tracking's netlink (`CONFIG_NF_CT_NETLINK`).
    pub fn list(&mut self, mut take: impl FnMut(Flow)) -> Result<(), Error> {
        list_family(&mut self.socket, libc::AF_INET, None, &mut take)?;
        list_family(&mut self.socket, libc::AF_INET6, None, &mut take)
    }

    /// As [`Conntrack::list`], but only of flows whose initiator or responder is among `addresses`.
    /// Felix asks for the same (`conntrack -D --orig-src`, `--reply-src`).
    ///
    /// # Errors
    /// As for [`Conntrack::list`].
    pub fn list_of(
        &mut self,
        addresses: &HashSet<IpAddr>,
        take: impl FnMut(Flow),
    ) -> Result<(), Error> {
        list_of(&mut self.socket, addresses, take)
    }

    /// Forgets this very flow. Returns whether it was there: one that is gone already, or that has
    /// given way to a newer flow with the same tuples, is no error.
    ///
    /// # Errors
    /// As for [`Conntrack::list`].
    pub fn delete(&mut self, flow: &Flow) -> Result<bool, Error> {
        delete(&mut self.deleting, flow)
    }

    /// Forgets those flows of these addresses (see [`Conntrack::list_of`]) that `is_forbidden`
    /// says. Returns how many were there.
    ///
    /// # Errors
    /// As for [`Conntrack::list`]; the flows before the one that failed are gone.
    pub fn delete_of(
        &mut self,
        addresses: &HashSet<IpAddr>,
        mut is_forbidden: impl FnMut(&Flow) -> bool,
    ) -> Result<u64, Error> {
        let Conntrack { socket, deleting } = self;
        let mut outcome = Ok(0);
        list_of(socket, addresses, |flow| {
            if let Ok(count) = &mut outcome
                && is_forbidden(&flow)
            {
                match delete(deleting, &flow) {
                    Ok(was_there) => *count += u64::from(was_there),
                    Err(error) => outcome = Err(error),
                }
            }
        })?;
        outcome
    }
}

fn list_of(
    socket: &mut Socket,
    addresses: &HashSet<IpAddr>,
    mut take: impl FnMut(Flow),
) -> Result<(), Error> {
    // Also with the kernel's filter, which kernels before 5.8 don't know.
    let mut take_asked = |flow: Flow| {
        if [Side::Initiator, Side::Responder].iter().any(|side| addresses.contains(&side.of(&flow)))
        {
            take(flow);
        }
    };
    let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = addresses.iter().partition(|of| of.is_ipv4());
    if v4.len() > ASKED_ONE_BY_ONE_MAX {
        list_family(socket, libc::AF_INET, None, &mut take_asked)?;
    } else {
        list_one_by_one(socket, &v4, &mut take_asked)?;
    }
    // The kernel's filter takes IPv6 addresses that are equal for different ones (seen in 6.18).
    if v6.is_empty() { Ok(()) } else { list_family(socket, libc::AF_INET6, None, &mut take_asked) }
}

fn list_one_by_one(
    socket: &mut Socket,
    addresses: &[IpAddr],
    take: &mut impl FnMut(Flow),
) -> Result<(), Error> {
    let mut told: Vec<(Side, IpAddr)> = Vec::new();
    for &address in addresses {
        for side in [Side::Initiator, Side::Responder] {
            let mut take_new = |flow: Flow| {
                if !told.iter().any(|(side, address)| side.of(&flow) == *address) {
                    take(flow);
                }
            };
            list_family(socket, libc::AF_INET, Some((side, address)), &mut take_new)?;
            told.push((side, address));
        }
    }
    Ok(())
}

/// One of the two that a flow is between.
#[derive(Clone, Copy, Debug)]
enum Side {
    Initiator,
    Responder,
}

impl Side {
    fn of(self, flow: &Flow) -> IpAddr {
        match self {
            Side::Initiator => flow.initiator(),
            Side::Responder => flow.responder(),
        }
    }
}

fn list_family(
    socket: &mut Socket,
    family: i32,
    only: Option<(Side, IpAddr)>,
    take: &mut impl FnMut(Flow),
) -> Result<(), Error> {
    let prefix = [family.to_le_bytes()[0], 0, 0, 0];
    let request = Request { kind: message::GET, flags: netlink::DUMP, prefix };
    let body = |writer: &mut _| {
        if let Some((side, address)) = only {
            message::write_filter(writer, side, address);
        }
    };
    let take = |datagram: &[u8]| Messages(datagram).filter_map(message::flow).for_each(&mut *take);
    let listed = socket.exchange(request, body, take);
    listed.map(drop).map_err(|failure| error("listing", "tracked flows".to_owned(), failure))
}

fn delete(socket: &mut Socket, flow: &Flow) -> Result<bool, Error> {
    let family = if flow.original.source.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    let prefix = [family.to_le_bytes()[0], 0, 0, 0];
    let request = Request { kind: message::DELETE, flags: netlink::ACK, prefix };
    let body = |writer: &mut _| message::write_identity(writer, flow);
    match socket.exchange(request, body, |_| {}) {
        Ok(_) => Ok(true),
        Err(Failure::Refused(rejection)) if rejection.errno == Errno::ENOENT => Ok(false),
        Err(failure) => Err(error("deleting the flow", flow.original.to_string(), failure)),
    }
}

fn error(operation: &'static str, object: String, failure: Failure) -> Error {
    match failure {
        Failure::Socket(reason) => Error::system(operation, object, reason),
        Failure::Refused(rejection) => {
            let extack = Some(rejection.words).filter(|words| !words.is_empty());
            Error::Refused { operation, object, errno: rejection.errno, extack }
        }
    }
}

/// The flows that a datagram of the kernel tells of, whatever its bytes: for fuzzing.
pub fn decode(datagram: &[u8]) -> impl Iterator<Item = Flow> {
    Messages(datagram).filter_map(message::flow)
}

#[cfg(test)]
mod tests;

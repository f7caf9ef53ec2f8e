//! What changes in a namespace's kernel, whoever changes it.
//!
//! The kernel says nothing of routes that go with a device or its last address: on a notice about a
//! device or an address, read the routes again too.

use crate::Error;
use crate::netns::NetNs;
use crate::rtnetlink::{self, Names, NeighborKey, Rtnetlink};
use kernel::{Mac, Route, RouteKey};
use netlink_packet_core::NetlinkPayload;
use netlink_packet_route::link::LinkMessage;
use netlink_packet_route::neighbour::NeighbourMessage;
use netlink_packet_route::route::RouteMessage;
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use netlink_sys::Socket;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

/// RTNLGRP_LINK, NEIGH, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE of linux/rtnetlink.h.
const GROUPS: [u32; 6] = [1, 3, 5, 7, 9, 11];
/// Bytes read at once.
const BUFFER: usize = 64 * 1024;
/// Notices after which a wait returns though the kernel has more.
const NOTICES_MAX: usize = 4096;

/// Something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// A device has come, changed or gone.
    Link {
        /// Its name.
        name: String,
        /// It is there.
        present: bool,
    },
    /// An address has come or gone.
    Address {
        /// The device's name.
        device: String,
    },
    /// A route has come, changed or gone.
    Route {
        /// Its table, destination and metric.
        key: RouteKey,
        /// Where it leads, or led.
        route: Route,
        /// It is there.
        present: bool,
    },
    /// A permanent neighbour has come or changed, or any neighbour has gone.
    Neighbor {
        /// The device's name.
        device: String,
        /// The neighbour.
        address: IpAddr,
    },
    /// A VXLAN forwarding entry has come, changed or gone.
    Fdb {
        /// The VXLAN device's name.
        device: String,
        /// The inner destination.
        mac: Option<Mac>,
    },
    /// The kernel had more to say than we read in time: read everything again.
    Overrun,
}

/// A subscription to a namespace's changes.
pub struct Monitor {
    socket: Socket,
    names: Names,
    netlink: Rtnetlink,
    ignored: BTreeSet<u32>,
    buffer: Vec<u8>,
}

impl Monitor {
    /// Subscribes to the calling thread's namespace. What changes from now on is noticed.
    ///
    /// # Errors
    /// No netlink, or no file descriptor is left.
    pub fn open() -> Result<Monitor, Error> {
        let (socket, _) = rtnetlink::open_socket()?;
        let failed = |source| Error::system("subscribing to", "changes of the kernel", source);
        for group in GROUPS {
            socket.add_membership(group).map_err(failed)?;
        }
        socket.set_non_blocking(true).map_err(failed)?;
        let mut netlink = Rtnetlink::open()?;
        let names = netlink.names()?;
        let buffer = Vec::with_capacity(BUFFER);
        Ok(Monitor { socket, names, netlink, ignored: BTreeSet::new(), buffer })
    }

    /// Subscribes to another namespace's changes; usable from any thread.
    ///
    /// # Errors
    /// The namespace cannot be entered (not root), or as [`Monitor::open`].
    pub fn open_in(namespace: &NetNs) -> Result<Monitor, Error> {
        namespace.run(Monitor::open)?
    }

    /// Leaves out changes of addresses and routes made by the socket with this
    /// [`port`](Rtnetlink::port). Of links and forwarding entries the kernel doesn't say who made
    /// them.
    pub fn ignore(&mut self, port: u32) {
        self.ignored.insert(port);
    }

    /// Waits until something has changed, or for `timeout` (`None`: for ever), and returns all that
    /// the kernel has to say by then, each thing once; nothing where the time is over.
    ///
    /// # Errors
    /// The socket fails.
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Vec<Notice>, Error> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        loop {
            let notices = self.read()?;
            if !notices.is_empty() {
                return Ok(notices);
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(notices);
            }
            // Rounded up, so that the last millisecond isn't spent in a busy loop.
            let milliseconds = left.map(|left| left.as_millis() + 1);
            let timeout = milliseconds.map_or(PollTimeout::NONE, |milliseconds| {
                PollTimeout::try_from(milliseconds).unwrap_or(PollTimeout::MAX)
            });
            let mut files = [PollFd::new(self.socket.as_fd(), PollFlags::POLLIN)];
            match poll(&mut files, timeout) {
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }

    /// What the kernel has to say now.
    fn read(&mut self) -> Result<Vec<Notice>, Error> {
        let mut notices = Vec::new();
        while notices.len() < NOTICES_MAX {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, 0) {
                Ok(_) => {}
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    Some(libc::EINTR) => continue,
                    Some(libc::ENOBUFS) => {
                        self.names = self.netlink.names()?;
                        push(&mut notices, Notice::Overrun);
                        continue;
                    }
                    _ => return Err(failed(error)),
                },
            }
            for (header, payload) in rtnetlink::messages(&self.buffer) {
                if let NetlinkPayload::InnerMessage(message) = payload
                    && let Some(notice) = notice(&message, &mut self.names)
                    && !(self.ignored.contains(&header.port_number) && is_ignorable(&notice))
                {
                    push(&mut notices, notice);
                }
            }
        }
        Ok(notices)
    }
}

impl AsFd for Monitor {
    /// For `poll`: readable when [`Monitor::wait`] would return at once, or nearly so.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

fn failed(source: std::io::Error) -> Error {
    Error::system("reading", "changes of the kernel", source)
}

/// The last word about a thing stands; repetitions in a row are common.
fn push(notices: &mut Vec<Notice>, notice: Notice) {
    if notices.last() != Some(&notice) {
        notices.push(notice);
    }
}

fn is_ignorable(notice: &Notice) -> bool {
    matches!(notice, Notice::Address { .. } | Notice::Route { .. } | Notice::Neighbor { .. })
}

fn notice(message: &Message, names: &mut Names) -> Option<Notice> {
    match message {
        Message::NewLink(link) => link_notice(link, names, true),
        Message::DelLink(link) => link_notice(link, names, false),
        Message::NewAddress(message) | Message::DelAddress(message) => {
            Some(Notice::Address { device: names.get(&message.header.index)?.clone() })
        }
        Message::NewRoute(message) => route_notice(message, names, true),
        Message::DelRoute(message) => route_notice(message, names, false),
        Message::NewNeighbour(message) => neighbor_notice(message, names, true),
        Message::DelNeighbour(message) => neighbor_notice(message, names, false),
        _ => None,
    }
}

fn link_notice(message: &LinkMessage, names: &mut Names, present: bool) -> Option<Notice> {
    // A bridge speaks of its ports too, leaving them or not: that isn't the device's end.
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let name = rtnetlink::name_of(message)?.to_owned();
    if present {
        names.insert(message.header.index, name.clone());
    } else {
        names.remove(&message.header.index);
    }
    Some(Notice::Link { name, present })
}

fn route_notice(message: &RouteMessage, names: &Names, present: bool) -> Option<Notice> {
    let (key, route) = rtnetlink::decode_route(message, names)?;
    Some(Notice::Route { key, route, present })
}

/// Learned neighbours come and change by the second, and are nobody's business.
fn neighbor_notice(message: &NeighbourMessage, names: &Names, present: bool) -> Option<Notice> {
    let entry = rtnetlink::decode_neighbor(message)?;
    if present && !entry.permanent {
        return None;
    }
    let device = names.get(&entry.index)?.clone();
    Some(match entry.key {
        NeighborKey::Neighbor(address) => Notice::Neighbor { device, address },
        NeighborKey::Fdb(Some(_)) => Notice::Fdb { device, mac: entry.mac },
        NeighborKey::Fdb(None) => return None,
    })
}

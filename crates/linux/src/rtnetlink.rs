//! One socket to the kernel's routing side: ask, change, list.
//!
//! ```text
//!  Rtnetlink ──▶ exchange: requests, acknowledgements, dumps, the kernel's own words on errors
//!      ├─ link      devices
//!      ├─ address   their addresses
//!      ├─ route     routes, and the way to an address
//!      ├─ filter    BPF programs on what comes in by a device
//!      └─ neighbor  ARP and ND entries, VXLAN forwarding
//! ```
//!
//! Devices are named, as in [`kernel::State`]; the kernel's numbers stay inside, and are asked for
//! anew with every request, as a number remembered too long may be another device's.

mod address;
mod exchange;
mod filter;
mod link;
mod neighbor;
mod route;
mod segments;

pub use address::AddressEntry;
pub use link::{LinkEntry, LinkSettings, Peer, Veth};
pub use neighbor::NeighborEntry;
pub use route::Path;
pub use segments::SEGMENTS_MAX;

pub(crate) use exchange::{Request, messages, open_socket};
pub(crate) use link::name_of;
pub(crate) use neighbor::{Key as NeighborKey, decode as decode_neighbor};
pub(crate) use route::decode as decode_route;

use crate::Error;
use crate::netns::NetNs;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_sys::Socket;
use std::collections::{BTreeMap, HashMap};

/// A socket to the kernel's routing side, in one network namespace.
pub struct Rtnetlink {
    socket: Socket,
    port: u32,
    sequence: u32,
    buffer: Vec<u8>,
}

/// Names of devices by the kernel's numbers, as of one moment.
pub(crate) type Names = BTreeMap<u32, String>;

impl Rtnetlink {
    /// A socket in the calling thread's namespace.
    ///
    /// # Errors
    /// The kernel has no netlink, or no file descriptor is left.
    pub fn open() -> Result<Rtnetlink, Error> {
        let (socket, port) = open_socket()?;
        Ok(Rtnetlink { socket, port, sequence: 0, buffer: Vec::with_capacity(exchange::BUFFER) })
    }

    /// A socket in another namespace, usable from any thread.
    ///
    /// # Errors
    /// The namespace cannot be entered (not root), or as [`Rtnetlink::open`].
    pub fn open_in(namespace: &NetNs) -> Result<Rtnetlink, Error> {
        namespace.run(Rtnetlink::open)?
    }

    /// The number by which notices tell this socket's own changes
    /// ([`Monitor::ignore`](crate::monitor::Monitor::ignore)).
    pub fn port(&self) -> u32 {
        self.port
    }

    /// The kernel's number for a device.
    pub(crate) fn index(&mut self, name: &str) -> Result<u32, Error> {
        let mut message = LinkMessage::default();
        message.attributes.push(LinkAttribute::IfName(check_name(name)?.to_owned()));
        link::without_statistics(&mut message);
        let request =
            Request::get(RouteNetlinkMessage::GetLink(message), "link show", name.to_owned());
        match self.ask(request) {
            Ok(answers) => answers
                .into_iter()
                .find_map(|answer| match answer {
                    RouteNetlinkMessage::NewLink(link) => Some(link.header.index),
                    _ => None,
                })
                .ok_or_else(|| Error::NoDevice { name: name.to_owned() }),
            Err(error) if error.is_absent() => Err(Error::NoDevice { name: name.to_owned() }),
            Err(error) => Err(error),
        }
    }
}

/// Device numbers for a series of requests: each name is asked for once.
#[derive(Default)]
pub(crate) struct Indexes(HashMap<String, u32>);

impl Indexes {
    pub(crate) fn get(&mut self, netlink: &mut Rtnetlink, name: &str) -> Result<u32, Error> {
        if let Some(index) = self.0.get(name) {
            return Ok(*index);
        }
        let index = netlink.index(name)?;
        self.0.insert(name.to_owned(), index);
        Ok(index)
    }

    pub(crate) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

/// Refuses what the kernel would refuse or, worse, cut: names of devices have 1 to 15 bytes.
///
/// # Errors
/// [`Error::Invalid`].
pub fn check_name(name: &str) -> Result<&str, Error> {
    let fits = (1..=15).contains(&name.len()) && name != "." && name != "..";
    let clean = name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/' && byte != b':');
    if fits && clean {
        return Ok(name);
    }
    let reason = "not a device name: 1 to 15 visible characters without / and :";
    Err(Error::Invalid { object: format!("device {name:?}"), reason })
}

//! Neighbours (ARP, ND), and where a VXLAN device sends which Ethernet address.

use super::{Names, Request, Rtnetlink};
use crate::Error;
use kernel::Mac;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use std::net::IpAddr;

/// `NUD_PERMANENT`
const PERMANENT: u16 = 0x80;

/// A neighbour that the kernel knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighborEntry {
    /// The device's name.
    pub device: String,
    /// The neighbour.
    pub address: IpAddr,
    /// Its Ethernet address, where known.
    pub mac: Option<Mac>,
    /// Set by somebody, not learned.
    pub permanent: bool,
}

impl Rtnetlink {
    /// All neighbours of all devices.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn neighbors(&mut self) -> Result<Vec<NeighborEntry>, Error> {
        let names = self.names()?;
        self.neighbors_named(&names)
    }

    pub(crate) fn neighbors_named(&mut self, names: &Names) -> Result<Vec<NeighborEntry>, Error> {
        let request = Message::GetNeighbour(NeighbourMessage::default());
        let answers = self.dump(request, "neigh show", "all devices")?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewNeighbour(message) => match decode(&message)? {
                    Entry { index, key: Key::Neighbor(address), mac, permanent } => {
                        let device = names.get(&index)?.clone();
                        Some(NeighborEntry { device, address, mac, permanent })
                    }
                    _ => None,
                },
                _ => None,
            })
            .collect())
    }

    /// A VXLAN device's permanent forwarding entries: inner Ethernet address and the tunnel's end.
    ///
    /// # Errors
    /// The device is missing, or the kernel refuses.
    pub fn fdb(&mut self, device: &str) -> Result<Vec<(Mac, IpAddr)>, Error> {
        let index = self.index(device)?;
        self.fdb_of(device, index)
    }

    pub(crate) fn fdb_of(&mut self, device: &str, index: u32) -> Result<Vec<(Mac, IpAddr)>, Error> {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.attributes.push(NeighbourAttribute::IfIndex(index));
        let answers = self.dump(Message::GetNeighbour(message), "fdb show", device)?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewNeighbour(message) => match decode(&message)? {
                    Entry { index: of, key: Key::Fdb(Some(remote)), mac, permanent: true }
                        if of == index =>
                    {
                        Some((mac?, remote))
                    }
                    _ => None,
                },
                _ => None,
            })
            .collect())
    }

    /// Makes or changes a permanent neighbour.
    ///
    /// # Errors
    /// The device is missing, or the kernel refuses.
    pub fn set_neighbor(&mut self, device: &str, address: IpAddr, mac: Mac) -> Result<(), Error> {
        let index = self.index(device)?;
        self.request(Request::set_neighbor(device, index, address, mac))
    }

    /// Removes a neighbour.
    ///
    /// # Errors
    /// The device is missing or hasn't got it ([`Error::is_absent`]).
    pub fn delete_neighbor(&mut self, device: &str, address: IpAddr) -> Result<(), Error> {
        let index = self.index(device)?;
        self.request(Request::delete_neighbor(device, index, address))
    }

    /// Makes or changes where a VXLAN device sends an inner Ethernet address.
    ///
    /// # Errors
    /// The device is missing or no VXLAN device.
    pub fn set_fdb(&mut self, device: &str, mac: Mac, remote: IpAddr) -> Result<(), Error> {
        let index = self.index(device)?;
        self.request(Request::set_fdb(device, index, mac, remote))
    }

    /// Removes a forwarding entry.
    ///
    /// # Errors
    /// The device is missing or hasn't got it ([`Error::is_absent`]).
    pub fn delete_fdb(&mut self, device: &str, mac: Mac, remote: IpAddr) -> Result<(), Error> {
        let index = self.index(device)?;
        self.request(Request::delete_fdb(device, index, mac, remote))
    }
}

impl Request {
    /// The request that makes or changes a permanent neighbour.
    pub(crate) fn set_neighbor(device: &str, index: u32, address: IpAddr, mac: Mac) -> Request {
        let mut message = neighbor(index, address);
        message.header.state = NeighbourState::Permanent;
        message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
        let object = format!("{address} lladdr {mac} dev {device}");
        Request::replace(Message::NewNeighbour(message), "neigh replace", object)
    }

    /// The request that removes a neighbour.
    pub(crate) fn delete_neighbor(device: &str, index: u32, address: IpAddr) -> Request {
        let object = format!("{address} dev {device}");
        Request::change(Message::DelNeighbour(neighbor(index, address)), "neigh del", object)
    }

    /// The request that makes or changes a forwarding entry.
    pub(crate) fn set_fdb(device: &str, index: u32, mac: Mac, remote: IpAddr) -> Request {
        let object = format!("{mac} dev {device} dst {remote}");
        Request::replace(
            Message::NewNeighbour(forwarding(index, mac, remote)),
            "fdb replace",
            object,
        )
    }

    /// The request that removes a forwarding entry.
    pub(crate) fn delete_fdb(device: &str, index: u32, mac: Mac, remote: IpAddr) -> Request {
        let object = format!("{mac} dev {device} dst {remote}");
        Request::change(Message::DelNeighbour(forwarding(index, mac, remote)), "fdb del", object)
    }
}

fn neighbor(index: u32, address: IpAddr) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.ifindex = index;
    let (family, address) = match address {
        IpAddr::V4(address) => (AddressFamily::Inet, NeighbourAddress::Inet(address)),
        IpAddr::V6(address) => (AddressFamily::Inet6, NeighbourAddress::Inet6(address)),
    };
    message.header.family = family;
    message.attributes.push(NeighbourAttribute::Destination(address));
    message
}

fn forwarding(index: u32, mac: Mac, remote: IpAddr) -> NeighbourMessage {
    let mut message = neighbor(index, remote);
    message.header.family = AddressFamily::Bridge;
    message.header.state = NeighbourState::Permanent;
    message.header.flags = NeighbourFlags::Own;
    message.attributes.push(NeighbourAttribute::LinkLayerAddress(mac.0.to_vec()));
    message
}

/// What a neighbour message is about.
pub(crate) enum Key {
    /// A neighbour's address.
    Neighbor(IpAddr),
    /// A forwarding entry, to a tunnel's end where it is a VXLAN device's.
    Fdb(Option<IpAddr>),
}

/// A neighbour message with the kernel's numbers.
pub(crate) struct Entry {
    pub(crate) index: u32,
    pub(crate) key: Key,
    pub(crate) mac: Option<Mac>,
    pub(crate) permanent: bool,
}

pub(crate) fn decode(message: &NeighbourMessage) -> Option<Entry> {
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(destination) => address = ip(destination),
            NeighbourAttribute::LinkLayerAddress(bytes) => {
                mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            _ => {}
        }
    }
    let key = match message.header.family {
        AddressFamily::Bridge => Key::Fdb(address),
        _ => Key::Neighbor(address?),
    };
    let permanent = u16::from(message.header.state) & PERMANENT != 0;
    Some(Entry { index: message.header.ifindex, key, mac, permanent })
}

fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(address) => Some((*address).into()),
        NeighbourAddress::Inet6(address) => Some((*address).into()),
        NeighbourAddress::Other(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            _ => None,
        },
        _ => None,
    }
}

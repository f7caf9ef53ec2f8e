//! Addresses of devices.

use super::{Names, Request, Rtnetlink};
use crate::Error;
use ipnet::IpNet;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressMessage, AddressScope};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use std::net::IpAddr;

/// An address that a device has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressEntry {
    /// The device's name.
    pub device: String,
    /// With the subnet's prefix length.
    pub address: IpNet,
    /// `ip`'s scope: 0 global, 253 link, 254 host.
    pub scope: u8,
    /// Not the first of its subnet on the device (IPv4), or temporary (IPv6).
    pub secondary: bool,
    /// No longer to be chosen for new connections.
    pub deprecated: bool,
    /// Not usable yet, or never: being checked for duplicates, or found to be one (IPv6).
    pub tentative: bool,
    /// Without an end of its life: not from DHCP or router advertisements.
    pub permanent: bool,
}

impl Rtnetlink {
    /// All addresses of all devices, in the kernel's order.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn addresses(&mut self) -> Result<Vec<AddressEntry>, Error> {
        let names = self.names()?;
        self.addresses_named(&names)
    }

    pub(crate) fn addresses_named(&mut self, names: &Names) -> Result<Vec<AddressEntry>, Error> {
        let request = Message::GetAddress(AddressMessage::default());
        let answers = self.dump(request, "addr show", "all devices")?;
        Ok(answers
            .into_iter()
            .filter_map(|answer| match answer {
                Message::NewAddress(message) => entry(&message, names),
                _ => None,
            })
            .collect())
    }

    /// Gives a device an address; succeeds where it has it already.
    ///
    /// # Errors
    /// The device is missing, or the kernel refuses the address.
    pub fn add_address(&mut self, device: &str, address: IpNet) -> Result<(), Error> {
        let index = self.index(device)?;
        self.request(Request::add_address(device, index, address))
    }

    /// Takes an address away.
    ///
    /// # Errors
    /// The device is missing or hasn't got the address ([`Error::is_absent`]).
    pub fn delete_address(&mut self, device: &str, address: IpNet) -> Result<(), Error> {
        let index = self.index(device)?;
        self.request(Request::delete_address(device, index, address))
    }
}

impl Request {
    /// The request that gives a device an address.
    pub(crate) fn add_address(device: &str, index: u32, address: IpNet) -> Request {
        let object = format!("{address} dev {device}");
        Request::replace(Message::NewAddress(message(index, address)), "addr add", object)
    }

    /// The request that takes it away.
    pub(crate) fn delete_address(device: &str, index: u32, address: IpNet) -> Request {
        let object = format!("{address} dev {device}");
        Request::change(Message::DelAddress(message(index, address)), "addr del", object)
    }
}

fn message(index: u32, net: IpNet) -> AddressMessage {
    let mut message = AddressMessage::default();
    message.header.index = index;
    message.header.prefix_len = net.prefix_len();
    message.header.scope =
        if net.addr().is_loopback() { AddressScope::Host } else { AddressScope::Universe };
    message.attributes.push(AddressAttribute::Address(net.addr()));
    match net {
        IpNet::V4(_) => {
            message.header.family = AddressFamily::Inet;
            message.attributes.push(AddressAttribute::Local(net.addr()));
        }
        IpNet::V6(_) => {
            // Ours come from an allocator that gives none twice: usable at once, without the second
            // that looking for duplicates takes.
            message.header.family = AddressFamily::Inet6;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    message
}

fn entry(message: &AddressMessage, names: &Names) -> Option<AddressEntry> {
    let mut local = None;
    let mut address = None;
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(own) => local = Some(*own),
            AddressAttribute::Address(other) => address = Some(*other),
            AddressAttribute::Flags(all) => flags = *all,
            _ => {}
        }
    }
    // On a point-to-point device `Address` is the other end's.
    let own: IpAddr = local.or(address)?;
    Some(AddressEntry {
        device: names.get(&message.header.index)?.clone(),
        address: IpNet::new(own, message.header.prefix_len).ok()?,
        scope: message.header.scope.into(),
        secondary: flags.contains(AddressFlags::Secondary),
        deprecated: flags.contains(AddressFlags::Deprecated),
        tentative: flags.intersects(AddressFlags::Tentative | AddressFlags::Dadfailed),
        permanent: flags.contains(AddressFlags::Permanent),
    })
}

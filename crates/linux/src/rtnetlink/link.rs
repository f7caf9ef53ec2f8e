//! Devices.

use super::{Names, Request, Rtnetlink, check_name};
use crate::Error;
use crate::netns::NetNs;
use kernel::{Link, LinkKind, Mac};
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{
    InfoData, InfoIpTunnel, InfoKind, InfoVeth, InfoVxlan, LinkAttribute, LinkExtentMask,
    LinkFlags, LinkInfo, LinkMessage,
};
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// A device that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEntry {
    /// The kernel's number; never given to another device of the namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Kind, MTU, MAC, up or down.
    pub link: Link,
    /// The number of the bridge or bond that it belongs to.
    pub master: Option<u32>,
    /// Packets can pass: up, and with a carrier.
    pub running: bool,
    /// It is `lo`.
    pub loopback: bool,
}

/// A pair of virtual Ethernet devices to make.
#[derive(Debug)]
pub struct Veth<'a> {
    /// This end's name.
    pub name: &'a str,
    /// Bytes of the largest packet, at both ends.
    pub mtu: u32,
    /// This end's Ethernet address; random where `None`.
    pub mac: Option<Mac>,
    /// The other end.
    pub peer: Peer<'a>,
}

/// The other end of a [`Veth`].
#[derive(Debug)]
pub struct Peer<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its Ethernet address; random where `None`.
    pub mac: Option<Mac>,
    /// Where it is born; the same namespace where `None`.
    pub namespace: Option<&'a NetNs>,
}

/// What to change of a device; `None` stays as it is.
#[derive(Debug, Default)]
pub struct LinkSettings<'a> {
    /// A new name; needs the device down on older kernels.
    pub rename: Option<&'a str>,
    /// Bytes of the largest packet.
    pub mtu: Option<u32>,
    /// Its Ethernet address.
    pub mac: Option<Mac>,
    /// The bridge that it joins.
    pub master: Option<&'a str>,
    /// The namespace that it moves to.
    pub namespace: Option<BorrowedFd<'a>>,
    /// Administratively up.
    pub up: Option<bool>,
}

impl Rtnetlink {
    /// All devices, by number.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn links(&mut self) -> Result<Vec<LinkEntry>, Error> {
        let mut message = LinkMessage::default();
        without_statistics(&mut message);
        let answers = self.dump(Message::GetLink(message), "link show", "all devices")?;
        let links: Vec<_> = answers.into_iter().filter_map(as_link).collect();
        let names = links
            .iter()
            .filter_map(|link| Some((link.header.index, name_of(link)?.to_owned())))
            .collect();
        Ok(links.iter().filter_map(|link| entry(link, &names)).collect())
    }

    /// One device, or `None` where there is none of that name.
    ///
    /// # Errors
    /// The kernel refuses, or no device can have that name.
    pub fn link(&mut self, name: &str) -> Result<Option<LinkEntry>, Error> {
        let mut message = named(name)?;
        without_statistics(&mut message);
        let request = Request::get(Message::GetLink(message), "link show", name.to_owned());
        let answers = match self.ask(request) {
            Err(error) if error.is_absent() => return Ok(None),
            answers => answers?,
        };
        let Some(link) = answers.into_iter().find_map(as_link) else { return Ok(None) };
        // A VXLAN device's parent is known by number only.
        let names = if is_vxlan(&link) { self.names()? } else { Names::new() };
        Ok(entry(&link, &names))
    }

    /// Names of all devices by number.
    pub(crate) fn names(&mut self) -> Result<Names, Error> {
        Ok(self.links()?.into_iter().map(|entry| (entry.index, entry.name)).collect())
    }

    /// Makes a pair of virtual Ethernet devices, both down.
    ///
    /// # Errors
    /// A name is taken or impossible, or the kernel has no `veth`.
    pub fn create_veth(&mut self, veth: &Veth<'_>) -> Result<(), Error> {
        let mut peer = named(veth.peer.name)?;
        peer.attributes.push(LinkAttribute::Mtu(veth.mtu));
        set_mac(&mut peer, veth.peer.mac);
        if let Some(namespace) = veth.peer.namespace {
            peer.attributes.push(LinkAttribute::NetNsFd(namespace.as_fd().as_raw_fd()));
        }
        let mut message = named(veth.name)?;
        message.attributes.push(LinkAttribute::Mtu(veth.mtu));
        set_mac(&mut message, veth.mac);
        message.attributes.push(LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]));
        let object = format!("{} type veth peer name {}", veth.name, veth.peer.name);
        self.request(Request::create(Message::NewLink(message), "link add", object))
    }

    /// Makes a bridge, down.
    ///
    /// # Errors
    /// The name is taken or impossible, or the kernel has no `bridge`.
    pub fn create_bridge(&mut self, name: &str, mtu: u32) -> Result<(), Error> {
        let kind = LinkKind::Other("bridge".to_owned());
        self.create_link(name, &Link { kind, mtu, mac: None, up: false })
    }

    /// Makes a device of a kind that needs nothing else, or a VXLAN device without learning.
    ///
    /// # Errors
    /// The name is taken or impossible, a VXLAN device's parent is missing, or the kernel lacks the
    /// kind.
    pub fn create_link(&mut self, name: &str, link: &Link) -> Result<(), Error> {
        let parent = match &link.kind {
            LinkKind::Vxlan { parent, .. } => Some(self.index(parent)?),
            _ => None,
        };
        self.request(Request::create_link(name, link, parent)?)
    }

    /// Removes a device, and with it all that belongs to it; a veth's other end too.
    ///
    /// # Errors
    /// There is none ([`Error::is_absent`]), or it is of a kind that cannot be removed.
    pub fn delete_link(&mut self, name: &str) -> Result<(), Error> {
        self.request(Request::delete_link(name)?)
    }

    /// Changes a device.
    ///
    /// # Errors
    /// The device or its new master is missing, or the kernel refuses a value.
    pub fn set_link(&mut self, name: &str, settings: &LinkSettings<'_>) -> Result<(), Error> {
        let index = self.index(name)?;
        let master = settings.master.map(|master| self.index(master)).transpose()?;
        settings.rename.map_or(Ok(""), check_name)?;
        self.request(settings.request(name, index, master))
    }

    /// Makes a device take every neighbour as known.
    pub(crate) fn set_no_arp(&mut self, name: &str) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(name)?;
        message.header.change_mask = LinkFlags::Noarp;
        message.header.flags = LinkFlags::Noarp;
        let object = format!("{name} arp off");
        self.request(Request::change(Message::SetLink(message), "link set", object))
    }
}

impl LinkSettings<'_> {
    fn request(&self, name: &str, index: u32, master: Option<u32>) -> Request {
        let mut message = LinkMessage::default();
        message.header.index = index;
        let attributes = &mut message.attributes;
        attributes.extend(self.rename.map(|name| LinkAttribute::IfName(name.to_owned())));
        attributes.extend(self.mtu.map(LinkAttribute::Mtu));
        attributes.extend(master.map(LinkAttribute::Controller));
        attributes.extend(self.namespace.map(|file| LinkAttribute::NetNsFd(file.as_raw_fd())));
        set_mac(&mut message, self.mac);
        set_up(&mut message, self.up);
        Request::change(Message::SetLink(message), "link set", describe(name, self))
    }
}

impl Request {
    /// The request that makes a device; `parent` is the number of a VXLAN device's.
    pub(crate) fn create_link(
        name: &str,
        link: &Link,
        parent: Option<u32>,
    ) -> Result<Request, Error> {
        let mut message = named(name)?;
        message.attributes.push(LinkAttribute::Mtu(link.mtu));
        set_mac(&mut message, link.mac);
        set_up(&mut message, Some(link.up));
        let info = match &link.kind {
            LinkKind::Vxlan { vni, port, local, .. } => {
                let mut data = vec![InfoVxlan::Id(*vni), InfoVxlan::Port(*port)];
                data.extend(parent.map(InfoVxlan::Link));
                data.push(InfoVxlan::Learning(false));
                match local {
                    IpAddr::V4(local) => data.push(InfoVxlan::Local(*local)),
                    IpAddr::V6(local) => data.push(InfoVxlan::Local6(*local)),
                }
                // The inner packet has its own checksums; the outer one SHOULD be zero (RFC 7348,
                // 5).
                data.push(InfoVxlan::UDPCsum(false));
                vec![LinkInfo::Kind(InfoKind::Vxlan), LinkInfo::Data(InfoData::Vxlan(data))]
            }
            LinkKind::Ipip => vec![LinkInfo::Kind(InfoKind::IpIp)],
            LinkKind::IpipBpf { .. } => {
                let object = format!("link {name}");
                let reason = "a device by BPF is made in several steps, by a list of changes";
                return Err(Error::Invalid { object, reason });
            }
            LinkKind::Other(kind) => vec![LinkInfo::Kind(InfoKind::Other(kind.clone()))],
        };
        message.attributes.push(LinkAttribute::LinkInfo(info));
        Ok(Request::create(Message::NewLink(message), "link add", format!("{name} {link}")))
    }

    /// The request that changes a device.
    pub(crate) fn update_link(
        name: &str,
        index: u32,
        mtu: Option<u32>,
        mac: Option<Mac>,
        up: Option<bool>,
    ) -> Request {
        let settings = LinkSettings { mtu, mac, up, ..LinkSettings::default() };
        settings.request(name, index, None)
    }

    /// The request that removes a device.
    pub(crate) fn delete_link(name: &str) -> Result<Request, Error> {
        Ok(Request::change(Message::DelLink(named(name)?), "link del", name.to_owned()))
    }
}

/// Leaves out counters, which nobody here reads and which fill most of a list.
pub(super) fn without_statistics(message: &mut LinkMessage) {
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
}

fn named(name: &str) -> Result<LinkMessage, Error> {
    let mut message = LinkMessage::default();
    message.attributes.push(LinkAttribute::IfName(check_name(name)?.to_owned()));
    Ok(message)
}

fn set_mac(message: &mut LinkMessage, mac: Option<Mac>) {
    message.attributes.extend(mac.map(|mac| LinkAttribute::Address(mac.0.to_vec())));
}

fn set_up(message: &mut LinkMessage, up: Option<bool>) {
    if let Some(up) = up {
        message.header.change_mask = LinkFlags::Up;
        message.header.flags = if up { LinkFlags::Up } else { LinkFlags::empty() };
    }
}

fn describe(name: &str, settings: &LinkSettings<'_>) -> String {
    let LinkSettings { rename, mtu, mac, master, namespace, up } = settings;
    let mut words = vec![name.to_owned()];
    words.extend(rename.map(|rename| format!("name {rename}")));
    words.extend(mtu.map(|mtu| format!("mtu {mtu}")));
    words.extend(mac.map(|mac| format!("address {mac}")));
    words.extend(master.map(|master| format!("master {master}")));
    words.extend(namespace.map(|_| "netns".to_owned()));
    words.extend(up.map(|up| if up { "up" } else { "down" }.to_owned()));
    words.join(" ")
}

fn as_link(message: Message) -> Option<LinkMessage> {
    match message {
        Message::NewLink(link) => Some(link),
        _ => None,
    }
}

fn is_vxlan(message: &LinkMessage) -> bool {
    message.attributes.iter().any(|attribute| match attribute {
        LinkAttribute::LinkInfo(info) => info.contains(&LinkInfo::Kind(InfoKind::Vxlan)),
        _ => false,
    })
}

/// A device's name, as a message says it.
pub(crate) fn name_of(message: &LinkMessage) -> Option<&str> {
    message.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.as_str()),
        _ => None,
    })
}

fn entry(message: &LinkMessage, names: &Names) -> Option<LinkEntry> {
    let header = &message.header;
    let mut entry = LinkEntry {
        index: header.index,
        name: name_of(message)?.to_owned(),
        link: Link {
            kind: LinkKind::Other(String::new()),
            mtu: 0,
            mac: None,
            up: header.flags.contains(LinkFlags::Up),
        },
        master: None,
        running: header.flags.contains(LinkFlags::Up | LinkFlags::LowerUp),
        loopback: header.flags.contains(LinkFlags::Loopback),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::Mtu(mtu) => entry.link.mtu = *mtu,
            LinkAttribute::Address(bytes) => {
                entry.link.mac = bytes.as_slice().try_into().ok().map(Mac);
            }
            LinkAttribute::Controller(index) => entry.master = Some(*index),
            LinkAttribute::LinkInfo(info) => entry.link.kind = kind(info, names),
            _ => {}
        }
    }
    Some(entry)
}

/// A VXLAN device that isn't of the one form we make (without learning, with parent and source
/// address) is of another kind, and so is an IP-in-IP device with a fixed end.
fn kind(info: &[LinkInfo], names: &Names) -> LinkKind {
    let mut name = String::new();
    let mut any_end = false;
    let (mut vni, mut port, mut local, mut parent, mut learning) = (None, None, None, None, false);
    for item in info {
        match item {
            LinkInfo::Kind(kind) => {
                name = kind.to_string();
                any_end = *kind == InfoKind::IpIp;
            }
            LinkInfo::Data(InfoData::IpTunnel(data)) => {
                any_end &= !data.iter().any(|attribute| match attribute {
                    InfoIpTunnel::Local(end) | InfoIpTunnel::Remote(end) => !end.is_unspecified(),
                    _ => false,
                });
            }
            LinkInfo::Data(InfoData::Vxlan(data)) => {
                for attribute in data {
                    match attribute {
                        InfoVxlan::Id(id) => vni = Some(*id),
                        InfoVxlan::Port(number) => port = Some(*number),
                        InfoVxlan::Local(address) => local = Some(IpAddr::V4(*address)),
                        InfoVxlan::Local6(address) => local = Some(IpAddr::V6(*address)),
                        InfoVxlan::Link(index) => parent = names.get(index).cloned(),
                        InfoVxlan::Learning(on) => learning = *on,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
    }
    match (vni, port, local, parent) {
        (Some(vni), Some(port), Some(local), Some(parent)) if !learning => {
            LinkKind::Vxlan { vni, port, local, parent }
        }
        _ if any_end => LinkKind::Ipip,
        _ => LinkKind::Other(name),
    }
}

//! IP-in-IP devices: whether the kernel has its own, and the one by BPF.
//!
//! ```text
//!  tunl0 ══veth══ tunl0p ◀─ encap            ens5 ◀─ decap ──▶ tunl0p ══▶ tunl0
//!                             └──── sources: a BPF map ────┘
//! ```
//!
//! All of it is in the kernel, and read from there: the filters' names say of which build the
//! programs are and what was written into them. So an agent that is killed interrupts nothing, and
//! one that starts changes nothing that is right. A network namespace has one such device.

mod program;

use crate::bpf::Set;
use crate::netns::NetNs;
use crate::rtnetlink::{LinkEntry, LinkSettings, Peer, Rtnetlink, Veth};
use crate::{Error, sysctl};
use kernel::{Link, LinkKind, Mac, State};
use nix::errno::Errno;
use program::{Constants, Direction, VERSION};
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// Outer source addresses a device takes at most: more nodes than any cluster has.
const SOURCES_MAX: u32 = 65_536;
/// `to_tunnel` of bpf/ipip.c writes the same.
const MAC: Mac = Mac([0x02, b'c', b'a', b'l', b'i', b'p']);
/// The hidden end takes what the visible one sends, whatever its MTU is.
const PEER_MTU: u32 = 65_535;

/// Whether this kernel has IP-in-IP devices of its own; loads their module, where it is one.
///
/// # Errors
/// Not root, or no network namespace can be made to try it in.
pub fn has_ipip() -> Result<bool, Error> {
    let namespace = NetNs::create()?;
    let mut netlink = Rtnetlink::open_in(&namespace)?;
    let link = Link { kind: LinkKind::Ipip, mtu: 1480, mac: None, up: false };
    match netlink.create_link("calico-probe", &link) {
        Ok(()) => Ok(true),
        // Each namespace is born with a tunl0, which is the same tunnel.
        Err(error) if error.is_present() => Ok(true),
        Err(error) if error.errno() == Some(Errno::EOPNOTSUPP) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The other end's name. Longer names than 14 bytes are refused with it.
fn peer_of(name: &str) -> String {
    format!("{name}p")
}

/// What a filter's name says, as `calico/encap/811c9dc5/10.30.0.206/7/6/31`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Attachment {
    version: String,
    local: Ipv4Addr,
    tunnel: u32,
    peer: u32,
    /// Number of the map of sources.
    sources: u32,
}

impl Attachment {
    fn name(&self, direction: Direction) -> String {
        let Attachment { version, local, tunnel, peer, sources } = self;
        format!("calico/{}/{version}/{local}/{tunnel}/{peer}/{sources}", direction.name())
    }

    fn parse(name: &str, direction: Direction) -> Option<Attachment> {
        let rest = name.strip_prefix("calico/")?.strip_prefix(direction.name())?;
        let mut parts = rest.strip_prefix('/')?.split('/');
        let mut next = || parts.next();
        let attachment = Attachment {
            version: next()?.to_owned(),
            local: next()?.parse().ok()?,
            tunnel: next()?.parse().ok()?,
            peer: next()?.parse().ok()?,
            sources: next()?.parse().ok()?,
        };
        next().is_none().then_some(attachment)
    }
}

impl Rtnetlink {
    /// Makes the device by BPF, with its address and sources still missing. The calling thread must
    /// be in the socket's namespace.
    pub(crate) fn create_ipip(
        &mut self,
        name: &str,
        link: &Link,
        local: Ipv4Addr,
        uplinks: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let peer = peer_of(name);
        let other = Peer { name: &peer, mac: None, namespace: None };
        self.create_veth(&Veth { name, mtu: link.mtu, mac: Some(MAC), peer: other })?;
        let done = self.finish_ipip(name, link, local, uplinks);
        if done.is_err() {
            // Half a device is none; that it cannot be made is told by `done`.
            let _removed = self.delete_ipip(name);
        }
        done
    }

    fn finish_ipip(
        &mut self,
        name: &str,
        link: &Link,
        local: Ipv4Addr,
        uplinks: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let peer = peer_of(name);
        for device in [name, &peer] {
            // Or else both say hello to nobody, from addresses that the kernel's device has not.
            let ipv6 = format!("net/ipv6/conf/{device}/disable_ipv6");
            if sysctl::exists(&ipv6) {
                sysctl::write(&ipv6, "1")?;
            }
            self.set_no_arp(device)?;
        }
        let up = LinkSettings { mtu: Some(PEER_MTU), up: Some(true), ..LinkSettings::default() };
        self.set_link(&peer, &up)?;
        self.update_ipip(name, local, uplinks)?;
        self.set_link(name, &LinkSettings { up: Some(link.up), ..LinkSettings::default() })
    }

    /// Sets the device's outer address and uplinks, with programs of this build. Packets pass all
    /// the time.
    pub(crate) fn update_ipip(
        &mut self,
        name: &str,
        local: Ipv4Addr,
        uplinks: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let (tunnel, peer) = (self.index(name)?, self.index(&peer_of(name))?);
        let sources = Set::create("calico_sources", SOURCES_MAX)?;
        for source in self.filter(peer)?.map(|name| sources_of(&name)).unwrap_or_default() {
            sources.insert(source.octets())?;
        }
        let constants = Constants { local, tunnel, peer };
        let version = VERSION.to_owned();
        let attachment = Attachment { version, local, tunnel, peer, sources: sources.id()? };
        let decap = Direction::Decap.load(&constants, &sources)?;
        let mut wanted = BTreeSet::new();
        for uplink in uplinks {
            let index = self.index(uplink)?;
            wanted.insert(index);
            self.set_filter(index, &attachment.name(Direction::Decap), decap.number())?;
        }
        self.detach_ipip(&wanted)?;
        // Last, as whoever reads takes this one for the whole.
        let encap = Direction::Encap.load(&constants, &sources)?;
        self.set_filter(peer, &attachment.name(Direction::Encap), encap.number())
    }

    /// Takes `decap` off all devices but some.
    fn detach_ipip(&mut self, but: &BTreeSet<u32>) -> Result<(), Error> {
        for index in self.filtered_devices()? {
            let name = if but.contains(&index) { None } else { self.filter(index)? };
            if name.is_some_and(|name| Attachment::parse(&name, Direction::Decap).is_some()) {
                self.delete_filter(index)?;
            }
        }
        Ok(())
    }

    /// Removes the device with all that belongs to it.
    pub(crate) fn delete_ipip(&mut self, name: &str) -> Result<(), Error> {
        self.detach_ipip(&BTreeSet::new())?;
        self.delete_link(name)
    }

    /// Whether a device is one by BPF, or what is left of one.
    pub(crate) fn is_ipip(&mut self, name: &str) -> Result<bool, Error> {
        let Ok(peer) = self.index(&peer_of(name)) else { return Ok(false) };
        let filter = self.filter(peer)?;
        Ok(filter.is_some_and(|name| Attachment::parse(&name, Direction::Encap).is_some()))
    }

    /// The sources of a device by BPF.
    pub(crate) fn ipip_sources(&mut self, name: &str) -> Result<Sources, Error> {
        let peer = self.index(&peer_of(name))?;
        let attachment = self
            .filter(peer)?
            .and_then(|name| Attachment::parse(&name, Direction::Encap))
            .ok_or_else(|| Error::NoDevice { name: name.to_owned() })?;
        Ok(Sources(Set::open(attachment.sources)?))
    }
}

/// The outer source addresses that a device takes packets from.
#[derive(Debug)]
pub(crate) struct Sources(Set);

impl Sources {
    pub(crate) fn add(&self, source: Ipv4Addr) -> Result<(), Error> {
        self.0.insert(source.octets())
    }

    pub(crate) fn remove(&self, source: Ipv4Addr) -> Result<(), Error> {
        self.0.remove(source.octets())
    }
}

/// The sources of a filter's map; none where the map is not what we know.
fn sources_of(filter: &str) -> BTreeSet<Ipv4Addr> {
    let Some(attachment) = Attachment::parse(filter, Direction::Encap) else {
        return BTreeSet::new();
    };
    let elements = Set::open(attachment.sources).and_then(|set| set.elements());
    elements.unwrap_or_default().into_iter().map(Ipv4Addr::from).collect()
}

/// Finds devices by BPF among those listed and puts them into the state as what they are, without
/// their hidden ends. One that isn't wholly as this build makes it has no outer address
/// (0.0.0.0): it wants to be updated.
pub(crate) fn read(
    netlink: &mut Rtnetlink,
    links: &[LinkEntry],
    state: &mut State,
) -> Result<(), Error> {
    let veths = links.iter().filter(|entry| entry.link.kind == LinkKind::Other("veth".to_owned()));
    let veths: BTreeMap<&str, u32> =
        veths.map(|entry| (entry.name.as_str(), entry.index)).collect();
    for (name, tunnel) in &veths {
        let peer_name = peer_of(name);
        let Some(peer) = veths.get(peer_name.as_str()) else { continue };
        let Some(filter) = netlink.filter(*peer)? else { continue };
        let Some(attachment) = Attachment::parse(&filter, Direction::Encap) else { continue };
        let mut right = attachment.version == VERSION
            && (attachment.tunnel, attachment.peer) == (*tunnel, *peer)
            && Set::open(attachment.sources).is_ok();
        let mut uplinks = BTreeSet::new();
        for index in netlink.filtered_devices()? {
            let Some(filter) = netlink.filter(index)? else { continue };
            if Attachment::parse(&filter, Direction::Decap).is_some() {
                right &= filter == attachment.name(Direction::Decap);
                let device = links.iter().find(|entry| entry.index == index);
                uplinks.extend(device.map(|entry| entry.name.clone()));
            }
        }
        let local = if right { attachment.local } else { Ipv4Addr::UNSPECIFIED };
        state.links.remove(&peer_name);
        if let Some(link) = state.links.get_mut(*name) {
            link.kind = LinkKind::IpipBpf { local, uplinks };
            state.decapsulated.insert((*name).to_owned(), sources_of(&filter));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Attachment, Direction};
    use std::net::Ipv4Addr;

    #[test]
    fn a_filters_name_says_all() {
        let attachment = Attachment {
            version: "811c9dc5".to_owned(),
            local: Ipv4Addr::new(10, 30, 0, 206),
            tunnel: 7,
            peer: 6,
            sources: 31,
        };
        let name = attachment.name(Direction::Encap);
        assert_eq!(name, "calico/encap/811c9dc5/10.30.0.206/7/6/31");
        assert_eq!(Attachment::parse(&name, Direction::Encap), Some(attachment));
        for other in ["calico/decap/811c9dc5/10.30.0.206/7/6/31", "cali", "calico/encap/1/2/3/4/5"]
        {
            assert_eq!(Attachment::parse(other, Direction::Encap), None, "{other}");
        }
        assert_eq!(Attachment::parse(&format!("{name}/8"), Direction::Encap), None);
    }
}

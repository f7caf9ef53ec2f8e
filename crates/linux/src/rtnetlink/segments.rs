//! How much TCP may hand to a device in one piece.

use super::Request;
use super::Rtnetlink;
use crate::Error;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::link::{LinkAttribute, LinkMessage};

impl Rtnetlink {
    /// Sets how many segments of the path's size a packet may have when it is handed to a device
    /// (`gso_max_segs`). With 1 the kernel cuts every packet into segments before the device sees
    /// it, whatever the device can do itself; [`SEGMENTS_MAX`] is the kernel's own setting.
    ///
    /// # Errors
    /// There is no such device.
    pub fn set_segments_max(&mut self, name: &str, segments: u32) -> Result<(), Error> {
        let mut message = LinkMessage::default();
        message.header.index = self.index(name)?;
        message.attributes.push(LinkAttribute::GsoMaxSegs(segments));
        let object = format!("{name} gso_max_segs {segments}");
        self.request(Request::change(Message::SetLink(message), "link set", object))
    }
}

/// `GSO_MAX_SEGS`: what devices begin with.
pub const SEGMENTS_MAX: u32 = 65_535;

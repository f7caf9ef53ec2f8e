//! Netfilter's netlink: what nf_tables, connection tracking and NFLOG have in common.
//!
//! ```text
//!  Socket    requests with their answers, one datagram at a time; multicasts
//!  Writer    messages and attributes into one buffer
//!  Messages  ▶ Message ▶ Attributes: out of a datagram, whatever its bytes
//! ```
//!
//! Must not know: what the attributes of a subsystem mean.

mod message;
mod socket;

pub(crate) use message::{Attributes, Message, Messages, Writer};
pub(crate) use socket::{Failure, Rejection, Request, Socket, rejection};

/// `NLM_F_*` and `NLMSG_*` (`linux/netlink.h`).
pub(crate) mod netlink {
    pub(crate) const REQUEST: u16 = 0x1;
    pub(crate) const ACK: u16 = 0x4;
    pub(crate) const DUMP_INTR: u16 = 0x10;
    pub(crate) const ACK_CAPPED: u16 = 0x100;
    pub(crate) const ACK_TLVS: u16 = 0x200;
    pub(crate) const DUMP: u16 = 0x300;
    pub(crate) const EXCL: u16 = 0x200;
    pub(crate) const CREATE: u16 = 0x400;
    pub(crate) const APPEND: u16 = 0x800;
    pub(crate) const ERROR: u16 = 2;
    pub(crate) const DONE: u16 = 3;
    pub(crate) const ERROR_ATTRIBUTE_MESSAGE: u16 = 1;
}

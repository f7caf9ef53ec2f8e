//! Netlink messages of nf_tables: families, kinds, marks of transactions.

use super::numbers::{BATCH_GENERATION, SUBSYSTEM};
use kernel::nft::Family;

pub(super) use crate::nfnetlink::{Attributes, Message, Messages, Writer};

/// `AF_INET`, `AF_INET6` or `NFPROTO_NETDEV`.
pub(super) fn family_number(family: Family) -> u8 {
    match family {
        Family::Ip => 2,
        Family::Ip6 => 10,
        Family::Netdev => 5,
    }
}

/// The family of a number; other families (inet, bridge …) are never ours.
pub(super) fn family_of(number: u8) -> Option<Family> {
    match number {
        2 => Some(Family::Ip),
        10 => Some(Family::Ip6),
        5 => Some(Family::Netdev),
        _ => None,
    }
}

impl Writer {
    /// Writes one message of nf_tables; `body` writes its attributes.
    pub(super) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        family: Option<Family>,
        body: impl FnOnce(&mut Writer),
    ) {
        let prefix = [family.map_or(0, family_number), 0, 0, 0];
        self.raw_message(SUBSYSTEM << 8 | kind, flags, sequence, prefix, body);
    }

    /// Writes `NFNL_MSG_BATCH_BEGIN` or `_END`, whose `nfgenmsg` names the subsystem. With a
    /// generation, the kernel takes the batch only if that is still the ruleset's.
    pub(super) fn batch_mark(&mut self, kind: u16, sequence: u32, generation: Option<u32>) {
        let [high, low] = SUBSYSTEM.to_be_bytes();
        self.raw_message(kind, 0, sequence, [0, 0, high, low], |writer| {
            generation.into_iter().for_each(|id| writer.number(BATCH_GENERATION, id));
        });
    }
}

impl Message<'_> {
    /// nf_tables' message number, if it is one of its messages.
    pub(super) fn nft_kind(&self) -> Option<u16> {
        (self.kind >> 8 == SUBSYSTEM).then_some(self.kind & 0xff)
    }
}

//! Netlink messages and attributes: a writer into one buffer, a reader that never panics.

use super::netlink;

/// Bytes of `nlmsghdr`.
pub(crate) const HEADER_BYTES: usize = 16;
/// Bytes of `nlmsghdr` and `nfgenmsg`.
const PREFIX_BYTES: usize = HEADER_BYTES + 4;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;
const TYPE_MASK: u16 = 0x3fff;

/// Messages one after another.
#[derive(Default)]
pub(crate) struct Writer {
    /// What is written so far.
    pub(crate) bytes: Vec<u8>,
}

impl Writer {
    /// Writes one message: its type, with the subsystem in the upper byte; its `nfgenmsg`
    /// (family, version, resource); `body` writes its attributes.
    pub(crate) fn raw_message(
        &mut self,
        kind: u16,
        flags: u16,
        sequence: u32,
        prefix: [u8; 4],
        body: impl FnOnce(&mut Writer),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | netlink::REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&prefix);
        body(self);
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// Writes an attribute with these bytes.
    pub(crate) fn put(&mut self, kind: u16, value: &[u8]) {
        self.within(kind, |writer| writer.bytes.extend_from_slice(value));
    }

    /// Writes a text with its NUL.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.within(kind, |writer| {
            writer.bytes.extend_from_slice(value.as_bytes());
            writer.bytes.push(0);
        });
    }

    /// Writes a number in network order, as netfilter has nearly all of its own.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.put(kind, &value.to_be_bytes());
    }

    /// Writes a nested attribute.
    pub(crate) fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        self.within(kind | NESTED, body);
    }

    fn within(&mut self, kind: u16, body: impl FnOnce(&mut Writer)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self);
        // Lists that could grow beyond 64 KiB are cut into messages by who writes them.
        let length = u16::try_from(self.bytes.len() - start).unwrap_or(u16::MAX);
        self.bytes[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// One message read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    /// `nlmsg_type`.
    pub(crate) kind: u16,
    /// `nlmsg_flags`.
    pub(crate) flags: u16,
    /// `nlmsg_seq`.
    pub(crate) sequence: u32,
    /// `nlmsg_pid`: the port of who caused it.
    pub(crate) port: u32,
    /// What follows the header.
    pub(crate) body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The family number in its `nfgenmsg`.
    pub(crate) fn family(&self) -> u8 {
        self.body.first().copied().unwrap_or(0)
    }

    /// Its attributes.
    pub(crate) fn attributes(&self) -> Attributes<'a> {
        Attributes(self.body.get(PREFIX_BYTES - HEADER_BYTES..).unwrap_or_default())
    }
}

/// Messages of one datagram.
pub(crate) struct Messages<'a>(pub(crate) &'a [u8]);

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        let header = self.0.get(..HEADER_BYTES)?;
        let word = |at: usize| u32::from_ne_bytes(array(&header[at..at + 4]));
        let half = |at: usize| u16::from_ne_bytes(array(&header[at..at + 2]));
        let length = usize::try_from(word(0)).ok()?;
        let body = self.0.get(HEADER_BYTES..length)?;
        let (kind, flags, sequence, port) = (half(4), half(6), word(8), word(12));
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(Message { kind, flags, sequence, port, body })
    }
}

/// Attributes one after another: (type, value).
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a [u8]);

impl<'a> Attributes<'a> {
    /// The first attribute of this type.
    pub(crate) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.into_iter().find(|(found, _)| *found == kind).map(|(_, value)| value)
    }

    /// A nested attribute, empty if absent.
    pub(crate) fn nested(self, kind: u16) -> Attributes<'a> {
        Attributes(self.get(kind).unwrap_or_default())
    }

    /// These attributes, if there are none but of these types.
    pub(crate) fn only(self, known: &[u16]) -> Option<Attributes<'a>> {
        self.into_iter().all(|(kind, _)| known.contains(&kind)).then_some(self)
    }

    /// A number in network order.
    pub(crate) fn number(self, kind: u16) -> Option<u32> {
        self.get(kind)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A text without its NUL.
    pub(crate) fn text(self, kind: u16) -> Option<&'a str> {
        let bytes = self.get(kind)?;
        std::str::from_utf8(bytes.strip_suffix(&[0]).unwrap_or(bytes)).ok()
    }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<(u16, &'a [u8])> {
        let header = self.0.get(..4)?;
        let length = usize::from(u16::from_ne_bytes(array(&header[..2])));
        let kind = u16::from_ne_bytes(array(&header[2..])) & TYPE_MASK;
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    }
}

/// The bytes as an array; the caller has cut them to its length.
fn array<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut array = [0; N];
    array.copy_from_slice(bytes);
    array
}

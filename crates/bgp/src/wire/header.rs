//! The header of every message (RFC 4271, 4.1), and what can be wrong with it (6.1).

use super::{HEADER_BYTES, MESSAGE_BYTES_MAX, Notification};

/// Types of messages.
pub(super) const OPEN: u8 = 1;
pub(super) const UPDATE: u8 = 2;
pub(super) const NOTIFICATION: u8 = 3;
pub(super) const KEEPALIVE: u8 = 4;
pub(super) const ROUTE_REFRESH: u8 = 5;

const MARKER: [u8; 16] = [0xff; 16];

/// Where the first message of what a peer has sent ends: its length in bytes, or `None` until
/// its header and the whole of it are there.
///
/// # Errors
/// The NOTIFICATION to send for a bad header (RFC 4271, 6.1), as soon as the header is there.
pub fn frame(buffer: &[u8]) -> Result<Option<usize>, Notification> {
    let Some(header) = buffer.first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    if header[..16] != MARKER {
        return Err(Notification::new(1, 1, &[]));
    }
    let length_field = [header[16], header[17]];
    let length = usize::from(u16::from_be_bytes(length_field));
    let kind = header[18];
    let fits = match kind {
        OPEN => length >= 29,
        UPDATE => length >= 23,
        NOTIFICATION => length >= 21,
        KEEPALIVE => length == HEADER_BYTES,
        ROUTE_REFRESH => length == 23,
        _ => length >= HEADER_BYTES,
    };
    if !fits || length > MESSAGE_BYTES_MAX {
        return Err(Notification::new(1, 2, &length_field));
    }
    if !(OPEN..=ROUTE_REFRESH).contains(&kind) {
        return Err(Notification::new(1, 3, &[kind]));
    }
    Ok((buffer.len() >= length).then_some(length))
}

/// Appends a header whose length [`finish`] fills in; where the message starts.
pub(super) fn start(kind: u8, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.extend_from_slice(&MARKER);
    out.extend_from_slice(&[0, 0, kind]);
    start
}

/// Fills in the length of the message that starts there.
pub(super) fn finish(start: usize, out: &mut [u8]) {
    let length = u16::try_from(out.len() - start).unwrap_or(u16::MAX);
    debug_assert!(usize::from(length) <= MESSAGE_BYTES_MAX);
    out[start + 16..start + 18].copy_from_slice(&length.to_be_bytes());
}

//! Single expressions.

use crate::nft::attribute::Writer;
use crate::nft::numbers::{self as n, attribute as a};

pub(super) fn expression(list: &mut Writer, name: &str, data: impl FnOnce(&mut Writer)) {
    list.nest(a::LIST_ITEM, |item| {
        item.text(a::EXPRESSION_NAME, name);
        item.nest(a::EXPRESSION_DATA, data);
    });
}

pub(super) fn payload(list: &mut Writer, base: u32, field: (u32, u32)) {
    payload_into(list, n::REGISTER, base, field);
}

/// Loads a field of a header into a register.
pub(super) fn payload_into(
    list: &mut Writer,
    register: u32,
    base: u32,
    (offset, length): (u32, u32),
) {
    expression(list, "payload", |data| {
        data.number(1, register);
        data.number(2, base);
        data.number(3, offset);
        data.number(4, length);
    });
}

pub(super) fn meta(list: &mut Writer, key: u32) {
    meta_into(list, n::REGISTER, key);
}

/// Loads something known of the packet into a register.
pub(super) fn meta_into(list: &mut Writer, register: u32, key: u32) {
    expression(list, "meta", |data| {
        data.number(2, key);
        data.number(1, register);
    });
}

/// Loads something known of the packet's connection.
pub(super) fn connection(list: &mut Writer, key: u32) {
    expression(list, "ct", |data| {
        data.number(2, key);
        data.number(1, n::REGISTER);
    });
}

/// Keeps the bits of a mask and flips others.
pub(super) fn bitwise(list: &mut Writer, mask: &[u8], flipped: &[u8]) {
    expression(list, "bitwise", |data| {
        data.number(1, n::REGISTER);
        data.number(2, n::REGISTER);
        data.number(3, u32::try_from(mask.len()).unwrap_or(u32::MAX));
        data.nest(4, |inner| inner.put(a::DATA_VALUE, mask));
        data.nest(5, |inner| inner.put(a::DATA_VALUE, flipped));
    });
}

/// Keeps the bits of a mask.
pub(super) fn keep(list: &mut Writer, mask: &[u8]) {
    bitwise(list, mask, &[0; 16][..mask.len()]);
}

pub(super) fn compare(list: &mut Writer, operation: u32, value: &[u8]) {
    expression(list, "cmp", |data| {
        data.number(1, n::REGISTER);
        data.number(2, operation);
        data.nest(3, |inner| inner.put(a::DATA_VALUE, value));
    });
}

pub(super) fn lookup(list: &mut Writer, set: &str, not: bool) {
    expression(list, "lookup", |data| {
        data.text(1, set);
        data.number(2, n::REGISTER);
        if not {
            data.number(5, n::LOOKUP_INVERTED);
        }
    });
}

/// Asks the routes about the packet.
pub(super) fn fib(list: &mut Writer, result: u32, flags: u32) {
    expression(list, "fib", |data| {
        data.number(1, n::REGISTER);
        data.number(2, result);
        data.number(3, flags);
    });
}

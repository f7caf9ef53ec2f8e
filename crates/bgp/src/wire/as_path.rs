//! AS_PATH and AS4_PATH (RFC 4271, 4.3; RFC 6793).

use super::{AS_TRANS, AsSegment};

/// Types of segments.
const SET: u8 = 1;
const SEQUENCE: u8 = 2;
const CONFEDERATION_SEQUENCE: u8 = 3;
const CONFEDERATION_SET: u8 = 4;

/// AS numbers in one segment: their count is one byte.
const SEGMENT_MAX: usize = 255;

/// How many bytes an AS number takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Width {
    Two,
    Four,
}

impl Width {
    pub(super) const fn of(four_octet_as: bool) -> Width {
        if four_octet_as { Width::Four } else { Width::Two }
    }

    const fn bytes(self) -> usize {
        match self {
            Width::Two => 2,
            Width::Four => 4,
        }
    }
}

/// Reads AS_PATH.
///
/// # Errors
/// What makes it malformed (RFC 7606, 7.2). Confederations are among it: we are in none
/// (RFC 5065, 5).
pub(super) fn decode(value: &[u8], width: Width) -> Result<Vec<AsSegment>, &'static str> {
    segments(value, width, |_| Err("a segment of unknown type"))
}

/// Reads AS4_PATH; segments of confederations are left out (RFC 6793, 6).
///
/// # Errors
/// What makes it malformed.
pub(super) fn decode_as4(value: &[u8]) -> Result<Vec<AsSegment>, &'static str> {
    segments(value, Width::Four, |kind| match kind {
        CONFEDERATION_SEQUENCE | CONFEDERATION_SET => Ok(()),
        _ => Err("a segment of unknown type"),
    })
}

fn segments(
    mut rest: &[u8],
    width: Width,
    other: impl Fn(u8) -> Result<(), &'static str>,
) -> Result<Vec<AsSegment>, &'static str> {
    let mut segments = Vec::new();
    while let [kind, after @ ..] = rest {
        let [count, after @ ..] = after else { return Err("a segment is cut off") };
        if *count == 0 {
            return Err("an empty segment");
        }
        let (numbers, after) = after
            .split_at_checked(usize::from(*count) * width.bytes())
            .ok_or("a segment is longer than the attribute")?;
        let numbers: Vec<u32> = match width {
            Width::Two => numbers
                .chunks_exact(2)
                .map(|number| u16::from_be_bytes([number[0], number[1]]).into())
                .collect(),
            Width::Four => super::attributes::words(numbers).collect(),
        };
        if numbers.contains(&0) {
            return Err("AS 0, which is nobody's (RFC 7607)");
        }
        match *kind {
            SEQUENCE => segments.push(AsSegment::Sequence(numbers)),
            SET => segments.push(AsSegment::Set(numbers)),
            kind => other(kind)?,
        }
        rest = after;
    }
    Ok(segments)
}

/// Appends the segments; none is empty or too long.
pub(super) fn encode(path: &[AsSegment], width: Width, out: &mut Vec<u8>) {
    for segment in path {
        let (kind, numbers) = match segment {
            AsSegment::Set(numbers) => (SET, numbers),
            AsSegment::Sequence(numbers) => (SEQUENCE, numbers),
        };
        for numbers in numbers.chunks(SEGMENT_MAX) {
            out.extend_from_slice(&[kind, numbers.len() as u8]);
            for &number in numbers {
                match width {
                    Width::Two => out.extend_from_slice(&two_octets(number).to_be_bytes()),
                    Width::Four => out.extend_from_slice(&number.to_be_bytes()),
                }
            }
        }
    }
}

/// An AS number for who knows two octets only.
pub(super) fn two_octets(number: u32) -> u16 {
    u16::try_from(number).unwrap_or(AS_TRANS)
}

/// Whether two octets don't hold all numbers.
pub(super) fn needs_four(path: &[AsSegment]) -> bool {
    path.iter().any(|segment| {
        let (AsSegment::Set(numbers) | AsSegment::Sequence(numbers)) = segment;
        numbers.iter().any(|&number| number > u16::MAX.into())
    })
}

/// AS_PATH as it was before it passed speakers with two octets: AS4_PATH, led by as many of
/// AS_PATH's first ASes as that is longer (RFC 6793, 4.2.3).
pub(super) fn merge(path: Vec<AsSegment>, as4: Vec<AsSegment>) -> Vec<AsSegment> {
    let Some(mut missing) = length(&path).checked_sub(length(&as4)) else {
        return path;
    };
    let mut merged = Vec::with_capacity(as4.len() + 1);
    for segment in path {
        match segment {
            _ if missing == 0 => break,
            AsSegment::Set(_) => {
                missing -= 1;
                merged.push(segment);
            }
            AsSegment::Sequence(mut numbers) => {
                numbers.truncate(missing);
                missing -= numbers.len();
                merged.push(AsSegment::Sequence(numbers));
            }
        }
    }
    // Where AS_PATH was cut within a sequence, the rest of it goes on in AS4_PATH's first.
    let mut as4 = as4.into_iter().peekable();
    if let (Some(AsSegment::Sequence(head)), Some(AsSegment::Sequence(tail))) =
        (merged.last_mut(), as4.peek())
        && head.len() + tail.len() <= SEGMENT_MAX
    {
        head.extend_from_slice(tail);
        as4.next();
    }
    merged.extend(as4);
    merged
}

/// ASes of a path; a set counts as one (RFC 4271, 9.1.2.2).
fn length(path: &[AsSegment]) -> usize {
    path.iter()
        .map(|segment| match segment {
            AsSegment::Set(_) => 1,
            AsSegment::Sequence(numbers) => numbers.len(),
        })
        .sum()
}

//! The keys a request names: `[key, range_end)` with etcd's special ends.

use std::ops::Bound;

/// A set of neighbouring keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Interval {
    start: Vec<u8>,
    end: Bound<Vec<u8>>,
}

impl Interval {
    /// An empty `range_end` is `key` alone; `\0` is every key from `key` on.
    pub(crate) fn new(key: &[u8], range_end: &[u8]) -> Self {
        let end = match range_end {
            [] => Bound::Included(key.to_vec()),
            etcd::ALL_KEYS_FROM => Bound::Unbounded,
            end => Bound::Excluded(end.to_vec()),
        };
        Self { start: key.to_vec(), end }
    }

    /// The one key, where it is one by form.
    pub(crate) fn single(&self) -> Option<&[u8]> {
        matches!(&self.end, Bound::Included(end) if *end == self.start).then_some(&self.start)
    }

    /// No key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.end, Bound::Excluded(end) if *end <= self.start)
    }

    pub(crate) fn contains(&self, key: &[u8]) -> bool {
        key >= self.start.as_slice()
            && match &self.end {
                Bound::Included(end) => key <= end.as_slice(),
                Bound::Excluded(end) => key < end.as_slice(),
                Bound::Unbounded => true,
            }
    }

    /// As a range; only for an interval that is not empty.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (Bound::Included(self.start.as_slice()), self.end.as_ref().map(Vec::as_slice))
    }
}

#[cfg(test)]
mod tests {
    use super::Interval;

    #[test]
    fn ends_mean_what_etcd_says() {
        for (key, end, inside, outside) in [
            (&b"b"[..], &b""[..], &[&b"b"[..]][..], &[&b"b\0"[..], b"a", b"c"][..]),
            (b"b", b"d", &[b"b", b"b\0", b"c\xff"], &[b"a", b"d"]),
            (b"b", b"\0", &[b"b", b"\xff\xff"], &[b"a\xff"]),
            (b"b", b"b", &[], &[b"b", b"a", b"c"]),
            (b"b", b"a", &[], &[b"b", b"a", b"c"]),
        ] {
            let interval = Interval::new(key, end);
            assert_eq!(interval.is_empty(), inside.is_empty(), "{interval:?}");
            assert!(inside.iter().all(|key| interval.contains(key)), "{interval:?}");
            assert!(!outside.iter().any(|key| interval.contains(key)), "{interval:?}");
        }
    }
}

//! Ends of key ranges: etcd names a set of keys as `[key, range_end)`.

/// The `range_end` that means "every key from `key` on".
pub const ALL_KEYS_FROM: &[u8] = b"\0";

/// The `range_end` under which `[prefix, range_end)` holds exactly the keys beginning with
/// `prefix`: the prefix with its last byte below 0xff raised by one, or [`ALL_KEYS_FROM`] where
/// there is none.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    match prefix.iter().rposition(|&byte| byte < 0xff) {
        Some(last) => {
            let mut end = prefix[..=last].to_vec();
            end[last] += 1;
            end
        }
        None => ALL_KEYS_FROM.to_vec(),
    }
}

//! The identity that a resource of the first group has for users.

use uuid::Uuid;

/// The uid of the resource for that of the object behind it, and back: both are objects of one API
/// server, which must not have the same. Each byte's bits are reversed, but for those of version and
/// variant (`ConvertUID`). A text that is no uid stays.
pub(super) fn converted(uid: &str) -> String {
    const VERSION: usize = 6;
    const VARIANT: usize = 8;
    let Ok(parsed) = uid.parse::<Uuid>() else { return uid.to_owned() };
    let mut bytes = parsed.into_bytes();
    for (at, byte) in bytes.iter_mut().enumerate() {
        if at != VERSION && at != VARIANT {
            *byte = byte.reverse_bits();
        }
    }
    Uuid::from_bytes(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uid_is_another_one_and_back_again() {
        let uid = "01020304-0506-4708-890a-0b0c0d0e0f10";
        assert_eq!(converted(uid), "8040c020-a060-4710-8950-d030b070f008");
        assert_eq!(converted(&converted(uid)), uid);
        assert_eq!(converted("no uid"), "no uid");
    }
}

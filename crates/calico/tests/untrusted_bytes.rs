//! The fuzz targets' cases, on the corpus and on changes of it that are the same in every run.

#[path = "../../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "it is a crate of its own, too")]
mod cases;

use cases::{CASES, Case};
use std::path::{Path, PathBuf};

/// Changed copies of each file of the corpus.
const CHANGED_COPIES: usize = 2000;

/// Numbers that look random (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = self.0;
        number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) % end as u64) as usize
    }

    /// Some bytes differ, are missing, or are of another file.
    fn change(&mut self, bytes: &[u8], other: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let place = self.below(bytes.len() + 1);
            match self.below(5) {
                0 => bytes.truncate(place),
                1 => bytes.insert(place, self.below(256) as u8),
                2 => bytes.extend_from_slice(&other[self.below(other.len() + 1)..]),
                kind => {
                    if let Some(byte) = bytes.get_mut(place) {
                        *byte = match kind {
                            3 => *byte ^ (1 << self.below(8)),
                            _ => self.below(256) as u8,
                        };
                    }
                }
            }
        }
        bytes
    }
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name)
}

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let listing = std::fs::read_dir(folder(name)).expect("the target's corpus");
    let mut paths: Vec<_> = listing.map(|entry| entry.expect("an entry").path()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file of the corpus")).collect()
}

/// Runs a case and says which bytes it failed on.
fn run(name: &str, case: Case, bytes: &[u8]) {
    let outcome = std::panic::catch_unwind(|| case(bytes));
    let text = String::from_utf8_lossy(bytes);
    assert!(outcome.is_ok(), "{name} fails on {bytes:02x?} ({text:?})");
}

#[test]
fn hostile_bytes_do_no_harm() {
    for (name, case) in CASES {
        let files = corpus(name);
        assert!(!files.is_empty(), "{name} has no corpus");
        let mut numbers = Numbers(1);
        for file in &files {
            run(name, case, file);
            for _ in 0..CHANGED_COPIES {
                let other = &files[numbers.below(files.len())];
                run(name, case, &numbers.change(file, other));
            }
        }
    }
}

/// Recordings of BIRD 2, AS 4200000001, with a peer that has AS numbers of four octets and with one
/// that hasn't: what it says is the same.
#[test]
fn messages_of_bird_are_understood() {
    use bgp::wire::{Agreed, AsSegment, Family, Message, frame};
    for (name, four_octet_as) in [("bird-four-octets", true), ("bird-two-octets", false)] {
        let mut said = (vec![], vec![], vec![]);
        let stream = std::fs::read(folder("bgp_stream").join(name)).expect("the recording");
        let mut rest = stream.as_slice();
        while let Some(length) = frame(rest).expect("BIRD's header") {
            let agreed = Agreed { four_octet_as, external: true };
            let message = Message::decode(&rest[..length], agreed).expect("BIRD's message");
            rest = &rest[length..];
            match message {
                Message::Open(open) => assert_eq!(open.autonomous_system, 4_200_000_001),
                Message::Update(update) => {
                    assert_eq!(update.tolerated, [""; 0]);
                    let prefixes = update.announced.iter().flat_map(|of| &of.prefixes);
                    said.0.extend(prefixes.map(ToString::to_string));
                    said.1.extend(update.attributes.map(|of| of.as_path));
                    said.2.extend(update.end_of_rib);
                }
                message => assert_eq!(message, Message::Keepalive),
            }
        }
        let routes = [
            "10.65.0.0/26",
            "192.168.0.0/16",
            "10.65.1.64/26",
            "fd00:10:65::/122",
            "2001:db8::/32",
        ];
        assert_eq!(said.0, routes, "{name}");
        assert_eq!(said.1, vec![vec![AsSegment::Sequence(vec![4_200_000_001])]; 3], "{name}");
        assert_eq!(said.2, [Family::Ipv4, Family::Ipv6], "{name}");
    }
}

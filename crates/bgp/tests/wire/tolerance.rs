//! What RFC 7606 wants without ending the session: attribute discard and treat-as-withdraw; and
//! what is no error at all.

use crate::errors::update;
use bgp::wire::*;

const ORIGIN: &str = "40010100";
const PATH2: &str = "400204 0201 fde8";
const PATH4: &str = "400206 0201 0000fde8";
const HOP: &str = "400304 c0000201";

const OLD: Agreed = Agreed { four_octet_as: false, external: false };
const INTERNAL: Agreed = Agreed { four_octet_as: true, external: false };
const EXTERNAL: Agreed = Agreed { four_octet_as: true, external: true };

fn decode(message: &[u8], agreed: Agreed) -> Update {
    match Message::decode(message, agreed) {
        Ok(Message::Update(update)) => update,
        other => panic!("{other:?}"),
    }
}

/// Attributes of 10.0.0.0/24, told with these besides ORIGIN, AS_PATH and NEXT_HOP.
fn told_with(more: &str, agreed: Agreed) -> Update {
    let path = if agreed.four_octet_as { PATH4 } else { PATH2 };
    decode(&update("", &format!("{ORIGIN} {path} {HOP} {more}"), "18 0a0000"), agreed)
}

fn plain() -> Attributes {
    Attributes { as_path: vec![AsSegment::Sequence(vec![65000])], ..Attributes::default() }
}

#[test]
fn routes_of_malformed_attributes_are_withdrawn() {
    let with = |more: &str| format!("{ORIGIN} {PATH4} {HOP} {more}");
    let cases = [
        ("ORIGIN missing", format!("{PATH4} {HOP}")),
        ("AS_PATH missing", format!("{ORIGIN} {HOP}")),
        ("NEXT_HOP missing", format!("{ORIGIN} {PATH4}")),
        ("ORIGIN 3", format!("40010103 {PATH4} {HOP}")),
        ("ORIGIN of 2 bytes", format!("4001020000 {PATH4} {HOP}")),
        ("ORIGIN optional", format!("c0010100 {PATH4} {HOP}")),
        ("AS_PATH: unknown segment", format!("{ORIGIN} 400206 0501 0000fde8 {HOP}")),
        ("AS_PATH: confederation", format!("{ORIGIN} 400206 0301 0000fde8 {HOP}")),
        ("AS_PATH: overrun", format!("{ORIGIN} 400206 0202 0000fde8 {HOP}")),
        ("AS_PATH: underrun", format!("{ORIGIN} 400207 0201 0000fde8 02 {HOP}")),
        ("AS_PATH: empty segment", format!("{ORIGIN} 400202 0200 {HOP}")),
        ("AS_PATH: AS 0", format!("{ORIGIN} 400206 0201 00000000 {HOP}")),
        ("NEXT_HOP of 5 bytes", format!("{ORIGIN} {PATH4} 400305 c000020100")),
        ("NEXT_HOP 0.0.0.0", format!("{ORIGIN} {PATH4} 400304 00000000")),
        ("NEXT_HOP multicast", format!("{ORIGIN} {PATH4} 400304 e0000001")),
        ("NEXT_HOP broadcast", format!("{ORIGIN} {PATH4} 400304 ffffffff")),
        ("MULTI_EXIT_DISC of 3 bytes", with("800403 000001")),
        ("MULTI_EXIT_DISC transitive", with("c00404 00000001")),
        ("LOCAL_PREF of 3 bytes", with("400503 000001")),
        ("COMMUNITIES of 5 bytes", with("c00805 0000000100")),
        ("COMMUNITIES empty", with("c00800")),
        ("ORIGINATOR_ID of 5 bytes", with("800905 0000000100")),
        ("CLUSTER_LIST empty", with("800a00")),
        ("CLUSTER_LIST of 6 bytes", with("800a06 000000010000")),
        ("extended communities of 7 bytes", with("c01007 00000000000000")),
        ("large communities of 8 bytes", with("c02008 0000000000000000")),
        ("the last attribute cut off", with("800404 0000")),
        ("half a header of an attribute", with("80")),
    ];
    for (what, attributes) in cases {
        let message = update("18 0b0000", &attributes, "18 0a0000");
        let update = decode(&message, INTERNAL);
        let withdrawn = ["11.0.0.0/24".parse().unwrap(), "10.0.0.0/24".parse().unwrap()];
        assert_eq!(update.withdrawn, withdrawn, "{what}");
        assert_eq!((update.announced, update.attributes), (vec![], None), "{what}");
        assert_eq!(update.tolerated.len(), 1, "{what}");
    }
}

#[test]
fn routes_of_both_families_are_withdrawn() {
    let hop = format!("{}01", "20".repeat(15));
    let reach = format!("800e1a 0002 01 10 {hop} 00 20 20010db8");
    let attributes = format!("{reach} 40010103 {PATH4} {HOP}");
    let received = decode(&update("", &attributes, "18 0a0000"), INTERNAL);
    let withdrawn = ["10.0.0.0/24".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
    assert_eq!((received.withdrawn.as_slice(), received.announced), (&withdrawn[..], vec![]));
    let unusable = format!("800e1a 0002 01 10 {} 00 20 20010db8", "00".repeat(16));
    let received = decode(&update("", &format!("{unusable} {ORIGIN} {PATH4}"), ""), INTERNAL);
    assert_eq!((received.withdrawn.as_slice(), received.announced), (&withdrawn[1..], vec![]));
}

#[test]
fn malformed_attributes_that_can_be_spared_are_ignored() {
    let cases = [
        ("ATOMIC_AGGREGATE with a value", "40060100", INTERNAL),
        ("AGGREGATOR of 6 bytes", "c00706 fde80a000001", INTERNAL),
        ("AGGREGATOR of 8 bytes", "c00708 0000fde80a000001", OLD),
        ("AGGREGATOR: AS 0", "c00708 000000000a000001", INTERNAL),
        ("LOCAL_PREF from outside", "400504 00000064", EXTERNAL),
        ("malformed LOCAL_PREF from outside", "400501 64", EXTERNAL),
        ("ORIGINATOR_ID from outside", "800904 0a000001", EXTERNAL),
        ("CLUSTER_LIST from outside", "800a04 0a000001", EXTERNAL),
        ("AS4_PATH though AS_PATH has four octets", "c01106 0201 00010000", INTERNAL),
        ("AS4_AGGREGATOR though AGGREGATOR has", "c01208 000100000a000001", INTERNAL),
        ("malformed AS4_PATH", "c01105 0201 000100", OLD),
        ("AS4_PATH: AS 0", "c01106 0201 00000000", OLD),
        ("AS4_PATH not transitive", "801106 0201 00010000", OLD),
        ("malformed AS4_AGGREGATOR", "c01207 000100000a0000", OLD),
        ("a second ORIGIN", "40010102", INTERNAL),
        ("a second AS_PATH, malformed", "400201 07", INTERNAL),
    ];
    for (what, more, agreed) in cases {
        let update = told_with(more, agreed);
        assert_eq!(update.attributes, Some(plain()), "{what}");
        assert_eq!(update.withdrawn, [], "{what}");
        assert_eq!(update.tolerated.len(), 1, "{what}: {:?}", update.tolerated);
    }
}

#[test]
fn attributes_nobody_knows() {
    let unknown = told_with("80fe0101 c0ff020102 e0fd0103", INTERNAL);
    assert_eq!(unknown.tolerated, [""; 0]);
    // Not transitive: dropped. Transitive: passed on, with the Partial flag.
    let expected = vec![(0xe0, 0xfd, vec![3]), (0xe0, 0xff, vec![1, 2])];
    assert_eq!(unknown.attributes.unwrap().unknown, expected);
    let twice = told_with("c0ff0101 c0ff0102", INTERNAL);
    assert_eq!(twice.attributes.unwrap().unknown, [(0xe0, 0xff, vec![1])]);
    let extended = told_with("c01008 0002fde800000001", INTERNAL);
    let expected = vec![(0xc0, 16, vec![0, 2, 0xfd, 0xe8, 0, 0, 0, 1])];
    assert_eq!(extended.attributes.unwrap().unknown, expected);
}

#[test]
fn paths_through_speakers_with_two_octets() {
    let sequence = |numbers: &[u32]| AsSegment::Sequence(numbers.to_vec());
    let cases = [
        // AS_PATH of two octets, AS4_PATH, the path there was.
        ("0202 5ba0 0001", "0202 00010000 00000001", vec![sequence(&[65536, 1])]),
        ("0203 0007 5ba0 0001", "0202 00010000 00000001", vec![sequence(&[7, 65536, 1])]),
        // Longer than AS_PATH: of no use.
        ("0201 5ba0", "0202 00010000 00000001", vec![sequence(&[23456])]),
        // A set counts as one AS.
        (
            "0201 0007 0102 0001 0002",
            "0102 00010000 00000002",
            vec![sequence(&[7]), AsSegment::Set(vec![65536, 2])],
        ),
        // Confederations in AS4_PATH are left out.
        ("0202 0007 5ba0", "0301 0000fde8 0201 00010000", vec![sequence(&[7, 65536])]),
    ];
    for (path, path4, expected) in cases {
        let part = |code: &str, text: &str| {
            let length = crate::errors::bytes(text).len();
            format!("{code}{length:02x} {text}")
        };
        let attributes = format!("{ORIGIN} {} {HOP} {}", part("4002", path), part("c011", path4));
        let update = decode(&update("", &attributes, "18 0a0000"), OLD);
        assert_eq!(update.attributes.unwrap().as_path, expected, "{path} with {path4}");
    }
}

#[test]
fn aggregators_behind_speakers_with_two_octets() {
    let real = "c01208 000100000a000002";
    let path4 = "c01106 0201 00010000";
    let hidden = told_with(&format!("c00706 5ba00a000001 {real} {path4}"), OLD);
    let attributes = hidden.attributes.unwrap();
    assert_eq!(attributes.aggregator, Some((65536, [10, 0, 0, 2].into())));
    assert_eq!(attributes.as_path, [AsSegment::Sequence(vec![65536])]);
    // Aggregated anew by a speaker that doesn't know AS4_PATH: both are stale.
    let anew = told_with(&format!("c00706 fde90a000001 {real} {path4}"), OLD);
    let attributes = anew.attributes.unwrap();
    assert_eq!(attributes.aggregator, Some((65001, [10, 0, 0, 1].into())));
    assert_eq!(attributes.as_path, [AsSegment::Sequence(vec![65000])]);
    assert_eq!(told_with(real, OLD).attributes.unwrap().aggregator, None);
}

#[test]
fn prefixes_in_either_place() {
    let ipv4 = format!("800e0d 0001 01 04 c0000202 00 18 0a0100 {ORIGIN} {PATH4}");
    let received = decode(&update("", &format!("{ipv4} {HOP}"), "0f 0aff"), INTERNAL);
    let announced = |hop: &str, prefix: &str| Announced {
        next_hop: hop.parse().unwrap(),
        prefixes: vec![prefix.parse().unwrap()],
    };
    // Host bits mean nothing.
    let expected = [announced("192.0.2.1", "10.254.0.0/15"), announced("192.0.2.2", "10.1.0.0/24")];
    assert_eq!(received.announced, expected);
    // A link-local next hop beside the global one.
    let hops = "20010db8000000000000000000000001 fe800000000000000000000000000001";
    let both = format!("800e2a 0002 01 20 {hops} 00 20 20010db9 {ORIGIN} {PATH4}");
    let received = decode(&update("", &both, ""), INTERNAL);
    assert_eq!(received.announced, [announced("2001:db8::1", "2001:db9::/32")]);
    assert_eq!(received.tolerated, [""; 0]);
}

#[test]
fn prefixes_that_are_passed_over() {
    let multicast = told_with("", INTERNAL).announced[0].clone();
    let mixed = format!("{ORIGIN} {PATH4} {HOP}");
    let received = decode(&update("", &mixed, "04 e0 18 0a0000"), INTERNAL);
    assert_eq!(received.announced, [multicast]);
    assert_eq!(received.tolerated.len(), 1);
    let vpn = format!("800e06 0001 80 00 00 00 {ORIGIN} {PATH4}");
    let received = decode(&update("", &vpn, ""), INTERNAL);
    assert_eq!((received.announced, received.withdrawn), (vec![], vec![]));
    assert_eq!(received.tolerated.len(), 1);
}

#[test]
fn end_of_rib() {
    let of = |attributes| decode(&update("", attributes, ""), INTERNAL);
    let end = |family| Update { end_of_rib: family, ..Update::default() };
    assert_eq!(of(""), end(Some(Family::Ipv4)));
    assert_eq!(of("800f03 0002 01"), end(Some(Family::Ipv6)));
    assert_eq!(of("800f03 0001 01"), end(Some(Family::Ipv4)));
    assert_eq!(of("800f03 0019 46"), end(None));
    assert_eq!(of(&format!("{ORIGIN} 800f03 0002 01")), end(None));
    assert_eq!(decode(&update("18 0a0000", "", ""), INTERNAL).end_of_rib, None);
}

#[test]
fn what_is_told_of_errors_is_bounded() {
    let twice = "40010100 ".repeat(500);
    assert_eq!(told_with(&twice, INTERNAL).tolerated.len(), 8);
}

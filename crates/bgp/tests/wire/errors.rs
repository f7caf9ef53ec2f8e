//! Each error that ends a session: bytes, and the very NOTIFICATION (RFC 4271, 6; RFC 7606).

use bgp::wire::*;

/// A message of this type: `body` in hexadecimal, spaces as you like.
pub(crate) fn message(kind: u8, body: &str) -> Vec<u8> {
    let body = bytes(body);
    let mut message = vec![0xff; 16];
    message.extend_from_slice(&(body.len() as u16 + 19).to_be_bytes());
    message.push(kind);
    message.extend_from_slice(&body);
    message
}

pub(crate) fn bytes(hexadecimal: &str) -> Vec<u8> {
    let digits: String = hexadecimal.split_whitespace().collect();
    (0..digits.len() / 2)
        .map(|place| u8::from_str_radix(&digits[2 * place..2 * place + 2], 16).unwrap())
        .collect()
}

/// An UPDATE of withdrawn routes, attributes and prefixes.
pub(crate) fn update(withdrawn: &str, attributes: &str, reachable: &str) -> Vec<u8> {
    let field = |text: &str| {
        let content = bytes(text);
        [&(content.len() as u16).to_be_bytes()[..], &content].concat()
    };
    let body = [field(withdrawn), field(attributes), bytes(reachable)].concat();
    let text: String = body.iter().map(|byte| format!("{byte:02x}")).collect();
    message(2, &text)
}

fn notification(code: u8, subcode: u8, data: &str) -> Notification {
    Notification { code, subcode, data: bytes(data) }
}

#[test]
fn a_bad_header_is_told_by_name() {
    let marker = "ff".repeat(16);
    let broken = format!("{}fe", "ff".repeat(15));
    let cases = [
        (format!("{broken} 0013 04"), notification(1, 1, "")),
        (format!("{marker} 0012 04"), notification(1, 2, "0012")),
        (format!("{marker} 0014 04"), notification(1, 2, "0014")),
        (format!("{marker} 1001 02"), notification(1, 2, "1001")),
        (format!("{marker} 001c 01"), notification(1, 2, "001c")),
        (format!("{marker} 0016 02"), notification(1, 2, "0016")),
        (format!("{marker} 0014 03"), notification(1, 2, "0014")),
        (format!("{marker} 0018 05"), notification(1, 2, "0018")),
        (format!("{marker} 0013 00"), notification(1, 3, "00")),
        (format!("{marker} 0013 06"), notification(1, 3, "06")),
    ];
    for (header, expected) in cases {
        let header = bytes(&header);
        assert_eq!(frame(&header[..18]), Ok(None));
        assert_eq!(frame(&header), Err(expected.clone()), "{header:02x?}");
        assert_eq!(Message::decode(&header, Agreed::default()), Err(expected));
    }
}

#[test]
fn a_frame_of_another_length_than_it_says_is_refused() {
    let mut keepalive = message(4, "");
    keepalive.push(0);
    let expected = Err(notification(1, 2, "0014"));
    assert_eq!(Message::decode(&keepalive, Agreed::default()), expected);
}

#[test]
fn a_bad_open_is_told_by_name() {
    let cases = [
        ("an older version", "03 fde8 00b4 0a000001 00", notification(2, 1, "0004")),
        ("a newer version", "05 fde8 00b4 0a000001 00", notification(2, 1, "0004")),
        ("AS 0", "04 0000 00b4 0a000001 00", notification(2, 2, "00000000")),
        (
            "AS 0 of four octets",
            "04 5ba0 00b4 0a000001 08 0206 4104 00000000",
            notification(2, 2, "00000000"),
        ),
        ("identifier 0", "04 fde8 00b4 00000000 00", notification(2, 3, "00000000")),
        ("an unknown parameter", "04 fde8 00b4 0a000001 03 0101 00", notification(2, 4, "")),
        ("hold time 1", "04 fde8 0001 0a000001 00", notification(2, 6, "0001")),
        ("hold time 2", "04 fde8 0002 0a000001 00", notification(2, 6, "0002")),
        ("parameters cut off", "04 fde8 00b4 0a000001 04 0200", notification(2, 0, "")),
        ("parameters too long", "04 fde8 00b4 0a000001 02 0205", notification(2, 0, "")),
        ("bytes after parameters", "04 fde8 00b4 0a000001 00 00", notification(2, 0, "")),
        ("a capability cut off", "04 fde8 00b4 0a000001 04 0202 4104", notification(2, 0, "")),
        ("four octets in two", "04 fde8 00b4 0a000001 06 0204 4102 fde8", notification(2, 0, "")),
        (
            "extended parameters cut off",
            "04 fde8 00b4 0a000001 ff ff 0004 02 0001",
            notification(2, 0, ""),
        ),
    ];
    for (what, body, expected) in cases {
        let message = message(1, body);
        assert_eq!(Message::decode(&message, Agreed::default()), Err(expected), "{what}");
    }
}

#[test]
fn an_open_says_what_it_says() {
    let open = |autonomous_system, capabilities| {
        Ok(Message::Open(Open {
            autonomous_system,
            hold_time: 180,
            router_id: [10, 0, 0, 1].into(),
            capabilities,
        }))
    };
    let restart = GracefulRestart {
        restarting: true,
        notification: true,
        restart_time: 120,
        families: vec![(Family::Ipv4, true)],
    };
    let cases = [
        ("04 fde8 00b4 0a000001 00", open(65000, vec![])),
        (
            // A parameter for each capability, as some send them.
            "04 5ba0 00b4 0a000001 0e 0206 0104 0002 0001 0202 0200 0200",
            open(23456, vec![Capability::Multiprotocol(Family::Ipv6), Capability::RouteRefresh]),
        ),
        (
            // RFC 9072: lengths of two bytes. L2VPN EVPN is no family of ours.
            "04 5ba0 00b4 0a000001 ff ff 001d 02 001a 4104 0001 86a0 \
             400a c078 0001 01 80 0019 46 80 0104 0019 0046 4600",
            open(
                100_000,
                vec![
                    Capability::FourOctetAs(100_000),
                    Capability::GracefulRestart(restart),
                    Capability::Other { code: 1, value: vec![0, 25, 0, 70] },
                    Capability::Other { code: 70, value: vec![] },
                ],
            ),
        ),
    ];
    for (body, expected) in cases {
        assert_eq!(Message::decode(&message(1, body), Agreed::default()), expected, "{body}");
    }
}

#[test]
fn an_update_that_ends_the_session() {
    let origin_path_hop = "40010100 400200 400304 c0000201";
    let cases = [
        ("withdrawn routes longer than the message", message(2, "0005 0000"), (3, 1, "")),
        ("attributes longer than the message", message(2, "0000 0001"), (3, 1, "")),
        ("a withdrawn prefix of 33 bits", update("21 0a00000000", "", ""), (3, 10, "")),
        ("a withdrawn prefix cut off", update("18 0a00", "", ""), (3, 10, "")),
        ("a prefix of 33 bits", update("", origin_path_hop, "21 0a00000000"), (3, 10, "")),
        ("a prefix cut off", update("", origin_path_hop, "18 0a00"), (3, 10, "")),
        (
            "an unknown well-known attribute",
            update("", &format!("{origin_path_hop} 406301ab"), "18 0a0000"),
            (3, 2, "406301ab"),
        ),
        (
            "two MP_REACH_NLRI",
            update("", "800e05 0019 46 00 00 800e05 0019 46 00 00", ""),
            (3, 1, ""),
        ),
        ("two MP_UNREACH_NLRI", update("", "800f03 0002 01 800f03 0002 01", ""), (3, 1, "")),
        (
            "MP_REACH_NLRI too short",
            update("", "800e04 0002 01 00", ""),
            (3, 9, "800e04 0002 01 00"),
        ),
        (
            "an IPv6 next hop of 4 bytes",
            update("", "800e09 0002 01 04 c0000201 00", ""),
            (3, 9, "800e09 0002 01 04 c0000201 00"),
        ),
        (
            "an IPv4 next hop of 16 bytes, not agreed on",
            update("", &format!("800e15 0001 01 10 {} 00", "20".repeat(16)), ""),
            (3, 9, &format!("800e15 0001 01 10 {} 00", "20".repeat(16))),
        ),
        (
            "an IPv6 prefix of 129 bits",
            update("", &format!("800f15 0002 01 81 {}", "20".repeat(17)), ""),
            (3, 9, &format!("800f15 0002 01 81 {}", "20".repeat(17))),
        ),
        ("MP_UNREACH_NLRI too short", update("", "800f02 0002", ""), (3, 9, "800f02 0002")),
        (
            "MP_REACH_NLRI cut off",
            update("", &format!("{origin_path_hop} 800e50 0002"), "18 0a0000"),
            (3, 9, "800e50 0002"),
        ),
        (
            "malformed, and no prefix that could be withdrawn (RFC 7606, 5.2)",
            update("", "40010103 400200", ""),
            (3, 6, "40010103"),
        ),
        (
            "the same beside withdrawn routes",
            update("18 0a0000", "40010200 00", ""),
            (3, 5, "40010200 00"),
        ),
        ("attributes cut off, and no prefix", update("", "400101", ""), (3, 1, "")),
        (
            "the stronger of two errors counts",
            update("", "40010103 400200 400304 c0000201 406301ab", "18 0a0000"),
            (3, 2, "406301ab"),
        ),
    ];
    for (what, message, (code, subcode, data)) in cases {
        let expected = Err(notification(code, subcode, data));
        assert_eq!(Message::decode(&message, Agreed::default()), expected, "{what}");
    }
}

#[test]
fn route_refresh_of_an_unknown_family_is_none() {
    let of = |body| Message::decode(&message(5, body), Agreed::default()).unwrap();
    assert_eq!(of("0001 00 01"), Message::RouteRefresh(Some(Family::Ipv4)));
    assert_eq!(of("0002 ff 01"), Message::RouteRefresh(Some(Family::Ipv6)));
    assert_eq!(of("0019 00 46"), Message::RouteRefresh(None));
}

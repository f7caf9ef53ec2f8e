//! CHECK: what ADD left is still there.

use crate::rig::{Rig, configuration, good};
use node::api::{Reply, Request};

#[test]
fn check_sees_what_is_missing() {
    for (damage, missing) in [
        ("true", None),
        ("ip route del default", Some("0.0.0.0/0")),
        ("ip addr del 192.168.1.5/32 dev eth0", Some("192.168.1.5")),
        ("ip link set eth0 down", Some("interface eth0")),
        ("ip link del eth0", Some("interface eth0")),
    ] {
        let rig = Rig::with_agent();
        let mut wanted = configuration("1.0.0");
        wanted["prevResult"] = rig.good("ADD", &wanted);
        rig.in_container(damage);
        match missing {
            None => {
                rig.good("CHECK", &wanted);
                assert!(matches!(rig.asked().last(), Some(Request::CheckWorkload(_))));
            }
            Some(missing) => {
                let (code, message) = rig.bad("CHECK", &wanted);
                assert!(code == 103 && message.contains(missing), "{damage}: {code} {message}");
            }
        }
    }
}

#[test]
fn check_asks_the_agent() {
    let rig = Rig::new();
    rig.start_agent(|request| match request {
        Request::CheckWorkload(_) => {
            Some(Reply::Failed { retry: false, message: "pod1 has no route".into() })
        }
        other => good(other),
    });
    let mut wanted = configuration("0.4.0");
    wanted["prevResult"] = rig.good("ADD", &wanted);
    let (code, message) = rig.bad("CHECK", &wanted);
    assert!(code == 102 && message.contains("no route"), "{code} {message}");
}

#[test]
fn check_needs_a_result_and_its_version() {
    let rig = Rig::with_agent();
    let (code, message) = rig.bad("CHECK", &configuration("1.0.0"));
    assert!(code == 7 && message.contains("prevResult"), "{code} {message}");
    let (code, message) = rig.bad("CHECK", &configuration("0.3.1"));
    assert!(code == 1 && message.contains("0.3.1"), "{code} {message}");
}

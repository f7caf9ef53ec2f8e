//! What others change is noticed; what we change need not be.

use crate::machine::{Machine, by, owned, route};
use kernel::{Change, Link, LinkKind, PROTOCOL_CALICO, RouteTarget, SCOPE_LINK, State};
use linux::monitor::{Monitor, Notice};
use std::time::Duration;

const LONG: Option<Duration> = Some(Duration::from_secs(10));

fn plan() -> State {
    let mut state = State::default();
    let to = "192.168.1.7/32".parse().unwrap();
    state.routes.extend([route(to, by("cali1", None), PROTOCOL_CALICO, SCOPE_LINK)]);
    state
}

/// All notices until one is as wanted.
fn until(monitor: &mut Monitor, wanted: impl Fn(&Notice) -> bool) -> Vec<Notice> {
    let mut all = Vec::new();
    while !all.iter().any(&wanted) {
        let notices = monitor.wait(LONG).unwrap();
        assert!(!notices.is_empty(), "not noticed; so far {all:#?}");
        all.extend(notices);
    }
    all
}

#[test]
fn a_route_deleted_by_another_is_noticed_and_made_again() {
    let mut machine = Machine::new();
    let desired = plan();
    machine.bring_to(&desired);
    let mut monitor = Monitor::open_in(&machine.namespace).unwrap();
    monitor.ignore(machine.netlink.port());
    machine.ip("ip route del 192.168.1.7");
    let notices = until(&mut monitor, |notice| matches!(notice, Notice::Route { .. }));
    let (key, route) = desired.routes.first_key_value().unwrap();
    let gone = Notice::Route { key: key.clone(), route: route.clone(), present: false };
    assert_eq!(notices, [gone]);
    // Ours is not noticed: the next notice is of what another does after it.
    assert_eq!(machine.bring_to(&desired), Vec::<String>::new());
    machine.ip("ip address add 10.99.0.1/32 dev cali2");
    let notices = until(&mut monitor, |notice| matches!(notice, Notice::Address { .. }));
    assert_eq!(notices, [Notice::Address { device: "cali2".to_owned() }]);
    assert_eq!(kernel::diff(&desired, &machine.read(&desired), &owned()), vec![]);
}

#[test]
fn devices_that_come_and_go_are_noticed() {
    let mut machine = Machine::new();
    let mut monitor = Monitor::open_in(&machine.namespace).unwrap();
    let kind = LinkKind::Other("bridge".to_owned());
    let link = Link { kind, mtu: 1500, mac: None, up: true };
    machine.netlink.create_link("br0", &link).unwrap();
    let came = Notice::Link { name: "br0".to_owned(), present: true };
    until(&mut monitor, |notice| *notice == came);
    machine.netlink.delete_link("br0").unwrap();
    let went = Notice::Link { name: "br0".to_owned(), present: false };
    until(&mut monitor, |notice| *notice == went);
}

#[test]
fn nothing_to_say_ends_at_the_deadline() {
    let machine = Machine::new();
    let mut monitor = Monitor::open_in(&machine.namespace).unwrap();
    let mut wait = || monitor.wait(Some(Duration::from_millis(20))).unwrap();
    // Devices that came up just before may have something to say yet.
    while !wait().is_empty() {}
    assert_eq!(wait(), vec![]);
}

#[test]
fn too_many_changes_are_an_overrun() {
    let mut machine = Machine::new();
    let mut monitor = Monitor::open_in(&machine.namespace).unwrap();
    let net = |number: u32| {
        let address = std::net::Ipv4Addr::from(0x0b00_0000 + number);
        ipnet::IpNet::from(std::net::IpAddr::from(address))
    };
    let changes: Vec<_> = (0..30_000)
        .map(|number| route(net(number), RouteTarget::Blackhole, PROTOCOL_CALICO, 0))
        .map(|(key, route)| Change::ReplaceRoute { key, route })
        .collect();
    assert_eq!(linux::apply::apply(&mut machine.netlink, &changes).len(), 0);
    until(&mut monitor, |notice| *notice == Notice::Overrun);
    // And it goes on after it.
    while !monitor.wait(Some(Duration::ZERO)).unwrap().is_empty() {}
    machine.ip("ip address add 10.99.0.1/32 dev cali2");
    until(&mut monitor, |notice| matches!(notice, Notice::Address { .. }));
}

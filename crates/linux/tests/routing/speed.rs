//! How long many routes take, printed for the reader: `--nocapture`.

use crate::machine::{Machine, by, owned, route};
use ipnet::Ipv4Net;
use kernel::{PROTOCOL_CALICO, SCOPE_LINK, State};
use std::time::Instant;

#[test]
fn a_thousand_routes() {
    let mut machine = Machine::new();
    let mut desired = State::default();
    for number in 0..1000u32 {
        let net = Ipv4Net::new((0x0a80_0000 + number * 64).into(), 26).unwrap();
        desired.routes.extend([route(net.into(), by("cali1", None), PROTOCOL_CALICO, SCOPE_LINK)]);
    }
    let actual = machine.read(&desired);
    let start = Instant::now();
    let changes = kernel::diff(&desired, &actual, &owned());
    let planned = start.elapsed();
    let failed = linux::apply::apply(&mut machine.netlink, &changes);
    let applied = start.elapsed() - planned;
    let actual = machine.read(&desired);
    let read = start.elapsed() - planned - applied;
    println!("1,000 routes: diff {planned:?}, apply {applied:?}, read back {read:?}");
    assert_eq!((changes.len(), failed.len()), (1000, 0));
    assert_eq!(kernel::diff(&desired, &actual, &owned()), vec![]);
}

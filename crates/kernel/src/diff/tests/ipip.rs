//! `tunl0`, of either kind.

use super::*;
use crate::PROTOCOL_BIRD;
use std::collections::BTreeSet;

pub(super) const TUNNEL: &str = "tunl0";

/// A device by BPF, and whose packets it takes.
pub(super) fn by_bpf() -> impl Strategy<Value = (Link, BTreeSet<Ipv4Addr>)> {
    let uplinks = prop::collection::btree_set(prop::sample::select(&UPLINKS[..]), 0..3);
    let sources = prop::collection::btree_set((1..6u8).prop_map(node), 0..5);
    (1..3u8, uplinks, 1400..1402u32, any::<bool>(), sources).prop_map(
        |(local, uplinks, mtu, up, sources)| {
            let uplinks = uplinks.into_iter().map(str::to_owned).collect();
            let kind = LinkKind::IpipBpf { local: node(local), uplinks };
            (Link { kind, mtu, mac: None, up }, sources)
        },
    )
}

fn node(last: u8) -> Ipv4Addr {
    [10, 30, 0, last].into()
}

/// A plan with one other node.
fn plan(kind: LinkKind) -> State {
    let mut state = State::default();
    if let LinkKind::IpipBpf { .. } = kind {
        state.decapsulated.insert(TUNNEL.to_owned(), [node(206)].into());
    }
    state.links.insert(TUNNEL.to_owned(), Link { kind, mtu: 1480, mac: None, up: true });
    state.addresses.insert((TUNNEL.to_owned(), "192.168.1.0/32".parse().unwrap()));
    let gateway = Some(node(206).into());
    let to = by(TUNNEL, gateway);
    state.routes.extend([route("192.168.2.0/26", to, PROTOCOL_BIRD, SCOPE_UNIVERSE)]);
    state
}

fn bpf() -> LinkKind {
    LinkKind::IpipBpf { local: node(136), uplinks: ["eth0".to_owned()].into() }
}

fn owned_with_bird() -> Ownership {
    let mut owned = owned();
    owned.route_protocols.insert(PROTOCOL_BIRD);
    owned
}

/// The changes, in words, and the state after them.
fn way(actual: State, desired: &State) -> (String, State) {
    let changes = diff(desired, &actual, &owned_with_bird());
    let after = follow(actual, &changes, |_| ());
    assert_eq!(diff(desired, &after, &owned_with_bird()), vec![]);
    (text(&changes), after)
}

#[test]
fn by_bpf_it_takes_packets_before_any_are_sent_and_goes_wholly() {
    let (changes, made) = way(machine(), &plan(bpf()));
    expect![[r#"
        link add tunl0 mtu 1480 up type ipip (by BPF) local 10.30.0.136 dev eth0
        addr add 192.168.1.0/32 dev tunl0
        tunnel source add 10.30.0.206 dev tunl0
        route replace 192.168.2.0/26 via 10.30.0.206 dev tunl0 proto bird onlink
    "#]]
    .assert_eq(&changes);
    let mut moved =
        plan(LinkKind::IpipBpf { local: node(137), uplinks: UPLINKS.map(str::to_owned).into() });
    moved.decapsulated.insert(TUNNEL.to_owned(), [node(207)].into());
    let (changes, moved) = way(made, &moved);
    expect![[r#"
        link set tunl0 type ipip (by BPF) local 10.30.0.137 dev eth0,eth1
        tunnel source add 10.30.0.207 dev tunl0
        tunnel source del 10.30.0.206 dev tunl0
    "#]]
    .assert_eq(&changes);
    let (changes, after) = way(moved, &State::default());
    expect![[r#"
        route del 192.168.2.0/26 via 10.30.0.206 dev tunl0 proto bird onlink
        link del tunl0
    "#]]
    .assert_eq(&changes);
    assert_eq!(after, machine());
}

/// It comes with the module, down, and stays for ever.
#[test]
fn the_kernels_own_is_adopted_and_left_down() {
    let (changes, made) = way(machine(), &plan(LinkKind::Ipip));
    expect![[r#"
        link add tunl0 mtu 1480 up type ipip
        addr add 192.168.1.0/32 dev tunl0
        route replace 192.168.2.0/26 via 10.30.0.206 dev tunl0 proto bird onlink
    "#]]
    .assert_eq(&changes);
    let (changes, left) = way(made, &State::default());
    expect![[r#"
        route del 192.168.2.0/26 via 10.30.0.206 dev tunl0 proto bird onlink
        addr del 192.168.1.0/32 dev tunl0
        link set tunl0 down
    "#]]
    .assert_eq(&changes);
    assert!(!left.links[TUNNEL].up);
    let (changes, _) = way(left, &plan(LinkKind::Ipip));
    expect![[r#"
        link set tunl0 up
        addr add 192.168.1.0/32 dev tunl0
        route replace 192.168.2.0/26 via 10.30.0.206 dev tunl0 proto bird onlink
    "#]]
    .assert_eq(&changes);
}

#[test]
fn a_kernel_that_has_learned_ipip_gets_its_own_device() {
    let (_, made) = way(machine(), &plan(bpf()));
    let (changes, _) = way(made, &plan(LinkKind::Ipip));
    expect![[r#"
        link del tunl0
        link add tunl0 mtu 1480 up type ipip
        addr add 192.168.1.0/32 dev tunl0
        route replace 192.168.2.0/26 via 10.30.0.206 dev tunl0 proto bird onlink
    "#]]
    .assert_eq(&changes);
}

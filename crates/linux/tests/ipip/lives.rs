//! The device outlives its maker, is read back, repaired, changed without loss, and goes wholly.

use crate::node::{Node, TUNNEL, UPLINK, address, pair, plan, pod, run};
use kernel::{LinkKind, State};
use linux::rtnetlink::Rtnetlink;
use std::time::{Duration, Instant};

fn filters(node: &Node, device: &str) -> String {
    run(&node.namespace, &format!("tc filter show dev {device} ingress"))
}

fn ping(one: &Node) {
    run(&one.pod, &format!("ping -q -c 2 -i 0.05 -W 5 {}", pod(2)));
}

#[test]
fn another_process_finds_everything_right() {
    let (one, mut two) = pair();
    let before = (filters(&two, UPLINK), filters(&two, "tunl0p"));
    two.netlink = Rtnetlink::open_in(&two.namespace).unwrap();
    assert_eq!(two.bring_to(&plan(2, &[1])), Vec::<String>::new());
    assert_eq!((filters(&two, UPLINK), filters(&two, "tunl0p")), before);
    let state = two.read(&State::default());
    assert!(!state.links.contains_key("tunl0p"), "its hidden end isn't a device of its own");
    ping(&one);
}

#[test]
fn what_is_missing_or_of_another_build_is_repaired() {
    let (one, mut two) = pair();
    run(&two.namespace, &format!("tc filter del dev {UPLINK} ingress"));
    let changes = two.bring_to(&plan(2, &[1]));
    assert_eq!(changes, ["link set tunl0 type ipip (by BPF) local 10.30.0.2 dev ens5"]);
    ping(&one);
    // Programs for another address are as wrong as those of another build.
    let mut moved = plan(2, &[1]);
    moved.links.get_mut(TUNNEL).unwrap().kind =
        LinkKind::IpipBpf { local: address(9), uplinks: [UPLINK.to_owned()].into() };
    two.bring_to(&moved);
    let changes = two.bring_to(&plan(2, &[1]));
    assert_eq!(changes, ["link set tunl0 type ipip (by BPF) local 10.30.0.2 dev ens5"]);
    ping(&one);
    // A pair of that name without programs isn't the device.
    run(&two.namespace, "tc qdisc del dev tunl0p clsact");
    let changes = two.bring_to(&plan(2, &[1]));
    assert_eq!(changes[0], "link del tunl0");
    ping(&one);
}

#[test]
fn another_uplink_costs_no_packet() {
    let (one, mut two) = pair();
    // Not in the packets' way, as a device that gets its first filter, or loses its last, stands
    // still for a moment.
    two.ip("link add ens6 type veth peer name ens7");
    ping(&one);
    std::thread::scope(|scope| {
        let pings = scope.spawn(|| run(&one.pod, &format!("ping -q -c 200 -i 0.005 {}", pod(2))));
        while !pings.is_finished() {
            for uplinks in [vec![UPLINK, "ens6"], vec![UPLINK]] {
                let mut desired = plan(2, &[1]);
                let uplinks = uplinks.into_iter().map(str::to_owned).collect();
                desired.links.get_mut(TUNNEL).unwrap().kind =
                    LinkKind::IpipBpf { local: address(2), uplinks };
                assert_eq!(two.bring_to(&desired).len(), 1);
            }
        }
        let said = pings.join().unwrap();
        assert!(said.contains(" 200 received, 0% packet loss"), "{said}");
    });
    assert_eq!(filters(&two, "ens6"), "");
    assert!(!run(&two.namespace, "tc qdisc show dev ens6").contains("clsact"));
}

#[test]
fn nothing_of_it_stays_and_all_of_others_does() {
    let (_one, mut two) = pair();
    let foreign = "tc filter add dev ens5 ingress pref 9 protocol ip u32 match u32 0 0 flowid 1:1";
    run(&two.namespace, foreign);
    let programs: Vec<u32> = [filters(&two, UPLINK), filters(&two, "tunl0p")]
        .iter()
        .flat_map(|text| ids(text))
        .collect();
    assert_eq!(programs.len(), 2);
    assert!(programs.iter().all(|id| is_loaded(*id)));
    let changes = two.bring_to(&State::default());
    assert_eq!(
        changes,
        ["route del 192.168.1.0/26 via 10.30.0.1 dev tunl0 proto bird onlink", "link del tunl0"]
    );
    assert!(!two.ip("link show").contains("tunl0"));
    let left = filters(&two, UPLINK);
    assert!(left.contains("u32") && !left.contains("calico"), "{left}");
    let until = Instant::now() + Duration::from_secs(20);
    while programs.iter().any(|id| is_loaded(*id)) {
        assert!(Instant::now() < until, "the kernel keeps programs {programs:?}");
        std::thread::yield_now();
    }
    run(&two.namespace, "tc filter del dev ens5 ingress");
    two.bring_to(&plan(2, &[1]));
    two.bring_to(&State::default());
    assert!(!run(&two.namespace, "tc qdisc show dev ens5").contains("clsact"));
}

/// Numbers of the programs in tc's list.
fn ids(filters: &str) -> Vec<u32> {
    let after = filters.split(" id ").skip(1);
    after.map(|rest| rest.split(' ').next().unwrap().parse().unwrap()).collect()
}

/// Whether a program is there: BPF_PROG_GET_FD_BY_ID of linux/bpf.h.
fn is_loaded(id: u32) -> bool {
    let mut attribute = [id, 0, 0];
    // SAFETY: the kernel reads the twelve bytes of the attribute.
    let file = unsafe { libc::syscall(libc::SYS_bpf, 13, &raw mut attribute, 12) };
    let Ok(file) = i32::try_from(file) else { return false };
    if file < 0 {
        return false;
    }
    // SAFETY: the file descriptor is new and used nowhere else.
    unsafe { libc::close(file) };
    true
}

#[test]
fn looks_like_the_kernels_in_ip() {
    let (one, _two) = pair();
    let shown = one.ip("addr show tunl0");
    assert!(shown.contains("NOARP,UP,LOWER_UP> mtu 1480 qdisc noqueue state UP"), "{shown}");
    assert!(shown.contains("inet 192.168.1.0/32 scope global tunl0"), "{shown}");
    assert!(!shown.contains("inet6"), "{shown}");
    let routes = one.ip("route show proto bird");
    assert_eq!(routes.trim(), "192.168.2.0/26 via 10.30.0.2 dev tunl0 onlink");
}

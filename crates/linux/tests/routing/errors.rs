//! What the kernel refuses is said with the object, its words and the next step.

use crate::machine::{Machine, route};
use expect_test::expect;
use kernel::{Link, LinkKind, RouteTarget};
use linux::rtnetlink::{Peer, Veth};

fn link(kind: &str) -> Link {
    Link { kind: LinkKind::Other(kind.to_owned()), mtu: 1500, mac: None, up: false }
}

#[test]
fn refusals_name_object_cause_and_next_step() {
    let mut machine = Machine::new();
    let netlink = &mut machine.netlink;
    let peer = Peer { name: "other", mac: None, namespace: None };
    let taken = netlink.create_veth(&Veth { name: "eth0", mtu: 1500, mac: None, peer });
    let unknown = netlink.create_link("d0", &link("nosuchkind"));
    let long = netlink.create_bridge("a-name-of-16-byte", 1500);
    let gone = netlink.delete_link("nowhere");
    let far = RouteTarget::Via {
        device: "eth0".to_owned(),
        gateway: Some([172, 16, 0, 1].into()),
        onlink: false,
    };
    let (key, far) = route("192.168.1.0/26".parse().unwrap(), far, 80, 0);
    let unreachable = netlink.replace_route(&key, &far);
    let absent = netlink.delete_route(&key, &far);
    assert!(absent.as_ref().unwrap_err().is_absent());
    assert!(gone.as_ref().unwrap_err().is_absent());
    assert!(taken.as_ref().unwrap_err().is_present());
    let no_device = netlink.add_address("nowhere", "10.0.0.1/32".parse().unwrap());
    let vxlan = LinkKind::Vxlan {
        vni: 1,
        port: 4789,
        local: [10, 30, 0, 136].into(),
        parent: "nowhere".to_owned(),
    };
    let no_parent = netlink.create_link("v", &Link { kind: vxlan, mtu: 1450, mac: None, up: true });
    let all = [taken, unknown, long, gone, unreachable, absent, no_device, no_parent];
    let text: String = all.into_iter().map(|one| format!("{}\n", one.unwrap_err())).collect();
    expect![[r#"
        link add eth0 type veth peer name other: EEXIST: File exists; something of that name or key exists already; remove it or choose another
        link add d0 mtu 1500 type nosuchkind: EOPNOTSUPP: Operation not supported on transport endpoint (Unknown device type); the kernel lacks this feature: load its module (see `modprobe -l`, `/proc/config.gz`) or use a kernel that has it
        device "a-name-of-16-byte": not a device name: 1 to 15 visible characters without / and :
        link del nowhere: ENODEV: No such device; was it removed? `ip link` lists what this network namespace has
        route replace 192.168.1.0/26 via 172.16.0.1 dev eth0 proto 80: ENETUNREACH: Network is unreachable (Nexthop has invalid gateway); no route leads to the gateway; is its device up, and is its subnet on the device?
        route del 192.168.1.0/26 via 172.16.0.1 dev eth0 proto 80: ESRCH: No such process; it isn't there, or not any more
        no device nowhere in this network namespace; was it removed? `ip link` lists what is there
        no device nowhere in this network namespace; was it removed? `ip link` lists what is there
    "#]].assert_eq(&text);
}

#[test]
fn sysctls_name_their_file() {
    let machine = Machine::new();
    let refused = machine.namespace.run(|| {
        [
            linux::sysctl::read("net/ipv4/nosuch").unwrap_err(),
            linux::sysctl::write("net/ipv4/nosuch", "1").unwrap_err(),
            linux::sysctl::write("net/ipv4/ip_forward", "perhaps").unwrap_err(),
            linux::sysctl::read("../etc/passwd").unwrap_err(),
        ]
    });
    let text: String = refused.unwrap().iter().map(|error| format!("{error}\n")).collect();
    expect![[r#"
        reading /proc/sys/net/ipv4/nosuch: No such file or directory (os error 2); it isn't there, or not any more
        setting /proc/sys/net/ipv4/nosuch to 1: No such file or directory (os error 2); it isn't there, or not any more
        setting /proc/sys/net/ipv4/ip_forward to perhaps: Invalid argument (os error 22)
        sysctl "../etc/passwd": not a path below /proc/sys; write it as net/ipv4/ip_forward
    "#]]
    .assert_eq(&text);
}

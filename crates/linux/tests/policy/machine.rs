//! A node in a namespace of its own, whose interfaces are TUN devices: what is written to one
//! arrives there, what leaves by one is read. So a packet costs two system calls.

use crate::random::{INTERFACES, OF_HOST, WORKLOADS};
use crate::reasons::Reasons;
use crate::wire;
use kernel::nft::{self, Table, Tables};
use linux::netns::NetNs;
use linux::nft::Nft;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, SockaddrIn6, recv, send,
    sendto, socket,
};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::Command;
use std::time::{Duration, Instant};

/// Where packets come from and go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// A device, as an index into [`DEVICES`].
    Device(usize),
    /// The node itself.
    Host,
}

/// All devices.
pub(crate) const DEVICES: [&str; 4] = [WORKLOADS[0], WORKLOADS[1], INTERFACES[0], INTERFACES[1]];
/// What leads to each device.
const ROUTES: [(&str, &[&str]); 4] = [
    (WORKLOADS[0], &["10.65.0.0/16", "fd00:65::/32"]),
    (WORKLOADS[1], &["10.65.2.0/24", "fd00:65:2::/48"]),
    (INTERFACES[0], &["0.0.0.0/0", "::/0"]),
    (INTERFACES[1], &["10.66.0.0/16", "fd00:66::/32"]),
];
/// Protocols whose packets are looked for where the node itself gets them.
const OF_NODE: [(AddressFamily, u8); 12] = [
    (AddressFamily::Inet, 1),
    (AddressFamily::Inet, 4),
    (AddressFamily::Inet, 6),
    (AddressFamily::Inet, 17),
    (AddressFamily::Inet, 47),
    (AddressFamily::Inet, 132),
    (AddressFamily::Inet6, 4),
    (AddressFamily::Inet6, 6),
    (AddressFamily::Inet6, 17),
    (AddressFamily::Inet6, 47),
    (AddressFamily::Inet6, 58),
    (AddressFamily::Inet6, 132),
];

/// The node.
pub(crate) struct Machine {
    devices: Vec<File>,
    /// Raw sockets, by which packets are seen that the node accepts.
    received: Vec<(u8, AddressFamily, OwnedFd)>,
    /// Raw sockets, by which the node sends.
    sending: [OwnedFd; 2],
    connections: OwnedFd,
    nft: Nft,
    /// What is logged.
    pub(crate) reasons: Reasons,
}

impl Machine {
    /// A node without tables.
    pub(crate) fn new() -> Machine {
        let namespace = NetNs::create().expect("these tests need root");
        namespace.run(Machine::here).unwrap()
    }

    fn here() -> Machine {
        let devices = DEVICES.iter().map(|name| tun(name)).collect();
        for arguments in ["link set lo up", "addr add 10.64.0.1/32 dev lo"] {
            ip(arguments);
        }
        ip(&format!("addr add {}/128 dev lo", OF_HOST[1]));
        for (device, destinations) in ROUTES {
            ip(&format!("link set {device} up"));
            for destination in destinations {
                ip(&format!("route add {destination} dev {device}"));
            }
        }
        for (path, value) in [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/forwarding", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/icmp_ratelimit", "0"),
            ("net/netfilter/nf_conntrack_checksum", "0"),
        ] {
            linux::sysctl::write(path, value).unwrap();
        }
        let raw = |family, protocol| {
            let kind = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
            raw_socket(family, protocol, kind)
        };
        let received = OF_NODE.map(|(family, protocol)| (protocol, family, raw(family, protocol)));
        let sending = [AddressFamily::Inet, AddressFamily::Inet6].map(|family| raw(family, 255));
        let connections = socket(
            AddressFamily::Netlink,
            SockType::Raw,
            SockFlag::SOCK_CLOEXEC,
            SockProtocol::NetlinkNetFilter,
        )
        .unwrap();
        let nft = Nft::open().unwrap();
        let reasons = Reasons::open();
        Machine { devices, received: received.into(), sending, connections, nft, reasons }
    }

    /// Tells the kernel what it does not know yet of what is desired.
    pub(crate) fn program(&mut self, tables: &mut Tables) {
        self.nft.apply(&tables.changes()).unwrap();
        tables.commit();
    }

    /// Whether the kernel has what is desired.
    pub(crate) fn check(&mut self, tables: &Tables) {
        let families = [nft::Family::Ip, nft::Family::Ip6];
        let actual = families.map(|family| self.nft.read(family, "calico").unwrap());
        let actual: Vec<Table> = actual.into_iter().flatten().collect();
        let desired: Vec<Table> = tables.desired().cloned().collect();
        assert_eq!(nft::diff(&desired, &actual), []);
    }

    /// Forgets all connections, so that every packet begins one.
    pub(crate) fn forget_connections(&self) {
        // nfnetlink: IPCTNL_MSG_CT_DELETE of ctnetlink, request and acknowledgement; of all
        // families.
        let mut message = 20u32.to_ne_bytes().to_vec();
        message.extend(0x0102u16.to_ne_bytes());
        message.extend(5u16.to_ne_bytes());
        message.extend([0; 12]);
        send(self.connections.as_raw_fd(), &message, MsgFlags::empty()).unwrap();
        let mut answer = [0; 64];
        let length = recv(self.connections.as_raw_fd(), &mut answer, MsgFlags::empty()).unwrap();
        assert_eq!(answer[16..20], [0; 4], "refused: {:?}", &answer[..length]);
    }

    /// A packet starts out.
    pub(crate) fn send(&mut self, from: Spot, bytes: &[u8], to: IpAddr) {
        let Spot::Device(device) = from else {
            let sent = match to {
                IpAddr::V4(to) => {
                    let to = SockaddrIn::from(SocketAddrV4::new(to, 0));
                    sendto(self.sending[0].as_raw_fd(), bytes, &to, MsgFlags::empty())
                }
                IpAddr::V6(to) => {
                    let to = SockaddrIn6::from(SocketAddrV6::new(to, 0, 0, 0));
                    sendto(self.sending[1].as_raw_fd(), bytes, &to, MsgFlags::empty())
                }
            };
            // What the output chains drop, the sender is told of.
            assert!(matches!(sent, Ok(_) | Err(nix::errno::Errno::EPERM)), "{sent:?}");
            return;
        };
        self.devices[device].write_all(bytes).unwrap();
    }

    /// Type and code of the next ICMP or ICMPv6 packet that comes out by a device.
    pub(crate) fn next_icmp(&mut self, device: usize, patience: Duration) -> Option<(u8, u8)> {
        let until = Instant::now() + patience;
        let mut buffer = [0; 2048];
        while Instant::now() < until {
            match self.devices[device].read(&mut buffer) {
                Ok(_) if buffer[0] == 0x45 && buffer[9] == 1 => {
                    return Some((buffer[20], buffer[21]));
                }
                Ok(_) if buffer[0] >> 4 == 6 && buffer[6] == 58 => {
                    return Some((buffer[40], buffer[41]));
                }
                _ => std::thread::yield_now(),
            }
        }
        None
    }

    /// Numbers of packets that have come out since, with where, and where they go.
    pub(crate) fn seen(&mut self) -> Vec<(u64, Spot, Option<IpAddr>)> {
        let mut seen = Vec::new();
        let mut buffer = [0; 2048];
        for (index, device) in self.devices.iter_mut().enumerate() {
            while let Ok(length) = device.read(&mut buffer) {
                if let Some((number, to)) = wire::number(&buffer[..length], None) {
                    seen.push((number, Spot::Device(index), to));
                }
            }
        }
        for (protocol, family, socket) in &self.received {
            while let Ok(length) = recv(socket.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                let without_header = (*family == AddressFamily::Inet6).then_some(*protocol);
                if let Some((number, to)) = wire::number(&buffer[..length], without_header) {
                    seen.push((number, Spot::Host, to));
                }
            }
        }
        seen
    }
}

fn ip(arguments: &str) {
    let version = if arguments.contains("::") { "-6" } else { "-4" };
    let words = arguments.split(' ');
    let output = Command::new("ip").arg(version).args(words).output().unwrap();
    assert!(output.status.success(), "ip {arguments}: {output:?}");
}

fn raw_socket(family: AddressFamily, protocol: u8, flags: SockFlag) -> OwnedFd {
    let family = family as libc::c_int;
    let kind = libc::SOCK_RAW | flags.bits();
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(family, kind, libc::c_int::from(protocol)) };
    nix::errno::Errno::result(fd).unwrap();
    // SAFETY: the descriptor was just made, and nothing else has it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// A new device of IP packets.
fn tun(name: &str) -> File {
    let file = File::options().read(true).write(true).open("/dev/net/tun").expect("/dev/net/tun");
    // SAFETY: an ifreq is numbers and bytes only, for which zero is a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (byte, of_name) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *byte = of_name.try_into().unwrap();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI).try_into().unwrap();
    // SAFETY: the kernel reads and writes an ifreq, which lives longer than the call.
    let made = unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) };
    nix::errno::Errno::result(made).unwrap();
    fcntl(&file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).unwrap();
    file
}

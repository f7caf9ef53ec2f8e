//! Frames as they are on a device, sent and seen.

use crate::node::{address, mac, pod};
use linux::netns::NetNs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, setsockopt, socket,
    sockopt::ReceiveTimeout,
};
use nix::sys::time::TimeVal;
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(10);
pub(crate) const IPIP: u8 = 4;
pub(crate) const UDP: u8 = 17;
pub(crate) const ICMP: u8 = 1;
const ETHERNET: usize = 14;

/// A device's frames.
pub(crate) struct Wire(OwnedFd);

impl Wire {
    pub(crate) fn open(namespace: &NetNs, device: &str) -> Wire {
        namespace.run(|| Wire::here(device)).unwrap()
    }

    fn here(device: &str) -> Wire {
        let all = SockProtocol::EthAll;
        let socket =
            socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, all).unwrap();
        setsockopt(&socket, ReceiveTimeout, &TimeVal::new(1, 0)).unwrap();
        let index = nix::net::if_::if_nametoindex(device).unwrap();
        // SAFETY: a sockaddr_ll is numbers only, for which zero is a value.
        let mut address: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
        address.sll_family = libc::AF_PACKET.try_into().unwrap();
        address.sll_protocol = (libc::ETH_P_ALL as u16).to_be();
        address.sll_ifindex = index.cast_signed();
        let length = size_of_val(&address).try_into().unwrap();
        // SAFETY: the address lives longer than the call and is as long as said.
        let bound = unsafe { libc::bind(socket.as_raw_fd(), (&raw const address).cast(), length) };
        nix::errno::Errno::result(bound).unwrap();
        Wire(socket)
    }

    /// Sends an IP packet from node 1 to node 2.
    pub(crate) fn send(&self, packet: &[u8]) {
        let mut frame = [mac(2).0, mac(1).0].concat();
        frame.extend([8, 0]);
        frame.extend(packet);
        send(self.0.as_raw_fd(), &frame, MsgFlags::empty()).unwrap();
    }

    /// The next IP packet that is looked for.
    pub(crate) fn wait(&self, wanted: impl Fn(&Packet) -> bool) -> Packet {
        let until = Instant::now() + PATIENCE;
        let mut buffer = vec![0; 70_000];
        while Instant::now() < until {
            let Ok(length) = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) else {
                continue;
            };
            if buffer[12..ETHERNET] == [8, 0] {
                let packet = Packet(buffer[ETHERNET..length].to_vec());
                if wanted(&packet) {
                    return packet;
                }
            }
        }
        panic!("no such packet came");
    }
}

/// An IPv4 packet.
#[derive(Clone, Debug)]
pub(crate) struct Packet(pub(crate) Vec<u8>);

impl Packet {
    pub(crate) fn new(
        source: Ipv4Addr,
        destination: Ipv4Addr,
        protocol: u8,
        data: &[u8],
    ) -> Packet {
        let mut bytes = vec![0x45, 0, 0, 0, 0, 7, 0, 0, 64, protocol, 0, 0];
        bytes.extend(source.octets());
        bytes.extend(destination.octets());
        bytes.extend(data);
        Packet(bytes).finished()
    }

    /// A datagram from pod 1 to pod 2.
    pub(crate) fn datagram(data: &[u8]) -> Packet {
        let length = u8::try_from(8 + data.len()).unwrap();
        let udp = [&[0, 9, 0, 7, 0, length, 0, 0], data].concat();
        Packet::new(pod(1), pod(2), UDP, &udp)
    }

    /// In a packet from node 1 to node 2.
    pub(crate) fn wrapped(&self) -> Packet {
        Packet::new(address(1), address(2), IPIP, &self.0)
    }

    /// With one byte set.
    pub(crate) fn with(mut self, at: usize, byte: u8) -> Packet {
        self.0[at] = byte;
        self.finished()
    }

    /// With options, which must be multiples of four bytes.
    pub(crate) fn with_options(mut self, options: &[u8]) -> Packet {
        self.0.splice(20..20, options.iter().copied());
        self.0[0] += u8::try_from(options.len() / 4).unwrap();
        self.finished()
    }

    fn finished(mut self) -> Packet {
        let length = u16::try_from(self.0.len()).unwrap();
        self.0[2..4].copy_from_slice(&length.to_be_bytes());
        self.0[10..12].fill(0);
        let sum = checksum(&self.0[..self.header()]);
        self.0[10..12].copy_from_slice(&sum.to_be_bytes());
        self
    }

    fn header(&self) -> usize {
        usize::from(self.0[0] & 15) * 4
    }

    pub(crate) fn is_sound(&self) -> bool {
        checksum(&self.0[..self.header()]) == 0
    }

    pub(crate) fn protocol(&self) -> u8 {
        self.0[9]
    }

    pub(crate) fn tos(&self) -> u8 {
        self.0[1]
    }

    pub(crate) fn ttl(&self) -> u8 {
        self.0[8]
    }

    pub(crate) fn source(&self) -> Ipv4Addr {
        self.0[12..16].iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)).into()
    }

    pub(crate) fn destination(&self) -> Ipv4Addr {
        self.0[16..20].iter().fold(0u32, |sum, byte| sum << 8 | u32::from(*byte)).into()
    }

    pub(crate) fn content(&self) -> &[u8] {
        &self.0[self.header()..]
    }
}

/// RFC 1071.
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|word| u32::from(word[0]) << 8 | u32::from(word.get(1).copied().unwrap_or_default()));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap()
}

//! Simple BGP peers: one that announces, one that counts what it is told.

use super::{COLLECTOR_AS, LIMIT, SAME_ATTRIBUTES, SPEAKER, SPEAKER_AS, index};
use anyhow::{Context, Result, bail, ensure};
use bgp::wire::{
    self, Agreed, Attributes, Capability, Family, HEADER_BYTES, Message, Open, encode_announcement,
};
use ipnet::IpNet;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, socket};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Instant;

/// Bytes read at once.
const READ_BYTES: usize = 1 << 16;
/// Seconds; longer than any measurement, so that nobody need send KEEPALIVEs.
const HOLD_TIME: u16 = 600;

/// An established session.
struct Session {
    stream: TcpStream,
    /// What has come and is not a whole message yet.
    buffer: Vec<u8>,
    agreed: Agreed,
}

impl Session {
    fn establish(address: Ipv4Addr, own_as: u32) -> Result<Session> {
        let stream = open(address).with_context(|| format!("{address} connecting"))?;
        stream.set_read_timeout(Some(LIMIT)).context("a time limit")?;
        stream.set_write_timeout(Some(LIMIT)).context("a time limit")?;
        let agreed = Agreed { four_octet_as: true, external: own_as != SPEAKER_AS };
        let mut session = Session { stream, buffer: Vec::new(), agreed };
        session.send(&Message::Open(Open {
            autonomous_system: own_as,
            hold_time: HOLD_TIME,
            router_id: address,
            capabilities: vec![
                Capability::Multiprotocol(Family::Ipv4),
                Capability::FourOctetAs(own_as),
            ],
        }))?;
        let mut opened = false;
        loop {
            for message in session.receive()? {
                match message {
                    Message::Open(_) => {
                        opened = true;
                        session.send(&Message::Keepalive)?;
                    }
                    Message::Keepalive if opened => return Ok(session),
                    other => bail!("{address}: unexpected {other:?}"),
                }
            }
        }
    }

    fn send(&mut self, message: &Message) -> Result<()> {
        let mut bytes = Vec::new();
        message.encode(self.agreed, &mut bytes);
        self.stream.write_all(&bytes).context("sending")
    }

    /// At least one message.
    fn receive(&mut self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        while messages.is_empty() {
            let start = self.buffer.len();
            self.buffer.resize(start + READ_BYTES, 0);
            let read = self.stream.read(&mut self.buffer[start..]).context("receiving")?;
            self.buffer.truncate(start + read);
            ensure!(read > 0, "the speaker has closed the connection");
            let mut taken = 0;
            while self.buffer.len() - taken >= HEADER_BYTES {
                let rest = &self.buffer[taken..];
                let framed = wire::frame(rest).map_err(|wrong| anyhow::anyhow!("{wrong}"))?;
                let Some(length) = framed else { break };
                let message = Message::decode(&rest[..length], self.agreed);
                messages.push(message.map_err(|wrong| anyhow::anyhow!("{wrong}"))?);
                taken += length;
            }
            self.buffer.drain(..taken);
        }
        Ok(messages)
    }
}

/// A TCP connection to the speaker from an address.
fn open(from: Ipv4Addr) -> Result<TcpStream> {
    let socket = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    bind(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(from, 0)))?;
    connect(socket.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(SPEAKER, 179)))?;
    Ok(TcpStream::from(socket))
}

/// A peer with prefixes to announce.
pub(super) struct Feeder {
    session: Session,
    updates: Vec<u8>,
}

impl Feeder {
    pub(super) fn connect(address: Ipv4Addr, prefixes: &[IpNet]) -> Result<Feeder> {
        let session = Session::establish(address, SPEAKER_AS)?;
        let updates = updates(address, prefixes, session.agreed);
        Ok(Feeder { session, updates })
    }

    /// Announces everything; the session stays up as long as the returned value lives.
    pub(super) fn feed(mut self) -> Result<Feeder> {
        self.session.stream.write_all(&self.updates).context("feeding")?;
        Ok(self)
    }
}

fn updates(address: Ipv4Addr, prefixes: &[IpNet], agreed: Agreed) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (number, mut prefixes) in prefixes.chunks(SAME_ATTRIBUTES).enumerate() {
        let attributes = Attributes {
            local_pref: Some(100),
            communities: vec![64512 << 16 | number as u32],
            ..Attributes::default()
        };
        while !prefixes.is_empty() {
            let next_hop = address.into();
            let taken = encode_announcement(&attributes, next_hop, prefixes, agreed, &mut bytes);
            prefixes = &prefixes[taken..];
        }
    }
    bytes
}

/// A peer that counts the prefixes it is told.
pub(super) struct Collector {
    session: Session,
    missing: usize,
    told: Vec<bool>,
}

impl Collector {
    pub(super) fn connect(address: Ipv4Addr, total: usize) -> Result<Collector> {
        let session = Session::establish(address, COLLECTOR_AS)?;
        Ok(Collector { session, missing: total, told: vec![false; total] })
    }

    /// When everything had been told.
    pub(super) fn collect(mut self) -> Result<Instant> {
        while self.missing > 0 {
            for message in self.session.receive()? {
                if let Message::Update(update) = message {
                    let announced = update.announced.iter().flat_map(|a| &a.prefixes);
                    for number in announced.filter_map(|prefix| index(*prefix)) {
                        let told = self.told.get_mut(number).context("a prefix of nobody")?;
                        self.missing -= usize::from(!std::mem::replace(told, true));
                    }
                }
            }
        }
        Ok(Instant::now())
    }
}

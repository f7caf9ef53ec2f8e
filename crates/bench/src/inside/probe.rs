//! What becomes of packets from one pod to another: told packet by packet.

use anyhow::{Context, Result, bail};
use linux::netns::NetNs;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// How often a packet is sent.
const INTERVAL: Duration = Duration::from_micros(200);
/// So many in a row that don't arrive are dropped, if they haven't arrived after this time either.
const DROPPED: usize = 50;
const LATE_MAX: Duration = Duration::from_millis(20);
/// How long a change may take before something is wrong.
const LIMIT: Duration = Duration::from_secs(20);

/// What becomes of packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Delivered,
    Dropped,
}

/// Two sockets of one process, in two network namespaces. Nothing is ever answered, so each packet
/// is one of a new connection to whoever tracks them.
pub(crate) struct Probe {
    sender: UdpSocket,
    receiver: UdpSocket,
    sent: u32,
}

/// Packets sent until now, and which of them have arrived.
#[derive(Default)]
struct Trial {
    sent: Vec<Instant>,
    first: Option<usize>,
    last: Option<usize>,
}

impl Trial {
    fn arrived(&mut self, number: usize) {
        self.first = Some(self.first.map_or(number, |first| first.min(number)));
        self.last = Some(self.last.map_or(number, |last| last.max(number)));
    }

    /// When the first packet was sent that fared so, and all after it; `None` if that isn't known
    /// yet.
    fn since(&self, wanted: Fate) -> Option<Instant> {
        let first = match wanted {
            Fate::Delivered => self.first?,
            Fate::Dropped => {
                let next = self.last.map_or(0, |last| last + 1);
                (self.sent.len() >= next + DROPPED).then_some(next)?
            }
        };
        self.sent.get(first).copied()
    }
}

impl Probe {
    /// From a namespace to an address and port of another.
    ///
    /// # Errors
    /// Not root, or the port is taken.
    pub(crate) fn new(from: &NetNs, to: &NetNs, address: IpAddr, port: u16) -> Result<Probe> {
        let target = SocketAddr::new(address, port);
        let receiver = to.run(|| UdpSocket::bind(target))?;
        let receiver = receiver.with_context(|| format!("listening at {target}"))?;
        receiver.set_nonblocking(true).context("a socket that doesn't wait")?;
        let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let sender = from.run(|| {
            let sender = UdpSocket::bind(unspecified)?;
            sender.connect(target)?;
            Ok::<_, std::io::Error>(sender)
        })?;
        let sender = sender.with_context(|| format!("a socket to {target}"))?;
        Ok(Probe { sender, receiver, sent: 0 })
    }

    /// Sends until that becomes of the packets: when the first one was sent that fared so.
    ///
    /// # Errors
    /// It doesn't come to that.
    pub(crate) fn until(&mut self, wanted: Fate) -> Result<Instant> {
        let (begun, before) = (Instant::now(), self.sent);
        let mut trial = Trial::default();
        while begun.elapsed() < LIMIT {
            trial.sent.push(Instant::now());
            self.sender.send(&self.sent.to_be_bytes()).context("sending a packet")?;
            self.sent += 1;
            self.take_arrived(&mut trial, before)?;
            if wanted == Fate::Dropped && trial.since(wanted).is_some() {
                std::thread::sleep(LATE_MAX);
                self.take_arrived(&mut trial, before)?;
            }
            if let Some(since) = trial.since(wanted) {
                return Ok(since);
            }
            std::thread::sleep(INTERVAL);
        }
        let target = self.sender.peer_addr().context("a socket without a target")?;
        bail!("packets to {target} are not {wanted:?} within {LIMIT:?}; see `calicoctl explain`")
    }

    /// Takes what has arrived; `before` were sent before the trial.
    fn take_arrived(&self, trial: &mut Trial, before: u32) -> Result<()> {
        while let Some(number) = self.next_arrived()? {
            // One of an earlier trial may have been late.
            if let Some(number) = number.checked_sub(before) {
                trial.arrived(usize::try_from(number)?);
            }
        }
        Ok(())
    }

    fn next_arrived(&self) -> Result<Option<u32>> {
        let mut number = [0; 4];
        match self.receiver.recv(&mut number) {
            Ok(_) => Ok(Some(u32::from_be_bytes(number))),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error).context("receiving packets"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{DROPPED, Fate, Trial};
    use std::time::{Duration, Instant};

    #[test]
    fn a_change_is_dated_by_the_first_packet_that_met_it() {
        let begun = Instant::now();
        let at = |number| begun + Duration::from_millis(number);
        let mut trial = Trial { sent: (0..60).map(at).collect(), ..Trial::default() };
        assert_eq!(trial.since(Fate::Delivered), None);
        assert_eq!(trial.since(Fate::Dropped), Some(at(0)));
        for number in [3, 2, 9] {
            trial.arrived(number);
        }
        assert_eq!(trial.since(Fate::Delivered), Some(at(2)));
        assert_eq!(trial.since(Fate::Dropped), Some(at(10)), "{DROPPED} have not arrived since");
        trial.arrived(11);
        assert_eq!(trial.since(Fate::Dropped), None, "the last ones may be late");
    }
}

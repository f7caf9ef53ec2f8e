//! Why packets were denied, and by which rules logged, as the kernel tells NFLOG's listeners.

use crate::random::{OF_HOST, WITH_PORTS};
use linux::Transport;
use linux::nflog::{LoggedPacket, NflogReader};
use policy::evaluate::{At, Decision, Owner, Packet, Reason, RuleId, Step};
use policy::input::Action;
use policy::nflog_prefix::{Origin, Prefix};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// How long the kernel may take to tell.
const PATIENCE: Duration = Duration::from_secs(2);

/// A packet's addresses, protocol, ports or ICMP's type and code, and the prefix of its log.
type Log = (IpAddr, IpAddr, u8, Option<(u16, u16)>, Option<(u8, u8)>, String);

/// What must be logged, and what is.
pub(crate) struct Reasons {
    reader: NflogReader,
    expected: BTreeSet<Log>,
    logged: BTreeSet<Log>,
    count: usize,
}

impl Reasons {
    /// Listens in the calling thread's namespace.
    pub(crate) fn open() -> Reasons {
        let reader = NflogReader::open(&[1, 2]).unwrap();
        Reasons { reader, expected: BTreeSet::new(), logged: BTreeSet::new(), count: 0 }
    }

    /// What was decided about a packet that has been sent.
    pub(crate) fn expect(&mut self, packet: &Packet, decisions: &[(At, Decision)]) {
        if is_of_host(packet.source) {
            return;
        }
        let prefixes = decisions.iter().flat_map(|(at, decision)| prefixes(*at, decision));
        let Packet { source, destination, protocol, ports, icmp } = *packet;
        let log = |prefix: Prefix| (source, destination, protocol, ports, icmp, prefix.text());
        self.expected.extend(prefixes.map(log));
    }

    /// Reads what has been logged so far; how often what was expected has been found.
    ///
    /// # Errors
    /// Something that must be logged is not, or something else is.
    pub(crate) fn check(&mut self) -> Result<usize, String> {
        let until = Instant::now() + PATIENCE;
        while !self.logged.is_superset(&self.expected) && Instant::now() < until {
            let logged = &mut self.logged;
            let take = |packet| logged.extend(log_of(packet));
            self.reader.read(Duration::from_millis(20), take).unwrap();
        }
        let (expected, logged) =
            (std::mem::take(&mut self.expected), std::mem::take(&mut self.logged));
        self.count += expected.len();
        if let Some(missing) = expected.difference(&logged).next() {
            return Err(format!("{missing:?} was not logged"));
        }
        let known = |log: &&Log| expected.iter().any(|one| one.0 == log.0 && one.1 == log.1);
        match logged.difference(&expected).find(known) {
            Some(other) => Err(format!("{other:?} was logged")),
            None => Ok(self.count),
        }
    }
}

/// Answers of the host itself are logged too, where its policies deny them.
fn is_of_host(source: IpAddr) -> bool {
    OF_HOST.contains(&source.to_string().as_str())
}

fn prefixes(at: At, decision: &Decision) -> Vec<Prefix> {
    let (At::Workload(direction) | At::HostEndpoint(_, direction)) = at else { return Vec::new() };
    let by = |action, origin| Prefix { action, direction, origin };
    let by_rule = |rule: &RuleId| {
        let index = u32::try_from(rule.index).unwrap();
        let origin = match &rule.owner {
            Owner::Policy { id, .. } => Origin::PolicyRule { policy: id.clone(), index },
            Owner::Profile(name) => Origin::ProfileRule { profile: name.clone(), index },
        };
        by(rule.action, origin)
    };
    let logging = decision.looked_at.iter().filter_map(|step| match step {
        Step::Rule { rule, matched: true } if rule.action == Action::Log => Some(by_rule(rule)),
        _ => None,
    });
    let denying = match &decision.by {
        Reason::Rule(rule) if rule.action == Action::Deny => Some(by_rule(rule)),
        Reason::EndOfTier(tier) => Some(by(Action::Deny, Origin::EndOfTier(tier.clone()))),
        Reason::NoProfile => Some(by(Action::Deny, Origin::NoProfile)),
        _ => None,
    };
    logging.chain(denying).collect()
}

fn log_of(packet: LoggedPacket) -> Option<Log> {
    let tuple = packet.tuple?;
    let (ports, icmp) = match tuple.transport {
        Transport::Ports { source, destination } if WITH_PORTS.contains(&tuple.protocol) => {
            (Some((source, destination)), None)
        }
        Transport::Icmp { kind, code, .. } => (None, Some((kind, code))),
        _ => (None, None),
    };
    let (source, destination) = (tuple.source, tuple.destination);
    let log = (source, destination, tuple.protocol, ports, icmp, packet.prefix);
    (!is_of_host(source)).then_some(log)
}

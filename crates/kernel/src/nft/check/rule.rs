//! What a rule may say.

use crate::nft::{
    Chain, ChainKind, Family, Hook, Match, Rejection, Rule, SetKey, Statement, Table, Verdict,
    Version,
};

/// Longest comment in bytes that `nft list` shows (NFTNL_UDATA_COMMENT_MAXLEN less the NUL).
const COMMENT_BYTES_MAX: usize = 127;
/// Longest prefix of a log in bytes (NF_LOG_PREFIXLEN less the NUL).
const LOG_PREFIX_BYTES_MAX: usize = 127;
/// Longest interface name in bytes (IFNAMSIZ less the NUL).
const INTERFACE_BYTES_MAX: usize = 15;
const TCP: u8 = 6;
const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Protocols whose header begins with the source and destination ports: TCP, UDP, SCTP.
const WITH_PORTS: [u8; 3] = [TCP, 17, 132];

impl Table {
    pub(super) fn check_rule(&self, chain: &Chain, rule: &Rule) -> Result<(), String> {
        let mut protocol = None;
        for (place, condition) in rule.matches.iter().enumerate() {
            let before = place.checked_sub(1).map(|before| &rule.matches[before]);
            self.check_set(condition)?;
            check_match(condition)?;
            self.check_place(chain, condition)?;
            check_transport(condition, protocol)?;
            self.check_version(condition, before)?;
            if let Match::Protocol(number) = condition
                && protocol.replace(*number).is_some()
            {
                return Err("it asks for the protocol twice".to_owned());
            }
        }
        rule.statements.iter().try_for_each(check_statement)?;
        self.check_verdict(chain, &rule.verdict, protocol)?;
        text(&rule.comment, COMMENT_BYTES_MAX).map_err(|wrong| format!("its comment {wrong}"))
    }

    /// Whether the set that a condition looks into is there, and of the type that it looks for.
    fn check_set(&self, condition: &Match) -> Result<(), String> {
        let Some(name) = condition.set() else { return Ok(()) };
        let wanted = match condition {
            Match::SourceInSet { .. } | Match::DestinationInSet { .. } => SetKey::Address,
            Match::SourcePortInSet { .. } | Match::DestinationPortInSet { .. } => SetKey::Port,
            _ => SetKey::AddressProtocolPort,
        };
        match self.sets.get(name) {
            None => Err(format!("there is no set {name}")),
            Some(set) if set.key != wanted => Err(format!("set {name} is of another type")),
            Some(_) => Ok(()),
        }
    }

    /// Whether the kernel knows at the chain's place what a condition asks for.
    fn check_place(&self, chain: &Chain, condition: &Match) -> Result<(), String> {
        let hook = chain.base.map(|base| base.hook);
        let leaving = matches!(hook, Some(Hook::Output | Hook::Postrouting));
        match condition {
            Match::ConnectionState(_) | Match::ConnectionIsDnat { .. }
                if self.family == Family::Netdev =>
            {
                Err("a device's frames have no connection".to_owned())
            }
            Match::ReversePathMissing if leaving || self.family == Family::Netdev => {
                Err("only packets that come in have a reverse path".to_owned())
            }
            _ => Ok(()),
        }
    }

    /// Whether the rule has made sure of the IP version whose header a condition reads.
    fn check_version(&self, condition: &Match, before: Option<&Match>) -> Result<(), String> {
        let of_packets = match self.family {
            Family::Ip => Some(Version::V4),
            Family::Ip6 => Some(Version::V6),
            Family::Netdev => None,
        };
        let (version, known) = match (condition, condition.version()) {
            (Match::Version(_), _) if of_packets.is_some() => {
                return Err("a table of one IP version doesn't ask for it".to_owned());
            }
            (Match::Icmp { version, .. }, _) => (*version, of_packets),
            (_, None) => return Ok(()),
            (_, Some(version)) => {
                let asked = || match before {
                    Some(Match::Version(version)) => Some(*version),
                    Some(before) => before.version(),
                    None => None,
                };
                (version, of_packets.or_else(asked))
            }
        };
        if known == Some(version) {
            return Ok(());
        }
        Err("it reads a header that the packet may not have; put its version before".to_owned())
    }

    fn check_verdict(
        &self,
        chain: &Chain,
        verdict: &Verdict,
        protocol: Option<u8>,
    ) -> Result<(), String> {
        self.check_target(verdict)?;
        let hook = chain.base.map(|base| (base.kind, base.hook));
        match verdict {
            Verdict::Masquerade
                if hook.is_some_and(|at| at != (ChainKind::Nat, Hook::Postrouting)) =>
            {
                Err("masquerade is possible in nat chains at postrouting only".to_owned())
            }
            Verdict::Reject(_)
                if self.family == Family::Netdev
                    || hook.is_some_and(|(_, hook)| hook == Hook::Postrouting) =>
            {
                Err("reject is not possible here".to_owned())
            }
            Verdict::Reject(Rejection::TcpReset) if protocol != Some(TCP) => {
                Err("only TCP can be reset: it needs a match of that protocol".to_owned())
            }
            Verdict::Map { map, .. } => match self.maps.get(map) {
                None => Err(format!("there is no map {map}")),
                Some(found) if found.key != SetKey::Interface => {
                    Err(format!("map {map} is not of interfaces"))
                }
                Some(_) => Ok(()),
            },
            _ => Ok(()),
        }
    }
}

/// Whether the protocol is known whose header a condition reads.
fn check_transport(condition: &Match, protocol: Option<u8>) -> Result<(), String> {
    let has_ports = |protocol: u8| WITH_PORTS.contains(&protocol);
    match condition {
        Match::Icmp { version, .. } => {
            let wanted = match version {
                Version::V4 => ICMP,
                Version::V6 => ICMPV6,
            };
            if protocol == Some(wanted) {
                return Ok(());
            }
            Err(format!("ICMP's type must follow protocol {wanted}"))
        }
        // The set's key has the protocol.
        Match::SourceAddressPortInSet { .. } | Match::DestinationAddressPortInSet { .. }
            if protocol.is_none_or(has_ports) =>
        {
            Ok(())
        }
        condition if condition.reads_transport() && !protocol.is_some_and(has_ports) => {
            Err("a port must follow protocol TCP, UDP or SCTP".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_match(condition: &Match) -> Result<(), String> {
    match condition {
        Match::InputInterface { name, .. } | Match::OutputInterface { name, .. } => {
            let stem = name.strip_suffix('*').unwrap_or(name);
            let legal = |c: char| c.is_ascii_graphic() && !['*', '"', '/', '\\'].contains(&c);
            if stem.is_empty() || stem.len() > INTERFACE_BYTES_MAX || !stem.chars().all(legal) {
                return Err(format!("interface name '{name}' cannot be that of an interface"));
            }
            Ok(())
        }
        Match::SourcePrefix { net, .. } | Match::DestinationPrefix { net, .. }
            if net.trunc() != *net =>
        {
            Err(format!("{net} has bits beyond its prefix"))
        }
        Match::SourcePorts { first, last, .. } | Match::DestinationPorts { first, last, .. }
            if first > last =>
        {
            Err(format!("ports {first}-{last} end before they begin"))
        }
        Match::Mark { mask, value, .. } => mark(*mask, *value),
        Match::ConnectionState(states) if states.is_empty() => {
            Err("it names no state of connections".to_owned())
        }
        Match::Limit { rate, burst, .. } if *rate == 0 || *burst == 0 => {
            Err("a limit of nothing is no limit".to_owned())
        }
        Match::Random { below, of } if below >= of => {
            Err(format!("{below} of {of} packets is not a part of them"))
        }
        Match::Foreign(what) => Err(format!("it has a part not of ours: {what}")),
        _ => Ok(()),
    }
}

fn check_statement(statement: &Statement) -> Result<(), String> {
    match statement {
        Statement::Mark { mask, value } => mark(*mask, *value),
        Statement::Log { prefix, .. } => {
            text(prefix, LOG_PREFIX_BYTES_MAX).map_err(|wrong| format!("its log prefix {wrong}"))
        }
        Statement::NoTrack => Ok(()),
    }
}

fn mark(mask: u32, value: u32) -> Result<(), String> {
    if mask == 0 || value & !mask != 0 {
        return Err(format!("mark {value:#010x} is not of mask {mask:#010x}"));
    }
    Ok(())
}

fn text(text: &str, bytes_max: usize) -> Result<(), String> {
    let shown = |c: char| !c.is_control() && c != '"';
    if text.len() > bytes_max || !text.chars().all(shown) {
        return Err(format!("has a quote, control character or over {bytes_max} bytes"));
    }
    Ok(())
}

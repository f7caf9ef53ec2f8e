//! What the kernel or nft would refuse, found before anything is sent.

use super::{
    BaseChain, Chain, ChainKind, Family, Hook, Match, Rule, Set, SetKey, Table, Verdict, Version,
};
use ipnet::IpNet;
use thiserror::Error;

/// Longest name of a table, set or chain in bytes (the kernel's NFT_NAME_MAXLEN less the NUL).
pub(super) const NAME_BYTES_MAX: usize = 255;
/// Longest comment in bytes that `nft list` shows (NFTNL_UDATA_COMMENT_MAXLEN less the NUL).
pub(super) const COMMENT_BYTES_MAX: usize = 127;
/// Longest interface name in bytes (IFNAMSIZ less the NUL).
const INTERFACE_BYTES_MAX: usize = 15;
/// NAT happens after connection tracking, which is at this priority.
const CONNTRACK_PRIORITY: i32 = -200;
/// Protocols whose header has the destination port in its second half-word: TCP, UDP, SCTP.
const WITH_PORTS: [u8; 3] = [6, 17, 132];

/// A table that the kernel would not take, or that could not be shown or compared.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("table {table}, {object}: {problem}; this is an error of the program that made the table")]
pub struct Invalid {
    /// `ip calico`.
    pub table: String,
    /// The object: `chain x, rule 2`.
    pub object: String,
    /// What is wrong with it.
    pub problem: String,
}

impl Table {
    /// Whether names, limits, families, jump targets and hooks are such that the kernel takes the
    /// table.
    ///
    /// # Errors
    /// The first object that is not.
    pub fn check(&self) -> Result<(), Invalid> {
        let at = |object: String| {
            let table = format!("{} {}", self.family, self.name);
            move |problem: String| Invalid { table, object, problem }
        };
        name(&self.name).map_err(at("itself".to_owned()))?;
        for (set_name, set) in &self.sets {
            let valid = name(set_name).and_then(|()| self.check_set(set));
            valid.map_err(at(format!("set {set_name}")))?;
        }
        for (chain_name, chain) in &self.chains {
            let base = |base| check_base(self.family, base);
            let valid = name(chain_name).and_then(|()| chain.base.map_or(Ok(()), base));
            valid.map_err(at(format!("chain {chain_name}")))?;
            for (index, rule) in chain.rules.iter().enumerate() {
                let object = format!("chain {chain_name}, rule {}", index + 1);
                self.check_rule(chain, rule).map_err(at(object))?;
            }
        }
        Ok(())
    }

    fn check_set(&self, set: &Set) -> Result<(), String> {
        if set.key == SetKey::Foreign {
            return Err("its type is not one of ours".to_owned());
        }
        if self.family == Family::Netdev {
            return Err("a netdev table has no sets here".to_owned());
        }
        for net in &set.elements {
            if !matches!(
                (self.family, net),
                (Family::Ip, IpNet::V4(_)) | (Family::Ip6, IpNet::V6(_))
            ) {
                return Err(format!("element {net} is not of the table's family"));
            }
            if net.trunc() != *net {
                return Err(format!("element {net} has bits beyond its prefix"));
            }
            if !set.interval && net.prefix_len() != net.max_prefix_len() {
                return Err(format!("element {net} is a prefix, but the set is not of intervals"));
            }
        }
        Ok(())
    }

    fn check_rule(&self, chain: &Chain, rule: &Rule) -> Result<(), String> {
        for (place, condition) in rule.matches.iter().enumerate() {
            let before = place.checked_sub(1).map(|before| &rule.matches[before]);
            check_match(condition, before)?;
            self.check_version(condition, before)?;
        }
        if let Some(set) = rule.sets().find(|set| !self.sets.contains_key(*set)) {
            return Err(format!("there is no set {set}"));
        }
        if let Some(target) = rule.target() {
            match self.chains.get(target) {
                None => return Err(format!("there is no chain {target} to jump to")),
                Some(Chain { base: Some(_), .. }) => {
                    return Err(format!("{target} is a base chain, which cannot be jumped to"));
                }
                Some(_) => {}
            }
        }
        let hook = chain.base.map(|base| (base.kind, base.hook));
        if rule.verdict == Verdict::Masquerade
            && hook.is_some_and(|at| at != (ChainKind::Nat, Hook::Postrouting))
        {
            return Err("masquerade is possible in nat chains at postrouting only".to_owned());
        }
        let shown = |c: char| !c.is_control() && c != '"';
        if rule.comment.len() > COMMENT_BYTES_MAX || !rule.comment.chars().all(shown) {
            let limit = COMMENT_BYTES_MAX;
            return Err(format!(
                "its comment has a quote, control character or over {limit} bytes"
            ));
        }
        Ok(())
    }
}

impl Table {
    /// Whether the rule has made sure of the IP version whose header a condition reads.
    fn check_version(&self, condition: &Match, before: Option<&Match>) -> Result<(), String> {
        let Some(version) = condition.version() else {
            let foreign = matches!(condition, Match::Version(_)) && self.family != Family::Netdev;
            return if foreign {
                Err("a table of one IP version doesn't ask for it".to_owned())
            } else {
                Ok(())
            };
        };
        let known = match self.family {
            Family::Ip => Some(Version::V4),
            Family::Ip6 => Some(Version::V6),
            Family::Netdev => match before {
                Some(Match::Version(version)) => Some(*version),
                Some(before) => before.version(),
                None => None,
            },
        };
        if known == Some(version) {
            return Ok(());
        }
        Err("it reads a header that the packet may not have; put its version before".to_owned())
    }
}

fn check_match(condition: &Match, before: Option<&Match>) -> Result<(), String> {
    match condition {
        Match::DestinationPort(_) | Match::SourcePort(_) => match before {
            Some(Match::Protocol(protocol)) if WITH_PORTS.contains(protocol) => Ok(()),
            _ => Err("a port must directly follow protocol TCP, UDP or SCTP".to_owned()),
        },
        Match::InputInterface(name) | Match::OutputInterface(name) => {
            let stem = name.strip_suffix('*').unwrap_or(name);
            let legal = |c: char| c.is_ascii_graphic() && !['*', '"', '/', '\\'].contains(&c);
            if stem.is_empty() || stem.len() > INTERFACE_BYTES_MAX || !stem.chars().all(legal) {
                return Err(format!("interface name '{name}' cannot be that of an interface"));
            }
            Ok(())
        }
        Match::Random { below, of } if below >= of => {
            Err(format!("{below} of {of} packets is not a part of them"))
        }
        Match::Foreign(what) => Err(format!("it has a part not of ours: {what}")),
        _ => Ok(()),
    }
}

fn check_base(family: Family, base: BaseChain) -> Result<(), String> {
    let of_device = matches!(base.hook, Hook::Ingress(_) | Hook::Egress(_));
    if of_device != (family == Family::Netdev) {
        return Err("chains of netdev tables, and no others, are at ingress or egress".to_owned());
    }
    match (base.kind, base.hook) {
        (ChainKind::Foreign, _) => Err("its type is not one of ours".to_owned()),
        (ChainKind::Nat, Hook::Forward) => Err("there is no NAT at forward".to_owned()),
        (ChainKind::Nat, _) if base.priority <= CONNTRACK_PRIORITY => {
            Err(format!("NAT needs a priority above {CONNTRACK_PRIORITY}"))
        }
        (ChainKind::Nat | ChainKind::Route, _) if of_device => {
            Err("chains of netdev tables are of type filter".to_owned())
        }
        (ChainKind::Route, hook) if hook != Hook::Output => {
            Err("type route is possible at output only".to_owned())
        }
        _ => Ok(()),
    }
}

fn name(name: &str) -> Result<(), String> {
    let first = name.chars().next();
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if !first.is_some_and(|c| c.is_ascii_alphabetic()) || !name.chars().all(legal) {
        return Err(format!("'{name}' is no name: a letter, then letters, digits and / - _ ."));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("its name is longer than {NAME_BYTES_MAX} bytes"));
    }
    Ok(())
}

#[cfg(test)]
mod tests;

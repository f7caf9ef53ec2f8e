//! What the kernel or nft would refuse, found before anything is sent.

mod rule;

use super::{
    BaseChain, Chain, ChainKind, Element, Family, Hook, SetKey, Table, Verdict, VerdictMap,
};
use std::net::IpAddr;
use thiserror::Error;

/// Longest name of a table, set or chain in bytes (the kernel's NFT_NAME_MAXLEN less the NUL).
const NAME_BYTES_MAX: usize = 255;
/// NAT happens after connection tracking, which is at this priority.
const CONNTRACK_PRIORITY: i32 = -200;

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
        if let Some(foreign) = self.foreign.first() {
            return Err(at(foreign.clone())("it is of a kind that is not ours".to_owned()));
        }
        for (set_name, set) in &self.sets {
            let valid = name(set_name)
                .and_then(|()| self.check_elements(set.key, set.interval, set.elements.iter()));
            valid.map_err(at(format!("set {set_name}")))?;
        }
        for (map_name, map) in &self.maps {
            let valid = name(map_name).and_then(|()| self.check_map(map_name, map));
            valid.map_err(at(format!("map {map_name}")))?;
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

    fn check_elements<'a>(
        &self,
        key: SetKey,
        interval: bool,
        elements: impl Iterator<Item = &'a Element>,
    ) -> Result<(), String> {
        if key == SetKey::Foreign {
            return Err("its type is not one of ours".to_owned());
        }
        if self.family == Family::Netdev {
            return Err("a netdev table has no sets here".to_owned());
        }
        if interval && !matches!(key, SetKey::Address | SetKey::Port) {
            return Err("only sets of addresses and of ports are of intervals".to_owned());
        }
        for element in elements {
            if element.key() != key {
                return Err(format!("element {element} is not of the set's type"));
            }
            self.check_element(element)?;
            if !interval && !element.is_single() {
                return Err(format!("element {element} is a range, and the set not of intervals"));
            }
        }
        Ok(())
    }

    fn check_element(&self, element: &Element) -> Result<(), String> {
        let address = match element {
            Element::Net(net) if net.trunc() != *net => {
                return Err(format!("element {net} has bits beyond its prefix"));
            }
            Element::Net(net) => net.addr(),
            Element::AddressPort { address, .. } => *address,
            Element::Ports(first, last) if first > last => {
                return Err(format!("element {element} ends before it begins"));
            }
            Element::Ports(..) | Element::Interface(_) => return Ok(()),
        };
        match (self.family, address) {
            (Family::Ip, IpAddr::V4(_)) | (Family::Ip6, IpAddr::V6(_)) => Ok(()),
            _ => Err(format!("element {element} is not of the table's family")),
        }
    }

    fn check_map(&self, name: &str, map: &VerdictMap) -> Result<(), String> {
        self.check_elements(map.key, false, map.elements.keys())?;
        if map.key != SetKey::Interface {
            return Err("no rule can look into a map that is not of interfaces".to_owned());
        }
        if self.sets.contains_key(name) {
            return Err("a set has the same name".to_owned());
        }
        for (element, verdict) in &map.elements {
            let possible =
                !matches!(verdict, Verdict::Reject(_) | Verdict::Masquerade | Verdict::Map { .. });
            if !possible {
                return Err(format!("element {element} has a verdict that maps cannot have"));
            }
            self.check_target(verdict)?;
        }
        Ok(())
    }

    /// Whether a verdict's chain is there and can be jumped to.
    fn check_target(&self, verdict: &Verdict) -> Result<(), String> {
        let Some(target) = verdict.target() else { return Ok(()) };
        match self.chains.get(target) {
            None => Err(format!("there is no chain {target} to jump to")),
            Some(Chain { base: Some(_), .. }) => {
                Err(format!("{target} is a base chain, which cannot be jumped to"))
            }
            Some(_) => Ok(()),
        }
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

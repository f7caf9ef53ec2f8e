//! Reading a table back as a value.

use super::attribute::{Attributes, Messages, family_of};
use super::decode::{self, element::Kind};
use super::numbers::{attribute as a, message};
use super::socket::{Dump, NetlinkSocket};
use super::{Error, Nft};
use kernel::nft::{Chain, Family, Rule, Set, SetKey, Table, VerdictMap};
use nix::errno::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::thread;

/// Attempts at a dump that nobody disturbs.
const ATTEMPTS_MAX: usize = 20;

impl Nft {
    /// Reads a table; `None` if there is none of this name. What this project never writes becomes
    /// `Foreign`, so that it differs from everything desired.
    ///
    /// # Errors
    /// [`Error::Unsettled`] if others kept changing the ruleset meanwhile, otherwise as the kernel
    /// says.
    pub fn read(&mut self, family: Family, name: &str) -> Result<Option<Table>, Error> {
        for _ in 0..ATTEMPTS_MAX {
            let before = self.generation()?;
            let table = read_once(&mut self.socket, &mut self.second, family, name);
            let unchanged = self.generation()? == before;
            match table {
                Ok(Some(table)) if unchanged => return Ok(table),
                // An object may vanish between two dumps: only then is that no error.
                Err(error) if unchanged => return Err(error),
                _ => {}
            }
        }
        Err(Error::Unsettled { table: format!("{family} {name}") })
    }

    /// Names of all tables of the families `ip`, `ip6` and `netdev`, other owners' too.
    ///
    /// # Errors
    /// As the kernel says, such as a missing privilege.
    pub fn tables(&mut self) -> Result<Vec<(Family, String)>, Error> {
        let dump = self.socket.dump(message::GETTABLE, None, |_| {})?;
        let named = dump.messages().filter_map(|found| {
            let name = found.attributes().text(a::TABLE)?.to_owned();
            Some((family_of(found.family())?, name))
        });
        Ok(named.collect::<BTreeSet<_>>().into_iter().collect())
    }

    /// How many packets each rule of a table has matched.
    ///
    /// # Errors
    /// As the kernel says; a table that is not there has no rules.
    pub fn counters(&mut self, family: Family, name: &str) -> Result<Vec<Counter>, Error> {
        self.counters_of(family, name, None)
    }

    /// How many packets each rule of a chain has matched, in the rules' order.
    ///
    /// # Errors
    /// As the kernel says; a chain that is not there has no rules.
    pub fn chain_counters(
        &mut self,
        family: Family,
        table: &str,
        chain: &str,
    ) -> Result<Vec<Counter>, Error> {
        self.counters_of(family, table, Some(chain))
    }

    fn counters_of(
        &mut self,
        family: Family,
        name: &str,
        chain: Option<&str>,
    ) -> Result<Vec<Counter>, Error> {
        let rules = self.socket.dump(message::GETRULE, Some(family), |writer| {
            writer.text(a::TABLE, name);
            chain.into_iter().for_each(|chain| writer.text(a::RULE_CHAIN, chain));
        });
        let rules = match rules {
            Err(Error::Read { errno: Errno::ENOENT, .. }) => return Ok(Vec::new()),
            rules => rules?,
        };
        let counted = rules.of_table(name).filter_map(|rule| {
            let chain = rule.text(a::RULE_CHAIN)?.to_owned();
            let packets = decode::rule::counted(rule)?;
            Some(Counter { chain, rule: decode::rule::rule(rule, family), packets })
        });
        Ok(counted.collect())
    }

    /// The ruleset's generation: another number after each transaction of anybody.
    ///
    /// # Errors
    /// As the kernel says.
    pub fn generation(&mut self) -> Result<u32, Error> {
        let reply = self.socket.get(message::GETGEN, None, |_| {})?.unwrap_or_default();
        let mut generations = Messages(&reply);
        let generation = generations.find_map(|found| found.attributes().number(a::GENERATION_ID));
        generation.ok_or(Error::Malformed { what: "the generation" })
    }
}

/// What a rule's counter says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The rule's chain.
    pub chain: String,
    /// The rule.
    pub rule: Rule,
    /// Packets that all its conditions held for.
    pub packets: u64,
}

/// Outer `None`: disturbed. Inner `None`: no such table.
fn read_once(
    socket: &mut NetlinkSocket,
    second: &mut NetlinkSocket,
    family: Family,
    name: &str,
) -> Result<Option<Option<Table>>, Error> {
    let wanted = Some(family);
    let found = socket.get(message::GETTABLE, wanted, |writer| writer.text(a::TABLE, name))?;
    let Some(found) = found else { return Ok(Some(None)) };
    let flags = Messages(&found).find_map(|found| found.attributes().number(a::TABLE_FLAGS));
    let mut table = Table::new(family, name);
    if let Some(flags) = flags.filter(|flags| *flags != 0) {
        table.foreign.insert(format!("flags {flags:#x}"));
    }
    // Mostly the kernel's work, which dumps of two sockets do on two processors.
    let (chains, others) = thread::scope(|scope| {
        let others = scope.spawn(|| read_sets(second, &mut table));
        let chains = read_chains(socket, family, name);
        (chains, others.join())
    });
    let is_whole = others.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    let Some(chains) = chains?.filter(|_| is_whole) else { return Ok(None) };
    table.chains = chains;
    Ok(Some(Some(table)))
}

/// Reads a table's objects of one kind; `None` if that was disturbed.
fn read_parts(
    socket: &mut NetlinkSocket,
    kind: u16,
    family: Family,
    table: &str,
) -> Result<Option<Dump>, Error> {
    let dump = socket.dump(kind, Some(family), |writer| writer.text(a::TABLE, table))?;
    Ok(Some(dump).filter(|dump| !dump.interrupted))
}

/// Reads a table's chains with their rules; `None` if that was disturbed.
fn read_chains(
    socket: &mut NetlinkSocket,
    family: Family,
    table: &str,
) -> Result<Option<BTreeMap<String, Chain>>, Error> {
    let Some(dump) = read_parts(socket, message::GETCHAIN, family, table)? else { return Ok(None) };
    let mut chains = BTreeMap::new();
    for attributes in dump.of_table(table) {
        let chain = attributes.text(a::CHAIN_NAME);
        let chain = chain.ok_or(Error::Malformed { what: "a chain" })?;
        let base = decode::base(attributes, family);
        let Some(rules) = read_rules(socket, (family, table, chain))? else { return Ok(None) };
        chains.insert(chain.to_owned(), Chain { base, rules });
    }
    Ok(Some(chains))
}

/// Reads all of a table but its chains into it; false if that was disturbed.
fn read_sets(socket: &mut NetlinkSocket, table: &mut Table) -> Result<bool, Error> {
    let name = table.name.clone();
    let mut parts = |kind| read_parts(socket, kind, table.family, &name);
    let Some(sets) = parts(message::GETSET)? else { return Ok(false) };
    let Some(objects) = parts(message::GETOBJ)? else { return Ok(false) };
    let Some(flowtables) = parts(message::GETFLOWTABLE)? else { return Ok(false) };
    for attributes in objects.of_table(&name) {
        let kind = attributes.number(a::OBJECT_TYPE).unwrap_or(0);
        let named = attributes.text(a::OBJECT_NAME).unwrap_or_default();
        table.foreign.insert(format!("object {named} of type {kind}"));
    }
    for attributes in flowtables.of_table(&name) {
        let named = attributes.text(a::FLOWTABLE_NAME).unwrap_or_default();
        table.foreign.insert(format!("flowtable {named}"));
    }
    for attributes in sets.of_table(&name) {
        if !read_set(socket, table, attributes)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Reads the rules of a chain; `None` if that was disturbed. Asked for all chains' at once, the
/// kernel goes through them from the first for each 32 KiB of its answer.
fn read_rules(
    socket: &mut NetlinkSocket,
    (family, table, chain): (Family, &str, &str),
) -> Result<Option<Vec<Rule>>, Error> {
    let dump = socket.dump(message::GETRULE, Some(family), |writer| {
        writer.text(a::TABLE, table);
        writer.text(a::RULE_CHAIN, chain);
    })?;
    if dump.interrupted {
        return Ok(None);
    }
    let rules = dump.of_table(table).map(|found| decode::rule::rule(found, family));
    Ok(Some(rules.collect()))
}

/// Reads a set or map into its table; false if it was disturbed.
fn read_set(
    socket: &mut NetlinkSocket,
    table: &mut Table,
    attributes: Attributes<'_>,
) -> Result<bool, Error> {
    let name = attributes.text(a::SET_NAME).ok_or(Error::Malformed { what: "a set" })?;
    // Anonymous sets belong to a rule, which is foreign then, and go with it.
    if name.starts_with("__") {
        return Ok(true);
    }
    let kind = decode::element::kind(attributes, table.family);
    let mut elements = || {
        let dump = socket.dump(message::GETSETELEM, Some(table.family), |writer| {
            writer.text(a::TABLE, &table.name);
            writer.text(a::ELEMENTS_SET, name);
        })?;
        Ok::<_, Error>(Some(dump).filter(|dump| !dump.interrupted))
    };
    match kind {
        Kind::Set(SetKey::Foreign, interval) => {
            table.sets.insert(name.to_owned(), Set::new(SetKey::Foreign, interval));
        }
        Kind::Map(SetKey::Foreign) => {
            table.maps.insert(name.to_owned(), VerdictMap::new(SetKey::Foreign));
        }
        Kind::Set(key, interval) => {
            let Some(dump) = elements()? else { return Ok(false) };
            let members = decode::element::members(dump.elements(), key, interval);
            let foreign = || Set::new(SetKey::Foreign, interval);
            let set = members.map(|elements| Set { key, interval, elements });
            table.sets.insert(name.to_owned(), set.unwrap_or_else(foreign));
        }
        Kind::Map(key) => {
            let Some(dump) = elements()? else { return Ok(false) };
            let mappings = decode::element::mappings(dump.elements(), key);
            let map = mappings.map(|elements| VerdictMap { key, elements });
            let foreign = || VerdictMap::new(SetKey::Foreign);
            table.maps.insert(name.to_owned(), map.unwrap_or_else(foreign));
        }
    }
    Ok(true)
}

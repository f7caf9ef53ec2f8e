//! Reading a table back as a value.

use super::attribute::{Attributes, Messages, family_of};
use super::decode;
use super::numbers::{attribute as a, message};
use super::socket::NetlinkSocket;
use super::{Error, Nft};
use kernel::nft::{Chain, Family, Rule, Set, SetKey, Table};
use nix::errno::Errno;
use std::collections::BTreeSet;

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
            let table = read_once(&mut self.socket, family, name);
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
        let rules =
            self.socket.dump(message::GETRULE, Some(family), |writer| writer.text(a::TABLE, name));
        let rules = match rules {
            Err(Error::Read { errno: Errno::ENOENT, .. }) => return Ok(Vec::new()),
            rules => rules?,
        };
        let rules = rules.messages().map(|found| found.attributes());
        let counted = rules.filter(|rule| rule.text(a::TABLE) == Some(name)).filter_map(|rule| {
            let chain = rule.text(a::RULE_CHAIN)?.to_owned();
            let packets = decode::counted(rule)?;
            Some(Counter { chain, rule: decode::rule(rule, family), packets })
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
    family: Family,
    name: &str,
) -> Result<Option<Option<Table>>, Error> {
    let in_table = |attributes: Attributes<'_>| attributes.text(a::TABLE) == Some(name);
    let wanted = Some(family);
    let found = socket.get(message::GETTABLE, wanted, |writer| writer.text(a::TABLE, name))?;
    if found.is_none() {
        return Ok(Some(None));
    }
    let mut table = Table::new(family, name);
    let chains = socket.dump(message::GETCHAIN, wanted, |writer| writer.text(a::TABLE, name))?;
    let rules = socket.dump(message::GETRULE, wanted, |writer| writer.text(a::TABLE, name))?;
    let sets = socket.dump(message::GETSET, wanted, |writer| writer.text(a::TABLE, name))?;
    if chains.interrupted || rules.interrupted || sets.interrupted {
        return Ok(None);
    }
    for attributes in chains.messages().map(|found| found.attributes()).filter(|of| in_table(*of)) {
        let chain = attributes.text(a::CHAIN_NAME);
        let chain = chain.ok_or(Error::Malformed { what: "a chain" })?;
        let value = Chain { base: decode::base(attributes, family), rules: vec![] };
        table.chains.insert(chain.to_owned(), value);
    }
    for attributes in rules.messages().map(|found| found.attributes()).filter(|of| in_table(*of)) {
        let chain = attributes.text(a::RULE_CHAIN).and_then(|chain| table.chains.get_mut(chain));
        let chain = chain.ok_or(Error::Malformed { what: "a rule" })?;
        chain.rules.push(decode::rule(attributes, family));
    }
    for attributes in sets.messages().map(|found| found.attributes()).filter(|of| in_table(*of)) {
        let set = attributes.text(a::SET_NAME).ok_or(Error::Malformed { what: "a set" })?;
        // Anonymous sets belong to a rule, which is foreign then, and go with it.
        if set.starts_with("__") {
            continue;
        }
        let (key, interval) = decode::set(attributes, family);
        let Some(set_value) = read_set(socket, (family, name, set), key, interval)? else {
            return Ok(None);
        };
        table.sets.insert(set.to_owned(), set_value);
    }
    Ok(Some(Some(table)))
}

fn read_set(
    socket: &mut NetlinkSocket,
    (family, table, set): (Family, &str, &str),
    key: SetKey,
    interval: bool,
) -> Result<Option<Set>, Error> {
    let foreign = Set { key: SetKey::Foreign, elements: BTreeSet::new(), interval };
    if key == SetKey::Foreign {
        return Ok(Some(foreign));
    }
    let dump = socket.dump(message::GETSETELEM, Some(family), |writer| {
        writer.text(a::TABLE, table);
        writer.text(a::ELEMENTS_SET, set);
    })?;
    if dump.interrupted {
        return Ok(None);
    }
    let lists = dump.messages().map(|found| found.attributes().nested(a::ELEMENTS));
    let items = lists.flatten().map(|(_, item)| decode::item(Attributes(item)));
    let items: Option<Vec<decode::Item>> = items.collect();
    let members = items.and_then(|items| decode::members(items, interval));
    Ok(Some(members.map_or(foreign, |elements| Set { key, elements, interval })))
}

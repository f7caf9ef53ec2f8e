//! Changes as the messages of one transaction.

use super::attribute::Writer;
use super::encode::{self, element};
use super::handles::Handles;
use super::numbers::{self as n, attribute as a, message, netlink};
use kernel::nft::{BaseChain, ChainKind, Change, Edit, Hook};

/// Elements in one message: its list must stay below 64 KiB, an IPv6 interval takes 64 bytes.
const ELEMENTS_PER_MESSAGE: usize = 500;
/// The same of verdict maps: each may have a name of 255 bytes.
const MAP_ELEMENTS_PER_MESSAGE: usize = 150;

/// A transaction as bytes, and what each of its messages is about.
pub(super) struct Batch<'a> {
    writer: Writer,
    handles: &'a Handles<'a>,
    first: u32,
    /// By sequence number less `first`: the change, and which rule of it.
    origins: Vec<(&'a Change, Option<usize>)>,
}

/// How many sequence numbers the changes need at most, with the batch's two marks.
pub(super) fn messages(changes: &[Change]) -> usize {
    let of = |change: &Change| match &change.edit {
        Edit::AddRules { rules, .. } | Edit::InsertRules { rules, .. } => rules.len(),
        Edit::DeleteRules { count, .. } => *count,
        Edit::AddElements { elements, .. } | Edit::DeleteElements { elements, .. } => {
            elements.len().div_ceil(ELEMENTS_PER_MESSAGE)
        }
        Edit::AddMapElements { elements, .. } => elements.len().div_ceil(MAP_ELEMENTS_PER_MESSAGE),
        Edit::DeleteMapElements { elements, .. } => {
            elements.len().div_ceil(MAP_ELEMENTS_PER_MESSAGE)
        }
        _ => 1,
    };
    changes.iter().map(of).sum::<usize>() + 2
}

impl<'a> Batch<'a> {
    /// Encodes `changes`, with sequence numbers from `first`; `handles` are those of the same
    /// changes, of the ruleset's `generation`: of another one the kernel takes nothing.
    pub(super) fn new(
        changes: &'a [Change],
        (handles, generation): (&'a Handles<'a>, Option<u32>),
        first: u32,
    ) -> Batch<'a> {
        let mut batch = Batch { writer: Writer::default(), handles, first, origins: Vec::new() };
        batch.writer.batch_mark(n::BATCH_BEGIN, first, generation);
        for (id, change) in (1..).zip(changes) {
            batch.change(change, id);
        }
        let last = batch.next_sequence();
        batch.writer.batch_mark(n::BATCH_END, last, None);
        batch
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.writer.bytes
    }

    /// What the message with this sequence number was to do, as `nft` would say it.
    pub(super) fn describe(&self, sequence: u32) -> Option<String> {
        let index = usize::try_from(sequence.checked_sub(self.first + 1)?).ok()?;
        let (change, rule) = self.origins.get(index)?;
        let rule = match (&change.edit, rule) {
            (
                Edit::AddRules { chain, rules } | Edit::InsertRules { chain, rules, .. },
                Some(index),
            ) => rules.get(*index).map(|rule| (chain, rule)),
            _ => None,
        };
        Some(match rule {
            Some((chain, rule)) => {
                let (family, table) = (change.family, &change.table);
                format!("add rule {family} {table} {chain} {}", rule.text(family))
            }
            None => change.to_string(),
        })
    }

    fn next_sequence(&self) -> u32 {
        let count = u32::try_from(self.origins.len()).unwrap_or(u32::MAX);
        self.first.saturating_add(count).saturating_add(1)
    }

    fn message(
        &mut self,
        kind: u16,
        flags: u16,
        origin: (&'a Change, Option<usize>),
        body: impl FnOnce(&mut Writer),
    ) {
        let sequence = self.next_sequence();
        self.origins.push(origin);
        let change = origin.0;
        self.writer.message(kind, flags, sequence, Some(change.family), |writer| {
            writer.text(a::TABLE, &change.table);
            body(writer);
        });
    }

    fn change(&mut self, change: &'a Change, id: u32) {
        use netlink::{APPEND, CREATE, EXCL};
        let origin = (change, None);
        match &change.edit {
            Edit::CreateTable => self.message(message::NEWTABLE, CREATE, origin, |writer| {
                writer.number(a::TABLE_FLAGS, 0);
            }),
            Edit::DeleteTable => self.message(message::DELTABLE, 0, origin, |_| {}),
            Edit::FlushChain(chain) => self.message(message::DELRULE, 0, origin, |writer| {
                writer.text(a::RULE_CHAIN, chain);
            }),
            Edit::DeleteRules { chain, first, count, .. } => {
                for handle in self.handles.of(change).iter().skip(*first).take(*count) {
                    self.message(message::DELRULE, 0, origin, |writer| {
                        writer.text(a::RULE_CHAIN, chain);
                        writer.put(a::RULE_HANDLE, &handle.to_be_bytes());
                    });
                }
            }
            Edit::DeleteSet(set) | Edit::DeleteMap(set) => {
                self.message(message::DELSET, 0, origin, |writer| {
                    writer.text(a::SET_NAME, set);
                });
            }
            Edit::DeleteChain(chain) => self.message(message::DELCHAIN, 0, origin, |writer| {
                writer.text(a::CHAIN_NAME, chain);
            }),
            Edit::CreateSet { set, key, interval } => {
                self.message(message::NEWSET, CREATE | EXCL, origin, |writer| {
                    element::set(writer, change.family, set, (*key, *interval), id);
                });
            }
            Edit::CreateMap { map, key } => {
                self.message(message::NEWSET, CREATE | EXCL, origin, |writer| {
                    element::map(writer, change.family, map, *key, id);
                });
            }
            Edit::DeleteElements { set, interval, elements } => {
                for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
                    self.elements(message::DELSETELEM, 0, change, set, |list| {
                        part.iter().for_each(|key| element::member(list, key, *interval));
                    });
                }
            }
            Edit::AddElements { set, interval, elements } => {
                for part in elements.chunks(ELEMENTS_PER_MESSAGE) {
                    self.elements(message::NEWSETELEM, CREATE, change, set, |list| {
                        part.iter().for_each(|key| element::member(list, key, *interval));
                    });
                }
            }
            Edit::DeleteMapElements { map, elements } => {
                for part in elements.chunks(MAP_ELEMENTS_PER_MESSAGE) {
                    self.elements(message::DELSETELEM, 0, change, map, |list| {
                        part.iter().for_each(|key| element::mapping(list, key, None));
                    });
                }
            }
            Edit::AddMapElements { map, elements } => {
                for part in elements.chunks(MAP_ELEMENTS_PER_MESSAGE) {
                    self.elements(message::NEWSETELEM, CREATE, change, map, |list| {
                        let pairs = part.iter();
                        pairs.for_each(|(key, verdict)| element::mapping(list, key, Some(verdict)));
                    });
                }
            }
            Edit::CreateChain { chain, base } => {
                self.message(message::NEWCHAIN, CREATE | EXCL, origin, |writer| {
                    create_chain(writer, chain, *base);
                });
            }
            Edit::AddRules { chain, rules } => {
                for (index, rule) in rules.iter().enumerate() {
                    let origin = (change, Some(index));
                    self.message(message::NEWRULE, CREATE | APPEND, origin, |writer| {
                        writer.text(a::RULE_CHAIN, chain);
                        encode::rule(writer, change.family, rule);
                    });
                }
            }
            Edit::InsertRules { chain, after, rules, .. } => {
                let before = after.checked_sub(1).and_then(|at| self.handles.of(change).get(at));
                // Each is put right behind the same rule, or first of all: the last one begins.
                let flags = if before.is_some() { CREATE | APPEND } else { CREATE };
                for (index, rule) in rules.iter().enumerate().rev() {
                    self.message(message::NEWRULE, flags, (change, Some(index)), |writer| {
                        writer.text(a::RULE_CHAIN, chain);
                        if let Some(handle) = before {
                            writer.put(a::RULE_POSITION, &handle.to_be_bytes());
                        }
                        encode::rule(writer, change.family, rule);
                    });
                }
            }
        }
    }

    /// One message about some elements of a set or map.
    fn elements(
        &mut self,
        kind: u16,
        flags: u16,
        change: &'a Change,
        set: &str,
        elements: impl FnOnce(&mut Writer),
    ) {
        self.message(kind, flags, (change, None), |writer| {
            writer.text(a::ELEMENTS_SET, set);
            writer.nest(a::ELEMENTS, elements);
        });
    }
}

fn create_chain(writer: &mut Writer, name: &str, base: Option<BaseChain>) {
    writer.text(a::CHAIN_NAME, name);
    let Some(base) = base else { return };
    let kind = match base.kind {
        ChainKind::Filter => "filter",
        ChainKind::Nat => "nat",
        ChainKind::Route => "route",
        // Never sent: Nft::apply refuses it before.
        ChainKind::Foreign => "foreign",
    };
    let (hook, device) = match base.hook {
        Hook::Prerouting => (0, None),
        Hook::Input => (1, None),
        Hook::Forward => (2, None),
        Hook::Output => (3, None),
        Hook::Postrouting => (4, None),
        // Numbers of their own (`enum nf_dev_hooks`).
        Hook::Ingress(device) => (0, Some(device)),
        Hook::Egress(device) => (1, Some(device)),
    };
    writer.text(a::CHAIN_TYPE, kind);
    writer.nest(a::CHAIN_HOOK, |nest| {
        nest.number(a::HOOK_NUMBER, hook);
        nest.number(a::HOOK_PRIORITY, base.priority.cast_unsigned());
        if let Some(device) = device {
            nest.text(a::HOOK_DEVICE, device.name());
        }
    });
    writer.number(a::CHAIN_POLICY, n::ACCEPT.cast_unsigned());
}

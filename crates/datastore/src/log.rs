//! The tables of the database, and reading them.
//!
//! ```text
//!  log      (revision, sub) ─▶ Record: the key after the change, and where its former record is
//!  current  key ─────────────▶ (revision, sub) of its latest record; deleted keys are absent
//!  leases   id ──────────────▶ seconds granted          lease_keys  (id, key)
//!  meta     revision, compact_revision, cleared_revision, cluster_id, member_id, format
//! ```
//!
//! The log is the only place that holds values. A key as of an old revision is found from what it
//! is now by following `former` back over the changes since, so no index by revision is needed; a
//! watch reads the log itself. Compaction at C makes what is before C unreachable; clearing it away
//! is a walk over the log up to C that removes what each record replaced, and deletions.

use crate::interval::Interval;
use crate::limits::{WATCH_CHUNK_BYTES_MAX, WATCH_CHUNK_EVENTS_MAX};
use crate::refused::{Failure, Refused};
use etcd::KeyValue;
use prost::Message;
use redb::{ReadableTable, TableDefinition};
use std::collections::BTreeMap;

/// The layout of these tables; another number is another program's file.
pub(crate) const FORMAT: i64 = 1;

/// A place in the log: revision, and number of the change within it.
pub(crate) type Position = (u64, u32);

pub(crate) const LOG: TableDefinition<Position, &[u8]> = TableDefinition::new("log");
pub(crate) const CURRENT: TableDefinition<&[u8], Position> = TableDefinition::new("current");
pub(crate) const LEASES: TableDefinition<i64, i64> = TableDefinition::new("leases");
pub(crate) const LEASE_KEYS: TableDefinition<(i64, &[u8]), ()> = TableDefinition::new("lease_keys");
pub(crate) const META: TableDefinition<&str, i64> = TableDefinition::new("meta");

/// One change of one key.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Record {
    /// The key after the change; version 0 is a deletion, with key and `mod_revision` only.
    #[prost(message, required, tag = "1")]
    pub(crate) key_value: KeyValue,
    /// Revision of the record this one replaces; 0 is none.
    #[prost(uint64, tag = "2")]
    former_revision: u64,
    /// Number within it.
    #[prost(uint32, tag = "3")]
    former_sub: u32,
}

impl Record {
    pub(crate) fn new(key_value: KeyValue, former: Option<Position>) -> Self {
        let (former_revision, former_sub) = former.unwrap_or_default();
        Self { key_value, former_revision, former_sub }
    }

    /// Where the record is that this one replaced.
    pub(crate) fn former(&self) -> Option<Position> {
        (self.former_revision > 0).then_some((self.former_revision, self.former_sub))
    }

    pub(crate) fn is_deletion(&self) -> bool {
        self.key_value.version == 0
    }

    pub(crate) fn decode_from(bytes: &[u8]) -> Result<Self, Failure> {
        Self::decode(bytes).map_err(|error| {
            Failure::Redb(redb::Error::Corrupted(format!("a record of the log: {error}")))
        })
    }
}

/// A log and its index at one moment: a snapshot, or a write under way.
pub(crate) struct View<L, C> {
    pub(crate) log: L,
    pub(crate) current: C,
    /// The latest revision; 1 is the empty store, as in etcd.
    pub(crate) revision: u64,
    /// History before it is gone; -1 is never compacted.
    pub(crate) compact_revision: i64,
}

/// Some of the log, whole revisions only.
pub(crate) struct Chunk {
    pub(crate) records: Vec<Record>,
    /// Everything up to this revision is in it.
    pub(crate) through: u64,
}

impl<L, C> View<L, C>
where
    L: ReadableTable<Position, &'static [u8]>,
    C: ReadableTable<&'static [u8], Position>,
{
    pub(crate) fn record(&self, position: Position) -> Result<Option<Record>, Failure> {
        self.log.get(position)?.map(|bytes| Record::decode_from(bytes.value())).transpose()
    }

    /// The record at a place the tables say holds one.
    pub(crate) fn expect(&self, position: Position) -> Result<Record, Failure> {
        self.record(position)?.ok_or_else(|| {
            let (revision, sub) = position;
            let text = format!("the log has no record {revision}.{sub}, which the index names");
            Failure::Redb(redb::Error::Corrupted(text))
        })
    }

    /// Where the latest record of a key is, if the key exists.
    pub(crate) fn find(&self, key: &[u8]) -> Result<Option<Position>, Failure> {
        Ok(self.current.get(key)?.map(|position| position.value()))
    }

    /// Refuses a revision that is not there yet or no longer.
    pub(crate) fn check_revision(&self, revision: i64) -> Result<(), Refused> {
        if revision > 0 && revision.unsigned_abs() > self.revision {
            return Err(Refused::FutureRevision);
        }
        if revision > 0 && revision < self.compact_revision {
            return Err(Refused::Compacted);
        }
        Ok(())
    }

    /// Where the keys of an interval are as of `revision` (0 is now), in order of key.
    pub(crate) fn positions(
        &self,
        interval: &Interval,
        revision: u64,
    ) -> Result<Vec<Position>, Failure> {
        if interval.is_empty() {
            return Ok(Vec::new());
        }
        if revision == 0 || revision >= self.revision {
            let entries = self.current.range::<&[u8]>(interval.bounds())?;
            return entries.map(|entry| Ok(entry?.1.value())).collect();
        }
        let mut then = self.undo(interval, revision)?;
        for entry in self.current.range::<&[u8]>(interval.bounds())? {
            let (key, position) = entry?;
            if !then.contains_key(key.value()) {
                then.insert(key.value().to_vec(), Some(position.value()));
            }
        }
        Ok(then.into_values().flatten().collect())
    }

    /// The keys changed since `revision`, each with where it was as of `revision`.
    fn undo(
        &self,
        interval: &Interval,
        revision: u64,
    ) -> Result<BTreeMap<Vec<u8>, Option<Position>>, Failure> {
        let mut then = BTreeMap::new();
        for entry in self.log.range::<Position>((revision + 1, 0)..)? {
            let record = Record::decode_from(entry?.1.value())?;
            if interval.contains(&record.key_value.key) {
                let former = record.former();
                then.entry(record.key_value.key).or_insert(former);
            }
        }
        Ok(then)
    }

    /// Changes from `start` on: at most a chunk, but at least one revision if there is one.
    pub(crate) fn chunk(&self, start: u64) -> Result<Chunk, Failure> {
        let mut chunk = Chunk { records: Vec::new(), through: self.revision };
        let mut bytes = 0;
        let mut last = start;
        for entry in self.log.range::<Position>((start, 0)..)? {
            let (position, value) = entry?;
            let (revision, _) = position.value();
            let full =
                chunk.records.len() >= WATCH_CHUNK_EVENTS_MAX || bytes >= WATCH_CHUNK_BYTES_MAX;
            if full && revision != last {
                chunk.through = last;
                break;
            }
            last = revision;
            bytes += value.value().len();
            chunk.records.push(Record::decode_from(value.value())?);
        }
        Ok(chunk)
    }
}

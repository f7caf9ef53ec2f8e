//! What requests do to the tables: etcd's semantics of range, put, delete and transaction.

use crate::interval::Interval;
use crate::limits::CHANGED_KEYS_MAX;
use crate::log::{CURRENT, LEASE_KEYS, LEASES, LOG, META, Position, Record, View};
use crate::refused::{Failure, Refused};
use etcd::{
    DeleteRangeRequest, DeleteRangeResponse, KeyValue, PutRequest, PutResponse, RangeRequest,
    RangeResponse, ResponseHeader, SortOrder, SortTarget,
};
use prost::Message;
use redb::{ReadableTable, Table, WriteTransaction};

/// A header with nothing but a revision: what answers within transactions carry.
pub(crate) fn revision_only(revision: u64) -> Option<ResponseHeader> {
    Some(ResponseHeader { revision: signed(revision), ..Default::default() })
}

/// A revision as the API has it.
pub(crate) fn signed(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

impl<L, C> View<L, C>
where
    L: ReadableTable<Position, &'static [u8]>,
    C: ReadableTable<&'static [u8], Position>,
{
    /// Answers a range request.
    pub(crate) fn range(&self, request: &RangeRequest) -> Result<RangeResponse, Failure> {
        self.check_revision(request.revision)?;
        let interval = Interval::new(&request.key, &request.range_end);
        let revision = request.revision.max(0).unsigned_abs();
        let positions = match interval.single() {
            Some(key) if revision == 0 || revision >= self.revision => {
                self.find(key)?.into_iter().collect()
            }
            _ => self.positions(&interval, revision)?,
        };
        let mut response = RangeResponse {
            header: revision_only(self.revision),
            count: i64::try_from(positions.len()).unwrap_or(i64::MAX),
            ..Default::default()
        };
        if request.count_only {
            return Ok(response);
        }
        let limit = usize::try_from(request.limit).ok().filter(|&limit| limit > 0);
        // As etcd, which looks one key further than the limit to know whether there is more.
        let read = match limit {
            Some(limit) if !needs_all(request) => limit.saturating_add(1),
            _ => usize::MAX,
        };
        for position in positions.into_iter().take(read) {
            let key_value = self.expect(position)?.key_value;
            if within_bounds(request, &key_value) {
                response.kvs.push(key_value);
            }
        }
        sort(request, &mut response.kvs);
        if let Some(limit) = limit.filter(|&limit| response.kvs.len() > limit) {
            response.kvs.truncate(limit);
            response.more = true;
        }
        if request.keys_only {
            response.kvs.iter_mut().for_each(|key_value| key_value.value.clear());
        }
        Ok(response)
    }
}

/// The limit can be applied only after looking at every key.
fn needs_all(request: &RangeRequest) -> bool {
    request.sort_order != SortOrder::None as i32
        || request.min_mod_revision != 0
        || request.max_mod_revision != 0
        || request.min_create_revision != 0
        || request.max_create_revision != 0
}

fn within_bounds(request: &RangeRequest, key_value: &KeyValue) -> bool {
    let inside =
        |value: i64, min: i64, max: i64| (min == 0 || value >= min) && (max == 0 || value <= max);
    inside(key_value.mod_revision, request.min_mod_revision, request.max_mod_revision)
        && inside(
            key_value.create_revision,
            request.min_create_revision,
            request.max_create_revision,
        )
}

/// Sorts as asked for; keys that compare equal stay in order of key.
fn sort(request: &RangeRequest, key_values: &mut [KeyValue]) {
    match request.sort_target() {
        SortTarget::Key => {}
        SortTarget::Version => key_values.sort_by_key(|kv| kv.version),
        SortTarget::Create => key_values.sort_by_key(|kv| kv.create_revision),
        SortTarget::Mod => key_values.sort_by_key(|kv| kv.mod_revision),
        SortTarget::Value => key_values.sort_by(|a, b| a.value.cmp(&b.value)),
    }
    if request.sort_order() == SortOrder::Descend {
        key_values.reverse();
    }
}

/// The tables of a write transaction.
type WriteView<'t> = View<Table<'t, Position, &'static [u8]>, Table<'t, &'static [u8], Position>>;

/// A write transaction under way. Requests share it, each getting a revision of its own.
pub(crate) struct Changes<'t> {
    pub(crate) view: WriteView<'t>,
    pub(crate) leases: Table<'t, i64, i64>,
    lease_keys: Table<'t, (i64, &'static [u8]), ()>,
    meta: Table<'t, &'static str, i64>,
    /// Changes of the request under way: the next one's number within its revision.
    sub: u32,
    /// Anything was written.
    pub(crate) dirty: bool,
    /// The keys written to; one more than [`CHANGED_KEYS_MAX`] stands for any number.
    changed: Vec<Vec<u8>>,
}

impl<'t> Changes<'t> {
    pub(crate) fn open(transaction: &'t WriteTransaction) -> Result<Self, Failure> {
        let meta = transaction.open_table(META)?;
        let number = |name: &str| -> Result<i64, Failure> {
            Ok(meta.get(name)?.map_or(0, |value| value.value()))
        };
        let view = View {
            revision: number("revision")?.unsigned_abs(),
            compact_revision: number("compact_revision")?,
            log: transaction.open_table(LOG)?,
            current: transaction.open_table(CURRENT)?,
        };
        Ok(Self {
            view,
            leases: transaction.open_table(LEASES)?,
            lease_keys: transaction.open_table(LEASE_KEYS)?,
            meta,
            sub: 0,
            dirty: false,
            changed: Vec::new(),
        })
    }

    /// The revision as the request under way sees it: its own once it has changed something.
    pub(crate) fn revision(&self) -> u64 {
        self.view.revision
    }

    /// The keys written to; `None` if there are too many to name.
    pub(crate) fn changed(&mut self) -> Option<Vec<Vec<u8>>> {
        let changed = std::mem::take(&mut self.changed);
        (changed.len() <= CHANGED_KEYS_MAX).then_some(changed)
    }

    /// Where the next change goes, which is one of `key`. The first one of a request begins a
    /// revision.
    fn advance(&mut self, key: &[u8]) -> Position {
        if self.changed.len() <= CHANGED_KEYS_MAX {
            self.changed.push(key.to_vec());
        }
        if self.sub == 0 {
            self.view.revision += 1;
        }
        let position = (self.view.revision, self.sub);
        self.sub += 1;
        self.dirty = true;
        position
    }

    /// Ends a request: the next change begins a new revision.
    pub(crate) fn end_request(&mut self) {
        self.sub = 0;
    }

    /// Writes the numbers down, before the commit.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        self.meta.insert("revision", signed(self.view.revision))?;
        self.meta.insert("compact_revision", self.view.compact_revision)?;
        Ok(())
    }

    /// Refuses a put that names a lease or a key which does not exist.
    pub(crate) fn check_put(&self, request: &PutRequest) -> Result<(), Failure> {
        if (request.ignore_value || request.ignore_lease) && self.view.find(&request.key)?.is_none()
        {
            return Err(Refused::KeyNotFound.into());
        }
        self.check_lease(request)
    }

    /// Refuses a put that names a lease which does not exist.
    pub(crate) fn check_lease(&self, request: &PutRequest) -> Result<(), Failure> {
        if request.lease != 0 && self.leases.get(request.lease)?.is_none() {
            return Err(Refused::LeaseNotFound.into());
        }
        Ok(())
    }

    /// Carries a put out that [`Self::check_put`] let through.
    pub(crate) fn put(&mut self, request: PutRequest) -> Result<PutResponse, Failure> {
        let former = self.view.find(&request.key)?;
        let previous = former.map(|position| self.view.expect(position)).transpose()?;
        let previous = previous.map(|record| record.key_value);
        let position = self.advance(&request.key);
        let revision = signed(position.0);
        let mut key_value = KeyValue {
            key: request.key,
            create_revision: revision,
            mod_revision: revision,
            version: 1,
            value: request.value,
            lease: request.lease,
        };
        if let Some(previous) = &previous {
            key_value.create_revision = previous.create_revision;
            key_value.version = previous.version + 1;
            if request.ignore_value {
                key_value.value.clone_from(&previous.value);
            }
            if request.ignore_lease {
                key_value.lease = previous.lease;
            }
            self.detach(previous)?;
        }
        if key_value.lease != 0 {
            self.lease_keys.insert((key_value.lease, key_value.key.as_slice()), ())?;
        }
        self.view.current.insert(key_value.key.as_slice(), position)?;
        let record = Record::new(key_value, former);
        self.view.log.insert(position, record.encode_to_vec().as_slice())?;
        Ok(PutResponse {
            header: revision_only(self.revision()),
            prev_kv: previous.filter(|_| request.prev_kv),
        })
    }

    /// Deletes the keys of an interval.
    pub(crate) fn delete(
        &mut self,
        request: &DeleteRangeRequest,
    ) -> Result<DeleteRangeResponse, Failure> {
        let interval = Interval::new(&request.key, &request.range_end);
        let positions = self.view.positions(&interval, 0)?;
        let mut response = DeleteRangeResponse {
            deleted: i64::try_from(positions.len()).unwrap_or(i64::MAX),
            ..Default::default()
        };
        for former in positions {
            let previous = self.view.expect(former)?.key_value;
            let position = self.advance(&previous.key);
            let key_value = KeyValue {
                key: previous.key.clone(),
                mod_revision: signed(position.0),
                ..Default::default()
            };
            self.detach(&previous)?;
            self.view.current.remove(previous.key.as_slice())?;
            let record = Record::new(key_value, Some(former));
            self.view.log.insert(position, record.encode_to_vec().as_slice())?;
            if request.prev_kv {
                response.prev_kvs.push(previous);
            }
        }
        response.header = revision_only(self.revision());
        Ok(response)
    }

    fn detach(&mut self, key_value: &KeyValue) -> Result<(), Failure> {
        if key_value.lease != 0 {
            self.lease_keys.remove((key_value.lease, key_value.key.as_slice()))?;
        }
        Ok(())
    }

    /// Writes a lease down.
    pub(crate) fn grant(&mut self, id: i64, ttl_seconds: i64) -> Result<(), Failure> {
        if self.leases.get(id)?.is_some() {
            return Err(Refused::LeaseExists.into());
        }
        self.leases.insert(id, ttl_seconds)?;
        self.dirty = true;
        Ok(())
    }

    /// Ends a lease and deletes its keys, in one revision.
    pub(crate) fn revoke(&mut self, id: i64) -> Result<(), Failure> {
        if self.leases.remove(id)?.is_none() {
            return Err(Refused::LeaseNotFound.into());
        }
        self.dirty = true;
        for key in lease_keys(&self.lease_keys, id)? {
            self.delete(&DeleteRangeRequest { key, ..Default::default() })?;
        }
        Ok(())
    }

    /// Makes the history before `revision` unreachable; it is cleared away later.
    pub(crate) fn compact(&mut self, revision: i64) -> Result<(), Failure> {
        if revision <= self.view.compact_revision {
            return Err(Refused::Compacted.into());
        }
        if revision > signed(self.view.revision) {
            return Err(Refused::FutureRevision.into());
        }
        self.view.compact_revision = revision;
        self.dirty = true;
        Ok(())
    }

    /// Clears some of what is compacted away. True if there is more.
    pub(crate) fn clear_step(&mut self, entries_max: usize) -> Result<bool, Failure> {
        let target = self.view.compact_revision.max(0).unsigned_abs();
        let start = self.meta.get("cleared_revision")?.map_or(0, |value| value.value());
        let start = start.unsigned_abs();
        if start >= target {
            return Ok(false);
        }
        let mut doomed: Vec<Position> = Vec::new();
        let (mut seen, mut reached) = (0, target);
        for entry in self.view.log.range::<Position>((start, 0)..=(target, u32::MAX))? {
            let (position, value) = entry?;
            let position = position.value();
            // Only whole revisions: the next step begins with this one.
            if seen >= entries_max && position.0 != reached && position.0 > start {
                reached = position.0;
                break;
            }
            seen += 1;
            let record = Record::decode_from(value.value())?;
            doomed.extend(record.former());
            // A deletion at the compacted revision itself can still be watched.
            if record.is_deletion() && position.0 < target {
                doomed.push(position);
            }
        }
        for position in doomed {
            self.view.log.remove(position)?;
        }
        self.meta.insert("cleared_revision", signed(reached))?;
        self.dirty = true;
        Ok(reached < target)
    }
}

/// The keys attached to a lease, in order.
pub(crate) fn lease_keys(
    table: &impl ReadableTable<(i64, &'static [u8]), ()>,
    id: i64,
) -> Result<Vec<Vec<u8>>, Failure> {
    let mut keys = Vec::new();
    for entry in table.range::<(i64, &[u8])>((id, &[][..])..)? {
        let (key, ()) = entry.map(|(key, _)| (key, ()))?;
        let (owner, key) = key.value();
        if owner != id {
            break;
        }
        keys.push(key.to_vec());
    }
    Ok(keys)
}

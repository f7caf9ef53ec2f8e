//! An in-memory datastore, processes on it, and what must hold after every step.

#![expect(clippy::unwrap_used, reason = "test code outside of test functions")]
#![allow(dead_code, clippy::allow_attributes, reason = "each test binary uses a part")]

use ipam::{
    AssignAddress, AutoAssign, Error, Operation, Pool, ReleaseByHandle, ReleaseHost, ReleaseSeen,
};
use ipnet::IpNet;
use jiff::Timestamp;
use model::{AffinityKind, Query, Step};
use model::{
    Block, Entry, Failure, Handle, IpamConfig, Key, Protocol, Request, Response, Revision,
};
use std::collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;

/// Revisions count per key, so that the order of writes to different keys makes no difference.
#[derive(Clone, Default, Hash)]
pub(crate) struct World {
    pub(crate) values: BTreeMap<Key, Vec<u8>>,
    versions: BTreeMap<Key, u64>,
    /// Hosts removed while they may be at work: a block of theirs may lack its affinity for a
    /// while.
    pub(crate) removed: BTreeSet<String>,
}

impl World {
    fn entry(&self, key: &Key) -> Option<Entry> {
        let value = self.values.get(key)?.clone();
        Some(Entry::new(key.clone(), value, Revision(self.versions[key])))
    }

    fn write(&mut self, key: Key, value: Option<Vec<u8>>) -> Revision {
        let version = self.versions.entry(key.clone()).or_default();
        *version += 1;
        let revision = Revision(*version);
        match value {
            Some(value) => self.values.insert(key, value),
            None => self.values.remove(&key),
        };
        revision
    }

    pub(crate) fn carry_out(&mut self, request: Request) -> Response {
        let refusal = |world: &World, key: &Key, revision: Revision| match world.entry(key) {
            None => Some(Response::Failed(Failure::NotFound)),
            Some(entry) if entry.revision != revision => Some(Response::Failed(Failure::Conflict)),
            Some(_) => None,
        };
        match request {
            Request::Get(key) => Response::Entry(self.entry(&key)),
            Request::List(query) => {
                let keys = self.values.keys().filter(|key| match (&query, key) {
                    (Query::Blocks, Key::Block(_)) => true,
                    (Query::Affinities { kind, host }, Key::Affinity { kind: k, host: h, .. }) => {
                        kind == k && host.as_ref().is_none_or(|host| host == h)
                    }
                    _ => false,
                });
                Response::Entries(keys.filter_map(|key| self.entry(key)).collect())
            }
            Request::Create { key, .. } if self.values.contains_key(&key) => {
                Response::Failed(Failure::Conflict)
            }
            Request::Create { key, value } => Response::Written(self.write(key, Some(value))),
            Request::Update { key, value, revision } => refusal(self, &key, revision)
                .unwrap_or_else(|| Response::Written(self.write(key, Some(value)))),
            Request::Delete { key, revision } => {
                refusal(self, &key, revision).unwrap_or_else(|| {
                    self.write(key, None);
                    Response::Deleted
                })
            }
        }
    }

    pub(crate) fn run<T>(&mut self, mut operation: Operation<T>) -> T {
        self.count(&mut operation).0
    }

    /// Runs to the end; also the requests it took.
    pub(crate) fn count<T>(&mut self, operation: &mut Operation<T>) -> (T, Vec<Request>) {
        let (mut answer, mut asked) = (None, Vec::new());
        loop {
            match operation.step(answer) {
                Step::Done(output) => return (output, asked),
                Step::Ask(request) => {
                    asked.push(request.clone());
                    answer = Some(self.carry_out(request));
                }
            }
        }
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let blocks = self.values.iter().filter(|(key, _)| matches!(key, Key::Block(_)));
        blocks.map(|(_, value)| serde_json::from_slice(value).unwrap()).collect()
    }

    pub(crate) fn handles(&self) -> BTreeMap<String, Handle> {
        let handles = self.values.iter().filter_map(|(key, value)| match key {
            Key::Handle(id) => Some((id.clone(), serde_json::from_slice(value).unwrap())),
            _ => None,
        });
        handles.collect()
    }

    /// What must hold at every moment, whoever has been killed.
    pub(crate) fn check(&self) {
        let handles = self.handles();
        for block in self.blocks() {
            assert_eq!(ipam::contents::damage(&block), None, "{block:?}");
            let used: BTreeSet<usize> = block.allocations.iter().flatten().copied().collect();
            assert!(used.iter().copied().eq(0..block.attributes.len()), "unused: {block:?}");
            for (_, holder) in ipam::contents::in_use(&block) {
                let id = holder.handle_id.as_deref().unwrap();
                let entry = handles.get(id).and_then(|h| h.block.get(&block.cidr.to_string()));
                assert!(entry.is_some(), "{id} holds of {} but does not say so", block.cidr);
            }
            if let Some(host) = ipam::contents::owner(&block) {
                let host = host.strip_prefix("host:").unwrap().to_owned();
                let kind = AffinityKind::Host;
                let affinity = Key::Affinity { kind, host: host.clone(), block: block.cidr };
                let found = self.values.contains_key(&affinity) || self.removed.contains(&host);
                assert!(found, "{affinity} is missing");
            }
        }
    }

    /// After everything is over: releasing by handle leaves no address and no handle.
    pub(crate) fn check_recovery(mut self) {
        for handle in self.handles().into_keys() {
            self.run(release(&handle)).unwrap();
            self.check();
        }
        let affinities = self.values.keys().filter_map(|key| match key {
            Key::Affinity { host, .. } => Some(host.clone()),
            _ => None,
        });
        let owners = self.blocks().into_iter().filter_map(|b| ipam::contents::owner(&b));
        let owners = owners.map(|owner| owner.replace("host:", ""));
        for host in affinities.chain(owners).collect::<BTreeSet<_>>() {
            self.run(ReleaseHost { host, config: IpamConfig::default(), now: now() }.start())
                .unwrap();
        }
        assert!(!self.values.keys().any(|key| matches!(key, Key::Affinity { .. })));
        assert!(self.blocks().iter().all(|block| block.affinity.is_none()));
        assert!(self.handles().is_empty());
        assert!(self.blocks().iter().all(|b| ipam::contents::in_use(b).count() == 0));
    }
}

pub(crate) fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

pub(crate) fn pool(cidr: &str, block_size: u8) -> Pool {
    Pool { name: "p".to_owned(), cidr: cidr.parse().unwrap(), block_size }
}

pub(crate) fn wish(host: &str, handle: &str, pool: Pool) -> AutoAssign {
    AutoAssign {
        host: host.to_owned(),
        handle: handle.to_owned(),
        attributes: BTreeMap::from([("node".to_owned(), host.to_owned())]),
        pools: vec![pool],
        count: 1,
        max_blocks: None,
        config: IpamConfig::default(),
        reserved: Vec::new(),
        known_affine_blocks: Vec::new(),
        now: now(),
    }
}

pub(crate) fn release(handle: &str) -> Operation<Result<Vec<IpAddr>, Error>> {
    ReleaseByHandle { handle: handle.to_owned(), config: IpamConfig::default(), now: now() }.start()
}

/// All that is held under a handle now, to be released.
pub(crate) fn seen(world: &World, handle: &str) -> ReleaseSeen {
    let mut seen: BTreeMap<IpNet, BTreeMap<IpAddr, Option<u64>>> = BTreeMap::new();
    for held in world.blocks().iter().flat_map(ipam::lookup::held) {
        if held.handle.as_deref() == Some(handle) {
            seen.entry(held.block).or_default().insert(held.address, held.sequence_number);
        }
    }
    ReleaseSeen { handle: handle.to_owned(), seen, config: IpamConfig::default(), now: now() }
}

/// What a process of a simulation does.
#[derive(Clone, Debug)]
pub(crate) enum Task {
    Assign(AutoAssign),
    Exact(AssignAddress),
    Release(String),
    /// What somebody has seen, at any time before.
    ReleaseSeen(ReleaseSeen),
    ReleaseHost(String),
}

enum Running {
    Assign(Operation<Result<Vec<IpNet>, Error>>),
    Exact(Operation<Result<IpNet, Error>>),
    Release(Operation<Result<Vec<IpAddr>, Error>>),
    ReleaseHost(Operation<Result<Vec<IpNet>, Error>>),
}

/// A task on its way, with its next request.
pub(crate) struct Process {
    task: Task,
    running: Running,
    pub(crate) next: Option<Request>,
    /// A hash of all answers: with the task it determines the process's state.
    pub(crate) history: u64,
    /// What it was given, once done.
    pub(crate) given: Vec<IpAddr>,
    pub(crate) outcome: Option<Result<(), Error>>,
}

impl Process {
    pub(crate) fn new(task: Task) -> Process {
        let running = match task.clone() {
            Task::Assign(wish) => Running::Assign(wish.start()),
            Task::Exact(wish) => Running::Exact(wish.start()),
            Task::Release(handle) => Running::Release(release(&handle)),
            Task::ReleaseSeen(wish) => Running::Release(wish.start()),
            Task::ReleaseHost(host) => {
                let config = IpamConfig::default();
                Running::ReleaseHost(ReleaseHost { host, config, now: now() }.start())
            }
        };
        let (next, given) = (None, Vec::new());
        let mut process = Process { task, running, next, history: 0, given, outcome: None };
        process.answer(None);
        process
    }

    pub(crate) fn answer(&mut self, answer: Option<Response>) {
        let mut hasher = DefaultHasher::new();
        (self.history, format!("{answer:?}")).hash(&mut hasher);
        self.history = hasher.finish();
        let step = match &mut self.running {
            Running::Assign(op) => {
                map(op.step(answer), |nets| nets.iter().map(IpNet::addr).collect())
            }
            Running::Exact(op) => map(op.step(answer), |net| vec![net.addr()]),
            Running::Release(op) => map(op.step(answer), |_| Vec::new()),
            Running::ReleaseHost(op) => map(op.step(answer), |_| Vec::new()),
        };
        match step {
            Step::Ask(request) => self.next = Some(request),
            Step::Done(outcome) => {
                self.next = None;
                self.outcome = Some(outcome.map(|given| self.given = given));
            }
        }
    }

    /// It asks no more; what it has done stands.
    pub(crate) fn kill(&mut self) {
        self.next = None;
        self.history = !self.history;
    }

    pub(crate) fn holder(&self) -> Option<&str> {
        match &self.task {
            Task::Assign(wish) => Some(&wish.handle),
            Task::Exact(wish) => Some(&wish.handle),
            _ => None,
        }
    }

    pub(crate) fn releases(&self, handle: &str) -> bool {
        matches!(&self.task, Task::Release(released) if released == handle)
    }
}

fn map<T>(
    step: Step<Result<T, Error>>,
    given: impl Fn(T) -> Vec<IpAddr>,
) -> Step<Result<Vec<IpAddr>, Error>> {
    match step {
        Step::Ask(request) => Step::Ask(request),
        Step::Done(outcome) => Step::Done(outcome.map(given)),
    }
}

/// The structure, and that whoever was told that an address is his still has it, alone.
pub(crate) fn check(world: &World, processes: &[Process]) {
    world.check();
    let mut given = BTreeSet::new();
    for process in processes.iter() {
        let Some(handle) = process.holder() else { continue };
        if processes.iter().any(|other| other.releases(handle)) {
            continue;
        }
        for address in &process.given {
            assert!(given.insert(*address), "{address} was given twice");
            let blocks = world.blocks();
            let held = blocks.iter().flat_map(ipam::lookup::held);
            let holder = held.into_iter().find(|held| held.address == *address).unwrap();
            assert_eq!(holder.handle.as_deref(), Some(handle), "{address} changed hands");
        }
    }
}

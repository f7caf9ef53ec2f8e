//! The thread that talks to the kernel: applies the newest plan, watches what others change,
//! repairs.
//!
//! It keeps what it read last. Its own changes are told apart from others', so that only those cost
//! another reading.

mod questions;
mod tables;

use crate::health::{Heartbeats, Part};
use crate::metrics::Measures;
use kernel::{Change, State, nft};
use linux::monitor::{Monitor, Notice};
use linux::rtnetlink::Rtnetlink;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use node::event::ApplyFailure;
use node::explain::KernelQuestion;
use node::{Event, RequestId};
use plan::{Facts, Plan};
use questions::Questions;
use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tables::OwnTables;
pub(crate) use tables::TABLE;
use tokio::sync::mpsc;

/// How long others' changes are gathered before the kernel is read again.
const SETTLE: Duration = Duration::from_millis(10);
/// How long after a failure the plan is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often the thread wakes to show that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);

/// A plan with its generation.
type Numbered = (u64, Arc<Plan>);

/// What waits for the thread: the newest generation, the newest plan if there is one, and all
/// updates of tables in their order.
#[derive(Debug, PartialEq)]
struct Waiting {
    generation: u64,
    plan: Option<Arc<Plan>>,
    updates: Vec<nft::Update>,
}

/// Where it waits.
#[derive(Clone, Default)]
struct Slot(Arc<Mutex<Option<Waiting>>>);

impl Slot {
    fn put(&self, mut newest: Waiting) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut earlier) = slot.take() {
            earlier.updates.append(&mut newest.updates);
            newest.updates = earlier.updates;
            newest.plan = newest.plan.or(earlier.plan);
        }
        *slot = Some(newest);
    }

    fn take(&self) -> Option<Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Where plans are left for the thread.
pub(crate) struct Handle {
    newest: Slot,
    questions: Questions,
    wake: UnixStream,
}

impl Handle {
    /// Leaves a plan (`None`: as before) and what changes in the tables. A plan that still waits is
    /// superseded by a newer one; updates never are.
    pub(crate) fn apply(
        &self,
        generation: u64,
        plan: Option<Arc<Plan>>,
        updates: Vec<nft::Update>,
    ) {
        self.newest.put(Waiting { generation, plan, updates });
        self.wake();
    }

    /// Asks what the kernel holds; the answer comes as [`Event::KernelRead`].
    pub(crate) fn ask(&self, id: RequestId, question: KernelQuestion) {
        self.questions.put(id, question);
        self.wake();
    }

    fn wake(&self) {
        // A full pipe means that the thread has been woken already.
        let _woken = (&self.wake).write(&[1]);
    }
}

/// Opens the sockets and starts the thread.
///
/// # Errors
/// A socket cannot be opened (not root), or no thread can be started.
pub(crate) fn start(
    inbox: mpsc::Sender<Event>,
    heartbeats: Arc<Heartbeats>,
    measures: Arc<Measures>,
) -> anyhow::Result<Handle> {
    let (wake, woken) = UnixStream::pair()?;
    wake.set_nonblocking(true)?;
    woken.set_nonblocking(true)?;
    let (newest, questions) = (Slot::default(), Questions::default());
    let netlink = Rtnetlink::open()?;
    let mut monitor = Monitor::open()?;
    monitor.ignore(netlink.port());
    let ipv6 = linux::sysctl::exists("net/ipv6");
    if !ipv6 {
        tracing::info!("this kernel has no IPv6; workloads get IPv4 only");
    }
    let ipip = linux::ipip::has_ipip()?;
    if !ipip {
        tracing::info!("this kernel has no IP-in-IP devices; where tunl0 is needed, BPF does it");
    }
    let thread = Thread {
        tables: OwnTables::open(ipv6)?,
        netlink,
        monitor,
        woken,
        newest: newest.clone(),
        questions: questions.clone(),
        inbox,
        heartbeats,
        measures,
        current: None,
        actual: State::default(),
        stale: Stale { state: true, tables: true },
        heard: false,
        ipv6,
        ipip,
        told: None,
        read_at: Instant::now(),
        failing: BTreeSet::new(),
    };
    std::thread::Builder::new().name("kernel".to_owned()).spawn(move || thread.run())?;
    Ok(Handle { newest, questions, wake })
}

/// What must be read again before it is compared with a plan.
#[derive(Clone, Copy, Debug, Default)]
struct Stale {
    state: bool,
    tables: bool,
}

struct Thread {
    netlink: Rtnetlink,
    tables: OwnTables,
    monitor: Monitor,
    woken: UnixStream,
    newest: Slot,
    questions: Questions,
    inbox: mpsc::Sender<Event>,
    heartbeats: Arc<Heartbeats>,
    measures: Arc<Measures>,
    current: Option<Numbered>,
    actual: State,
    stale: Stale,
    /// What is kept has followed others' changes that need no reading.
    heard: bool,
    ipv6: bool,
    /// The kernel has IP-in-IP devices of its own.
    ipip: bool,
    told: Option<Facts>,
    read_at: Instant,
    failing: BTreeSet<String>,
}

impl Thread {
    fn run(mut self) {
        loop {
            self.heartbeats.beat(Part::Kernel);
            let fresh = self.newest.take();
            let is_new = fresh.is_some();
            let has_plan = fresh.is_some_and(|fresh| self.accept(fresh));
            if self.round(is_new, has_plan).and_then(|()| self.answer()).is_err() {
                // The inbox has closed: the agent is stopping, and leaves everything as it is.
                return;
            }
            self.wait();
        }
    }

    /// Answers what was asked.
    fn answer(&mut self) -> Result<(), Closed> {
        for (id, question) in self.questions.take() {
            let holds = questions::read(&question, &mut self.tables, &mut self.netlink);
            self.send(Event::KernelRead { id, holds: Box::new(holds) })?;
        }
        Ok(())
    }

    /// Takes what has waited; true if there was a plan.
    fn accept(&mut self, fresh: Waiting) -> bool {
        let Waiting { generation, plan, updates } = fresh;
        self.tables.update(updates);
        let has_plan = plan.is_some();
        let current = self.current.take().map(|(_, plan)| plan);
        self.current = plan.or(current).map(|plan| (generation, plan));
        has_plan
    }

    /// Reads what is stale, tells facts that are new, applies what or where the kernel is new.
    fn round(&mut self, is_new: bool, has_plan: bool) -> Result<(), Closed> {
        let retry = !self.failing.is_empty();
        let heard = std::mem::take(&mut self.heard);
        let of_state = has_plan || retry || heard || self.stale.state;
        if !(is_new || of_state || self.stale.tables) {
            return Ok(());
        }
        if let Err(error) = self.read() {
            tracing::error!("the kernel's state cannot be read: {error}");
            self.stale = Stale { state: true, tables: true };
            std::thread::sleep(RETRY);
            return Ok(());
        }
        self.tell_facts()?;
        let Some((generation, plan)) = self.current.take() else { return Ok(()) };
        let begun = Instant::now();
        let mut failures = self.tables.apply(&plan.tables);
        self.stale.tables |= !failures.is_empty();
        if of_state {
            failures.extend(self.apply(&plan));
        }
        self.measures.applied(begun.elapsed(), failures.len());
        self.current = Some((generation, plan));
        self.report(generation, failures, is_new)
    }

    fn read(&mut self) -> anyhow::Result<()> {
        if std::mem::take(&mut self.stale.state) {
            let sysctls = std::mem::take(&mut self.actual.sysctls);
            let read = linux::apply::read_state(&mut self.netlink, [])?;
            self.actual = State { sysctls, ..read };
            self.read_at = Instant::now();
        }
        if std::mem::take(&mut self.stale.tables) {
            self.tables.read()?;
        }
        Ok(())
    }

    fn tell_facts(&mut self) -> Result<(), Closed> {
        let owned = self.current.as_ref().map(|(_, plan)| &plan.owned);
        let facts = Facts {
            ipip: self.ipip,
            dropping_chains: self.tables.dropping().to_vec(),
            ..Facts::of(&self.actual, owned, self.ipv6)
        };
        if self.told.as_ref() == Some(&facts) {
            return Ok(());
        }
        self.told = Some(facts.clone());
        self.send(Event::Facts(Box::new(facts)))
    }

    fn apply(&mut self, plan: &Plan) -> Vec<ApplyFailure> {
        let mut failures = Vec::new();
        self.read_sysctls(plan);
        let changes = kernel::diff(&plan.state, &self.actual, &plan.owned);
        if changes.is_empty() {
            return failures;
        }
        for change in &changes {
            tracing::debug!("{change}");
        }
        let refused = linux::apply::apply(&mut self.netlink, &changes);
        for (change, error) in &refused {
            failures.push(ApplyFailure {
                object: change.to_string(),
                interface: device_of(change),
                message: error.to_string(),
            });
        }
        for change in &changes {
            self.stale.state |= !self.follow(change);
        }
        for (change, _) in &refused {
            if let Change::SetSysctl { path, .. } = change {
                self.actual.sysctls.remove(path);
            }
        }
        self.stale.state |= !refused.is_empty();
        failures
    }

    /// Keeps in step with a change of ours; false where only reading tells all that it did. Devices
    /// and forwarding entries are heard of anyway.
    fn follow(&mut self, change: &Change) -> bool {
        let alone = matches!(
            change,
            Change::SetSysctl { .. }
                | Change::ReplaceRoute { .. }
                | Change::DeleteRoute { .. }
                | Change::SetNeighbor { .. }
                | Change::DeleteNeighbor { .. }
        );
        alone && self.actual.apply(change).is_ok()
    }

    /// Sysctls are read once for each device, as there are several for each workload.
    fn read_sysctls(&mut self, plan: &Plan) {
        for path in plan.state.sysctls.keys() {
            if !self.actual.sysctls.contains_key(path)
                && let Ok(value) = linux::sysctl::read(path)
            {
                self.actual.sysctls.insert(path.clone(), value);
            }
        }
    }

    /// Tells how a plan went: each plan once, and again whenever what fails has changed.
    fn report(
        &mut self,
        generation: u64,
        failures: Vec<ApplyFailure>,
        is_new: bool,
    ) -> Result<(), Closed> {
        let lasting = failures.iter().filter(|failure| !self.is_gone(failure));
        let failing: BTreeSet<String> = lasting.map(|f| f.message.clone()).collect();
        let changed = failing != self.failing;
        for message in failing.difference(&self.failing) {
            tracing::error!("the kernel refuses: {message}");
        }
        self.failing = failing;
        if is_new || changed {
            return self.send(Event::Applied { generation, failures });
        }
        Ok(())
    }

    /// A workload's device that went before its plan did: the next plan will be without it.
    fn is_gone(&self, failure: &ApplyFailure) -> bool {
        let device = failure.interface.as_ref();
        device.is_some_and(|name| self.is_workload(name) && !self.actual.links.contains_key(name))
    }

    /// Whether the newest plan takes a device for a workload's.
    fn is_workload(&self, name: &str) -> bool {
        self.current.as_ref().is_some_and(|(_, plan)| plan.owned.is_workload(name))
    }

    fn send(&self, event: Event) -> Result<(), Closed> {
        self.inbox.blocking_send(event).map_err(|_| Closed)
    }

    /// Waits for a plan, for somebody else's change, or until something is due.
    fn wait(&mut self) {
        let refresh = self.current.as_ref().and_then(|(_, plan)| plan.refresh_interval);
        let due = match (self.failing.is_empty(), self.stale.state || self.stale.tables) {
            (_, true) => SETTLE,
            (false, false) => RETRY,
            (true, false) => HEARTBEAT.min(refresh.unwrap_or(HEARTBEAT)),
        };
        let heard = {
            let mut fds = [
                PollFd::new(self.woken.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.monitor.as_fd(), PollFlags::POLLIN),
                PollFd::new(self.tables.as_fd(), PollFlags::POLLIN),
            ];
            let timeout = PollTimeout::try_from(due).unwrap_or(PollTimeout::MAX);
            // A signal ends the wait early, which costs one round.
            let _interrupted = poll(&mut fds, timeout);
            fds.map(|fd| fd.any().unwrap_or(false))
        };
        if heard[1] {
            self.gather();
        }
        if heard[0] || heard[1] {
            let mut bytes = [0; 64];
            while self.woken.read(&mut bytes).is_ok_and(|read| read == bytes.len()) {}
        }
        if heard[1] {
            self.hear_of_others();
        }
        if heard[2] && self.tables.have_others_changed() {
            self.stale.tables = true;
        }
        if refresh.is_some_and(|interval| self.read_at.elapsed() > interval) {
            self.stale = Stale { state: true, tables: true };
            self.actual.sysctls.clear();
        }
    }

    /// Lets others finish what they are at, unless a plan comes: a pod may be waiting for that.
    fn gather(&self) {
        let mut woken = [PollFd::new(self.woken.as_fd(), PollFlags::POLLIN)];
        let settle = PollTimeout::try_from(SETTLE).unwrap_or(PollTimeout::ZERO);
        // A signal ends the wait early, which costs one round.
        let _interrupted = poll(&mut woken, settle);
    }

    /// Takes what others have changed: follows what can be followed, reads the rest again.
    fn hear_of_others(&mut self) {
        let Ok(notices) = self.monitor.wait(Some(Duration::ZERO)) else {
            self.stale.state = true;
            return;
        };
        for notice in notices {
            self.stale.state |= !self.take(&notice);
        }
    }

    /// Follows one change; false where everything must be read again. Pods come and go: that must
    /// not cost a reading of all the others.
    fn take(&mut self, notice: &Notice) -> bool {
        let of_workload = |name: &str| self.is_workload(name);
        match notice {
            Notice::Link { name, present } => {
                // Perhaps another device of the same name, with the kernel's defaults.
                self.actual.sysctls.retain(|path, _| interface_of(path) != Some(name.as_str()));
                self.is_workload(name) && self.take_workload_link(name, *present)
            }
            // Neither desired nor told; the kernel gives each device some.
            Notice::Address { device } | Notice::Neighbor { device, .. } => of_workload(device),
            Notice::Route { key, route, .. } => {
                let ours = self.current.as_ref().is_some_and(|(_, plan)| {
                    plan.owned.owns_route(key, route) || plan.state.routes.contains_key(key)
                });
                !ours && route.device().is_some_and(of_workload)
            }
            Notice::Fdb { .. } => false,
            Notice::Overrun => {
                self.actual.sysctls.clear();
                false
            }
        }
    }

    fn take_workload_link(&mut self, name: &str, present: bool) -> bool {
        let there = if present { self.netlink.link(name) } else { Ok(None) };
        let Ok(there) = there else { return false };
        self.heard = true;
        match there {
            Some(entry) => {
                self.actual.links.insert(entry.name, entry.link);
            }
            None if self.actual.links.contains_key(name) => {
                let gone = Change::DeleteLink { name: name.to_owned() };
                return self.actual.apply(&gone).is_ok();
            }
            None => {}
        }
        true
    }
}

/// The agent has gone.
struct Closed;

/// `net/ipv4/conf/cali1234/proxy_arp` is of `cali1234`.
fn interface_of(sysctl: &str) -> Option<&str> {
    let mut parts = sysctl.split('/').skip(2);
    parts.next().filter(|part| matches!(*part, "conf" | "neigh"))?;
    parts.next()
}

fn device_of(change: &Change) -> Option<String> {
    match change {
        Change::SetSysctl { path, .. } => interface_of(path).map(str::to_owned),
        Change::ReplaceRoute { route, .. } | Change::DeleteRoute { route, .. } => {
            route.device().map(str::to_owned)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;

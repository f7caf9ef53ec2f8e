//! The one owner of the speaker: turns what happens to sockets into its inputs, and carries its
//! outputs out.

use super::Wanted;
use super::connection::{Attempt, Connection, Wrote, prepare};
use super::listener::{LISTEN_PAUSE, Listener};
use super::reason;
use super::report::Report;
use bgp::speaker::ConnectionId;
use bgp::{Configuration, Input, Output, Speaker};
use node::Event;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

/// Happenings that wait for the driver; the tasks that tell them wait beyond.
const HAPPENINGS_MAX: usize = 256;
/// Bytes read from one connection before the others have their turn.
const READ_BYTES_MAX: usize = 64 * 1024;
/// Bytes written to one connection before the others have their turn, and so about the most that
/// waits in memory for a peer that reads slowly.
const WRITE_BYTES_MAX: usize = 16 * 1024;
/// Connections that others have opened; beyond, new ones are closed at once.
const ACCEPTED_MAX: usize = 512;
/// Of these, from one address.
const ACCEPTED_FROM_ONE_MAX: usize = 8;
/// How long a connection may take to close.
const CLOSE_TIME_MAX: Duration = Duration::from_secs(1);

/// What happens to sockets.
pub(super) enum Happening {
    /// An attempt has ended.
    Attempted { connection: ConnectionId, result: Result<TcpStream, String> },
    /// Somebody has connected.
    Accepted { stream: TcpStream, remote: SocketAddr },
    /// A read will yield something: bytes, the end, or an error.
    Readable(ConnectionId),
    /// A socket that was full isn't any more.
    Writable(ConnectionId),
}

/// The driver.
pub(super) struct Driver {
    wanted: watch::Receiver<Wanted>,
    inbox: mpsc::Sender<Event>,
    happenings: mpsc::Sender<Happening>,
    happened: mpsc::Receiver<Happening>,
    origin: Instant,
    running: Option<Running>,
    buffer: Vec<u8>,
}

/// Everything that exists while a speaker is wanted.
struct Running {
    configuration: Arc<Configuration>,
    speaker: Speaker,
    report: Report,
    listener: Listener,
    listen_again: Option<Instant>,
    /// Where to, too: a connection that the peer resets at once cannot say it any more.
    attempts: BTreeMap<ConnectionId, (AbortHandle, IpAddr)>,
    connections: BTreeMap<ConnectionId, Connection>,
    accepted: u64,
    /// Connections that may have something to write, in turn.
    ready: VecDeque<ConnectionId>,
    queued: BTreeSet<ConnectionId>,
    /// When to give up closing, soonest first.
    closing: VecDeque<(Instant, ConnectionId)>,
    happenings: mpsc::Sender<Happening>,
    origin: Instant,
}

impl Driver {
    /// A driver that follows `wanted` and tells `inbox`.
    pub(super) fn new(wanted: watch::Receiver<Wanted>, inbox: mpsc::Sender<Event>) -> Driver {
        let (happenings, happened) = mpsc::channel(HAPPENINGS_MAX);
        Driver {
            wanted,
            inbox,
            happenings,
            happened,
            origin: Instant::now(),
            running: None,
            buffer: vec![0; READ_BYTES_MAX],
        }
    }

    /// Runs until nobody can want anything any more, or nobody listens.
    pub(super) async fn run(mut self) {
        self.wanted.mark_changed();
        loop {
            let (due, told, busy) = match &self.running {
                Some(running) => (running.due(), running.report.due(), !running.ready.is_empty()),
                None => (None, None, false),
            };
            tokio::select! {
                biased;
                changed = self.wanted.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    self.configure().await;
                }
                () = at(due) => self.with(Running::tick),
                permit = permit(self.inbox.clone(), told) => {
                    let Ok(permit) = permit else { return };
                    let running = self.running.as_mut();
                    let event = running.and_then(|r| r.report.event(&mut r.speaker));
                    event.map(|event| permit.send(event));
                }
                Some(happening) = self.happened.recv() => self.take(happening),
                () = tokio::task::yield_now(), if busy => {}
            }
            self.with(Running::write_round);
        }
    }

    fn with(&mut self, act: impl FnOnce(&mut Running)) {
        if let Some(running) = &mut self.running {
            act(running);
        }
    }

    async fn configure(&mut self) {
        let wanted = self.wanted.borrow_and_update().clone();
        match (wanted, &mut self.running) {
            (Some(configuration), Some(running)) => running.configure(configuration),
            (Some(configuration), None) => {
                let mut running =
                    Running::new(configuration.clone(), self.origin, self.happenings.clone());
                running.configure(configuration);
                self.running = Some(running);
            }
            (None, Some(_)) => self.cease().await,
            (None, None) => {}
        }
    }

    /// Takes all peers away, which ends each session with Cease, and waits until that is told.
    async fn cease(&mut self) {
        let Some(running) = &mut self.running else { return };
        let configuration =
            Configuration { peers: BTreeMap::new(), ..(*running.configuration).clone() };
        running.listener.close();
        running.listen_again = None;
        running.on(Input::Configure(Box::new(configuration)));
        let end = Instant::now() + CLOSE_TIME_MAX;
        loop {
            self.with(Running::write_round);
            let Some(running) = &self.running else { return };
            if running.connections.is_empty() {
                break;
            }
            let busy = !running.ready.is_empty();
            tokio::select! {
                biased;
                () = at(Some(end)) => break,
                Some(happening) = self.happened.recv() => self.take(happening),
                () = tokio::task::yield_now(), if busy => {}
            }
        }
        self.running = None;
    }

    fn take(&mut self, happening: Happening) {
        // Without a speaker, a connection that was made just now is closed by being dropped.
        let Some(running) = &mut self.running else { return };
        match happening {
            Happening::Attempted { connection, result } => running.attempted(connection, result),
            Happening::Accepted { stream, remote } => running.accept(stream, remote),
            Happening::Readable(connection) => running.read(connection, &mut self.buffer),
            Happening::Writable(connection) => {
                if let Some(standing) = running.connections.get_mut(&connection) {
                    standing.unblock();
                    running.is_ready(connection);
                }
            }
        }
    }
}

impl Running {
    fn new(
        configuration: Arc<Configuration>,
        origin: Instant,
        happenings: mpsc::Sender<Happening>,
    ) -> Running {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Running {
            configuration,
            speaker: Speaker::new(since.saturating_sub(origin.elapsed()).as_secs()),
            report: Report::default(),
            listener: Listener::default(),
            listen_again: None,
            attempts: BTreeMap::new(),
            connections: BTreeMap::new(),
            accepted: 0,
            ready: VecDeque::new(),
            queued: BTreeSet::new(),
            closing: VecDeque::new(),
            happenings,
            origin,
        }
    }

    fn configure(&mut self, configuration: Arc<Configuration>) {
        self.configuration = configuration;
        self.on(Input::Configure(Box::new((*self.configuration).clone())));
        self.listen();
    }

    fn listen(&mut self) {
        self.listen_again = None;
        let Some(listening) = self.listener.follow(&self.configuration, &self.happenings) else {
            return;
        };
        if let Err(why) = &listening {
            tracing::warn!("BGP: {why}");
            self.listen_again = Some(Instant::now() + LISTEN_PAUSE);
        }
        self.on(Input::Listening(listening));
    }

    /// When something is to be done though nothing happens.
    fn due(&self) -> Option<Instant> {
        let speaker = self.speaker.deadline().map(|after| self.origin + after);
        let close = self.closing.front().map(|(at, _)| *at);
        [speaker, self.listen_again, close].into_iter().flatten().min()
    }

    /// Does what is due.
    fn tick(&mut self) {
        let now = Instant::now();
        if self.speaker.deadline().is_some_and(|after| self.origin + after <= now) {
            self.on(Input::Tick);
        }
        if self.listen_again.is_some_and(|at| at <= now) {
            self.listen();
        }
        while let Some((at, connection)) = self.closing.front().copied()
            && at <= now
        {
            self.closing.pop_front();
            self.connections.remove(&connection);
        }
    }

    /// Gives the speaker an input, and does what it says.
    fn on(&mut self, input: Input) {
        let outputs = self.speaker.on(self.origin.elapsed(), input);
        for output in outputs {
            self.perform(output);
        }
        self.report.look(&self.speaker);
    }

    fn perform(&mut self, output: Output) {
        match output {
            Output::Connect { connection, remote, source, ttl_security, password } => {
                self.attempt(Attempt { connection, remote, source, ttl_security, password });
            }
            Output::Ready(connection) => self.is_ready(connection),
            Output::Close(connection) => self.close(connection),
            Output::RoutesChanged => self.report.routes_changed(),
            Output::StatusChanged => self.report.status_changed(),
        }
    }

    fn attempt(&mut self, attempt: Attempt) {
        let (connection, remote) = (attempt.connection, attempt.remote.ip());
        let happenings = self.happenings.clone();
        let task = tokio::spawn(async move {
            let result = attempt.make().await;
            // The driver may have ended meanwhile.
            let _told = happenings.send(Happening::Attempted { connection, result }).await;
        });
        self.attempts.insert(connection, (task.abort_handle(), remote));
    }

    fn attempted(&mut self, connection: ConnectionId, result: Result<TcpStream, String>) {
        let Some((_, remote)) = self.attempts.remove(&connection) else { return };
        let ends = result.and_then(|stream| match stream.local_addr() {
            Ok(local) => Ok((stream, local)),
            Err(why) => Err(reason::closed(Some(&why))),
        });
        match ends {
            Ok((stream, local)) => {
                self.stand(connection, stream, remote);
                self.on(Input::Connected { connection, local });
            }
            Err(reason) => self.on(Input::ConnectFailed { connection, reason }),
        }
    }

    fn accept(&mut self, stream: TcpStream, remote: SocketAddr) {
        let accepted = || self.connections.iter().filter(|(id, _)| *id % 2 == 1);
        let from_one = accepted().filter(|(_, other)| other.remote == remote.ip()).count();
        if accepted().count() >= ACCEPTED_MAX || from_one >= ACCEPTED_FROM_ONE_MAX {
            tracing::debug!("BGP: {remote} has connected, but too many others have already");
            return;
        }
        let security = self.ttl_security(remote.ip());
        let ready = stream.local_addr().and_then(|local| {
            stream.set_nodelay(true)?;
            prepare(&stream, remote.ip(), security)?;
            Ok(local)
        });
        let Ok(local) = ready.inspect_err(|why| tracing::debug!("BGP: from {remote}: {why}"))
        else {
            return;
        };
        let connection = 2 * self.accepted + 1;
        self.accepted += 1;
        self.stand(connection, stream, remote.ip());
        self.on(Input::Accepted { connection, local, remote });
    }

    fn ttl_security(&self, address: IpAddr) -> Option<u8> {
        let mut peers = self.configuration.peers.values().filter(|peer| peer.address == address);
        peers.find_map(|peer| peer.ttl_security)
    }

    fn stand(&mut self, id: ConnectionId, stream: TcpStream, remote: IpAddr) {
        let connection = Connection::new(id, stream, remote, self.happenings.clone());
        self.connections.insert(id, connection);
    }

    fn read(&mut self, connection: ConnectionId, buffer: &mut [u8]) {
        let Some(standing) = self.connections.get(&connection) else { return };
        let closing = standing.is_closing();
        let reason = match standing.read(buffer) {
            Ok(Some([])) => reason::closed(None),
            Ok(None) => return,
            Ok(Some(_)) if closing => return,
            Ok(Some(bytes)) => {
                let bytes = bytes.to_vec();
                return self.on(Input::Received { connection, bytes });
            }
            Err(error) => reason::closed(Some(&error)),
        };
        self.gone(connection, reason);
    }

    fn gone(&mut self, connection: ConnectionId, reason: String) {
        let gone = self.connections.remove(&connection);
        if gone.is_some_and(|standing| !standing.is_closing()) {
            self.on(Input::Closed { connection, reason });
        }
    }

    /// A connection's turn to write comes, once.
    fn is_ready(&mut self, connection: ConnectionId) {
        if self.queued.insert(connection) {
            self.ready.push_back(connection);
        }
    }

    /// One piece to each connection that has some.
    fn write_round(&mut self) {
        for _ in 0..self.ready.len() {
            let Some(connection) = self.ready.pop_front() else { return };
            self.queued.remove(&connection);
            self.write(connection);
        }
    }

    fn write(&mut self, connection: ConnectionId) {
        let Some(standing) = self.connections.get_mut(&connection) else { return };
        let (speaker, now) = (&mut self.speaker, self.origin.elapsed());
        match standing.write(|| speaker.write(now, connection, WRITE_BYTES_MAX)) {
            Ok(Wrote::Some) => self.is_ready(connection),
            Ok(Wrote::Blocked) => {}
            Ok(Wrote::Nothing) => {
                // What the peer still sends is read: else the kernel would answer it with a reset,
                // which may overtake our NOTIFICATION.
                if standing.is_closing() && linux::tcp::end_writing(&*standing.stream).is_err() {
                    self.connections.remove(&connection);
                }
            }
            Err(error) => self.gone(connection, reason::closed(Some(&error))),
        }
    }

    fn close(&mut self, connection: ConnectionId) {
        if let Some((attempt, _)) = self.attempts.remove(&connection) {
            attempt.abort();
        }
        if let Some(standing) = self.connections.get_mut(&connection) {
            standing.close();
            self.closing.push_back((Instant::now() + CLOSE_TIME_MAX, connection));
            self.is_ready(connection);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (attempt, _) in self.attempts.values() {
            attempt.abort();
        }
    }
}

/// Until then; for ever without a time.
async fn at(when: Option<Instant>) {
    match when {
        Some(when) => tokio::time::sleep_until(when).await,
        None => std::future::pending().await,
    }
}

/// A place in the inbox, wanted from then on.
async fn permit(
    inbox: mpsc::Sender<Event>,
    when: Option<Instant>,
) -> Result<mpsc::OwnedPermit<Event>, mpsc::error::SendError<()>> {
    at(when).await;
    inbox.reserve_owned().await
}

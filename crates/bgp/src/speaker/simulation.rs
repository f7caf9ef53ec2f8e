//! A network of speakers in memory: pipes that split and delay bytes by chance, a clock of its own,
//! and its faults. Everything follows from the seed.

use super::{ConnectionId, Input, LearnedRoute, Output, Speaker};
use crate::configuration::{Configuration, ExportRanges, Listen, PORT_DEFAULT, Peer, PeerKind};
use crate::status::{PeerStatus, SessionState};
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

/// One end of a connection.
type End = (usize, ConnectionId);

/// What is on its way to a node.
#[derive(Debug)]
enum Arrival {
    Input(Input),
    /// A SYN, from the other end.
    Syn(End),
    /// The answer to one: the peer's end.
    Answer(ConnectionId, Option<End>),
}

pub(super) struct Node {
    pub(super) speaker: Speaker,
    pub(super) up: bool,
    /// Its kernel's routes: what came out of the speaker, kept when it restarts.
    pub(super) routes: BTreeMap<IpNet, LearnedRoute>,
    /// Every route that was taken away.
    pub(super) withdrawn: Vec<IpNet>,
    /// Connections that it closed, and bytes sent on those of each peer.
    pub(super) closed: Vec<ConnectionId>,
    pub(super) sent: BTreeMap<ConnectionId, usize>,
    /// Its speaker's output isn't pulled: all its peers read nothing.
    pub(super) unread: bool,
    configuration: Configuration,
    accepted: ConnectionId,
    /// Restarts; what was on its way to a former process is lost.
    epoch: u32,
}

pub(super) struct Network {
    pub(super) now: Duration,
    pub(super) nodes: Vec<Node>,
    /// Pairs that nothing passes between, and nobody is told.
    pub(super) partitioned: BTreeSet<(usize, usize)>,
    arrivals: BTreeMap<(Duration, u64), (usize, u32, Arrival)>,
    /// Attempts given up before the answer.
    cancelled: BTreeSet<End>,
    /// The other end of each end.
    ends: BTreeMap<End, End>,
    /// Until when each direction is taken, so that bytes stay in order.
    busy_until: BTreeMap<End, Duration>,
    random: u64,
    order: u64,
}

pub(super) fn address(node: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, node as u8 + 1).into()
}

/// The block of pod addresses that a node originates.
pub(super) fn block(node: usize) -> IpNet {
    format!("10.244.{node}.0/24").parse().unwrap()
}

pub(super) fn name(node: usize) -> String {
    format!("Mesh_10_0_0_{}", node + 1)
}

pub(super) fn peer(node: usize) -> Peer {
    Peer::new(PeerKind::NodeMesh, address(node), 64512, 64512)
}

/// A node's configuration in the mesh of `count`.
pub(super) fn mesh(node: usize, count: usize) -> Configuration {
    let others = (0..count).filter(|other| *other != node);
    Configuration {
        router_id: Ipv4Addr::new(10, 0, 0, node as u8 + 1),
        local_as: 64512,
        listen: Listen { address: None, port: PORT_DEFAULT },
        peers: others.map(|other| (name(other), peer(other))).collect(),
        originated: BTreeSet::from([block(node)]),
        export: ExportRanges {
            allowed: BTreeSet::from(["10.244.0.0/16".parse().unwrap()]),
            denied: BTreeSet::new(),
        },
        communities: vec![],
    }
}

impl Network {
    /// Nodes of these configurations, all started at once.
    pub(super) fn new(seed: u64, configurations: Vec<Configuration>) -> Network {
        let node = |configuration| Node {
            speaker: Speaker::new(0),
            up: false,
            routes: BTreeMap::new(),
            withdrawn: vec![],
            closed: vec![],
            sent: BTreeMap::new(),
            unread: false,
            configuration,
            accepted: 1,
            epoch: 0,
        };
        let mut network = Network {
            now: Duration::ZERO,
            nodes: configurations.into_iter().map(node).collect(),
            partitioned: BTreeSet::new(),
            arrivals: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            ends: BTreeMap::new(),
            busy_until: BTreeMap::new(),
            random: seed | 1,
            order: 0,
        };
        (0..network.nodes.len()).for_each(|node| network.start(node));
        network
    }

    pub(super) fn mesh(seed: u64, count: usize) -> Network {
        Network::new(seed, (0..count).map(|node| mesh(node, count)).collect())
    }

    pub(super) fn start(&mut self, node: usize) {
        let this = &mut self.nodes[node];
        this.up = true;
        this.speaker = Speaker::new(0);
        let configuration = Box::new(this.configuration.clone());
        self.input(node, Input::Listening(Ok(())));
        self.input(node, Input::Configure(configuration));
    }

    /// The process is gone; the kernel ends its connections, and keeps its routes.
    pub(super) fn kill(&mut self, node: usize) {
        self.nodes[node].up = false;
        self.nodes[node].epoch += 1;
        for end in self.ends.keys().copied().filter(|end| end.0 == node).collect::<Vec<_>>() {
            self.end(end, "Connection reset by peer");
        }
    }

    /// Cuts all connections between two nodes; both are told.
    pub(super) fn cut(&mut self, a: usize, b: usize) {
        let between = self.ends.iter().filter(|(from, to)| from.0 == a && to.0 == b);
        for from in between.map(|(from, _)| *from).collect::<Vec<_>>() {
            self.end(from, "Connection reset by peer");
            let closed = Input::Closed { connection: from.1, reason: "reset".into() };
            self.arrive(from, from.0, Arrival::Input(closed));
        }
    }

    pub(super) fn configure(&mut self, node: usize, change: impl FnOnce(&mut Configuration)) {
        change(&mut self.nodes[node].configuration);
        let configuration = Box::new(self.nodes[node].configuration.clone());
        self.input(node, Input::Configure(configuration));
    }

    /// Goes on until that time.
    pub(super) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
    }

    /// Goes on until something is so; how long that took. Panics if it isn't within the time.
    pub(super) fn until(
        &mut self,
        time: Duration,
        what: &str,
        holds: impl Fn(&Network) -> bool,
    ) -> Duration {
        let start = self.now;
        while !holds(self) {
            let went_on = self.step(start + time);
            assert!(went_on, "{what} not within {time:?}: {:#?}", self.states());
        }
        self.now - start
    }

    pub(super) fn states(&self) -> Vec<Vec<PeerStatus>> {
        let status = |node: &Node| node.speaker.status().map(|status| status.peers);
        self.nodes.iter().map(|node| status(node).unwrap_or_default()).collect()
    }

    pub(super) fn peer(&self, node: usize, other: usize) -> PeerStatus {
        let found = self.states()[node].iter().find(|peer| peer.address == address(other)).cloned();
        found.expect("a peer of that address")
    }

    pub(super) fn established(&self, node: usize, other: usize) -> bool {
        self.peer(node, other).state == SessionState::Established
    }

    /// Every session stands, and every node has every other's route.
    pub(super) fn complete(&self) -> bool {
        let all = |peers: &Vec<PeerStatus>| {
            peers.iter().all(|peer| peer.state == SessionState::Established)
        };
        self.states().iter().all(all)
            && self.nodes.iter().all(|node| node.routes.len() == self.nodes.len() - 1)
    }

    /// The connections between two nodes, as the first numbers them.
    pub(super) fn connections(&self, node: usize, other: usize) -> Vec<ConnectionId> {
        let between = self.ends.iter().filter(|(from, to)| from.0 == node && to.0 == other);
        between.map(|(from, _)| from.1).collect()
    }

    /// Gives a node an input, and does what it wants done.
    pub(super) fn input(&mut self, node: usize, input: Input) {
        let outputs = self.nodes[node].speaker.on(self.now, input);
        for output in outputs {
            match output {
                Output::Connect { connection, remote, .. } => {
                    self.connect((node, connection), remote.ip());
                }
                Output::Ready(connection) => {
                    if !self.nodes[node].unread {
                        self.pull((node, connection));
                    }
                }
                Output::Close(connection) => {
                    self.pull((node, connection));
                    self.nodes[node].closed.push(connection);
                    self.end((node, connection), "Connection closed by peer");
                }
                Output::RoutesChanged => self.take_routes(node),
                Output::StatusChanged => {}
            }
        }
    }

    fn take_routes(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        loop {
            let changes = node.speaker.take_routes(3);
            if changes.is_empty() {
                return;
            }
            for change in changes {
                match change.best {
                    Some(best) => drop(node.routes.insert(change.prefix, best)),
                    None => {
                        node.routes.remove(&change.prefix);
                        node.withdrawn.push(change.prefix);
                    }
                }
            }
        }
    }

    fn connect(&mut self, from: End, to: IpAddr) {
        let Some(other) = (0..self.nodes.len()).find(|node| address(*node) == to) else { return };
        self.arrive(from, other, Arrival::Syn(from));
    }

    /// All that a speaker has for a connection, in pieces, onto its way.
    fn pull(&mut self, from: End) {
        loop {
            let most = 1 + self.chance(8000) as usize;
            let mut bytes = self.nodes[from.0].speaker.write(self.now, from.1, most);
            if bytes.is_empty() {
                return;
            }
            *self.nodes[from.0].sent.entry(from.1).or_default() += bytes.len();
            let Some(to) = self.ends.get(&from).copied() else { continue };
            while !bytes.is_empty() {
                let length = (1 + self.chance(200) as usize).min(bytes.len());
                let rest = bytes.split_off(length);
                let input = Input::Received { connection: to.1, bytes };
                self.arrive(from, to.0, Arrival::Input(input));
                bytes = rest;
            }
        }
    }

    /// An end goes; the other is told.
    fn end(&mut self, end: End, reason: &str) {
        let Some(other) = self.ends.remove(&end) else {
            self.cancelled.insert(end);
            return;
        };
        let closed = Input::Closed { connection: other.1, reason: reason.into() };
        self.arrive(end, other.0, Arrival::Input(closed));
    }

    fn arrive(&mut self, from: End, to: usize, arrival: Arrival) {
        let pair = (from.0.min(to), from.0.max(to));
        if self.partitioned.contains(&pair) {
            return;
        }
        let delay = Duration::from_micros(50 + self.chance(3000));
        let at = (self.now + delay).max(*self.busy_until.get(&from).unwrap_or(&Duration::ZERO));
        self.busy_until.insert(from, at);
        self.order += 1;
        let epoch = self.nodes[to].epoch;
        self.arrivals.insert((at, self.order), (to, epoch, arrival));
    }

    /// The next thing that happens, if it happens by then.
    fn step(&mut self, end: Duration) -> bool {
        let up = |(_, node): &(usize, &Node)| node.up;
        let due = self.nodes.iter().enumerate().filter(up);
        let due = due.filter_map(|(index, node)| Some((node.speaker.deadline()?, index))).min();
        let arrival = self.arrivals.first_key_value().map(|(key, _)| *key);
        match (due, arrival) {
            (Some((at, node)), arrival) if arrival.is_none_or(|(other, _)| at <= other) => {
                if at > end {
                    return false;
                }
                self.now = self.now.max(at);
                self.input(node, Input::Tick);
                let next = self.nodes[node].speaker.deadline();
                assert!(next.is_none_or(|next| next > self.now), "a timer that stays due");
            }
            (_, Some(key)) if key.0 <= end => {
                self.now = self.now.max(key.0);
                let Some((node, epoch, arrival)) = self.arrivals.remove(&key) else { return false };
                if self.nodes[node].epoch == epoch {
                    self.arrived(node, arrival);
                }
            }
            _ => return false,
        }
        true
    }

    fn arrived(&mut self, node: usize, arrival: Arrival) {
        match arrival {
            Arrival::Input(input) => {
                if let Input::Closed { connection, .. } = &input {
                    self.ends.remove(&(node, *connection));
                }
                self.input(node, input);
            }
            Arrival::Syn(from) => {
                if !self.nodes[node].up {
                    self.arrive((node, 0), from.0, Arrival::Answer(from.1, None));
                    return;
                }
                let id = self.nodes[node].accepted;
                self.nodes[node].accepted += 2;
                let to = (node, id);
                self.ends.insert(to, from);
                self.arrive(to, from.0, Arrival::Answer(from.1, Some(to)));
                let local = SocketAddr::new(address(node), PORT_DEFAULT);
                let remote = SocketAddr::new(address(from.0), 40000);
                self.input(node, Input::Accepted { connection: id, local, remote });
            }
            Arrival::Answer(connection, Some(to)) => {
                self.ends.insert((node, connection), to);
                if self.cancelled.remove(&(node, connection)) {
                    return self.end((node, connection), "Connection reset by peer");
                }
                let local = SocketAddr::new(address(node), 40000);
                self.input(node, Input::Connected { connection, local });
            }
            Arrival::Answer(connection, None) => {
                let reason = "Connection refused".to_string();
                self.input(node, Input::ConnectFailed { connection, reason });
            }
        }
    }

    fn chance(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }
}

//! What packets between two pods of a node cost, with policies in the cluster.

use super::datastore::Datastore;
use super::groups;
use super::plugin::Kind;
use super::pods::Pods;
use super::probe::{Fate, Probe};
use crate::cluster::{Background, within};
use crate::iperf3;
use crate::program;
use crate::samples::Samples;
use anyhow::{Context, Result};
use linux::netns::NetNs;
use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};
use serde::{Deserialize, Serialize};
use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// What this program says once it can measure.
pub(crate) const READY: &str = "ready";

/// Pods of the node; packets go between two of the same group.
const PODS: u32 = 32;
/// Endpoints of other nodes.
const ENDPOINTS: u32 = 1_000;
/// How long packets of each kind are sent, and what of them is timed at once.
const TURN: Duration = Duration::from_millis(250);
const ROUND_TRIPS: u32 = 50;
const CONNECTIONS: u32 = 10;
const STREAM: &str = "1";
/// How long a packet that is not dropped may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const PROGRAM_LIMIT: Duration = Duration::from_secs(20);
/// How long the agent is left alone once all policies are in force.
const SETTLE: Duration = Duration::from_secs(1);

/// What packets cost.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Packets {
    /// Microseconds of a datagram and its answer on an established flow.
    pub(crate) round_trip: f64,
    /// Microseconds of a new TCP connection, made and closed.
    pub(crate) connection: f64,
    /// Gbit/s of one TCP connection.
    pub(crate) stream: f64,
}

/// Two pods of a group, and what packets go between.
struct Pair {
    from: NetNs,
    address: IpAddr,
    listener: TcpListener,
    echo: UdpSocket,
    client: UdpSocket,
    _server: Background,
}

/// Writes the policies and connects the pods, then measures once for each line on standard input.
///
/// # Errors
/// The policies don't come into force, or a packet doesn't arrive.
pub(crate) fn serve(policies: u32) -> Result<()> {
    let datastore = Datastore::of_node()?;
    let groups = policies.div_ceil(groups::POLICIES);
    let group = |number: u32| number % groups.max(1);
    // The last pod is of the first one's group.
    let of_pod = |number| groups::labels(if number == PODS { group(1) } else { group(number) });
    let pods = Pods::prepare(Kind::Calico, PODS, of_pod)?;
    let address = pods.add()?.last().context("no pod")?.0;
    let mut namespaces = pods.namespaces()?;
    let (to, from) = (namespaces.pop().context("no pod")?, namespaces.swap_remove(0));
    let endpoints = (0..ENDPOINTS).map(|number| groups::endpoint(number, group(number)));
    datastore.create_all(endpoints.collect())?;
    write(&datastore, groups, group(1), || Probe::new(&from, &to, address, groups::MARKED_PORT))?;
    std::thread::sleep(SETTLE);
    let pair = Pair::new(from, &to, address)?;
    let mut output = std::io::stdout();
    let mut say =
        |line: &str| writeln!(output, "{line}").and_then(|()| output.flush()).context("printing");
    say(READY)?;
    for line in std::io::stdin().lock().lines() {
        line.context("waiting for the next turn")?;
        say(&serde_json::to_string(&pair.measure()?)?)?;
    }
    pods.delete()?;
    Ok(())
}

/// Writes the policies of all groups, and waits until all are in force: those of the group that is
/// measured come last.
fn write(
    datastore: &Datastore,
    groups: u32,
    measured: u32,
    probe: impl Fn() -> Result<Probe>,
) -> Result<()> {
    if groups == 0 {
        return Ok(());
    }
    let mut probe = probe()?;
    probe.until(Fate::Delivered)?;
    let others = (0..groups).filter(|group| *group != measured);
    datastore.create_all(others.flat_map(groups::policies).collect())?;
    for policy in groups::policies(measured) {
        datastore.create(policy)?;
    }
    probe.until(Fate::Dropped)?;
    Ok(())
}

impl Pair {
    fn new(from: NetNs, to: &NetNs, address: IpAddr) -> Result<Pair> {
        let any_port = SocketAddr::new(address, 0);
        let listener = to.run(|| TcpListener::bind(any_port))?.context("listening by TCP")?;
        let udp = |namespace: &NetNs, at: SocketAddr| -> Result<UdpSocket> {
            let socket = namespace.run(|| UdpSocket::bind(at))?.context("a UDP socket")?;
            socket.set_read_timeout(Some(ANSWER_LIMIT)).context("a limit for answers")?;
            Ok(socket)
        };
        let echo = udp(to, any_port)?;
        let unspecified = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let client = udp(&from, unspecified.parse()?)?;
        client.connect(echo.local_addr()?).context("a UDP socket's target")?;
        let mut server = Command::new(iperf3::SERVER[0]);
        server
            .args(&iperf3::SERVER[1..])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let server = to.run(|| server.spawn())?.context("starting iperf3")?;
        let pair = Pair { from, address, listener, echo, client, _server: Background(server) };
        within(PROGRAM_LIMIT, || pair.stream())?;
        Ok(pair)
    }

    fn measure(&self) -> Result<Packets> {
        Ok(Packets {
            round_trip: microseconds(ROUND_TRIPS, || self.round_trip())?,
            connection: self.from.run(|| microseconds(CONNECTIONS, || self.connection()))??,
            stream: self.stream()?,
        })
    }

    /// A datagram and its answer. One thread sends and receives both, so nobody has to be woken.
    fn round_trip(&self) -> Result<()> {
        let mut datagram = [0; 64];
        self.client.send(&datagram).context("sending a datagram")?;
        let (_, from) = self.echo.recv_from(&mut datagram).context("a datagram was lost")?;
        self.echo.send_to(&datagram, from).context("sending an answer")?;
        self.client.recv(&mut datagram).context("an answer was lost")?;
        Ok(())
    }

    /// A connection, made and reset, as that leaves no port in use.
    fn connection(&self) -> Result<()> {
        let target = self.listener.local_addr()?;
        let client = TcpStream::connect_timeout(&target, ANSWER_LIMIT).context("connecting")?;
        let (server, _) = self.listener.accept().context("accepting a connection")?;
        let at_once = linger { l_onoff: 1, l_linger: 0 };
        setsockopt(&client, sockopt::Linger, &at_once).context("a connection's end by RST")?;
        drop(client);
        drop(server);
        Ok(())
    }

    fn stream(&self) -> Result<f64> {
        let mut client = Command::new("iperf3");
        client.args(["-J", "-t", STREAM, "-c", &self.address.to_string()]);
        iperf3::gigabits(&self.from.run(|| program::run(client, PROGRAM_LIMIT))??.output)
    }
}

/// Microseconds of a step: repeated for a turn, so many at a time, the median of these.
fn microseconds(steps: u32, step: impl Fn() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    let mut taken = Vec::new();
    while begun.elapsed() < TURN {
        let begun = Instant::now();
        for _ in 0..steps {
            step()?;
        }
        taken.push(begun.elapsed().as_secs_f64() * 1e6 / f64::from(steps));
    }
    Ok(Samples::new(taken).context("no time to measure in")?.median())
}

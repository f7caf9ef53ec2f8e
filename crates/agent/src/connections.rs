//! The thread that lists tracked connections and makes the kernel forget those that end.
//!
//! The kernel takes the next packet of a TCP connection that it has forgotten for the first of a new
//! one, also where it is the answering side that sends it: the connection would go on with the ends
//! exchanged. So before the first one ends, the kernel is told to take no connection up in its middle
//! (`nf_conntrack_tcp_loose`): such packets are invalid then, and dropped at workloads. Not earlier:
//! connections that are older than connection tracking on the node must go on.

use linux::Transport;
use linux::conntrack::{Conntrack, Flow};
use node::Event;
use node::connections::{Connection, Listed};
use policy::evaluate::Packet;
use std::sync::mpsc;
use std::time::Instant;

/// After a list the thread rests so many times as long as it took: a table of a million connections
/// must not keep a processor busy.
const REST_FACTOR: u32 = 9;

/// Whether TCP connections are taken up in their middle.
const TCP_LOOSE: &str = "net/netfilter/nf_conntrack_tcp_loose";

/// What the thread does.
#[derive(Debug)]
enum Order {
    List(Listed),
    End(Vec<usize>),
}

/// Where it is told.
pub(crate) struct Handle(mpsc::Sender<Order>);

impl Handle {
    /// Lists connections.
    pub(crate) fn list(&self, listed: Listed) {
        self.order(Order::List(listed));
    }

    /// Ends some of the last list.
    pub(crate) fn end(&self, numbers: Vec<usize>) {
        self.order(Order::End(numbers));
    }

    fn order(&self, order: Order) {
        if self.0.send(order).is_err() {
            tracing::error!("the thread of connections has ended; restart calico-node");
        }
    }
}

/// Starts the thread.
///
/// # Errors
/// No thread can be started.
pub(crate) fn start(inbox: tokio::sync::mpsc::Sender<Event>) -> std::io::Result<Handle> {
    let (sender, orders) = mpsc::channel();
    let thread = move || run(&orders, &inbox);
    std::thread::Builder::new().name("connections".to_owned()).spawn(thread)?;
    Ok(Handle(sender))
}

fn run(orders: &mpsc::Receiver<Order>, inbox: &tokio::sync::mpsc::Sender<Event>) {
    let mut flows: Vec<Flow> = Vec::new();
    let mut rested = Instant::now();
    while let Ok(order) = orders.recv() {
        match order {
            Order::List(listed) => {
                std::thread::sleep(rested.saturating_duration_since(Instant::now()));
                let began = Instant::now();
                flows = list(&listed).unwrap_or_else(|error| {
                    tracing::warn!("connections that policy forbids now are not ended: {error}");
                    Vec::new()
                });
                let connections = flows.iter().enumerate().map(connection).collect();
                rested = Instant::now() + began.elapsed() * REST_FACTOR;
                if inbox.blocking_send(Event::Connections(connections)).is_err() {
                    return;
                }
            }
            Order::End(numbers) => {
                let ended: Vec<Flow> =
                    numbers.iter().filter_map(|number| flows.get(*number)).copied().collect();
                end(&ended);
            }
        }
    }
}

fn list(listed: &Listed) -> Result<Vec<Flow>, linux::Error> {
    let mut flows = Vec::new();
    let mut conntrack = Conntrack::open()?;
    match listed {
        Listed::Of(addresses) => conntrack.list_of(addresses, |flow| flows.push(flow))?,
        Listed::All => conntrack.list(|flow| flows.push(flow))?,
    }
    Ok(flows)
}

fn end(flows: &[Flow]) {
    if let Err(error) = linux::sysctl::write(TCP_LOOSE, "0") {
        tracing::warn!("connections that policy forbids now may come back: {error}");
    }
    let ended = Conntrack::open().and_then(|mut conntrack| {
        flows.iter().try_for_each(|flow| conntrack.delete(flow).map(drop))
    });
    match ended {
        Ok(()) => tracing::info!("{} connections that policy forbids now are ended", flows.len()),
        Err(error) => tracing::warn!("connections that policy forbids now go on: {error}"),
    }
}

/// The connection's first packet between the places where addresses are translated: from the one that
/// began it, to the one that answers.
fn connection((number, flow): (usize, &Flow)) -> Connection {
    let (source, destination) = (flow.initiator(), flow.responder());
    let (ports, icmp) = match (flow.original.transport, flow.reply.transport) {
        (Transport::Ports { source, .. }, Transport::Ports { source: answering, .. }) => {
            (Some((source, answering)), None)
        }
        (Transport::Icmp { kind, code, .. }, _) => (None, Some((kind, code))),
        _ => (None, None),
    };
    let protocol = flow.original.protocol;
    let ports = ports.filter(|_| policy::connectivity::has_ports(protocol));
    let asked = match flow.original.transport {
        Transport::Ports { destination, .. } => Some(destination),
        _ => None,
    };
    let answering = ports.map(|(_, destination)| destination);
    let is_dnat =
        flow.original.destination != destination || answering.is_some() && answering != asked;
    let packet = Packet { source, destination, protocol, ports, icmp };
    Connection { number, packet, is_dnat }
}

//! A million routes in, their best to the kernel, and all of them to one peer: speed and memory.
//!
//! `cargo bench -p bgp -- [same] [ROUTES_PER_PEER [PREFIXES_PER_UPDATE]]`; with `same`, all peers
//! tell of the same prefixes. Memory is what the process has come to hold meanwhile
//! (`/proc/self/statm`), all structures included: hence one measurement per process.

use bgp::configuration::{Configuration, ExportRanges, Listen, PORT_DEFAULT, Peer, PeerKind};
use bgp::rib::{PeerSlot, Rib, Session};
use bgp::wire::{Agreed, Announced, AsSegment, Attributes, Family, Update};
use ipnet::{IpNet, Ipv4Net};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Instant;

const PEERS: u32 = 10;
const LOCAL_AS: u32 = 64512;
const PAGE_BYTES: usize = 4096;

fn main() {
    let numbers: Vec<u32> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    let routes_per_peer = numbers.first().copied().unwrap_or(100_000);
    let per_update = numbers.get(1).copied().unwrap_or(20);
    let same = std::env::args().any(|word| word == "same");
    let whose = if same { "the same" } else { "their own" };
    println!(
        "{PEERS} peers, {routes_per_peer} routes to {whose} prefixes, {per_update} per UPDATE"
    );
    measure(routes_per_peer, per_update, same);
}

fn measure(routes_per_peer: u32, per_update: u32, same: bool) {
    let feeds: Vec<Vec<Update>> = (0..PEERS)
        .map(|peer| {
            let first = if same { 0 } else { peer * routes_per_peer };
            feed(peer, first, routes_per_peer, per_update)
        })
        .collect();
    let routes = (PEERS * routes_per_peer) as usize;
    let mut rib = Rib::new(&configuration());
    let peers: Vec<PeerSlot> = (0..PEERS).map(|number| connect(&mut rib, number)).collect();
    // It tells nothing; it is told all.
    let reader = connect(&mut rib, PEERS);

    let before = resident_bytes();
    timed("learned", routes, || {
        for (slot, feed) in peers.iter().zip(&feeds) {
            for update in feed {
                rib.learn(*slot, update).expect("few enough");
            }
        }
    });
    println!("  {} bytes per route", (resident_bytes() - before) / routes);
    let mut best = 0;
    timed("best routes taken", routes, || {
        while rib.routes_changed() {
            best += rib.take_routes(1000).len();
        }
    });
    let mut bytes = 0;
    timed("told to one peer", best, || {
        while rib.has_output(reader) {
            bytes += rib.write(reader, 65_536).len();
        }
    });
    println!("  {best} best routes, {bytes} bytes told");
    println!("  {} bytes per route after all that", (resident_bytes() - before) / routes);
    timed("the first peer's routes gone", routes_per_peer as usize, || rib.down(peers[0], &[]));
}

fn timed(what: &str, routes: usize, work: impl FnOnce()) {
    let start = Instant::now();
    work();
    let seconds = start.elapsed().as_secs_f64();
    println!("  {what}: {seconds:.3} s, {:.2} M routes/s", routes as f64 / seconds / 1e6);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("/proc is mounted");
    let pages = statm.split(' ').nth(1).and_then(|field| field.parse::<usize>().ok());
    pages.expect("the second field of statm is a number") * PAGE_BYTES
}

/// /24s; each UPDATE has attributes that no other one has.
fn feed(peer: u32, first: u32, count: u32, per_update: u32) -> Vec<Update> {
    let numbers: Vec<u32> = (first..first + count).collect();
    numbers
        .chunks(per_update as usize)
        .map(|chunk| {
            let prefixes = chunk.iter().map(|number| prefix(*number)).collect();
            let next_hop = address(peer).into();
            let path = vec![65000 + peer, 100_000 + chunk[0], 3356];
            let as_path = vec![AsSegment::Sequence(path)];
            Update {
                announced: vec![Announced { next_hop, prefixes }],
                attributes: Some(Attributes { as_path, ..Attributes::default() }),
                ..Update::default()
            }
        })
        .collect()
}

fn prefix(number: u32) -> IpNet {
    let address = Ipv4Addr::from_bits(0x1000_0000 + (number << 8));
    Ipv4Net::new(address, 24).expect("24 bits").into()
}

fn address(peer: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x0a00_0001 + peer)
}

fn configuration() -> Configuration {
    Configuration {
        router_id: Ipv4Addr::new(10, 0, 0, 250),
        local_as: LOCAL_AS,
        listen: Listen { address: None, port: PORT_DEFAULT },
        peers: BTreeMap::new(),
        originated: BTreeSet::new(),
        export: ExportRanges {
            allowed: [IpNet::V4(Ipv4Net::default())].into(),
            denied: BTreeSet::new(),
        },
        communities: vec![],
    }
}

fn connect(rib: &mut Rib, number: u32) -> PeerSlot {
    let router_id = address(number);
    let slot =
        rib.add_peer(&Peer::new(PeerKind::NodePeer, router_id.into(), 65000 + number, LOCAL_AS));
    let local = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 250));
    let agreed = Agreed { four_octet_as: true, external: true };
    rib.up(slot, Session { router_id, local, families: vec![Family::Ipv4], agreed });
    slot
}

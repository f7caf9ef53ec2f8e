//! The proof: random policies and hand-written tables, and what becomes of packets.

use crate::inputs::{layout, outputs};
use crate::kept::{Kept, difference};
use crate::machine::{DEVICES, Machine, Spot};
use crate::random::{
    GRE, INTERFACES, OF_HOST, OF_INTERFACES, OF_WORKLOADS, PORTS, Random, WITH_PORTS, WORKLOADS,
};
use crate::table::{Through, parse};
use crate::wire;
use plan::policy::{Renderer, Settings};
use policy::Told;
use policy::evaluate::{At, Decision, Node, Packet, Place, Verdict, through_node};
use policy::input::WorkloadId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Policy sets of one run; `CALICO_POLICY_SETS` is another number.
const SETS: u64 = 2_400;
const PACKETS_PER_SET: usize = 25;
/// One in so many policy sets has host endpoints.
const HOSTS_EVERY: u64 = 3;
/// How long a packet that must come out may take.
const PATIENCE: Duration = Duration::from_secs(2);
const TRUTH_TABLES: [&str; 3] = [
    include_str!("../../../policy/tests/truth_tables/rules.txt"),
    include_str!("../../../policy/tests/truth_tables/tiers.txt"),
    include_str!("../../../policy/tests/truth_tables/hosts.txt"),
];

/// A node that enforces what it is told.
struct Enforced {
    machine: Machine,
    renderer: Renderer,
    kept: Kept,
    told: Told,
    /// Of the next packet.
    number: u64,
}

/// A packet, and what was decided about it.
struct Trial {
    number: u64,
    from: Spot,
    to: Spot,
    packet: Packet,
    allowed: bool,
    why: String,
}

impl Enforced {
    fn new(settings: &Settings) -> Enforced {
        let mut renderer = Renderer::new(settings.clone());
        let mut kept = Kept::new();
        kept.apply(renderer.place(layout(settings)));
        let held = ["10.66.0.254".parse().unwrap()].into();
        let interfaces = [(INTERFACES[0].into(), BTreeSet::new()), (INTERFACES[1].into(), held)];
        kept.apply(renderer.interfaces(interfaces.into()));
        let machine = Machine::new();
        Enforced { machine, renderer, kept, told: Told::default(), number: 0 }
    }

    fn configure(&mut self, settings: &Settings) {
        self.kept.apply(self.renderer.configure(settings.clone()));
        self.kept.apply(self.renderer.place(layout(settings)));
    }

    /// Brings the kernel from what was told before to this.
    fn tell(&mut self, told: Told) {
        let outputs = difference(&self.told, &told);
        self.kept.apply(self.renderer.apply(outputs));
        self.kept.check();
        self.machine.program(self.kept.tables.values().cloned().collect());
        self.machine.forget_connections();
        self.told = told;
    }

    fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Sends all packets, and waits for those that must come out.
    ///
    /// # Errors
    /// The first packet that was treated otherwise, with all that there is to know of it.
    fn try_out(&mut self, trials: &[Trial]) -> Result<(), String> {
        for trial in trials {
            let bytes = wire::bytes(&trial.packet, trial.number);
            self.machine.send(trial.from, &bytes, trial.packet.destination);
        }
        let until = Instant::now() + PATIENCE;
        let by_number: BTreeMap<u64, &Trial> = trials.iter().map(|t| (t.number, t)).collect();
        let mut missing: BTreeSet<u64> =
            trials.iter().filter(|t| t.allowed).map(|t| t.number).collect();
        loop {
            for (number, spot, destination) in self.machine.seen() {
                let Some(trial) = by_number.get(&number) else {
                    return Err(format!("packet {number} came out after its time, by {spot:?}"));
                };
                // An answer has the same content.
                if destination.is_some_and(|to| to != trial.packet.destination) {
                    continue;
                }
                if !trial.allowed || spot != trial.to {
                    return Err(self.account(trial, &format!("it came out by {spot:?}")));
                }
                missing.remove(&number);
            }
            match missing.first() {
                None => return Ok(()),
                Some(number) if Instant::now() > until => {
                    return Err(self.account(by_number[number], "it did not come out"));
                }
                Some(_) => std::thread::yield_now(),
            }
        }
    }

    fn account(&self, trial: &Trial, seen: &str) -> String {
        let Trial { from, to, packet, why, .. } = trial;
        let outputs = difference(&Told::default(), &self.told);
        let mut text = format!("{packet:?} from {from:?} to {to:?}: {seen}, but\n{why}\n");
        for output in outputs {
            writeln!(text, "{output:?}").unwrap();
        }
        text.push_str(&self.machine.listing());
        text
    }
}

fn allowed(decisions: &[(At, Decision)]) -> bool {
    decisions.last().is_none_or(|(_, decision)| decision.verdict == Verdict::Allow)
}

fn told_of(decisions: &[(At, Decision)]) -> String {
    decisions.iter().map(|(at, decision)| format!("{at:?}: {decision}\n")).collect()
}

fn place(told: &Told, spot: Spot) -> Place<'_> {
    let Spot::Device(index) = spot else { return Place::Host };
    let host = |name: &str| Place::Interface(told.host_endpoints.get(name).map(|e| &**e));
    match DEVICES[index] {
        name if WORKLOADS.contains(&name) => {
            let id = WorkloadId { namespace: "shop".into(), name: name.into() };
            Place::Workload(&told.workloads[&id])
        }
        // By name, and by address: see [`Enforced::new`].
        name if name == INTERFACES[0] => host("nodeext0"),
        _ => host("node"),
    }
}

fn node<'a>(told: &'a Told, settings: &Settings) -> Node<'a> {
    Node {
        failsafe: settings.failsafe.clone(),
        all_interfaces: told.host_endpoints.get("node*").map(|endpoint| &**endpoint),
        workload_to_host: false,
        vxlan_port: Some(settings.vxlan_port),
        no_ipip: true,
    }
}

impl Random {
    /// A packet between these addresses, which are of one version.
    fn packet(&mut self, source: IpAddr, destination: IpAddr) -> Packet {
        let icmp = if source.is_ipv4() { 1 } else { 58 };
        let protocol = self.one(&[6, 6, 6, 17, 17, 17, 132, icmp, icmp, GRE]);
        let mut packet = Packet { source, destination, protocol, ports: None, icmp: None };
        if WITH_PORTS.contains(&protocol) {
            let near = |port: u16, random: &mut Random| port + u16::from(random.percent(20));
            let from = self.one(&PORTS);
            let (from, to) = (near(from, self), self.one(&PORTS));
            packet.ports = Some((from, near(to, self)));
        } else if protocol == icmp {
            // Others begin no connection, and are dropped as invalid.
            let kinds: [u8; 2] = if source.is_ipv4() { [8, 13] } else { [128, 139] };
            packet.icmp = Some((self.one(&kinds), self.one(&[0, 1])));
        }
        packet
    }

    fn address_at(&mut self, spot: Spot, v6: bool) -> IpAddr {
        let all: &[&str] = match spot {
            Spot::Host => &OF_HOST,
            Spot::Device(index @ (0 | 1)) => &OF_WORKLOADS[index],
            Spot::Device(index) => &OF_INTERFACES[index - 2],
        };
        let all: Vec<IpAddr> = all.iter().map(|address| address.parse().unwrap()).collect();
        let of_version: Vec<_> = all.into_iter().filter(|a| a.is_ipv6() == v6).collect();
        self.one(&of_version)
    }

    /// Packets that all begin connections of their own.
    fn trials(&mut self, enforced: &mut Enforced, settings: &Settings) -> Vec<Trial> {
        let spots = [
            Spot::Device(0),
            Spot::Device(0),
            Spot::Device(1),
            Spot::Device(1),
            Spot::Device(2),
            Spot::Device(2),
            Spot::Device(3),
            Spot::Host,
        ];
        let mut connections = BTreeSet::new();
        let mut trials = Vec::new();
        for _ in 0..PACKETS_PER_SET {
            let (from, to, v6) = (self.one(&spots), self.one(&spots), self.percent(50));
            let (source, destination) = (self.address_at(from, v6), self.address_at(to, v6));
            let packet = self.packet(source, destination);
            let (source_port, destination_port) = packet.ports.unwrap_or_default();
            let mut ends = [(source, source_port), (destination, destination_port)];
            ends.sort();
            let is_new = packet.icmp.is_some() || connections.insert((packet.protocol, ends));
            if from == to || !is_new {
                continue;
            }
            let number = enforced.next_number();
            let told = &enforced.told;
            let (node, from_place) = (node(told, settings), place(told, from));
            let decisions = through_node(told, &node, from_place, place(told, to), &packet);
            let (allowed, why) = (allowed(&decisions), told_of(&decisions));
            trials.push(Trial { number, from, to, packet, allowed, why });
        }
        trials
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    let given = std::env::var(name).ok();
    given.map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn random_policies_are_enforced_as_they_are_evaluated() {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let seed = setting("CALICO_POLICY_SEED", now.as_secs() * SETS);
    let sets = setting("CALICO_POLICY_SETS", SETS);
    println!("CALICO_POLICY_SEED={seed} CALICO_POLICY_SETS={sets} runs this again");
    let settings = Settings::default();
    let mut enforced = Enforced::new(&settings);
    // By version of IP: packets denied, packets allowed.
    let mut counts = [[0, 0], [0, 0]];
    for set in 0..sets {
        let mut random = Random(seed + set);
        let told = random.told(set % HOSTS_EVERY == 0);
        enforced.tell(told);
        let trials = random.trials(&mut enforced, &settings);
        if let Err(account) = enforced.try_out(&trials) {
            let seed = seed + set;
            panic!("CALICO_POLICY_SEED={seed} CALICO_POLICY_SETS=1 may show it alone: {account}");
        }
        for trial in &trials {
            let version = usize::from(trial.packet.source.is_ipv6());
            counts[version][usize::from(trial.allowed)] += 1;
        }
        if set % 100 == 0 {
            enforced.machine.check();
        }
    }
    let [[denied, allowed], [denied_v6, allowed_v6]] = counts;
    println!("{sets} policy sets: IPv4 {allowed} allowed, {denied} denied");
    println!("IPv6 {allowed_v6} allowed, {denied_v6} denied");
    assert!(sets < 20 || counts.iter().flatten().all(|count| *count > sets), "{counts:?}");
}

#[test]
fn truth_tables_are_true_of_the_kernel() {
    let mut enforced = Enforced::new(&Settings::default());
    for case in TRUTH_TABLES.iter().flat_map(|text| parse(text)) {
        let settings = Settings { failsafe: case.failsafe.clone(), ..Settings::default() };
        enforced.configure(&settings);
        let mut told = Told::default();
        for output in outputs(&case, WORKLOADS[0], INTERFACES[0]) {
            told.apply(output).unwrap();
        }
        enforced.tell(told);
        let (near, far) = match case.through {
            Through::Workload => (Spot::Device(0), Spot::Device(2)),
            Through::Host => (Spot::Host, Spot::Device(2)),
            Through::Forward => (Spot::Device(3), Spot::Device(2)),
        };
        let (from, to) = if case.egress { (near, far) } else { (far, near) };
        let trial = |number: u64, row: &crate::table::Row| {
            let (packet, why) = (row.packet, format!("{}\n{}", case.name, row.text));
            let allowed = row.expected.starts_with("allow");
            Trial { number, from, to, packet, allowed, why }
        };
        let trials: Vec<Trial> =
            case.rows.iter().map(|row| trial(enforced.next_number(), row)).collect();
        enforced.try_out(&trials).unwrap_or_else(|account| panic!("{account}"));
    }
}

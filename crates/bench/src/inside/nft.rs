//! nf_tables: from an update to the kernel, and a whole table read and compared.

use super::cost::{self, Cost};
use crate::samples::Samples;
use anyhow::{Context, Result};
use clap::ValueEnum;
use kernel::nft::{
    BaseChain, Chain, ChainKind, Device, Element, Family, Hook, MapField, Match, Part, Rule, Set,
    SetKey, Statement, Tables, Update, Verdict, VerdictMap,
};
use linux::allocation;
use linux::netns::NetNs;
use linux::nft::Nft;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

const TABLE: &str = "calico";
const TCP: u8 = 6;
/// The mark of a packet that a policy has accepted.
const ACCEPTED: u32 = 0x1_0000;
/// How often a change of one object is measured, and a reading of all.
const CHANGES: u32 = 2_000;
const READINGS: u32 = 9;

/// What is measured in a table of sets of addresses and chains of policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Scenario {
    /// One member joins or leaves a set, of 2,000 sets of 100 beside 2,000 chains of 10 rules.
    Member,
    /// The same of 100 sets of 20 beside as many chains.
    #[value(name = "member-100")]
    MemberOf100,
    /// One rule of a chain changes, in the table of `member`.
    Rule,
    /// The same where all chains are reached from a hook: the kernel checks them all each time.
    RuleReached,
    /// The table of `member` is read and compared; nothing differs.
    Resync,
}

/// How large a table is.
#[derive(Clone, Copy)]
struct Size {
    /// A base chain leads to all others.
    reached: bool,
    sets: u32,
    members: u32,
    chains: u32,
    rules: u32,
}

impl Scenario {
    /// As it is written on the command line.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn size(self) -> Size {
        match self {
            Scenario::MemberOf100 => {
                Size { reached: false, sets: 100, members: 20, chains: 100, rules: 10 }
            }
            scenario => {
                let reached = scenario == Scenario::RuleReached;
                Size { reached, sets: 2_000, members: 100, chains: 2_000, rules: 10 }
            }
        }
    }
}

/// Programs the table in a network namespace of its own, then measures.
///
/// # Errors
/// The kernel refuses something.
pub(crate) fn measure(scenario: Scenario) -> Result<Cost> {
    // Before anything that may be freed while it counts.
    allocation::start_counting();
    let namespace = NetNs::create().context("making a network namespace; it needs root")?;
    namespace.run(|| measure_here(scenario))?
}

fn measure_here(scenario: Scenario) -> Result<Cost> {
    let size = scenario.size();
    let mut nft = Nft::open()?;
    let mut tables = Tables::new();
    for part in parts(size)? {
        tables.update(update(part))?;
    }
    tell(&mut nft, &mut tables)?;
    allocation::forget_peak();
    let before = cost::cpu_seconds()?;
    let steps = match scenario {
        Scenario::Member | Scenario::MemberOf100 => members(&mut nft, &mut tables, size)?,
        Scenario::Rule | Scenario::RuleReached => rules(&mut nft, &mut tables, size)?,
        Scenario::Resync => readings(&mut nft, &mut tables)?,
    };
    let cpu_seconds = cost::cpu_seconds()? - before;
    let (live_bytes, peak_bytes) = cost::allocated();
    #[expect(clippy::cast_precision_loss, reason = "some thousand steps")]
    let count = steps.len() as f64;
    let steps = Samples::new(steps.iter().map(Duration::as_secs_f64)).context("no step")?;
    Ok(Cost {
        scenario: scenario.name(),
        seconds: steps.median(),
        cpu_seconds: cpu_seconds / count,
        live_bytes,
        peak_bytes,
        sets: usize::try_from(size.sets)?,
        policies: usize::try_from(size.chains)?,
    })
}

/// Members of one set after the other: each joins, then leaves.
fn members(nft: &mut Nft, tables: &mut Tables, size: Size) -> Result<Vec<Duration>> {
    let mut steps = Vec::new();
    for round in 0..CHANGES / 2 {
        let set = set_name(round * 7 % size.sets);
        let one = || vec![address(u32::MAX - round)];
        for (added, removed) in [(one(), vec![]), (vec![], one())] {
            let update = update(Part::Members { set: set.clone(), added, removed });
            steps.push(step(nft, tables, update)?);
        }
    }
    Ok(steps)
}

/// The last rule of one chain after the other becomes another one.
fn rules(nft: &mut Nft, tables: &mut Tables, size: Size) -> Result<Vec<Duration>> {
    let mut steps = Vec::new();
    for round in 0..CHANGES {
        let number = round * 7 % size.chains;
        let mut chain = policy(number, size);
        chain.rules.pop();
        chain.rules.push(rule(number, u16::try_from(10_000 + round)?, size));
        let update = update(Part::Chain(chain_name(number), Some(chain)));
        steps.push(step(nft, tables, update)?);
    }
    Ok(steps)
}

fn readings(nft: &mut Nft, tables: &mut Tables) -> Result<Vec<Duration>> {
    let mut steps = Vec::new();
    for _ in 0..READINGS {
        let begun = Instant::now();
        let actual = nft.read(Family::Ip, TABLE)?;
        tables.resync(actual.into_iter().collect());
        let changes = tables.changes();
        steps.push(begun.elapsed());
        anyhow::ensure!(changes.is_empty(), "what was read is not what was written");
    }
    Ok(steps)
}

/// From an update to the kernel.
fn step(nft: &mut Nft, tables: &mut Tables, update: Update) -> Result<Duration> {
    let begun = Instant::now();
    tables.update(update)?;
    tell(nft, tables)?;
    Ok(begun.elapsed())
}

fn tell(nft: &mut Nft, tables: &mut Tables) -> Result<()> {
    nft.apply(&tables.changes())?;
    tables.commit();
    Ok(())
}

fn update(part: Part) -> Update {
    Update { family: Family::Ip, table: TABLE.to_owned(), part }
}

/// Sets, policies' chains, and a map that finds each chain by the device that a packet came by.
fn parts(size: Size) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for number in 0..size.sets {
        let members = (0..size.members).map(|member| address(number * size.members + member));
        let set = Set { key: SetKey::Address, interval: false, elements: members.collect() };
        parts.push(Part::Set(set_name(number), Some(set)));
    }
    let mut map = VerdictMap::new(SetKey::Interface);
    for number in 0..size.chains {
        let device = Device::new(&format!("cali{number:08x}")).context("a device's name")?;
        let to = Verdict::Goto(chain_name(number));
        map.elements.insert(Element::Interface(device), to);
        parts.push(Part::Chain(chain_name(number), Some(policy(number, size))));
    }
    parts.push(Part::Map("from".to_owned(), Some(map)));
    if !size.reached {
        return Ok(parts);
    }
    let look = Verdict::Map { field: MapField::InputInterface, map: "from".to_owned() };
    let base = BaseChain { kind: ChainKind::Filter, hook: Hook::Forward, priority: 0 };
    let forward = Chain { base: Some(base), rules: vec![Rule::new(vec![], look)] };
    parts.push(Part::Chain("forward".to_owned(), Some(forward)));
    Ok(parts)
}

fn policy(number: u32, size: Size) -> Chain {
    let ports = (0_u16..).take(usize::try_from(size.rules).unwrap_or(usize::MAX));
    Chain { base: None, rules: ports.map(|port| rule(number, 8_000 + port, size)).collect() }
}

/// Accepts a port from the members of a set.
fn rule(number: u32, port: u16, size: Size) -> Rule {
    let set = set_name((number + u32::from(port)) % size.sets);
    Rule {
        matches: vec![
            Match::SourceInSet { set, not: false },
            Match::Protocol(TCP),
            Match::destination_port(port),
        ],
        statements: vec![Statement::Mark { mask: ACCEPTED, value: ACCEPTED }],
        verdict: Verdict::Return,
        comment: format!("policy {number}, port {port}"),
    }
}

fn address(number: u32) -> Element {
    Element::from(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000_u32.wrapping_add(number))))
}

fn set_name(number: u32) -> String {
    format!("cali40s-{number:022}")
}

fn chain_name(number: u32) -> String {
    format!("filter-cali-pi-np/shop/{number}")
}

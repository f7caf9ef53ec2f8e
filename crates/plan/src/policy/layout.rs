//! The chains that are always there: from the kernel's hooks to those of endpoints.
//!
//! ```text
//!  raw-PREROUTING      workloads: reverse path; others: doNotTrack policies
//!  mangle-PREROUTING   preDNAT policies
//!  filter-INPUT        tunnels; workloads: egress, defaultEndpointToHostAction; host endpoints
//!  filter-FORWARD      established; from host endpoints, from workloads, to workloads, to host
//!                      endpoints; addresses of services that nothing serves
//!  raw-OUTPUT          doNotTrack policies
//!  filter-OUTPUT       host endpoints, unless DNAT changes the way
//!  mangle-POSTROUTING  host endpoints, where it did
//! ```

use super::endpoint::{accepted, clear, established, refuse};
use super::names::{self, FAMILIES, TABLE};
use super::settings::Settings;
use ipnet::IpNet;
use kernel::nft::{
    BaseChain, Chain, ChainKind, Family, Hook, MapField, Match, Rule, Statement, Table, Verdict,
    Version,
};
use model::config::{AllowAction, EndpointToHostAction};
use policy::evaluate::FailsafePort;

const RAW: i32 = -300;
const MANGLE: i32 = -150;
const FILTER: i32 = 0;
const ICMPV6: u8 = 58;
/// ICMPv6 that a router needs of its neighbours: multicast listeners' query, report and done,
/// router solicitation, neighbour solicitation and advertisement.
const NEIGHBOUR_DISCOVERY: [u8; 6] = [130, 131, 132, 133, 135, 136];

/// Tunnels' rules come first in this chain.
pub(crate) const INPUT: &str = "filter-cali-INPUT";
/// Tunnels' rules come second in this chain.
pub(crate) const OUTPUT: &str = "filter-cali-OUTPUT";
const FORWARD: &str = "filter-cali-FORWARD";
const WORKLOAD_TO_HOST: &str = "filter-cali-wl-to-host";
const RAW_PREROUTING: &str = "raw-cali-PREROUTING";
const RAW_FROM_WORKLOAD: &str = "raw-cali-from-workload";
const RAW_OUTPUT: &str = "raw-cali-OUTPUT";
const MANGLE_PREROUTING: &str = "mangle-cali-PREROUTING";
const MANGLE_POSTROUTING: &str = "mangle-cali-POSTROUTING";

/// Both families' tables with all chains that depend neither on policy nor on endpoints. They jump
/// to chains and look into maps of [`super::Renderer`].
pub(crate) fn tables(settings: &Settings) -> [Table; 2] {
    FAMILIES.map(|family| {
        let mut table = Table::new(family, TABLE);
        for (name, chain) in chains(family, settings) {
            table.chains.insert(name.to_owned(), chain);
        }
        table
    })
}

fn chains(family: Family, settings: &Settings) -> Vec<(&'static str, Chain)> {
    let plain = |rules| Chain { base: None, rules };
    let mut forward = base(Hook::Forward, FILTER, FORWARD);
    forward.rules.extend(after_forward(settings));
    let failsafe = |inbound, untracked| plain(failsafe(family, settings, inbound, untracked));
    let mut chains = vec![
        ("raw-PREROUTING", base(Hook::Prerouting, RAW, RAW_PREROUTING)),
        ("filter-INPUT", base(Hook::Input, FILTER, INPUT)),
        ("filter-FORWARD", forward),
        (RAW_PREROUTING, plain(raw_prerouting(settings))),
        (RAW_FROM_WORKLOAD, plain(raw_from_workload())),
        (RAW_OUTPUT, plain(raw_output(settings))),
        (MANGLE_PREROUTING, plain(mangle_prerouting(settings))),
        (MANGLE_POSTROUTING, plain(mangle_postrouting(settings))),
        (INPUT, plain(input(settings))),
        (FORWARD, plain(forwarded(family, settings))),
        (OUTPUT, plain(output(settings))),
        (WORKLOAD_TO_HOST, plain(workload_to_host(family, settings))),
        (
            names::FROM_WORKLOAD,
            plain(dispatch(settings, MapField::InputInterface, names::FROM_WORKLOAD)),
        ),
        (
            names::TO_WORKLOAD,
            plain(dispatch(settings, MapField::OutputInterface, names::TO_WORKLOAD)),
        ),
        (names::FAILSAFE_IN, failsafe(true, false)),
        (names::FAILSAFE_OUT, failsafe(false, false)),
        (names::RAW_FAILSAFE_IN, failsafe(true, true)),
        (names::RAW_FAILSAFE_OUT, failsafe(false, true)),
    ];
    let blocked = service_loops(family, settings);
    chains.extend((!blocked.is_empty()).then(|| (names::CIDR_BLOCK, plain(blocked))));
    chains
}

/// The kernel's hooks that only host endpoints need; without those, packets are spared them.
pub(super) fn host_hooks() -> [(&'static str, Chain); 4] {
    [
        ("raw-OUTPUT", base(Hook::Output, RAW, RAW_OUTPUT)),
        ("mangle-PREROUTING", base(Hook::Prerouting, MANGLE, MANGLE_PREROUTING)),
        ("mangle-POSTROUTING", base(Hook::Postrouting, MANGLE, MANGLE_POSTROUTING)),
        ("filter-OUTPUT", base(Hook::Output, FILTER, OUTPUT)),
    ]
}

/// A chain at a hook, which leads to another one.
fn base(hook: Hook, priority: i32, to: &str) -> Chain {
    let base = Some(BaseChain { kind: ChainKind::Filter, hook, priority });
    Chain { base, rules: vec![jump(vec![], to)] }
}

fn jump(matches: Vec<Match>, to: &str) -> Rule {
    Rule::new(matches, Verdict::Jump(to.to_owned()))
}

fn with(comment: &str, rule: Rule) -> Rule {
    Rule { comment: comment.to_owned(), ..rule }
}

/// What policy has accepted leaves so. Chains of other tables see it after either.
fn accept(settings: &Settings, action: AllowAction) -> Rule {
    let verdict = match action {
        AllowAction::Accept => Verdict::Accept,
        AllowAction::Return => Verdict::Return,
    };
    with("accepted by policy", Rule::new(vec![accepted(settings.marks)], verdict))
}

fn from_workloads(settings: &Settings) -> impl Iterator<Item = Match> {
    let names = settings.interface_prefixes.iter().map(|prefix| format!("{prefix}*"));
    names.map(|name| Match::InputInterface { name, not: false })
}

fn to_workloads(settings: &Settings) -> impl Iterator<Item = Match> {
    let names = settings.interface_prefixes.iter().map(|prefix| format!("{prefix}*"));
    names.map(|name| Match::OutputInterface { name, not: false })
}

/// To the chain of the workload whose interface it is. One that has none yet gets nothing through.
fn dispatch(settings: &Settings, field: MapField, map: &str) -> Vec<Rule> {
    vec![
        Rule::new(vec![], Verdict::Map { field, map: map.to_owned() }),
        with("unknown interface", Rule::new(vec![], refuse(settings.deny))),
    ]
}

fn raw_prerouting(settings: &Settings) -> Vec<Rule> {
    let mut rules = vec![clear(settings.marks.all())];
    let workload = |from| Rule::new(vec![from], Verdict::Goto(RAW_FROM_WORKLOAD.to_owned()));
    rules.extend(from_workloads(settings).map(workload));
    rules.push(jump(vec![], names::RAW_FROM_HOST));
    rules.push(accept(settings, AllowAction::Accept));
    rules
}

fn raw_from_workload() -> Vec<Rule> {
    let spoofed = Rule::new(vec![Match::ReversePathMissing], Verdict::Drop);
    vec![jump(vec![], names::RPF_SKIP), with("source of another", spoofed)]
}

fn raw_output(settings: &Settings) -> Vec<Rule> {
    let accept = accept(settings, AllowAction::Accept);
    vec![clear(settings.marks.all()), jump(vec![], names::RAW_TO_HOST), accept]
}

fn mangle_prerouting(settings: &Settings) -> Vec<Rule> {
    let accept = || accept(settings, settings.mangle_allow);
    vec![established(), accept(), jump(vec![], names::MANGLE_FROM_HOST), accept()]
}

/// What the host sends after DNAT: only here its interface is known.
fn mangle_postrouting(settings: &Settings) -> Vec<Rule> {
    let forwarded = Rule::new(vec![accepted(settings.marks)], Verdict::Return);
    vec![
        with("forwarded, or accepted by policy", forwarded),
        clear(settings.marks.all()),
        jump(vec![Match::ConnectionIsDnat { not: false }], names::MANGLE_TO_HOST),
    ]
}

fn input(settings: &Settings) -> Vec<Rule> {
    let to_host = |from| Rule::new(vec![from], Verdict::Goto(WORKLOAD_TO_HOST.to_owned()));
    let mut rules: Vec<Rule> = from_workloads(settings).map(to_host).collect();
    rules.push(accept(settings, settings.filter_allow));
    rules.push(clear(settings.marks.all()));
    rules.push(jump(vec![], names::FROM_HOST));
    rules.push(accept(settings, settings.filter_allow));
    rules
}

fn workload_to_host(family: Family, settings: &Settings) -> Vec<Rule> {
    let mut rules = Vec::new();
    if family == Family::Ip6 {
        rules.extend(NEIGHBOUR_DISCOVERY.map(|kind| {
            let icmp = Match::Icmp { version: Version::V6, kind, code: None, not: false };
            let rule = Rule::new(vec![Match::Protocol(ICMPV6), icmp], Verdict::Accept);
            with("neighbour discovery", rule)
        }));
    }
    rules.push(jump(vec![], names::FROM_WORKLOAD));
    let action = match settings.endpoint_to_host {
        EndpointToHostAction::Drop => Verdict::Drop,
        EndpointToHostAction::Accept => Verdict::Accept,
        EndpointToHostAction::Return => Verdict::Return,
    };
    rules.push(with("defaultEndpointToHostAction", Rule::new(vec![], action)));
    rules
}

fn forwarded(family: Family, settings: &Settings) -> Vec<Rule> {
    let marks = settings.marks;
    let not_accepted = Match::Mark { mask: marks.accept, value: 0, not: false };
    let mut rules = vec![
        established(),
        clear(marks.all() & !marks.accept),
        jump(vec![not_accepted], names::FROM_HOST_FORWARD),
    ];
    rules.extend(from_workloads(settings).map(|from| jump(vec![from], names::FROM_WORKLOAD)));
    rules.extend(to_workloads(settings).map(|to| jump(vec![to], names::TO_WORKLOAD)));
    rules.push(jump(vec![], names::TO_HOST_FORWARD));
    if !service_loops(family, settings).is_empty() {
        rules.push(jump(vec![], names::CIDR_BLOCK));
    }
    rules
}

/// A service's address that is still a destination here has nothing behind it. Its packets would go
/// to the router that has sent them here, and come back.
fn service_loops(family: Family, settings: &Settings) -> Vec<Rule> {
    let Some(action) = settings.service_loops else { return Vec::new() };
    let ranges = settings.service_ranges.iter();
    let of_family = ranges.filter(|net| net.addr().is_ipv6() == (family == Family::Ip6));
    let rule = |net: &IpNet| {
        let to = Match::DestinationPrefix { net: net.trunc(), not: false };
        with("service that nothing serves", Rule::new(vec![to], refuse(action)))
    };
    of_family.map(rule).collect()
}

/// The mark tells mangle-POSTROUTING that a packet is none of the host's own.
fn after_forward(settings: &Settings) -> [Rule; 2] {
    let mask = settings.marks.accept;
    let statements = vec![Statement::Mark { mask, value: mask }];
    let forwarded = Rule { statements, ..Rule::new(vec![], Verdict::Continue) };
    [accept(settings, settings.filter_allow), with("forwarded", forwarded)]
}

fn output(settings: &Settings) -> Vec<Rule> {
    let mut rules = vec![accept(settings, settings.filter_allow)];
    let to_workload = |to| with("to a workload of its own", Rule::new(vec![to], Verdict::Return));
    rules.extend(to_workloads(settings).map(to_workload));
    rules.push(clear(settings.marks.all()));
    // Not the other way round: of a packet without connection, nothing about one is true.
    let after_dnat = Rule::new(vec![Match::ConnectionIsDnat { not: false }], Verdict::Return);
    rules.push(with("after DNAT: see mangle-cali-POSTROUTING", after_dnat));
    rules.push(jump(vec![], names::TO_HOST));
    rules.push(accept(settings, settings.filter_allow));
    rules
}

/// Accepts packets to ports that stay open. `untracked`: answers too, which are not known as such
/// there.
fn failsafe(family: Family, settings: &Settings, inbound: bool, untracked: bool) -> Vec<Rule> {
    let (requests, answers) = if inbound {
        (&settings.failsafe.inbound, &settings.failsafe.outbound)
    } else {
        (&settings.failsafe.outbound, &settings.failsafe.inbound)
    };
    let of_family = |open: &&FailsafePort| {
        open.net.is_none_or(|net| net.addr().is_ipv6() == (family == Family::Ip6))
    };
    let rule = |open: &FailsafePort, port: Match| {
        let mut matches = vec![Match::Protocol(open.protocol), port];
        matches.extend(open.net.map(|net| match inbound {
            true => Match::SourcePrefix { net: net.trunc(), not: false },
            false => Match::DestinationPrefix { net: net.trunc(), not: false },
        }));
        Rule::new(matches, Verdict::Accept)
    };
    let requests = requests.iter().filter(of_family);
    let requests = requests.map(|open| rule(open, Match::destination_port(open.port)));
    let answers = answers.iter().filter(|open| untracked && of_family(open));
    let answers = answers.map(|open| rule(open, Match::source_port(open.port)));
    requests.chain(answers).collect()
}

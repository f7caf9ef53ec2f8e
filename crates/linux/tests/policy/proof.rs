//! The proof: random policies and hand-written tables, and what becomes of packets.

use crate::enforced::{Enforced, Trial};
use crate::inputs::outputs;
use crate::machine::Spot;
use crate::random::{INTERFACES, Random, WORKLOADS};
use crate::table::{Row, Through, parse};
use plan::policy::Settings;
use policy::Told;
use std::time::{SystemTime, UNIX_EPOCH};

/// Policy sets of one run; `CALICO_POLICY_SETS` is another number.
const SETS: u64 = 2_400;
/// One in so many policy sets has host endpoints.
const HOSTS_EVERY: u64 = 3;
/// After so many policy sets, what was logged is compared.
const REASONS_EVERY: u64 = 24;
const TRUTH_TABLES: [&str; 3] = [
    include_str!("../../../policy/tests/truth_tables/rules.txt"),
    include_str!("../../../policy/tests/truth_tables/tiers.txt"),
    include_str!("../../../policy/tests/truth_tables/hosts.txt"),
];

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
    let mut reasons = 0;
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
            enforced.machine.reasons.expect(&trial.packet, &trial.decisions);
        }
        if set % REASONS_EVERY == REASONS_EVERY - 1 || set == sets - 1 {
            let found = enforced.machine.reasons.check();
            reasons = found.unwrap_or_else(|wrong| panic!("up to seed {}: {wrong}", seed + set));
        }
        if set % 100 == 0 {
            enforced.check();
        }
    }
    let [[denied, allowed], [denied_v6, allowed_v6]] = counts;
    println!("{sets} policy sets: IPv4 {allowed} allowed, {denied} denied");
    println!("IPv6 {allowed_v6} allowed, {denied_v6} denied");
    println!("{reasons} times the log named what the evaluator says");
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
        let trial = |number: u64, row: &Row| {
            let (packet, why) = (row.packet, format!("{}\n{}", case.name, row.text));
            let allowed = row.expected.starts_with("allow");
            let decisions = Vec::new();
            Trial { number, from, to, packet, allowed, why, decisions }
        };
        let trials: Vec<Trial> =
            case.rows.iter().map(|row| trial(enforced.next_number(), row)).collect();
        enforced.try_out(&trials).unwrap_or_else(|account| panic!("{account}"));
    }
}

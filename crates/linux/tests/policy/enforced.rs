//! A node that enforces what it is told, and packets to try it with.

use crate::difference::difference;
use crate::inputs::{apply, check, layout, text};
use crate::machine::{Machine, Spot};
use crate::random::INTERFACES;
use crate::wire;
use kernel::nft::Tables;
use plan::policy::{Renderer, Settings};
use policy::Told;
use policy::evaluate::{At, Decision, Packet};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::{Duration, Instant};

/// How long a packet that must come out may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// A node that enforces what it is told.
pub(crate) struct Enforced {
    pub(crate) machine: Machine,
    pub(crate) renderer: Renderer,
    tables: Tables,
    pub(crate) told: Told,
    /// Of the next packet.
    pub(crate) number: u64,
}

/// A packet, and what was decided about it.
pub(crate) struct Trial {
    pub(crate) number: u64,
    pub(crate) from: Spot,
    pub(crate) to: Spot,
    pub(crate) packet: Packet,
    pub(crate) allowed: bool,
    pub(crate) why: String,
    /// The evaluator's, if it was asked.
    pub(crate) decisions: Vec<(At, Decision)>,
}

impl Enforced {
    pub(crate) fn new(settings: &Settings) -> Enforced {
        let mut renderer = Renderer::new(settings.clone());
        let mut tables = Tables::new();
        tables.set_static(&layout(settings));
        apply(&mut tables, renderer.start());
        let held = ["10.66.0.254".parse().unwrap()].into();
        let interfaces = [(INTERFACES[0].into(), BTreeSet::new()), (INTERFACES[1].into(), held)];
        apply(&mut tables, renderer.interfaces(interfaces.into()));
        let machine = Machine::new();
        Enforced { machine, renderer, tables, told: Told::default(), number: 0 }
    }

    pub(crate) fn configure(&mut self, settings: &Settings) {
        apply(&mut self.tables, self.renderer.configure(settings.clone()));
        self.tables.set_static(&layout(settings));
    }

    /// Brings the kernel from what was told before to this; all packets begin connections then.
    pub(crate) fn tell(&mut self, told: Told) {
        self.retell(told);
        self.machine.forget_connections();
    }

    /// The same, with the connections there are.
    pub(crate) fn retell(&mut self, told: Told) {
        let outputs = difference(&self.told, &told);
        apply(&mut self.tables, self.renderer.apply(outputs));
        check(&self.tables);
        self.machine.program(&mut self.tables);
        self.told = told;
    }

    pub(crate) fn next_number(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    /// Whether the kernel has the tables that it was brought to.
    pub(crate) fn check(&mut self) {
        self.machine.check(&self.tables);
    }

    /// Sends all packets, and waits for those that must come out.
    ///
    /// # Errors
    /// The first packet that was treated otherwise, with all that there is to know of it.
    pub(crate) fn try_out(&mut self, trials: &[Trial]) -> Result<(), String> {
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
        let mut account = format!("{packet:?} from {from:?} to {to:?}: {seen}, but\n{why}\n");
        for output in outputs {
            writeln!(account, "{output:?}").unwrap();
        }
        account + &text(&self.tables)
    }
}

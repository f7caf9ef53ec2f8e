//! Policies and profiles in force, and the sets that each needs.

use super::body;
use super::names::Names;
use super::numbers::Numbers;
use super::rules::{self, Wanted, deny_all, with_sets};
use super::sets::Sets;
use crate::input;
use crate::output::{Rule, SetId};
use hashbrown::HashMap;
use model::{Selector, SelectorError};

/// What is kept of a policy or profile in force.
#[derive(Clone, Debug, Default)]
pub(super) struct InForce {
    sets: Box<[u32]>,
    /// Why it denies everything instead of what it says.
    pub(super) broken: Option<Box<str>>,
}

/// Rules in both directions, as they are told.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rules {
    pub(super) ingress: Vec<Rule>,
    pub(super) egress: Vec<Rule>,
    pub(super) broken: Option<Box<str>>,
}

impl InForce {
    /// Puts rules into force, and refers to their sets.
    pub(super) fn begin(bytes: &[u8], directions: [bool; 2], needed: Needed) -> (InForce, Rules) {
        let mut needed = needed;
        let rules = read(bytes, directions, &mut needed);
        if rules.broken.is_some() {
            needed.release();
        }
        let sets = needed.numbers.iter().collect();
        (InForce { sets, broken: rules.broken.clone() }, rules)
    }

    /// Gives the sets back.
    pub(super) fn end(&self, sets: &mut Sets) {
        self.sets.iter().for_each(|number| sets.release(*number));
    }
}

/// The rules that these bytes hold; one that denies everything where they can't be enforced.
pub(super) fn read(bytes: &[u8], directions: [bool; 2], sets: &mut impl rules::Name) -> Rules {
    let body::Body { ingress, egress, broken } = body::decode(bytes);
    let rules = match broken {
        Some(broken) => Err(broken),
        None => both(ingress, egress, sets).map_err(|error| error.to_string().into()),
    };
    rules.unwrap_or_else(|broken| {
        let [ingress, egress] =
            directions.map(|applies| if applies { vec![deny_all()] } else { vec![] });
        Rules { ingress, egress, broken: Some(broken) }
    })
}

fn both(
    ingress: Vec<input::Rule>,
    egress: Vec<input::Rule>,
    sets: &mut impl rules::Name,
) -> Result<Rules, SelectorError> {
    let mut all_with_sets = |rules: Vec<input::Rule>| {
        // Exactly as large as it gets: a rule takes half a kilobyte.
        let mut told = Vec::with_capacity(rules.len());
        for rule in rules {
            told.push(with_sets(rule, sets)?);
        }
        Ok(told)
    };
    Ok(Rules { ingress: all_with_sets(ingress)?, egress: all_with_sets(egress)?, broken: None })
}

/// The sets that some rules need: each is referred to once, however many rules name it.
pub(super) struct Needed<'a> {
    names: &'a mut Names,
    sets: &'a mut Sets,
    /// Sets by the text of their selector, as found during one flush.
    texts: &'a mut HashMap<Box<str>, u32>,
    numbers: Numbers,
}

impl<'a> Needed<'a> {
    pub(super) fn new(
        names: &'a mut Names,
        sets: &'a mut Sets,
        texts: &'a mut HashMap<Box<str>, u32>,
    ) -> Needed<'a> {
        Needed { names, sets, texts, numbers: Numbers::None }
    }

    fn release(&mut self) {
        std::mem::take(&mut self.numbers).iter().for_each(|number| self.sets.release(number));
    }

    fn refer(&mut self, wanted: Wanted) -> u32 {
        let number = self.sets.refer(self.names, wanted);
        if !self.numbers.insert(number) {
            self.sets.release(number);
        }
        number
    }
}

impl rules::Name for Needed<'_> {
    fn selected(&mut self, text: &str) -> Result<SetId, SelectorError> {
        let number = match self.texts.get(text) {
            Some(number) => {
                if self.numbers.insert(*number) {
                    self.sets.refer_again(*number);
                }
                *number
            }
            None => {
                let number = self.refer(Wanted::Nets(Selector::parse(text)?));
                self.texts.insert(text.into(), number);
                number
            }
        };
        Ok(self.sets.id(number))
    }

    fn set(&mut self, wanted: Wanted) -> SetId {
        let number = self.refer(wanted);
        self.sets.id(number)
    }
}

/// The ids of sets, which others refer to.
pub(super) struct Ids;

impl rules::Name for Ids {
    fn selected(&mut self, text: &str) -> Result<SetId, SelectorError> {
        Ok(self.set(Wanted::Nets(Selector::parse(text)?)))
    }

    fn set(&mut self, wanted: Wanted) -> SetId {
        SetId(wanted.id().into())
    }
}

//! What a selector requires of single labels, so that an index can pass over what cannot match.

use super::{Expression, TextTest};

/// A necessary condition of a selector: things without this label, or with another value, are not
/// selected. Not a sufficient one: whether a thing is selected, [`super::Selector::matches`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restriction<'a> {
    /// The label that must be there.
    pub label: &'a str,
    /// The values that it may have, sorted and each once; `None`: any. An empty list is one of a
    /// selector that selects nothing.
    pub values: Option<Vec<&'a str>>,
}

pub(super) fn of(root: &Expression) -> Vec<Restriction<'_>> {
    let mut found = Vec::new();
    required(root, false, &mut found);
    found
}

/// Appends what an expression, or its negation, requires: in order of labels, each label once.
fn required<'a>(expression: &'a Expression, negated: bool, to: &mut Vec<Restriction<'a>>) {
    match (expression, negated) {
        (Expression::Not(inner), _) => required(inner, !negated, to),
        (Expression::And(terms), false) | (Expression::Or(terms), true) => {
            grouped(terms, negated, to, |group| Some(group.iter_mut().reduce(narrow)?.take()));
        }
        (Expression::Or(terms), false) | (Expression::And(terms), true) => {
            let all = terms.len();
            grouped(terms, negated, to, |group| (group.len() == all).then(|| widest(group)));
        }
        _ => to.extend(leaf(expression, negated)),
    }
}

/// Appends what the terms require, where several require something of a label what that comes to.
fn grouped<'a>(
    terms: &'a [Expression],
    negated: bool,
    to: &mut Vec<Restriction<'a>>,
    join: impl Fn(&mut [Restriction<'a>]) -> Option<Restriction<'a>>,
) {
    let mut all = Vec::new();
    terms.iter().for_each(|term| required(term, negated, &mut all));
    all.sort_by_key(|one| one.label);
    to.extend(all.chunk_by_mut(|one, next| one.label == next.label).filter_map(join));
}

/// The values that both allow.
fn narrow<'m, 'a>(
    one: &'m mut Restriction<'a>,
    other: &'m mut Restriction<'a>,
) -> &'m mut Restriction<'a> {
    match (&mut one.values, &mut other.values) {
        (Some(values), Some(others)) => values.retain(|value| others.binary_search(value).is_ok()),
        (values @ None, others) => *values = others.take(),
        (Some(_), None) => {}
    }
    one
}

/// The values that any of them allows.
fn widest<'a>(group: &mut [Restriction<'a>]) -> Restriction<'a> {
    let mut widest = group[0].take();
    for other in &mut group[1..] {
        widest.values = widest.values.take().zip(other.values.take()).map(|(mut some, others)| {
            some.extend(others);
            some
        });
    }
    if let Some(values) = &mut widest.values {
        values.sort_unstable();
        values.dedup();
    }
    widest
}

impl<'a> Restriction<'a> {
    fn take(&mut self) -> Restriction<'a> {
        Restriction { label: self.label, values: self.values.take() }
    }
}

/// What one term requires, if it requires something.
fn leaf(expression: &Expression, negated: bool) -> Option<Restriction<'_>> {
    let (label, values) = match (expression, negated) {
        (Expression::Has(label), false) => (label, None),
        (Expression::Text { label, test, text }, _) => match (test, negated) {
            (TextTest::Equal, false) | (TextTest::NotEqual, true) => (label, Some(vec![&**text])),
            (TextTest::Equal | TextTest::NotEqual, _) | (_, true) => return None,
            (_, false) => (label, None),
        },
        (Expression::Member { label, negated: excluded, set }, _) if *excluded == negated => {
            (label, Some(set.iter().map(String::as_str).collect()))
        }
        _ => return None,
    };
    Some(Restriction { label, values })
}

//! What a selector requires of single labels, so that an index can pass over what cannot match.

use super::{Expression, TextTest};
use std::collections::{BTreeMap, BTreeSet};

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

/// The labels that must be there, with the values that they may have.
type Required<'a> = BTreeMap<&'a str, Option<BTreeSet<&'a str>>>;

pub(super) fn of(root: &Expression) -> Vec<Restriction<'_>> {
    // Most selectors are one term, and most that aren't are a list of these.
    if let Some((label, values)) = leaf(root, false) {
        return vec![Restriction { label, values: values.map(sorted) }];
    }
    let required = required(root, false).into_iter();
    required.map(|(label, values)| Restriction { label, values: values.map(sorted) }).collect()
}

fn sorted<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    values.into_iter().collect()
}

/// The same of an expression, or of its negation.
fn required(expression: &Expression, negated: bool) -> Required<'_> {
    match (expression, negated) {
        (Expression::Not(inner), _) => required(inner, !negated),
        (Expression::And(all), false) | (Expression::Or(all), true) => {
            let mut merged = Required::new();
            for (label, values) in all.iter().flat_map(|inner| required(inner, negated)) {
                let known = merged.entry(label).or_default();
                *known = match (known.take(), values) {
                    (Some(some), Some(other)) => Some(some.intersection(&other).copied().collect()),
                    (some, other) => some.or(other),
                };
            }
            merged
        }
        (Expression::Or(any), false) | (Expression::And(any), true) => {
            let mut alternatives = any.iter().map(|inner| required(inner, negated));
            let mut merged = alternatives.next().unwrap_or_default();
            for mut alternative in alternatives {
                merged.retain(|label, values| {
                    let Some(other) = alternative.remove(label) else { return false };
                    *values = values.take().zip(other).map(|(mut some, mut other)| {
                        some.append(&mut other);
                        some
                    });
                    true
                });
            }
            merged
        }
        _ => leaf(expression, negated).into_iter().collect(),
    }
}

/// What one term requires, if it requires something.
fn leaf(expression: &Expression, negated: bool) -> Option<(&str, Option<BTreeSet<&str>>)> {
    match (expression, negated) {
        (Expression::Has(label), false) => Some((label, None)),
        (Expression::Text { label, test, text }, _) => match (test, negated) {
            (TextTest::Equal, false) | (TextTest::NotEqual, true) => {
                Some((label, Some(BTreeSet::from([text.as_str()]))))
            }
            (TextTest::Equal | TextTest::NotEqual, _) | (_, true) => None,
            (_, false) => Some((label, None)),
        },
        (Expression::Member { label, negated: excluded, set }, _) if *excluded == negated => {
            Some((label, Some(set.iter().map(String::as_str).collect())))
        }
        _ => None,
    }
}

//! Selectors in the form that is evaluated often: names are numbers.

use super::labels;
use super::names::Names;
use model::Selector;
use model::selector::{Expression, Restriction, TextTest};

/// What a selector asks of an object's labels.
#[derive(Clone, Debug)]
pub(super) enum Test {
    Has(u32),
    Equal(u32, Box<[u8]>),
    Contains(u32, Box<str>),
    StartsWith(u32, Box<[u8]>),
    EndsWith(u32, Box<[u8]>),
    /// Sorted.
    In(u32, Box<[Box<[u8]>]>),
    Not(Box<Test>),
    /// Empty: always.
    And(Box<[Test]>),
    /// Empty: never.
    Or(Box<[Test]>),
}

/// What holds for all objects that a selector selects: they have this label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) name: u32,
    /// With one of these values.
    pub(super) values: Values,
}

/// Digests of values of a label ([`Names::digest`]), each once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Values {
    /// Any value does.
    Any,
    One(u64),
    Some(Box<[u64]>),
}

impl Values {
    /// The values; none where any does.
    pub(super) fn iter(&self) -> impl Iterator<Item = &u64> {
        let values: &[u64] = match self {
            Values::Any => &[],
            Values::One(value) => std::slice::from_ref(value),
            Values::Some(values) => values,
        };
        values.iter()
    }
}

/// What a selector asks of single labels; none if there is nothing simple to say.
pub(super) fn conditions(names: &mut Names, selector: &Selector) -> Box<[Condition]> {
    let condition = |restriction: &Restriction| {
        let name = names.number(restriction.label);
        let digest = |value: &&str| names.digest(value.as_bytes());
        let values = match restriction.values.as_deref() {
            None => Values::Any,
            Some([value]) => Values::One(digest(value)),
            Some(values) => {
                // Two values may have one digest.
                let mut digests: Vec<u64> = values.iter().map(digest).collect();
                digests.sort_unstable();
                digests.dedup();
                Values::Some(digests.into())
            }
        };
        Condition { name, values }
    };
    selector.restrictions().iter().map(condition).collect()
}

impl Test {
    pub(super) fn of(names: &mut Names, expression: &Expression) -> Test {
        let bytes = |text: &String| text.as_bytes().into();
        match expression {
            // `global()` has become a test of a label before it comes here (`calico-features.md`
            // §3.4).
            Expression::All | Expression::Global => Test::And(Box::default()),
            Expression::Has(label) => Test::Has(names.number(label)),
            Expression::Text { label, test, text } => {
                let label = names.number(label);
                match test {
                    TextTest::Equal => Test::Equal(label, bytes(text)),
                    TextTest::NotEqual => Test::Not(Box::new(Test::Equal(label, bytes(text)))),
                    TextTest::Contains => Test::Contains(label, text.as_str().into()),
                    TextTest::StartsWith => Test::StartsWith(label, bytes(text)),
                    TextTest::EndsWith => Test::EndsWith(label, bytes(text)),
                }
            }
            Expression::Member { label, negated, set } => {
                let test = Test::In(names.number(label), set.iter().map(bytes).collect());
                if *negated { Test::Not(Box::new(test)) } else { test }
            }
            Expression::Not(inner) => Test::Not(Box::new(Test::of(names, inner))),
            Expression::And(all) => {
                Test::And(all.iter().map(|inner| Test::of(names, inner)).collect())
            }
            Expression::Or(any) => {
                Test::Or(any.iter().map(|inner| Test::of(names, inner)).collect())
            }
        }
    }

    pub(super) fn matches(&self, labels: &impl labels::Values) -> bool {
        match self {
            Test::Has(name) => labels.value(*name).is_some(),
            Test::Equal(name, value) => labels.value(*name) == Some(value),
            Test::Contains(name, part) => labels.value(*name).is_some_and(|value| {
                std::str::from_utf8(value).is_ok_and(|value| value.contains(&**part))
            }),
            Test::StartsWith(name, start) => {
                labels.value(*name).is_some_and(|value| value.starts_with(start))
            }
            Test::EndsWith(name, end) => {
                labels.value(*name).is_some_and(|value| value.ends_with(end))
            }
            Test::In(name, values) => labels
                .value(*name)
                .is_some_and(|value| values.binary_search_by(|other| (**other).cmp(value)).is_ok()),
            Test::Not(inner) => !inner.matches(labels),
            Test::And(all) => all.iter().all(|inner| inner.matches(labels)),
            Test::Or(any) => any.iter().any(|inner| inner.matches(labels)),
        }
    }

    /// How many labels it looks at.
    pub(super) fn labels(&self) -> usize {
        match self {
            Test::Not(inner) => inner.labels(),
            Test::And(parts) | Test::Or(parts) => parts.iter().map(Test::labels).sum(),
            _ => 1,
        }
    }

    /// Marks the names it tests.
    pub(super) fn mark_names(&self, used: &mut [bool]) {
        match self {
            Test::Has(name)
            | Test::Equal(name, _)
            | Test::Contains(name, _)
            | Test::StartsWith(name, _)
            | Test::EndsWith(name, _)
            | Test::In(name, _) => used[*name as usize] = true,
            Test::Not(inner) => inner.mark_names(used),
            Test::And(parts) | Test::Or(parts) => {
                parts.iter().for_each(|part| part.mark_names(used));
            }
        }
    }
}

//! Calico's selector language: which labelled things a policy, pool or peer means.
//!
//! ```text
//! or    := and ("||" and)*
//! and   := term ("&&" term)*
//! term  := "!"* ( has(L) | all() | global() | comparison | "(" or ")" )
//! comparison := L OP "text" | L (in | not in) {"a", "b"}
//! OP    := == | != | contains | starts with | ends with
//! ```
//!
//! Source: Calico's `libcalico-go/lib/selector` (`calico-features.md` §2). An empty selector means
//! `all()`. [`Display`] gives the canonical text, from which Calico derives the selector's id.

mod lexer;
mod parser;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Display};

/// How long a selector may be, in bytes.
pub const MAX_LENGTH: usize = 256 * 1024;

/// How deep parentheses, and `&&` within `||` within `&&` …, may nest.
pub const MAX_DEPTH: usize = 128;

/// A parsed selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Selector {
    root: Expression,
}

/// What a selector says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the grammar's own names")]
pub enum Expression {
    All,
    Global,
    Has(String),
    Text { label: String, test: TextTest, text: String },
    Member { label: String, negated: bool, set: BTreeSet<String> },
    Not(Box<Expression>),
    And(Vec<Expression>),
    Or(Vec<Expression>),
}

/// A comparison of a label's value with one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the operators' own names")]
pub enum TextTest {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("selector is wrong at byte {position}: expected {expected}, found {found}")]
pub struct SelectorError {
    /// Bytes from the start of the text, from 0.
    pub position: usize,
    /// What would have been right there.
    pub expected: &'static str,
    /// What stands there, shortened.
    pub found: String,
}

/// Something with labels.
pub trait Labels {
    /// The value of a label, or `None` where there is no such label.
    fn label(&self, name: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

impl Labels for std::collections::HashMap<String, String> {
    fn label(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

impl Selector {
    /// The selector of everything, `all()`.
    pub const ALL: Selector = Selector { root: Expression::All };

    /// Reads a selector; a blank text is `all()`.
    ///
    /// # Errors
    /// Where the text departs from the grammar, or exceeds [`MAX_LENGTH`] or [`MAX_DEPTH`].
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        Ok(Selector { root: parser::parse(text)? })
    }

    /// Whether the labels are selected. A missing label satisfies `!=` and `not in`, nothing else;
    /// `global()` is always true, as in Calico's own evaluation.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        self.root.matches(labels)
    }

    /// What it says.
    pub fn expression(&self) -> &Expression {
        &self.root
    }

    /// Calico's id of the selector: `s:` and 38 characters, the hash of the canonical text.
    pub fn unique_id(&self) -> String {
        crate::names::unique_id("s", &self.to_string())
    }

    /// Whether `global()` stands anywhere in it (forbidden in an IPPool's selectors).
    pub fn uses_global(&self) -> bool {
        self.root.uses_global()
    }
}

impl Expression {
    fn matches(&self, labels: &impl Labels) -> bool {
        match self {
            Expression::All | Expression::Global => true,
            Expression::Has(label) => labels.label(label).is_some(),
            Expression::Text { label, test, text } => {
                let value = labels.label(label);
                match test {
                    TextTest::Equal => value == Some(text),
                    TextTest::NotEqual => value != Some(text),
                    TextTest::Contains => value.is_some_and(|v| v.contains(text)),
                    TextTest::StartsWith => value.is_some_and(|v| v.starts_with(text)),
                    TextTest::EndsWith => value.is_some_and(|v| v.ends_with(text)),
                }
            }
            Expression::Member { label, negated, set } => {
                labels.label(label).is_some_and(|value| set.contains(value)) != *negated
            }
            Expression::Not(inner) => !inner.matches(labels),
            Expression::And(all) => all.iter().all(|inner| inner.matches(labels)),
            Expression::Or(any) => any.iter().any(|inner| inner.matches(labels)),
        }
    }

    fn uses_global(&self) -> bool {
        match self {
            Expression::Global => true,
            Expression::Not(inner) => inner.uses_global(),
            Expression::And(inner) | Expression::Or(inner) => {
                inner.iter().any(Expression::uses_global)
            }
            _ => false,
        }
    }
}

impl TextTest {
    fn as_str(self) -> &'static str {
        match self {
            TextTest::Equal => "==",
            TextTest::NotEqual => "!=",
            TextTest::Contains => "contains",
            TextTest::StartsWith => "starts with",
            TextTest::EndsWith => "ends with",
        }
    }
}

impl Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Expression::All => f.write_str("all()"),
            Expression::Global => f.write_str("global()"),
            Expression::Has(label) => write!(f, "has({label})"),
            Expression::Text { label, test, text } => {
                write!(f, "{label} {} ", test.as_str())?;
                quote(f, text)
            }
            Expression::Member { label, negated, set } => {
                write!(f, "{label} {} {{", if *negated { "not in" } else { "in" })?;
                separated(f, ", ", set, |f, value| quote(f, value))?;
                f.write_str("}")
            }
            Expression::Not(inner) => write!(f, "!{inner}"),
            Expression::And(all) => bracketed(f, " && ", all),
            Expression::Or(any) => bracketed(f, " || ", any),
        }
    }
}

fn bracketed(f: &mut fmt::Formatter<'_>, with: &str, terms: &[Expression]) -> fmt::Result {
    f.write_str("(")?;
    separated(f, with, terms, |f, term| term.fmt(f))?;
    f.write_str(")")
}

fn separated<'a, T: 'a>(
    f: &mut fmt::Formatter<'_>,
    with: &str,
    items: impl IntoIterator<Item = &'a T>,
    write: impl Fn(&mut fmt::Formatter<'_>, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            f.write_str(with)?;
        }
        write(f, item)?;
    }
    Ok(())
}

// A text holds one kind of quote at most, as the grammar has no escapes.
fn quote(f: &mut fmt::Formatter<'_>, text: &str) -> fmt::Result {
    let mark = if text.contains('"') { '\'' } else { '"' };
    write!(f, "{mark}{text}{mark}")
}

impl std::str::FromStr for Selector {
    type Err = SelectorError;
    fn from_str(text: &str) -> Result<Selector, SelectorError> {
        Selector::parse(text)
    }
}

impl TryFrom<String> for Selector {
    type Error = SelectorError;
    fn try_from(text: String) -> Result<Selector, SelectorError> {
        Selector::parse(&text)
    }
}

impl From<Selector> for String {
    fn from(selector: Selector) -> String {
        selector.to_string()
    }
}

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
mod restriction;
#[cfg(test)]
mod tests;

pub use restriction::Restriction;

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

/// What a selector says, as a tree that nests [`MAX_DEPTH`] deep at most in each of `!` and of
/// parentheses. What a missing label means, [`Selector::matches`] says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Expression {
    /// Everything.
    All,
    /// Everything as well; policies read it as "of no namespace".
    Global,
    /// The label is there.
    Has(String),
    /// The label's value compared with a text.
    Text {
        /// The label.
        label: String,
        /// How.
        test: TextTest,
        /// With what.
        text: String,
    },
    /// The label's value is one of a set, or isn't.
    Member {
        /// The label.
        label: String,
        /// `not in`.
        negated: bool,
        /// The set.
        set: BTreeSet<String>,
    },
    /// The inner one does not hold.
    Not(Box<Expression>),
    /// All of them hold; two at least.
    And(Vec<Expression>),
    /// One of them holds; two at least.
    Or(Vec<Expression>),
}

/// A comparison of a label's value with one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TextTest {
    /// It is the text.
    Equal,
    /// It isn't the text, or isn't there.
    NotEqual,
    /// The text is a part of it.
    Contains,
    /// It begins with the text.
    StartsWith,
    /// It ends with the text.
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

    /// The selector `global()`.
    pub const GLOBAL: Selector = Selector { root: Expression::Global };

    /// Reads a selector; a blank text is `all()`.
    ///
    /// # Errors
    /// Where the text departs from the grammar, or exceeds [`MAX_LENGTH`] or [`MAX_DEPTH`].
    pub fn parse(text: &str) -> Result<Selector, SelectorError> {
        Ok(Selector { root: parser::parse(text)? })
    }

    /// What it says, for those who compile or index it.
    pub fn expression(&self) -> &Expression {
        &self.root
    }

    /// What must hold of single labels for the selector to match; see [`Restriction`]. In order of
    /// labels, each label once.
    pub fn restrictions(&self) -> Vec<Restriction<'_>> {
        restriction::of(&self.root)
    }

    /// The canonical text, as [`Display`] gives it but faster.
    pub fn canonical(&self) -> String {
        let mut text = String::with_capacity(128);
        // Writing to a String cannot fail.
        let _ = self.root.write(&mut text);
        text
    }

    /// Whether the labels are selected. A missing label satisfies `!=` and `not in`, nothing else;
    /// `global()` is always true, as in Calico's own evaluation.
    pub fn matches(&self, labels: &impl Labels) -> bool {
        self.root.matches(labels)
    }

    /// Calico's id of the selector: `s:` and 38 characters, the hash of the canonical text.
    pub fn unique_id(&self) -> String {
        crate::names::unique_id("s", &self.canonical())
    }

    /// The same about inherited labels: `prefix` before the name of every label, `all()` means that
    /// the endpoint has the label `present`, `global()` that it hasn't.
    pub fn inherited(&self, prefix: &str, present: &str) -> Selector {
        Selector { root: self.root.inherited(prefix, present) }
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

    fn inherited(&self, prefix: &str, present: &str) -> Expression {
        let name = |label: &String| format!("{prefix}{label}");
        let all =
            |inner: &[Expression]| inner.iter().map(|e| e.inherited(prefix, present)).collect();
        match self {
            Expression::All => Expression::Has(present.to_owned()),
            Expression::Global => Expression::Not(Box::new(Expression::Has(present.to_owned()))),
            Expression::Has(label) => Expression::Has(name(label)),
            Expression::Text { label, test, text } => {
                Expression::Text { label: name(label), test: *test, text: text.clone() }
            }
            Expression::Member { label, negated, set } => {
                Expression::Member { label: name(label), negated: *negated, set: set.clone() }
            }
            Expression::Not(inner) => Expression::Not(Box::new(inner.inherited(prefix, present))),
            Expression::And(inner) => Expression::And(all(inner)),
            Expression::Or(inner) => Expression::Or(all(inner)),
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
        self.root.write(f)
    }
}

impl Expression {
    fn write(&self, to: &mut impl fmt::Write) -> fmt::Result {
        match self {
            Expression::All => to.write_str("all()"),
            Expression::Global => to.write_str("global()"),
            Expression::Has(label) => pieces(to, &["has(", label, ")"]),
            Expression::Text { label, test, text } => {
                pieces(to, &[label, " ", test.as_str(), " "])?;
                quote(to, text)
            }
            Expression::Member { label, negated, set } => {
                pieces(to, &[label, if *negated { " not in {" } else { " in {" }])?;
                separated(to, ", ", set, |to, value| quote(to, value))?;
                to.write_str("}")
            }
            Expression::Not(inner) => {
                to.write_str("!")?;
                inner.write(to)
            }
            Expression::And(all) => bracketed(to, " && ", all),
            Expression::Or(any) => bracketed(to, " || ", any),
        }
    }
}

fn pieces(to: &mut impl fmt::Write, texts: &[&str]) -> fmt::Result {
    texts.iter().try_for_each(|text| to.write_str(text))
}

fn bracketed(to: &mut impl fmt::Write, with: &str, terms: &[Expression]) -> fmt::Result {
    to.write_str("(")?;
    separated(to, with, terms, |to, term| term.write(to))?;
    to.write_str(")")
}

fn separated<'a, T: 'a, W: fmt::Write>(
    to: &mut W,
    with: &str,
    items: impl IntoIterator<Item = &'a T>,
    write: impl Fn(&mut W, &T) -> fmt::Result,
) -> fmt::Result {
    for (i, item) in items.into_iter().enumerate() {
        if i > 0 {
            to.write_str(with)?;
        }
        write(to, item)?;
    }
    Ok(())
}

// A text holds one kind of quote at most, as the grammar has no escapes.
fn quote(to: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mark = if text.contains('"') { "'" } else { "\"" };
    pieces(to, &[mark, text, mark])
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
        selector.canonical()
    }
}

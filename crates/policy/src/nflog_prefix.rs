//! The prefix that a logged packet carries: which rule logged it, in at most 63 bytes.
//!
//! The grammar is Felix's (`felix/rules/nflogprefix.go`):
//!
//! ```text
//!  DPI0|np/shop/web     action, owner, direction, the rule's index | the policy's or profile's id
//!  DPI|default          no rule of the tier decided: its default action
//!  DRE                  no profile allowed it either
//! ```
//!
//! Actions are `A`llow, `D`eny and `P`ass, owners `P`olicy and p`R`ofile, directions `I`ngress and
//! `E`gress. We add the action `L` of rules that only log, for which Felix writes to the kernel's
//! log.
//!
//! What is longer than [`LENGTH_MAX`] loses its middle to a hash, so it can be read only by who
//! knows all of it: [`Names`] keeps those of the rules in force.

mod ends;

pub use ends::{Asked, Ends};

use crate::evaluate::Direction;
use crate::input::{Action, PolicyId};
use model::names::length_limited_id;
use std::collections::HashMap;
use std::fmt;

/// Bytes of a prefix in the kernel, without the NUL at its end (`NF_LOG_PREFIXLEN` is 128 in
/// today's kernels; Felix keeps to the 64 of older ones).
pub const LENGTH_MAX: usize = 63;

/// Bytes of a shortened prefix's begin, and of its end, that stay as they are.
const KEPT: usize = 10;

/// Bytes of the hash in a shortened prefix, with the `_` before it.
const HASH_LENGTH: usize = LENGTH_MAX - 2 * KEPT - 1;

/// What a logged packet says of why it was logged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Prefix {
    /// What was done with it.
    pub action: Action,
    /// On which way it was.
    pub direction: Direction,
    /// What decided.
    pub origin: Origin,
}

/// What decided about a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Origin {
    /// A rule of a policy.
    PolicyRule {
        /// Whose.
        policy: PolicyId,
        /// Its place in the policy's rules of that direction, from 0.
        index: u32,
    },
    /// A rule of a profile.
    ProfileRule {
        /// The profile's name.
        profile: Box<str>,
        /// Its place in the profile's rules of that direction, from 0.
        index: u32,
    },
    /// The default action of this tier, as none of its rules decided.
    EndOfTier(Box<str>),
    /// No rule of a profile decided, nor was there any left to ask.
    NoProfile,
}

/// A text is not a prefix of ours, or one that was shortened and that nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the packet was logged with the prefix `{0}`, which is of no rule in force here; either the \
     rule is gone by now, or another program logs to the same NFLOG group"
)]
pub struct UnknownPrefix(Box<str>);

impl Prefix {
    /// The prefix as it is given to the kernel: ASCII where the names are, at most [`LENGTH_MAX`]
    /// bytes.
    pub fn text(&self) -> String {
        shorten(self.whole_text())
    }

    /// `logPrefix` with what it asks for of the rule put in: `%t` the tier, `%k` the policy's kind in
    /// short, `%n` its name, `%p` its namespace and name (`felix/rules/policy.go`). A profile has no
    /// tier, and its kind is `pro`. Control characters are left out.
    pub fn label(&self, log_prefix: &str, tier: &str) -> String {
        let (kind, name, whole) = match &self.origin {
            Origin::PolicyRule { policy, .. } => {
                let whole = match &*policy.namespace {
                    "" => policy.name.to_string(),
                    namespace => format!("{namespace}/{}", policy.name),
                };
                (policy.kind.short_name(), &*policy.name, whole)
            }
            Origin::ProfileRule { profile, .. } => ("pro", &**profile, profile.to_string()),
            Origin::EndOfTier(_) | Origin::NoProfile => ("", "", String::new()),
        };
        let mut label = String::new();
        let mut letters = log_prefix.chars().filter(|c| !c.is_control()).peekable();
        while let Some(letter) = letters.next() {
            let value = match letters.peek() {
                Some('t') if letter == '%' => tier,
                Some('k') if letter == '%' => kind,
                Some('n') if letter == '%' => name,
                Some('p') if letter == '%' => &whole,
                _ => {
                    label.push(letter);
                    continue;
                }
            };
            label.push_str(value);
            letters.next();
        }
        label
    }

    fn whole_text(&self) -> String {
        let action = letter(&ACTIONS, self.action);
        let direction = letter(&DIRECTIONS, self.direction);
        match &self.origin {
            Origin::PolicyRule { policy, index } => format!("{action}P{direction}{index}|{policy}"),
            Origin::ProfileRule { profile, index } => {
                format!("{action}R{direction}{index}|{profile}")
            }
            Origin::EndOfTier(tier) => format!("{action}P{direction}|{tier}"),
            Origin::NoProfile => format!("{action}R{direction}"),
        }
    }

    /// Reads a prefix that was not shortened; see [`Names::read`] for any.
    pub fn parse(text: &str) -> Result<Prefix, UnknownPrefix> {
        parse(text).ok_or_else(|| UnknownPrefix(text.into()))
    }
}

const ACTIONS: [(Action, char); 4] =
    [(Action::Allow, 'A'), (Action::Deny, 'D'), (Action::Pass, 'P'), (Action::Log, 'L')];

const DIRECTIONS: [(Direction, char); 2] = [(Direction::Ingress, 'I'), (Direction::Egress, 'E')];

fn letter<T: Copy + PartialEq>(letters: &[(T, char)], value: T) -> char {
    letters.iter().find(|(of, _)| *of == value).map_or('?', |(_, letter)| *letter)
}

fn value<T: Copy>(letters: &[(T, char)], letter: char) -> Option<T> {
    letters.iter().find(|(_, of)| *of == letter).map(|(value, _)| *value)
}

/// A text that would just fit is shortened too, so that nobody can write the name of a policy such
/// that it looks like another one's shortened prefix.
fn shorten(whole: String) -> String {
    if whole.len() < LENGTH_MAX {
        return whole;
    }
    let first = &whole[..whole.floor_char_boundary(KEPT)];
    let last = &whole[whole.ceil_char_boundary(whole.len() - KEPT)..];
    format!("{first}{}_{last}", length_limited_id("", &whole, HASH_LENGTH))
}

fn parse(text: &str) -> Option<Prefix> {
    let mut letters = text.chars();
    let action = value(&ACTIONS, letters.next()?)?;
    let owner = letters.next()?;
    let direction = value(&DIRECTIONS, letters.next()?)?;
    let rest = letters.as_str();
    let origin = match (owner, rest.split_once('|')) {
        ('R', None) if rest.is_empty() => Origin::NoProfile,
        ('P', Some(("", tier))) if !tier.is_empty() => Origin::EndOfTier(tier.into()),
        ('P', Some((index, policy))) => {
            Origin::PolicyRule { policy: policy.parse().ok()?, index: parse_index(index)? }
        }
        ('R', Some((index, profile))) if !profile.is_empty() => {
            Origin::ProfileRule { profile: profile.into(), index: parse_index(index)? }
        }
        _ => return None,
    };
    Some(Prefix { action, direction, origin })
}

/// Only as it is written: `0`, not `+0` or `00`.
fn parse_index(text: &str) -> Option<u32> {
    text.parse().ok().filter(|index: &u32| index.to_string() == text)
}

/// What the prefixes of the rules in force don't say themselves: what the shortened ones stand for,
/// how lines of rules that only log begin, and which policies a tier has for an endpoint. Other
/// prefixes take no place here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    shortened: HashMap<Box<str>, Prefix>,
    labels: HashMap<Box<str>, Box<str>>,
    /// The last policies of tiers.
    pub ends: Ends,
}

impl Names {
    /// None but these last policies of tiers.
    pub fn of_ends(ends: Ends) -> Names {
        Names { ends, ..Names::default() }
    }

    /// Takes up `prefix` if it must be shortened. Returns its text, which the rule logs with.
    pub fn insert(&mut self, prefix: &Prefix) -> String {
        let whole = prefix.whole_text();
        if whole.len() < LENGTH_MAX {
            return whole;
        }
        let text = shorten(whole);
        self.shortened.insert(text.as_str().into(), prefix.clone());
        text
    }

    /// How lines of the rule begin that logs with `prefix`.
    pub fn set_label(&mut self, prefix: &Prefix, label: &str) {
        self.labels.insert(prefix.text().into(), label.into());
    }

    /// How a packet's line begins, if its rule only logs.
    pub fn label(&self, text: &str) -> Option<&str> {
        self.labels.get(text).map(|label| &**label)
    }

    /// Forgets `prefix`, of a rule that is no more.
    pub fn remove(&mut self, prefix: &Prefix) {
        let text = prefix.text();
        self.shortened.remove(text.as_str());
        self.labels.remove(text.as_str());
    }

    /// What a packet's prefix says.
    ///
    /// # Errors
    /// No rule in force logs with it.
    pub fn read(&self, text: &str) -> Result<Prefix, UnknownPrefix> {
        match self.shortened.get(text) {
            Some(prefix) => Ok(prefix.clone()),
            None if text.len() < LENGTH_MAX => Prefix::parse(text),
            None => Err(UnknownPrefix(text.into())),
        }
    }
}

/// As a person reads it: `denied by NetworkPolicy(shop/web) rule 0`.
impl fmt::Display for Prefix {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let done = match self.action {
            Action::Allow => "allowed",
            Action::Deny => "denied",
            Action::Pass => "passed on",
            Action::Log => "logged",
        };
        match &self.origin {
            Origin::PolicyRule { policy, index } => {
                write!(out, "{done} by {} rule {index}", policy.resource())
            }
            Origin::ProfileRule { profile, index } => {
                write!(out, "{done} by Profile({profile}) rule {index}")
            }
            Origin::EndOfTier(tier) => {
                write!(out, "{done} at the end of Tier({tier}), as no rule of its policies matches")
            }
            Origin::NoProfile => write!(out, "{done}, as no Profile allows it"),
        }
    }
}

#[cfg(test)]
mod tests;

//! Changes to what is desired, one object at a time.

use super::{Chain, Element, Family, Set, Verdict, VerdictMap};
use serde::{Deserialize, Serialize};

/// A change to the desired tables.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Update {
    /// The table's family.
    pub family: Family,
    /// The table's name.
    pub table: String,
    /// What changes in it.
    pub part: Part,
}

/// What changes in a table. Within a list of updates, order matters for one object only: what
/// others refer to may come after them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Part {
    /// A set as a whole: new, or in place of the one of this name; `None`: gone.
    Set(String, Option<Set>),
    /// Members of a set come and go.
    Members {
        /// The set's name.
        set: String,
        /// New ones; those that are there already don't matter.
        added: Vec<Element>,
        /// Those that are gone; those that aren't there don't matter.
        removed: Vec<Element>,
    },
    /// A verdict map as a whole: new, or in place of the one of this name; `None`: gone.
    Map(String, Option<VerdictMap>),
    /// Elements of a verdict map come, change and go.
    MapElements {
        /// The map's name.
        map: String,
        /// New ones, or other verdicts for those that are there.
        elements: Vec<(Element, Verdict)>,
        /// Those that are gone; those that aren't there don't matter.
        removed: Vec<Element>,
    },
    /// A chain as a whole: new, or in place of the one of this name; `None`: gone.
    Chain(String, Option<Chain>),
}

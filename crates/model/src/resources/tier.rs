//! Tier: an ordered group of policies, and what happens when none of them decides.

use serde::{Deserialize, Serialize};

/// What a tier does with packets that policies of it apply to and no rule decides.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum DefaultAction {
    /// They are dropped.
    #[default]
    Deny,
    /// The next tier decides.
    Pass,
}

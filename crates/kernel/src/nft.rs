//! nf_tables objects as values, and as the text that `nft list` prints.
//!
//! ```text
//!  Table ──check()──▶ names, limits, jump targets hold
//!    │  └──Display──▶ what `nft -s list table ip calico` prints
//!    └──diff(desired, actual)──▶ Vec<Change> ──▶ (linux) one transaction
//!                                           └──▶ apply(): the same on values, for fakes and tests
//! ```
//!
//! [`Tables`] does without the whole of either side: it is told what changes, and tells the kernel
//! no more than that.
//!
//! A further kind of element, [`Match`], [`Statement`] or [`Verdict`] needs its text here and its
//! expressions in `linux::nft`.

mod change;
mod check;
mod diff;
mod rule;
#[cfg(test)]
mod sample;
mod set;
mod table;
mod tables;
mod text;
mod update;

pub use change::{Change, Edit, Refusal, apply};
pub use check::Invalid;
pub use diff::diff;
pub use rule::{
    ConnectionState, MapField, Match, PacketType, Period, Rejection, Rule, Statement, Verdict,
};
pub use set::{Element, Set, SetKey, VerdictMap};
pub use table::{BaseChain, Chain, ChainKind, Device, Family, Hook, Table, Version};
pub use tables::{Absent, Tables};
pub use update::{Part, Update};

//! The plugins on the real kernel, with a scripted agent, Debian's host-local and the embedded
//! datastore.

mod add;
mod addresses;
mod check;
mod delegated;
mod delete;
mod input;
mod results;
mod rig;

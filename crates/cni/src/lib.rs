//! The CNI plugin `calico` and the IPAM plugin `calico-ipam`.
//!
//! ```text
//!  runtime ──▶ plugin ──▶ interface: veth pair, the container's side
//!     JSON       ├──────▶ agent: one request over its Unix socket; else the spool
//!                └──────▶ delegate: another IPAM plugin, as a process
//!
//!  plugin ───▶ addresses (calico-ipam): ipam's protocols, straight on the datastore
//! ```
//!
//! Owns: the CNI specification (`call`, `configuration`, `container`, `answer`, `version`,
//! `error`), what an ADD undoes when it fails, the plugins' log. `calico` is synchronous: it starts for every
//! pod, so it starts nothing else. A plugin is a function of an [`Input`] and [`Places`];
//! [`run_plugin`] and [`run_ipam`] give it the process's.
//!
//! Must not know: pools and blocks (the agent's and `ipam`'s), what the host's side of an interface
//! looks like (the agent's).

mod addresses;
mod agent;
mod answer;
mod call;
mod configuration;
mod container;
mod delegate;
mod error;
mod interface;
mod log;
mod places;
mod plugin;
mod process;
mod version;

pub use addresses::calico_ipam;
pub use call::Input;
pub use places::Places;
pub use plugin::{Outcome, calico};
pub use process::{run_ipam, run_plugin};

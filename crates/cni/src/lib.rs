//! The CNI plugin `calico` and the IPAM plugin `calico-ipam`; how they get onto a node, and kubelet's
//! volume driver `uds`, which comes with them.
//!
//! ```text
//!  runtime ──▶ plugin ──▶ interface: veth pair, the container's side
//!     JSON       ├──────▶ agent: one request over its Unix socket; else the spool
//!                └──────▶ delegate: another IPAM plugin, as a process
//!
//!  plugin ───▶ addresses (calico-ipam): ipam's protocols, straight on the datastore
//!
//!  image  ───▶ install (install-cni): binaries, credentials, the network configuration
//!  host-local's addresses ───▶ upgrade (calico-ipam -upgrade) ───▶ Calico's IPAM
//!  kubelet ──▶ volume (uds): a directory per pod for the socket of policy sync
//! ```
//!
//! Owns: the CNI specification (`call`, `configuration`, `pod_ranges`, `container`, `answer`,
//! `version`, `error`), what an ADD undoes when it fails, the plugins' log. `calico` is synchronous: it starts for every
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
pub mod credentials;
mod delegate;
mod error;
mod install;
mod interface;
mod log;
mod places;
mod plugin;
mod pod_ranges;
mod process;
mod upgrade;
mod version;
mod volume;

pub use addresses::calico_ipam;
pub use call::Input;
pub use install::{InstallError, install, run_install};
pub use places::Places;
pub use plugin::{Outcome, calico};
pub use process::{run_ipam, run_plugin};
pub use upgrade::{HostLocal, UpgradeError, upgrade};
pub use volume::{run_driver, run_driver_install};

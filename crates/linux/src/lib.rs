//! The kernel's surfaces: the only crate with system calls of ours, and with `unsafe`.
//!
//! ```text
//!  netns        namespaces: open, create, run something inside
//!  rtnetlink    one synchronous socket: links, addresses, routes, neighbours, FDB
//!  apply        State out of the kernel (read_state), Vec<kernel::Change> into it (apply)
//!  ipip         tunl0 by BPF, for kernels without IP-in-IP
//!  monitor      what others change, as notices
//!  nft          nf_tables: read, and apply in one transaction
//!  nflog        packets that rules log
//!  sysctl       /proc/sys
//!  connections  TCP connections ended
//!  conntrack    tracked flows listed and forgotten
//!  tcp          BGP's socket options: MD5 signatures, TTL
//!  own_process  what this process uses
//!  process      starting processes in namespaces
//!  file         files replaced as a whole
//!  mount        mounts of a pod's volume
//!  allocation   how the allocator is set, and what benchmarks count
//! ```
//!
//! Every call returns [`Error`], which names the operation, the object, the kernel's own words
//! where it gave some, and the next step. Nothing here is asynchronous: requests take microseconds,
//! and the one call that waits ([`monitor::Monitor::wait`]) has a deadline and a file descriptor to
//! poll.
//!
//! Owns: sockets, files below `/proc` and `/sys`, namespaces; the netlink crates stay inside.
//!
//! Must not know: Calico's resources, what is desired and why.

pub mod allocation;
pub mod apply;
mod bpf;
pub mod connections;
pub mod conntrack;
mod error;
pub mod file;
pub mod ipip;
pub mod monitor;
pub mod mount;
pub mod netns;
pub mod nflog;
mod nfnetlink;
pub mod nft;
pub mod own_process;
pub mod process;
pub mod rtnetlink;
pub mod sysctl;
pub mod tcp;
#[cfg(test)]
mod test_namespace;
mod tuple;

pub use error::Error;
pub use tuple::{Transport, Tuple};

//! Files and sockets that the plugins share with the agent.

use std::path::PathBuf;

/// Where things are on a node.
#[derive(Clone, Debug)]
pub struct Places {
    /// The agent's socket.
    pub socket: PathBuf,
    /// The removals left for the agent.
    pub spool: PathBuf,
    /// The directory of the files `nodename` and `mtu`, which the agent writes.
    pub state: PathBuf,
    /// The log file where the configuration names none.
    pub log: PathBuf,
    /// What concurrent `calico-ipam` processes lock where the configuration names none.
    pub lock: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            socket: node::api::SOCKET.into(),
            spool: node::api::SPOOL.into(),
            state: "/var/lib/calico".into(),
            log: "/var/log/calico/cni/cni.log".into(),
            lock: "/var/run/calico/ipam.lock".into(),
        }
    }
}

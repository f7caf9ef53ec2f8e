//! Tables, chains, and the devices that chains may be at.

use super::{Rule, Set, VerdictMap};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// What a table's chains see: packets of one IP version, or a device's frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Family {
    /// IPv4.
    Ip,
    /// IPv6.
    Ip6,
    /// `netdev`: frames of any protocol, where they enter or leave a device. Such tables have no
    /// sets here.
    Netdev,
}

/// A version of IP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words themselves")]
pub enum Version {
    V4,
    V6,
}

/// A device's name, of at most 15 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Device([u8; 16]);

/// A table that is wholly ours: `table ip calico`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Address family.
    pub family: Family,
    /// Its name.
    pub name: String,
    /// Sets by name.
    pub sets: BTreeMap<String, Set>,
    /// Named verdict maps by name. The kernel has one name space for them and [`Table::sets`].
    pub maps: BTreeMap<String, VerdictMap>,
    /// Chains by name.
    pub chains: BTreeMap<String, Chain>,
    /// What was read from the kernel and is of no kind that this project writes, as `nft` calls it:
    /// `flowtable f`. Never desired; the table is replaced wholly to be rid of it.
    pub foreign: BTreeSet<String>,
}

/// A chain.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Where the kernel calls it; `None` for a chain that is only jumped to.
    pub base: Option<BaseChain>,
    /// Rules in order.
    pub rules: Vec<Rule>,
}

/// A base chain's place. Its policy is always accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseChain {
    /// `filter`, `nat` or `route`.
    pub kind: ChainKind,
    /// The hook.
    pub hook: Hook,
    /// Smaller runs earlier: filter 0, raw -300, mangle -150, dstnat -100, srcnat 100.
    pub priority: i32,
}

/// A base chain's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum ChainKind {
    Filter,
    Nat,
    Route,
    /// A base chain read from the kernel that this project never writes, for its type, hook or
    /// policy.
    Foreign,
}

/// A netfilter hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[expect(missing_docs, reason = "nft's own words")]
pub enum Hook {
    Prerouting,
    Input,
    Forward,
    Output,
    Postrouting,
    /// Frames that a device has received; in `netdev` tables.
    Ingress(Device),
    /// Frames that a device is about to send; in `netdev` tables.
    Egress(Device),
}

impl Version {
    /// An address's version.
    pub fn of(address: IpAddr) -> Version {
        match address {
            IpAddr::V4(_) => Version::V4,
            IpAddr::V6(_) => Version::V6,
        }
    }
}

impl Device {
    /// A device by name; `None` if no device can have it.
    pub fn new(name: &str) -> Option<Device> {
        let mut bytes = [0; 16];
        bytes.get_mut(..name.len())?.copy_from_slice(name.as_bytes());
        let legal = name.bytes().all(|byte| byte.is_ascii_graphic() && !b"*\"/\\".contains(&byte));
        (!name.is_empty() && bytes[15] == 0 && legal).then_some(Device(bytes))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        let length = self.0.iter().position(|byte| *byte == 0).unwrap_or(self.0.len());
        std::str::from_utf8(&self.0[..length]).unwrap_or_default()
    }
}

impl std::fmt::Debug for Device {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.name())
    }
}

impl Table {
    /// A table with nothing in it.
    pub fn new(family: Family, name: impl Into<String>) -> Table {
        Table {
            family,
            name: name.into(),
            sets: BTreeMap::new(),
            maps: BTreeMap::new(),
            chains: BTreeMap::new(),
            foreign: BTreeSet::new(),
        }
    }
}

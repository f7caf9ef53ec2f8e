//! Why an IPAM operation failed, in people's words.

use ipnet::IpNet;
use model::Key;
use std::net::IpAddr;

/// Why an operation failed, split by what the caller does about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No address is free. Nothing was assigned.
    #[error(
        "no free address for node {host} in the IP pools {pools}: create another IPPool, or release \
         addresses nobody uses (calicoctl ipam show --show-blocks says where they are)"
    )]
    PoolExhausted {
        /// The node that asked.
        host: String,
        /// The pools tried, by name and prefix.
        pools: String,
    },
    /// The node holds as many blocks as it may and they are full. Nothing was assigned.
    #[error(
        "node {host} holds {limit} IPAM blocks, as many as it may, and none has a free address: raise \
         maxBlocksPerHost (calicoctl ipam configure --max-blocks-per-host) or move workloads away"
    )]
    BlockLimit {
        /// The node that asked.
        host: String,
        /// The bound in force.
        limit: u32,
    },
    /// There is no pool to take an address from.
    #[error(
        "no {family} pool gives addresses to node {host} (considered: {considered}): create or \
         enable one, or make its selectors match the labels of node and namespace"
    )]
    NoPool {
        /// `IPv4`, `IPv6`, or `IP` where either would do.
        family: &'static str,
        /// The node that asked.
        host: String,
        /// Each pool and why it was left out, or `none`.
        considered: String,
    },
    /// A pool was asked for by name or prefix that doesn't exist or is disabled.
    #[error("IP pool {pool} was asked for but {reason}: calicoctl get ippool lists the pools")]
    BadPool {
        /// As asked.
        pool: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The address asked for is in no pool that gives addresses (Calico's words come first).
    #[error(
        "The provided IP address is not in a configured pool: {address} is in none of {pools}; ask for \
         another address or create an IPPool that has it"
    )]
    NotInPool {
        /// As asked.
        address: IpAddr,
        /// The pools, by name and prefix.
        pools: String,
    },
    /// The address asked for has a holder, rests, or is reserved.
    #[error("address {address} cannot be assigned: {reason}; ask for another or release it first")]
    Taken {
        /// As asked.
        address: IpAddr,
        /// Who has it.
        reason: String,
    },
    /// Strict affinity, and the address's block is another node's.
    #[error(
        "address {address} is in block {block} of {owner}, and strictAffinity keeps node {host} out of \
         it: ask on that node, or turn strictAffinity off"
    )]
    StrictAffinity {
        /// As asked.
        address: IpAddr,
        /// Its block.
        block: IpNet,
        /// Whose it is.
        owner: String,
        /// The node that asked.
        host: String,
    },
    /// The address is held under another handle (Calico: ErrorBadHandle). It was not released.
    #[error(
        "address {address} is held under handle {actual}, not {given}: somebody else has it now"
    )]
    BadHandle {
        /// The address.
        address: IpAddr,
        /// What the caller expected.
        given: String,
        /// Whose it is.
        actual: String,
    },
    /// The address was given again since the caller looked (Calico: ErrorBadSequenceNumber).
    #[error(
        "address {address} was assigned again meanwhile (sequence number {actual}, expected {given}): \
         look again before releasing it"
    )]
    BadSequenceNumber {
        /// The address.
        address: IpAddr,
        /// What the caller expected.
        given: u64,
        /// What the block says.
        actual: u64,
    },
    /// Others changed the same object at each of the attempts. Retry later.
    #[error("{0} was changed by others at every attempt: try again")]
    Contention(Key),
    /// The datastore gave no answer: a write may or may not have taken place. Retry, or release by
    /// handle.
    #[error("{what}: the datastore did not carry out the request: {reason}")]
    Unavailable {
        /// The object.
        what: String,
        /// What it said.
        reason: String,
    },
    /// A stored object cannot be read.
    #[error("{key} is stored in a form that cannot be read: {reason}; correct or delete it")]
    Corrupt {
        /// The object.
        key: Key,
        /// What is wrong with it.
        reason: String,
    },
}

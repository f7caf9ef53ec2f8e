//! Blocks: this node's, other nodes', and addresses that are borrowed.

use super::Cluster;
use ipam::contents;
use ipnet::IpNet;
use model::{Block, Entry, Key};
use std::net::IpAddr;

/// A block of 4,096 addresses, Calico's largest for IPv4, or of so many for IPv6.
const BLOCK_BITS_MAX: u8 = 12;

/// What to do about a block that cannot be used: calicoctl writes none.
pub(super) const BLOCK_STEP: &str =
    "correct it, as from a backup, or delete it once its pods are gone";

impl Cluster {
    /// Addresses of this node's blocks that nobody has, as far as is known: neither a workload nor a
    /// tunnel here, nor another node. Of very large blocks none.
    pub(crate) fn addresses_of_nobody(&self) -> Vec<IpAddr> {
        let small = |block: &&IpNet| block.max_prefix_len() - block.prefix_len() <= BLOCK_BITS_MAX;
        let all = self.own_blocks.keys().filter(small).flat_map(|block| addresses(*block));
        let is_free = |address: &IpAddr| {
            !self.is_own_address(*address)
                && !self.topology.borrowed.contains_key(address)
                && self.policy.workload_at(*address).is_none()
        };
        all.filter(is_free).collect()
    }

    /// The blocks this node holds, as told last.
    pub(crate) fn own_blocks(&self) -> Vec<Entry> {
        self.own_blocks.values().cloned().collect()
    }

    /// Their ranges.
    pub(crate) fn own_block_ranges(&self) -> impl Iterator<Item = IpNet> + '_ {
        self.own_blocks.keys().copied()
    }

    /// What is wrong with a block, if it is this node's.
    pub(super) fn damage(&self, key: &Key, block: &Block) -> Option<String> {
        let own = format!("host:{}", self.topology.node);
        let is_own = contents::owner(block).is_some_and(|owner| owner == own);
        let why = is_own.then(|| contents::damage(block)).flatten()?;
        Some(format!(
            "{key} is damaged: {why}; no address of it is given or released: {BLOCK_STEP}"
        ))
    }

    pub(super) fn block_changed(&mut self, entry: Entry, block: &Block) {
        let cidr = block.cidr;
        let owner = contents::owner(block);
        let owner = owner.as_deref().and_then(|owner| owner.strip_prefix("host:"));
        let known = if owner == Some(self.topology.node.as_str()) {
            let known = self.own_blocks.insert(cidr, entry).is_some();
            if !known {
                // Another node's workloads may have had its addresses.
                self.policy.set_unjudged();
            }
            known
        } else {
            self.own_blocks.remove(&cidr).is_none()
        };
        self.speaker_concerned |= !known;
        self.borrowed.insert(cidr, borrowed(block, owner));
        self.borrowed.retain(|_, addresses| !addresses.is_empty());
        self.replan_borrowed();
        if self.topology.blocks.get(&cidr).map(String::as_str) == owner {
            return;
        }
        let blocks = &mut self.topology.change().blocks;
        match owner {
            Some(owner) => blocks.insert(cidr, owner.to_owned()),
            None => blocks.remove(&cidr),
        };
    }

    pub(super) fn block_deleted(&mut self, block: IpNet) {
        self.speaker_concerned |= self.own_blocks.remove(&block).is_some();
        self.topology.change().blocks.remove(&block);
        self.borrowed.remove(&block);
        self.replan_borrowed();
    }

    fn replan_borrowed(&mut self) {
        let borrowed = self.borrowed.values().flatten().cloned().collect();
        if self.topology.borrowed != borrowed {
            self.topology.change().borrowed = borrowed;
        }
    }
}

/// All addresses of a prefix, first and last too.
fn addresses(net: IpNet) -> impl Iterator<Item = IpAddr> {
    let subnets = net.subnets(net.max_prefix_len()).into_iter().flatten();
    subnets.map(|single| single.addr())
}

/// Addresses of a block held by another node than the one that routes the block.
fn borrowed(block: &Block, owner: Option<&str>) -> Vec<(IpAddr, String)> {
    let held = contents::in_use(block).filter_map(|(ordinal, holder)| {
        let node = holder.secondary.as_ref()?.get("node")?;
        let elsewhere = Some(node.as_str()) != owner;
        elsewhere.then(|| (contents::address_of(block, ordinal), node.clone()))
    });
    held.collect()
}

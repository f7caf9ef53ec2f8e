//! Names of chains and sets: those of Felix's nftables mode (`calico-features.md` §6.3).

use kernel::nft::{Family, Part, Update};
use model::names::length_limited_id;
use policy::output::SetId;

/// The name of both tables.
pub(super) const TABLE: &str = "calico";
/// Both families' tables have chains for policy.
pub(super) const FAMILIES: [Family; 2] = [Family::Ip, Family::Ip6];

pub(super) const FROM_WORKLOAD: &str = "filter-cali-from-wl-dispatch";
pub(super) const TO_WORKLOAD: &str = "filter-cali-to-wl-dispatch";
pub(super) const FROM_HOST: &str = "filter-cali-from-host-endpoint";
pub(super) const TO_HOST: &str = "filter-cali-to-host-endpoint";
pub(super) const FROM_HOST_FORWARD: &str = "filter-cali-from-hep-forward";
pub(super) const TO_HOST_FORWARD: &str = "filter-cali-to-hep-forward";
pub(super) const RAW_FROM_HOST: &str = "raw-cali-from-host-endpoint";
pub(super) const RAW_TO_HOST: &str = "raw-cali-to-host-endpoint";
pub(super) const MANGLE_FROM_HOST: &str = "mangle-cali-from-host-endpoint";
pub(super) const MANGLE_TO_HOST: &str = "mangle-cali-to-host-endpoint";
pub(super) const CIDR_BLOCK: &str = "filter-cali-cidr-block";
pub(super) const RPF_SKIP: &str = "raw-cali-rpf-skip";
pub(super) const FAILSAFE_IN: &str = "filter-cali-failsafe-in";
pub(super) const FAILSAFE_OUT: &str = "filter-cali-failsafe-out";
pub(super) const RAW_FAILSAFE_IN: &str = "raw-cali-failsafe-in";
pub(super) const RAW_FAILSAFE_OUT: &str = "raw-cali-failsafe-out";
/// Felix's name for the host endpoint `*`.
pub(super) const ANY_INTERFACE: &str = "any-interface-at-all";

/// Longest name of a chain, in bytes (NFT_NAME_MAXLEN less the NUL).
const CHAIN_BYTES_MAX: usize = 255;
/// Longest name of a set in Felix, in bytes: as long as ipset's.
const SET_BYTES_MAX: usize = 31;

/// A chain's name; what nft's grammar doesn't have, or is too long, becomes a hash.
pub(super) fn chain(prefix: &str, name: &str) -> String {
    let legal = |c: char| c.is_ascii_alphanumeric() || "/-_.".contains(c);
    if name.chars().all(legal) {
        return length_limited_id(prefix, name, CHAIN_BYTES_MAX);
    }
    let hash = model::names::unique_id("chain", name);
    format!("{prefix}_{}", hash.trim_start_matches("chain:"))
}

/// The set of a policy set's addresses, or of its ports.
pub(super) fn set(family: Family, id: &SetId) -> String {
    let version = if family == Family::Ip6 { "cali60" } else { "cali40" };
    legal_set(version, &id.0)
}

/// The set of a policy set's prefixes.
pub(super) fn prefix_set(family: Family, id: &SetId) -> String {
    let version = if family == Family::Ip6 { "cali6n" } else { "cali4n" };
    legal_set(version, &id.0)
}

/// The set of what a rule lists, by what it has.
pub(super) fn content_set(family: Family, content: &str) -> String {
    let id = SetId(model::names::unique_id("l", content).into());
    set(family, &id)
}

fn legal_set(prefix: &str, id: &str) -> String {
    let mut name = prefix.to_owned();
    let legal = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    name.extend(id.chars().map(legal));
    // Only ASCII is left.
    name.truncate(SET_BYTES_MAX);
    name
}

/// A change to the table of a family.
pub(super) fn update(family: Family, part: Part) -> Update {
    Update { family, table: TABLE.to_owned(), part }
}

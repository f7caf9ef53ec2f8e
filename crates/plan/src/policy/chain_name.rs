//! Names of the chains of endpoints, policies and profiles.

pub use super::host::chain_name as host;

use super::names::chain;
use policy::evaluate::Direction;
use policy::input::PolicyId;

/// The chain of a workload's policies and profiles: `filter-cali-tw-cali1234`, or `fw` of what it
/// sends.
pub fn workload(interface: &str, direction: Direction) -> String {
    let prefix = match direction {
        Direction::Ingress => "filter-cali-tw-",
        Direction::Egress => "filter-cali-fw-",
    };
    chain(prefix, interface)
}

/// The chain of a policy's rules: `filter-cali-pi-np/shop/web`, or `po` of what goes out.
pub fn policy(id: &PolicyId, direction: Direction) -> String {
    let prefix = match direction {
        Direction::Ingress => "filter-cali-pi-",
        Direction::Egress => "filter-cali-po-",
    };
    chain(prefix, &id.to_string())
}

/// The chain of a profile's rules: `filter-cali-pri-kns.shop`, or `pro` of what goes out.
pub fn profile(name: &str, direction: Direction) -> String {
    let prefix = match direction {
        Direction::Ingress => "filter-cali-pri-",
        Direction::Egress => "filter-cali-pro-",
    };
    chain(prefix, name)
}

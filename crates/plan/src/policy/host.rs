//! Host endpoints: which one is an interface's, their chains, and the way to those.

use super::endpoint::{Endpoint, Kind};
use super::settings::Settings;
use super::{layout, names};
use kernel::nft::{Chain, Match, Rule, Verdict};
use policy::evaluate::{Direction, Traffic};
use policy::output::HostEndpoint;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

/// `interfaceName` of a host endpoint of all interfaces.
const ALL: &str = "*";

/// The host endpoint of each interface that has one of its own, and that of all others.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Assigned {
    /// By the interface's name.
    pub named: BTreeMap<Box<str>, Arc<HostEndpoint>>,
    /// The host endpoint `*`.
    pub others: Option<Arc<HostEndpoint>>,
}

/// Where a kind of packets meets host endpoints: the chain that finds the one, and the beginning of
/// the endpoints' own chains' names.
struct Place {
    dispatch: &'static str,
    prefix: &'static str,
    traffic: Traffic,
    direction: Direction,
    /// The kernel can reject packets there.
    may_reject: bool,
}

/// The chain of a host endpoint's policies of a kind: `filter-cali-fh-eth0` for what comes to the
/// host by `eth0`; without an interface, that of the host endpoint `*`. `None`: of what goes out,
/// there are no `preDNAT` policies.
pub fn chain_name(
    traffic: Traffic,
    direction: Direction,
    interface: Option<&str>,
) -> Option<String> {
    let place =
        PLACES.iter().find(|place| (place.traffic, place.direction) == (traffic, direction))?;
    Some(names::chain(place.prefix, interface.unwrap_or(names::ANY_INTERFACE)))
}

/// All of them.
const PLACES: [Place; 8] = [
    Place {
        dispatch: names::FROM_HOST,
        prefix: "filter-cali-fh-",
        traffic: Traffic::Local,
        direction: Direction::Ingress,
        may_reject: true,
    },
    Place {
        dispatch: names::TO_HOST,
        prefix: "filter-cali-th-",
        traffic: Traffic::Local,
        direction: Direction::Egress,
        may_reject: true,
    },
    Place {
        dispatch: names::FROM_HOST_FORWARD,
        prefix: "filter-cali-fhfw-",
        traffic: Traffic::Forwarded,
        direction: Direction::Ingress,
        may_reject: true,
    },
    Place {
        dispatch: names::TO_HOST_FORWARD,
        prefix: "filter-cali-thfw-",
        traffic: Traffic::Forwarded,
        direction: Direction::Egress,
        may_reject: true,
    },
    Place {
        dispatch: names::RAW_FROM_HOST,
        prefix: "raw-cali-fh-",
        traffic: Traffic::Untracked,
        direction: Direction::Ingress,
        may_reject: false,
    },
    Place {
        dispatch: names::RAW_TO_HOST,
        prefix: "raw-cali-th-",
        traffic: Traffic::Untracked,
        direction: Direction::Egress,
        may_reject: false,
    },
    Place {
        dispatch: names::MANGLE_FROM_HOST,
        prefix: "mangle-cali-fh-",
        traffic: Traffic::PreDnat,
        direction: Direction::Ingress,
        may_reject: false,
    },
    // What the host sends after DNAT.
    Place {
        dispatch: names::MANGLE_TO_HOST,
        prefix: "mangle-cali-th-",
        traffic: Traffic::Local,
        direction: Direction::Egress,
        may_reject: false,
    },
];

impl Assigned {
    /// Of several that fit an interface, the one whose name comes first is taken, as Felix does.
    pub(super) fn of(
        endpoints: &BTreeMap<String, Arc<HostEndpoint>>,
        interfaces: &BTreeMap<Box<str>, BTreeSet<IpAddr>>,
    ) -> Assigned {
        let mut assigned = Assigned::default();
        for endpoint in endpoints.values() {
            match &*endpoint.interface {
                ALL => {
                    assigned.others.get_or_insert_with(|| endpoint.clone());
                }
                "" => {
                    let has = |held: &BTreeSet<IpAddr>| {
                        endpoint.addresses.iter().any(|address| held.contains(address))
                    };
                    for (name, _) in interfaces.iter().filter(|(_, held)| has(held)) {
                        assigned.named.entry(name.clone()).or_insert_with(|| endpoint.clone());
                    }
                }
                name => {
                    assigned.named.entry(name.into()).or_insert_with(|| endpoint.clone());
                }
            }
        }
        assigned
    }

    /// All chains of host endpoints, and those that find them.
    pub(super) fn chains(
        &self,
        settings: &Settings,
        staged: &dyn Fn(&policy::input::PolicyId) -> Option<bool>,
        exists: &dyn Fn(&str) -> bool,
    ) -> BTreeMap<String, Chain> {
        let mut chains = BTreeMap::new();
        if *self != Assigned::default() {
            let hooks = layout::host_hooks().map(|(name, chain)| (name.to_owned(), chain));
            chains.extend(hooks);
        }
        for place in &PLACES {
            chains.insert(place.dispatch.to_owned(), self.dispatch(place, settings));
            let others = self.others.iter().map(|endpoint| (names::ANY_INTERFACE, endpoint));
            let named = self.named.iter().map(|(name, endpoint)| (&**name, endpoint));
            for (name, endpoint) in named.chain(others) {
                if !place.needs_chain(endpoint) {
                    continue;
                }
                let chain = Endpoint {
                    settings,
                    kind: Kind::Host(place.traffic),
                    direction: place.direction,
                    may_reject: place.may_reject,
                    tiers: place.tiers(endpoint),
                    profiles: &endpoint.profiles,
                    staged,
                    exists,
                };
                chains.insert(names::chain(place.prefix, name), chain.chain());
            }
        }
        chains
    }

    fn dispatch(&self, place: &Place, settings: &Settings) -> Chain {
        let by = |name: String| match place.direction {
            Direction::Ingress => Match::InputInterface { name, not: false },
            Direction::Egress => Match::OutputInterface { name, not: false },
        };
        let verdict = |name: &str, endpoint: &HostEndpoint| {
            if place.needs_chain(endpoint) {
                Verdict::Goto(names::chain(place.prefix, name))
            } else {
                Verdict::Return
            }
        };
        let mut rules: Vec<Rule> = Vec::new();
        for (name, endpoint) in &self.named {
            rules.push(Rule::new(vec![by(name.to_string())], verdict(name, endpoint)));
        }
        if let Some(endpoint) = self.others.as_ref().filter(|others| place.needs_chain(others)) {
            // What the host sends to its own workloads is theirs to judge, and they don't.
            if place.direction == Direction::Egress && place.traffic != Traffic::Forwarded {
                for prefix in &settings.interface_prefixes {
                    rules.push(Rule::new(vec![by(format!("{prefix}*"))], Verdict::Return));
                }
            }
            rules.push(Rule::new(vec![], verdict(names::ANY_INTERFACE, endpoint)));
        }
        Chain { base: None, rules }
    }
}

impl Place {
    fn tiers<'a>(&self, endpoint: &'a HostEndpoint) -> &'a [policy::output::Tier] {
        match self.traffic {
            Traffic::Local => &endpoint.tiers,
            Traffic::Forwarded => &endpoint.forward,
            Traffic::Untracked => &endpoint.untracked,
            Traffic::PreDnat => &endpoint.pre_dnat,
        }
    }

    /// Without policies, only the host's own traffic is looked at.
    fn needs_chain(&self, endpoint: &HostEndpoint) -> bool {
        self.traffic == Traffic::Local || !self.tiers(endpoint).is_empty()
    }
}

//! Which policies were asked, of packets that the default action of a tier has denied: those of the
//! endpoint in that tier, of which the last is named, as in Calico's flow logs.

use super::{Origin, Prefix};
use crate::evaluate::{Direction, Traffic};
use crate::input::PolicyId;
use crate::output::{HostEndpoint, Tier};
use model::DefaultAction;
use std::collections::{BTreeMap, BTreeSet};

/// The host endpoint of all interfaces that have none of their own.
const OTHERS: &str = "*";

/// Whose policies were asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Asked {
    /// A workload's.
    Workload,
    /// A host endpoint's, of this kind.
    Host(Traffic),
}

/// A tier of an endpoint's policies in one direction.
type Place = (Asked, Box<str>, Direction, Box<str>);

/// The last policy, of those that are enforced, of each tier of each endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ends {
    last: BTreeMap<Place, PolicyId>,
    /// Interfaces with a host endpoint of their own.
    named: BTreeSet<Box<str>>,
}

impl Ends {
    /// Takes up the tiers of an endpoint at an interface. `is_staged`: whether a policy is not
    /// enforced.
    pub fn add(
        &mut self,
        asked: Asked,
        interface: &str,
        tiers: &[Tier],
        is_staged: impl Fn(&PolicyId) -> bool,
    ) {
        for tier in tiers.iter().filter(|tier| tier.default_action == DefaultAction::Deny) {
            for direction in [Direction::Ingress, Direction::Egress] {
                let policies = tier.policies_of(direction).iter().rev();
                if let Some(last) = policies.clone().find(|id| !is_staged(id)) {
                    let place = (asked, interface.into(), direction, tier.name.clone());
                    self.last.insert(place, last.clone());
                }
            }
        }
    }

    /// Takes up a host endpoint, of one interface or of all others (`None`).
    pub fn add_host(
        &mut self,
        interface: Option<&str>,
        endpoint: &HostEndpoint,
        is_staged: impl Fn(&PolicyId) -> bool + Copy,
    ) {
        self.named.extend(interface.map(Box::from));
        let interface = interface.unwrap_or(OTHERS);
        self.add(Asked::Host(Traffic::Local), interface, &endpoint.tiers, is_staged);
        self.add(Asked::Host(Traffic::Forwarded), interface, &endpoint.forward, is_staged);
    }

    /// The policies that were asked last about a packet that no rule of a tier matched, given the
    /// interfaces it came and was to go by. Two, where both ends have policies in the tier: which has
    /// denied it, the prefix does not say.
    pub fn of(
        &self,
        prefix: &Prefix,
        input: Option<&str>,
        output: Option<&str>,
    ) -> BTreeSet<&PolicyId> {
        let Origin::EndOfTier(tier) = &prefix.origin else { return BTreeSet::new() };
        let (workload, host) = match prefix.direction {
            Direction::Ingress => (output, input),
            Direction::Egress => (input, output),
        };
        let forwarded = input.is_some() && output.is_some();
        let traffic = if forwarded { Traffic::Forwarded } else { Traffic::Local };
        let host = host.map(|name| if self.named.contains(name) { name } else { OTHERS });
        let places = [(Asked::Workload, workload), (Asked::Host(traffic), host)];
        let found = places.into_iter().filter_map(|(asked, interface)| {
            self.last.get(&(asked, interface?.into(), prefix.direction, tier.clone()))
        });
        found.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::{Action, PolicyKind};

    fn policy(name: &str) -> PolicyId {
        let kind = PolicyKind::GlobalNetworkPolicy;
        PolicyId { kind, namespace: "".into(), name: name.into() }
    }

    fn tier(name: &str, default_action: DefaultAction, ingress: &[&str], egress: &[&str]) -> Tier {
        let ids = |names: &[&str]| names.iter().map(|name| policy(name)).collect();
        Tier { name: name.into(), default_action, ingress: ids(ingress), egress: ids(egress) }
    }

    #[test]
    fn the_last_enforced_policy_of_the_endpoint_is_named() {
        use DefaultAction::{Deny, Pass};
        use Direction::{Egress, Ingress};
        let mut ends = Ends::default();
        let staged = |id: &PolicyId| id.name.starts_with("staged");
        let pod = [
            tier("a", Deny, &["in-1", "in-2", "staged"], &["staged"]),
            tier("b", Pass, &["in-3"], &[]),
        ];
        ends.add(Asked::Workload, "cali1", &pod, staged);
        let named = HostEndpoint {
            tiers: vec![tier("a", Deny, &["to-host"], &["from-host"])],
            forward: vec![tier("a", Deny, &["through"], &[])],
            ..HostEndpoint::default()
        };
        ends.add_host(Some("eth0"), &named, staged);
        let others = HostEndpoint {
            tiers: vec![tier("a", Deny, &["others-in"], &["others-out"])],
            ..HostEndpoint::default()
        };
        ends.add_host(None, &others, staged);
        for (direction, tier, input, output, expected) in [
            (Ingress, "a", Some("tunl0"), Some("cali1"), &["in-2"][..]),
            (Ingress, "a", Some("cali2"), Some("cali1"), &["in-2"]),
            (Ingress, "a", Some("eth0"), Some("cali1"), &["in-2", "through"]),
            (Ingress, "a", Some("eth0"), Some("eth1"), &["through"]),
            (Ingress, "a", Some("eth0"), None, &["to-host"]),
            (Ingress, "a", Some("eth1"), None, &["others-in"]),
            (Egress, "a", None, Some("eth0"), &["from-host"]),
            (Egress, "a", None, Some("tunl0"), &["others-out"]),
            (Egress, "a", Some("cali1"), Some("eth0"), &[]),
            (Ingress, "b", Some("tunl0"), Some("cali1"), &[]),
            (Ingress, "c", Some("tunl0"), Some("cali1"), &[]),
        ] {
            let origin = Origin::EndOfTier(tier.into());
            let prefix = Prefix { action: Action::Deny, direction, origin };
            let found = ends.of(&prefix, input, output);
            let found: Vec<&str> = found.into_iter().map(|id| &*id.name).collect();
            assert_eq!(found, expected, "{direction:?} {tier} {input:?} {output:?}");
        }
    }
}
